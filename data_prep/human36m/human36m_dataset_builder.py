"""Human3.6M: videos of actors with the 2D positions of joints; see README.md.

Pairs are frames of one clip, and a clip has one crop: the camera stands still
in a pair, as it does in the video.
"""

from collections.abc import Iterator
import itertools
import math
import pathlib

import cdflib
import numpy as np
import tensorflow_datasets as tfds

from data_prep import annotations
from data_prep import clip_builder
from data_prep import clips
from tflm import errors
from tflm.media import boxes
from tflm.media import file_names
from tflm.media import images
from tflm.media import tables
from tflm.media import videos

JOINTS = {  # Where each is among the joints of a file; left is the actor's.
    "pelvis": 0,
    "right_hip": 1,
    "right_knee": 2,
    "right_ankle": 3,
    "left_hip": 6,
    "left_knee": 7,
    "left_ankle": 8,
    "spine": 12,
    "thorax": 13,
    "neck": 14,
    "head": 15,
    "left_shoulder": 17,
    "left_elbow": 18,
    "left_wrist": 19,
    "right_shoulder": 25,
    "right_elbow": 26,
    "right_wrist": 27,
}
NUM_FILE_JOINTS = 32  # Many are repeated, or are tips of toes and hands.
LEARNED_ON = ("S1", "S5", "S6", "S7")
SUBJECTS = {
    "train": LEARNED_ON,
    "val": ("S8",),
    "annotated_train": LEARNED_ON,
    "annotated_test": ("S9", "S11"),
}
ANNOTATED_STRIDE = 32  # Of all splits but train every so many-th frame is kept.
MARGIN = 1.3  # Side of the crop, over the extent of the joints in the clip.
MAX_SIDE = 160  # Pixels; the networks of the paper see 128.
# A video and its positions should be as long; they often differ by a frame.
MAX_DIFFERENCE = 10

VIDEOS = "Videos"
POSITIONS = "MyPoseFeatures/D2_Positions"
HOMEPAGE = "http://vision.imar.ro/human3.6m"
_UNANNOTATED = "_ALL"  # Start of the names of videos without positions.


def _read(source: clip_builder.Source) -> Iterator[dict | errors.Broken]:
    """Reads a video; `spec` is the folder of its subject, its name, a stride.

    A clip shows MAX_FRAMES frames in a row, of which each stride-th is kept.
    """
    folder, name, stride = source.spec
    video = folder / VIDEOS / f"{name}.mp4"
    try:
        positions = _read_positions(folder / POSITIONS / f"{name}.cdf")
        positions = positions[: _num_common_frames(video, len(positions))]
        for number, frames in itertools.groupby(
            videos.frames(video, end=len(positions), stride=stride),
            key=_clip_number,
        ):
            if number is None:
                yield from frames
                continue
            start = number * clips.MAX_FRAMES
            seen = positions[start : start + clips.MAX_FRAMES]
            box = boxes.square_around(seen, MARGIN)
            whole = []
            for frame in frames:
                if frame.image is None:
                    yield errors.Broken(
                        f"{video}, frame {frame.index}", frame.problem
                    )
                    continue
                at = positions[frame.index]
                whole.append(_frame(frame.index, frame.image, at, box, video))
            if not whole:
                continue
            title = f"{folder.name}/{name}"
            yield clips.clip(
                f"{title}/{start:05d}",
                whole,
                video=title,
            )
    except errors.RawDataError as error:
        yield errors.Broken(str(video), str(error))


def _clip_number(frame: videos.Frame | errors.Broken) -> int | None:
    """None of what says that the video is cut off."""
    if isinstance(frame, errors.Broken):
        return None
    return frame.index // clips.MAX_FRAMES


