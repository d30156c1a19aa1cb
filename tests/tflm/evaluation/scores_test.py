import dataclasses

from absl.testing import absltest
import numpy as np

from tflm import configs
from tflm import files
from tflm.data import shards as shards_lib
from tflm.evaluation import detections
from tflm.evaluation import scores

NAN = float("nan")
CONFIG = configs.Config(
    model=configs.ModelConfig(image_size=64),
    data=configs.DataConfig("discs", crop_fraction=0.8),
)


def _shards(names, pair):
    return shards_lib.Shards(
        builder=None,
        keypoint_names=names,
        left_right_swaps=(),
        normalizing_pair=pair,
        splits={},
    )


def _detections(landmarks, annotations, **changes):
    """As if an untrained model had all landmarks in one place."""
    nothing, landmarks = np.zeros([0]), np.array(landmarks, float)
    names = np.array([f"image {number}" for number in range(len(landmarks))])
    found = detections.Detections(
        landmarks=landmarks,
        confidence=np.full(landmarks.shape[:2], 0.5),
        untrained=np.full(landmarks.shape, 0.3),
        annotations=np.array(annotations, float),
        sizes=np.full([len(landmarks), 2], 128),
        scales=np.ones([len(landmarks), 2]),
        clip_ids=names,
        videos=names,
        index=np.zeros([len(landmarks)], int),
        factors={},
        images=nothing,
        shown=nothing,
    )
    return dataclasses.replace(found, **changes)


def _score(train, test, names, pair, val=None):
    """Scores; numbers as they are written."""
    found, scored = scores.score(train, test, _shards(names, pair), CONFIG, val)
    return files.nan_to_none(found), scored


