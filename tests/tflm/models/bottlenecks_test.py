from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tflm.models import bottlenecks


class HeatmapBottleneckTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.named_parameters(
        ("top_left", (0, 0), (-1.0, -1.0)),
        ("centre", (1, 2), (0.0, 0.0)),
        ("bottom_right", (2, 4), (1.0, 1.0)),
    )
    def test_landmark_is_at_the_peak(self, peak, expected_yx):
        scores = np.full([1, 3, 5, 1], -1e4, np.float32)
        scores[0, peak[0], peak[1], 0] = 0.0

        landmarks, _ = bottlenecks.HeatmapBottleneck()(scores)

        self.assertAllClose(landmarks, [[expected_yx]])

    @parameterized.parameters(("paper", 0.135335), ("released", 0.018316))
    def test_gaussian_value_one_unit_from_the_landmark(self, gaussian, value):
        scores = np.zeros([1, 3, 3, 1], np.float32)  # Uniform: mean is (0, 0).

        _, heatmaps = bottlenecks.HeatmapBottleneck(0.5, gaussian=gaussian)(
            scores
        )

        # By hand: exp(-1 / (2 * 0.5 ** 2)) = exp(-2), without the half exp(-4).
        self.assertAllClose(heatmaps[0, :, 1, 0], [value, 1.0, value])
        self.assertAllClose(heatmaps[0, 0, 0, 0], value**2)

    def test_sum_is_mean_at_a_temperature_of_one_over_the_side(self):
        scores = tf.random.stateless_normal([2, 16, 16, 3], seed=(1, 2))
        by_sum, _ = bottlenecks.HeatmapBottleneck(marginal="sum")(scores)
        by_mean, _ = bottlenecks.HeatmapBottleneck(
            marginal="mean", temperature=1 / 16
        )(scores)
        self.assertAllClose(by_sum, by_mean, atol=1e-5)

    def test_expected_row_by_hand(self):
        scores = np.zeros([1, 2, 2, 1], np.float32)
        scores[0, 1, :, 0] = np.log(3.0)  # Rows 1 : 3, columns 1 : 1.
        landmarks, _ = bottlenecks.HeatmapBottleneck()(scores)
        self.assertAllClose(landmarks, [[[0.5, 0.0]]])

    @parameterized.parameters(
        (1, [[0, 0]]),
        (4, [[-3, -3], [-3, 3], [3, -3], [3, 3]]),
        (5, [[-3, -4], [-3, 0], [-3, 4], [3, -3], [3, 3]]),
    )
    def test_grid_by_hand(self, num_points, eighths):
        places = bottlenecks.grid(num_points)
        self.assertAllClose(places, np.array(eighths) / 8)

    def test_windows_by_hand(self):
        bottleneck = bottlenecks.HeatmapBottleneck()
        scores = np.zeros([1, 3, 3, 1], np.float32)
        bottleneck.build(scores.shape)

        rows, columns = bottleneck.marginals(scores, windows=0.5)

        # exp(-0.5 / (2 * 0.3 ** 2)) = 0.06218 beside 1 at the home, (0, 0).
        expected = np.array([0.06218, 1.0, 0.06218]) / 1.12436
        self.assertAllClose(rows[0, :, 0], expected, atol=1e-5)
        self.assertAllClose(columns[0, :, 0], expected, atol=1e-5)

    def test_landmarks_start_at_home_in_windows_else_in_the_centre(self):
        bottleneck = bottlenecks.HeatmapBottleneck()
        scores = np.zeros([1, 64, 64, 4], np.float32)
        free, _ = bottleneck(scores)
        held, _ = bottleneck(scores, windows=4.0)
        self.assertAllClose(free, np.zeros([1, 4, 2]), atol=1e-6)
        self.assertAllClose(held[0], bottlenecks.grid(4), atol=1e-3)

    def test_no_windows_is_windows_of_no_precision(self):
        scores = tf.random.stateless_normal([2, 16, 16, 4], seed=(1, 2))
        bottleneck = bottlenecks.HeatmapBottleneck()
        free, _ = bottleneck(scores)
        wide, _ = bottleneck(scores, windows=tf.constant(0.0))
        self.assertAllClose(free, wide)

    def test_mirrored_scores_mirror_landmarks(self):
        scores = tf.random.stateless_normal([2, 16, 16, 4], seed=(1, 2))
        bottleneck = bottlenecks.HeatmapBottleneck()

        landmarks, _ = bottleneck(scores)
        mirrored, _ = bottleneck(scores[:, :, ::-1])

        self.assertAllClose(mirrored, landmarks * [1.0, -1.0], atol=1e-6)

    def test_config_round_trip(self):
        layer = bottlenecks.HeatmapBottleneck(0.2, "sum", 0.5, "released")
        clone = bottlenecks.HeatmapBottleneck.from_config(layer.get_config())
        for name in ("sigma", "marginal", "temperature", "gaussian"):
            self.assertEqual(getattr(clone, name), getattr(layer, name))

    @parameterized.parameters(
        ({"sigma": 0.0}, "sigma must be positive, got 0.0"),
        ({"temperature": -1.0}, "temperature must be positive, got -1.0"),
        ({"marginal": "max"}, "unknown marginal: 'max'"),
        ({"gaussian": "wide"}, "unknown gaussian: 'wide'"),
    )
    def test_bad_arguments(self, arguments, message):
        with self.assertRaisesRegex(ValueError, message):
            bottlenecks.HeatmapBottleneck(**arguments)


class FullyConnectedBottleneckTest(parameterized.TestCase, tf.test.TestCase):
    def test_by_hand(self):
        layer = bottlenecks.FullyConnectedBottleneck(units=2, num_maps=1)
        features = np.array([1.0, 2.0], np.float32).reshape(1, 1, 2, 1)
        layer.build(features.shape)
        layer.set_weights(
            [
                np.array([[1.0, 0.0], [10.0, -1.0]]),
                np.array([0.5, 0.0]),
                np.array([[1.0, 2.0], [0.0, 1.0]]),
                np.array([0.0, 100.0]),
            ]
        )
        code, maps = layer(features)
        self.assertAllClose(code, [[[21.5, -2.0]]])  # 1 + 20 + 0.5; -2.
        self.assertAllClose(maps[0, 0, :, 0], [21.5, 141.0])

    def test_config_round_trip(self):
        layer = bottlenecks.FullyConnectedBottleneck(units=6, num_maps=4)
        clone = type(layer).from_config(layer.get_config())
        self.assertEqual((clone.units, clone.num_maps), (6, 4))

    @parameterized.parameters(
        (7, 1, "units must be positive and even, got 7"),
        (0, 1, "units must be positive and even, got 0"),
        (2, 0, "num_maps must be positive, got 0"),
    )
    def test_bad_arguments(self, units, num_maps, message):
        with self.assertRaisesRegex(ValueError, message):
            bottlenecks.FullyConnectedBottleneck(units, num_maps)


if __name__ == "__main__":
    tf.test.main()
