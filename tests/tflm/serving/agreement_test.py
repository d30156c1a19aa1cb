from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tflm.serving import agreement


def _answer(*landmarks, confidence=0.5):
    points = np.array(landmarks, np.float32)
    return {
        "landmarks": points[None],
        "confidence": np.full([1, len(points)], confidence, np.float32),
    }


class AgreementTest(parameterized.TestCase):
    def test_distances_are_in_pixels_of_128(self):
        # 3/127 and 4/127 of the view: 5 pixels. The other image agrees.
        apart = _answer([3 / 127, 4 / 127], [0, 0])
        same = _answer([0, 0], [0, 0])

        found = agreement.compare([(apart, same), (same, same)])

        self.assertAlmostEqual(found.max_px, 5.0, places=5)
        self.assertAlmostEqual(found.worst_px, 2.5, places=5)
        self.assertAlmostEqual(found.mean_px, 1.25, places=5)
        self.assertEqual(found.difference, 0.0)

    def test_a_fraction_of_an_image_is_more_of_its_central_view(self):
        pair = _answer([0.8 / 127, 0]), _answer([0, 0])
        found = agreement.compare([pair], view_fraction=0.8)
        self.assertAlmostEqual(found.max_px, 1.0, places=5)

    def test_other_outputs_are_compared_by_their_means(self):
        black, grey = np.zeros([1, 2, 2, 3], np.uint8), np.zeros([1, 2, 2, 3])
        grey[0, 0, 0, 0] = 51.0
        expected = {**_answer([0, 0]), "images": black}
        answer = {**_answer([0, 0]), "images": grey.astype(np.uint8)}

        found = agreement.compare([(answer, expected)])

        # 51 of 255 levels in one of twelve numbers.
        self.assertAlmostEqual(found.difference, 0.2 / 12, places=6)

    def test_levels_do_not_wrap_around(self):
        low, high = (np.full([1, 1], n, np.uint8) for n in (0, 255))
        pair = (
            {**_answer([0, 0]), "images": low},
            {**_answer([0, 0]), "images": high},
        )
        self.assertAlmostEqual(agreement.compare([pair]).difference, 1.0)

    @parameterized.parameters(
        ("float32", dict(max_px=0.021), "by 0.021 px at most, more than 0.02"),
        ("float32", dict(max_px=0.019, mean_px=0.019), None),
        ("float32", dict(difference=0.002), "0.002 in another output"),
        ("float16", dict(max_px=0.11), "more than 0.1"),
        ("dynamic", dict(mean_px=0.51), "0.51 px on average, more than 0.5"),
        ("int8", dict(mean_px=0.51), "0.51 px on average, more than 0.5"),
        ("int8", dict(worst_px=1.1), "1.1 px at one landmark, more than 1"),
        ("int8", dict(mean_px=0.49, worst_px=0.9, max_px=9.0), None),
        ("int8", dict(mean_px=np.nan), "by nan"),
    )
    def test_what_is_beyond_is_said(self, kind, values, message):
        zeros = dict(mean_px=0.0, worst_px=0.0, max_px=0.0, difference=0.0)
        found = agreement.Agreement(**{**zeros, **values})

        beyond = found.beyond(agreement.TOLERANCES[kind])

        if message is None:
            self.assertIsNone(beyond)
        else:
            self.assertIn(message, beyond)

    def test_answers_that_are_not_numbers_do_not_agree(self):
        pair = _answer([np.nan, 0]), _answer([0, 0])
        found = agreement.compare([pair])
        self.assertTrue(np.isnan(found.mean_px))
        pair = _answer([0, 0], confidence=np.nan), _answer([0, 0])
        self.assertTrue(np.isnan(agreement.compare([pair]).difference))


if __name__ == "__main__":
    absltest.main()
