"""A few puppets on disk, built once per test process."""

import atexit
import functools
import shutil
import tempfile

from data_prep import build
from tflm.data import shards

NUM_CLIPS = {"train": 12, "val": 2, "test": 4}


@functools.cache
def data_dir() -> str:
    folder = tempfile.mkdtemp(prefix="tiny_shards")
    atexit.register(shutil.rmtree, folder)
    build.build("puppets", None, folder, {"num_clips": NUM_CLIPS})
    return folder


def puppets() -> shards.Shards:
    return shards.open_shards(data_dir(), "puppets")
