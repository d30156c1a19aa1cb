from absl.testing import absltest
import numpy as np

from tflm.drawing import palette
from tflm.evaluation import figures


class LandmarkBarsTest(absltest.TestCase):
    def test_bars_are_the_numbers_in_the_landmarks_colours(self):
        figure = figures.landmark_bars(
            {"jitter, px": [1.0, None, 3.0], "error, px": [None] * 3}, "title"
        )

        jitter, error = figure.axes
        np.testing.assert_array_equal(
            [bar.get_height() for bar in jitter.patches], [1.0, np.nan, 3.0]
        )
        np.testing.assert_allclose(
            [bar.get_facecolor()[:3] for bar in jitter.patches],
            palette.palette(3),
            atol=1e-6,
        )
        self.assertEqual(jitter.get_title(loc="right"), "mean of the bars 2.00")
        np.testing.assert_array_equal(jitter.lines[0].get_ydata(), [2.0, 2.0])
        self.assertEqual(jitter.get_ylabel(), "jitter,\npx")
        self.assertEmpty(error.lines)  # Of no numbers there is no mean.
        self.assertEqual(error.get_xlabel(), "landmark")


if __name__ == "__main__":
    absltest.main()
