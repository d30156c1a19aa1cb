from absl.testing import absltest
import numpy as np

from tests.tflm.evaluation.figures import marked
from tflm.drawing import palette
from tflm.evaluation import figures


class ScoreMapsTest(absltest.TestCase):
    def test_bars_are_the_marginals_of_the_landmark_named(self):
        random = np.random.default_rng(0)
        detected = {
            "landmarks": random.uniform(-1, 1, [1, 4, 2]),
            "confidence": np.array([[0.1, 0.2, 0.75, 0.4]]),
            "score_maps": random.normal(size=[1, 16, 16, 4]),
            "row_marginals": random.uniform(size=[1, 16, 4]),
            "column_marginals": random.uniform(size=[1, 16, 4]),
        }

        figure = figures.score_maps(
            np.zeros([1, 64, 64, 3]), detected, [2], "title"
        )

        _, score_map = figure.axes
        above, beside = score_map.child_axes
        self.assertIn("landmark 2, confidence 0.75", above.get_title())
        np.testing.assert_array_equal(
            score_map.images[0].get_array(), detected["score_maps"][0, ..., 2]
        )
        np.testing.assert_allclose(
            [bar.get_height() for bar in above.patches],
            detected["column_marginals"][0, :, 2],
        )
        np.testing.assert_allclose(
            [bar.get_width() for bar in beside.patches],
            detected["row_marginals"][0, :, 2],
        )
        # Row 0 is on top, as in the map.
        self.assertGreater(*beside.get_ylim())
        np.testing.assert_allclose(
            marked.dots(score_map)[1], palette.palette(4)[[2]], atol=1e-6
        )


class InColourTest(absltest.TestCase):
    def test_overlapping_heatmaps_do_not_add_up(self):
        heatmaps = np.zeros([1, 2, 2, 2], np.float32)
        heatmaps[0, 0, 0] = [1.0, 0.0]
        heatmaps[0, 1, 1] = [0.5, 0.5]
        first, second = palette.palette(2)

        shown = figures.in_colour(heatmaps)[0]

        np.testing.assert_allclose(shown[0, 0], first)
        np.testing.assert_allclose(shown[0, 1], 0.0)
        np.testing.assert_allclose(shown[1, 1], np.maximum(first, second) / 2)


if __name__ == "__main__":
    absltest.main()
