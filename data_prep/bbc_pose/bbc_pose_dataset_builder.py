"""BBC Pose: signers in front of moving pictures, seven joints; see README.md.

What is read of bbcpose.mat, an array of structs (one per video, in the order of
the folders' numbers): type, 'train', 'val' or 'test'; train_frames and
train_joints, found by a program; test_frames and test_joints, marked by hand.
"""

from collections.abc import Iterator
import dataclasses
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from data_prep import annotations
from data_prep import clip_builder
from data_prep import clips
from data_prep import matlab
from tflm import errors
from tflm.media import boxes
from tflm.media import file_names
from tflm.media import images

KEYPOINTS = (  # "Right" is the signer's own.
    "head",
    "right_wrist",
    "left_wrist",
    "right_elbow",
    "left_elbow",
    "right_shoulder",
    "left_shoulder",
)
LEFT_RIGHT_SWAPS = ((1, 2), (3, 4), (5, 6))
ANNOTATIONS = "bbcpose.mat"
TYPES = ("train", "val", "test")
NUM_VIDEOS = 20  # The file's first; Extended BBC Pose comes after them.
MARGIN = 1.3  # Side of the crop; 1 is the extent of a video's joints.
MAX_SIDE = 256  # Pixels of a stored frame.
REGRESSION_FRAMES = 1_000  # Of a training video, at most.
MAX_COORDINATE = 4_096  # Pixels; frames are far smaller.


@dataclasses.dataclass(frozen=True)
class Joints:
    """Annotated frames of a video.

    Attributes:
        frames: int `[N]`, numbers of the files.
        points: float32 `[N, 7, 2]`, (y, x), pixels of the raw frame, 0 = centre
            of the first; NaN where missing.
    """

    frames: np.ndarray
    points: np.ndarray


@dataclasses.dataclass(frozen=True)
class Selection:
    """Frames of one video, and how they are stored."""

    folder: pathlib.Path
    frames: list[int]
    joints: Joints  # Of these frames and others.
    box: boxes.Box


def _read(source: clip_builder.Source) -> Iterator[dict | errors.Broken]:
    """Reads the frames of a video; `spec` is a Selection."""
    spec = source.spec
    rows = {frame: row for row, frame in enumerate(spec.joints.frames.tolist())}
    unknown = np.full([len(KEYPOINTS), 2], np.nan)
    for number, numbers in enumerate(clips.strided(spec.frames)):
        frames = []
        for frame in numbers:
            path = spec.folder / f"{frame}.jpg"
            try:
                image = images.read_upright(path)
                points = (
                    spec.joints.points[rows[frame]]
                    if frame in rows
                    else unknown
                )
                annotations.check_size(str(path), image.shape[:2], points)
            except errors.RawDataError as error:
                yield errors.Broken(str(path), str(error))
                continue
            image, points, scale = _crop(image, points, spec.box)
            frames.append(clips.frame(image, frame, points, scale))
        if frames:
            clip_id = f"{source.group}/{number:05d}"
            yield clips.clip(clip_id, frames, video=source.group)


def _crop(
    image: np.ndarray, points: np.ndarray, box: boxes.Box
) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Crops a frame.

    Returns:
        The JPEG to store, `points` (see `Joints`) in its pixels, and its scale,
        see `clips.frame`.
    """
    pixels, scale = images.shrink(boxes.crop(image, box), MAX_SIDE)
    points = images.shrink_points(boxes.crop_points(points, box), scale)
    return images.encode_jpeg(pixels), points, scale


class Builder(clip_builder.ClipBuilder):
    """Clips of up to 32 frames, spread over the whole of one video."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"the folder that holds {ANNOTATIONS} and the frame folders 1/ to"
        f" {NUM_VIDEOS}/ of BBC Pose"
        " (https://www.robots.ox.ac.uk/~vgg/data/pose/)"
    )
    # The landmarks are learned on `train` without labels, the regressor on
    # some of its frames with them.
    MAY_SHARE = (frozenset(("train", "annotated_train")),)
    read = staticmethod(_read)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Signers of BBC programmes with seven joints.",
            homepage="https://www.robots.ox.ac.uk/~vgg/data/pose/",
            features=clips.features(len(KEYPOINTS)),
            metadata=clips.metadata(
                keypoint_names=KEYPOINTS,
                left_right_swaps=LEFT_RIGHT_SWAPS,
                normalizing_pair=None,
                crop="a square around the signer",
                splits={
                    "train": "train",
                    "val": "val",
                    "regression_train": "annotated_train",
                    "regression_test": "annotated_test",
                },
            ),
        )

    def sources(
        self, raw_dir: pathlib.Path
    ) -> dict[str, list[clip_builder.Source]]:
        splits = {
            "train": [],
            "val": [],
            "annotated_train": [],
            "annotated_test": [],
        }
        entries = _read_entries(raw_dir / ANNOTATIONS)
        there, needed = [], {}
        for number, entry in enumerate(entries, start=1):
            where = f"{raw_dir / ANNOTATIONS}, video {number}"
            kind = _type(entry, where)
            found = _joints(entry, "train", where)
            marked = _joints(entry, "test", where)
            joints = Joints(  # Where a frame has both, the later one counts.
                np.concatenate([found.frames, marked.frames]),
                np.concatenate([found.points, marked.points]),
            )
            if np.isnan(joints.points).all():
                raise errors.RawDataError(
                    f"{where}: no frame has a joint to crop by; fetch the file"
                    " again"
                )
            box = boxes.square_around(joints.points, MARGIN)
            folder = raw_dir / str(number)
            on_disk = _frames_on_disk(folder)
            there += [f"{number}/{frame}.jpg" for frame in on_disk]
            if kind == "test":
                selections = {"annotated_test": marked.frames}
            else:
                selections = {kind: np.union1d(on_disk, joints.frames)}
            if kind == "train":
                selections["annotated_train"] = _spread(joints)
            for split, frames in selections.items():
                if not len(frames):
                    raise errors.RawDataError(
                        f"{where}: no frame for split {split}; fetch the file"
                        " again"
                    )
                needed |= dict.fromkeys(f"{number}/{n}.jpg" for n in frames)
                selection = Selection(folder, frames.tolist(), joints, box)
                splits[split].append(
                    clip_builder.Source(str(number), len(frames), selection)
                )
        self.find(f"{raw_dir}, as listed", needed, file_names.Finder(there))
        unused = [name for name in there if name not in needed]
        self.count(
            f"{raw_dir}: {len(needed)} frames",
            {"that are in no list of a test video": unused},
        )
        return splits


