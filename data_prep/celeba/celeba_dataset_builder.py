"""CelebA faces with the five keypoints of MAFL; see README.md."""

from collections.abc import Iterator
from collections.abc import Sequence
import itertools
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from data_prep import clip_builder
from data_prep import clips
from tflm import errors
from tflm.media import file_names
from tflm.media import images
from tflm.media import tables

KEYPOINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
IMAGES = "img_align_celeba"
LANDMARKS = "list_landmarks_align_celeba.txt"
PARTITION = "list_eval_partition.txt"
MAFL_TRAIN = "MAFL/training.txt"
MAFL_TEST = "MAFL/testing.txt"
PLACES = {  # Where people have them; the first that is there is read.
    IMAGES: (
        f"{IMAGES}/{IMAGES}",  # The mirror with the lists as .csv.
        IMAGES,
        f"Img/{IMAGES}/{IMAGES}",
        f"Img/{IMAGES}",  # CelebA's own folders: Img, Anno, Eval.
    ),
    LANDMARKS: (
        LANDMARKS,
        f"Anno/{LANDMARKS}",
        "list_landmarks_align_celeba.csv",
    ),
    PARTITION: (
        PARTITION,
        f"Eval/{PARTITION}",
        "list_eval_partition.csv",
    ),
}
_WHERE_FROM = (
    "it comes with CelebA (http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)"
    " or, if in MAFL/, with https://github.com/zhzhanp/TCDCN-face-alignment"
)
# Names that CelebA gives to the columns, x before y.
LANDMARK_COLUMNS = tuple(
    f"{name}_{axis}"
    for name in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    for axis in "xy"
)


def _read(source: clip_builder.Source) -> Iterator[dict | errors.Broken]:
    """Reads an image; `spec` is its path and its keypoints."""
    path, keypoints = source.spec
    try:
        image = images.read_prepared(path)
        _check_inside(path, image.size, keypoints)
    except errors.RawDataError as error:
        yield errors.Broken(str(path), str(error))
        return
    keypoints = images.shrink_points(keypoints, image.scale)
    yield clips.still(path.name, image.encoded, keypoints, image.scale)


def _check_inside(
    path: pathlib.Path, size: tuple[int, int], keypoints: np.ndarray
) -> None:
    """Checks that keypoints, of which some may be NaN, are in the image.

    Raises:
        RawDataError: if one is not.
    """
    is_outside = ((keypoints < -0.5) | (keypoints > np.array(size) - 0.5)).any(
        axis=1
    )
    if is_outside.any():
        y, x = keypoints[np.argmax(is_outside)]
        raise errors.RawDataError(
            f"{path} has {size[1]} x {size[0]} pixels (width x height), but its"
            f" {KEYPOINTS[np.argmax(is_outside)]} is listed at x {x:g}, y"
            f" {y:g}; give the images that {LANDMARKS} is for (178 x 218), or"
            " pass --skip_broken to leave such files out"
        )


