import dataclasses

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import coords
from tflm.evaluation import keypoint_maps
from tflm.serving import detector


def _config(image_size: int, crop_fraction: float) -> configs.Config:
    return configs.Config(
        data=configs.DataConfig(crop_fraction=crop_fraction),
        model=configs.ModelConfig(image_size=image_size),
    )


@dataclasses.dataclass
class FixedModel:
    """Answers the same landmark, (y, x), whatever the image."""

    yx: tuple[float, float]
    confidence: float = 0.5

    def detect(self, images):
        ones = tf.ones([tf.shape(images)[0], 1])
        return {
            "landmarks": ones[..., None] * self.yx,
            "confidence": ones * self.confidence,
        }


class BrightSpotModel:
    """Finds the centre of what is bright."""

    def detect(self, images):
        grey = tf.reduce_sum(images, axis=-1)
        total = tf.reduce_sum(grey, axis=[1, 2])
        y, x = (coords.axis(size) for size in images.shape[1:3])
        mean_y = tf.einsum("bhw,h->b", grey, y) / total
        mean_x = tf.einsum("bhw,w->b", grey, x) / total
        return {
            "landmarks": tf.stack([mean_y, mean_x], axis=-1)[:, None],
            "confidence": tf.ones([tf.shape(images)[0], 1]),
        }


def _image_of_spot(height: int, width: int, y: float, x: float) -> np.ndarray:
    """A soft white spot around pixel (y, x), uint8 `[1, height, width, 3]`."""
    rows, columns = np.mgrid[:height, :width]
    squared = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2
    spot = np.exp(-squared / (2 * 0.05**2))
    return np.rint(255 * np.stack([spot] * 3, axis=-1)[None]).astype(np.uint8)


class DetectorTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(
        size=[(64, 64), (90, 200), (200, 90), (33, 41)],
        crop_fraction=[1.0, 0.8],
        dtype=[np.uint8, np.float32],
    )
    def test_a_spot_is_found_where_it_is_in_the_image(
        self, size, crop_fraction, dtype
    ):
        height, width = size
        y, x = 0.3 * height, 0.7 * width
        images = _image_of_spot(height, width, y, x)
        if dtype == np.float32:
            images = (images / 255.0).astype(np.float32)

        answer = detector.detect(
            tf.constant(images), BrightSpotModel(), _config(64, crop_fraction)
        )

        self.assertAllClose(
            answer["landmarks"],
            [[[x / (width - 1), y / (height - 1)]]],
            atol=2e-3,
        )

    def test_a_cropped_view_is_mapped_back_to_the_whole_image(self):
        # 80 x 160 pixels (H x W) are squeezed to 40 x 40, of which the central
        # 32 x 32 are seen: rows and columns 4 to 35. The view's first row is
        # row 4 of 40, so y = 4.5 * 2 - 0.5 = 8.5 of 0..79; its last column is
        # column 35 of 40, so x = 35.5 * 4 - 0.5 = 141.5 of 0..159.
        answer = detector.detect(
            tf.zeros([2, 80, 160, 3], tf.uint8),
            FixedModel(yx=(-1.0, 1.0)),
            _config(32, 0.8),
        )

        self.assertAllClose(
            answer["landmarks"], [[[141.5 / 159, 8.5 / 79]]] * 2, rtol=1e-6
        )

    def test_an_image_of_the_view_s_size_is_its_own_view(self):
        answer = detector.detect(
            tf.zeros([1, 32, 32, 3], tf.uint8),
            FixedModel(yx=(-1.0, 0.5)),
            _config(32, 1.0),
        )

        self.assertAllClose(answer["landmarks"], [[[0.75, 0.0]]], atol=1e-6)

    def test_answers_stay_inside_the_image(self):
        # 16 pixels are enlarged to 32: the centre of the first of those is a
        # quarter of a pixel outside the centre of the first of 16.
        answer = detector.detect(
            tf.zeros([1, 16, 16, 3], tf.uint8),
            FixedModel(yx=(-1.0, 1.0), confidence=-1e-7),
            _config(32, 1.0),
        )

        self.assertAllEqual(answer["landmarks"], [[[1.0, 0.0]]])
        self.assertAllEqual(answer["confidence"], [[0.0]])

    def test_each_encoded_image_has_its_own_size(self):
        files = [
            tf.io.encode_png(tf.zeros([80, 160, 3], tf.uint8)),
            tf.io.encode_jpeg(tf.zeros([40, 40, 3], tf.uint8)),
        ]

        answer = detector.detect_encoded(
            tf.stack(files), FixedModel(yx=(-1.0, 1.0)), _config(32, 0.8)
        )

        # See above; of 40 x 40 pixels rows and columns 4 to 35 are seen.
        expected = [[[141.5 / 159, 8.5 / 79]], [[35 / 39, 4 / 39]]]
        self.assertAllClose(answer["landmarks"], expected, rtol=1e-6)
        self.assertAllEqual(answer["error"], [b"", b""])

    def test_keypoints_are_mapped_in_the_view_and_not_clipped(self):
        # `double` is twice as far from the centre of the view, 1.25 wide, as
        # the landmark is; `fixed` is at the first pixel of the view.
        weights = np.zeros([2, 2, 2], np.float32)
        weights[0, 0, 0] = weights[1, 0, 1] = 2.0
        bias = np.array([[0.0, 0.0], [-1.0, -1.0]], np.float32)
        keypoint_map = keypoint_maps.KeypointMap(
            ("double", "fixed"), weights, bias
        )
        arguments = (
            tf.zeros([2, 40, 40, 3], tf.uint8),
            FixedModel(yx=(-1.0, 0.5), confidence=0.3),
            _config(32, 0.8),
            keypoint_map,
        )

        answer = detector.find_keypoints(*arguments)

        # The view is rows and columns 4 to 35 of 0..39; its centre is 19.5,
        # its half size 15.5.
        expected = np.array([[19.5 + 15.5, 19.5 - 31.0], [4.0, 4.0]]) / 39.0
        self.assertAllClose(answer["keypoints"], [expected] * 2, atol=1e-6)
        self.assertAllClose(answer["confidence"], np.full([2, 2], 0.3))
        self.assertAllEqual(answer["names"], [[b"double", b"fixed"]] * 2)

    def test_answers_in_the_view_are_x_first(self):
        answer = detector.detect_in_view(
            tf.zeros([1, 32, 32, 3]), FixedModel(yx=(-1.0, 0.5))
        )

        self.assertAllClose(answer["landmarks"], [[[0.75, 0.0]]])
        self.assertAllClose(answer["confidence"], [[0.5]])


if __name__ == "__main__":
    tf.test.main()
