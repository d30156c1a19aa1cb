import dataclasses
import re

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tflm import configs
from tflm.models import encoders
from tflm.models import generator
from tflm.models import landmark_model

TINY = configs.ModelConfig(image_size=32, num_filters=4, num_landmarks=3)
OPTIONS = {
    "initializer": "truncated_normal",
    "dtype": tf.keras.mixed_precision.Policy("float32"),
}


def _images(seed: int, size: int = 32) -> tf.Tensor:
    return tf.random.stateless_uniform([2, size, size, 3], seed=(seed, 0))


def _count(model: tf.keras.Model, name: str) -> int:
    return sum(layer.name == name for layer in model.layers)


def _pads(model: tf.keras.Model) -> bool:
    return any(
        isinstance(layer, encoders.SymmetricPadding) for layer in model.layers
    )


class LandmarkModelTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        (32, [32, 64]),
        (64, [32, 64, 128]),
        (128, [32, 64, 128, 256]),
        (256, [32, 64, 128, 256, 512]),
    )
    def test_encoder_has_the_blocks_of_the_paper(self, size, filters):
        model = encoders.encoder(size, 32, name="encoder", **OPTIONS)
        convs = [
            layer
            for layer in model.layers
            if isinstance(layer, tf.keras.layers.Conv2D)
        ]
        self.assertEqual(
            [conv.filters for conv in convs],
            [count for count in filters for _ in range(2)],
        )
        self.assertEqual(convs[0].kernel_size, (7, 7))
        self.assertEqual(
            [conv.strides[0] for conv in convs],
            [1, 1] + [2, 1] * (len(filters) - 1),
        )
        self.assertEqual(model.output_shape, (None, 16, 16, filters[-1]))

    def test_context_convolutions_let_a_score_see_further(self):
        reach = []
        for context_convs in (0, 3):
            model = encoders.detector(
                32, 4, 1, context_convs, name="detector", **OPTIONS
            )
            images = tf.Variable(_images(1))
            with tf.GradientTape() as tape:
                score = model(images, training=False)[0, 8, 8, 0]
            seen = tf.abs(tape.gradient(score, images))[0]
            rows = np.flatnonzero(tf.reduce_max(seen, axis=(1, 2)))
            reach.append(rows[-1] - rows[0] + 1)
        # By hand: 7 + 2, then stride 2: + 2 and + 4; each further one + 4.
        self.assertEqual(reach, [15, 27])

    def test_symmetric_padding_tells_no_place(self):
        grey = tf.fill([1, 32, 32, 3], 0.7)
        for padding in ("zero", "symmetric"):
            model = encoders.detector(
                32,
                4,
                2,
                3,
                name="detector",
                padding=padding,
                **{**OPTIONS, "initializer": "he_normal"},
            )
            scores = model(grey, training=False)[0]
            self.assertEqual(scores.shape, (16, 16, 2))
            spread = np.ptp(scores, axis=(0, 1)).max()
            if padding == "symmetric":
                self.assertLess(spread, 1e-6)
            else:
                self.assertGreater(spread, 1e-4)

    def test_symmetric_padding_changes_the_border_alone(self):
        images = _images(1)
        models = [
            encoders.encoder(32, 4, name="encoder", padding=padding, **OPTIONS)
            for padding in ("zero", "symmetric")
        ]
        models[1].set_weights(models[0].get_weights())
        zero, symmetric = (model(images, training=False)[0] for model in models)
        # A feature sees 7 pixels to each side (the test of context): 4 of 16.
        self.assertAllClose(zero[4:-4, 4:-4], symmetric[4:-4, 4:-4], atol=1e-6)
        self.assertNotAllClose(zero[0], symmetric[0], atol=1e-6)

    def test_padding_is_that_of_the_border_mirrored(self):
        layer = encoders.SymmetricPadding(3, 2)
        padded = layer(tf.reshape(tf.range(4.0), [1, 2, 2, 1]))[0, ..., 0]
        self.assertAllEqual(padded, [[0, 1, 1], [2, 3, 3], [2, 3, 3]])
        again = encoders.SymmetricPadding.from_config(layer.get_config())
        self.assertEqual((again.kernel_size, again.stride), (3, 2))
        with self.assertRaisesRegex(
            ValueError, r"1 to kernel_size \(3\), got 4"
        ):
            encoders.SymmetricPadding(3, 4)

    def test_a_detector_with_symmetric_padding_loads_from_hdf5(self):
        model = landmark_model.LandmarkModel(
            dataclasses.replace(TINY, padding="symmetric")
        ).detector
        path = f"{self.get_temp_dir()}/detector.h5"
        model.save(path)
        again = tf.keras.models.load_model(path, compile=False)
        self.assertAllEqual(model(_images(1)), again(_images(1)))

    @parameterized.parameters(
        ("heatmap_sigma", 0.3, lambda m: m.bottleneck.sigma),
        ("marginal", "sum", lambda m: m.bottleneck.marginal),
        ("temperature", 0.7, lambda m: m.bottleneck.temperature),
        ("gaussian", "released", lambda m: m.bottleneck.gaussian),
        ("context_convs", 1, lambda m: _count(m.detector, "context_conv1")),
        ("padding", "symmetric", lambda m: int(_pads(m.detector))),
        ("num_landmarks", 5, lambda m: m.generator.input_shape[1][-1]),
    )
    def test_a_setting_reaches_its_part(self, name, value, found):
        before = landmark_model.LandmarkModel(TINY)
        after = landmark_model.LandmarkModel(
            dataclasses.replace(TINY, **{name: value})
        )
        expected = 1 if name == "padding" else value
        self.assertEqual(found(after), expected)
        self.assertNotEqual(found(before), expected)

    def test_the_initializer_reaches_every_network(self):
        model = landmark_model.LandmarkModel(
            dataclasses.replace(TINY, initializer="he_normal")
        )
        for part in (model.detector, model.appearance, model.generator):
            convs = [
                layer
                for layer in part.layers
                if isinstance(layer, tf.keras.layers.Conv2D)
            ]
            # 0.01 otherwise; by hand at least sqrt(2 / (7 * 7 * 64)).
            self.assertGreater(np.std(convs[0].kernel), 0.025)

    def test_generator_has_the_channels_of_the_paper(self):
        model = generator.generator(128, 32, 30, name="g", **OPTIONS)
        filters = [
            layer.filters
            for layer in model.layers
            if isinstance(layer, tf.keras.layers.Conv2D)
        ]
        self.assertEqual(filters, [256, 256, 128, 128, 64, 64, 32, 32, 3])
        self.assertEqual(model.output_shape, (None, 128, 128, 3))

    def test_reconstruction_sees_the_target_through_the_landmarks_only(self):
        model = landmark_model.LandmarkModel(TINY)
        source, first, second = _images(1), _images(2), _images(3)
        scores = model.detector(first)
        frozen, _ = model.bottleneck(scores)

        class Fixed(tf.keras.layers.Layer):
            def call(self, images):
                return tf.zeros_like(images[:, ::2, ::2]) + scores

        model.detector = Fixed()
        outputs = [model((source, target)) for target in (first, second)]
        self.assertAllClose(outputs[0]["landmarks"], frozen)
        self.assertAllClose(
            outputs[0]["reconstruction"], outputs[1]["reconstruction"]
        )

    def test_every_weight_gets_a_gradient(self):
        model = landmark_model.LandmarkModel(TINY)
        with tf.GradientTape() as tape:
            outputs = model((_images(1), _images(2)), training=True)
            loss = tf.reduce_mean((outputs["reconstruction"] - 0.5) ** 2)
        for weight, gradient in zip(
            model.trainable_variables,
            tape.gradient(loss, model.trainable_variables),
        ):
            with self.subTest(weight.name):
                self.assertIsNotNone(gradient)
                self.assertGreater(tf.norm(gradient), 0.0)

    def test_the_fully_connected_code_replaces_the_landmarks(self):
        config = dataclasses.replace(
            TINY, bottleneck="fully_connected", fully_connected_units=10
        )
        model = landmark_model.LandmarkModel(config)
        source, target = _images(1), _images(2)
        outputs = model((source, target), training=False)
        features = tf.reshape(model.detector(target), [2, -1])
        code = features @ model.bottleneck.encode.kernel
        self.assertEqual(features.shape[1], 16 * 16 * 8)
        self.assertAllClose(
            outputs["landmarks"], tf.reshape(code, [2, 5, 2]), atol=1e-5
        )
        found = model.detect(target)
        self.assertEqual(list(found), ["landmarks"])
        self.assertAllClose(found["landmarks"], outputs["landmarks"])
        maps = tf.reshape(code @ model.bottleneck.decode.kernel, [2, 16, 16, 3])
        self.assertAllClose(outputs["heatmaps"], maps, atol=1e-5)
        self.assertAllClose(
            outputs["reconstruction"],
            model.generator([model.appearance(source), maps]),
        )
        windowed = model((source, target), training=False, windows=1.0)
        self.assertAllClose(windowed["landmarks"], outputs["landmarks"])

    @parameterized.parameters(
        # By hand: of He et al. sqrt(2 / (3 * 3 * 32)); 0.01 of the others, of
        # which the truncated one has lost its tails beyond 0.02, and width.
        ("truncated_normal", 0.0088, 0.02, 0.0088),
        ("normal", 0.01, 0.1, 0.01),
        ("he_normal", 0.0833, 1.0, 0.0088),
    )
    def test_initializers(self, name, deviation, largest, last_deviation):
        model = encoders.detector(
            32, 32, 500, 0, name="detector", **{**OPTIONS, "initializer": name}
        )
        kernel = model.get_layer("block1_conv2").kernel
        last = model.get_layer("score_maps").kernel
        self.assertAllClose(np.std(kernel), deviation, rtol=0.05)
        self.assertLessEqual(tf.reduce_max(tf.abs(kernel)), largest)
        self.assertAllClose(np.std(last), last_deviation, rtol=0.05)
        if name == "normal":
            self.assertGreater(tf.reduce_max(tf.abs(kernel)), 0.025)

    @parameterized.parameters((2, 2), (1, 1))
    def test_the_last_block_has_as_many_convolutions(self, setting, expected):
        config = dataclasses.replace(TINY, last_convs=setting)
        names = [
            layer.name
            for layer in landmark_model.LandmarkModel(config).generator.layers
        ]
        blocks = [n for n in names if re.fullmatch(r"block\d+_conv\d", n)]
        last = max(name.partition("_")[0] for name in blocks)
        self.assertLen([n for n in blocks if n.startswith(last)], expected)
        self.assertLen([n for n in blocks if n.startswith("block1_")], 2)

    def test_bfloat16_draws_images_in_float32(self):
        model = landmark_model.LandmarkModel(TINY, "bfloat16")
        layer = model.generator.get_layer("images")
        self.assertEqual(layer.compute_dtype, "float32")

    def test_bfloat16_keeps_variables_and_points_in_float32(self):
        model = landmark_model.LandmarkModel(TINY, "bfloat16")
        outputs = model((_images(1), _images(2)), training=True)
        for name in ("reconstruction", "landmarks", "heatmaps"):
            self.assertEqual(outputs[name].dtype, tf.float32)
        for variable in model.variables:
            self.assertEqual(variable.dtype, tf.float32)
        conv = model.detector.get_layer("block1_conv1")
        self.assertEqual(conv.compute_dtype, "bfloat16")

    def test_detect_agrees_with_call(self):
        model = landmark_model.LandmarkModel(TINY)
        images = _images(2)
        found = model.detect(images)
        outputs = model((_images(1), images), training=False)
        self.assertAllClose(found["landmarks"], outputs["landmarks"])
        ones = np.ones([2, 3])
        for name in ("row_marginals", "column_marginals"):
            self.assertAllClose(tf.reduce_sum(found[name], axis=1), ones)

    def test_generate_agrees_with_call_and_obeys_the_landmarks(self):
        model = landmark_model.LandmarkModel(
            dataclasses.replace(TINY, initializer="he_normal")
        )
        source, target = _images(1), _images(2)
        outputs = model((source, target), training=False)
        drawn = model.generate(source, outputs["landmarks"])
        moved = model.generate(source, outputs["landmarks"] + 0.5)
        expected = outputs["reconstruction"].numpy()
        self.assertAllClose(drawn, expected, atol=1e-3 * expected.std())
        self.assertNotAllClose(moved, expected, atol=1e-1 * expected.std())

    def test_generate_needs_landmarks(self):
        config = dataclasses.replace(TINY, bottleneck="fully_connected")
        model = landmark_model.LandmarkModel(config)
        with self.assertRaisesRegex(ValueError, "no landmarks"):
            model.generate(_images(1), tf.zeros([2, 10, 2]))

    def test_confidence_by_hand(self):
        certain = np.zeros([1, 16, 1], np.float32)
        certain[0, 3, 0] = 1.0
        uniform = np.full([1, 16, 1], 1 / 16, np.float32)
        four = np.zeros([1, 16, 1], np.float32)
        four[0, :4, 0] = 0.25  # Half of the entropy of 16.
        for rows, columns, expected in (
            (certain, certain, 1.0),
            (uniform, uniform, 0.0),
            (certain, uniform, 0.5),
            (four, four, 0.5),
        ):
            self.assertAllClose(
                landmark_model.confidence(rows, columns),
                [[expected]],
                atol=1e-6,
            )


if __name__ == "__main__":
    tf.test.main()
