from absl.testing import absltest
import numpy as np

from tflm.evaluation import correspondence
from tflm.evaluation import metrics
from tflm.evaluation import regression

NAN = float("nan")


def _points(seed, count, num_points):
    random = np.random.default_rng(seed)
    return random.uniform(0, 127, [count, num_points, 2])


class MeasureTest(absltest.TestCase):
    def test_swapped_arguments_swap_forward_and_backward(self):
        landmarks, keypoints = _points(0, 40, 4), _points(1, 40, 3)
        more_landmarks, more_keypoints = _points(2, 9, 4), _points(3, 9, 3)

        there, _ = correspondence.measure(
            landmarks, keypoints, more_landmarks, more_keypoints
        )
        back, _ = correspondence.measure(
            keypoints, landmarks, more_keypoints, more_landmarks
        )

        forward, backward = there["forward_px"], there["backward_px"]
        self.assertEqual(forward["mean"], back["backward_px"]["mean"])
        self.assertEqual(forward["keypoints"], back["backward_px"]["landmarks"])
        self.assertEqual(backward["mean"], back["forward_px"]["mean"])
        self.assertEqual(backward["landmarks"], back["forward_px"]["keypoints"])
        self.assertNotAlmostEqual(forward["mean"], backward["mean"], places=1)

    def test_forward_is_the_error_of_the_linear_map(self):
        landmarks, keypoints = _points(0, 40, 4), _points(1, 40, 3)
        more_landmarks, more_keypoints = _points(2, 9, 4), _points(3, 9, 3)
        keypoints[3, 1] = more_keypoints[4, 2] = NAN

        found, _ = correspondence.measure(
            landmarks, keypoints, more_landmarks, more_keypoints
        )

        linear_map = regression.fit(landmarks, keypoints, False)
        self.assertAlmostEqual(
            found["forward_px"]["mean"],
            metrics.mean_error(linear_map(more_landmarks), more_keypoints),
        )

    def test_percents_are_of_the_distance_of_the_pair_in_each_image(self):
        landmarks, keypoints = _points(0, 40, 4), _points(1, 40, 3)
        more_landmarks, more_keypoints = _points(2, 9, 4), _points(3, 9, 3)
        # The first two keypoints are 50 pixels apart; in one image at one
        # place, which then has no unit.
        more_keypoints[:, 1] = more_keypoints[:, 0] + [30.0, 40.0]
        more_keypoints[5, 1] = more_keypoints[5, 0]

        found, residuals = correspondence.measure(
            landmarks, keypoints, more_landmarks, more_keypoints, (0, 1)
        )
        without, _ = correspondence.measure(
            landmarks, keypoints, more_landmarks, more_keypoints
        )

        others = np.delete(residuals, 5, axis=0)
        self.assertAlmostEqual(
            found["percent"]["backward_bias"], 2.0 * others.mean()
        )
        self.assertIsNone(without["percent"])

    def test_a_landmark_that_wanders_shows_backward_alone(self):
        keypoints = _points(4, 200, 2)
        landmarks = np.concatenate([keypoints, _points(5, 200, 1)], axis=1)

        found, errors = correspondence.measure(
            landmarks[:100], keypoints[:100], landmarks[100:], keypoints[100:]
        )

        self.assertLess(found["forward_px"]["mean"], 1e-6)
        for bias in ("backward_px", "backward_bias_px"):
            steady, same, wandering = found[bias]["landmarks"]
            self.assertLess(max(steady, same), 1e-6)
            self.assertGreater(wandering, 20)
        np.testing.assert_allclose(
            errors.mean(axis=0), found["backward_bias_px"]["landmarks"]
        )

    def test_a_landmark_that_stays_in_place_needs_the_bias(self):
        keypoints = _points(6, 60, 1)
        landmarks = np.full([60, 1, 2], 40.0)

        found, errors = correspondence.measure(
            landmarks[:50], keypoints[:50], landmarks[50:], keypoints[50:]
        )

        self.assertGreater(found["backward_px"]["mean"], 5)
        np.testing.assert_allclose(errors, 0.0, atol=1e-9)

    def test_images_that_miss_a_keypoint_are_left_out_backward(self):
        keypoints = _points(7, 30, 2)
        landmarks = _points(8, 30, 2)
        answers, places = _points(9, 3, 2), _points(10, 3, 2)
        with_missing, answers_missing = keypoints.copy(), answers.copy()
        with_missing[:10, 1] = NAN
        answers_missing[1, 0, 1] = NAN

        found, errors = correspondence.measure(
            landmarks, with_missing, places, answers_missing
        )

        whole, _ = correspondence.measure(
            landmarks[10:], keypoints[10:], places[[0, 2]], answers[[0, 2]]
        )
        for bias in ("backward_px", "backward_bias_px"):
            self.assertEqual(found[bias], whole[bias])
        self.assertEqual(found["backward_images"], 2)
        np.testing.assert_array_equal(
            np.isnan(errors), [[False] * 2, [True] * 2, [False] * 2]
        )

    def test_without_a_whole_image_there_is_no_backward_error(self):
        keypoints = _points(11, 30, 2)
        keypoints[:15, 0] = keypoints[15:, 1] = NAN

        found, errors = correspondence.measure(
            _points(12, 30, 3), keypoints, _points(13, 4, 3), _points(14, 4, 2)
        )

        self.assertTrue(np.isfinite(found["forward_px"]["mean"]))
        np.testing.assert_equal(
            found["backward_px"], {"mean": NAN, "landmarks": [NAN] * 3}
        )
        np.testing.assert_array_equal(errors, np.full([4, 3], NAN))


if __name__ == "__main__":
    absltest.main()
