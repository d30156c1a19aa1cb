import os
import pathlib
import signal
from unittest import mock

import tensorflow as tf

from tests import tiny_shards
from tflm import configs
from tflm import errors
from tflm.training import checkpoints
from tflm.training import loop
from tflm.training import steps

TINY = configs.override(
    configs.PRESETS["puppets"],
    [
        "model.image_size=32",
        "model.num_filters=4",
        "model.num_landmarks=3",
        "train.batch_size=2",
        "train.num_steps=4",
        "train.log_every=2",
        "train.save_every=2",
        "data.shuffle_buffer=4",
    ],
)
MAKE_TRAIN_STEP = steps.make_train_step


def _with_step(wrap):
    """Replaces the compiled step by `wrap(number, step)` of it."""

    def make(*arguments):
        step, calls = MAKE_TRAIN_STEP(*arguments), []

        def wrapped(batch):
            calls.append(batch)
            return wrap(len(calls), step(batch))

        return wrapped

    return mock.patch.object(steps, "make_train_step", make)


class LoopTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(self.get_temp_dir()) / self.id()
        self.workdir = str(self.root / "run")

    def _steps_saved(self):
        indices = pathlib.Path(self.workdir).rglob("*.index")
        return sorted(path.stem for path in indices)

    def test_trains_logs_and_saves(self):
        with self.assertLogs("tflm") as logs:
            step = loop.train(TINY, tiny_shards.puppets(), self.workdir)
        self.assertEqual(step, 4)
        self.assertEqual(self._steps_saved(), ["step-2", "step-4"])
        self.assertRegex("\n".join(logs.output), r"dead, \d+ duplicated of 3")
        tags = set()
        for path in self.root.rglob("events.*"):
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                tags |= {value.tag for value in event.summary.value}
        self.assertContainsSubset(
            {
                "loss",
                "gradient_norm",
                "learning_rate",
                "images_per_second",
                "source, target, reconstruction, landmarks",
                "landmarks/dead",
            },
            tags,
        )

    def test_a_finished_run_stays_as_it_is(self):
        loop.train(TINY, tiny_shards.puppets(), self.workdir)
        with self.assertLogs("tflm") as logs:
            step = loop.train(TINY, tiny_shards.puppets(), self.workdir)
        self.assertEqual(step, 4)
        self.assertRegex("\n".join(logs.output), "resuming .* at step 4")

    def test_a_signal_saves_and_ends(self):
        for number in (signal.SIGTERM, signal.SIGINT):

            def kill(call, metrics, number=number):
                if call == 1:
                    os.kill(os.getpid(), number)
                return metrics

            self.workdir = str(self.root / number.name)
            with self.subTest(number.name), _with_step(kill):
                step = loop.train(TINY, tiny_shards.puppets(), self.workdir)
                self.assertEqual(step, 1)
                self.assertEqual(self._steps_saved(), ["step-1"])
        step = loop.train(TINY, tiny_shards.puppets(), self.workdir)
        self.assertEqual(step, 4)

    def test_a_signal_while_logging_saves_too(self):
        def kill(*_):
            os.kill(os.getpid(), signal.SIGTERM)

        with mock.patch.object(loop, "_log_scalars", kill):
            step = loop.train(TINY, tiny_shards.puppets(), self.workdir)
        self.assertEqual(step, 3)
        self.assertEqual(self._steps_saved(), ["step-2", "step-3"])

    def test_a_loss_that_is_not_finite_stops_the_run(self):
        def explode(call, metrics):
            nan = tf.constant(float("nan"))
            return {**metrics, "loss": nan} if call == 4 else metrics

        with (
            _with_step(explode),
            self.assertRaisesRegex(
                FloatingPointError, "loss is nan at step 4; .* of step 2"
            ),
        ):
            loop.train(TINY, tiny_shards.puppets(), self.workdir)
        self.assertEqual(self._steps_saved(), ["step-2"])

    def test_init_from_takes_over_the_weights(self):
        first = str(self.root / "first")
        loop.train(TINY, tiny_shards.puppets(), first)
        config = configs.override(
            TINY, ["train.num_steps=1", "train.learning_rate=1e-12"]
        )
        loop.train(config, tiny_shards.puppets(), self.workdir, first)
        readers = [
            tf.train.load_checkpoint(f"{folder}/checkpoints/{name}")
            for folder, name in ((first, "step-4"), (self.workdir, "step-1"))
        ]
        shapes = readers[0].get_variable_to_shape_map()
        kernels = [
            name
            for name, shape in shapes.items()
            if name.startswith("model") and len(shape) == 4
        ]
        self.assertNotEmpty(kernels)
        for name in kernels:
            old, new = (reader.get_tensor(name) for reader in readers)
            self.assertAllClose(old, new, atol=1e-6)

    def test_init_from_another_model_is_refused(self):
        first = str(self.root / "first")
        loop.train(TINY, tiny_shards.puppets(), first)
        config = configs.override(TINY, ["model.num_landmarks=4"])
        with self.assertRaisesRegex(
            errors.UserError, "another model: model.num_landmarks is 3, now 4"
        ):
            loop.train(config, tiny_shards.puppets(), self.workdir, first)

    def test_no_workdir_is_made_for_a_loss_without_network(self):
        config = configs.override(TINY, ["loss.name=perceptual"])
        with self.assertRaises(errors.UserError):
            loop.train(config, tiny_shards.puppets(), self.workdir)
        self.assertFalse(os.path.exists(self.workdir))
        with self.assertRaises(FileNotFoundError):
            checkpoints.load_config(self.workdir)


if __name__ == "__main__":
    tf.test.main()
