import itertools

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tflm.evaluation import intervals
from tflm.evaluation import metrics

NAN = float("nan")


def _points_off_by(errors):
    """Predictions of annotations at (0, 0) with the errors `[N, P]`."""
    errors = np.asarray(errors, np.float64)
    predicted = np.stack([0.6 * errors, 0.8 * errors], axis=-1)
    annotated = np.where(np.isnan(predicted), NAN, 0.0)
    return np.nan_to_num(predicted), annotated


def _measure(errors, videos, names=None, distances=(6,)):
    predicted, annotated = _points_off_by(errors)
    names = names or [f"joint{i}" for i in range(predicted.shape[1])]
    return intervals.measure(
        {"no_bias": predicted},
        annotated,
        np.array(videos),
        None,
        names,
        distances,
    )


def _percentiles_of_all_resamples(videos):
    """`videos`: lists of errors. Every resample is equally likely."""
    means = [
        np.mean(sum(drawn, []))
        for drawn in itertools.product(videos, repeat=len(videos))
    ]
    return np.percentile(means, [2.5, 97.5])


class MeasureTest(absltest.TestCase):
    def test_constant_errors_have_an_interval_of_width_0(self):
        found = _measure(np.full([6, 2], 2.5), list("aabbbc"))
        low, high = found["mean_error_px"]["no_bias"]
        self.assertAlmostEqual(low, 2.5, places=12)
        self.assertAlmostEqual(high, 2.5, places=12)
        self.assertEqual(found["pck"]["6"]["mean"], [100.0, 100.0])

    def test_two_clips_by_hand(self):
        # Means of both alike, 25 % of resamples: 1; of the other alike: 5.
        # Of one each it is (3 * 1 + 5) / 4: frames count, not videos.
        found = _measure([[1.0], [5.0], [1.0], [1.0]], list("abaa"))
        self.assertNotIn("nme_percent", found)
        np.testing.assert_allclose(found["mean_error_px"]["no_bias"], [1, 5])

    def test_frames_of_a_clip_go_together(self):
        errors = np.repeat([1.0, 5.0], 50)[:, None]
        together = _measure(errors, ["a"] * 50 + ["b"] * 50)
        apart = _measure(errors, [str(number) for number in range(100)])
        np.testing.assert_allclose(
            together["mean_error_px"]["no_bias"], [1.0, 5.0]
        )
        # 3 +- 1.96 * 2 / sqrt(100).
        np.testing.assert_allclose(
            apart["mean_error_px"]["no_bias"], [2.6, 3.4], atol=0.06
        )

    def test_is_what_all_resamples_give(self):
        videos = [[0.0, 1.0], [2.0], [3.0, 9.0, 4.0], [7.0], [1.0]]
        ids = sum(([str(i)] * len(video) for i, video in enumerate(videos)), [])
        found = _measure(np.array(sum(videos, []))[:, None], ids)
        np.testing.assert_allclose(
            found["mean_error_px"]["no_bias"],
            _percentiles_of_all_resamples(videos),
            atol=0.25,
        )

    def test_normalized_errors_have_an_interval_too(self):
        # Eyes 10 and 20 px apart, all errors 3 px: 30 % and 15 %.
        annotated = np.array([[[0.0, 0], [0, 10]], [[0, 0], [0, 20]]])
        predicted = {"no_bias": annotated + [3, 0], "bias": annotated}
        found = intervals.measure(
            predicted, annotated, np.array(["a", "b"]), (0, 1), "lr", (2, 3)
        )
        np.testing.assert_allclose(found["nme_percent"]["no_bias"], [15, 30])
        self.assertEqual(found["nme_percent"]["bias"], [0.0, 0.0])
        self.assertEqual(found["mean_error_px"]["no_bias"], [3.0, 3.0])
        self.assertEqual(found["pck"]["2"]["l"], [0.0, 0.0])
        self.assertEqual(found["pck"]["3"]["l"], [100.0, 100.0])
        self.assertEqual(found["resamples"], 1_000)
        self.assertEqual(found["unit"], "videos")

    def test_pck_by_hand(self):
        # Head: right in both. Hand: wrong in b. Foot: seen in b alone, so
        # that resamples of a alone have no foot.
        found = _measure(
            [[1.0, 1.0, NAN], [1.0, 9.0, 9.0]],
            ["a", "b"],
            ["head", "hand", "foot"],
        )["pck"]["6"]
        self.assertEqual(found["head"], [100.0, 100.0])
        self.assertEqual(found["hand"], [0.0, 100.0])
        self.assertEqual(found["foot"], [0.0, 0.0])
        # All of a: head and hand, 100. All of b: 100 / 3.
        np.testing.assert_allclose(found["mean"], [100 / 3, 100])

    def test_clips_without_annotations_change_nothing(self):
        random = np.random.default_rng(0)
        errors = random.uniform(0, 9, [8, 2])
        ids = list("aabbccdd")
        more = np.concatenate([np.full([1, 2], NAN), errors])
        self.assertEqual(_measure(more, ["0", *ids]), _measure(errors, ids))

    def test_one_clip_says_nothing_of_others(self):
        found = _measure([[1.0], [5.0]], ["a", "a"])
        self.assertTrue(np.isnan(found["mean_error_px"]["no_bias"]).all())
        self.assertTrue(np.isnan(found["pck"]["6"]["mean"]).all())

    def test_measured_twice_is_the_same_twice(self):
        errors = np.random.default_rng(1).uniform(0, 9, [20, 3])
        ids = np.arange(20) // 2
        self.assertEqual(_measure(errors, ids), _measure(errors, ids))

    def test_encloses_what_metrics_measure(self):
        random = np.random.default_rng(2)
        annotated = random.uniform(0, 127, [40, 5, 2])
        predicted = annotated + random.normal(0, 4, annotated.shape)
        annotated[random.uniform(size=[40, 5]) < 0.2] = NAN
        names = list("lrnabc")[:5]
        found = intervals.measure(
            {"no_bias": predicted},
            annotated,
            np.arange(40) // 2,
            (0, 1),
            names,
            (6,),
        )
        table = metrics.percentages_correct(predicted, annotated, names, (6,))
        for value, (low, high) in (
            (
                metrics.normalized_mean_error(predicted, annotated, (0, 1)),
                found["nme_percent"]["no_bias"],
            ),
            (
                metrics.mean_error(predicted, annotated),
                found["mean_error_px"]["no_bias"],
            ),
            *((table["6"][name], found["pck"]["6"][name]) for name in names),
            (table["6"]["mean"], found["pck"]["6"]["mean"]),
        ):
            self.assertLess(low, value)
            self.assertLess(value, high)


