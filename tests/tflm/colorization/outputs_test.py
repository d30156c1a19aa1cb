import pathlib

import h5py
import numpy as np
import tensorflow as tf

from tflm.colorization import outputs


class OutputsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.get_temp_dir()) / self.id()
        self.folder.mkdir()

    def test_layout_of_the_weights(self):
        kernel = np.arange(3 * 3 * 2 * 5, dtype=np.float64).reshape(3, 3, 2, 5)
        bias = np.arange(5.0)
        path = self.folder / "weights.h5"
        path.write_text("an older file")
        outputs.write_weights(path, {"conv1_1": (kernel, bias)})
        with h5py.File(path) as file:
            stored = file["data/conv1_1/0"]
            self.assertEqual(stored.shape, (5, 2, 3, 3))
            self.assertEqual(stored.dtype, np.float32)
            for y, x, into, out in ((0, 0, 0, 0), (2, 1, 1, 4), (1, 2, 0, 3)):
                self.assertEqual(
                    stored[out, into, y, x], kernel[y, x, into, out]
                )
            self.assertAllEqual(file["data/conv1_1/1"], bias)
        self.assertEqual(
            [p.name for p in self.folder.iterdir()], ["weights.h5"]
        )

    def test_a_write_that_fails_leaves_the_older_file(self):
        path = self.folder / "weights.h5"
        path.write_text("an older file")
        with self.assertRaises(ValueError):
            outputs.write_weights(path, {"conv1_1": (np.zeros([3]), 0)})
        self.assertEqual(path.read_text(), "an older file")

    def test_rows_of_the_picture(self):
        grey = np.stack([np.full([64, 64], value) for value in (0.0, 0.4)])
        red, blue = np.zeros([2, 64, 64, 3]), np.zeros([2, 64, 64, 3])
        red[..., 0], blue[..., 2] = 1.0, 1.0
        path = self.folder / "picture.png"
        outputs.write_picture(path, grey, red, blue)
        picture = tf.io.decode_png(path.read_bytes()).numpy()
        self.assertEqual(picture.shape, (3 * 128, 2 * 128, 3))
        self.assertAllEqual(picture[0, [0, 255]], [[0] * 3, [102] * 3])
        self.assertAllEqual(picture[128, [0, 255]], [[255, 0, 0]] * 2)
        self.assertAllEqual(picture[383, [0, 255]], [[0, 0, 255]] * 2)


if __name__ == "__main__":
    tf.test.main()
