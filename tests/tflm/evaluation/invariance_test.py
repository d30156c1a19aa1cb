import itertools
import math

from absl.testing import absltest
import numpy as np

from tflm.evaluation import invariance


def _factors(**values):
    """Every combination once; name -> int [N]."""
    rows = np.array(list(itertools.product(*values.values())))
    return dict(zip(values, rows.T))


def _landmark(y, x=0.0):
    """Places [N, 2] of a landmark."""
    return np.stack(np.broadcast_arrays(y, x), axis=-1).astype(np.float64)


class MeasureTest(absltest.TestCase):
    def test_only_the_factor_that_moves_a_landmark_spreads_it(self):
        factors = _factors(
            azimuth=[0, 1, 2], elevation=[3, 5], instance=[0, 1, 2, 7]
        )
        azimuth, instance = factors["azimuth"], factors["instance"]
        points = np.stack(
            [
                _landmark(10.0 * azimuth),
                _landmark(6.0 * (instance == 7), 8.0 * (instance == 7)),
            ],
            axis=1,
        )

        found = invariance.measure(points, factors)

        # By hand: 0, 10, 20; three of four at 0, the fourth at distance 10.
        spread = math.sqrt((10**2 + 10**2) / 3)
        other = math.sqrt((3 * 2.5**2 + 7.5**2) / 4)
        for name, expected in (
            ("azimuth", [spread, 0.0]),
            ("elevation", [0.0, 0.0]),
            ("instance", [0.0, other]),
        ):
            np.testing.assert_allclose(
                found["factors"][name], expected, atol=1e-9
            )
        np.testing.assert_allclose(found["overall"], [spread, other])
        self.assertEqual(found["ranking"], [1, 0])

    def test_images_that_differ_in_another_factor_are_not_compared(self):
        # Azimuths 0 and 1 at elevation 0; at elevation 1 only azimuth 5.
        factors = {
            "azimuth": np.array([0, 1, 5]),
            "elevation": np.array([0, 0, 1]),
        }
        points = _landmark(np.array([0.0, 4.0, 100.0]))[:, None]
        found = invariance.measure(points, factors)
        self.assertEqual(found["factors"]["azimuth"], [2.0])
        self.assertTrue(math.isnan(found["factors"]["elevation"][0]))

    def test_a_view_seen_twice_is_no_spread(self):
        factors = {"azimuth": np.array([4, 4]), "elevation": np.array([1, 1])}
        points = _landmark(np.array([0.0, 4.0]))[:, None]
        found = invariance.measure(points, factors)["factors"]
        self.assertTrue(math.isnan(found["azimuth"][0]))

    def test_a_single_factor_holds_nothing(self):
        points = _landmark(np.array([0.0, 4.0]))[:, None]
        found = invariance.measure(points, {"azimuth": np.array([0, 1])})
        self.assertEqual(found["factors"]["azimuth"], [2.0])

    def test_dead_landmarks_are_last(self):
        factors = {"azimuth": np.arange(3)}
        still, slow, fast = (
            _landmark(speed * factors["azimuth"]) for speed in (0, 1, 2)
        )
        points = np.stack([fast, still, slow], axis=1)
        self.assertEqual(
            invariance.measure(points, factors)["ranking"], [1, 2, 0]
        )
        self.assertEqual(
            invariance.measure(points, factors, dead=[1])["ranking"], [2, 0, 1]
        )


class GridTest(absltest.TestCase):
    def test_only_the_two_factors_change(self):
        factors = _factors(
            lighting=range(6),
            azimuth=range(18),
            instance=[3, 5],
            elevation=range(9),
        )
        order = np.random.default_rng(0).permutation(6 * 18 * 2 * 9)
        factors = {name: values[order] for name, values in factors.items()}

        views, toys = invariance.grids(factors)

        self.assertEqual(
            (views.row_name, views.column_name), ("elevation", "azimuth")
        )
        self.assertEqual(views.row_labels, ("0", "2", "4", "6", "8"))
        # By hand: steps of 3.4.
        self.assertEqual(views.column_labels, ("0", "3", "7", "10", "14", "17"))
        self.assertEqual((toys.row_labels), ("3", "5"))
        for grid in (views, toys):
            values = {name: v[grid.index] for name, v in factors.items()}
            for row, column in np.ndindex(grid.index.shape):
                self.assertEqual(
                    (
                        str(values[grid.row_name][row, column]),
                        str(values[grid.column_name][row, column]),
                    ),
                    (grid.row_labels[row], grid.column_labels[column]),
                )
            for name in set(factors) - {grid.row_name, grid.column_name}:
                self.assertEqual(np.ptp(values[name]), 0, name)

    def test_the_fullest_object_is_taken_without_its_gaps(self):
        # Object 0 has 2 x 2 views; object 1 has 2 x 4, but for one.
        views = [(0, e, a) for e in (0, 1) for a in (0, 1)]
        views += [(1, e, a) for e in (0, 1) for a in range(4)]
        views.remove((1, 1, 2))
        toy, elevation, azimuth = np.array(views).T
        grid = invariance.grid(
            {"instance": toy, "elevation": elevation, "azimuth": azimuth},
            "elevation",
            "azimuth",
        )
        self.assertEqual(grid.column_labels, ("0", "1", "3"))
        np.testing.assert_array_equal(grid.index, [[4, 5, 7], [8, 9, 10]])

    def test_without_two_rows_and_columns_there_is_none(self):
        self.assertEqual(
            invariance.grids(_factors(elevation=[0], azimuth=range(5))), []
        )
        self.assertEqual(invariance.grids(_factors(azimuth=range(5))), [])


if __name__ == "__main__":
    absltest.main()
