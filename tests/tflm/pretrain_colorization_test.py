import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from tests import tiny_shards

_ROOT = pathlib.Path(__file__).parents[2]


class PretrainColorizationTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def _start(self, *flags: str) -> subprocess.Popen:
        environment = os.environ.copy()
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        return subprocess.Popen(
            [sys.executable, "-m", "tflm.pretrain_colorization", *flags],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_errors_are_one_line(self):
        cases = (
            (
                ["--dataset=puppet"],
                "no dataset 'puppet'; one of puppets, celeba",
            ),
            (["--dataset=celeba"], "no shards of celeba in data; build them"),
            (["--num_filters=0"], "--num_filters must be positive, got 0"),
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