class Builder(clip_builder.ClipBuilder):
    """One clip per face: the original JPEG and its keypoints."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"the folder that holds {IMAGES}/, {LANDMARKS} and {PARTITION} of"
        " CelebA (http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html) and the"
        f" lists {MAFL_TRAIN} and {MAFL_TEST}"
        " (https://github.com/zhzhanp/TCDCN-face-alignment)"
    )
    # The landmarks are learned on `train` without labels, the regressor on
    # `mafl_train` with them.
    MAY_SHARE = (frozenset(("train", "mafl_train")),)
    read = staticmethod(_read)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Aligned celebrity faces with five keypoints.",
            homepage="http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
            features=clips.features(len(KEYPOINTS)),
            metadata=clips.metadata(
                keypoint_names=KEYPOINTS,
                left_right_swaps=[(0, 1), (3, 4)],
                normalizing_pair=(0, 1),
                crop="a face, turned so that its eyes are level",
                splits={
                    "train": "train",
                    "val": "val",
                    "regression_train": "mafl_train",
                    "regression_test": "mafl_test",
                },
            ),
        )

    def sources(
        self, raw_dir: pathlib.Path
    ) -> dict[str, list[clip_builder.Source]]:
        folder = _find(raw_dir, IMAGES)
        if not folder.is_dir():
            raise errors.RawDataError(
                f"{folder} is missing; unpack {IMAGES}.zip of CelebA there"
            )
        landmarks = _find(raw_dir, LANDMARKS)
        keypoints = _read_keypoints(landmarks)
        splits = _read_splits(raw_dir)
        for split in ("mafl_train", "val", "mafl_test"):
            for name in splits[split]:
                if name not in keypoints:
                    raise errors.RawDataError(
                        f"{landmarks} has no row for {name}, which is in"
                        f" {split}; fetch the whole file from CelebA"
                    )
        listed = self.listing(folder, images.SUFFIXES)
        names = dict.fromkeys(itertools.chain(*splits.values()))
        files = self.find(
            f"{folder}, as listed", names, file_names.Finder(listed.names)
        )
        unlisted = sorted({*listed.names} - {*files.values()})
        self.count(
            f"{folder}: {len(listed.names) - len(unlisted)} images",
            {**listed.left_out, "in no list that is used": unlisted},
        )
        missing = np.full([len(KEYPOINTS), 2], np.nan, np.float32)
        return {
            split: [
                clip_builder.Source(
                    name,
                    1,
                    (folder / files[name], keypoints.get(name, missing)),
                )
                for name in names
            ]
            for split, names in splits.items()
        }


def _find(raw_dir: pathlib.Path, name: str) -> pathlib.Path:
    """The first of PLACES that is there; if none is, the plain one."""
    paths = (raw_dir / place for place in PLACES[name])
    return next((path for path in paths if path.exists()), raw_dir / name)


def _read_splits(raw_dir: pathlib.Path) -> dict[str, list[str]]:
    """Maps split to image names.

    Raises:
        RawDataError: if a list is missing, malformed or without images.
    """
    mafl = _read_names(raw_dir / MAFL_TRAIN)
    num_val = max(1, len(mafl) // 10)
    held_out = {
        "val": mafl[-num_val:],
        "mafl_test": _read_names(raw_dir / MAFL_TEST),
    }
    excluded = {*held_out["val"], *held_out["mafl_test"]}
    partition = _find(raw_dir, PARTITION)
    splits = {
        "train": [
            name for name in _read_partition(partition) if name not in excluded
        ],
        "mafl_train": mafl[:-num_val],
        **held_out,
    }
    for split, names in splits.items():
        if not names:
            raise errors.RawDataError(
                f"no image is left for split {split}; {partition} or"
                f" {raw_dir / MAFL_TRAIN} is too short: fetch it again"
            )
    return splits


def _read_names(path: pathlib.Path) -> list[str]:
    """Image names, one a line, in the order of the file."""
    rows = _read_rows(path, columns=[])
    if not rows:
        raise errors.RawDataError(f"{path} is empty; fetch it again")
    return list(rows)


def _read_partition(path: pathlib.Path) -> list[str]:
    """Names of the images of partition 0, which CelebA trains on."""
    names = []
    rows = _read_rows(path, columns=["partition"])
    for name, (number, (value,)) in rows.items():
        if value not in ("0", "1", "2"):
            raise errors.RawDataError(
                f"{path}, line {number}: the partition must be 0, 1 or 2, got"
                f" {value!r}; fetch the file again, or correct the line"
            )
        if value == "0":
            names.append(name)
    return names


def _read_keypoints(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Maps image name to float32 `[5, 2]`, (y, x), pixels.

    The file stores x before y. Its integers are taken to count from 0 at the
    centre of the first pixel; CelebA does not say so, and if it counts from 1
    all points are off by the same pixel in y and in x.
    """
    keypoints = {}
    rows = _read_rows(path, LANDMARK_COLUMNS, num_header_lines=2)
    for name, (number, values) in rows.items():
        try:
            xy = np.array(values, np.float32).reshape(len(KEYPOINTS), 2)
        except ValueError:
            xy = np.array(np.nan)
        if not np.isfinite(xy).all():
            raise errors.RawDataError(
                f"{path}, line {number}: {' '.join([name, *values])!r} must be"
                f" an image name and {2 * len(KEYPOINTS)} numbers; correct or"
                " remove the line"
            )
        keypoints[name] = xy[:, ::-1]
    return keypoints


def _read_rows(
    path: pathlib.Path, columns: Sequence[str], num_header_lines: int = 0
) -> dict[str, tuple[int, list[str]]]:
    """Reads a table of CelebA: an image name and its values in each line.

    Args:
        path: if it ends in .csv, commas separate the values and line 1 names
            the columns; else blanks do.
        columns: one name per value.
        num_header_lines: of a file that does not end in .csv.

    Returns:
        Image name to (line number from 1, values), in the order of the file.

    Raises:
        RawDataError: if the file is missing, a line has another number of
            values, or an image has two lines.
    """
    if not path.exists():
        raise errors.RawDataError(f"{path} is missing; {_WHERE_FROM}")
    text = tables.read_text(path, _WHERE_FROM)
    is_csv = path.suffix == ".csv"
    if is_csv:
        lines = tables.read_rows(path, text)
        header = ["image_id", *columns]
        if not lines or lines[0].cells != header:
            raise errors.RawDataError(
                f"{path}, line 1: must be {','.join(header)!r}; fetch the file"
                " again"
            )
        del lines[0]
    else:
        lines = [
            tables.Row(number, line.split())
            for number, line in enumerate(text.splitlines(), start=1)
            if number > num_header_lines and line.strip()
        ]
    rows = {}
    for line in lines:
        number, (name, *values) = line.number, line.cells
        if len(values) != len(columns):
            text = ("," if is_csv else " ").join(line.cells)
            raise errors.RawDataError(
                f"{path}, line {number}: {text!r} must be an"
                f" image name and {len(columns)} values; correct or remove the"
                " line"
            )
        if name in rows:
            raise errors.RawDataError(
                f"{path}, line {number}: {name} is also in line"
                f" {rows[name][0]}; remove one of them"
            )
        rows[name] = (number, values)
    return rows
