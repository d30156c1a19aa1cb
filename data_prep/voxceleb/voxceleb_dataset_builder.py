"""VoxCeleb: frames of face tracks of people who talk; see README.md."""

import collections
from collections.abc import Iterator
import math
import pathlib
import re

import tensorflow_datasets as tfds

from data_prep import clip_builder
from data_prep import clips
from data_prep import held_out
from tflm import errors
from tflm.media import file_names
from tflm.media import folders
from tflm.media import images
from tflm.media import tables

RATE = "1.6"  # A folder between identity and video in some releases.
MAX_SIDE = 256  # Pixels of a stored frame.
VAL_FRACTION = 0.05  # Of the identities.


def _read(source: clip_builder.Source) -> Iterator[dict | errors.Broken]:
    """Reads a video; `spec`: its clips' name, folder, names of images."""
    name, folder, image_names = source.spec
    numbered = list(enumerate(image_names))
    for number, part in enumerate(clips.strided(numbered)):
        frames = []
        for index, image_name in part:
            path = folder / image_name
            try:
                image = images.read_prepared(path, MAX_SIDE)
            except errors.RawDataError as error:
                yield errors.Broken(str(path), str(error))
                continue
            frames.append(clips.frame(image.encoded, index, scale=image.scale))
        if frames:
            yield clips.clip(f"{name}/{number:04d}", frames, video=name)


class Builder(clip_builder.ClipBuilder, skip_registration=True):
    """Clips of up to 32 frames, spread over all tracks of one video.

    Args:
        exclude_identities: text file of the identities to leave out, one a
            line; None: all are taken.
        val_fraction: share of the identities in split `val`; 0: no such split.

    Raises:
        RawDataError: if the fraction leaves nothing to train on.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "the folder of VoxCeleb's identities, each with folders of cropped face"
        " images, one a video"
        " (https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html)"
    )
    read = staticmethod(_read)

    def __init__(
        self,
        *,
        exclude_identities: str | None = None,
        val_fraction: float = VAL_FRACTION,
        **kwargs,
    ):
        if not 0 <= val_fraction < 1:
            raise errors.RawDataError(
                f"--val_fraction={val_fraction} must be at least 0 and less"
                " than 1"
            )
        self._exclude_identities = exclude_identities
        self._val_fraction = val_fraction
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        roles = {"train": "train"}
        if self._val_fraction:
            roles["val"] = "val"
        return tfds.core.DatasetInfo(
            builder=self,
            description="Frames of face tracks of people who talk.",
            homepage="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/",
            features=clips.features(0),
            metadata=clips.metadata(
                keypoint_names=(),
                left_right_swaps=(),
                normalizing_pair=None,
                crop="a square around a face",
                splits=roles,
            ),
        )

    def sources(
        self, raw_dir: pathlib.Path
    ) -> dict[str, list[clip_builder.Source]]:
        splits = {"train": [], "val": []}
        positions = {}
        for identity, videos in self._videos(raw_dir).items():
            positions[identity] = held_out.position(identity)
            is_val = positions[identity] < self._val_fraction
            splits["val" if is_val else "train"] += [
                clip_builder.Source(
                    identity,
                    len(names),
                    (
                        f"{identity}/{video}",
                        raw_dir / folder,
                        tuple(sorted(names, key=_by_number)),
                    ),
                )
                for (video, folder), names in sorted(videos.items())
            ]
        if not positions:
            raise errors.RawDataError(
                f"{raw_dir} holds no IDENTITY/VIDEO/*.jpg or"
                " IDENTITY/VIDEO/UTTERANCE/*.jpg that is not left out; give the"
                " folder of the identities as --raw_dir"
            )
        if not self._val_fraction:
            del splits["val"]
        for split, videos in splits.items():
            if not videos:
                raise errors.RawDataError(_how_to_fill(split, positions))
        return splits

    def _videos(
        self, raw_dir: pathlib.Path
    ) -> dict[str, dict[tuple[str, str], list[str]]]:
        """Finds the images of the identities that are not left out.

        Returns:
            Maps identity to video and its folder below `raw_dir` to the paths
            of its images below that.
        """
        listed = self.listing(raw_dir, images.SUFFIXES)
        left_out = dict(listed.left_out)
        parts = [(name, name.split("/")) for name in listed.names]
        with_rate = {p[0] for _, p in parts if len(p) > 2 and p[1] == RATE}
        excluded = self._excluded(raw_dir, {p[0] for _, p in parts})
        found = collections.defaultdict(lambda: collections.defaultdict(list))
        num_images = 0
        for name, (identity, *rest) in parts:
            start = int(identity in with_rate)
            if identity in excluded:
                reason = "of excluded identities"
            elif start and rest[:1] != [RATE]:
                reason = f"beside {RATE}"
            elif not 2 <= len(rest[start:]) <= 3:
                reason = "in no IDENTITY/VIDEO or IDENTITY/VIDEO/UTTERANCE"
            elif broken := clip_builder.broken_name(raw_dir / name, name):
                self.leave_out(broken)
                continue
            else:
                folder = "/".join([identity, *rest[: start + 1]])
                image = "/".join(rest[start + 1 :])
                found[identity][rest[start], folder].append(image)
                num_images += 1
                continue
            left_out.setdefault(reason, []).append(name)
        self.count(f"{raw_dir}: {num_images} images", left_out)
        if self._exclude_identities is not None:
            self.count(
                f"{self._exclude_identities}: {len(excluded)} identities", {}
            )
        return dict(sorted(found.items()))

    def _excluded(
        self, raw_dir: pathlib.Path, identities: set[str]
    ) -> set[str]:
        """Those of the identities that are to be left out."""
        if self._exclude_identities is None:
            return set()
        asked = _read_names(self._exclude_identities)
        finder = file_names.Finder(identities)
        excluded, missing = set(), []
        for name, number in asked.items():
            excluded.update(found := finder.find(name))
            if not found:
                missing.append(f"line {number}: {finder.describe(name)}")
        if missing:  # A slip of the pen would let somebody in.
            raise errors.RawDataError(
                f"{self._exclude_identities}: {len(missing)} of {len(asked)}"
                f" identities are not in {raw_dir}"
                f" ({folders.first_few(missing)}); correct or remove the lines"
            )
        return excluded


def _by_number(name: str) -> list[str | int]:
    """A key that sorts the numbers in names by size."""
    words = re.split(r"([0-9]+)", name)  # Every second one is a number.
    return [int(word) if i % 2 else word for i, word in enumerate(words)]


def _read_names(path: str) -> dict[str, int]:
    """Maps identity to its line in a file of one a line."""
    text = tables.read_text(
        path,
        "give the path of a text file of one identity a line",
        "--exclude_identities=",
    )
    lines = enumerate(text.splitlines(), start=1)
    return {line.strip(): number for number, line in lines if line.strip()}


def _how_to_fill(split: str, positions: dict[str, float]) -> str:
    """Says that `split` is empty, and which fraction would change that.

    Args:
        split: its name.
        positions: of the identities that might be in it.
    """
    text = f"none of the {len(positions)} identities falls into split {split}"
    if split == "val":
        need = math.floor(100 * min(positions.values())) + 1
        return (
            f"{text}; --val_fraction={need / 100} is enough for one, and 0"
            " leaves that split out"
        )
    return f"{text}; lower --val_fraction"
