import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tflm.evaluation import fake_models
from tflm.evaluation import bottleneck_use

SIZE = 32
BRIGHTEST = fake_models.Brightest()
CONSTANT = fake_models.Constant([[0.3, -0.2]])


class ReconstructionTest(absltest.TestCase):
    def test_errors_by_hand(self):
        # (red, green): the geometry; blue: the style.
        source = fake_models.colours([[0.1, 0.5, 0.4], [0.3, 0.2, 0.9]], SIZE)
        target = fake_models.colours([[0.4, 0.5, 0.4], [0.3, 0.6, 0.9]], SIZE)

        errors = bottleneck_use.reconstruction_errors(
            fake_models.Colours(), source.numpy(), target.numpy()
        )

        self.assertAlmostEqual(errors["right"], 0.0)
        # Of three channels, in one image red is off by 0.3, in one green by
        # 0.4.
        self.assertAlmostEqual(
            errors["source"], (0.3**2 + 0.4**2) / 6, places=6
        )
        # Of the other target: both are off by 0.1.
        self.assertAlmostEqual(errors["other"], 0.1**2 * 2 / 3, places=6)

    def test_batches_do_not_matter(self):
        random = np.random.default_rng(0)
        source, target = random.uniform(size=[2, 70, 3])
        errors = bottleneck_use.reconstruction_errors(
            fake_models.Colours(),
            fake_models.colours(source, SIZE).numpy(),
            fake_models.colours(target, SIZE).numpy(),
        )
        blue = (source - target)[:, 2] ** 2
        wrong = ((source - target) ** 2).sum(axis=1)
        other = np.roll(target, -35, axis=0)
        other = ((other - target)[:, :2] ** 2).sum(axis=1) + blue
        for name, expected in (
            ("right", blue),
            ("source", wrong),
            ("other", other),
        ):
            self.assertAlmostEqual(errors[name], expected.mean() / 3, places=5)

    def test_one_pair_has_no_other(self):
        image = fake_models.colours([[0.1, 0.5, 0.4]], SIZE).numpy()
        errors = bottleneck_use.reconstruction_errors(
            fake_models.Colours(), image, image
        )
        self.assertTrue(math.isnan(errors["other"]))


class ShiftTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("follows", BRIGHTEST, [1.0, 1.0]),
        ("stays", CONSTANT, [0.0, 0.0]),
        ("along_y", fake_models.Joined(BRIGHTEST, CONSTANT), [1.0, 0.0]),
        ("along_x", fake_models.Joined(CONSTANT, BRIGHTEST), [0.0, 1.0]),
    )
    def test_share_is_that_which_the_landmark_moves(self, model, expected):
        places = np.random.default_rng(0).uniform(-0.4, 0.4, [66, 2])
        images = fake_models.spots(places, SIZE).numpy()

        found = bottleneck_use.shares_of_shift(model, images)

        self.assertEqual(found["pixels"], [-2, -1, 1, 2])
        np.testing.assert_allclose(found["followed"], [expected], atol=0.01)
        np.testing.assert_allclose(found["mean"], expected, atol=0.01)

    def test_the_border_is_repeated(self):
        # A frame of light: shifted, it loses one side and doubles the other.
        images = np.zeros([1, SIZE, SIZE, 3], np.float32)
        images[:, 0] = 1.0
        images[:, -1] = 1.0
        found = bottleneck_use.shares_of_shift(BRIGHTEST, images)
        # By hand: of a shift by s rows, rows 0 to s are bright (and none
        # below); the mean is s / 2, upwards likewise from the last row.
        down = {1: 0.5 - 15.5, 2: 1.0 - 15.5}
        slope = 2 * sum(shift * y for shift, y in down.items()) / 10
        self.assertAlmostEqual(found["followed"][0][0], slope, places=4)


class MeasureTest(absltest.TestCase):
    def test_of_a_real_model(self):
        model = fake_models.real(SIZE)
        source, target = (
            np.random.default_rng(0)
            .uniform(size=[2, 3, SIZE, SIZE, 3])
            .astype(np.float32)
        )

        found = bottleneck_use.measure(model, source, target, target[:2])

        outputs = model((source, target), training=False)
        right = np.mean((outputs["reconstruction"] - target) ** 2)
        np.testing.assert_allclose(
            found["reconstruction"]["right"], right, rtol=1e-4
        )
        self.assertEqual(np.shape(found["shift"]["followed"]), (3, 2))
        self.assertEqual((found["num_pairs"], found["num_images"]), (3, 2))


if __name__ == "__main__":
    absltest.main()
