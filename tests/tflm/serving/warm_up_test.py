import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tflm.serving import warm_up


def _read(file) -> list[prediction_log_pb2.PredictionLog]:
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(file))
    ]


class WarmUpTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        scratch = self.enter_context(tempfile.TemporaryDirectory())
        self.file = pathlib.Path(scratch) / "assets.extra" / "requests"

    def test_tensorflow_serving_s_own_classes_read_them(self):
        # Lengths of one, two and three bytes.
        sizes = (1, 1_000, 100_000)
        inputs = {
            f"input{size}": np.random.RandomState(size).rand(size)
            for size in sizes
        }
        text = {"image_bytes": np.array([b"\xff\x00\xd8"], object)}

        warm_up.write(self.file, [("one", inputs), ("two", text)])

        one, two = (log.predict_log.request for log in _read(self.file))
        self.assertEqual(one.model_spec.signature_name, "one")
        self.assertEqual(two.model_spec.signature_name, "two")
        self.assertCountEqual(one.inputs, inputs)
        for name, value in inputs.items():
            np.testing.assert_array_equal(
                tf.make_ndarray(one.inputs[name]), value
            )
        (content,) = tf.make_ndarray(two.inputs["image_bytes"])
        self.assertEqual(content, b"\xff\x00\xd8")

    def test_nothing_is_left_that_the_classes_do_not_know(self):
        request = [("serving_default", {"images": np.zeros([1, 4, 4, 3])})]
        warm_up.write(self.file, request)
        (record,) = tf.data.TFRecordDataset(str(self.file))
        (log,) = _read(self.file)
        self.assertEqual(log.WhichOneof("log_type"), "predict_log")
        log.DiscardUnknownFields()
        self.assertEqual(log.ByteSize(), len(record.numpy()))


if __name__ == "__main__":
    absltest.main()
