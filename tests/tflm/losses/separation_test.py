import math

import tensorflow as tf

from tflm.losses import separation


class SeparationTest(tf.test.TestCase):
    def test_two_landmarks_by_hand(self):
        landmarks = tf.constant([[[0.0, 0.0], [0.0, 0.2]]])
        # 0.2 is two sigma: each sees the other at exp(-2).
        found = separation.separation(landmarks, sigma=0.1)
        self.assertAllClose(found, math.exp(-2.0))

    def test_landmarks_in_one_place_count_all_the_others(self):
        found = separation.separation(tf.zeros([3, 5, 2]), sigma=0.1)
        self.assertAllClose(found, 4.0)

    def test_one_landmark_is_alone(self):
        self.assertAllClose(separation.separation(tf.ones([2, 1, 2]), 0.1), 0.0)

    def test_the_gradient_pushes_apart(self):
        landmarks = tf.constant([[[0.0, 0.0], [0.0, 0.1]]])
        with tf.GradientTape() as tape:
            tape.watch(landmarks)
            value = separation.separation(landmarks, sigma=0.1)
        gradient = tape.gradient(value, landmarks)
        self.assertGreater(gradient[0, 0, 1], 0.0)  # Less if it went left.
        self.assertLess(gradient[0, 1, 1], 0.0)
        self.assertAllClose(gradient[0, :, 0], [0.0, 0.0])


if __name__ == "__main__":
    tf.test.main()
