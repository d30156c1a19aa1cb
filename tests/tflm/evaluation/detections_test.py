import dataclasses

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests import tiny_shards
from tflm import configs
from tflm.data import shards as shards_lib
from tflm.data import stills
from tflm.data import views
from tflm.evaluation import detections
from tflm.models import landmark_model

SIZE = 32
CONFIG = configs.Config(
    model=configs.ModelConfig(image_size=SIZE, num_landmarks=3, num_filters=4)
)
NUM_FRAMES = 8  # Of each clip.


def _first_clip():
    clip = next(iter(tiny_shards.puppets().clips("regression_test")))
    return [
        views.square(shards_lib.decode(image), CONFIG).numpy()
        for image in clip["frames"]["image"]
    ]


class DetectTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tf.keras.utils.set_random_seed(0)
        cls.model = landmark_model.LandmarkModel(CONFIG.model)

    def test_rows_are_those_of_the_images_alone(self):
        shards = tiny_shards.puppets()

        found = detections.detect(
            self.model, CONFIG, shards, "regression_test", num_shown=3
        )

        batches = list(stills.stills(CONFIG, shards, "regression_test", 1))
        self.assertLen(
            found.landmarks, tiny_shards.NUM_CLIPS["test"] * NUM_FRAMES
        )
        for row in (0, 9, 31):
            alone = self.model.detect(batches[row]["image"])["landmarks"][0]
            np.testing.assert_allclose(found.landmarks[row], alone, atol=1e-5)
            np.testing.assert_array_equal(
                found.annotations[row], batches[row]["keypoints"][0]
            )
            self.assertEqual(
                (found.clip_ids[row].encode(), found.index[row]),
                (batches[row]["clip_id"][0], batches[row]["index"][0]),
            )
            self.assertEqual(found.sizes[row].tolist(), [128, 128])
        self.assertEqual(found.confidence.shape, found.landmarks.shape[:2])
        self.assertEqual(found.factors, {})

    def test_shown_images_are_of_different_clips(self):
        found = detections.detect(
            self.model,
            CONFIG,
            tiny_shards.puppets(),
            "regression_train",
            num_shown=10,
        )
        # Of the first batch of 64 and of the next.
        self.assertEqual(found.shown.tolist(), list(range(0, 80, NUM_FRAMES)))
        alone = self.model.detect(found.images)["landmarks"]
        np.testing.assert_allclose(
            found.landmarks[found.shown], alone, atol=1e-5
        )


class UntrainedModelTest(absltest.TestCase):
    def test_has_the_weights_of_step_0_and_landmarks_that_move(self):
        shards = tiny_shards.puppets()
        config = dataclasses.replace(CONFIG, train=configs.TrainConfig(seed=3))

        untrained = detections.untrained_model(config, shards, "train")
        again = detections.untrained_model(config, shards, "train")

        tf.keras.utils.set_random_seed(3)  # As training starts.
        new = landmark_model.LandmarkModel(config.model)
        for weight, expected in zip(
            untrained.trainable_variables, new.trainable_variables
        ):
            np.testing.assert_array_equal(weight, expected)
        found = detections.detect(
            new, config, shards, "regression_test", untrained=untrained
        )
        alone = detections.detect(again, config, shards, "regression_test")
        np.testing.assert_allclose(found.untrained, alone.landmarks, atol=1e-6)
        self.assertIsNone(alone.untrained)
        # Nothing but batch normalisation makes the difference.
        self.assertLess(found.landmarks.std(axis=0).max(), 1e-6)
        self.assertGreater(found.untrained.std(axis=0).min(), 1e-4)


class ExamplePairsTest(absltest.TestCase):
    def pairs(self, **data):
        config = dataclasses.replace(CONFIG, data=configs.DataConfig(**data))
        return detections.example_pairs(
            config, tiny_shards.puppets(), "regression_test", 2
        )

    def test_video_pair_is_the_first_and_the_last_frame(self):
        pairs = self.pairs()
        self.assertEqual(pairs.is_video.tolist(), [True, True])
        np.testing.assert_array_equal(pairs.source[0], _first_clip()[0])
        np.testing.assert_array_equal(pairs.target[0], _first_clip()[-1])

    def test_video_pair_is_no_further_apart_than_in_training(self):
        pairs = self.pairs(max_gap=3)
        np.testing.assert_array_equal(pairs.target[0], _first_clip()[3])

    def test_still_is_warped_twice_and_alike_every_time(self):
        # No two frames are 100 apart: each clip is but a still.
        first, again = self.pairs(min_gap=100), self.pairs(min_gap=100)

        self.assertEqual(first.is_video.tolist(), [False, False])
        np.testing.assert_array_equal(first.source, again.source)
        np.testing.assert_array_equal(first.target, again.target)
        still = _first_clip()[0]
        self.assertGreater(np.abs(first.target[0] - still).mean(), 0.01)
        self.assertGreater(np.abs(first.source[0] - still).mean(), 0.01)
        self.assertGreater(
            np.abs(first.source[0] - first.target[0]).mean(), 0.01
        )


if __name__ == "__main__":
    absltest.main()
