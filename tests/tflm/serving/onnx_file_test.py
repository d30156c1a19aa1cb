import json
import pathlib
import sys
import tempfile
from unittest import mock

from absl.testing import parameterized
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf

from tests.tflm.serving import lively_model
from tflm import configs
from tflm import errors
from tflm.serving import detector
from tflm.serving import onnx_file


class OnnxFileTest(parameterized.TestCase, tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = lively_model.build()
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.file = pathlib.Path(scratch.name) / "detector.onnx"
        cls.config = configs.override(
            lively_model.CONFIG, ["data.crop_fraction=0.8"]
        )
        onnx_file.write(
            cls.file, cls.model, cls.config, lively_model.KEYPOINT_MAP
        )
        cls.content = onnx.load(cls.file)

    @parameterized.parameters(1, 3)
    def test_it_answers_like_keras(self, count):
        views = lively_model.views(count)

        answer = onnx_file.load(self.file)(views)

        expected = detector.detect_in_view(
            views, self.model, lively_model.KEYPOINT_MAP
        )
        self.assertCountEqual(answer, expected)
        for name, value in expected.items():
            self.assertEqual(answer[name].dtype, np.float32)
            self.assertAllClose(answer[name], value, atol=1e-5, rtol=0)
            if count > 1:  # Else agreement would mean little.
                self.assertAllGreater(np.std(answer[name], axis=0), 1e-4)

    def test_other_settings_are_converted_too(self):
        config = configs.override(
            lively_model.CONFIG,
            ["model.padding=zero", "model.marginal=sum"],
        )
        model = lively_model.build(config)
        file = pathlib.Path(self.get_temp_dir()) / "other.onnx"
        views = lively_model.views(2)

        onnx_file.write(file, model, config)

        self.assertAllClose(
            onnx_file.load(file)(views),
            detector.detect_in_view(views, model),
            atol=1e-5,
            rtol=0,
        )

    def test_it_names_what_goes_in_and_out(self):
        session = onnxruntime.InferenceSession(
            self.file, providers=["CPUExecutionProvider"]
        )
        (given,) = session.get_inputs()
        answered = {each.name: each for each in session.get_outputs()}

        self.assertEqual(given.name, "images")
        self.assertEqual(given.shape, ["N", 32, 32, 3])
        self.assertEqual(
            {name: each.shape for name, each in answered.items()},
            {
                "landmarks": ["N", 3, 2],
                "confidence": ["N", 3],
                "keypoints": ["N", 2, 2],
                "keypoint_confidence": ["N", 2],
            },
        )
        types = {each.type for each in (given, *answered.values())}
        self.assertEqual(types, {"tensor(float)"})

    def test_it_needs_nothing_but_onnx_s_own_ops(self):
        onnx.checker.check_model(self.content, full_check=True)

        opsets = [
            (each.domain, each.version) for each in self.content.opset_import
        ]
        self.assertEqual(opsets, [("", 15)])
        ops = {node.op_type for node in self.content.graph.node}
        self.assertIn("Conv", ops)
        # No op's output has a size that depends on numbers.
        self.assertNoCommonElements(
            ops, {"Compress", "NonZero", "Loop", "If", "Scan"}
        )

    def test_it_says_which_view_it_takes(self):
        found = onnx_file.read_view(self.file)

        self.assertEqual(found.model.image_size, 32)
        self.assertEqual(found.model.num_landmarks, 3)
        self.assertEqual(found.data.crop_fraction, 0.8)

    def test_it_says_what_goes_in_and_comes_out(self):
        properties = {
            each.key: each.value for each in self.content.metadata_props
        }
        notes = json.loads(properties["tflm_model"])

        self.assertCountEqual(properties, ["tflm_view", "tflm_model"])
        self.assertEqual(notes["input"]["shape"], ["N", 32, 32, 3])
        self.assertEqual(
            notes["outputs"]["keypoint_confidence"], "[N, 2], 0 to 1"
        )
        self.assertCountEqual(
            notes["outputs"],
            [each.name for each in self.content.graph.output],
        )
        self.assertEqual(notes["keypoints"], ["head", "tail"])
        self.assertIn("dataset puppets, whose own terms", notes["licence"])
        self.assertEqual(self.content.producer_name, "tf2onnx")

    def test_a_file_that_does_not_say_it_is_named(self):
        file = pathlib.Path(self.get_temp_dir()) / "other.onnx"
        for notes in ({}, {"tflm_view": "{}"}):
            other = onnx.ModelProto.FromString(self.file.read_bytes())
            onnx.helper.set_model_props(other, notes)
            onnx.save(other, file)
            onnx_file.load(file)  # It still runs.
            with self.assertRaisesRegex(
                errors.UserError, "other.onnx does not say .*export the run"
            ):
                onnx_file.read_view(file)

    @parameterized.parameters("onnx", "onnxruntime", "tf2onnx")
    def test_a_missing_package_is_named_in_one_line(self, package):
        onnx_file.check_packages()
        with mock.patch.dict(sys.modules, {package: None}):
            with self.assertRaises(errors.UserError) as caught:
                onnx_file.check_packages()
        self.assertEqual(
            str(caught.exception),
            f"--onnx needs the package {package}; pip install -c"
            " requirements.txt onnx onnxruntime tf2onnx",
        )

    def test_a_file_is_loaded_by_onnxruntime_alone(self):
        others = {"onnx": None, "tf2onnx": None}
        with mock.patch.dict(sys.modules, others):
            onnx_file.load(self.file)
        with mock.patch.dict(sys.modules, {"onnxruntime": None}):
            with self.assertRaises(errors.UserError) as caught:
                onnx_file.load("detector.onnx")
        self.assertEqual(
            str(caught.exception),
            "detector.onnx needs the package onnxruntime; pip install -c"
            " requirements.txt onnxruntime",
        )


if __name__ == "__main__":
    tf.test.main()
