import csv
import pathlib
import subprocess
import tempfile

from absl.testing import absltest

from data_prep.video import make_dummy_data
from tests import processes
from tests.tflm.prediction import dots
from tests.tflm.serving import lively_model
from tflm import configs
from tflm.training import checkpoints
from tflm.training import optimizers


def _make_run(workdir: str, *settings: str) -> None:
    config = configs.override(lively_model.CONFIG, settings)
    model = lively_model.build()
    optimizer = optimizers.adam(config.train)
    optimizer.build(model.trainable_variables)
    with checkpoints.claimed(workdir, config):
        checkpoints.save(workdir, model, optimizer, None)


class PredictScriptTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )

    def _start(self, *arguments: str) -> subprocess.Popen:
        return processes.start("tflm.predict", self.folder, *arguments)

    def test_errors_are_one_line(self):
        (self.folder / "a.png").touch()
        cases = (
            (["a.png"], "no trained run under runs; name a run's folder"),
            (["a.png", "--stride=0"], "--stride must be at least 1, got 0"),
            (["a.png", "--crop=1,2"], "--crop=1,2 must be top,left"),
            (["a.png", "--motion_crop"], "--motion_crop is for videos, and a"),
            (["a.png", "--boxes=no.csv"], "--boxes=no.csv cannot be read"),
        )
        running = [(self._start(*flags), message) for flags, message in cases]
        for process, message in running:
            printed, errors = process.communicate()
            self.assertEqual(process.returncode, 1)
            self.assertRegex(errors, rf"\Apredict.py: {message}.*\n\Z")
            self.assertEmpty(printed)
        self.assertFalse((self.folder / "predictions").exists())

    def test_a_folder_with_a_broken_file_through_a_run(self):
        _make_run(str(self.folder / "run"))
        expected = dots.write_kinds(self.folder / "in")
        (self.folder / "in" / "broken.jpg").write_bytes(b"\xff\xd8 not")

        process = self._start("--model=run", "in", "--batch_size=2")
        printed, errors = process.communicate()

        self.assertEqual(process.returncode, 1, errors)
        self.assertEqual(
            printed,
            "written:\n  predictions/in.csv\n  predictions/in.json\n",
        )
        self.assertIn("skipped: in/broken.jpg does not decode", errors)
        self.assertRegex(errors, r"\n6 of 7 files read, 1 skipped\n\Z")
        self.assertIn("images/s", errors)
        with open(self.folder / "predictions" / "in.csv", newline="") as file:
            rows = list(csv.reader(file))
        self.assertEqual([row[0] for row in rows[3:]], [*expected])
        self.assertLen(rows[3], 1 + 3 * 3)

    def test_a_run_sees_the_crops_that_it_was_trained_on(self):
        _make_run(str(self.folder / "run"), "data.frame_crop=--crop=9,8,30,40")
        make_dummy_data.write(self.folder / "v.mp4", 2)
        running = {
            name: self._start(
                "--model=run", "v.mp4", f"--output_dir={name}", *flags
            )
            for name, *flags in (
                ("default",),
                ("asked", "--crop=9,8,30,40"),
                ("whole", "--crop=none"),
            )
        }
        for name, process in running.items():
            _, errors = process.communicate()
            self.assertEqual(process.returncode, 0, errors)
            says = "cropped like what the model was trained on, by --crop=9,8"
            self.assertEqual(says in errors, name == "default")
        default, asked, whole = (
            (self.folder / name / "v.csv").read_text()
            for name in ("default", "asked", "whole")
        )
        self.assertEqual(default, asked)
        self.assertNotEqual(default, whole)


if __name__ == "__main__":
    absltest.main()
