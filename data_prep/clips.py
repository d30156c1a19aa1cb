"""The one schema of every dataset: an example is a clip of frames.

A clip shows one object instance: the frames of a (piece of a) video, or one
still. Readers of the shards rely on nothing else than `features` and the keys
of `metadata`.
"""

from collections.abc import Sequence
import io
import math

import numpy as np
import tensorflow_datasets as tfds

MAX_FRAMES = 32  # Of a clip; it is read from disk as a whole.


def num_rows(num_keypoints: int) -> int:
    """Rows of `keypoints`: at least one, of NaN if there are no keypoints.

    TensorFlow 2.15 kills the process (a division by zero in its parser) when
    it reads a sequence of tensors without elements.
    """
    return max(1, num_keypoints)


def features(
    num_keypoints: int, factors: Sequence[str] = ()
) -> tfds.features.FeaturesDict:
    """The features of a clip.

    `video` is shared by the clips that are cut out of one video; other clips
    have their own `clip_id` there.

    `keypoints` are float32 `[num_rows(num_keypoints), 2]`, (y, x), in pixels of
    the stored image (0 = centre of the first pixel), NaN where missing. `index`
    is the frame's position in its video, 0 for stills. `scale` is the size of
    the stored image as a share of what it was in the original image or video,
    (y, x): below 1 where it was shrunk. Each of `factors`, such as "azimuth",
    is an int64 of every frame.
    """
    return tfds.features.FeaturesDict(
        {
            "clip_id": tfds.features.Text(),
            "video": tfds.features.Text(),
            "frames": tfds.features.Sequence(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "index": np.int64,
                    "keypoints": tfds.features.Tensor(
                        shape=(num_rows(num_keypoints), 2), dtype=np.float32
                    ),
                    "scale": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                    **{name: np.int64 for name in factors},
                }
            ),
        }
    )


def metadata(
    *,
    keypoint_names: Sequence[str],
    left_right_swaps: Sequence[tuple[int, int]],
    normalizing_pair: tuple[int, int] | None,
    splits: dict[str, str],
    crop: str = "",
) -> tfds.core.MetadataDict:
    """What a reader must know about a dataset beside its clips.

    Args:
        keypoint_names: one name per annotated keypoint; empty if none.
        left_right_swaps: pairs of keypoint indices that a mirror exchanges.
        normalizing_pair: the two keypoints whose distance is the unit of NME
            (the eyes of a face), or None.
        splits: the split of each role: "train" (landmarks are learned on it),
            "val", "regression_train" and "regression_test" (the regressor is
            fitted on the one, scored on the other); "test" of a dataset
            without annotations. A role may be missing.
        crop: which part of an image or video became a frame: a flag of
            data_prep, such as "--motion_crop", or words; "" if all of it.
    """
    return tfds.core.MetadataDict(
        keypoint_names=list(keypoint_names),
        left_right_swaps=[list(pair) for pair in left_right_swaps],
        normalizing_pair=list(normalizing_pair or []),
        splits=dict(splits),
        crop=crop,
    )


def frame(
    image: bytes,
    index: int,
    keypoints: np.ndarray | None = None,
    scale: np.ndarray | tuple[float, float] = (1.0, 1.0),
    **factors: int,
) -> dict:
    """A frame of a clip; see `features`.

    Args:
        image: encoded JPEG or PNG, stored as it is.
        index: in the video.
        keypoints: float `[rows, 2]`; None: there are none.
        scale: as `media.images.shrink` answers.
        **factors: of the dataset.
    """
    if keypoints is None:
        keypoints = np.full([num_rows(0), 2], np.nan)
    return {
        "image": io.BytesIO(image),
        "index": index,
        "keypoints": keypoints.astype(np.float32),
        "scale": np.asarray(scale, np.float32),
        **factors,
    }


def clip(clip_id: str, frames: Sequence[dict], video: str = "") -> dict:
    """A clip of frames, see `features`; `clip_id` is unique in its split."""
    return {
        "clip_id": clip_id,
        "video": video or clip_id,
        "frames": list(frames),
    }


def still(
    clip_id: str,
    image: bytes,
    keypoints: np.ndarray,
    scale: np.ndarray | tuple[float, float] = (1.0, 1.0),
    video: str = "",
) -> dict:
    """A clip of one frame."""
    return clip(clip_id, [frame(image, 0, keypoints, scale)], video)


def strided(frames: Sequence) -> list[Sequence]:
    """Cuts a video into clips of bounded length, each of which spans all of it.

    Frame i goes to clip i modulo the number of clips. Clips of neighbouring
    frames would be as bounded, but would pair no early frame with a late one.

    Args:
        frames: of one video, in their order.

    Returns:
        As few clips of at most MAX_FRAMES as there can be.
    """
    num_clips = math.ceil(len(frames) / MAX_FRAMES)
    return [frames[start::num_clips] for start in range(num_clips)]
