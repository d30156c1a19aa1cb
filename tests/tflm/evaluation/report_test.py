import base64
import copy
import dataclasses
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow as tf
import tensorflow_datasets as tfds

from data_prep import clips
from tflm import configs
from tflm import errors
from tflm.data import shards as shards_lib
from tflm.evaluation import detections
from tflm.evaluation import keypoint_maps
from tflm.evaluation import metrics
from tflm.evaluation import report
from tflm.evaluation import scores
from tflm.models import landmark_model
from tflm.training import checkpoints

NAN = float("nan")
ROOT = pathlib.Path(__file__).parents[3]
SIZE = 32
CONFIG = configs.Config(
    data=configs.DataConfig("discs"),
    model=configs.ModelConfig(image_size=SIZE, num_landmarks=3, num_filters=4),
)
FIGURES = (
    "accuracy",
    "calibration",
    "landmark_bars",
    "landmarks",
    "matched",
    "reconstructions",
    "sample_efficiency",
    "sample_efficiency_pck",
    "score_maps",
    "swaps",
)


class Discs(tfds.core.GeneratorBasedBuilder):
    """Stills of a disc; annotated are its left and right end."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, names=("left", "right"), roles=None, **kwargs):
        self._names = list(names)
        self._roles = roles or {
            "train": "train",
            "regression_train": "train",
            "regression_test": "test",
        }
        super().__init__(**kwargs)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=clips.features(len(self._names)),
            metadata=clips.metadata(
                keypoint_names=self._names,
                left_right_swaps=[],
                normalizing_pair=(0, 1) if self._names else None,
                splits=self._roles,
            ),
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(0, 30),
            "test": self._generate_examples(1, 6),
        }

    def _generate_examples(self, seed, count):
        random = np.random.default_rng(seed)
        y, x = np.mgrid[:SIZE, :SIZE]
        for number in range(count):
            centre = random.uniform(8, SIZE - 8, 2)
            is_disc = np.hypot(y - centre[0], x - centre[1]) < 5
            image = np.where(is_disc[..., None], [250, 60, 60], [20, 30, 90])
            buffer = io.BytesIO()
            Image.fromarray(image.astype(np.uint8)).save(buffer, "PNG")
            ends = np.stack([centre - [0, 5], centre + [0, 5], [NAN, NAN]])
            points = np.full([clips.num_rows(len(self._names)), 2], NAN)
            points[: len(self._names)] = ends[: len(self._names)]
            if number == 0:
                points[0] = NAN
            name = f"{seed}_{number:02d}"
            yield name, clips.still(name, buffer.getvalue(), points)


class EvaluateTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tf.keras.utils.set_random_seed(0)
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        cls.workdir = str(cls.root / "run")
        model = landmark_model.LandmarkModel(CONFIG.model)
        # The scores of a new model are nearly 0: make its landmarks move.
        noise = tf.random.stateless_uniform([4, SIZE, SIZE, 3], (0, 0))
        spread = model.detector(noise).numpy().std(axis=(1, 2)).mean()
        head = model.detector.get_layer("score_maps")
        head.set_weights([w * 20.0 / spread for w in head.get_weights()])
        optimizer = tf.keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
        optimizer.iterations.assign(7)
        with checkpoints.claimed(cls.workdir, CONFIG):
            checkpoints.save(cls.workdir, model, optimizer, None)
        cls.data_dir = cls.build("data")
        cls.found = report.evaluate(cls.workdir, cls.data_dir, draw=False)

    @classmethod
    def build(cls, folder, **kwargs):
        data_dir = str(cls.root / folder)
        Discs(data_dir=data_dir, **kwargs).download_and_prepare()
        return data_dir

    def outputs(self):
        return checkpoints.evaluation_dir(self.workdir, "discs")

    def test_writes_numbers_and_figures_the_same_every_time(self):
        found = report.evaluate(self.workdir, self.data_dir)

        written = (self.outputs() / "metrics.json").read_text()
        self.assertEqual(json.loads(written), found)
        self.assertEqual(found, self.found)
        self.assertEqual(found["step"], 7)
        self.assertEqual((found["num_train"], found["num_test"]), (30, 6))
        self.assertEqual(found["num_landmarks"], 3)
        self.assertEqual(found["health"]["dead"], [])
        # The mean of 30 discs is a poor guess for another disc.
        self.assertGreater(found["nme_percent"]["mean_shape"], 20.0)
        self.assertCountEqual(
            [path.name for path in self.outputs().iterdir()],
            [
                "metrics.json",
                "image_errors.npz",
                "report.html",
                *(f"{name}.png" for name in FIGURES),
                *(f"{name}.pdf" for name in FIGURES),
            ],
        )
        page = (self.outputs() / "report.html").read_text()
        self.assertEqual(page.count("<img "), len(FIGURES))
        for name in FIGURES:
            png = self.outputs() / f"{name}.png"
            with Image.open(png) as image:
                self.assertGreater(min(image.size), 200)
            self.assertIn(base64.b64encode(png.read_bytes()).decode(), page)

        report.evaluate(self.workdir, self.data_dir, draw=False)
        self.assertCountEqual(  # No figures of what may be other numbers.
            [path.name for path in self.outputs().iterdir()],
            ["metrics.json", "image_errors.npz"],
        )

    def test_files_of_others_stay_and_those_of_ours_go(self):
        foreign = ["notes.txt", ".DS_Store", "metrics (1).json", "mine.png"]
        stale = ["swaps.png", "landmarks.mp4", "comparison.md"]
        for name in [*foreign, *stale]:
            (self.outputs() / name).touch()
        report.evaluate(self.workdir, self.data_dir, draw=False)
        self.assertCountEqual(
            [path.name for path in self.outputs().iterdir()],
            ["metrics.json", "image_errors.npz", *foreign],
        )
        self.assertEqual(
            [path.name for path in report.written(self.outputs())],
            ["image_errors.npz", "metrics.json"],
        )
        for name in foreign:
            (self.outputs() / name).unlink()

    def test_without_figures_matplotlib_is_not_needed(self):
        # It asks for a home folder, which some users have not.
        program = (
            "import sys; sys.modules['matplotlib'] = None\n"
            "from tflm.evaluation import report\n"
            f"report.evaluate({self.workdir!r}, {self.data_dir!r}, draw=False)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)

    def test_what_would_be_refused_is_refused_before_any_work(self):
        check = report.check
        check([self.workdir, self.workdir], self.data_dir, None)
        with self.assertRaisesRegex(errors.UserError, "no shards of puppets"):
            check([self.workdir], self.data_dir, "puppets")
        unscored = self.build("unscored", names=())
        check([self.workdir], unscored, None)
        with self.assertRaisesRegex(errors.UserError, "be compared: discs has"):
            check([self.workdir, self.workdir], unscored, None)
        new = str(self.root / "new")
        with checkpoints.claimed(new, CONFIG):
            pass
        with self.assertRaisesRegex(errors.UserError, "no checkpoint in .*new"):
            check([self.workdir, new], self.data_dir, None)

    def test_tables_have_the_numbers(self):
        text = report.text(self.found)

        row = [
            f"{self.found['nme_percent'][name]:.2f}"
            for name in "no_bias bias untrained_no_bias mean_shape".split()
        ]
        self.assertRegex(
            text, r"\n\| NME, % .*" + ".*".join(map(re.escape, row))
        )
        # All labels, in the table of sample efficiency.
        self.assertRegex(text, r"\| 29 \| all .*\n\| 29 \| 3 resamples ")
        for joint in ("left", "right", "mean"):
            self.assertRegex(text, rf"\n\| {joint} ")
        for name in ("dead", "consistency, px", "backward error, px"):
            self.assertIn(f"| {name} ", text)

    def test_a_single_image_has_no_other_to_be_redrawn_with(self):
        found = copy.deepcopy(self.found)
        found["bottleneck_use"]["reconstruction"]["other"] = None

        text = report.text(found)

        self.assertIn("with the source's landmarks", text)
        self.assertNotIn("held in windows", text)
        found["windows"] = 0.2
        self.assertIn("still held in windows when", report.text(found))
        self.assertNotIn("another image's", text)

    def test_the_map_to_keypoints_is_kept(self):
        shards = shards_lib.open_shards(self.data_dir, "discs")
        model = landmark_model.LandmarkModel(CONFIG.model)
        checkpoints.restore_model(self.workdir, model)
        test = detections.detect(model, CONFIG, shards, "regression_test")

        kept = keypoint_maps.load(
            checkpoints.keypoint_map_path(self.workdir),
            CONFIG.model.num_landmarks,
            keypoint_maps.fingerprint(model.detector.get_weights()),
        )

        self.assertEqual(kept.names, ("left", "right"))
        error = metrics.mean_error(
            scores.in_view(kept(test.landmarks)),
            scores.in_view(test.annotations),
        )
        self.assertAlmostEqual(
            error, self.found["mean_error_px"]["ridge"], places=3
        )

    def test_untrained_model_does_no_better_than_a_constant_by_much(self):
        nme = self.found["nme_percent"]
        self.assertLess(nme["no_bias"], 0.8 * nme["untrained_no_bias"])

    def test_fully_connected_code_is_scored_and_not_drawn(self):
        config = dataclasses.replace(
            CONFIG,
            model=dataclasses.replace(
                CONFIG.model,
                bottleneck="fully_connected",
                fully_connected_units=6,
            ),
        )
        workdir = str(self.root / "fully_connected")
        model = landmark_model.LandmarkModel(config.model)
        optimizer = tf.keras.optimizers.Adam()
        optimizer.build(model.trainable_variables)
        with checkpoints.claimed(workdir, config):
            checkpoints.save(workdir, model, optimizer, None)

        found = report.evaluate(workdir, self.data_dir)

        self.assertIsNone(found["num_landmarks"])
        self.assertIsNone(found["health"])
        self.assertEqual(found["code_units"], 6)
        self.assertGreater(found["nme_percent"]["no_bias"], 0.0)
        self.assertCountEqual(
            [
                path.name
                for path in checkpoints.evaluation_dir(
                    workdir, "discs"
                ).iterdir()
            ],
            [
                "metrics.json",
                "image_errors.npz",
                "report.html",
                *(
                    f"{name}.{ending}"
                    for name in (
                        "accuracy",
                        "sample_efficiency",
                        "sample_efficiency_pck",
                    )
                    for ending in ("png", "pdf")
                ),
            ],
        )
        self.assertFalse(
            pathlib.Path(checkpoints.keypoint_map_path(workdir)).exists()
        )
        text = report.text(found)
        self.assertIn("a fully-connected code of 6 numbers", text)
        self.assertIn("no figures of landmarks", text)

    @parameterized.named_parameters(
        ("no_keypoints", {"names": ()}, "discs has no annotations$", 30),
        (
            "no_test",
            {"roles": {"train": "train", "regression_train": "train"}},
            "discs has no annotations for regression_test$",
            30,
        ),
        (
            "test_images",
            {"names": (), "roles": {"train": "train", "test": "test"}},
            "discs has no annotations$",
            6,
        ),
    )
    def test_without_annotations_only_landmarks_are_judged(
        self, builder, expected, num_images
    ):
        data_dir = self.build(self.id().rpartition(".")[2], **builder)

        found = report.evaluate(self.workdir, data_dir, draw=False)

        self.assertRegex(found["no_annotations"], expected)
        self.assertIn(found["no_annotations"], report.text(found))
        self.assertIsNone(found["nme_percent"])
        self.assertIsNone(found["pck"])
        self.assertLen(found["health"]["spread"], 3)
        self.assertEqual(found["health"]["num_images"], num_images)
        self.assertGreater(found["consistency"]["px"], 0.0)
        self.assertEqual(found["bottleneck_use"]["num_images"], num_images)

    def test_keypoint_that_no_training_image_annotates_is_named(self):
        data_dir = self.build("absent", names=("left", "right", "never"))
        with self.assertRaisesRegex(
            errors.UserError, "none of the 30 images .* annotates never"
        ):
            report.evaluate(self.workdir, data_dir)

    def test_missing_shards_say_how_to_build_them(self):
        with self.assertRaisesRegex(FileNotFoundError, "dataset=other"):
            report.evaluate(self.workdir, self.data_dir, "other")


class ScriptTest(absltest.TestCase):
    def test_missing_run_is_one_line_and_status_1(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, ROOT / "evaluate.py", "--workdir=nowhere"],
                capture_output=True,
                text=True,
                cwd=folder,
            )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Aevaluate.py: nowhere .*\n\Z")


if __name__ == "__main__":
    absltest.main()
