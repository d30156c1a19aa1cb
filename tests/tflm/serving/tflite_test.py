import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from tests.tflm.serving import lively_model
from tflm import configs
from tflm import errors
from tflm.serving import detector
from tflm.serving import tflite


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

    def _interpreter(self) -> tf.lite.Interpreter:
        return tf.lite.Interpreter(str(self.file))

    def test_it_answers_like_keras(self):
        views = (lively_model.images(4, 32, 32) / 255.0).astype(np.float32)
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
            self._interpreter().get_signature_list(),
            {
                "serving_default": {
                    "inputs": ["images"],
                    "outputs": ["confidence", "landmarks"],
                }
            },
        )
        runner = self._interpreter().get_signature_runner("serving_default")
        (given,) = runner.get_input_details().values()
        self.assertEqual(given["dtype"], np.float32)
        self.assertAllEqual(given["shape"], [1, 32, 32, 3])
        answered = runner.get_output_details()
        self.assertAllEqual(answered["landmarks"]["shape"], [1, 3, 2])
        self.assertAllEqual(answered["confidence"]["shape"], [1, 3])

    def test_it_needs_nothing_but_builtin_ops(self):
        interpreter = tf.lite.Interpreter(
            str(self.file),
            experimental_op_resolver_type=(
                tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            ),
        )
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
        model = schema.Model.GetRootAsModel(self.file.read_bytes(), 0)
        entries = [model.Metadata(i) for i in range(model.MetadataLength())]
        names = [entry.Name().decode() for entry in entries]
        self.assertContainsSubset(["min_runtime_version", "tflm_view"], names)

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


if __name__ == "__main__":
    tf.test.main()
