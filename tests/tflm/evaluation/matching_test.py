import itertools

from absl.testing import absltest
import numpy as np

from tflm.evaluation import matching

NAN = float("nan")


class MatchTest(absltest.TestCase):
    def test_sum_of_distances_decides_not_the_nearest_first(self):
        # On a line: landmarks at 0 and 10, keypoints at 4 and -9. Landmark 0
        # is the nearest to both. Taken by the first it would cost 4 + 19;
        # best is 6 + 9.
        landmarks = np.array([[[0.0, 0.0], [0.0, 10.0]]])
        annotations = np.array([[[0.0, 4.0], [0.0, -9.0]]])
        np.testing.assert_array_equal(
            matching.match(landmarks, annotations), [1, 0]
        )

    def test_mean_of_distances_decides_not_distance_of_means(self):
        # Landmark 0 is on average where the keypoint is, but never there.
        annotations = np.zeros([2, 1, 2])
        landmarks = np.array(
            [[[0.0, 9.0], [3.0, 0.0]], [[0.0, -9.0], [3.0, 0.0]]]
        )
        np.testing.assert_array_equal(
            matching.match(landmarks, annotations), [1]
        )

    def test_is_the_best_of_all_permutations(self):
        random = np.random.default_rng(0)
        landmarks = random.uniform(0, 127, [6, 5, 2])
        annotations = random.uniform(0, 127, [6, 3, 2])

        def cost(chosen):
            offsets = landmarks[:, list(chosen)] - annotations
            return np.sqrt((offsets**2).sum(-1)).mean(axis=0).sum()

        best = min(itertools.permutations(range(5), 3), key=cost)
        np.testing.assert_array_equal(
            matching.match(landmarks, annotations), best
        )

    def test_missing_annotations_are_not_counted(self):
        # Seen in the second image alone, where landmark 1 is.
        landmarks = np.array(
            [[[0.0, 0.0], [50.0, 50.0]], [[50.0, 50.0], [0.0, 0.0]]]
        )
        annotations = np.array([[[NAN, 0.0]], [[0.0, 1.0]]])
        np.testing.assert_array_equal(
            matching.match(landmarks, annotations), [1]
        )

    def test_too_few_landmarks_leave_the_worst_keypoint_without(self):
        landmarks = np.array([[[0.0, 0.0], [0.0, 10.0]]])
        annotations = np.array([[[0.0, 1.0], [90.0, 90.0], [0.0, 12.0]]])
        np.testing.assert_array_equal(
            matching.match(landmarks, annotations),
            [0, matching.NO_LANDMARK, 1],
        )

    def test_keypoint_without_annotation_is_named(self):
        annotations = np.array([[[1.0, 2.0], [NAN, NAN]]])
        with self.assertRaisesRegex(ValueError, "keypoint 1 has no annotation"):
            matching.match(np.ones([1, 2, 2]), annotations)


class MeasureTest(absltest.TestCase):
    def test_found_on_train_reported_on_test(self):
        # In training landmark 1 is the head; in the test image landmark 0 is.
        train = np.array([[[50.0, 50.0], [1.0, 0.0]]])
        truth = np.array([[[0.0, 0.0]]])
        test = np.array([[[0.0, 0.0], [3.0, 4.0]]])

        found, matched = matching.measure(
            train, truth, test, truth, ("head",), (4, 5)
        )

        np.testing.assert_array_equal(matched, [[[3.0, 4.0]]])
        self.assertEqual(
            found,
            {
                "landmark_of": {"head": 1},
                "mean_error_px": {"head": 5.0, "mean": 5.0},
                "pck": {
                    "4": {"head": 0.0, "mean": 0.0},
                    "5": {"head": 100.0, "mean": 100.0},
                },
            },
        )

    def test_missing_points_and_landmarks_are_not_counted(self):
        train = np.array([[[0.0, 0.0], [0.0, 10.0]]])
        truth = np.array([[[0.0, 1.0], [90.0, 90.0], [0.0, 12.0]]])
        test = np.repeat(train, 2, axis=0)
        answer = np.repeat(truth, 2, axis=0)
        answer[1, 2] = NAN

        found, matched = matching.measure(
            train, truth, test, answer, ("head", "hand", "foot"), (1,)
        )

        self.assertEqual(
            found["landmark_of"], {"head": 0, "hand": None, "foot": 1}
        )
        # Errors 1, 1 and 2: the mean is over points.
        np.testing.assert_equal(
            found["mean_error_px"],
            {"head": 1.0, "hand": NAN, "foot": 2.0, "mean": 4 / 3},
        )
        np.testing.assert_equal(
            found["pck"]["1"],
            {"head": 100.0, "hand": NAN, "foot": 0.0, "mean": 50.0},
        )
        self.assertTrue(np.isnan(matched[:, 1]).all())
        np.testing.assert_array_equal(matched[:, [0, 2]], test)


if __name__ == "__main__":
    absltest.main()
