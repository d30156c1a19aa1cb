"""Clips from disk, as data_prep wrote them."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import json
import os
import pathlib
import re

import tensorflow as tf
import tensorflow_datasets as tfds

from tflm import errors

_SCHEMA = {"image", "index", "keypoints", "scale"}  # Of every frame.
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_LONGEST_REASON = 200  # Letters of what tfds says.
_FRAMING_BYTES = 16  # Of a record of a TFRecord file: its length, checksums.


@dataclasses.dataclass(frozen=True)
class Shards:
    """One prepared dataset; `builder` reads its TFRecord files."""

    builder: tfds.core.DatasetBuilder
    keypoint_names: tuple[str, ...]
    left_right_swaps: tuple[tuple[int, int], ...]
    normalizing_pair: tuple[int, int] | None  # The unit of NME.
    splits: dict[str, str]  # Role ("train", ...) -> split.
    crop: str = ""  # See `configs.DataConfig.frame_crop`.

    @property
    def factors(self) -> set[str]:
        """Names of the dataset's own factors, as "azimuth"."""
        return set(self.builder.info.features["frames"].keys()) - _SCHEMA

    def num_clips(self, role: str) -> int:
        """Clips of a role's split.

        Raises:
            errors.UserError: if there is no split for `role`, or it is empty.
        """
        split = self.splits.get(role)
        count = (
            self.builder.info.splits[split].num_examples
            if split in self.builder.info.splits
            else 0
        )
        if not count:
            raise errors.UserError(
                f"dataset {self.builder.name} has no {role} images; it has"
                f" {', '.join(self.splits)}"
            )
        return count

    def num_frames(self, role: str) -> int:
        """Frames of a role's split; see `num_clips`."""
        self.num_clips(role)
        counts = self.builder.info.metadata.get("num_frames", {})
        if self.splits[role] not in counts:
            raise errors.UserError(
                f"{self.builder.data_dir}/metadata.json has no number of frames"
                f" of {role}; remove that folder, and build it again with"
                " python -m data_prep"
            )
        return counts[self.splits[role]]

    def identity(self, role: str) -> dict[str, int | str]:
        """What tells a role's clips from others of the same name.

        Returns:
            `version` of the builder, number of `clips`, and their `bytes`.

        Raises:
            errors.UserError: see `num_clips`.
        """
        num_clips = self.num_clips(role)
        num_bytes = self.builder.info.splits[self.splits[role]].num_bytes
        return {
            "version": str(self.builder.version),
            "clips": num_clips,
            "bytes": int(num_bytes),  # An int of tfds has words of its own.
        }

    def clips(self, role: str, shuffle_seed: int | None = None):
        """The clips of a role, in a fixed order, or reshuffled by file.

        Returns:
            A `tf.data.Dataset` of dicts: `clip_id`, string; `video`, the same
            or the video that the clip is cut out of; `frames`: `image`,
            encoded bytes `[T]`; `index`, int64 `[T]`; `keypoints`, float32
            `[T, P, 2]`, (y, x), pixels, NaN where missing; `scale`, float32
            `[T, 2]`, (y, x), of the stored image over the original; and the
            dataset's own factors, int64 `[T]`.
        """
        self.num_clips(role)
        return self.builder.as_dataset(
            split=self.splits[role],
            shuffle_files=shuffle_seed is not None,
            read_config=tfds.ReadConfig(
                shuffle_seed=shuffle_seed,
                skip_prefetch=True,
                try_autocache=False,
                interleave_cycle_length=4,
            ),
            decoders={"frames": {"image": tfds.decode.SkipDecoding()}},
        )


