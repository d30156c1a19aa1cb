import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest

from tests import tiny_shards
from tests.tflm.serving import lively_model
from tflm import configs
from tflm.models import landmark_model
from tflm.training import checkpoints
from tflm.training import optimizers

_ROOT = pathlib.Path(__file__).parents[3]


def _make_run(workdir: pathlib.Path, *settings: str) -> None:
    """A run of puppets that was saved at step 0."""
    config = configs.override(
        lively_model.CONFIG, ["data.dataset=puppets", *settings]
    )
    model = (
        landmark_model.LandmarkModel(config.model)
        if settings
        else lively_model.build()
    )
    optimizer = optimizers.adam(config.train)
    optimizer.build(model.trainable_variables)
    with checkpoints.claimed(str(workdir), config):
        checkpoints.save(str(workdir), model, optimizer, None)


class ExportScriptTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def _start(self, *flags: str) -> subprocess.Popen:
        path = os.pathsep.join(
            [str(_ROOT), str(self.folder), os.environ.get("PYTHONPATH", "")]
        )
        return subprocess.Popen(
            [sys.executable, _ROOT / "export.py", *flags],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _assert_fails(self, message: str, *flags: str) -> None:
        process = self._start(*flags)
        printed, errors = process.communicate()
        self.assertEqual(process.returncode, 1)
        self.assertRegex(errors, rf"\Aexport.py: .*{message}.*\n\Z")
        self.assertEmpty(printed)

    def test_without_workdir_the_newest_run_is_exported(self):
        _make_run(self.folder / "runs" / "older")
        _make_run(self.folder / "runs" / "newer")

        process = self._start(
            f"--data_dir={tiny_shards.data_dir()}",
            "--quantize=float32,int8",
            "--onnx",
        )
        printed, errors = process.communicate()

        self.assertEmpty(errors)
        self.assertEqual(process.returncode, 0)
        self.assertRegex(
            printed,
            r"runs/newer, step 0, to runs/newer/export; .* 2 images of puppets"
            r", in pixels of a view of 128 x 128:\n +MB  ms/image .*max\n"
            r"  saved_model/1 .* 0\.000\d  0\.000\d\n"
            r"  detector.tflite .* 0\.000\d  0\.000\d\n"
            r"  detector_int8.tflite .* 0\.\d{4} .*\n"
            r"  detector.onnx .* 0\.000\d  0\.000\d\n",
        )
        export = self.folder / "runs" / "newer" / "export"
        self.assertTrue((export / "detector.tflite").is_file())
        self.assertTrue((export / "detector.onnx").is_file())
        self.assertTrue((export / "saved_model/1/saved_model.pb").is_file())
        report = json.loads((export / "export.json").read_text())
        self.assertEqual((report["workdir"], report["step"]), ("runs/newer", 0))

    def test_what_is_missing_is_named_in_one_line(self):
        self._assert_fails("no trained run under runs")
        run = self.folder / "run"
        _make_run(run)
        self._assert_fails(
            "no shards of puppets in nowhere",
            f"--workdir={run}",
            "--data_dir=nowhere",
        )

    def test_a_run_without_landmarks_is_refused(self):
        run = self.folder / "run"
        _make_run(run, "model.bottleneck=fully_connected")
        self._assert_fails(
            "model.bottleneck=fully_connected has no landmarks",
            f"--workdir={run}",
            f"--data_dir={tiny_shards.data_dir()}",
        )
        self.assertFalse((run / "export").exists())

    def test_without_what_onnx_needs_there_is_no_export(self):
        run = self.folder / "run"
        _make_run(run)
        (self.folder / "tf2onnx.py").write_text(
            "raise ModuleNotFoundError('not installed', name='tf2onnx')"
        )
        self._assert_fails(
            "--onnx needs the package tf2onnx; pip install -c requirements.txt"
            " onnx onnxruntime tf2onnx",
            "--onnx",
            f"--workdir={run}",
            f"--data_dir={tiny_shards.data_dir()}",
        )
        self.assertFalse((run / "export").exists())

    def test_without_what_a_page_needs_nothing_is_exported(self):
        run = self.folder / "run"
        _make_run(run)
        flags = [f"--workdir={run}", f"--data_dir={tiny_shards.data_dir()}"]
        self._assert_fails(
            "add float32 to --quantize", "--web", "--quantize=int8", *flags
        )
        self._assert_fails(
            "cannot read nowhere/", "--web", "--litert_dir=nowhere", *flags
        )
        self.assertFalse((run / "export").exists())

    def test_stopped_by_a_signal_it_leaves_nothing_behind(self):
        run = self.folder / "run"
        _make_run(run)
        before = sorted(run.iterdir())

        process = self._start(
            f"--workdir={run}", f"--data_dir={tiny_shards.data_dir()}"
        )
        while sorted(run.iterdir()) == before and process.poll() is None:
            time.sleep(0.01)  # Until it starts to write.
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()

        self.assertEqual(errors, "export.py: stopped; nothing was exported\n")
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertEqual(sorted(run.iterdir()), before)


if __name__ == "__main__":
    absltest.main()
