from absl.testing import absltest
import numpy as np
from scipy import stats

from tflm.evaluation import calibration

NAN = float("nan")


class MeasureTest(absltest.TestCase):
    def test_correlations_are_those_of_scipy(self):
        random = np.random.default_rng(0)
        # Rounded, so that there are ties.
        confidence = random.uniform(0, 1, [50, 3]).round(1)
        errors = (random.uniform(0, 9, [50, 3]) - 2 * confidence).round()
        errors[random.uniform(size=[50, 3]) < 0.2] = NAN

        found = calibration.measure(confidence.astype(np.float32), errors)

        for landmark in range(3):
            counted = ~np.isnan(errors[:, landmark])
            expected = stats.spearmanr(
                confidence[counted, landmark], errors[counted, landmark]
            )
            self.assertAlmostEqual(
                found["rank_correlation"][landmark], expected.statistic
            )
        counted = ~np.isnan(errors)
        expected = stats.spearmanr(confidence[counted], errors[counted])
        self.assertAlmostEqual(found["pooled"], expected.statistic)

    def test_correlations_by_hand(self):
        # Landmark 0: the less confident, the worse. 1: the more, the worse.
        # 2: 1 - 6 * (1 + 1) / (3 * (9 - 1)) = 0.5.
        confidence = np.array([[0.1, 0.1, 0.1], [0.2, 0.5, 0.2], [0.9] * 3])
        errors = np.array([[90.0, 1.0, 2.0], [5.0, 2.0, 1.0], [4.0, 80.0, 3.0]])
        found = calibration.measure(confidence, errors)
        np.testing.assert_allclose(found["rank_correlation"], [-1, 1, 0.5])

    def test_pooled_compares_landmarks_too(self):
        # Within a landmark confidence and error grow together; the landmark
        # of low confidence is the bad one.
        confidence = np.array([[0.1, 0.8], [0.2, 0.9]])
        errors = np.array([[50.0, 1.0], [60.0, 2.0]])
        found = calibration.measure(confidence, errors)
        np.testing.assert_allclose(found["rank_correlation"], [1, 1])
        # Ranks 1 2 3 4 and 3 4 1 2: 1 - 6 * 16 / (4 * 15).
        self.assertAlmostEqual(found["pooled"], -0.6)

    def test_bins_by_hand(self):
        # 20 values: two in each of ten bins, whatever their order.
        order = np.random.default_rng(1).permutation(20)
        confidence = np.arange(20)[order].reshape(10, 2) / 20
        errors = 100.0 - np.arange(20.0)[order].reshape(10, 2)

        bins = calibration.measure(confidence, errors)["bins"]

        self.assertEqual([one["count"] for one in bins], [2] * 10)
        np.testing.assert_allclose(
            [one["confidence"] for one in bins], 0.025 + 0.1 * np.arange(10)
        )
        np.testing.assert_allclose(
            [one["error_px"] for one in bins], 99.5 - 2 * np.arange(10)
        )

    def test_equal_confidences_share_a_bin(self):
        confidence = np.repeat([0.2, 0.9], [6, 14])[:, None]
        errors = np.repeat([8.0, 1.0], [6, 14])[:, None]
        self.assertEqual(
            [
                (round(one["confidence"], 9), one["error_px"], one["count"])
                for one in calibration.measure(confidence, errors)["bins"]
            ],
            [(0.2, 8.0, 6), (0.9, 1.0, 14)],
        )

    def test_what_never_varies_has_no_correlation(self):
        confidence = np.array([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3]])
        errors = np.array([[1.0, NAN], [2.0, NAN], [3.0, NAN]])
        found = calibration.measure(confidence, errors)
        np.testing.assert_array_equal(found["rank_correlation"], [NAN, NAN])
        self.assertEqual(
            found["bins"], [{"confidence": 1.0, "error_px": 2.0, "count": 3}]
        )

    def test_nothing_to_count(self):
        self.assertIsNone(
            calibration.measure(np.ones([2, 3]), np.full([2, 3], NAN))
        )


if __name__ == "__main__":
    absltest.main()
