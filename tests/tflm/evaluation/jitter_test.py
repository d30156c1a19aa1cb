from absl.testing import absltest
import numpy as np

from tflm.evaluation import jitter


def _measure(places_x, videos, index):
    """One landmark that moves along x."""
    places = np.asarray(places_x, np.float64)
    points = np.stack([np.zeros_like(places), places], axis=-1)[:, None]
    return jitter.measure(points, np.array(videos), np.array(index))


class MeasureTest(absltest.TestCase):
    def test_even_motion_has_no_jitter(self):
        start, speed = (
            np.array([[3.0, 4.0], [60.0, 9.0]]),
            [[1.5, 2.0], [0, -4]],
        )
        points = start + np.arange(6)[:, None, None] * speed
        found = jitter.measure(points, np.full([6], "a"), np.arange(6))
        self.assertAlmostEqual(found["px"], 0.0)
        self.assertEqual(found["triples"], 4)
        self.assertEqual(found["frames_apart"], 1.0)
        # Speeds 2.5 (3-4-5) and 4.
        self.assertAlmostEqual(found["motion_px"], 3.25)

    def test_value_by_hand(self):
        # Landmark 0 stays; landmark 1 is off by (6, 8) in the middle.
        points = np.zeros([3, 2, 2])
        points[1, 1] = [6.0, 8.0]
        found = jitter.measure(points, np.full([3], "a"), np.arange(3))
        self.assertEqual(
            found,
            {
                "px": 5.0,
                "landmarks": [0.0, 10.0],
                "triples": 1,
                "frames_apart": 1.0,
                "motion_px": 0.0,
            },
        )

    def test_frames_of_other_clips_are_no_neighbours(self):
        # Each video moves evenly; what is between the videos is a jump.
        found = _measure(
            [0, 1, 2, 90, 80, 70], list("aaabbb"), [0, 1, 2, 3, 4, 5]
        )
        self.assertEqual(found["triples"], 2)
        self.assertAlmostEqual(found["px"], 0.0)
        self.assertAlmostEqual(found["motion_px"], 5.5)

    def test_order_of_the_frames_does_not_matter(self):
        places, videos = [0, 5, 2, 90, 80, 73], list("aaabbb")
        index = [1, 2, 3, 0, 2, 4]  # Of two videos, interleaved.
        order = [4, 0, 2, 5, 3, 1]
        found = _measure(places, videos, index)
        shuffled = _measure(
            *(np.array(part)[order] for part in (places, videos, index))
        )
        self.assertEqual(found, shuffled)
        # |5 - 1| and |80 - 81.5|.
        self.assertAlmostEqual(found["px"], (4 + 1.5) / 2)

    def test_frames_unequally_far_apart_are_not_counted(self):
        # Of frames 0, 1, 3, 5, 6 only 1, 3, 5 are equally far apart.
        found = _measure([0, 50, 10, 0, 70], ["a"] * 5, [0, 1, 3, 5, 6])
        self.assertEqual(found["triples"], 1)
        self.assertEqual(found["frames_apart"], 2.0)
        self.assertAlmostEqual(found["px"], 15.0)
        self.assertAlmostEqual(found["motion_px"], 25.0)

    def test_without_three_frames_there_is_none(self):
        self.assertIsNone(_measure([1, 2], ["a", "a"], [0, 1]))
        self.assertIsNone(_measure([1, 2, 4], ["a", "a", "a"], [0, 1, 3]))
        self.assertIsNone(_measure([1, 2, 4], list("abc"), [0, 1, 2]))
        # Stills of one object have no order.
        self.assertIsNone(_measure([1, 2, 4], ["a", "a", "a"], [0, 0, 0]))


if __name__ == "__main__":
    absltest.main()
