"""Puppets: generated clips of articulated upper bodies; see README.md."""

from collections.abc import Iterator
import concurrent.futures
import functools
import io
import multiprocessing
import os

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep import clips
from data_prep import workers
from data_prep.puppets import render

NUM_CLIPS = {"train": 1_700, "val": 100, "test": 200}
NUM_FRAMES = 8


class Builder(tfds.core.GeneratorBasedBuilder):
    """Clips of one person each; no person is in two splits.

    Args:
        num_clips: clips per split; of each split in NUM_CLIPS if not given.
        seed: the clips are a pure function of it.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}

    def __init__(
        self,
        *,
        num_clips: dict[str, int] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        self.num_clips = num_clips or NUM_CLIPS
        self._seed = seed
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Generated clips of articulated upper bodies.",
            features=clips.features(len(render.JOINTS)),
            metadata=clips.metadata(
                keypoint_names=render.JOINTS,
                left_right_swaps=render.LEFT_RIGHT_SWAPS,
                normalizing_pair=None,
                splits={
                    "train": "train",
                    "val": "val",
                    "regression_train": "train",
                    "regression_test": "test",
                },
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        del dl_manager  # Nothing to download.
        return {
            split: self._generate_examples(split, count)
            for split, count in self.num_clips.items()
        }

    def _generate_examples(
        self, split: str, count: int
    ) -> Iterator[tuple[str, dict]]:
        # The split is part of every clip's seed: no two clips share a person.
        draw = functools.partial(
            _encoded_clip, self._seed, list(NUM_CLIPS).index(split)
        )
        with concurrent.futures.ProcessPoolExecutor(
            os.cpu_count(),
            multiprocessing.get_context("spawn"),
            initializer=workers.initialize,
        ) as pool:
            drawn = pool.map(draw, range(count), chunksize=8)
            try:
                for clip, (images, joints) in enumerate(drawn):
                    clip_id = f"{split}_{clip:05d}"
                    frames = [
                        {
                            "image": io.BytesIO(image),
                            "index": index,
                            "keypoints": joints[index],
                        }
                        for index, image in enumerate(images)
                    ]
                    yield clip_id, {"clip_id": clip_id, "frames": frames}
            finally:  # Stopped early: do not draw the rest first.
                pool.shutdown(wait=False, cancel_futures=True)


def _encoded_clip(
    seed: int, split: int, clip: int
) -> tuple[list[bytes], np.ndarray]:
    """JPEG frames and joints `[frames, 7, 2]` of one clip."""
    images, joints = render.render_clip((seed, split, clip), NUM_FRAMES)
    encoded = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
        encoded.append(buffer.getvalue())
    return encoded, joints
