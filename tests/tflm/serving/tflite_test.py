import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from tests.tflm.serving import lively_model
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
        tflite.write(cls.file, cls.model)

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

    def test_converting_prints_nothing_and_gives_stderr_back(self):
        stderr = os.dup(2)
        with tempfile.TemporaryFile() as printed:
            os.dup2(printed.fileno(), 2)
            try:
                tflite.write(self.file, self.model)
                os.write(2, b"later")
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
            printed.seek(0)
            self.assertEqual(printed.read(), b"later")


if __name__ == "__main__":
    tf.test.main()
