from absl.testing import absltest
import numpy as np

from tflm.drawing import overlays

GREEN = np.array([[0.0, 1.0, 0.0]])
GREY = np.full([200, 300, 3], 100, np.uint8)


def _green(image: np.ndarray) -> np.ndarray:
    """Where the image is green: bool `[H, W]`."""
    return (image[..., 1] > 150) & (image[..., 0] < 80)


class DrawTest(absltest.TestCase):
    def test_a_dot_is_round_its_point_in_its_colour_with_a_dark_edge(self):
        before = GREY.copy()
        drawn = overlays.draw(GREY, [[60.0, 210.0]], GREEN)

        np.testing.assert_array_equal(GREY, before)
        self.assertEqual(drawn.dtype, np.uint8)
        np.testing.assert_array_equal(drawn[60, 210], [0, 255, 0])
        y, x = np.nonzero(_green(drawn))
        np.testing.assert_allclose([y.mean(), x.mean()], [60.0, 210.0])
        # A radius of 1.2 % of 200 pixels.
        self.assertAlmostEqual(len(y), np.pi * 2.4**2, delta=5)
        changed = (drawn != GREY).any(axis=-1)
        self.assertLess(drawn[changed & ~_green(drawn)].mean(), 60)
        np.testing.assert_array_equal(np.nonzero(changed)[0].mean(), 60.0)

    def test_it_is_between_pixels_where_its_point_is(self):
        drawn = overlays.draw(GREY, [[60.5, 210.25]], GREEN).astype(float)
        weight = np.maximum(drawn[..., 1] - drawn[..., 0], 0.0)
        y, x = np.mgrid[:200, :300]
        centre = [(weight * axis).sum() / weight.sum() for axis in (y, x)]
        np.testing.assert_allclose(centre, [60.5, 210.25], atol=0.03)

    def test_uncertain_dots_are_smaller_by_area(self):
        large = np.zeros([1000, 3000, 3], np.uint8)
        points = [[500.0, 500.0 * index] for index in range(1, 6)]
        colours = np.repeat(GREEN, 5, axis=0)

        drawn = overlays.draw(
            large, points, colours, [1.0, 0.5, 0.2, 0.0, np.nan]
        )

        areas = [
            _green(drawn[:, 500 * index - 250 : 500 * index + 250]).sum()
            for index in range(1, 6)
        ]
        shares = np.array(areas) / (np.pi * 12.0**2)
        np.testing.assert_allclose(shares, [1, 0.5, 0.2, 0.2, 1], atol=0.06)

    def test_what_is_missing_or_outside_is_not_drawn(self):
        points = [[np.nan, 5.0], [-50.0, 5.0], [100.0, 1e9], [np.inf, 0.0]]
        drawn = overlays.draw(GREY, points, np.repeat(GREEN, 4, axis=0))
        np.testing.assert_array_equal(drawn, GREY)

    def test_half_of_a_dot_at_the_rim_is_cut_off(self):
        drawn = overlays.draw(
            GREY, [[199.0, 100.0], [0.0, 0.0]], [GREEN[0]] * 2
        )
        y, x = np.nonzero(_green(drawn[100:]))
        self.assertEqual(y.max(), 99)
        self.assertAlmostEqual(x.mean(), 100.0)
        np.testing.assert_array_equal(drawn[0, 0], [0, 255, 0])

    def test_images_and_points_that_do_not_fit_are_named(self):
        with self.assertRaisesRegex(ValueError, r"float32 \[4, 4, 3\]"):
            overlays.draw(np.zeros([4, 4, 3], np.float32), [[0, 0]], GREEN)
        with self.assertRaisesRegex(ValueError, r"must be \[1, 2\].*\[2, 2\]"):
            overlays.draw(GREY, np.zeros([2, 2]), GREEN)


if __name__ == "__main__":
    absltest.main()
