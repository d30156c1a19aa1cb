from absl.testing import absltest
import numpy as np

from tflm.training import health


class HealthTest(absltest.TestCase):
    def test_dead_moving_and_duplicated(self):
        moving = np.array([[-0.3, 0.0], [0.3, 0.0]])  # Spread 0.3.
        still = np.array([[0.5, 0.5], [0.5, 0.52]])  # Spread 0.01.
        landmarks = np.stack(
            [moving, still, moving + 0.03, -moving], axis=1
        )  # [2, 4, 2]
        found = health.landmark_health(landmarks)
        np.testing.assert_allclose(found.spread, [0.3, 0.01, 0.3, 0.3])
        self.assertEqual(found.dead, [1])
        self.assertEqual(found.duplicated, [(0, 2)])
        self.assertEqual(
            found.line(),
            "landmarks: spread 0.5 / 15.0 / 15.0 % of the image side (min /"
            " median / max), 1 dead, 1 duplicated of 4",
        )

    def test_dead_landmarks_are_not_duplicates_too(self):
        found = health.landmark_health(np.zeros([5, 3, 2]))
        self.assertEqual(found.dead, [0, 1, 2])
        self.assertEqual(found.duplicated, [])

    def test_a_dead_landmark_beside_a_live_one_is_no_duplicate(self):
        dead = np.zeros([2, 2])
        live = np.array([[-0.03, 0.0], [0.03, 0.0]])
        for pair in ([dead, live], [live, dead]):
            found = health.landmark_health(np.stack(pair, axis=1))
            self.assertLen(found.dead, 1)
            self.assertEqual(found.duplicated, [])


if __name__ == "__main__":
    absltest.main()
