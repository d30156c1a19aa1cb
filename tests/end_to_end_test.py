"""The scripts, as a person runs them: from shards to exported files."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from absl.testing import absltest
import numpy as np

from tests import tiny_shards
from tflm import configs
from tflm.training import checkpoints

ROOT = pathlib.Path(__file__).parents[1]
TINY = [
    "--set=model.image_size=32",
    "--set=model.num_filters=4",
    "--set=model.num_landmarks=3",
    "--set=train.batch_size=2",
    "--set=data.shuffle_buffer=4",
]


def _command(script: str, *flags: str) -> list[str]:
    return [sys.executable, str(ROOT / script), *flags]


def _run(
    script: str,
    *flags: str,
    cwd: pathlib.Path | None = None,
    **environment: str,
) -> subprocess.CompletedProcess:
    return subprocess.run(
        _command(script, *flags),
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


class EndToEndTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.data = f"--data_dir={tiny_shards.data_dir()}"

    def _assert_one_line_error(self, result, *words):
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertNotIn("Traceback", result.stderr)

    def test_train_evaluate_export(self):
        workdir = self.root / "run"
        where = f"--workdir={workdir}"
        train = ["--dataset=puppets", self.data, where, *TINY]
        steps = "--set=train.num_steps=2"

        trained = _run("train.py", *train, steps)
        self.assertEqual(trained.returncode, 0, trained.stderr)
        self.assertIn("to step 2", trained.stdout)
        config = checkpoints.load_config(str(workdir))
        self.assertEqual(config.model.num_landmarks, 3)

        again = _run("train.py", *train, steps)
        self.assertIn(f"resuming {workdir} at step 2", again.stderr)

        other = _run("train.py", *train, "--set=train.num_steps=3")
        self._assert_one_line_error(
            other, "train.num_steps is 2, now 3", "choose another --workdir"
        )

        evaluated = _run("evaluate.py", self.data, where)
        self.assertEqual(evaluated.returncode, 0, evaluated.stderr)
        folder = workdir / "eval" / "puppets"
        metrics = json.loads((folder / "metrics.json").read_text())
        self.assertEqual(metrics["num_test"], 8 * tiny_shards.NUM_CLIPS["test"])
        self.assertIn("left_wrist", metrics["pck"]["6"])
        self.assertIn("mean shape", evaluated.stdout)
        for name in ("report.html", "landmarks.mp4", "swaps.pdf"):
            self.assertIn(str(folder / name), evaluated.stdout)
        twice = _run("evaluate.py", self.data, f"{where},{workdir}")
        self._assert_one_line_error(twice, "a run is named twice")

        exported = _run("export.py", self.data, where)
        self.assertEqual(exported.returncode, 0, exported.stderr)
        export = workdir / "export"
        self.assertTrue((export / "detector.tflite").exists())
        # evaluate.py fitted a map.
        names = export / "saved_model" / "1" / "assets" / "keypoint_names.txt"
        self.assertIn("left_wrist", names.read_text().split())

    def test_runs_of_a_preset_with_a_slash_are_where_others_are(self):
        flags = ["--preset=smallnorb/car", self.data, *TINY]
        flags += ["--set=data.dataset=puppets", "--set=data.pairs=video"]
        flags += ["--set=loss.name=l2", "--set=train.num_steps=1"]
        self._assert_one_line_error(
            _run("train.py", *flags, "--init_from=nowhere", cwd=self.root),
            "nowhere is not a run",
        )
        self.assertFalse((self.root / "runs").exists())
        train = _run("train.py", *flags, cwd=self.root)
        self.assertIn("trained runs/smallnorb_car to step 1", train.stdout)
        # It reads the run before the shards.
        self._assert_one_line_error(
            _run(
                "evaluate.py",
                "--data_dir=elsewhere",
                "--dataset=smallnorb/car",
                cwd=self.root,
            ),
            "no shards of puppets in elsewhere",
        )

    def test_sigterm_ends_training_with_a_checkpoint(self):
        workdir = self.root / "run"
        flags = ["--dataset=puppets", self.data, f"--workdir={workdir}"]
        flags += [*TINY, "--set=train.log_every=1"]
        with subprocess.Popen(
            _command("train.py", *flags),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while "step 2 /" not in (line := process.stderr.readline()):
                self.assertTrue(line, "training ended by itself")
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate()
        self.assertEqual(process.returncode, 1)
        self.assertIn("the same command continues", output)
        self.assertLen(list(workdir.rglob("*.index")), 1)

    def test_a_run_keeps_to_its_loss_network(self):
        workdir = self.root / "run"
        flags = ["--dataset=puppets", self.data, f"--workdir={workdir}", *TINY]
        flags += [
            "--set=loss.name=perceptual",
            "--set=loss.network=vgg16_file",
            "--set=loss.last_tap=conv1_2",
            "--set=train.num_steps=1",
        ]
        for name, value in (("one", 1.0), ("two", 2.0)):
            layers = {"conv1_1_b": np.zeros([2]), "conv1_2_b": np.zeros([2])}
            layers["conv1_1_W"] = np.full([3, 3, 3, 2], value)
            layers["conv1_2_W"] = np.full([3, 3, 2, 2], value)
            np.savez(self.root / f"{name}.npz", **layers)

        file = self.root / "one.npz"
        trained = _run("train.py", *flags, f"--loss_weights={file}")
        self.assertEqual(trained.returncode, 0, trained.stderr)
        found = checkpoints.load_config(str(workdir)).loss
        self.assertEqual(found.network, "vgg16_file")
        self.assertIn(
            f"loss network: vgg16_file {found.network_hash} ({file})",
            trained.stderr,
        )
        self.assertLen(found.network_hash, 16)

        # "auto" is now what the run has, not what would be found today.
        auto = [*flags, "--set=loss.network=auto"]
        self._assert_one_line_error(
            _run("train.py", *auto),
            "loss.network=vgg16_file needs --loss_weights=FILE",
        )
        (self.root / "two.npz").replace(file)
        self._assert_one_line_error(
            _run("train.py", *flags, f"--loss_weights={file}"),
            f"of hash {found.network_hash}, but {file} has the hash ",
            "name the old file with --loss_weights, or choose another",
        )

    def test_user_errors_of_loss_networks(self):
        train = ["--dataset=puppets", self.data, f"--workdir={self.root}/run"]
        self._assert_one_line_error(
            _run("train.py", *train, "--loss_weights=vgg.h5"),
            "--loss_weights=vgg.h5",
            "loss.name=l2 has no loss network",
        )
        (self.root / ".keras").mkdir()  # An empty cache, and no network.
        offline = {"HOME": str(self.root), "no_proxy": "", "NO_PROXY": ""}
        for name in ("https_proxy", "HTTPS_PROXY"):
            offline[name] = "http://127.0.0.1:9"
        self._assert_one_line_error(
            _run("train.py", *train, "--set=loss.name=perceptual", **offline),
            "python -m tflm.pretrain_colorization --dataset=puppets",
            "--loss_weights=FILE",
            "--set loss.name=l2",
        )
        self.assertFalse((self.root / "run").exists())

    def test_user_errors_of_training(self):
        train = ["--dataset=puppets", self.data, f"--workdir={self.root}/run"]
        for flags, words in (
            (["--set=model.points=3"], ["no such setting: 'model.points'"]),
            (["--set=model.num_landmarks=x"], ["is int, got 'x'"]),
            (["--set=model.image_size=80"], ["32, 64, 128, 256; got 80"]),
        ):
            with self.subTest(flags[0]):
                self._assert_one_line_error(
                    _run("train.py", *train, *flags), *words
                )
        self._assert_one_line_error(
            _run("train.py", "--dataset=faces", self.data),
            "no preset 'faces'; one of puppets, ",
        )
        self._assert_one_line_error(
            _run("train.py", "--dataset=images", "--preset=celeba", self.data),
            "--preset=celeba is for celeba, not for --dataset=images",
        )
        self._assert_one_line_error(
            _run("train.py", "--dataset=celeba_fast", self.data),
            "--dataset=celeba_fast is a preset of celeba; give it as"
            " --preset=celeba_fast",
        )
        self._assert_one_line_error(
            _run("train.py", *train, "--set=data.dataset=mine"),
            "--dataset=puppets and --set data.dataset=mine contradict each",
        )
        self._assert_one_line_error(
            _run("train.py", *train[1:], "--set=data.dataset=my.video"),
            "data.dataset: no shards of my.video in ",
        )
        missing = _run("train.py", "--dataset=celeba", self.data)
        self._assert_one_line_error(
            missing,
            "python -m data_prep --dataset=celeba",
            "--raw_dir=DIR",
            "mmlab.ie.cuhk.edu.hk",
        )
        self._assert_one_line_error(
            _run("train.py", "--dataset=smallnorb", self.data),
            "--dataset=smallnorb --data_dir=",
            " (a download), or with your own copy: --raw_dir=DIR",
        )
        self.assertFalse((self.root / "run").exists())

    def test_user_errors_of_evaluation_and_export(self):
        workdir = self.root / "run"
        for script in ("evaluate.py", "export.py"):
            self._assert_one_line_error(
                _run(script, self.data, f"--workdir={workdir}"),
                f"{workdir} is not a run",
            )
        config = configs.PRESETS["puppets"]
        with checkpoints.claimed(str(workdir), config):
            for script in ("evaluate.py", "export.py"):
                self._assert_one_line_error(
                    _run(script, self.data, f"--workdir={workdir}"),
                    f"no checkpoint in {workdir}",
                )


if __name__ == "__main__":
    absltest.main()
