"""VoxCeleb: frames of face tracks of people who talk; see README.md."""

from collections.abc import Iterator
import math
import pathlib
import re

import tensorflow_datasets as tfds

from data_prep import clip_builder
from data_prep import clips
from data_prep import held_out
from tflm import errors
from tflm.media import images

SUFFIXES = (".jpg", ".jpeg", ".png")
RATE = "1.6"  # A folder between identity and video in some releases.
MAX_SIDE = 256  # Pixels of a stored frame.
VAL_FRACTION = 0.05  # Of the identities.


def _read(source: clip_builder.Source) -> Iterator[dict | errors.Broken]:
    """Reads the frames of a video; `spec` is its clips' name and its folder."""
    name, folder = source.spec
    numbered = list(enumerate(_image_names(folder)))
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
                splits=roles,
            ),
        )

    def sources(
        self, raw_dir: pathlib.Path
    ) -> dict[str, list[clip_builder.Source]]:
        splits = {"train": [], "val": []}
        positions = {}
        for identity in self._identities(raw_dir):
            videos = _sources(raw_dir, identity)
            if not videos:
                continue
            positions[identity] = held_out.position(identity)
            is_val = positions[identity] < self._val_fraction
            splits["val" if is_val else "train"] += videos
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

    def _identities(self, raw_dir: pathlib.Path) -> list[str]:
        """Names of the identities that are not left out, sorted."""
        identities = _folders(raw_dir)
        if self._exclude_identities is None:
            return identities
        excluded = _read_names(self._exclude_identities)
        for name, number in excluded.items():
            if name not in identities:
                raise errors.RawDataError(
                    f"{self._exclude_identities}, line {number}: no identity"
                    f" {name!r} in {raw_dir}; correct or remove the line"
                )
        return [name for name in identities if name not in excluded]


def _sources(raw_dir: pathlib.Path, identity: str) -> list[clip_builder.Source]:
    """The videos of an identity that have images."""
    folder = raw_dir / identity
    if (folder / RATE).is_dir():
        folder = folder / RATE
    sources = []
    for video in _folders(folder):
        if num_frames := len(_image_names(folder / video)):
            spec = (f"{identity}/{video}", folder / video)
            sources.append(clip_builder.Source(identity, num_frames, spec))
    return sources


def _folders(parent: pathlib.Path) -> list[str]:
    """Names of the folders in `parent`, sorted; no hidden ones."""
    return sorted(
        path.name
        for path in parent.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )


def _image_names(video: pathlib.Path) -> list[str]:
    """Images in a folder and the folders in it, such as utterances.

    Deeper folders are not looked into, so links to a folder above do no harm.

    Returns:
        Paths below `video`, sorted, 2 before 10.
    """
    names = [path.name for path in video.iterdir()]
    for folder in _folders(video):
        paths = (video / folder).iterdir()
        names += [f"{folder}/{path.name}" for path in paths]
    return sorted(filter(_is_image, names), key=_by_number)


def _is_image(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.lower().endswith(SUFFIXES) and not last.startswith(".")


def _by_number(name: str) -> list[str | int]:
    """A key that sorts the numbers in names by size."""
    words = re.split(r"([0-9]+)", name)  # Every second one is a number.
    return [int(word) if i % 2 else word for i, word in enumerate(words)]


def _read_names(path: str) -> dict[str, int]:
    """Maps identity to its line in a file of one a line."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise errors.RawDataError(
            f"{path} is no UTF-8 text; save it as such"
        ) from None
    except OSError as error:
        raise errors.RawDataError(
            f"--exclude_identities={path} cannot be read ({error.strerror});"
            " give the path of a text file of one identity a line"
        ) from None
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
