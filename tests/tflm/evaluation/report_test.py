import dataclasses
import io
import json
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
from tflm.evaluation import report
from tflm.models import landmark_model
from tflm.training import checkpoints

NAN = float("nan")
ROOT = pathlib.Path(__file__).parents[3]
SIZE = 32
CONFIG = configs.Config(
    data=configs.DataConfig("discs"),
    model=configs.ModelConfig(image_size=SIZE, num_landmarks=3, num_filters=4),
)
FIGURES = ("landmarks", "sample_efficiency", "score_maps", "reconstructions")


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


def _shards(names, pair):
    return shards_lib.Shards(
        builder=None,
        keypoint_names=names,
        left_right_swaps=(),
        normalizing_pair=pair,
        splits={},
    )


def _detections(landmarks, annotations):
    """As if an untrained model had all landmarks in one place."""
    nothing, landmarks = np.zeros([0]), np.array(landmarks)
    return detections.Detections(
        landmarks,
        np.full(landmarks.shape, 0.3),
        np.array(annotations),
        nothing,
        nothing,
    )


class ScoreTest(absltest.TestCase):
    def test_values_by_hand(self):
        # One landmark, two eyes 0.2 to its left and right (25.4 px apart, as
        # [-1, 1] spans 127). Training images have it at x = -0.1 and 0.1, so
        # the mean shape is that of x = 0. The test image has it at x = 0.1,
        # 6.35 px from there.
        def eyes(x):
            return [[0.0, x - 0.2], [0.0, x + 0.2]]

        train = _detections([[[0, -0.1]], [[0, 0.1]]], [eyes(-0.1), eyes(0.1)])
        test = _detections([[[0, 0.1]]], [eyes(0.1)])

        scores, _ = report.score(
            train, test, _shards(("left", "right"), (0, 1))
        )

        self.assertAlmostEqual(scores["mean_error_px"]["mean_shape"], 6.35)
        self.assertAlmostEqual(scores["nme_percent"]["mean_shape"], 25.0)
        self.assertAlmostEqual(scores["nme_percent"]["bias"], 0.0)
        # The untrained landmark does not move.
        self.assertAlmostEqual(scores["nme_percent"]["untrained_bias"], 25.0)
        self.assertAlmostEqual(scores["mean_error_px"]["untrained_bias"], 6.35)
        self.assertEqual(scores["pck_bias"]["untrained"]["6"]["mean"], 0.0)
        self.assertEqual(scores["sample_efficiency"]["error"], "nme_percent")
        all_labels = scores["sample_efficiency"]["bias"][-2]
        self.assertEqual((all_labels["n"], all_labels["draws"]), (2, 1))
        self.assertAlmostEqual(all_labels["mean"], 0.0)
        self.assertEqual(
            scores["pck"]["mean_shape"]["6"],
            {"left": 0.0, "right": 0.0, "mean": 0.0},
        )
        self.assertEqual(scores["pck"]["mean_shape"]["8"]["mean"], 100.0)
        self.assertEqual(scores["pck_bias"]["2"]["mean"], 100.0)

    def test_headline_is_the_map_without_bias(self):
        # The landmark never moves: without a bias it still is a constant, the
        # mean of the training annotations.
        train = _detections([[[0.5, 0.5]]] * 2, [[[0.0, 0.0]], [[0.0, 0.4]]])
        test = _detections([[[0.6, 0.5]]], [[[0.0, 0.2]]])

        scores, regressed_px = report.score(train, test, _shards(("a",), None))

        self.assertIsNone(scores["nme_percent"])
        self.assertAlmostEqual(scores["mean_error_px"]["bias"], 0.0)
        self.assertGreater(scores["mean_error_px"]["no_bias"], 1.0)
        self.assertEqual(scores["pck"]["2"]["mean"], 0.0)
        self.assertEqual(scores["pck_bias"]["2"]["mean"], 100.0)
        error = regressed_px - [[[63.5, 76.2]]]
        self.assertAlmostEqual(
            float(np.linalg.norm(error)), scores["mean_error_px"]["no_bias"]
        )

    def test_keypoint_annotated_only_in_training_is_none(self):
        train = _detections([[[0, 0]]], [[[0, 0], [0.5, 0.5]]])
        test = _detections([[[0, 0]]], [[[0, 0], [NAN, NAN]]])

        scores, _ = report.score(train, test, _shards(("a", "b"), (0, 1)))

        self.assertEqual(
            scores["pck"]["6"], {"a": 100.0, "b": None, "mean": 100.0}
        )
        self.assertIsNone(scores["nme_percent"]["bias"])
        self.assertEqual(scores["sample_efficiency"]["error"], "mean_error_px")

    def test_without_a_fully_annotated_image_there_is_no_sample_efficiency(
        self,
    ):
        annotations = [[[0, 0], [NAN, NAN]], [[NAN, NAN], [0, 0]]]
        train = _detections([[[0, 0]]] * 2, annotations)
        test = _detections([[[0, 0]]], annotations[:1])

        scores, _ = report.score(train, test, _shards(("a", "b"), None))

        self.assertIsNone(scores["sample_efficiency"])


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
        cls.found = report.evaluate(cls.workdir, cls.data_dir)

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
            ["metrics.json", *(f"{name}.png" for name in FIGURES)],
        )
        for name in FIGURES:
            with Image.open(self.outputs() / f"{name}.png") as image:
                self.assertGreater(min(image.size), 300)

    def test_table_has_the_numbers(self):
        text = report.table(self.found)

        nme = self.found["nme_percent"]
        methods = "no_bias bias untrained_no_bias untrained_bias mean_shape"
        row = [f"{nme[name]:.2f}" for name in methods.split()]
        self.assertRegex(text, "NME, % +" + " +".join(map(re.escape, row)))
        # All labels, in the table of sample efficiency.
        self.assertRegex(text, r"\n +29 +all +\d.*\n +29 +3 resamples +\d")
        for joint in ("left", "right", "mean"):
            self.assertRegex(text, rf"PCK@6 px, %: {joint} ")

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
            ["metrics.json", "sample_efficiency.png"],
        )
        text = report.table(found)
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

        found = report.evaluate(self.workdir, data_dir)

        self.assertRegex(found["no_annotations"], expected)
        self.assertIn(found["no_annotations"], report.table(found))
        self.assertIsNone(found["nme_percent"])
        self.assertIsNone(found["pck"])
        self.assertLen(found["health"]["spread"], 3)
        self.assertEqual(found["health"]["num_images"], num_images)

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
