import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import textwrap

from absl.testing import absltest

from tflm import ablation
from tflm import errors
from tflm import files
from tflm.training import progress as progress_lib

ROOT = pathlib.Path(__file__).parents[2]
# Stand-ins for train.py and evaluate.py. They note how they were called.
COMMON = f"""
import json, pathlib, signal, sys, time
sys.path.insert(0, {str(ROOT)!r})
from tflm import configs

folder = pathlib.Path(__file__).parent
flags = [word[2:].split("=", 1) for word in sys.argv[1:]]
sets = [value for name, value in flags if name == "set"]
flags = dict(flags)
workdir = pathlib.Path(flags["workdir"])

def note(text):
    with open(folder / "calls", "a") as calls:
        calls.write(text + chr(10))

def stop(*_):
    note("stopped " + workdir.name)
    sys.exit(1)

signal.signal(signal.SIGTERM, stop)
"""
TRAIN = """
config = configs.override(configs.PRESETS[flags["preset"]], sets)
workdir.mkdir(exist_ok=True)
(workdir / "config.json").write_text(configs.to_json(config))
last, every = config.train.num_steps, config.train.log_every
weights = flags.get("loss_weights", "")
note(f"train {workdir.name} {weights} {' '.join(sets)}")
for step in range(every, last + every, every):
    if (folder / "broken").exists() and not workdir.name.endswith("speed"):
        print("Loading.", file=sys.stderr)
        sys.exit("train.py: the disk is full")
    text = f"step {min(step, last)} / {last}, loss 0.1, 5 images/s"
    print(text, file=sys.stderr, flush=True)
    time.sleep(0.001)
"""
EVALUATE = """
note("evaluate " + workdir.name)
config = configs.from_json((workdir / "config.json").read_text())
has_landmarks = config.model.bottleneck == "heatmap"
found = {
    "no_annotations": None,
    "nme_percent": {"no_bias": 7.5, "bias": 6.25, "mean_shape": 8.0},
    "health": {"dead": [4, 9]} if has_landmarks else None,
}
(workdir / "eval" / "puppets").mkdir(parents=True)
path = workdir / "eval" / "puppets" / "metrics.json"
path.write_text(json.dumps(found))
"""


class AblationTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name, text in (("train", TRAIN), ("evaluate", EVALUATE)):
            path = self.root / f"{name}.py"
            path.write_text(textwrap.dedent(COMMON + text))
        self.ablation = ablation.Ablation(
            preset="puppets",
            minutes=0.01,
            assignments=("model.num_filters=8",),
            data_dir="shards",
            output=self.root / "output",
            loss_weights="vgg.h5",
            commands=ablation.Commands(
                train=(sys.executable, str(self.root / "train.py")),
                evaluate=(sys.executable, str(self.root / "evaluate.py")),
                speed_seconds=0.05,
            ),
        )

    def calls(self):
        path = self.root / "calls"
        calls = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return calls

    def test_each_variant_is_measured_trained_for_the_time_and_scored(self):
        names = ["adversarial_l2", "perceptual", "fully_connected_60"]

        rows = ablation.run(self.ablation, names)

        calls = self.calls()
        self.assertLen(calls, 4 * 3)
        # What needs a loss network comes first, in case there is none.
        order = ["perceptual", "adversarial_l2", "fully_connected_60"]
        for place, name in enumerate(order):
            number = names.index(name)
            measured, stopped, trained, evaluated = calls[4 * place :][:4]
            self.assertStartsWith(measured, f"train {name}.speed ")
            self.assertEqual(stopped, f"stopped {name}.speed")
            self.assertStartsWith(trained, f"train {name} ")
            self.assertEqual(evaluated, f"evaluate {name}")
            settings = " ".join(ablation.VARIANTS[name])
            self.assertIn(f"model.num_filters=8 {settings} ", trained)
            steps = rows[number]["num_steps"]
            self.assertIn(f"train.num_steps={steps} ", trained)
            self.assertEqual("vgg.h5" in trained, name == "perceptual")
            self.assertFalse((self.root / "output" / f"{name}.speed").exists())
            notes = self.ablation.notes_path(name).read_text()
            notes = json.loads(notes)
            speed = notes["timed_steps"] / notes["timed_seconds"]
            self.assertAlmostEqual(rows[number]["minutes"], steps / speed / 60)
            # Batches of 32.
            self.assertAlmostEqual(
                rows[number]["images_per_second"], 32 * speed
            )
        self.assertEqual([row["dead"] for row in rows], [2, 2, None])

    def test_two_at_once_are_refused(self):
        with files.own_folder(self.ablation.output, "", ""):
            with self.assertRaisesRegex(
                errors.UserError,
                "another process writes the table in .*output; wait",
            ):
                ablation.run(self.ablation, ["l2"])
        self.assertEmpty(self.calls())

    def test_an_output_that_cannot_be_written_is_found_first(self):
        self.ablation.output.touch()
        with self.assertRaisesRegex(
            errors.UserError, "cannot write to .*; choose another --output$"
        ):
            ablation.run(self.ablation, ["l2"])
        self.assertEmpty(self.calls())

    def test_reads_the_step_of_the_lines_that_training_logs(self):
        with self.assertLogs("tflm") as logs:
            with progress_lib.progress(0, 300) as progress:
                progress.disable = True  # As without a terminal.
                metrics = {"loss": 1.0, "loss/input": 0.1}
                progress.update_to(120, metrics, speed=5.0)
        line = logs.records[-1].getMessage()
        self.assertEqual(
            line, "step 120 / 300, loss 1.00000, of pixels 0.10000, 5 images/s"
        )
        self.assertEqual(list(ablation.logged_steps([line])), [120])

    def test_table_is_written(self):
        ablation.run(self.ablation, ["l2", "fully_connected_10"])

        found = json.loads((self.root / "output/table2.json").read_text())
        self.assertEqual(found["set"], ["model.num_filters=8"])
        self.assertEqual(
            [row["variant"] for row in found["variants"]],
            ["l2", "fully_connected_10"],
        )
        text = (self.root / "output/table2.md").read_text()
        self.assertIn("--minutes=0.01 --set=model.num_filters=8", text)
        self.assertRegex(
            text, r"\| l2 +\| 7.50 +\| 6.25 +\| 8.00 +\| [\d,]+ .*\| 2 +\|"
        )
        self.assertRegex(text, r"\| fully_connected_10 \| 7.50 .*\| - +\|")

    def test_only_a_cosine_is_said_to_end_with_the_minutes(self):
        rows = ablation.run(self.ablation, ["l1"])
        for schedule, ending in (
            ("cosine", "last; the learning rate's schedule ends with them."),
            ("staircase", "last."),
        ):
            settings = (f"train.schedule={schedule}",)
            changed = dataclasses.replace(self.ablation, assignments=settings)
            lines = ablation.table(changed, rows).splitlines()
            self.assertEndsWith(
                lines[1], f"from the first step to the {ending}"
            )

    def test_finished_variants_are_not_trained_again(self):
        first = ablation.run(self.ablation, ["l1"])
        self.calls()

        again = ablation.run(self.ablation, ["l1", "l2"])

        self.assertEqual(again[0], first[0])
        self.assertNotIn(" l1", " ".join(self.calls()))

    def test_other_settings_are_refused(self):
        ablation.run(self.ablation, ["l1"])
        self.calls()
        for change, expected in (
            ({"minutes": 2}, "minutes is 0.01, now 2; choose another --output"),
            ({"assignments": ()}, "model.num_filters is 8, now 16"),
        ):
            changed = dataclasses.replace(self.ablation, **change)
            with self.assertRaisesRegex(errors.UserError, expected):
                ablation.run(changed, ["l2", "l1"])
        self.assertEmpty(self.calls())

    def test_failing_variant_stops_with_its_error_and_goes_on_later(self):
        (self.root / "broken").touch()
        with self.assertRaisesRegex(
            errors.UserError, "^l1 stopped: train.py: the disk is full$"
        ):
            ablation.run(self.ablation, ["l1", "l2"])
        *_, failed = self.calls()
        self.assertStartsWith(failed, "train l1 ")
        (self.root / "broken").unlink()

        ablation.run(self.ablation, ["l1"])

        # With the same steps, which its speed is not measured again for.
        self.assertEqual(self.calls(), [failed, "evaluate l1"])

    def test_too_short_a_time_is_refused(self):
        short = dataclasses.replace(self.ablation, minutes=1e-9)
        with self.assertRaisesRegex(errors.UserError, "are but 0 steps of l1"):
            ablation.run(short, ["l1"])

    def test_wrong_settings_are_named(self):
        for change, expected in (
            ({"preset": "cats"}, "no preset 'cats'; one of puppets"),
            ({"minutes": 0}, "--minutes must be positive, got 0"),
            ({"assignments": ("model.x=1",)}, "no such setting: 'model.x'"),
            (
                {"assignments": ("train.num_steps=5",)},
                "the steps follow from --minutes",
            ),
        ):
            with self.assertRaisesRegex(errors.UserError, expected):
                dataclasses.replace(self.ablation, **change)
        with self.assertRaisesRegex(errors.UserError, "no variant 'l3'"):
            ablation.run(self.ablation, ["l1", "l3"])
        self.assertEmpty(self.calls())


class CommandTest(absltest.TestCase):
    def test_error_of_the_real_train_script_is_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "tflm.ablation",
                    "--preset=celeba",
                    f"--data_dir={folder}",
                    f"--output={folder}/output",
                    "--variants=l1",
                ],
                capture_output=True,
                text=True,
                cwd=ROOT,
            )
        self.assertEqual(done.returncode, 1)
        self.assertRegex(
            done.stderr.splitlines()[-1],
            r"^ablation.py: l1 stopped: train.py: no shards of celeba in ",
        )
        self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    absltest.main()
