import pathlib
import shutil
import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.tflm.serving import lively_model
from tflm import configs
from tflm import errors
from tflm import serving
from tflm.evaluation import keypoint_maps
from tflm.serving import detector
from tflm.serving import loading
from tflm.serving import onnx_file
from tflm.serving import saved_model
from tflm.serving import tflite
from tflm.training import checkpoints
from tflm.training import optimizers

_CONFIG = configs.override(lively_model.CONFIG, ["data.crop_fraction=0.8"])
_SIZES = [(40, 90), (97, 41), (40, 90), (20, 30), (32, 32)]
_FORMS = (
    "run",
    "run/export",
    "run/export/saved_model",
    "run/export/saved_model/1",
    "run/export/detector.tflite",
    "run/export/detector.onnx",
)


def _keypoint_map(num_landmarks: int) -> keypoint_maps.KeypointMap:
    """`same` is landmark 0; `right` lies 4 units to the right of it."""
    weights = np.zeros([2 * num_landmarks, 2, 2], np.float32)
    weights[0, :, 0] = weights[1, :, 1] = 1.0
    bias = np.array([[0.0, 0.0], [0.0, 4.0]], np.float32)
    return keypoint_maps.KeypointMap(("same", "right"), weights, bias)


class LoadDetectorTest(parameterized.TestCase, tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.root = pathlib.Path(scratch.name)
        cls.model = lively_model.build()
        run, export = cls.root / "run", cls.root / "run" / "export"
        optimizer = optimizers.adam(_CONFIG.train)
        optimizer.build(cls.model.trainable_variables)
        with checkpoints.claimed(str(run), _CONFIG):
            checkpoints.save(str(run), cls.model, optimizer, None)
        saved_model.write(export / "saved_model" / "1", cls.model, _CONFIG)
        tflite.write(export / "detector.tflite", cls.model, _CONFIG)
        onnx_file.write(export / "detector.onnx", cls.model, _CONFIG)
        cls.images = [lively_model.images(*size) for size in _SIZES]
        answers = [
            detector.detect(tf.constant(image[None]), cls.model, _CONFIG)
            for image in cls.images
        ]
        cls.expected = {
            name: np.concatenate([answer[name] for answer in answers])
            for name in ("landmarks", "confidence")
        }

    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)

    def _copy_of_run(self) -> pathlib.Path:
        ignored = shutil.ignore_patterns("export")
        return pathlib.Path(
            shutil.copytree(
                self.root / "run", self.scratch / "copy", ignore=ignored
            )
        )

    def _save_map(self, run: pathlib.Path, num_landmarks: int) -> None:
        _keypoint_map(num_landmarks).save(
            checkpoints.keypoint_map_path(str(run)),
            keypoint_maps.fingerprint(self.model.detector.get_weights()),
        )

    @parameterized.parameters(*_FORMS)
    def test_every_form_answers_like_keras_on_images_of_mixed_sizes(self, form):
        found = serving.load_detector(self.root / form, batch_size=2)

        answer = found(self.images)

        for name, expected in self.expected.items():
            self.assertEqual(answer[name].dtype, np.float32)
            self.assertAllClose(answer[name], expected, atol=1e-4, rtol=0)
        # Else agreement would mean little.
        self.assertAllGreater(np.std(answer["landmarks"], axis=0), 1e-3)
        self.assertEqual(found.num_landmarks, 3)
        self.assertIsNone(found.keypoint_map)

    def test_an_export_knows_its_views_also_where_it_is_alone(self):
        for name in ("saved_model", "detector.tflite", "detector.onnx"):
            moved = self.scratch / name
            copy = shutil.copytree if name == "saved_model" else shutil.copy
            copy(self.root / "run" / "export" / name, moved)
            answer = serving.load_detector(moved)(self.images)
            self.assertAllClose(
                answer["landmarks"], self.expected["landmarks"], atol=1e-4
            )

    def test_a_detector_of_small_numbers_is_taken_too(self):
        file = self.scratch / "detector_int8.tflite"
        sample = [lively_model.images(32, 32)[None] / np.float32(255.0)]
        tflite.write(
            file, self.model, _CONFIG, "int8", calibration_views=sample
        )

        answer = serving.load_detector(file)(self.images)

        apart = np.abs(answer["landmarks"] - self.expected["landmarks"])
        self.assertLess(apart.mean(), 0.02)
        self.assertGreater(apart.mean(), 1e-4)

    def test_the_newest_version_of_a_saved_model_is_taken(self):
        (self.scratch / "9").mkdir()
        for version in ("2", "10"):
            shutil.copytree(
                self.root / "run/export/saved_model/1", self.scratch / version
            )
        (self.scratch / "2" / "assets.extra" / "view.json").unlink()
        serving.load_detector(self.scratch)

    def test_an_array_of_images_and_no_images(self):
        found = serving.load_detector(self.root / "run")
        images = lively_model.images(3, 40, 50)

        together = found(images)

        expected = detector.detect(tf.constant(images), self.model, _CONFIG)
        self.assertAllClose(together, expected, atol=1e-4)
        self.assertEqual(found([])["landmarks"].shape, (0, 3, 2))
        self.assertEqual(found([])["confidence"].shape, (0, 3))

    def test_the_model_sees_batches_of_one_shape(self):
        shapes = []

        def find(views):
            shapes.append(views.shape)
            count = len(views)
            return {
                "landmarks": np.zeros([count, 3, 2]),
                "confidence": np.ones([count, 3]),
            }

        loading.Detector(find, _CONFIG, batch_size=2)(self.images)

        self.assertEqual(
            shapes, [(2, 32, 32, 3), (2, 32, 32, 3), (1, 32, 32, 3)]
        )

    @parameterized.parameters(
        (np.zeros([8, 8, 3], np.float32),),
        (np.zeros([8, 8], np.uint8),),
        (np.zeros([8, 8, 4], np.uint8),),
        (np.zeros([1, 8, 3], np.uint8),),
    )
    def test_what_is_no_image_is_refused(self, image):
        found = loading.Detector(lambda views: {}, _CONFIG)
        with self.assertRaisesRegex(ValueError, "an image must be uint8"):
            found([image])

    def test_named_keypoints_are_not_clipped_and_landmarks_are(self):
        run = self._copy_of_run()
        self._save_map(run, 3)
        found = serving.load_detector(run)

        landmarks = found(self.images)["landmarks"]
        named = found.keypoints(landmarks, _SIZES)

        self.assertEqual(found.keypoint_map.names, ("same", "right"))
        self.assertAllClose(named[:, 0], landmarks[:, 0], atol=1e-5)
        # 4 units are 62 of the 40 columns that an image is squeezed to.
        widths = np.array([width for _, width in _SIZES])
        moved = 62.0 / 40.0 * widths / (widths - 1)
        self.assertAllClose(
            named[:, 1] - named[:, 0],
            np.stack([moved, np.zeros_like(moved)], axis=-1),
            atol=1e-5,
        )
        self.assertAllGreater(named[:, 1, 0], 1.0)

    def test_without_a_map_there_are_no_keypoints(self):
        found = loading.Detector(lambda views: {}, _CONFIG)
        with self.assertRaisesRegex(ValueError, "no map to named keypoints"):
            found.keypoints(np.zeros([1, 3, 2]), [(8, 8)])

    def test_a_map_for_another_model_is_refused(self):
        run = self._copy_of_run()
        self._save_map(run, 4)
        with self.assertRaisesRegex(errors.UserError, "maps 4 landmarks, the"):
            serving.load_detector(run)

    def test_a_map_that_was_fitted_before_more_training_is_refused(self):
        run = self._copy_of_run()
        _keypoint_map(3).save(
            checkpoints.keypoint_map_path(str(run)),
            keypoint_maps.fingerprint([np.zeros([2])]),
        )
        with self.assertRaisesRegex(errors.UserError, "python evaluate.py"):
            serving.load_detector(run)

    def test_what_cannot_be_loaded_is_named_in_one_line(self):
        (self.scratch / "empty").mkdir()
        (self.scratch / "notes.txt").touch()
        (self.scratch / "broken.tflite").write_bytes(b"TFL3")
        sound = (self.root / "run/export/detector.onnx").read_bytes()
        (self.scratch / "half.onnx").write_bytes(sound[: len(sound) // 2])
        (self.scratch / "empty.onnx").touch()
        shutil.copytree(
            self.root / "run/export/saved_model/1", self.scratch / "damaged"
        )
        (self.scratch / "damaged" / "saved_model.pb").write_bytes(b"x" * 99)
        untrained = self._copy_of_run()
        shutil.rmtree(untrained / "checkpoints")
        for name, message in (
            ("nowhere", "nowhere does not exist; give the folder of a run"),
            ("empty", "empty is no model; give the folder of a run"),
            ("notes.txt", "notes.txt is no model"),
            ("broken.tflite", "broken.tflite is damaged"),
            ("half.onnx", "half.onnx is damaged or of another kind of model"),
            ("empty.onnx", "empty.onnx is damaged or of another kind"),
            ("damaged", "damaged is damaged; export"),
            ("copy", "no checkpoint in .*copy"),
        ):
            with self.subTest(name):
                with self.assertRaisesRegex(
                    errors.UserError, message
                ) as caught:
                    serving.load_detector(self.scratch / name)
                self.assertNotIn("\n", str(caught.exception))

    def test_a_run_without_landmarks_is_refused(self):
        run = str(self.scratch / "codes")
        config = configs.override(_CONFIG, ["model.bottleneck=fully_connected"])
        with checkpoints.claimed(run, config):
            pass
        with self.assertRaisesRegex(errors.UserError, "codes has no landmarks"):
            serving.load_detector(run)


if __name__ == "__main__":
    tf.test.main()
