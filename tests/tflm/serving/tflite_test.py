import json
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import parameterized
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from tests.tflm.serving import lively_model
from tflm import configs
from tflm import errors
from tflm.serving import detector
from tflm.serving import quantization
from tflm.serving import tflite


def _interpreter(file: pathlib.Path) -> tf.lite.Interpreter:
    return tf.lite.Interpreter(
        str(file),
        experimental_op_resolver_type=(
            tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )


def _entries(file: pathlib.Path) -> dict[str, bytes]:
    model = schema.Model.GetRootAsModel(file.read_bytes(), 0)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    return {
        entry.Name().decode(): bytes(
            model.Buffers(entry.Buffer()).DataAsNumpy()
        )
        for entry in entries
    }


class TfliteTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = lively_model.build()
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.file = pathlib.Path(scratch.name) / "detector.tflite"
        cls.config = configs.override(
            lively_model.CONFIG, ["data.crop_fraction=0.8"]
        )
        tflite.write(cls.file, cls.model, cls.config)

    def test_it_answers_like_keras(self):
        views = lively_model.views(4)
        run = tflite.load(self.file)

        answers = [run(view[None]) for view in views]

        for name in ("landmarks", "confidence"):
            answer = np.concatenate([answer[name] for answer in answers])
            expected = detector.detect_in_view(views, self.model)[name]
            self.assertAllClose(answer, expected, atol=1e-5, rtol=0)
            # Else agreement would mean little.
            self.assertAllGreater(np.std(answer, axis=0), 1e-4)

    def test_the_signature_names_what_goes_in_and_out(self):
        self.assertEqual(
            _interpreter(self.file).get_signature_list(),
            {
                "serving_default": {
                    "inputs": ["images"],
                    "outputs": ["confidence", "landmarks"],
                }
            },
        )
        runner = _interpreter(self.file).get_signature_runner("serving_default")
        (given,) = runner.get_input_details().values()
        self.assertEqual(given["dtype"], np.float32)
        self.assertAllEqual(given["shape"], [1, 32, 32, 3])
        answered = runner.get_output_details()
        self.assertAllEqual(answered["landmarks"]["shape"], [1, 3, 2])
        self.assertAllEqual(answered["confidence"]["shape"], [1, 3])

    def test_it_needs_nothing_but_builtin_ops(self):
        interpreter = _interpreter(self.file)
        interpreter.allocate_tensors()
        ops = {op["op_name"] for op in interpreter._get_ops_details()}

        self.assertIn("CONV_2D", ops)
        foreign = [op for op in ops if "Flex" in op or "CUSTOM" in op.upper()]
        self.assertEmpty(foreign)

    def test_it_says_which_view_it_takes(self):
        found = tflite.read_view(self.file)

        self.assertEqual(found.model.image_size, 32)
        self.assertEqual(found.model.num_landmarks, 3)
        self.assertEqual(found.data.crop_fraction, 0.8)

    def test_the_converter_s_own_metadata_stays(self):
        self.assertContainsSubset(
            ["min_runtime_version", "tflm_view", "tflm_model"],
            _entries(self.file),
        )

    def test_it_says_what_goes_in_and_comes_out(self):
        notes = json.loads(_entries(self.file)["tflm_model"])

        self.assertEqual(notes["input"]["range"], [0.0, 1.0])
        self.assertEqual(notes["input"]["shape"], [1, 32, 32, 3])
        self.assertEqual([*notes["outputs"]], ["landmarks", "confidence"])
        self.assertEqual(notes["keypoints"], [])
        self.assertIn("dataset puppets, whose own terms", notes["licence"])

    def test_a_file_that_does_not_say_it_is_named(self):
        for old, new in (
            (b"tflm_view", b"tflm_else"),
            (b'ize": 32', b'ize": 33'),
        ):
            content = self.file.read_bytes()
            self.assertEqual(content.count(old), 1)
            other = pathlib.Path(self.get_temp_dir()) / "other.tflite"
            other.write_bytes(content.replace(old, new))
            tflite.load(other)  # It still runs.
            with self.assertRaisesRegex(
                errors.UserError, "other.tflite does not say .*export the run"
            ):
                tflite.read_view(other)

    def test_converting_prints_nothing_and_gives_stderr_back(self):
        stderr = os.dup(2)
        with tempfile.TemporaryFile() as printed:
            os.dup2(printed.fileno(), 2)
            try:
                tflite.write(self.file, self.model, self.config)
                os.write(2, b"later")
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
            printed.seek(0)
            self.assertEqual(printed.read(), b"later")


class QuantizedTest(parameterized.TestCase, tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Wide enough: the converter leaves kernels of few numbers alone.
        cls.config = configs.override(
            lively_model.CONFIG, ["model.num_filters=8"]
        )
        cls.model = lively_model.build(cls.config)
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = pathlib.Path(scratch.name)
        for kind, keypoint_map in (
            ("float16", None),
            ("dynamic", None),
            ("int8", lively_model.KEYPOINT_MAP),
        ):
            tflite.write(
                cls.folder / tflite.file_name(kind),
                cls.model,
                cls.config,
                kind,
                keypoint_map,
                lively_model.views(16)[:, None],
            )

    def _file(self, kind: str) -> pathlib.Path:
        return self.folder / tflite.file_name(kind)

    @parameterized.parameters(
        ("float16", 0.02), ("dynamic", 0.5), ("int8", 0.5)
    )
    def test_it_answers_about_like_keras(self, kind, mean_px):
        views, run = lively_model.views(4), tflite.load(self._file(kind))

        answers = [run(view[None]) for view in views]

        expected = detector.detect_in_view(views, self.model)
        for name, allowed in (
            ("landmarks", mean_px / 127),
            ("confidence", 0.01),
        ):
            answer = np.concatenate([answer[name] for answer in answers])
            apart = np.abs(answer - expected[name].numpy())
            self.assertLess(apart.mean(), allowed)
            self.assertGreater(apart.mean(), 0.0)
            # Else the agreement would mean little.
            spread = np.std(expected[name], axis=0).mean()
            self.assertGreater(spread, 2 * apart.mean())

    @parameterized.parameters("float16", "dynamic", "int8")
    def test_callers_need_not_know_the_kind(self, kind):
        runner = _interpreter(self._file(kind)).get_signature_runner()
        (given,) = runner.get_input_details().values()
        self.assertEqual(given["dtype"], np.float32)
        self.assertEqual(
            tflite.read_view(self._file(kind)).model.image_size, 32
        )
        for answered in runner.get_output_details().values():
            self.assertEqual(answered["dtype"], np.float32)

    @parameterized.parameters(("float16", np.float16), ("dynamic", np.int8))
    def test_weights_take_less_room(self, kind, dtype):
        interpreter = _interpreter(self._file(kind))
        stored = {
            detail["dtype"]
            for detail in interpreter.get_tensor_details()
            if len(detail["shape"]) == 4
        }
        self.assertIn(dtype, stored)

    def test_the_features_are_integers_and_what_follows_is_not(self):
        interpreter = _interpreter(self._file("int8"))
        interpreter.allocate_tensors()
        types = {
            detail["index"]: detail["dtype"]
            for detail in interpreter.get_tensor_details()
        }
        ops = [
            (op["op_name"], types[op["outputs"][0]])
            for op in interpreter._get_ops_details()
        ]
        convolutions = [dtype for name, dtype in ops if name == "CONV_2D"]
        # The last are the score maps.
        self.assertEqual(
            convolutions, [np.int8] * (len(convolutions) - 1) + [np.float32]
        )
        self.assertGreater(len(convolutions), 3)
        after = ops[ops.index(("DEQUANTIZE", np.float32)) :]  # Of the features.
        self.assertNotIn(np.int8, [dtype for _, dtype in after])
        self.assertIn("SOFTMAX", [name for name, _ in after])
        # Mirrored borders do not leave the integers.
        self.assertIn(("MIRROR_PAD", np.int8), ops)

    def test_named_keypoints_come_with_a_map(self):
        views = lively_model.views(1)

        answer = tflite.load(self._file("int8"))(views)

        landmarks = answer["landmarks"][..., ::-1] * 2.0 - 1.0
        expected = (lively_model.KEYPOINT_MAP(landmarks)[..., ::-1] + 1.0) / 2.0
        self.assertAllClose(answer["keypoints"], expected, atol=1e-5)
        self.assertAllClose(
            answer["keypoint_confidence"],
            lively_model.KEYPOINT_MAP.confidence(answer["confidence"]),
            atol=1e-5,
        )
        notes = json.loads(_entries(self._file("int8"))["tflm_model"])
        self.assertEqual(notes["keypoints"], ["head", "tail"])
        self.assertCountEqual(notes["outputs"], answer)

    def test_what_cannot_be_converted_is_named(self):
        with self.assertRaisesRegex(ValueError, "unknown kind 'int4'; one of"):
            quantization.convert(lambda: None, "int4")
        with self.assertRaisesRegex(ValueError, "int8 needs images"):
            quantization.convert(mock.Mock(), "int8")


if __name__ == "__main__":
    tf.test.main()
