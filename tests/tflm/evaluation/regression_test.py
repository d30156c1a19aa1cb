from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from sklearn import linear_model

from tflm.evaluation import regression

NAN = float("nan")


class FitTest(parameterized.TestCase):
    @parameterized.parameters(False, True)
    def test_is_scikit_learns_linear_regression(self, with_bias):
        random = np.random.default_rng(0)
        landmarks = random.uniform(0, 127, [50, 4, 2])
        annotations = random.uniform(0, 127, [50, 3, 2])
        unseen = random.uniform(0, 127, [7, 4, 2])

        predicted = regression.fit(landmarks, annotations, with_bias)(unseen)

        oracle = linear_model.LinearRegression(fit_intercept=with_bias)
        oracle.fit(landmarks.reshape(50, 8), annotations.reshape(50, 6))
        expected = oracle.predict(unseen.reshape(7, 8)).reshape(7, 3, 2)
        np.testing.assert_allclose(predicted, expected, atol=1e-6)

    def test_without_bias_depends_on_the_origin(self):
        # A keypoint 10 px below a landmark that moves only along x. Without a
        # bias y must be a multiple of y: 30 / 20. With the origin moved by 20
        # px the landmark has y = 0, and no multiple of that is 10.
        landmarks = np.array([[[20.0, 0.0]], [[20.0, 1.0]], [[20.0, 5.0]]])
        annotations = landmarks + [10.0, 0.0]

        here = regression.fit(landmarks, annotations, False)
        moved = regression.fit(
            landmarks - [20, 0], annotations - [20, 0], False
        )

        np.testing.assert_allclose(here(landmarks), annotations, atol=1e-9)
        np.testing.assert_allclose(here.weights[0, 0], [1.5, 0], atol=1e-9)
        error = moved(landmarks - [20, 0]) - (annotations - [20, 0])
        self.assertGreater(np.abs(error[..., 0]).max(), 5)

    def test_with_bias_does_not_depend_on_the_origin(self):
        random = np.random.default_rng(1)
        landmarks = random.uniform(0, 127, [20, 2, 2])
        annotations = random.uniform(0, 127, [20, 1, 2])

        here = regression.fit(landmarks, annotations, True)(landmarks)
        moved = regression.fit(landmarks - 50, annotations - 50, True)(
            landmarks - 50
        )

        np.testing.assert_allclose(moved + 50, here, atol=1e-9)

    @parameterized.parameters(([NAN, NAN],), ([NAN, 7.0],))
    def test_missing_points_are_not_fitted(self, missing):
        random = np.random.default_rng(2)
        landmarks = random.uniform(0, 127, [12, 2, 2])
        annotations = random.uniform(0, 127, [12, 2, 2])
        with_missing = annotations.copy()
        with_missing[4, 0] = missing

        fitted = regression.fit(landmarks, with_missing, True)

        kept = np.arange(12) != 4
        first = regression.fit(landmarks[kept], annotations[kept], True)
        second = regression.fit(landmarks, annotations, True)
        np.testing.assert_allclose(fitted.weights[:, 0], first.weights[:, 0])
        np.testing.assert_allclose(fitted.weights[:, 1], second.weights[:, 1])

    @parameterized.parameters(False, True)
    def test_dead_and_duplicated_landmarks_change_no_prediction(self, bias):
        random = np.random.default_rng(3)
        landmarks = random.uniform(0, 127, [30, 3, 2])
        landmarks[:, 2] = [60.0, 70.0]  # Dead: without bias, a constant.
        annotations = random.uniform(0, 127, [30, 2, 2])
        twice = np.concatenate([landmarks, landmarks[:, :1]], axis=1)

        once = regression.fit(landmarks, annotations, bias)(landmarks)
        both = regression.fit(twice, annotations, bias)

        np.testing.assert_allclose(both(twice), once, atol=1e-6)
        # Least norm: the two copies share the weight.
        np.testing.assert_allclose(
            both.weights[6:8], both.weights[0:2], atol=1e-9
        )

    def test_float32_rounding_of_a_dead_landmark_is_not_fitted(self):
        random = np.random.default_rng(4)
        landmarks = random.uniform(0, 127, [9, 2, 2])
        jitter = random.choice([0.0, 2.0**-18], [9, 2])  # Last bit of 60.
        landmarks[:, 1] = 60.0 + jitter
        annotations = random.uniform(0, 127, [9, 1, 2])

        fitted = regression.fit(landmarks, annotations, True)

        np.testing.assert_allclose(fitted.weights[2:], 0.0, atol=1e-3)

    def test_one_labelled_image_is_predicted_as_itself(self):
        landmarks = np.array([[[3.0, 4.0], [5.0, 6.0]]])
        annotations = np.array([[[10.0, 20.0]]])
        for with_bias in (False, True):
            fitted = regression.fit(landmarks, annotations, with_bias)
            np.testing.assert_allclose(fitted(landmarks), annotations)

    def test_keypoint_without_annotation_is_named(self):
        annotations = np.array([[[1.0, 2.0], [NAN, NAN]]])
        with self.assertRaisesRegex(ValueError, "keypoint 1 has no annotation"):
            regression.fit(np.ones([1, 2, 2]), annotations, False)
        with self.assertRaisesRegex(ValueError, "keypoint 1 has no annotation"):
            regression.mean_shape(annotations)


