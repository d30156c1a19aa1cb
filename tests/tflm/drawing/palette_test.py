import itertools

from absl.testing import absltest
import numpy as np

from tflm.drawing import palette

# Of Machado et al. 2009, severity 1, for linear RGB.
SIGHTS = np.array(
    [
        np.eye(3),
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    ]
)
# Linear sRGB to CIE XYZ, for the white point D65.
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def seen(rgb: np.ndarray) -> np.ndarray:
    """CIELAB `[3, n, 3]` of colours `[n, 3]` for the three sights."""
    linear = np.where(
        rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4
    )
    simulated = np.clip(np.einsum("sij,nj->sni", SIGHTS, linear), 0.0, 1.0)
    xyz = simulated @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    x, y, z = np.moveaxis(
        np.where(
            xyz > (6 / 29) ** 3,
            np.cbrt(xyz),
            xyz / (3 * (6 / 29) ** 2) + 4 / 29,
        ),
        -1,
        0,
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def least_distances(colours: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`[n, m]`: CIELAB distances for whom sees them smallest."""
    difference = seen(colours)[:, :, None] - seen(others)[:, None]
    return np.linalg.norm(difference, axis=-1).min(axis=0)


class PaletteTest(absltest.TestCase):
    def test_lightness_and_distance_of_known_colours(self):
        white, red = seen(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))[0]
        np.testing.assert_allclose(white, [100.0, 0.0, 0.0], atol=1e-6)
        np.testing.assert_allclose(red, [53.2408, 80.0925, 67.2032], atol=1e-3)

    def test_a_landmark_has_the_same_colour_beside_few_and_many(self):
        colours = palette.palette(60)
        self.assertEqual(colours.dtype, np.float32)
        for few in (1, 10, 30):
            np.testing.assert_array_equal(palette.palette(few), colours[:few])

    def test_the_colour_blind_tell_them_apart(self):
        for count, least in ((5, 35), (10, 25), (20, 14), (30, 11), (60, 6.5)):
            colours = palette.palette(count)
            distances = least_distances(colours, colours)
            np.fill_diagonal(distances, np.inf)
            self.assertGreater(distances.min(), least, f"of {count}")

    def test_they_show_on_dark_and_on_light(self):
        lightness = seen(palette.palette(63))[..., 0]
        self.assertGreaterEqual(lightness.min(), 40)
        self.assertLessEqual(lightness.max(), 96)

    def test_each_is_the_farthest_from_those_before_it(self):
        levels = np.arange(0, 256, 17) / 255.0
        candidates = np.array([*itertools.product(levels, repeat=3)])
        lab = seen(candidates)
        fit = ((lab[..., 0] >= 40) & (lab[..., 0] <= 96)).all(axis=0)
        fit &= np.hypot(lab[0, :, 1], lab[0, :, 2]) >= 45
        candidates = candidates[fit]
        colours = palette.palette(63)
        # Chosen one is at the greatest distance, up to rounding.
        distances = least_distances(candidates, colours)  # [C, 63]
        of_colours = least_distances(colours, colours)
        for count in range(1, 63):
            farthest = distances[:, :count].min(axis=1).max()
            found = of_colours[count, :count].min()
            self.assertAlmostEqual(found, farthest, places=4)

    def test_more_than_there_are_repeat(self):
        many = palette.palette(130)
        np.testing.assert_array_equal(many[63:126], many[:63])


if __name__ == "__main__":
    absltest.main()
