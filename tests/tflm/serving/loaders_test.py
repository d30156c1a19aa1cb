"""What is exported, run by what does not know tflm."""

import atexit
import functools
import pathlib
import shutil
import tempfile
import unittest

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.loaders import interpreters
from tests.loaders import programs
from tests.loaders import signature_requests
from tests.tflm.serving import lively_model
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import detector
from tflm.serving import onnx_file
from tflm.serving import quantization
from tflm.serving import saved_model
from tflm.serving import tflite

_WEIGHTS = np.random.RandomState(0).normal(size=[6, 2, 2]).astype(np.float32)
_MAP = keypoint_maps.KeypointMap(
    ("head", "Mündung"), _WEIGHTS, np.zeros([2, 2], np.float32)
)
# Larger and smaller than the view, and as large.
_SIZES = [(40, 70), (97, 20), (32, 32)]


def _strings(*texts: bytes) -> np.ndarray:
    return np.array(texts, object)


_PIXELS = np.zeros([1, 9, 9, 3], np.uint8)
# Requests that make no sense, and what is said of each.
_MALFORMED = {
    "no_signature": ("nothing", {}, "NOT_FOUND: .*nothing"),
    "no_input": (
        "serving_default",
        {},
        "INVALID_ARGUMENT: .*needs the input images",
    ),
    "other_type": (
        "serving_default",
        {"images": _PIXELS.astype(np.float32)},
        "INVALID_ARGUMENT: .*uint8 but float",
    ),
    "no_batch": (
        "serving_default",
        {"images": _PIXELS[0]},
        "INVALID_ARGUMENT: .*4-dimensional",
    ),
    "four_channels": (
        "heatmaps",
        {"images": np.zeros([1, 9, 9, 4], np.uint8)},
        "INVALID_ARGUMENT: .*images must have 3 channels",
    ),
    # Two groups of three, as a convolution takes them.
    "six_channels": (
        "serving_default",
        {"images": np.zeros([1, 9, 9, 6], np.uint8)},
        "INVALID_ARGUMENT: .*images must have 3 channels",
    ),
    "no_images": (
        "keypoints",
        {"images": _PIXELS[:0]},
        "INVALID_ARGUMENT: .*no images",
    ),
    "no_pixels": (
        "serving_default",
        {"images": _PIXELS[:, :0]},
        "INVALID_ARGUMENT: .*2 x 2 pixels",
    ),
    "not_a_number": (
        "serving_float",
        {"images": np.full([1, 9, 9, 3], np.nan, np.float32)},
        "INVALID_ARGUMENT: .*must be numbers in",
    ),
    "one_of_two": (
        "reconstruct",
        {"style_images": _PIXELS},
        "INVALID_ARGUMENT: .*needs the input geometry_images",
    ),
    "another_count": (
        "reconstruct",
        {
            "style_images": _PIXELS,
            "geometry_images": np.repeat(_PIXELS, 2, axis=0),
        },
        "INVALID_ARGUMENT: .*as many style_images",
    ),
    "a_file_alone": (
        "predict_bytes",
        {"image_bytes": np.array(b"", object)},
        "INVALID_ARGUMENT: .*out of bounds",
    ),
}


@functools.cache
def _exported() -> tuple[landmark_model.LandmarkModel, pathlib.Path]:
    """A model, and the folder of its SavedModel."""
    scratch = pathlib.Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, scratch)
    model = lively_model.build()
    saved_model.write(scratch / "1", model, lively_model.CONFIG, _MAP)
    return model, scratch / "1"