class FitRidgeTest(absltest.TestCase):
    def test_is_scikit_learns_ridge_with_the_best_penalty_left_one_out(self):
        random = np.random.default_rng(5)
        landmarks = random.uniform(0, 127, [15, 10, 2])
        weights = random.normal(size=[20, 6])
        noise = random.normal(0, 60, [15, 6])
        annotations = (landmarks.reshape(15, 20) @ weights + noise).reshape(
            15, 3, 2
        )
        unseen = random.uniform(0, 127, [7, 10, 2])

        predicted = regression.fit_ridge(landmarks, annotations)(unseen)

        x, y = landmarks.reshape(15, 20), annotations.reshape(15, 6)
        largest = np.linalg.norm(x - x.mean(axis=0), ord=2)

        def error(alpha):
            total = 0.0
            for image in range(15):
                kept = np.arange(15) != image
                oracle = linear_model.Ridge(alpha).fit(x[kept], y[kept])
                total += ((oracle.predict(x[[image]]) - y[image]) ** 2).sum()
            return total

        alphas = largest**2 * np.logspace(-6, 2, 17)
        best = min(alphas, key=error)
        self.assertNotIn(best, (alphas[0], alphas[-1]))
        oracle = linear_model.Ridge(best).fit(x, y)
        np.testing.assert_allclose(
            predicted.reshape(7, 6),
            oracle.predict(unseen.reshape(7, 20)),
            atol=1e-6,
        )

    def test_one_image_and_dead_landmarks_give_the_mean_shape(self):
        landmarks = np.full([2, 3, 2], 40.0)
        annotations = np.array([[[1.0, 2.0]], [[3.0, 6.0]]])
        for count, expected in ((1, [1.0, 2.0]), (2, [2.0, 4.0])):
            fitted = regression.fit_ridge(
                landmarks[:count], annotations[:count]
            )
            np.testing.assert_allclose(fitted(np.ones([1, 3, 2])), [[expected]])


class MeanShapeTest(absltest.TestCase):
    def test_missing_points_are_not_counted(self):
        annotations = np.array(
            [
                [[0.0, 10.0], [1.0, 1.0]],
                [[4.0, 30.0], [NAN, 9.0]],
            ]
        )
        np.testing.assert_allclose(
            regression.mean_shape(annotations), [[2.0, 20.0], [1.0, 1.0]]
        )


if __name__ == "__main__":
    absltest.main()
