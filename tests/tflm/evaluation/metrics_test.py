from absl.testing import absltest
import numpy as np

from tflm.evaluation import metrics

NAN = float("nan")


class NormalizedMeanErrorTest(absltest.TestCase):
    def test_value_by_hand(self):
        # Eyes 10 and 20 px apart; errors 5 (3-4-5), 0, and 0, 1.
        annotated = np.array(
            [[[0.0, 0.0], [0.0, 10.0]], [[50.0, 5.0], [70.0, 5.0]]]
        )
        predicted = annotated + [[[3, 4], [0, 0]], [[0, 0], [1, 0]]]

        error = metrics.normalized_mean_error(predicted, annotated, (0, 1))

        # (5/10 + 0 + 0 + 1/20) / 4 = 0.1375. (Squares would give 0.063.)
        self.assertAlmostEqual(error, 13.75)

    def test_does_not_change_with_the_scale_of_the_object(self):
        random = np.random.default_rng(0)
        annotated = random.uniform(0, 127, [6, 5, 2])
        predicted = annotated + random.normal(size=annotated.shape)
        self.assertAlmostEqual(
            metrics.normalized_mean_error(predicted, annotated, (0, 1)),
            metrics.normalized_mean_error(3 * predicted, 3 * annotated, (0, 1)),
        )

    def test_missing_points_and_units_are_not_counted(self):
        annotated = np.array(
            [
                [[0.0, 0.0], [0.0, 10.0], [NAN, 5.0]],  # Third is missing.
                [[NAN, NAN], [0.0, 10.0], [5.0, 5.0]],  # No unit.
                [[7.0, 7.0], [7.0, 7.0], [5.0, 5.0]],  # Unit of length 0.
            ]
        )
        predicted = np.nan_to_num(annotated) + [0.0, 3.0]

        error = metrics.normalized_mean_error(predicted, annotated, (0, 1))

        self.assertAlmostEqual(error, 30.0)  # Two points, each 3 / 10.

    def test_errors_of_the_points_by_hand(self):
        annotated = np.array(
            [
                [[0.0, 0.0], [0.0, 10.0], [NAN, 5.0]],  # Third is missing.
                [[NAN, NAN], [0.0, 10.0], [5.0, 5.0]],  # No unit.
                [[7.0, 7.0], [7.0, 7.0], [5.0, 5.0]],  # Unit of length 0.
            ]
        )
        predicted = np.nan_to_num(annotated) + [3.0, 4.0]
        np.testing.assert_allclose(
            metrics.normalized_point_errors(predicted, annotated, (0, 1)),
            [[50.0, 50.0, NAN], [NAN, NAN, NAN], [NAN, NAN, NAN]],
        )

    def test_nothing_to_count_is_nan(self):
        nothing = np.full([2, 2, 2], NAN)
        self.assertTrue(
            np.isnan(
                metrics.normalized_mean_error(
                    np.ones([2, 2, 2]), nothing, (0, 1)
                )
            )
        )
        self.assertTrue(
            np.isnan(metrics.mean_error(np.ones([2, 2, 2]), nothing))
        )


class MeanErrorTest(absltest.TestCase):
    def test_mean_over_points_not_over_images(self):
        annotated = np.zeros([2, 2, 2])
        annotated[1, 1] = NAN
        predicted = np.array(
            [[[3.0, 4.0], [0.0, 1.0]], [[0.0, 6.0], [9.0, 9.0]]]
        )
        # (5 + 1 + 6) / 3; over images it would be (3 + 6) / 2.
        self.assertAlmostEqual(metrics.mean_error(predicted, annotated), 4.0)


class PercentageCorrectTest(absltest.TestCase):
    def test_exactly_the_distance_is_correct(self):
        annotated = np.zeros([3, 1, 2])
        predicted = np.array([[[3.0, 4.0]], [[0.0, 5.0]], [[0.0, 5.001]]])
        np.testing.assert_allclose(
            metrics.percentage_correct(predicted, annotated, 5), [200 / 3]
        )
        np.testing.assert_allclose(
            metrics.percentage_correct(predicted, annotated, 4.999), [0.0]
        )

    def test_missing_points_count_neither_way(self):
        annotated = np.zeros([4, 2, 2])
        annotated[0, 0] = NAN
        annotated[:, 1] = NAN
        predicted = np.zeros([4, 2, 2])
        predicted[3] = 100.0

        correct = metrics.percentage_correct(predicted, annotated, 6)

        np.testing.assert_allclose(correct, [200 / 3, NAN])

    def test_points_are_correct_wrong_or_missing(self):
        annotated = np.array([[[0.0, 0.0], [0.0, 0.0], [NAN, 0.0]]])
        predicted = np.array([[[0.0, 6.0], [0.0, 6.1], [0.0, 0.0]]])
        np.testing.assert_array_equal(
            metrics.correct_points(predicted, annotated, 6), [[100, 0, NAN]]
        )

    def test_table_of_several_distances_by_hand(self):
        annotated = np.zeros([2, 3, 2])
        annotated[0, 1] = NAN
        annotated[:, 2] = NAN
        predicted = np.zeros([2, 3, 2])
        predicted[:, 0, 0] = [2.0, 3.0]
        predicted[:, 1, 1] = [0.0, 9.0]

        table = metrics.percentages_correct(
            predicted, annotated, ("head", "hand", "foot"), (2, 9)
        )

        self.assertEqual(list(table), ["2", "9"])
        nan = table["2"].pop("foot"), table["9"].pop("foot")
        self.assertTrue(np.isnan(nan).all())
        # The mean is over the two joints that are annotated.
        self.assertEqual(table["2"], {"head": 50, "hand": 0, "mean": 25})
        self.assertEqual(table["9"], {"head": 100, "hand": 100, "mean": 100})

    def test_table_without_annotations_is_nan(self):
        table = metrics.percentages_correct(
            np.zeros([2, 1, 2]), np.full([2, 1, 2], NAN), ("head",), (2,)
        )
        self.assertTrue(np.isnan(list(table["2"].values())).all())


if __name__ == "__main__":
    absltest.main()
