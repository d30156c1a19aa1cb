import pathlib
import subprocess
import tempfile

from absl.testing import absltest

from tests import processes
from tests import tiny_shards


class PretrainColorizationTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def _start(self, *flags: str) -> subprocess.Popen:
        return processes.start(
            "tflm.pretrain_colorization", self.folder, *flags
        )

    def test_errors_are_one_line(self):
        cases = (
            (
                ["--dataset=puppet"],
                "no dataset 'puppet'; one of puppets, celeba",
            ),
            (["--dataset=celeba"], "no shards of celeba in data; build them"),
            (["--num_filters=0"], "--num_filters must be positive, got 0"),
            (
                [f"--seed={2**31}"],
                "--seed must be less than .*, got 2147483648",
            ),
        )
        running = [(self._start(*flags), message) for flags, message in cases]
        for process, message in running:
            printed, errors = process.communicate()
            self.assertEqual(process.returncode, 1)
            self.assertRegex(
                errors, rf"\Apretrain_colorization.py: {message}.*\n\Z"
            )
            self.assertEmpty(printed)
        self.assertEmpty(list(self.folder.iterdir()))

    def test_the_command_writes_where_training_looks(self):
        (self.folder / "data").mkdir()
        (self.folder / "data" / "puppets").symlink_to(
            pathlib.Path(tiny_shards.data_dir()) / "puppets"
        )
        process = self._start(
            "--dataset=puppets",
            "--image_size=32",
            "--num_filters=2",
            "--num_steps=2",
        )
        printed, errors = process.communicate()
        self.assertEqual(process.returncode, 0, errors)
        self.assertRegex(printed, r"cross-entropy on \d+ val images.*\nwrote ")
        written = self.folder / "data" / "loss_networks" / "puppets"
        self.assertTrue((written / "colorization.h5").exists())
        self.assertTrue((written / "colorized.png").exists())


if __name__ == "__main__":
    absltest.main()
