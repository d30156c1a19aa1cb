"""Draws the tiny videos in dummy_data/, with keypoints and boxes.

python data_prep/video/make_dummy_data.py
"""

from collections.abc import Callable
import pathlib

import av
import numpy as np

SIZE = (48, 64)  # (height, width).
SQUARE = 9  # Pixels; it moves, and is the only thing that is red.
ROW = 25  # Of its centre.
NUM_FRAMES = {"a.mp4": 40, "more/b.avi": 12}
CODECS = {".mp4": ("libx264", "yuv444p"), ".avi": ("mjpeg", "yuvj444p")}
ANNOTATED = {"a.mp4": (0, 10, 20, 39), "more/b.avi": (2, 11)}


def column(index: int) -> int:
    """Of the square's centre."""
    return 8 + index


def draw(index: int) -> np.ndarray:
    """Frame `index`: uint8 `[H, W, 3]`."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frame = np.repeat((100 + y + x // 2)[..., None], 3, axis=-1)
    half = SQUARE // 2
    left, top = column(index) - half, ROW - half
    frame[top : top + SQUARE, left : left + SQUARE] = (220, 20, 20)
    return frame.astype(np.uint8)


def write(
    path: pathlib.Path,
    num_frames: int,
    picture: Callable[[int], np.ndarray] = draw,
) -> None:
    """Writes a video of `picture(0)`, `picture(1)`, ...; 25 a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec, pixel_format = CODECS[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, 25)
        stream.height, stream.width = picture(0).shape[:2]
        stream.pix_fmt = pixel_format
        if codec == "libx264":
            stream.options = {
                "crf": "12",
                "g": "15",
                "x264-params": "bframes=2",
            }
        else:
            stream.options = {"qmin": "1", "qmax": "2"}
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make(raw_dir: pathlib.Path) -> None:
    """Writes two videos, their keypoints and boxes."""
    for name, count in NUM_FRAMES.items():
        write(raw_dir / name, count)
    lines = ["image,square_x,square_y"]
    boxes = ["video,frame,top,left,height,width"]
    for name, marked in ANNOTATED.items():
        for index in marked:
            lines.append(f"{name}:{index},{column(index)},{ROW}")
            boxes.append(
                f"{name},{index},{ROW - 12},{column(index) - 12},24,24"
            )
    (raw_dir / "annotations.csv").write_text("\n".join([*lines, ""]))
    (raw_dir / "boxes.csv").write_text("\n".join([*boxes, ""]))


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
