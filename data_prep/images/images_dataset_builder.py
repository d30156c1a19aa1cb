"""A folder of images, with or without keypoints; see README.md."""

from collections.abc import Iterator
from collections.abc import Sequence
import math
import pathlib

import tensorflow_datasets as tfds

from data_prep import annotations
from data_prep import clip_builder
from data_prep import clips
from data_prep import held_out
from tflm import errors
from tflm.media import folders
from tflm.media import images

TEST_FRACTION = 0.1  # With keypoints, unless asked otherwise.


def _read(source: clip_builder.Source) -> Iterator[dict | errors.Broken]:
    """Reads an image; `spec` is its name, path, keypoints and stated size."""
    name, path, points, stated = source.spec
    try:
        image = images.read_prepared(path)
        if stated:
            stated.check(str(path), image.size, path)
        annotations.check_size(str(path), image.size, points, path)
    except errors.RawDataError as error:
        yield errors.Broken(str(path), str(error))
        return
    points = images.shrink_points(points, image.scale)
    in_video = annotations.deeplabcut_frame(name)
    video = in_video[0] if in_video else ""
    yield clips.still(name, image.encoded, points, image.scale, video)


class Builder(clip_builder.ClipBuilder):
    """One clip per image.

    Args:
        val_fraction: share of the images in split `val`; 0: no such split.
        test_fraction: share of the images in split `test`; 0: no such split;
            None: TEST_FRACTION with keypoints, or more if of several annotated
            images none would be in it; else 0.
        keypoints: file that `annotations.read` reads, or None.

    Raises:
        RawDataError: if the fractions leave nothing to train on, or the
            keypoints cannot be read.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder of your images ({', '.join(images.SUFFIXES)}), in"
        " sub-folders or not"
    )
    MAY_SHARE = (
        frozenset(("train", "annotated_train")),
        frozenset(("test", "annotated_test")),
    )
    read = staticmethod(_read)

    def __init__(
        self,
        *,
        val_fraction: float = 0.0,
        test_fraction: float | None = None,
        keypoints: str | None = None,
        **kwargs,
    ):
        self._keypoints = keypoints
        self._annotations = annotations.read(keypoints)
        self._fractions = held_out.fractions(
            val_fraction, test_fraction, self._annotations, TEST_FRACTION
        )
        self._is_test_asked_for = test_fraction is not None
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        num_keypoints = len(self._annotations.keypoint_names)
        return tfds.core.DatasetInfo(
            builder=self,
            description="A folder of images.",
            features=clips.features(num_keypoints),
            metadata=held_out.metadata(self._fractions, self._annotations),
        )

    def sources(
        self, raw_dir: pathlib.Path
    ) -> dict[str, list[clip_builder.Source]]:
        names = self._image_names(raw_dir)
        annotated = self._annotations.check(names, raw_dir, self._skip_broken)
        if self._keypoints:
            self.counts.append(annotated.counts())
        return {
            split: [
                clip_builder.Source(
                    name,
                    1,
                    (
                        name,
                        raw_dir / name,
                        annotated.points(name),
                        annotated.stated(name),
                    ),
                )
                for name in part
            ]
            for split, part in self._split(names, annotated).items()
        }

    def _image_names(self, raw_dir: pathlib.Path) -> list[str]:
        """Paths below `raw_dir`, with forward slashes, sorted."""
        listed = self.listing(raw_dir, images.SUFFIXES, [self._keypoints])
        names = []
        for name in listed.names:
            if broken := clip_builder.broken_name(raw_dir / name, name):
                self.leave_out(broken)
            else:
                names.append(name)
        if not names:
            words = folders.in_words(listed.left_out)
            raise errors.RawDataError(
                f"{raw_dir} holds no image ({', '.join(images.SUFFIXES)});"
                f" {words}{'; ' if words else ''}give the folder of your images"
                " as --raw_dir"
            )
        self.count(f"{raw_dir}: {len(names)} images", listed.left_out)
        return names

    def _split(
        self, names: Sequence[str], annotated: annotations.Annotations
    ) -> dict[str, list[str]]:
        """Maps split to image names; no split is empty."""
        positions = {name: held_out.position(name) for name in names}
        first_of_test = 1.0 - self._fractions["test"]
        places = [positions[name] for name in names if annotated.has(name)]
        if not self._is_test_asked_for and len(places) > 1:
            first_of_test = min(first_of_test, max(places))
        splits = {"train": [], "val": [], "test": []}
        for name, place in positions.items():
            if place < self._fractions["val"]:
                splits["val"].append(name)
            elif place >= first_of_test:
                splits["test"].append(name)
            else:
                splits["train"].append(name)
        if annotated.keypoint_names:
            for split in ("train", "test"):
                splits[f"annotated_{split}"] = [
                    name for name in splits[split] if annotated.has(name)
                ]
        if not self._fractions["val"]:
            del splits["val"]
        if not self._fractions["test"]:
            del splits["test"]
            splits.pop("annotated_test", None)
        for split, part in splits.items():
            if part:
                continue
            if split.startswith("annotated_"):
                positions = {
                    name: place
                    for name, place in positions.items()
                    if annotated.has(name)
                }
            raise errors.RawDataError(_how_to_fill(split, positions))
        return splits


def _how_to_fill(split: str, positions: dict[str, float]) -> str:
    """Says that `split` is empty, and which fraction would change that.

    Args:
        split: its name.
        positions: of the images that might be in it.
    """
    what = "annotated image" if split.startswith("annotated_") else "image"
    text = f"none of the {len(positions)} {what}s falls into split {split}"
    if split == "val":
        need = math.floor(100 * min(positions.values())) + 1
        return f"{text}; --val_fraction={need / 100} is enough for one"
    if split in ("test", "annotated_test"):
        need = math.floor(100 * (1.0 - max(positions.values()))) + 1
        return f"{text}; --test_fraction={need / 100} is enough for one"
    return f"{text}; lower --val_fraction or --test_fraction"
