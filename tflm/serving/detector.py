"""What an exported model answers, as functions of images.

Every answer is a dict. `landmarks` are float32 `[N, K, 2]`, (x, y), and
`confidence` float32 `[N, K]`, both in [0, 1]. Of x (y alike) 0 is the centre
of the first column of the given image and 1 that of its last. A landmark on
the outer half of the outermost pixels is moved to their centre.

Images are `[N, H, W, 3]`, any height and width from 2 pixels on; uint8, or
float32 in [0, 1]. Others are refused: see `checks`. The model must compute in
float32; the experiment's config says how images become square.
"""

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import coords
from tflm.data import views
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import checks
from tflm.serving import encoded


def detect(
    images: tf.Tensor,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
) -> dict[str, tf.Tensor]:
    """Finds the landmarks of images as they come.

    Args:
        images: see the module.
        model: a trained model.
        config: its experiment.

    Returns:
        `landmarks` and `confidence`, see the module; fractions of `images`,
        also where their border is cropped off before the model sees them.
    """
    found = model.detect(views.square(checks.checked(images), config))
    return _in_images(found, tf.shape(images)[1:3], config)


def detect_encoded(
    image_bytes: tf.Tensor,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
) -> dict[str, tf.Tensor]:
    """Finds the landmarks of JPEG and PNG files, each of its own size.

    Args:
        image_bytes: string `[N]`, N at least 1; see `encoded.views_of`.
        model: a trained model.
        config: its experiment.

    Returns:
        `landmarks` and `confidence`, see the module; and `error`, string
        `[N]`, "" where all is well. Where it is not, the landmarks are -1,
        which no landmark of an image is, and their confidence 0.
    """
    image_bytes = checks.if_true(
        image_bytes, tf.shape(image_bytes)[0] >= 1, "image_bytes: no images"
    )
    square_views, sizes, problems = encoded.views_of(image_bytes, config)
    found = _in_images(model.detect(square_views), sizes[:, None], config)
    is_sound = (problems == "")[:, None]  # [N, 1]
    return {
        "landmarks": tf.where(is_sound[..., None], found["landmarks"], -1.0),
        "confidence": tf.where(is_sound, found["confidence"], 0.0),
        "error": problems,
    }


def detect_with_heatmaps(
    images: tf.Tensor,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
) -> dict[str, tf.Tensor]:
    """As `detect`, with the Gaussian maps that the generator gets.

    Returns:
        Also `heatmaps`, float32 `[N, 16, 16, K]` in (0, 1], rows from the top.
        They cover the view that the model sees, which may be the central part
        of an image: see `data.views.square`.
    """
    found = model.detect(views.square(checks.checked(images), config))
    return {
        **_in_images(found, tf.shape(images)[1:3], config),
        "heatmaps": model.bottleneck.heatmaps(found["landmarks"]),
    }


def reconstruct(
    style_images: tf.Tensor,
    geometry_images: tf.Tensor,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
) -> dict[str, tf.Tensor]:
    """Draws the object of one image in the pose of another.

    Args:
        style_images: see the module; their looks are taken.
        geometry_images: as many, of any size; only their landmarks are taken.
        model: a trained model.
        config: its experiment.

    Returns:
        `images`, uint8 `[N, S, S, 3]`, S the model's image size: square views,
        see `data.views.square`.
    """
    style_views = views.square(
        checks.checked(style_images, "style_images"), config
    )
    geometry_views = views.square(
        checks.checked(geometry_images, "geometry_images"), config
    )
    counts = tf.shape(style_images)[0], tf.shape(geometry_images)[0]
    geometry_views = checks.if_true(
        geometry_views,
        counts[0] == counts[1],
        "as many style_images as geometry_images are needed, got",
        *counts,
    )
    landmarks = model.detect(geometry_views)["landmarks"]
    pictures = model.generate(style_views, landmarks)
    levels = tf.round(255.0 * tf.clip_by_value(pictures, 0.0, 1.0))
    return {"images": tf.cast(levels, tf.uint8)}


