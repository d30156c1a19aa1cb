"""Frames of video files, decoded one at a time.

What a container says of itself (duration, number of frames, index) is not
relied on. The packets of a file are read once without decoding them: their
time stamps tell how many frames there are, and which one is shown when. Each
packet has a number, which the decoder hands on to its picture, so that a
picture that is missing or damaged costs no other frame its place.
"""

from tflm.media.videos.reading import Frame
from tflm.media.videos.reading import frame_rate
from tflm.media.videos.reading import frames
from tflm.media.videos.reading import num_frames
from tflm.media.videos.reading import samples

__all__ = ["SUFFIXES", "Frame", "frame_rate", "frames", "num_frames", "samples"]

SUFFIXES = (
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv",
    ".mts", ".m2ts", ".3gp",
)  # fmt: skip
