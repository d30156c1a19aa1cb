import os
import pathlib
import signal
from unittest import mock

import h5py
import numpy as np
import tensorflow as tf

from tests import tiny_shards
from tflm import configs
from tflm import errors
from tflm.colorization import network
from tflm.colorization import training
from tflm.data import shards as shards_lib
from tflm.losses import loss_networks
from tflm.training import checkpoints
from tflm.training import optimizers

TINY = configs.override(
    training.settings(
        configs.PRESETS["puppets"].data, image_size=32, num_filters=2
    ),
    [
        "train.batch_size=2",
        "train.num_steps=4",
        "train.save_every=2",
        "train.warmup_steps=0",
        "train.precision=float32",
        "data.shuffle_buffer=4",
    ],
)


def _state(config: configs.Config = TINY):
    tf.keras.utils.set_random_seed(0)
    return network.colorizer(32, 2), optimizers.adam(config.train)


def _batches(num: int) -> list[tf.Tensor]:
    return [
        tf.random.stateless_uniform([2, 32, 32, 3], seed=(seed, 0))
        for seed in range(num)
    ]


def _without_learning(loss_of=lambda call: 1.0):
    """Replaces the compiled step by one that only counts."""

    def make(model, optimizer, seed):
        optimizer.build(model.trainable_variables)
        calls = []

        def step(images):
            calls.append(images)
            optimizer.iterations.assign_add(1)
            return {"loss": tf.constant(loss_of(len(calls)))}

        return step

    return mock.patch.object(training, "make_train_step", make)


class StepTest(tf.test.TestCase):
    def test_loss_falls_on_a_fixed_batch(self):
        config = configs.override(
            TINY, ["train.learning_rate=0.01", "train.num_steps=60"]
        )
        model, optimizer = _state(config)
        # Left dark and red, right bright and green: the grey tells the hue.
        images = np.zeros([2, 32, 32, 3], np.float32)
        images[:, :, :16, 0], images[:, :, 16:] = 0.5, [0.5, 1.0, 0.5]
        step = training.make_train_step(model, optimizer, seed=0)
        losses = [float(step(images)["loss"]) for _ in range(60)]
        self.assertLess(losses[-1], 0.25 * losses[0])

    def test_stop_and_resume_equals_an_uninterrupted_run(self):
        batches, workdir = _batches(6), self.get_temp_dir()
        straight = _state()
        step = training.make_train_step(*straight, seed=3)
        for number, images in enumerate(batches):
            if number == 3:
                checkpoints.save(workdir, *straight, None)
            step(images)

        resumed = _state()
        checkpoints.restore_or_initialize(workdir, *resumed, None)
        step = training.make_train_step(*resumed, seed=3)
        for images in batches[3:]:
            step(images)
        for one, other in zip(straight[0].variables, resumed[0].variables):
            self.assertAllClose(one, other, atol=1e-6)


class TrainTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.data_dir = pathlib.Path(self.get_temp_dir()) / self.id()
        self.path = loss_networks.colorization_path(
            str(self.data_dir), "puppets"
        )
        self.workdir = str(self.path.parent / "training")

    def _train(self, config: configs.Config = TINY):
        return training.train(config, tiny_shards.puppets(), self.path.parent)

    def _steps_saved(self):
        indices = pathlib.Path(self.workdir).rglob("*.index")
        return sorted(path.stem for path in indices)

    def test_trains_to_a_loss_network(self):
        step, scores = self._train()
        self.assertEqual(step, 4)
        self.assertEqual(scores.role, "val")
        self.assertEqual(self._steps_saved(), ["step-2", "step-4"])
        picture = (self.path.parent / training.PICTURE).read_bytes()
        self.assertEqual(tf.io.decode_png(picture).shape, [384, 8 * 128, 3])
        with h5py.File(self.path) as file:
            self.assertEqual(list(file["data"]), loss_networks.layer_names())

        loaded = loss_networks.load(
            configs.LossConfig("perceptual"),
            "puppets",
            str(self.data_dir),
            weights_file=None,
            seed=0,
        )
        self.assertEqual(loaded.name, "colorization")
        model, _ = _state()
        checkpoints.restore_model(self.workdir, model)
        images = _batches(1)[0]
        taps = tf.keras.Model(
            model.input,
            [model.get_layer(f"{n}_relu").output for n in loaded.layer_names],
        )
        expected = taps(loss_networks.grey(images), training=False)
        self.assertLen(expected, 5)
        for one, other in zip(loaded.features(images), expected):
            self.assertAllClose(one, other, rtol=1e-4, atol=1e-4)

    def test_a_signal_saves_and_the_same_call_goes_on(self):
        def kill(call):
            os.kill(os.getpid(), signal.SIGTERM)
            return 1.0

        with _without_learning(kill):
            step, scores = self._train()
        self.assertEqual((step, scores), (1, None))
        self.assertEqual(self._steps_saved(), ["step-1"])
        self.assertFalse(self.path.exists())
        with self.assertLogs("tflm") as logs, _without_learning():
            step, scores = self._train()
        self.assertEqual(step, 4)
        self.assertIsNotNone(scores)
        self.assertRegex("\n".join(logs.output), "resuming .* at step 1")

    def test_a_finished_run_stays_as_it_is(self):
        with _without_learning():
            _, scores = self._train()
        weights = self.path.read_bytes()
        self.path.unlink()
        self.assertEqual(self._train(), (4, scores))
        self.assertEqual(self.path.read_bytes(), weights)

    def test_other_settings_are_refused_and_named(self):
        with _without_learning():
            self._train()
        changed = configs.override(TINY, ["model.num_filters=4"])
        with self.assertRaisesRegex(
            errors.UserError, "model.num_filters is 2, now 4"
        ):
            self._train(changed)

    def test_a_loss_that_is_not_finite_stops_the_run(self):
        with (
            _without_learning(lambda call: float("nan") if call > 2 else 1.0),
            self.assertRaisesRegex(
                FloatingPointError, "loss is nan at step 3; .*/step-2"
            ),
        ):
            self._train()
        self.assertEqual(self._steps_saved(), ["step-2"])
        self.assertFalse(self.path.exists())

    def test_grey_shards_are_refused(self):
        decode = shards_lib.decode

        def grey(encoded):
            return tf.repeat(decode(encoded)[..., :1], 3, axis=-1)

        with (
            mock.patch.object(shards_lib, "decode", grey),
            self.assertRaisesRegex(
                errors.UserError, "val images of puppets are grey"
            ),
        ):
            self._train()
        self.assertFalse(self.path.parent.exists())  # Nothing was trained.


if __name__ == "__main__":
    tf.test.main()
