"""The map from landmarks to named keypoints that a workdir keeps.

It is a `regression.LinearMap` in normalised units of the model's square view,
so that it does not depend on the size of an image, with the keypoints' names
and a fingerprint of the detector that it was fitted to: for other weights it is
wrong.
"""

from collections.abc import Sequence
import dataclasses
import hashlib
import os
import pathlib

import numpy as np

from tflm import coords
from tflm import errors
from tflm import files
from tflm.evaluation import regression

_ARRAYS = ("names", "weights", "bias", "detector")


@dataclasses.dataclass(frozen=True)
class KeypointMap:
    """Predicts P named keypoints from K landmarks, both (y, x), normalised.

    Raises:
        ValueError: if the arrays do not fit together.
    """

    names: tuple[str, ...]
    weights: np.ndarray  # float32 [2 * K, P, 2].
    bias: np.ndarray  # float32 [P, 2], normalised units of the view.

    def __post_init__(self):
        expected = (2 * self.num_landmarks, len(self.names), 2)
        if not self.num_landmarks or self.weights.shape != expected:
            raise ValueError(
                f"weights must be [2 * K, {len(self.names)}, 2], got"
                f" {list(self.weights.shape)}"
            )
        if self.bias.shape != expected[1:]:
            raise ValueError(
                f"bias must be {list(expected[1:])}, got"
                f" {list(self.bias.shape)}"
            )
        if not (
            np.isfinite(self.weights).all() and np.isfinite(self.bias).all()
        ):
            raise ValueError("weights and bias must be finite")

    @property
    def num_landmarks(self) -> int:
        """K."""
        return len(self.weights) // 2 if self.weights.ndim else 0

    def __call__(self, landmarks: np.ndarray) -> np.ndarray:
        """Maps landmarks to keypoints.

        Args:
            landmarks: float `[N, K, 2]`, (y, x), normalised in the view.

        Returns:
            float32 `[N, P, 2]`, likewise; outside [-1, 1] where a keypoint is
            beyond the view.
        """
        flat = np.reshape(landmarks, [len(landmarks), 2 * self.num_landmarks])
        mapped = np.einsum("nk,kpc->npc", flat, self.weights) + self.bias
        return mapped.astype(np.float32)

    def confidence(self, confidence: np.ndarray) -> np.ndarray:
        """How sure the landmarks are that a keypoint is made of.

        The mean of their confidence, each with the size of its weights.

        Args:
            confidence: float `[N, K]`, of landmarks.

        Returns:
            float32 `[N, P]`, of keypoints; within the range of `confidence`.
        """
        squares = self.weights.astype(np.float64) ** 2
        of_landmark = squares.reshape(self.num_landmarks, 2, -1, 2)
        share = np.sqrt(of_landmark.sum(axis=(1, 3)))  # [K, P]
        share[:, ~share.any(axis=0)] = 1.0  # The keypoint is a constant.
        share /= share.sum(axis=0)
        return (confidence @ share).astype(np.float32)

    def save(self, path: str | os.PathLike, detector: str) -> None:
        """Writes the map as an .npz file, whole or not at all.

        Args:
            path: of the file.
            detector: `fingerprint` of the detector it was fitted to.
        """
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                names=np.array(self.names, np.str_),
                weights=self.weights,
                bias=self.bias,
                detector=np.array(detector, np.str_),
            )


def fingerprint(weights: Sequence[np.ndarray]) -> str:
    """A hash of a detector's weights, as Keras' `get_weights` answers."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(str(array.shape).encode())
        digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()


def from_linear_map(
    linear_map: regression.LinearMap, names: tuple[str, ...], view_size: int
) -> KeypointMap:
    """Takes a fitted map over from pixels to normalised units.

    Args:
        linear_map: fitted with a bias, in pixels of a square view.
        names: of its keypoints.
        view_size: side of that view, pixels.

    Returns:
        The same map; its weights do not change, as both ends scale alike.
    """
    size = (view_size, view_size)
    num_landmarks = len(linear_map.weights) // 2
    origin_px = coords.to_pixels(np.zeros([1, num_landmarks, 2]), size)
    bias = coords.from_pixels(linear_map(origin_px), size)[0]
    return KeypointMap(
        tuple(names),
        linear_map.weights.astype(np.float32),
        bias.astype(np.float32),
    )


def load(
    path: str | os.PathLike, num_landmarks: int, detector: str
) -> KeypointMap | None:
    """Reads what `KeypointMap.save` wrote.

    Args:
        path: of the file.
        num_landmarks: of the model it is for.
        detector: `fingerprint` of that model's detector.

    Returns:
        The map; None if there is no file.

    Raises:
        errors.UserError: if it is damaged, or was fitted to another detector.
    """
    remedy = "fit it again with python evaluate.py, or remove it"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names, weights, bias, fitted_to = (arrays[name] for name in _ARRAYS)
        found = KeypointMap(
            tuple(str(name) for name in names),
            weights.astype(np.float32),
            bias.astype(np.float32),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror or error
        raise errors.UserError(
            f"{path} cannot be read: {reason}; {remedy}"
        ) from error
    except Exception as error:  # Whatever zipfile and NumPy raise.
        raise errors.UserError(
            f"{path} is damaged ({error}); {remedy}"
        ) from error
    if num_landmarks != found.num_landmarks:
        raise errors.UserError(
            f"{path} maps {found.num_landmarks} landmarks, the model has"
            f" {num_landmarks}; {remedy}"
        )
    if str(fitted_to) != detector:
        raise errors.UserError(
            f"{path} was fitted to other weights than those of the newest"
            f" checkpoint; {remedy}"
        )
    return found
