"""Draws the tiny data set in dummy_data/, in the raw layout of Human3.6M.

python data_prep/human36m/make_dummy_data.py
"""

from collections.abc import Sequence
import fractions
import pathlib

import av
from cdflib import cdfwrite
import numpy as np

SIZE = (112, 96)  # (height, width); Human3.6M's is about (1000, 1000).
NUM_FRAMES = 10
NUM_FILE_JOINTS = 32
# (x, y) of an actor who faces the camera, by the joint's place in the file.
RIGHT_XY = {
    1: (38, 60),
    2: (36, 76),
    3: (34, 92),
    25: (36, 38),
    26: (27, 48),
    27: (22, 60),
}
LEFT_XY = {
    6: (58, 60),
    7: (60, 76),
    8: (62, 92),
    17: (60, 38),
    18: (69, 48),
    19: (74, 60),
}
MIDDLE_XY = {
    0: (48, 60),
    12: (48, 50),
    13: (48, 40),
    14: (48, 29),
    15: (48, 18),
}
COLORS = {  # RGB of the dots of a side.
    "right": (0, 0, 255),
    "left": (255, 0, 0),
    "middle": (0, 255, 0),
}
VIDEOS = {  # Per subject; and how many frames more than positions it has.
    "S1": {"Directions 1.54138969": 0, "Directions 1.55011271": 1},
    "S5": {"Eating.54138969": -1},
    "S6": {"Walking.54138969": 0},
    "S7": {"Walking.58860488": 0},
    "S8": {"Photo 1.60457274": 0},
    "S9": {"Posing.54138969": 0},
    "S11": {"Greeting 2.55011271": 0},
}


def make(raw_dir: pathlib.Path) -> None:
    """Writes eight videos of a walking figure, and the positions of its dots.

    Dots are red on the actor's left, blue on the right, green in the middle.
    """
    number = 0
    for subject, videos in VIDEOS.items():
        folders = [
            raw_dir / subject / part
            for part in ("Videos", "MyPoseFeatures/D2_Positions")
        ]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for name, surplus in videos.items():
            number += 1
            positions_xy = _walk(number, NUM_FRAMES + max(0, surplus))
            write_video(
                folders[0] / f"{name}.mp4",
                [draw(xy) for xy in positions_xy[: NUM_FRAMES + surplus]],
            )
            write_positions(
                folders[1] / f"{name}.cdf", positions_xy[:NUM_FRAMES]
            )


def _walk(number: int, num_frames: int) -> np.ndarray:
    """float32 `[num_frames, NUM_FILE_JOINTS, 2]`, (x, y), whole pixels."""
    resting = np.tile(MIDDLE_XY[13], [NUM_FILE_JOINTS, 1])  # As the repeated.
    for joints in (RIGHT_XY, LEFT_XY, MIDDLE_XY):
        resting[list(joints)] = list(joints.values())
    frames = []
    for index in range(num_frames):
        xy = resting + [number - 4 + index // 3, number % 3]
        xy[[19, 27], 1] -= index  # Wrists rise.
        frames.append(xy)
    return np.array(frames, np.float32)


def draw(xy: np.ndarray) -> np.ndarray:
    """A dot of 5 pixels at each annotated joint; uint8 `[H, W, 3]`."""
    image = np.full([*SIZE, 3], 70, np.uint8)
    sides = {"right": RIGHT_XY, "left": LEFT_XY, "middle": MIDDLE_XY}
    for side, joints in sides.items():
        for x, y in xy[list(joints)].astype(int):
            image[y - 2 : y + 3, x - 2 : x + 3] = COLORS[side]
    return image


def write_video(path: pathlib.Path, images: Sequence[np.ndarray]) -> None:
    """Encodes uint8 `[H, W, 3]` images as H.264, 50 frames a second."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", fractions.Fraction(50))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "12"}
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_positions(path: pathlib.Path, positions_xy: np.ndarray) -> None:
    """Writes variable Pose `[1, frames, 64]`, x before y, as 32-bit floats."""
    pose = positions_xy.reshape(len(positions_xy), -1)
    file = cdfwrite.CDF(path, delete=True)
    file.write_var(
        {
            "Variable": "Pose",
            "Data_Type": file.CDF_FLOAT,
            "Num_Elements": 1,
            "Rec_Vary": True,
            "Dim_Sizes": list(pose.shape),
        },
        var_data=pose[None],
    )
    file.close()


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
