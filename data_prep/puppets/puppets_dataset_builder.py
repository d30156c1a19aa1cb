"""Puppets: generated clips of articulated upper bodies; see README.md."""

from collections.abc import Iterator
import io
import pathlib

from PIL import Image
import tensorflow_datasets as tfds

from data_prep import clip_builder
from data_prep import clips
from data_prep.puppets import render

NUM_CLIPS = {"train": 1_700, "val": 100, "test": 200}
NUM_FRAMES = 8


def _read(source: clip_builder.Source) -> Iterator[dict]:
    """Draws a clip; `spec` is its split, its number, and the seed."""
    split, clip, seed = source.spec
    # The split is part of every clip's seed: no two clips share a person.
    images, joints = render.render_clip(
        (seed, list(NUM_CLIPS).index(split), clip), NUM_FRAMES
    )
    frames = []
    for index, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
        frames.append(clips.frame(buffer.getvalue(), index, joints[index]))
    yield clips.clip(source.group, frames)


class Builder(clip_builder.ClipBuilder):
    """Clips of one person each; no person is in two splits.

    Args:
        num_clips: clips per split; of each split in NUM_CLIPS if not given.
        seed: the clips are a pure function of it.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    read = staticmethod(_read)

    def __init__(
        self,
        *,
        num_clips: dict[str, int] | None = None,
        seed: int = 0,
        **kwargs,
    ):
        self._num_clips = num_clips or NUM_CLIPS
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

    def sources(
        self, raw_dir: pathlib.Path | None
    ) -> dict[str, list[clip_builder.Source]]:
        return {
            split: [
                clip_builder.Source(
                    f"{split}_{clip:05d}", NUM_FRAMES, (split, clip, self._seed)
                )
                for clip in range(count)
            ]
            for split, count in self._num_clips.items()
        }