class CppTest(parameterized.TestCase, tf.test.TestCase):
    """By the loader of TensorFlow Serving, in a process without Python."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if programs.find_compiler() is None:
            raise unittest.SkipTest("no g++: the loader in C++ is not tested")
        model, folder = _exported()
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        program = programs.build(scratch.name)
        cls.requests = [
            request
            for size in _SIZES
            for request in signature_requests.for_every_signature(
                lively_model.images(*size), model, lively_model.CONFIG, _MAP
            )
        ]
        (cls.png,) = cls.requests[2].inputs["image_bytes"]
        cls.files = _strings(cls.png, b"", cls.png[:-300], cls.png)
        # One process for all: it takes seconds to start.
        *cls.answers, cls.of_files, cls.last = programs.run(
            [str(program)],
            folder,
            [
                *(each[:2] for each in _MALFORMED.values()),
                *((each.signature, each.inputs) for each in cls.requests),
                ("predict_bytes", {"image_bytes": cls.files}),
                ("serving_default", cls.requests[0].inputs),
            ],
            repeat=1,
            num_threads=1,
        )
        cls.refused = dict(zip(_MALFORMED, cls.answers))
        cls.answers = cls.answers[len(_MALFORMED) :]

    def test_every_signature_answers_like_keras(self):
        signatures = {request.signature for request in self.requests}
        self.assertLen(signatures, 6)
        for request, answer in zip(self.requests, self.answers):
            with self.subTest(request.signature):
                self.assertEqual(answer.status, "OK")
                for name, value in request.expected.items():
                    found = answer.outputs[name]
                    self.assertEqual(found.dtype, value.dtype)
                    self.assertEqual(found.shape, value.shape)
                    # Rounding to whole levels may tell a millionth apart.
                    is_level = value.dtype == np.uint8
                    self.assertAllClose(
                        found.astype(float),
                        value.astype(float),
                        atol=1.0 if is_level else 1e-5,
                        rtol=0,
                    )

    def test_keypoints_have_names(self):
        outputs = self.answers[5].outputs
        expected = [[b"head", "Mündung".encode()]]
        self.assertAllEqual(outputs["names"], expected)

    def test_a_bad_file_does_not_fail_the_others(self):
        outputs = self.of_files.outputs

        self.assertEqual(
            outputs["error"].tolist(),
            [b"", b"neither JPEG nor PNG", b"does not decode", b""],
        )
        expected = self.requests[2].expected
        for index in (0, 3):
            for name, value in expected.items():
                self.assertAllClose(
                    outputs[name][index], value[0], atol=1e-5, rtol=0
                )
        self.assertAllEqual(outputs["landmarks"][1:3], -np.ones([2, 3, 2]))
        self.assertAllEqual(outputs["confidence"][1:3], np.zeros([2, 3]))

    @parameterized.parameters(*_MALFORMED)
    def test_a_malformed_request_gets_a_status(self, name):
        answer = self.refused[name]
        self.assertRegex(answer.status, rf"\A{_MALFORMED[name][2]}")
        self.assertEmpty(answer.outputs)

    def test_it_lives_on_and_tells_the_time(self):
        self.assertEqual(self.last.status, "OK")
        self.assertGreater(self.last.median_ms, 0.0)


class InterpretersTest(parameterized.TestCase, tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model, _ = _exported()
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = pathlib.Path(scratch.name)
        views = lively_model.images(4, 32, 32)[:, None] / np.float32(255.0)
        cls.view = views[0]
        for kind in quantization.KINDS:
            tflite.write(
                cls.folder / f"{kind}.tflite",
                cls.model,
                lively_model.CONFIG,
                kind,
                _MAP,
                views,
            )
        cls.onnx_file = cls.folder / "detector.onnx"
        onnx_file.write(cls.onnx_file, cls.model, lively_model.CONFIG, _MAP)
        found = detector.detect_in_view(cls.view, cls.model, _MAP)
        cls.expected = {name: part.numpy() for name, part in found.items()}

    @parameterized.product(
        load=[
            interpreters.tf_lite,
            interpreters.ai_edge_litert,
            interpreters.openvino,
        ],
        kind=quantization.KINDS,
    )
    def test_every_kind_answers_alike(self, load, kind):
        file = self.folder / f"{kind}.tflite"

        answer = load(file, 1)(self.view)

        self.assertLen(answer, 4)
        self.assertCountEqual(answer, self.expected)
        expected, atol = self.expected, 1e-5
        if kind != "float32":
            # How far these are from Keras: tflite_test.
            expected = interpreters.tf_lite(file, 1)(self.view)
            atol = 0.01 if kind == "int8" else 1e-5
        for name, value in expected.items():
            self.assertAllClose(answer[name], value, atol=atol, rtol=0)

    @parameterized.product(
        load=[interpreters.onnxruntime, interpreters.openvino], count=[1, 3]
    )
    def test_onnx_answers_alike_in_batches_of_any_size(self, load, count):
        views = lively_model.images(count, 32, 32) / np.float32(255.0)

        answer = load(self.onnx_file, 1)(views)

        expected = detector.detect_in_view(views, self.model, _MAP)
        self.assertCountEqual(answer, expected)
        self.assertAllClose(answer, expected, atol=1e-5, rtol=0)

    def test_openvino_runs_the_default_signature_of_the_saved_model(self):
        _, folder = _exported()
        run = interpreters.openvino(folder, 1)
        for size in _SIZES:
            with self.subTest(str(size)):
                images = lively_model.images(2, *size)
                expected = detector.detect(
                    tf.constant(images), self.model, lively_model.CONFIG
                )
                self.assertAllClose(run(images), expected, atol=1e-5, rtol=0)


if __name__ == "__main__":
    tf.test.main()
