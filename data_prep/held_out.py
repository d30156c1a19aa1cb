"""Which part of a dataset is held out, and what for."""

import hashlib

import tensorflow_datasets as tfds

from data_prep import annotations
from data_prep import clips
from tflm import errors
from tflm.media import file_names


def fractions(
    val_fraction: float,
    test_fraction: float | None,
    annotated: annotations.Annotations,
    default: float,
) -> dict[str, float]:
    """Checks the shares of the data that are in the splits val and test.

    Args:
        val_fraction: 0: no such split.
        test_fraction: 0: no such split; None: `default` with keypoints, else 0.
        annotated: the keypoints.
        default: see `test_fraction`.

    Raises:
        RawDataError: if one is negative, or nothing is left to train on.
    """
    if test_fraction is None:
        test_fraction = default if annotated.keypoint_names else 0.0
    if min(val_fraction, test_fraction) < 0 or (
        val_fraction + test_fraction >= 1
    ):
        raise errors.RawDataError(
            f"--val_fraction={val_fraction} and --test_fraction={test_fraction}"
            " must not be negative, and add up to less than 1"
        )
    return {"val": val_fraction, "test": test_fraction}


def metadata(
    shares: dict[str, float],
    annotated: annotations.Annotations,
    crop: str = "",
) -> tfds.core.MetadataDict:
    """What `clips.metadata` says of a user's own data.

    Args:
        shares: see `fractions`.
        annotated: the keypoints.
        crop: see `clips.metadata`.
    """
    names = annotated.keypoint_names
    roles = {"train": "train"}
    if shares["val"]:
        roles["val"] = "val"
    if shares["test"]:
        roles["test"] = "test"
    if names:
        roles["regression_train"] = "annotated_train"
        if shares["test"]:
            roles["regression_test"] = "annotated_test"
    return clips.metadata(
        keypoint_names=names,
        left_right_swaps=annotations.left_right_swaps(names),
        normalizing_pair=annotations.eyes(names),
        splits=roles,
        crop=crop,
    )


def position(name: str) -> float:
    """Where something stands between 0 and 1, by its name alone.

    The first 6 bytes of the MD5 of the name, read as a big-endian fraction:
    the same on every machine, whatever else there is. Names that look the same
    have the same place: the name is taken in Unicode's form NFC.

    Args:
        name: such as a path below the raw folder, with forward slashes.
    """
    digest = hashlib.md5(
        file_names.composed(name).encode(), usedforsecurity=False
    ).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