class Builder(clip_builder.ClipBuilder):
    """Clips of one actor each, seen by one camera."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"the folder that holds S1/{VIDEOS}/*.mp4, S1/{POSITIONS}/*.cdf and the"
        f" same of S5, S6, S7, S8, S9 and S11, from {HOMEPAGE}"
    )
    # The landmarks are learned on `train` without labels, the regressor on
    # `annotated_train` with them.
    MAY_SHARE = (frozenset(("train", "annotated_train")),)
    read = staticmethod(_read)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Videos of actors with the 2D positions of joints.",
            homepage=HOMEPAGE,
            features=clips.features(len(JOINTS)),
            metadata=clips.metadata(
                keypoint_names=list(JOINTS),
                left_right_swaps=annotations.left_right_swaps(list(JOINTS)),
                normalizing_pair=None,
                crop="a square around the actor",
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
        lengths, names, there = {}, [], []
        for subject in dict.fromkeys(itertools.chain(*SUBJECTS.values())):
            files = _files(raw_dir / subject)
            there += [
                f"{subject}/{part}/{name}{suffix}"
                for (part, suffix), found in files.items()
                for name in found
            ]
            lengths[subject] = {}
            for name in sorted(set().union(*files.values())):
                names += [
                    f"{subject}/{part}/{name}{suffix}" for part, suffix in files
                ]
                path = raw_dir / subject / VIDEOS / f"{name}.mp4"
                lengths[subject][name] = _length(path)
        self.find(str(raw_dir), names, file_names.Finder(there))
        self.count(f"{raw_dir}: {len(there)} files of videos and positions", {})
        splits = {}
        for split, subjects in SUBJECTS.items():
            stride = 1 if split == "train" else ANNOTATED_STRIDE
            splits[split] = [
                clip_builder.Source(
                    subject,
                    math.ceil(num_frames / stride),
                    (raw_dir / subject, name, stride),
                )
                for subject in subjects
                for name, num_frames in lengths[subject].items()
            ]
        return splits


def _files(folder: pathlib.Path) -> dict[tuple[str, str], list[str]]:
    """Finds the videos and the positions of a subject.

    Returns:
        Maps each part and its ending to the names there, without that of
        videos that have no positions on purpose.

    Raises:
        RawDataError: if a part is missing.
    """
    files = {}
    for part, suffix in ((VIDEOS, ".mp4"), (POSITIONS, ".cdf")):
        found = [path.stem for path in (folder / part).glob(f"*{suffix}")]
        if not found:
            raise errors.RawDataError(
                f"{folder / part} holds no {suffix} file; unpack that part of"
                f" subject {folder.name} of Human3.6M there"
            )
        files[part, suffix] = [
            name for name in found if not name.startswith(_UNANNOTATED)
        ]
    return files


def _length(video: pathlib.Path) -> int:
    """Frames of a video, 0 if it is broken, which reading it will tell."""
    try:
        return videos.num_frames(video)
    except errors.RawDataError:
        return 0


def _num_common_frames(video: pathlib.Path, num_positions: int) -> int:
    """How many frames have positions."""
    num_frames = videos.num_frames(video)
    if abs(num_frames - num_positions) > MAX_DIFFERENCE:
        raise errors.RawDataError(
            f"{video} has {num_frames} frames, but its .cdf file positions of"
            f" {num_positions}; fetch both again, or pass --skip_broken to"
            " leave such videos out"
        )
    return min(num_frames, num_positions)


def _read_positions(path: pathlib.Path) -> np.ndarray:
    """Reads a file of D2_Positions.

    It holds x before y. The pixels are taken to count from 0 at the centre of
    the first; Human3.6M does not say so.

    Returns:
        float32 `[frames, NUM_FILE_JOINTS, 2]`, (y, x), pixels of the video.

    Raises:
        RawDataError: if the file is missing or malformed.
    """
    remedy = "fetch it again, or pass --skip_broken to leave such videos out"
    if not path.exists():
        raise errors.RawDataError(f"{path} is missing; {remedy}")
    with tables.naming(path, remedy, "is no CDF file with a variable Pose"):
        pose = np.asarray(cdflib.CDF(path)["Pose"])
    if pose.ndim == 3 and len(pose) == 1:
        pose = pose[0]
    if pose.ndim != 2 or pose.shape[1] != 2 * NUM_FILE_JOINTS:
        raise errors.RawDataError(
            f"{path}: Pose must be [1, frames, {2 * NUM_FILE_JOINTS}], as in"
            f" D2_Positions, got {list(pose.shape)}; {remedy}"
        )
    if pose.dtype.kind != "f" or not np.isfinite(pose).all():
        raise errors.RawDataError(
            f"{path}: Pose must be finite numbers; {remedy}"
        )
    xy = pose.reshape(-1, NUM_FILE_JOINTS, 2)
    return xy[..., ::-1].astype(np.float32)


def _frame(
    index: int,
    image: np.ndarray,
    positions: np.ndarray,
    box: boxes.Box,
    video: pathlib.Path,
) -> dict:
    """Crops a frame; `positions` is a row of `_read_positions`."""
    if box.height > 2 * max(image.shape):
        raise errors.RawDataError(
            f"{video} has {image.shape[1]} x {image.shape[0]} pixels, but at"
            f" frame {index} its joints need a crop of {box.height}; its .cdf"
            " file is of another video: fetch both again"
        )
    points = boxes.crop_points(positions[list(JOINTS.values())], box)
    cropped, scale = images.shrink(boxes.crop(image, box), MAX_SIDE)
    points = images.shrink_points(points, scale)
    return clips.frame(images.encode_jpeg(cropped), index, points, scale)
