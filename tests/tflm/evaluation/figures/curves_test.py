from absl.testing import absltest
import numpy as np

from tests.tflm.evaluation.figures import marked
from tflm.evaluation import figures

NAN = float("nan")


def _pck(shift: float) -> dict[str, dict[str, float | None]]:
    return {
        "10": {"head": 90.0 + shift, "hand": None, "mean": 90.0 + shift},
        "2": {"head": 10.0 + shift, "hand": 5.0, "mean": 7.5},
    }


class AccuracyOverDistanceTest(absltest.TestCase):
    def test_curves_of_the_keypoints_and_their_average(self):
        constant = _pck(0.0)
        found = {**_pck(5.0), "mean_shape": constant}

        figure = figures.accuracy_over_distance(
            {"regressed": found, "mean shape": constant}, "pixels", "title"
        )

        first, second = figure.axes
        curves = {line.get_label(): line for line in first.lines}
        np.testing.assert_array_equal(
            curves["head"].get_xydata(), [[2, 15], [10, 95]]
        )
        np.testing.assert_array_equal(
            curves["hand"].get_xydata(), [[2, 5], [10, NAN]]
        )
        np.testing.assert_array_equal(curves["average"].get_ydata(), [7.5, 95])
        np.testing.assert_array_equal(
            curves["average,\nmean shape"].get_ydata(), [7.5, 90]
        )
        labels = [line.get_label() for line in second.lines]
        self.assertEqual(labels[:3], ["head", "hand", "average"])
        self.assertNotIn("average,\nmean shape", labels)
        self.assertEqual(first.get_xlabel(), "distance, pixels")
        self.assertEqual(first.get_title(), "regressed")

    def test_a_keypoint_looks_as_on_images(self):
        keypoints = figures.Keypoints(
            np.zeros([1, 2, 2]), np.zeros([1, 2, 2]), np.ones([1, 2]), "ab"
        )
        on_images = figures.landmarks_on_images(
            np.zeros([1, 8, 8, 3]), np.zeros([1, 1, 2]), "title", keypoints
        ).axes[-1]
        curves = figures.accuracy_over_distance(
            {"a": _pck(0.0)}, "pixels", "title"
        ).axes[0]
        dots = on_images.get_legend().legend_handles[2:]
        for dot, line in zip(dots, curves.lines):
            self.assertEqual(dot.get_marker(), line.get_marker())
            self.assertEqual(dot.get_markerfacecolor(), line.get_color())

    def test_no_two_of_many_keypoints_look_the_same(self):
        names = [f"joint_{index}" for index in range(32)]
        pck = {"6": {name: 50.0 for name in [*names, "mean"]}}
        figure = figures.accuracy_over_distance({"a": pck}, "px", "title")
        looks = {
            (line.get_color(), line.get_marker(), line.get_linestyle())
            for line in figure.axes[0].lines[:32]
        }
        self.assertLen(looks, 32)
        self.assertLess(marked.inches_outside(figure), 0.02)


class SampleEfficiencyTest(absltest.TestCase):
    ENTRIES = (
        {"n": 1, "draws": 10, "mean": 300.0, "std": 90.0},
        {"n": 10, "draws": 10, "mean": 8.0, "std": 1.0},
        {"n": 70, "draws": 1, "mean": 5.0, "std": None},
        {"n": 70, "draws": 3, "mean": 6.0, "std": 0.5},
    )

    def test_curve_and_what_lies_above_it(self):
        figure = figures.sample_efficiency(
            {"no_bias": self.ENTRIES}, 9.0, "NME, %", "title"
        )

        (axis,) = figure.axes
        curve = axis.containers[0]
        np.testing.assert_array_equal(
            curve.lines[0].get_xydata(), [[1, NAN], [10, 8], [70, 5]]
        )
        bars = curve.lines[2][0].get_segments()
        # The last one has the deviation of the resamples.
        np.testing.assert_array_equal(bars[1], [[10, 7], [10, 9]])
        np.testing.assert_array_equal(bars[2], [[70, 4.5], [70, 5.5]])
        self.assertIn("300", "".join(text.get_text() for text in axis.texts))
        self.assertLess(axis.get_ylim()[1], 20)
        self.assertEqual(axis.get_xscale(), "log")
        self.assertEqual(
            axis.get_ylabel(), "NME, %,\nmean and deviation over draws"
        )

    def test_no_accuracy_is_too_high_to_be_drawn(self):
        entries = [{**one, "mean": 90.0} for one in self.ENTRIES]
        figure = figures.sample_efficiency(
            {"bias": entries},
            9.0,
            "keypoints within 6 px of a 128 px view, %",
            "title",
            higher_is_better=True,
        )
        self.assertLess(marked.inches_outside(figure), 0.01)
        (axis,) = figure.axes
        curve = axis.containers[0]
        np.testing.assert_array_equal(
            curve.lines[0].get_ydata(), [90.0, 90.0, 90.0]
        )
        self.assertEmpty(axis.texts)
        self.assertEqual(axis.get_ylim(), (0.0, 102.0))
        (reference,) = [
            line for line in axis.lines if "mean shape" in line.get_label()
        ]
        np.testing.assert_array_equal(reference.get_ydata(), [9.0, 9.0])


class CalibrationCurveTest(absltest.TestCase):
    FOUND = {
        "rank_correlation": [-0.5],
        "pooled": -0.5,
        "bins": [
            {"confidence": 0.2, "error_px": 8.0, "count": 700},
            {"confidence": 0.6, "error_px": 3.0, "count": 701},
        ],
    }

    def test_points_are_the_bins(self):
        figure = figures.calibration_curve(self.FOUND, "pixels", "title")
        (axis,) = figure.axes
        np.testing.assert_array_equal(
            axis.lines[0].get_xydata(), [[0.2, 8.0], [0.6, 3.0]]
        )
        (text,) = axis.texts
        self.assertIn("rank correlation -0.50", text.get_text())
        self.assertIn("1,401 landmarks in 2 bins", text.get_text())
        self.assertEqual(axis.get_ylabel(), "error, pixels")

    def test_without_a_correlation_none_is_written(self):
        for pooled in (None, NAN):
            figure = figures.calibration_curve(
                {**self.FOUND, "pooled": pooled}, "pixels", "title"
            )
            (text,) = figure.axes[0].texts
            self.assertNotIn("correlation", text.get_text())


if __name__ == "__main__":
    absltest.main()