def _spread(joints: Joints) -> np.ndarray:
    """At most REGRESSION_FRAMES annotated frames, evenly spread; int `[n]`."""
    has_joint = ~np.isnan(joints.points).all(axis=(1, 2))
    frames = np.unique(joints.frames[has_joint])
    count = min(REGRESSION_FRAMES, len(frames))
    return frames[np.arange(count) * len(frames) // max(1, count)]


def _frames_on_disk(folder: pathlib.Path) -> list[int]:
    """Numbers of the files NUMBER.jpg of a video."""
    if not folder.is_dir():
        raise errors.RawDataError(
            f"{folder} is missing; unpack the frames of that video there"
        )
    stems = (path.stem for path in folder.iterdir() if path.suffix == ".jpg")
    return [int(s) for s in stems if s.isdecimal() and s == str(int(s))]


def _read_entries(path: pathlib.Path) -> np.ndarray:
    """The structs of BBC Pose, `[videos]`."""
    source = "BBC Pose, beside the frame folders"
    entries = matlab.read(path, source).get("bbcpose")
    if entries is None or entries.dtype.names is None:
        raise errors.RawDataError(
            f"{path} holds no array of structs 'bbcpose'; fetch it again"
        )
    for name in (
        "type",
        "train_frames",
        "train_joints",
        "test_frames",
        "test_joints",
    ):
        if name not in entries.dtype.names:
            raise errors.RawDataError(
                f"{path}: bbcpose has no field {name!r}; fetch the file again"
            )
    return entries.ravel()[:NUM_VIDEOS]


def _type(entry: np.void, where: str) -> str:
    kind = str(np.squeeze(entry["type"]))
    if kind not in TYPES:
        raise errors.RawDataError(
            f"{where}: type must be one of {', '.join(TYPES)}, got {kind!r};"
            " fetch the file again"
        )
    return kind


def _joints(entry: np.void, kind: str, where: str) -> Joints:
    """Reads `train_` or `test_` `frames` and `joints`; maybe none.

    The file has x before y. Its pixels are taken to count from 1, as MATLAB
    does, at the centre of the first.
    """
    try:
        frames = np.asarray(entry[f"{kind}_frames"], np.float64).ravel()
        points = np.asarray(entry[f"{kind}_joints"], np.float64)
    except (TypeError, ValueError):
        raise errors.RawDataError(
            f"{where}: {kind}_frames and {kind}_joints must be numbers; fetch"
            " the file again"
        ) from None
    expected = (2, len(KEYPOINTS), len(frames))
    if points.size == 0 == frames.size:
        points = np.zeros(expected)  # MATLAB writes [] as 0 x 0.
    if points.ndim == 2:
        points = points[..., None]  # Nor does it write a last size of 1.
    if points.shape != expected:
        raise errors.RawDataError(
            f"{where}: {kind}_joints must be {matlab.by(expected)} for"
            f" {len(frames)} {kind}_frames, got"
            f" {matlab.by(points.shape)}; fetch the file again"
        )
    is_frame = np.isfinite(frames) & (frames % 1 == 0) & (frames > 0)
    if not is_frame.all():
        raise errors.RawDataError(
            f"{where}: {kind}_frames must be whole numbers from 1, got"
            f" {frames[~is_frame][0]}; fetch the file again"
        )
    if (np.abs(points) > MAX_COORDINATE).any():
        raise errors.RawDataError(
            f"{where}: {kind}_joints has {np.nanmax(np.abs(points)):g}, beyond"
            f" any frame ({MAX_COORDINATE} pixels); fetch the file again"
        )
    points = points.transpose(2, 1, 0)[..., ::-1] - 1.0
    return Joints(frames.astype(np.int64), points.astype(np.float32))
