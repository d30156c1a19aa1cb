"""A few puppets on disk, built once per test process."""

import atexit
import functools
import shutil
import tempfile

from data_prep.puppets import puppets_dataset_builder
from tflm.data import shards

NUM_CLIPS = {"train": 12, "val": 2, "test": 4}


@functools.cache
def data_dir() -> str:
    folder = tempfile.mkdtemp(prefix="tiny_shards")
    atexit.register(shutil.rmtree, folder)
    builder = puppets_dataset_builder.Builder(
        data_dir=folder, num_clips=NUM_CLIPS
    )
    builder.download_and_prepare()
    return folder


def puppets() -> shards.Shards:
    return shards.open_shards(data_dir(), "puppets")
