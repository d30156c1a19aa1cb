"""Draws the tiny data set in dummy_data/, in the raw layout of BBC Pose.

python data_prep/bbc_pose/make_dummy_data.py
"""

import pathlib

import numpy as np
from PIL import Image
import scipy.io

SIZE = (48, 64)  # (height, width).
JOINTS_XY = np.array(  # From 0 at the centre of the first pixel.
    [[32, 10], [14, 34], [50, 34], [18, 26], [46, 26], [24, 18], [40, 18]]
)
COLOURS = np.array(  # Of the joints.
    [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [255, 255, 0],
        [255, 0, 255],
        [0, 255, 255],
        [255, 255, 255],
    ],
    np.uint8,
)
BACKGROUND = np.array([70, 80, 90], np.uint8)
VIDEOS = (  # Type, frames, those of train_frames, those of test_frames.
    ("train", (1, 2, 3, 4, 12), (2, 4, 12), ()),
    ("train", (1, 2, 3), (1, 3), ()),
    ("val", (1, 2), (1,), (2,)),
    ("test", (1, 2, 3, 4), (1, 2), (2, 3)),
)


def pose_xy(video: int, frame: int) -> np.ndarray:
    """Joints `[7, 2]`, (x, y), of a frame; counts from 0, as `JOINTS_XY`."""
    random = np.random.default_rng((video, frame))
    return JOINTS_XY + random.integers(-2, 3, size=2) + [video, 0]


def make(raw_dir: pathlib.Path, magnification: int = 1) -> None:
    """Writes 4 videos, whose joints are dots of 3 x 3 pixels, and the joints.

    Args:
        raw_dir: the folder to write to.
        magnification: how many pixels a side one pixel becomes.
    """
    entries = np.empty(
        (1, len(VIDEOS)),
        [
            (name, object)
            for name in (
                "videoName",
                "type",
                "source",
                "train_frames",
                "train_joints",
                "test_frames",
                "test_joints",
            )
        ],
    )
    for number, (kind, frames, *annotated) in enumerate(VIDEOS, start=1):
        folder = raw_dir / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        for frame in frames:
            pixels = _draw(pose_xy(number, frame)).repeat(magnification, 0)
            Image.fromarray(pixels.repeat(magnification, 1)).save(
                folder / f"{frame}.jpg", quality=90, subsampling=0
            )
        values = [f"drawing {number}", kind, "drawn"]
        for some in annotated:
            values += [
                np.array([some], float) if some else np.zeros([0, 0]),
                _joints(number, some, magnification),
            ]
        entries[0, number - 1] = tuple(values)
    scipy.io.savemat(
        raw_dir / "bbcpose.mat", {"bbcpose": entries}, do_compression=True
    )


def _draw(points_xy: np.ndarray) -> np.ndarray:
    pixels = np.broadcast_to(BACKGROUND, (*SIZE, 3)).copy()
    for (x, y), colour in zip(points_xy, COLOURS):
        pixels[y - 1 : y + 2, x - 1 : x + 2] = colour
    return pixels


def _joints(
    video: int, frames: tuple[int, ...], magnification: int
) -> np.ndarray:
    """`[2, 7, N]`, x before y, counting from 1; what MATLAB has for none."""
    if not frames:
        return np.zeros([0, 0])
    points_xy = np.stack([pose_xy(video, frame) for frame in frames], axis=-1)
    centres = (points_xy + 0.5) * magnification - 0.5  # [7, 2, N]
    return centres.transpose(1, 0, 2) + 1.0


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