def open_shards(data_dir: str, dataset: str) -> Shards:
    """Opens the newest version of a prepared dataset.

    Raises:
        errors.MissingError: if `data_dir` holds no finished build of it.
        errors.UserError: if an earlier version of data_prep wrote it, or
            another program, or files are missing, not whole or damaged.
    """
    build = f"python -m data_prep --dataset={dataset} --data_dir={data_dir}"
    root = pathlib.Path(data_dir) / dataset
    versions = sorted(
        (
            path.parent
            for path in root.glob("*/dataset_info.json")
            if _VERSION.fullmatch(path.parent.name)  # Not a build under way.
        ),
        key=lambda path: tuple(int(n) for n in path.name.split(".")),
    )
    if not versions:
        raise errors.MissingError(
            f"no shards of {dataset} in {data_dir}; build them with: {build}"
        )
    folder = versions[-1]
    try:
        return _opened(folder, build)
    except errors.UserError:
        raise
    except Exception as error:  # tfds lets through whatever its parsers raise.
        raise errors.UserError(
            f"{_damage(folder, error)}; copy the whole folder {folder} again,"
            f" or remove it and build it again with: {build}"
        ) from error


def _opened(folder: pathlib.Path, build: str) -> Shards:
    builder = tfds.builder_from_directory(folder)
    if "frames" not in builder.info.features:
        raise errors.UserError(
            f"{folder} was not written by data_prep; choose another --data_dir"
        )
    if "scale" not in builder.info.features["frames"]:
        raise errors.UserError(
            f"{folder} was written by an earlier version of data_prep; build it"
            f" again with: {build}"
        )
    for split in builder.info.splits.values():
        _check_files(split, folder)
    facts = builder.info.metadata
    pair = facts["normalizing_pair"]
    return Shards(
        builder=builder,
        keypoint_names=tuple(facts["keypoint_names"]),
        left_right_swaps=tuple(map(tuple, facts["left_right_swaps"])),
        normalizing_pair=tuple(pair) if pair else None,
        splits=dict(facts["splits"]),
        crop=facts.get("crop") or _asked_crop(facts.get("options", {})),
    )


def _asked_crop(options: Mapping[str, object]) -> str:
    """The same, of shards that say only how data_prep was called."""
    if options.get("motion_crop"):
        return "--motion_crop"
    for name in ("crop", "boxes"):
        if value := options.get(name):
            return f"--{name}={value}"
    return ""


def _damage(folder: pathlib.Path, error: Exception) -> str:
    """What is wrong with a build that does not open."""
    for name in ("dataset_info.json", "features.json", "metadata.json"):
        path = folder / name
        try:
            json.loads(path.read_text())
        except FileNotFoundError:
            return f"{path} is missing"
        except (ValueError, RecursionError) as damage:
            return f"{path} is damaged: it is no JSON ({damage})"
    if isinstance(error, KeyError):
        return f"{folder} is damaged: its description lacks {error}"
    reason = " ".join(str(error).split())[:_LONGEST_REASON]
    return f"{folder} is damaged: {reason}"


def _check_files(split: tfds.core.SplitInfo, folder: pathlib.Path) -> None:
    """Raises `errors.UserError` if a split's files are not as written."""
    remedy = f"copy the whole folder {folder}, or build it again"
    for path in split.filepaths:
        if not path.exists():
            raise errors.UserError(f"{path} is missing; {remedy}")
    size = sum(os.path.getsize(path) for path in split.filepaths)
    written = int(split.num_bytes) + _FRAMING_BYTES * split.num_examples
    if size != written:
        raise errors.UserError(
            f"{folder}: the files of {split.name} have {size} bytes, not the"
            f" {written} that were written; {remedy}"
        )


@contextlib.contextmanager
def naming_damage(shards: Shards) -> Iterator[None]:
    """Tells which file is damaged, where reading the clips finds that one is.

    Raises:
        errors.UserError: naming it.
    """
    try:
        yield
    except tf.errors.DataLossError as error:
        raise errors.UserError(
            f"{_damaged_file(shards)} is damaged; copy the whole folder, or"
            " build it again"
        ) from error


def _damaged_file(shards: Shards) -> str:
    for split in shards.builder.info.splits.values():
        for path in split.filepaths:
            try:
                for _ in tf.data.TFRecordDataset(os.fspath(path)):
                    pass
            except tf.errors.DataLossError:
                return str(path)
    return f"a file in {shards.builder.data_path}"


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes JPEG or PNG bytes to float32 `[H, W, 3]` in [0, 1]."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    return tf.cast(image, tf.float32) / 255.0
