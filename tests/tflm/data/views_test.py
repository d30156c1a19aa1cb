import dataclasses

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm.data import views

CELEBA = configs.override(configs.PRESETS["celeba"], [])


class ViewsTest(tf.test.TestCase):
    def test_celeba_points_by_hand(self):
        # 218 x 178 becomes 160 x 160, of which 16 ... 143 are kept.
        nose_px = np.array([[138.5, 88.5]], np.float32)
        y = (138.5 + 0.5) * 160 / 218 - 0.5 - 16
        x = (88.5 + 0.5) * 160 / 178 - 0.5 - 16
        expected = [[y / 127 * 2 - 1, x / 127 * 2 - 1]]
        self.assertAllClose(
            views.points_to_square(nose_px, (218, 178), CELEBA), expected
        )

    def test_points_from_square_inverts(self):
        points = tf.random.stateless_uniform([5, 2], (1, 2), -1.5, 1.5)
        there = views.points_from_square(points, (218, 178), CELEBA)
        back = views.points_to_square(there, (218, 178), CELEBA)
        self.assertAllClose(back, points, atol=1e-5)

    def test_a_dot_stays_at_its_keypoint(self):
        config = dataclasses.replace(
            CELEBA, model=configs.ModelConfig(image_size=64)
        )
        point = np.array([130.0, 100.0])
        y, x = np.mgrid[0:218, 0:178]
        dot = np.exp(-((y - point[0]) ** 2 + (x - point[1]) ** 2) / 18)
        view = views.square(tf.constant(dot[..., None], tf.float32), config)
        weights = view.numpy()[..., 0]
        rows, columns = np.mgrid[0:64, 0:64]
        centre = np.array([(weights * rows).sum(), (weights * columns).sum()])
        found = centre / weights.sum() / 63 * 2 - 1
        expected = views.points_to_square(point, (218, 178), config)
        self.assertAllClose(found, expected, atol=0.005)  # 0.16 pixels.


if __name__ == "__main__":
    tf.test.main()