def find_keypoints(
    images: tf.Tensor,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    keypoint_map: keypoint_maps.KeypointMap,
) -> dict[str, tf.Tensor]:
    """Finds the named keypoints of images.

    Args:
        images: see the module.
        model: a trained model.
        config: its experiment.
        keypoint_map: fitted to the model's landmarks.

    Returns:
        `keypoints`, float32 `[N, P, 2]`, (x, y), fractions as of landmarks but
        not clipped: a keypoint may be beyond the image; `confidence`, float32
        `[N, P]` in [0, 1]; `names`, string `[N, P]`.
    """
    found = model.detect(views.square(checks.checked(images), config))
    points, confidence = _mapped(found, keypoint_map)
    whole = _whole(points, tf.shape(images)[1:3], config)
    names = tf.constant(keypoint_map.names)[None]
    return {
        "keypoints": coords.to_xy_fractions(whole),
        "confidence": confidence,
        "names": tf.tile(names, [tf.shape(images)[0], 1]),
    }


def detect_in_view(
    images: tf.Tensor,
    model: landmark_model.LandmarkModel,
    keypoint_map: keypoint_maps.KeypointMap | None = None,
) -> dict[str, tf.Tensor]:
    """Finds the landmarks of images that are square views already.

    Nothing is checked: a phone's runtime has no op that could.

    Args:
        images: float32 `[N, S, S, 3]` in [0, 1], S the model's image size; see
            `data.views.square`.
        model: a trained model.
        keypoint_map: fitted to its landmarks, if there is one.

    Returns:
        `landmarks` and `confidence`, see the module, fractions of the view;
        with a map also `keypoints`, float32 `[N, P, 2]`, likewise but not
        clipped, and `keypoint_confidence`, float32 `[N, P]`.
    """
    found = model.detect(images)
    answer = _answer(found["landmarks"], found["confidence"])
    if keypoint_map is not None:
        points, confidence = _mapped(found, keypoint_map)
        answer["keypoints"] = coords.to_xy_fractions(points)
        answer["keypoint_confidence"] = confidence
    return answer


def _mapped(
    found: dict[str, tf.Tensor], keypoint_map: keypoint_maps.KeypointMap
) -> tuple[tf.Tensor, tf.Tensor]:
    """As `KeypointMap.__call__` and `.confidence`, as ops.

    Returns:
        Keypoints `[N, P, 2]`, (y, x), normalised in the view, and `[N, P]`.
    """
    num_landmarks = keypoint_map.num_landmarks
    num_keypoints = len(keypoint_map.names)
    weights = keypoint_map.weights.reshape(2 * num_landmarks, -1)
    flat = tf.reshape(found["landmarks"], [-1, 2 * num_landmarks])
    points = tf.matmul(flat, weights) + keypoint_map.bias.reshape(-1)
    each_alone = np.eye(num_landmarks, dtype=np.float32)
    shares = keypoint_map.confidence(each_alone)  # [K, P]
    confidence = tf.matmul(found["confidence"], shares)
    return (
        tf.reshape(points, [-1, num_keypoints, 2]),
        tf.clip_by_value(confidence, 0.0, 1.0),
    )


def _in_images(
    found: dict[str, tf.Tensor], sizes: tf.Tensor, config: configs.Config
) -> dict[str, tf.Tensor]:
    """What the model finds in views, in fractions of the images."""
    points = _whole(found["landmarks"], sizes, config)
    return _answer(points, found["confidence"])


def _whole(
    points: tf.Tensor, sizes: tf.Tensor, config: configs.Config
) -> tf.Tensor:
    """From (y, x), normalised in the view, to normalised in the images."""
    points_px = views.points_from_square(points, sizes, config)
    return coords.from_pixels(points_px, sizes)


def _answer(points: tf.Tensor, confidence: tf.Tensor) -> dict[str, tf.Tensor]:
    """Puts points, (y, x) in [-1, 1], into the exported convention."""
    return {
        "landmarks": tf.clip_by_value(coords.to_xy_fractions(points), 0.0, 1.0),
        # Rounding takes it past its bounds by a millionth.
        "confidence": tf.clip_by_value(confidence, 0.0, 1.0),
    }