class ScoreTest(absltest.TestCase):
    def test_values_by_hand(self):
        # One landmark, two eyes 0.2 to its left and right (25.4 px apart, as
        # [-1, 1] spans 127). Training images have it at x = -0.1 and 0.1, so
        # the mean shape is that of x = 0. The test image has it at x = 0.1,
        # 6.35 px from there.
        def eyes(x):
            return [[0.0, x - 0.2], [0.0, x + 0.2]]

        train = _detections([[[0, -0.1]], [[0, 0.1]]], [eyes(-0.1), eyes(0.1)])
        test = _detections([[[0, 0.1]]], [eyes(0.1)])

        found, _ = _score(train, test, ("left", "right"), (0, 1))

        self.assertAlmostEqual(found["mean_error_px"]["mean_shape"], 6.35)
        self.assertAlmostEqual(found["nme_percent"]["mean_shape"], 25.0)
        self.assertAlmostEqual(found["nme_percent"]["bias"], 0.0)
        # The untrained landmark does not move.
        self.assertAlmostEqual(found["nme_percent"]["untrained_bias"], 25.0)
        self.assertAlmostEqual(found["mean_error_px"]["untrained_bias"], 6.35)
        self.assertEqual(found["pck_bias"]["untrained"]["6"]["mean"], 0.0)
        self.assertEqual(found["sample_efficiency"]["of"], "nme_percent")
        all_labels = found["sample_efficiency"]["bias"][-2]
        self.assertEqual((all_labels["n"], all_labels["draws"]), (2, 1))
        self.assertAlmostEqual(all_labels["mean"], 0.0)
        self.assertEqual(
            found["pck"]["mean_shape"]["6"],
            {"left": 0.0, "right": 0.0, "mean": 0.0},
        )
        self.assertEqual(found["pck"]["mean_shape"]["8"]["mean"], 100.0)
        self.assertEqual(found["pck_bias"]["2"]["mean"], 100.0)

    def test_headline_is_the_map_without_bias(self):
        # The landmark never moves: without a bias it still is a constant, the
        # mean of the training annotations.
        train = _detections([[[0.5, 0.5]]] * 2, [[[0.0, 0.0]], [[0.0, 0.4]]])
        test = _detections([[[0.6, 0.5]]], [[[0.0, 0.2]]])

        found, scored = _score(train, test, ("a",), None)

        self.assertIsNone(found["nme_percent"])
        self.assertAlmostEqual(found["mean_error_px"]["bias"], 0.0)
        self.assertGreater(found["mean_error_px"]["no_bias"], 1.0)
        self.assertEqual(found["pck"]["2"]["mean"], 0.0)
        self.assertEqual(found["pck_bias"]["2"]["mean"], 100.0)
        error = scored.predicted_px["no_bias"] - [[[63.5, 76.2]]]
        self.assertAlmostEqual(
            float(np.linalg.norm(error)), found["mean_error_px"]["no_bias"]
        )

    def test_keypoint_annotated_only_in_training_is_none(self):
        train = _detections([[[0, 0]]], [[[0, 0], [0.5, 0.5]]])
        test = _detections([[[0, 0]]], [[[0, 0], [NAN, NAN]]])

        found, _ = _score(train, test, ("a", "b"), (0, 1))

        self.assertEqual(
            found["pck"]["6"], {"a": 100.0, "b": None, "mean": 100.0}
        )
        self.assertIsNone(found["nme_percent"]["bias"])
        self.assertEqual(found["sample_efficiency"]["of"], "mean_error_px")

    def test_without_a_fully_annotated_image_there_is_no_sample_efficiency(
        self,
    ):
        annotations = [[[0, 0], [NAN, NAN]], [[NAN, NAN], [0, 0]]]
        train = _detections([[[0, 0]]] * 2, annotations)
        test = _detections([[[0, 0]]], annotations[:1])

        found, _ = _score(train, test, ("a", "b"), None)

        self.assertIsNone(found["sample_efficiency"])

    def test_pixels_of_the_original(self):
        # 0.2 to the right of the mean shape: 12.7 px of 128. Of an image stored
        # at 100 x 300 that the network sees 80 % of: 0.2 * 51 / 2 px of 64,
        # each 100 / 80 or 300 / 80 px; twice as many before it was shrunk.
        train = _detections([[[0.0, 0.0]]], [[[0.0, 0.0]]])
        test = _detections(
            [[[0.0, 0.0]]] * 2,
            [[[0.0, 0.2]], [[0.2, 0.0]]],
            sizes=np.array([[100, 300]] * 2),
            scales=np.array([[1.0, 1.0], [0.5, 0.5]]),
        )
        found, _ = _score(train, test, ("a",), None)
        self.assertAlmostEqual(
            found["mean_error_px"]["mean_shape"], 12.7, places=4
        )
        moved = 0.2 * 63 / 2
        self.assertAlmostEqual(
            found["mean_error_original_px"]["mean_shape"],
            (moved * 300 / 80 + 2 * moved * 100 / 80) / 2,
            places=3,
        )

    def test_proportions_of_the_original(self):
        # The eyes are 0.4 apart along x, and the answer for one of them is 0.1
        # off along y. The image is three times as wide as the square it is
        # squeezed to, and so is the distance of the eyes there.
        train = _detections([[[0.0, 0.0]]], [[[0.1, -0.2], [0.0, 0.2]]])
        test = _detections(
            [[[0.0, 0.0]]],
            [[[0.0, -0.2], [0.0, 0.2]]],
            sizes=np.array([[100, 300]]),
        )
        found, _ = _score(train, test, ("a", "b"), (0, 1))
        nme = found["nme_percent"]["mean_shape"]
        self.assertAlmostEqual(nme, (25.0 + 0.0) / 2, places=4)
        self.assertAlmostEqual(
            found["nme_original_percent"]["mean_shape"], nme / 3, places=4
        )

    def test_landmarks_as_they_are_and_what_they_tell_of(self):
        random = np.random.default_rng(0)
        # Landmark 1 is the keypoint; landmark 0 is somewhere.
        keypoint = random.uniform(-0.5, 0.5, [40, 1, 2])
        elsewhere = random.uniform(-1.0, 1.0, [40, 1, 2])
        landmarks = np.concatenate([elsewhere, keypoint], axis=1)
        train = _detections(landmarks[:20], keypoint[:20])
        test = _detections(landmarks[20:], keypoint[20:])

        found, scored = _score(train, test, ("a",), None)

        self.assertEqual(found["matching"]["landmark_of"], {"a": 1})
        np.testing.assert_allclose(
            scored.matched_px, scores.in_view(keypoint[20:])
        )
        backward = found["correspondence"]["backward_bias_px"]["landmarks"]
        self.assertGreater(backward[0], 10.0)
        self.assertLess(backward[1], 1e-6)
        self.assertEqual(found["calibration"]["bins"][0]["count"], 40)

    def test_validation_images_have_their_own_errors(self):
        train = _detections([[[0.0, 0.0]], [[0, 0.2]]], [[[0, 0]], [[0, 0.2]]])
        val = _detections([[[0.0, 0.1]]], [[[0.1, 0.1]]])
        found, _ = _score(train, train, ("a",), None, val)
        self.assertEqual(found["validation"]["num_images"], 1)
        self.assertAlmostEqual(found["mean_error_px"]["bias"], 0.0)
        self.assertAlmostEqual(
            found["validation"]["mean_error_px"]["bias"], 6.35
        )


if __name__ == "__main__":
    absltest.main()