class PairedDifferenceTest(parameterized.TestCase):
    def test_equal_runs_do_not_differ(self):
        errors = np.array([1.0, 2.0, 3.0, 4.0])
        self.assertEqual(
            intervals.paired_difference(errors, errors, np.array(list("abcd"))),
            {"mean": 0.0, "interval": [0.0, 0.0], "p": 1.0, "videos": 4},
        )

    def test_three_clips_by_hand(self):
        # Differences -1, -1, -2 (two frames), -3. Of the 8 signs only the two
        # that are all alike give a sum as far from 0: p = 1 / 4.
        errors = np.array([1.0, 2.0, 3.0, 4.0])
        other = np.array([2.0, 3.0, 5.0, 7.0])
        found = intervals.paired_difference(
            errors, other, np.array(list("aabc"))
        )
        self.assertAlmostEqual(found["mean"], -7 / 4)
        self.assertAlmostEqual(found["p"], 0.25, delta=0.02)
        # All of a: 1 of 27 resamples, all of c: likewise.
        np.testing.assert_allclose(found["interval"], [-3, -1])

    def test_p_is_that_of_all_signs(self):
        random = np.random.default_rng(3)
        for shift in (0.0, 0.5, 1.0):
            differences = random.normal(shift, 1.0, [9])
            sums = np.array(
                [
                    np.dot(signs, differences)
                    for signs in itertools.product((-1, 1), repeat=9)
                ]
            )
            as_far = np.abs(sums) >= np.abs(differences.sum()) - 1e-9
            found = intervals.paired_difference(
                differences, np.zeros(9), np.arange(9)
            )
            self.assertAlmostEqual(found["p"], as_far.mean(), delta=0.02)

    def test_frames_of_a_clip_are_flipped_together(self):
        # 40 frames that all differ alike; as 2 videos they prove nothing.
        ones, zeros = np.ones(40), np.zeros(40)
        apart = intervals.paired_difference(ones, zeros, np.arange(40))
        together = intervals.paired_difference(ones, zeros, np.arange(40) % 2)
        self.assertEqual(apart["p"], 1 / 10_000)
        self.assertAlmostEqual(together["p"], 0.5, delta=0.02)

    def test_pairs_remove_what_both_runs_share(self):
        # Images differ by tens of pixels, the runs by one on every image.
        random = np.random.default_rng(4)
        hardness = random.uniform(0, 100, [30])
        found = intervals.paired_difference(
            hardness + 1.0, hardness, np.arange(30)
        )
        np.testing.assert_allclose(found["interval"], [1.0, 1.0])

    def test_changes_sign_when_the_runs_are_exchanged(self):
        random = np.random.default_rng(5)
        errors, other = random.uniform(0, 9, [2, 12, 3])
        ids = np.arange(12) // 2
        there = intervals.paired_difference(errors, other, ids)
        back = intervals.paired_difference(other, errors, ids)
        self.assertAlmostEqual(there["mean"], -back["mean"])
        self.assertEqual(there["p"], back["p"])
        np.testing.assert_allclose(
            there["interval"], -np.array(back["interval"])[::-1]
        )

    def test_mean_is_the_difference_of_the_errors_of_metrics(self):
        random = np.random.default_rng(6)
        annotated = random.uniform(0, 127, [10, 4, 2])
        annotated[2, 3] = annotated[5, 2] = NAN
        runs = [random.uniform(0, 127, [10, 4, 2]) for _ in range(2)]
        first, second = (
            metrics.normalized_mean_error(run, annotated, (0, 1))
            for run in runs
        )
        found = intervals.paired_difference(
            *(
                metrics.normalized_point_errors(run, annotated, (0, 1))
                for run in runs
            ),
            np.arange(10),
        )
        self.assertAlmostEqual(found["mean"], first - second)

    def test_missing_errors_are_not_counted(self):
        found = intervals.paired_difference(
            np.array([NAN, 1.0, 2.0]),
            np.array([5.0, 0.0, 0.0]),
            np.array(list("abc")),
        )
        self.assertAlmostEqual(found["mean"], 1.5)
        self.assertEqual(found["videos"], 2)

    @parameterized.parameters((1.0, 1, 1.0, 1), (NAN, NAN, NAN, 0))
    def test_too_few_clips(self, error, mean, p, videos):
        found = intervals.paired_difference(
            np.array([error]), np.array([0.0]), np.array(["a"])
        )
        np.testing.assert_equal(
            found,
            {"mean": mean, "interval": [NAN, NAN], "p": p, "videos": videos},
        )


if __name__ == "__main__":
    absltest.main()
