from absl.testing import absltest
import numpy as np

from tflm.evaluation import sample_efficiency

NAN = float("nan")


def _points(seed, count, num_points):
    random = np.random.default_rng(seed)
    return random.uniform(0, 127, [count, num_points, 2])


class MeasureTest(absltest.TestCase):
    def test_which_numbers_of_images_and_how_many_draws(self):
        for count, sizes in (
            (1, []),
            (7, [1, 5]),
            (100, [1, 5, 10]),  # 100 images are all.
            (101, [1, 5, 10, 100]),
        ):
            found = sample_efficiency.measure(
                _points(0, count, 2),
                _points(1, count, 3),
                _points(2, 4, 2),
                np.mean,
            )
            expected = [(n, 10, False) for n in sizes]
            expected += [(count, 1, False), (count, 3, True)]
            self.assertCountEqual(found, ["no_bias", "bias", "ridge"])
            for entries in found.values():
                self.assertEqual(
                    [
                        (e["n"], e["draws"], e["with_replacement"])
                        for e in entries
                    ],
                    expected,
                )

    def test_mean_and_deviation_are_of_the_draws(self):
        # The landmarks never move: the map with bias answers with the mean of
        # the labels drawn.
        labels = np.arange(6.0).reshape(6, 1, 1) * [[1.0, 1.0]]
        answers = []

        def error(predicted):
            answers.append(predicted[0, 0, 0])
            return answers[-1]

        found = sample_efficiency.measure(
            np.full([6, 2, 2], 3.0), labels, np.full([1, 2, 2], 3.0), error
        )

        answers = np.array(answers).reshape(-1, 3)[:, 1]  # Of three maps.
        one, five = answers[:10], answers[10:20]
        np.testing.assert_allclose(one, one.round(), atol=1e-9)
        self.assertGreater(len(set(one.round())), 2)
        # Five of the six differ: 15 - (the one left out), over 5.
        left_out = 15 - 5 * five
        np.testing.assert_allclose(left_out, left_out.round(), atol=1e-9)
        self.assertGreater(len(set(left_out.round())), 2)
        self.assertAlmostEqual(found["bias"][0]["mean"], one.mean())
        self.assertAlmostEqual(
            found["bias"][0]["std"],
            np.sqrt(((one - one.mean()) ** 2).sum() / 9),
        )
        self.assertAlmostEqual(found["bias"][-2]["mean"], 2.5)
        self.assertIsNone(found["bias"][-2]["std"])
        self.assertGreater(found["bias"][-1]["std"], 0.0)

    def test_draws_are_the_same_every_time(self):
        data = _points(0, 20, 3), _points(1, 20, 2), _points(2, 5, 3)
        self.assertEqual(
            sample_efficiency.measure(*data, np.mean),
            sample_efficiency.measure(*data, np.mean),
        )

    def test_images_that_miss_a_keypoint_are_not_used(self):
        landmarks, labels = _points(0, 20, 3), _points(1, 20, 2)
        missing = labels.copy()
        missing[3, 1] = NAN
        kept = np.arange(20) != 3

        found = sample_efficiency.measure(
            landmarks, missing, landmarks, np.mean
        )

        self.assertEqual(
            found,
            sample_efficiency.measure(
                landmarks[kept], labels[kept], landmarks, np.mean
            ),
        )
        missing[:, 1] = NAN
        self.assertIsNone(
            sample_efficiency.measure(landmarks, missing, landmarks, np.mean)
        )


if __name__ == "__main__":
    absltest.main()
