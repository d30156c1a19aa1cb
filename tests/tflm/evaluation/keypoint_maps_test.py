import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tflm import coords
from tflm import errors
from tflm.evaluation import keypoint_maps
from tflm.evaluation import regression


def _in_entries(whole: bytes, changes: dict[int, int]) -> bytes:
    """Changes bytes of all entries of a zip file's directory."""
    content = bytearray(whole)
    start = content.find(b"PK\x01\x02")
    while start >= 0:
        for offset, value in changes.items():
            content[start + offset] = value
        start = content.find(b"PK\x01\x02", start + 1)
    return bytes(content)


_NAMES = ("nose", "left_ear", "Schwanz ü")


def _fitted() -> tuple[regression.LinearMap, np.ndarray]:
    """A map of 4 landmarks to 3 keypoints, and landmarks, pixels of 128."""
    random = np.random.default_rng(0)
    landmarks = random.uniform(0, 127, [50, 4, 2])
    annotations = random.uniform(0, 127, [50, 3, 2])
    return regression.fit(landmarks, annotations, True), landmarks


class KeypointMapTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.path = pathlib.Path(folder) / "run" / "keypoints.npz"

    def _save(self) -> None:
        whole = keypoint_maps.from_linear_map(_fitted()[0], _NAMES, 128)
        whole.save(self.path, "detector")

    def test_it_predicts_what_the_fitted_map_does(self):
        fitted, landmarks = _fitted()

        found = keypoint_maps.from_linear_map(fitted, _NAMES, 128)

        predicted = found(coords.from_pixels(landmarks, (128, 128)))
        np.testing.assert_allclose(
            coords.to_pixels(predicted, (128, 128)),
            fitted(landmarks),
            atol=1e-3,
        )
        self.assertEqual(found.num_landmarks, 4)

    def test_bias_by_hand(self):
        # Pixels of 5: y' = y + 1 px and x' = 3. A pixel is 0.5 units there, and
        # 3 px is 0.5.
        weights = np.zeros([2, 1, 2])
        weights[0, 0, 0] = 1.0
        fitted = regression.LinearMap(weights, np.array([[1.0, 3.0]]))

        found = keypoint_maps.from_linear_map(fitted, ("tail",), 5)

        np.testing.assert_allclose(found([[[0.25, -1.0]]]), [[[0.75, 0.5]]])
        # Beyond the view it goes on.
        np.testing.assert_allclose(found([[[0.75, -1.0]]]), [[[1.25, 0.5]]])

    def test_what_is_saved_is_what_is_read(self):
        saved = keypoint_maps.from_linear_map(_fitted()[0], _NAMES, 128)

        saved.save(self.path, "detector")
        read = keypoint_maps.load(self.path, 4, "detector")

        self.assertEqual(read.names, _NAMES)
        np.testing.assert_array_equal(read.weights, saved.weights)
        np.testing.assert_array_equal(read.bias, saved.bias)
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])

    def test_a_map_of_another_number_of_landmarks_is_refused(self):
        self._save()
        with self.assertRaisesRegex(
            errors.UserError, "keypoints.npz maps 4 landmarks, the model has 5"
        ):
            keypoint_maps.load(self.path, 5, "detector")

    def test_a_map_that_was_fitted_to_other_weights_is_refused(self):
        self._save()
        with self.assertRaisesRegex(
            errors.UserError,
            "keypoints.npz was fitted to other weights .*; fit it again with"
            " python evaluate.py",
        ):
            keypoint_maps.load(self.path, 4, "trained on")

    def test_without_a_file_there_is_no_map(self):
        self.assertIsNone(keypoint_maps.load(self.path, 4, "detector"))

    def test_a_fingerprint_tells_weights_apart(self):
        weights = [np.zeros([2, 3]), np.ones([4])]
        found = keypoint_maps.fingerprint(weights)

        self.assertEqual(
            keypoint_maps.fingerprint([w.copy() for w in weights]), found
        )
        weights[1][2] = 1.001
        self.assertNotEqual(keypoint_maps.fingerprint(weights), found)

    @parameterized.named_parameters(
        ("cut_short", lambda whole: whole[:300]),
        ("empty", lambda whole: b""),
        ("text", lambda whole: b"keypoints"),
        (
            "a_bit_flipped",
            lambda whole: whole.replace(b"\x93NUMPY", b"\x93NUMPI"),
        ),
        # Compression and encryption that zipfile has not.
        ("method", lambda whole: _in_entries(whole, {10: 99, 11: 0})),
        ("encrypted", lambda whole: _in_entries(whole, {8: 1})),
    )
    def test_a_damaged_file_is_named(self, damage):
        self._save()
        self.path.write_bytes(damage(self.path.read_bytes()))
        with self.assertRaisesRegex(
            errors.UserError, "keypoints.npz is damaged .*; fit it again"
        ):
            keypoint_maps.load(self.path, 4, "detector")

    @parameterized.named_parameters(
        ("missing", {"bias": None}),
        ("shape", {"bias": np.zeros([2, 2], np.float32)}),
        ("odd", {"weights": np.zeros([7, 3, 2], np.float32)}),
        ("flat", {"weights": np.zeros([], np.float32)}),
        ("not_finite", {"bias": np.full([3, 2], np.nan, np.float32)}),
        ("pickled", {"names": np.array([{}, {}, {}], object)}),
    )
    def test_arrays_that_do_not_fit_are_refused(self, changed):
        whole = keypoint_maps.from_linear_map(_fitted()[0], _NAMES, 128)
        arrays = {
            "names": np.array(whole.names),
            "weights": whole.weights,
            "bias": whole.bias,
            "detector": np.array("detector"),
            **changed,
        }
        kept = {name: part for name, part in arrays.items() if part is not None}
        self.path.parent.mkdir()
        np.savez(self.path, **kept)
        with self.assertRaisesRegex(errors.UserError, "keypoints.npz is dama"):
            keypoint_maps.load(self.path, 4, "detector")

    def test_confidence_is_that_of_the_landmarks_it_is_made_of(self):
        # The first keypoint is made of landmarks 0 and 1, weights 3 and 1 (a
        # sign does not matter); the second of none: it is a constant.
        weights = np.zeros([4, 2, 2], np.float32)
        weights[0, 0, 0], weights[3, 0, 1] = 3.0, -1.0
        found = keypoint_maps.KeypointMap(
            ("a", "b"), weights, np.zeros([2, 2], np.float32)
        )

        confidence = found.confidence(np.array([[1.0, 0.2]]))

        np.testing.assert_allclose(confidence, [[0.8, 0.6]], rtol=1e-6)


if __name__ == "__main__":
    absltest.main()
