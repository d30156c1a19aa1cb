"""Measures how fast, and in how much memory, videos become shards.

    python -m tests.benchmarks.data_prep_benchmark --num_frames=100000

Draws videos of 256 pixels, then builds them once per number of workers.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
import av
import numpy as np
import psutil

_NUM_FRAMES = flags.DEFINE_integer("num_frames", 10_000, "Of all videos.")
_NUM_VIDEOS = flags.DEFINE_integer("num_videos", 10, "They are as long.")
_NUM_WORKERS = flags.DEFINE_list("num_workers", ["1", "2"], "One build each.")
_FOLDER = flags.DEFINE_string(
    "folder", None, "Where videos and shards go; a temporary one if not given."
)

SIZE = 256  # Pixels.
SECONDS_PER_LOOK = 0.2  # At the memory.


def _write_video(path: pathlib.Path, num_frames: int) -> None:
    """A coarse pattern that drifts over fine noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 180, [32, 32, 3]).repeat(16, 0).repeat(16, 1)
    noise = random.integers(0, 40, [2 * SIZE, 2 * SIZE, 3])
    scene = (coarse + noise).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast"}
        for index in range(num_frames):
            y, x = index % SIZE, (3 * index) % SIZE
            picture = np.ascontiguousarray(scene[y : y + SIZE, x : x + SIZE])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _memory(process: psutil.Process) -> int:
    """Bytes that a process and its children have for themselves."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().uss
        except psutil.NoSuchProcess:
            pass
    return total


def _build(raw_dir: str, data_dir: str, num_workers: str) -> None:
    start = time.monotonic()
    command = [sys.executable, "-m", "data_prep", "--dataset=video"]
    command += [f"--raw_dir={raw_dir}", f"--data_dir={data_dir}"]
    with subprocess.Popen(
        [*command, f"--num_workers={num_workers}"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _memory(psutil.Process(process.pid)))
            time.sleep(SECONDS_PER_LOOK)
        output = process.stdout.read()
    seconds = time.monotonic() - start
    frames = int(re.search(r"train: \d+ clips, (\d+) frames", output)[1])
    num_bytes = sum(
        path.stat().st_size
        for path in pathlib.Path(data_dir).rglob("*.tfrecord*")
    )
    print(
        f"{num_workers} workers: {frames} frames in {seconds:.0f} s,"
        f" {frames / seconds:.0f} frames/s,"
        f" {num_bytes / seconds / 1e6:.1f} MB/s of shards"
        f" ({num_bytes / 1e9:.2f} GB), at most {peak / 1e6:.0f} MB of memory,"
        " workers included",
        flush=True,
    )


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
        raw_dir = pathlib.Path(folder, "raw")
        raw_dir.mkdir()
        for number in range(_NUM_VIDEOS.value):
            path = raw_dir / f"{number:03d}.mp4"
            _write_video(path, _NUM_FRAMES.value // _NUM_VIDEOS.value)
        for num_workers in _NUM_WORKERS.value:
            with tempfile.TemporaryDirectory(dir=folder) as data_dir:
                _build(str(raw_dir), data_dir, num_workers)


if __name__ == "__main__":
    app.run(main)
