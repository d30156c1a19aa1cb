import pathlib
from unittest import mock

from absl.testing import parameterized
import h5py
import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm.losses import loss_networks
from tflm.losses import perceptual

VGG16_DEPTHS = (2, 2, 3, 3, 3)
WIDTHS = (4, 3, 5, 6, 7)  # Of the blocks; 3 is a trap, it is a kernel's side.
ALL_TAPS = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
KERAS_FETCH = "tensorflow.keras.utils.get_file"


def _weights(channels: int = 3, seed: int = 0, widths=WIDTHS) -> dict:
    """Layer to Keras kernel and bias, in network order."""
    generator, weights, before = np.random.RandomState(seed), {}, channels
    for block, (depth, width) in enumerate(zip(VGG16_DEPTHS, widths), start=1):
        for index in range(1, depth + 1):
            kernel = generator.standard_normal([3, 3, before, width])
            bias = generator.standard_normal([width])
            weights[f"conv{block}_{index}"] = (
                kernel.astype(np.float32) / np.sqrt(9 * before),
                bias.astype(np.float32) / 10,
            )
            before = width
    return weights


def _write_h5(path: pathlib.Path, arrays: dict) -> str:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return str(path)


def _write_caffe(path: pathlib.Path, weights: dict, more=None) -> str:
    """As Caffe's own HDF5 snapshot, fully connected layers included."""
    arrays = {"data/fc6/0": np.zeros([8, 7], np.float32), **(more or {})}
    for layer, (kernel, bias) in weights.items():
        arrays[f"data/{layer}/0"] = kernel.transpose(3, 2, 0, 1)
        arrays[f"data/{layer}/1"] = bias
    return _write_h5(path, arrays)


def _write_keras(path: pathlib.Path, weights: dict, suffixes) -> str:
    arrays = {}
    for layer, parts in weights.items():
        name = f"block{layer[4]}_conv{layer[6]}"
        for suffix, part in zip(suffixes, parts):
            arrays[f"{name}/{name}{suffix}"] = part
    return _write_h5(path, arrays)


def _write_nested(path: pathlib.Path, weights: dict) -> str:
    """As Keras 3 saves a model of sequential blocks with side outputs."""
    arrays = {"dsn1/vars/0": np.zeros([1, 1, WIDTHS[0], 1], np.float32)}
    for layer, parts in weights.items():
        index = f"_{int(layer[6]) - 1}".replace("_0", "")
        group = f"block{layer[4]}/layers/conv2d{index}/vars"
        arrays |= {f"{group}/{i}": part for i, part in enumerate(parts)}
    return _write_h5(path, arrays)


def _write_npz(path: pathlib.Path, weights: dict) -> str:
    arrays = {"fc6_W": np.zeros([8, 7], np.float32)}
    for layer, (kernel, bias) in weights.items():
        arrays |= {f"{layer}_W": kernel, f"{layer}_b": bias}
    np.savez(path, **arrays)
    return str(path)


def _images(size: int = 32) -> tf.Tensor:
    return tf.random.stateless_uniform([2, size, size, 3], seed=(1, 2))


class LossNetworksTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.get_temp_dir())

    def _load(self, network="vgg16_file", file=None, precision="float32", **kw):
        seed = kw.pop("seed", 0)
        config = configs.LossConfig("perceptual", network=network, **kw)
        return loss_networks.load(
            config, "mice", str(self.folder), file, seed, precision
        )

    def _assert_error(self, words: list[str], network="vgg16_file", file=None):
        with self.assertRaises(errors.UserError) as caught:
            self._load(network, file)
        message = str(caught.exception)
        for word in words:
            self.assertIn(word, message)
        self.assertNotIn("\n", message)

    def test_equals_vgg19_of_keras(self):
        model = tf.keras.applications.VGG19(
            include_top=False, weights=None, input_shape=[32, 32, 3]
        )
        file = str(self.folder / "vgg19.h5")
        model.save_weights(file)
        taps = [f"block{block}_conv2" for block in (1, 2, 3)]
        truth = tf.keras.Model(
            model.inputs, [model.get_layer(name).output for name in taps]
        )
        prepared = tf.keras.applications.vgg19.preprocess_input(
            255.0 * _images()
        )
        network = self._load("imagenet", file, last_tap="conv3_2")
        self.assertEqual(network.layer_names, ALL_TAPS[:3])
        for found, wanted in zip(network.features(_images()), truth(prepared)):
            self.assertAllClose(found, wanted, rtol=1e-4, atol=1e-3)
        self._assert_error(["conv3_4", "VGG-16 has not"], "vgg16_file", file)

    def test_every_layout_gives_the_same_network(self):
        weights = _weights()
        files = [
            _write_caffe(self.folder / "caffe.h5", weights),
            _write_keras(self.folder / "old.h5", weights, ("_W_1:0", "_b_1:0")),
            _write_keras(
                self.folder / "keras.h5", weights, ("/kernel:0", "/bias:0")
            ),
            _write_nested(self.folder / "nested.weights.h5", weights),
            _write_npz(self.folder / "flat.npz", weights),
        ]
        networks = [self._load(file=file) for file in files]
        self.assertEqual(networks[0].layer_names, ALL_TAPS)
        wanted = networks[0].features(_images())
        self.assertEqual(
            [tuple(taps.shape) for taps in wanted],
            [(2, 32 // 2**i, 32 // 2**i, w) for i, w in enumerate(WIDTHS)],
        )
        self.assertGreater(np.std(wanted[-1]), 0.01)
        for network in networks[1:]:
            self.assertEqual(network.hash, networks[0].hash)
            for found, want in zip(network.features(_images()), wanted):
                self.assertAllEqual(found, want)
        for layer, part in (("conv1_1", 0), ("conv5_2", 0), ("conv5_2", 1)):
            weights = _weights()
            weights[layer][part].flat[-1] += 0.001
            other = _write_npz(self.folder / "other.npz", weights)
            self.assertNotEqual(self._load(file=other).hash, networks[0].hash)

    def _unit_network(self, **statistics):
        """Passes its input on, in one channel."""
        kernel = np.zeros([3, 3, 1, 1], np.float32)
        kernel[1, 1] = 1.0
        weights = {
            layer: (kernel, np.zeros([1], np.float32)) for layer in _weights()
        }
        return self._load(
            "colorization",
            _write_caffe(self.folder / "unit.h5", weights, statistics),
        )

    def test_grey_input_by_hand(self):
        image = tf.tile([[[[0.9, 0.6, 0.3]]]], [1, 32, 32, 1])
        for values in self._unit_network().features(image):
            self.assertAllClose(
                values, np.full(values.shape, 0.6 - 114.451 / 255)
            )

    def test_caffe_batch_normalisation_by_hand(self):
        """Sums over 4 batches: mean 0.1, variance 0.25."""
        network = self._unit_network(
            **{
                "data/batch_conv1_1/0": np.float32([0.4]),
                "data/batch_conv1_1/1": np.float32([1.0]),
                "data/batch_conv1_1/2": np.float32([4.0]),
            }
        )
        values = network.features(tf.ones([1, 32, 32, 3]))[0]
        wanted = (1 - 114.451 / 255 - 0.1) / np.sqrt(0.25 + 1e-5)
        self.assertAllClose(values, np.full(values.shape, wanted))

    def test_nothing_below_the_last_tap_is_needed(self):
        weights = _weights()
        whole = _write_npz(self.folder / "whole.npz", weights)
        for layer in ("conv3_3", "conv4_1", "conv5_2"):
            del weights[layer]
        part = _write_npz(self.folder / "part.npz", weights)
        networks = [
            self._load(file=file, last_tap="conv3_2") for file in (whole, part)
        ]
        self.assertEqual(networks[0].hash, networks[1].hash)
        self.assertLen(networks[1].features(_images()), 3)
        self._assert_error([part, "lacks conv3_3, conv4_1"], file=part)

    def test_bfloat16_is_near_and_answers_float32(self):
        file = _write_npz(self.folder / "weights.npz", _weights())
        exact = self._load(file=file).features(_images())
        rough = self._load(file=file, precision="bfloat16").features(_images())
        for found, wanted in zip(rough, exact):
            self.assertEqual(found.dtype, tf.float32)
            error = np.mean(np.abs(found - wanted)) / np.mean(np.abs(wanted))
            self.assertBetween(error, 1e-5, 0.05)

    def test_random_follows_its_seed(self):
        small = {"network_filters": 2}
        network = self._load("random", **small)
        self.assertEqual(
            [values.shape[-1] for values in network.features(_images())],
            [2, 4, 8, 16, 16],
        )
        self.assertEqual(network.hash, self._load("random", **small).hash)
        self.assertNotEqual(
            network.hash, self._load("random", seed=1, **small).hash
        )
        # It reads grey: the colour of a pixel does not matter.
        grey = tf.repeat(tf.reduce_mean(_images(), -1, keepdims=True), 3, -1)
        for colour, mean in zip(
            network.features(_images()), network.features(grey)
        ):
            self.assertAllClose(colour, mean, atol=1e-5)

    def test_random_keeps_the_size_of_its_input(self):
        """He: E[relu(w x)^2] = E[x^2]."""
        network = self._load("random", last_tap="conv2_2", network_filters=64)
        values = tf.reduce_mean(_images(), -1) - 114.451 / 255
        size = np.mean(np.square(values))
        for tap in network.features(_images()):
            self.assertBetween(np.mean(np.square(tap)) / size, 0.5, 2.0)

    def test_auto_prefers_what_was_trained_on_the_dataset(self):
        imagenet = _write_npz(self.folder / "vgg19.npz", {})
        with mock.patch(KERAS_FETCH, return_value=imagenet) as fetch:
            self._assert_error([imagenet, "a VGG-19 has 16"], "auto")
            fetch.assert_called_once()
            path = loss_networks.colorization_path(str(self.folder), "mice")
            path.parent.mkdir(parents=True)
            _write_caffe(path, _weights(channels=1))
            network = self._load("auto")
            fetch.assert_called_once()
        self.assertEqual(network.name, "colorization")
        self.assertEqual(network.origin, str(path))

    def test_no_network_access(self):
        failure = Exception("URL fetch failure on\nhttps://x: None -- refused")
        with mock.patch(KERAS_FETCH, side_effect=failure):
            self._assert_error(
                [
                    "tflm.pretrain_colorization --dataset=mice",
                    "--loss_weights=FILE --set loss.network=",
                    "--set loss.name=l2",
                    "refused",
                ],
                "auto",
            )
            self._assert_error(["--loss_weights=FILE", "refused"], "imagenet")

    def test_errors_of_files(self):
        missing = str(self.folder / "none.h5")
        text = self.folder / "notes.h5"
        text.write_text("not weights")
        torn = self.folder / "torn.npz"
        _write_npz(torn, _weights())
        torn.write_bytes(torn.read_bytes()[:3000])
        pickled = str(self.folder / "pickled.npz")
        np.savez(pickled, conv1_1_W=np.array([print], dtype=object))
        misfit = _weights()
        misfit["conv4_1"] = misfit["conv4_2"]
        endless = _weights()
        endless["conv2_1"][0][0] = np.nan
        for words, file in (
            ([missing, "no file"], missing),
            ([str(text), "cannot be read"], str(text)),
            ([str(torn), "cannot be read"], str(torn)),
            ([pickled, "cannot be read", "allow_pickle"], pickled),
            (
                ["the kernel of conv4_1", "[3, 3, 6, 6]", "5 channels"],
                _write_npz(self.folder / "misfit.npz", misfit),
            ),
            (
                ["conv2_1", "NaN"],
                _write_npz(self.folder / "endless.npz", endless),
            ),
            (
                ["conv1_1", "0 vectors", "bias of 2 values"],
                _write_h5(
                    self.folder / "bare.h5",
                    {"conv1_1/kernel": np.ones([3, 3, 3, 2], np.float32)}
                    | {
                        f"{layer}/kernel": np.ones([3, 3, 2, 2], np.float32)
                        for layer in list(_weights())[1:]
                    },
                ),
            ),
            (
                ["two kernels of conv1_1", "copy/conv1_1/kernel"],
                _write_h5(
                    self.folder / "twice.h5",
                    {
                        name: np.zeros([3, 3, 3, 2], np.float32)
                        for name in ("conv1_1/kernel", "copy/conv1_1/kernel")
                    },
                ),
            ),
            (
                ["batch normalisation", "conv1_1/moving_mean"],
                _write_h5(
                    self.folder / "normed.h5",
                    {"conv1_1/moving_mean": np.zeros([4], np.float32)},
                ),
            ),
        ):
            with self.subTest(file):
                self._assert_error(words, file=file)

    def test_errors_of_choices(self):
        colour = _write_caffe(self.folder / "colour.h5", _weights())
        for words, network, file in (
            (["reads 3 channels", "reads 1"], "colorization", colour),
            (["lacks", "conv3_4", "VGG-19"], "imagenet", colour),
            (["--set loss.network=", "it is auto"], "auto", colour),
            (["it is random"], "random", colour),
            (["needs --loss_weights=FILE"], "vgg16_file", None),
            (["pretrain_colorization"], "colorization", None),
        ):
            with self.subTest(f"{network} {file}"):
                self._assert_error(words, network, file)


class InPerceptualLossTest(tf.test.TestCase):
    def _loss(self) -> perceptual.PerceptualLoss:
        config = configs.LossConfig(
            "perceptual", network="random", network_filters=2
        )
        network = loss_networks.load(config, "mice", "nowhere", None, seed=0)
        return perceptual.PerceptualLoss(network.features, network.layer_names)

    def _batch(self) -> dict[str, tf.Tensor]:
        return {"target": _images(), "mask": tf.ones([2, 32, 32, 1])}

    def test_weights_are_not_in_checkpoints(self):
        loss = self._loss()
        loss(self._batch(), _images() + 0.1)
        path = tf.train.Checkpoint(loss=loss).write(
            f"{self.get_temp_dir()}/loss"
        )
        values = [
            shape
            for name, shape in tf.train.list_variables(path)
            if "VARIABLE_VALUE" in name
        ]
        self.assertCountEqual(values, [[6], []])

    def test_the_target_costs_no_backward_pass(self):
        loss, scale = self._loss(), tf.Variable(0.5)

        @tf.function
        def step(batch):
            with tf.GradientTape() as tape:
                value = loss(batch, scale * batch["target"])["loss"]
            return tape.gradient(value, scale)

        graph = step.get_concrete_function(self._batch()).graph
        used = [
            op.type
            for op in graph.get_operations()
            if any(output.consumers() for output in op.outputs)
        ]
        # 12 convolutions down to conv5_2, for the target and the prediction;
        # TensorFlow writes down the kernels' gradients, and prunes them.
        for kind, count in (
            ("Conv2D", 24),
            ("Conv2DBackpropInput", 12),
            ("Conv2DBackpropFilter", 0),
            ("MaxPoolGrad", 4),
        ):
            self.assertEqual(used.count(kind), count, kind)


if __name__ == "__main__":
    tf.test.main()
