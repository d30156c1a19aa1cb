import math
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from tests import tiny_shards
from tflm import configs
from tflm.colorization import colors
from tflm.colorization import network
from tflm.colorization import results
from tflm.colorization import training


def _uniform(grey: tf.Tensor, training: bool) -> list[tf.Tensor]:
    """A model that says nothing of any colour."""
    size = grey.shape[1] // network.WINDOW
    return [tf.zeros([len(grey), size, size, colors.NUM_BINS])] * 2


class ResultsTest(tf.test.TestCase):
    def test_score_beside_the_frequencies_of_the_training_images(self):
        red, green = np.zeros([2, 8, 8, 3]), np.zeros([1, 8, 8, 3])
        red[..., 0], green[..., 1] = 0.5, 0.5
        train_images = np.concatenate([red, green]).astype(np.float32)
        found = results.score(
            _uniform, green.astype(np.float32), train_images, "val"
        )
        # Green is a third of the training images; all have chroma 0.5.
        self.assertAllClose(found.hue_marginal, math.log(3), atol=1e-3)
        self.assertAllClose(found.chroma_marginal, 0.0, atol=1e-3)
        self.assertAllClose([found.hue, found.chroma], [math.log(32)] * 2)
        self.assertRegex(found.line(), "1 val images.* hue 3.466, .* hue 1.099")

    def test_grey_images_have_no_hue_to_predict(self):
        grey = np.full([3, 8, 8, 3], 0.25, np.float32)
        found = results.score(_uniform, grey, grey, "val")
        self.assertEqual(found.hue, 0.0)

    def test_scores_do_not_depend_on_the_batches(self):
        images = np.random.default_rng(0).random([40, 8, 8, 3], np.float32)
        whole = results.score(_uniform, images, images, "val")
        targets = colors.histograms(images, network.WINDOW)
        frequencies = np.mean(targets[1], axis=(0, 1, 2))
        entropy = -np.sum(frequencies * np.log(frequencies + 1e-9))
        self.assertAllClose(whole.chroma_marginal, entropy, atol=1e-3)

    def test_held_out_images_are_not_trained_on(self):
        for splits, role in (
            ({"train": "train", "val": "val"}, "val"),
            ({"train": "train", "regression_test": "test"}, "regression_test"),
            ({"train": "train", "regression_test": "train"}, "train"),
            ({"train": "all", "val": "all"}, "train"),
            ({"train": "train", "val": "empty"}, "train"),
            ({"train": "train", "val": "none"}, "train"),
            ({"train": "train"}, "train"),
        ):
            sizes = {"train": 9, "all": 9, "val": 2, "test": 2, "empty": 0}
            infos = {
                name: SimpleNamespace(num_examples=size)
                for name, size in sizes.items()
            }
            builder = SimpleNamespace(info=SimpleNamespace(splits=infos))
            shards = SimpleNamespace(splits=splits, builder=builder)
            self.assertEqual(results.held_out_role(shards), role)

    def test_images_of_shards_and_a_spread_of_them(self):
        config = training.settings(
            configs.PRESETS["puppets"].data, image_size=32
        )
        shards = tiny_shards.puppets()
        images = results.images_of(config, shards, "val")
        self.assertEqual(images.shape, (shards.num_frames("val"), 32, 32, 3))
        shown = results.spread(images)
        self.assertLen(shown, 8)
        self.assertAllEqual(shown[[0, -1]], images[[0, -1]])
        self.assertLen(results.spread(images[:3]), 3)


if __name__ == "__main__":
    tf.test.main()
