import math

from absl.testing import absltest
import numpy as np

from tests.tflm.evaluation import fake_models
from tflm import configs
from tflm.data import warps
from tflm.evaluation import consistency

SIZE = 64
AFFINE = configs.WarpConfig(rotation=20.0, scale=0.2, translation=0.3)


def _translation(y, x):
    """The warp shows at u what the image has at u + (y, x)."""
    coefficients = np.zeros([1, warps.CONTROL_POINTS**2 + 3, 2])
    coefficients[0, -3] = [y, x]
    coefficients[0, -2:] = np.eye(2)
    return coefficients


class ErrorsTest(absltest.TestCase):
    def test_a_point_that_follows_has_none(self):
        before = np.array([[[0.5, 0.0]]])
        after = np.array([[[0.3, 0.1]]])
        errors = consistency.errors(before, after, _translation(0.2, -0.1))
        np.testing.assert_allclose(errors, [[0.0]], atol=1e-6)

    def test_distance_by_hand(self):
        still = np.array([[[0.5, 0.0]]])
        errors = consistency.errors(still, still, _translation(0.06, -0.08))
        # 0.1 of the 2 that 127 pixels are.
        np.testing.assert_allclose(errors, [[6.35]], rtol=1e-6)

    def test_only_spots_that_the_warp_shows_count(self):
        # It shows y from -0.8 to 1.2, and x from -1.1 to 0.9.
        points = [[-0.79, 0.0], [-0.81, 0.0], [0.99, 0.0], [0.0, 0.89]]
        before = np.array([[*points, [0.0, 0.91], [0.0, -0.99]]])
        errors = consistency.errors(before, before, _translation(0.2, -0.1))
        np.testing.assert_array_equal(
            np.isfinite(errors), [[True, False, True, True, False, True]]
        )

    def test_an_answer_from_outside_the_image_counts(self):
        # The warp shows the repeated border there.
        before, after = np.zeros([1, 1, 2]), np.array([[[0.9, 0.0]]])
        errors = consistency.errors(before, after, _translation(0.2, 0.0))
        np.testing.assert_allclose(errors, [[1.1 * 63.5]])


class MeasureTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        places = np.random.default_rng(0).uniform(-0.5, 0.5, [70, 2])
        cls.images = fake_models.spots(places, SIZE).numpy()
        cls.brightest = fake_models.Brightest()

    def test_what_finds_the_spot_is_consistent_and_what_stays_is_not(self):
        stays = fake_models.Constant([[0.1, -0.2]])

        found = consistency.measure(self.brightest, stays, self.images, AFFINE)

        self.assertLess(found["px"], 0.2)
        self.assertGreater(found["untrained_px"], 10.0)
        self.assertEqual(found["untrained_px"], found["untrained_still_px"])
        self.assertGreater(found["still_px"], 10.0)
        self.assertEqual(found["landmarks"], [found["px"]])
        self.assertEqual(found["num_images"], 70)
        self.assertBetween(found["counted_percent"], 80.0, 99.9)

    def test_what_stays_has_the_error_of_staying(self):
        stays = fake_models.Constant([[0.0, 0.0], [0.4, 0.4]])
        found = consistency.measure(stays, stays, self.images, AFFINE)
        self.assertEqual(found["px"], found["still_px"])
        self.assertEqual(found["px"], found["untrained_px"])
        # The centre is moved by the translation alone: of two normal numbers
        # the mean length is their deviation times sqrt(pi / 2).
        self.assertAlmostEqual(
            found["landmarks"][0], 0.3 * math.sqrt(math.pi / 2) * 63.5, delta=3
        )

    def test_the_same_numbers_every_time(self):
        first, again = (
            consistency.measure(self.brightest, self.brightest, self.images[:5])
            for _ in range(2)
        )
        self.assertEqual(first, again)


if __name__ == "__main__":
    absltest.main()
