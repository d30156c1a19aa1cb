import os
import pathlib
import signal
from unittest import mock

from absl.testing import parameterized
import tensorflow as tf

from tests import tiny_shards
from tflm import configs
from tflm import errors
from tflm import losses
from tflm.data import pairs
from tflm.data import shards as shards_lib
from tflm.models import landmark_model
from tflm.training import checkpoints
from tflm.training import loop
from tflm.training import optimizers
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


def _mean_square(batch, reconstruction):
    error = tf.reduce_mean((reconstruction - batch["target"]) ** 2)
    return {"loss": error}


class _Breaks(tf.Module):
    """A loss whose part, or only its gradient, is NaN at a step."""

    def __init__(self, at: int, part: str):
        super().__init__()
        self.step = tf.Variable(0)
        self._at, self._part = at, part

    def __call__(self, batch, reconstruction):
        step = self.step.assign_add(1)
        error = _mean_square(batch, reconstruction)["loss"]
        breaks = tf.cast(step == self._at, tf.float32)
        parts = {"loss/input": error, "loss/conv3_2": 1.0 + error}
        if self._part in parts:
            parts[self._part] /= 1.0 - breaks  # Infinite.
        else:  # The slope of a root at 0 is infinite, and 0 times that NaN.
            error += breaks * tf.sqrt((1.0 - breaks) * error)
        return {"loss": error + sum(parts.values()), **parts}


def _save_run(workdir: str, config: configs.Config, step: int = 0) -> None:
    """A run with its first weights."""
    model = landmark_model.LandmarkModel(config.model)
    optimizer = optimizers.adam(config.train)
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(step)
    with checkpoints.claimed(workdir, config):
        checkpoints.save(workdir, model, optimizer, None)


class LoopTest(parameterized.TestCase, tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(self.get_temp_dir()) / self.id()
        self.workdir = str(self.root / "run")
        # Compiling would take longer than these few steps.
        tf.config.run_functions_eagerly(True)
        self.addCleanup(tf.config.run_functions_eagerly, False)

    def _train(self, config=TINY, loss=_mean_square, init_from=None) -> int:
        shards = tiny_shards.puppets()
        return loop.train(config, shards, self.workdir, loss, init_from)

    def _tags(self) -> set[str]:
        tags = set()
        for path in pathlib.Path(self.workdir).rglob("events.*"):
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                tags |= {value.tag for value in event.summary.value}
        return tags

    def _steps_saved(self):
        indices = pathlib.Path(self.workdir).rglob("*.index")
        return sorted(path.stem for path in indices)

    def test_trains_logs_and_saves_when_compiled(self):
        tf.config.run_functions_eagerly(False)
        config = configs.override(
            TINY, ["loss.name=adversarial_l1", "train.schedule=plateau"]
        )
        with self.assertLogs("tflm") as logs:
            step = self._train(config, losses.from_config(config.loss))
        self.assertEqual(step, 4)
        self.assertEqual(self._steps_saved(), ["step-2", "step-4"])
        self.assertRegex("\n".join(logs.output), r"dead, \d+ duplicated of 3")
        self.assertContainsSubset(
            {
                "loss",
                "loss/pixel",
                "adversarial/generator",
                "adversarial/discriminator",
                "adversarial/gradient_norm",
                "gradient_norm",
                "learning_rate",
                "images_per_second",
                "source, target, reconstruction, landmarks",
                "landmarks/dead",
            },
            self._tags(),
        )

    def test_a_model_without_landmarks_has_no_health(self):
        config = configs.override(
            TINY,
            [
                "model.bottleneck=fully_connected",
                "model.fully_connected_units=10",
                "train.num_steps=1",
            ],
        )
        with self.assertLogs("tflm") as logs:
            self.assertEqual(self._train(config), 1)
        self.assertNotIn("dead", "\n".join(logs.output))
        self.assertNotIn("landmarks/dead", self._tags())
        self.assertIn("source, target, reconstruction", self._tags())

    def test_a_finished_run_stays_as_it_is(self):
        _save_run(self.workdir, TINY, step=4)
        with self.assertLogs("tflm") as logs:
            step = self._train()
        self.assertEqual(step, 4)
        self.assertEqual(self._steps_saved(), ["step-4"])
        self.assertRegex("\n".join(logs.output), "resuming .* at step 4")
        self.assertEmpty(self._tags())

    def test_a_signal_saves_and_ends(self):
        for number in (signal.SIGTERM, signal.SIGINT):

            def kill(call, metrics, number=number):
                if call == 1:
                    os.kill(os.getpid(), number)
                return metrics

            self.workdir = str(self.root / number.name)
            with self.subTest(number.name), _with_step(kill):
                self.assertEqual(self._train(), 1)
                self.assertEqual(self._steps_saved(), ["step-1"])
        with mock.patch.object(
            pairs, "train_batches", wraps=pairs.train_batches
        ) as batches:
            self.assertEqual(self._train(), 4)
        self.assertEqual(batches.call_args.kwargs["first_step"], 1)

    def test_a_run_goes_on_with_its_own_data_and_weights(self):
        first = str(self.root / "first")
        _save_run(first, TINY)
        self._train()
        with self.assertRaisesRegex(errors.UserError, "from new weights, not"):
            self._train(init_from=first)
        bigger = {**tiny_shards.puppets().identity("train"), "clips": 13}
        with (
            mock.patch.object(
                shards_lib.Shards, "identity", return_value=bigger
            ),
            self.assertRaisesRegex(errors.UserError, "clips 12 .*, now .* 13"),
        ):
            self._train()

    def test_a_signal_while_logging_saves_too(self):
        def kill(*_):
            os.kill(os.getpid(), signal.SIGTERM)

        with mock.patch.object(loop, "_log_scalars", kill):
            step = self._train()
        self.assertEqual(step, 3)
        self.assertEqual(self._steps_saved(), ["step-2", "step-3"])

    @parameterized.parameters(
        # The first bad step of several, and the term at its root.
        (3, "loss/conv3_2", "loss/conv3_2 is inf at step 3; .*/step-2. Try"),
        (1, "loss/input", "loss/input is inf at step 1; .* is none. Try"),
        (2, "gradients", "gradient_norm is nan at step 2; .* is none. Try"),
    )
    def test_what_is_not_finite_stops_the_run(self, at, part, message):
        settings = ["train.save_every=2", "train.log_every=4"]
        if at < 3:
            settings[0] = "train.save_every=4"
        with self.assertRaisesRegex(FloatingPointError, message) as caught:
            self._train(configs.override(TINY, settings), _Breaks(at, part))
        self.assertNotIn("\n", str(caught.exception))
        saved = ["step-2"] if at == 3 else []
        self.assertEqual(self._steps_saved(), saved)

    def test_init_from_takes_over_the_weights(self):
        first = str(self.root / "first")
        _save_run(first, TINY)
        config = configs.override(
            TINY,
            [
                "train.num_steps=1",
                "train.learning_rate=1e-12",
                "model.initializer=he_normal",  # Of no matter here.
                "model.temperature=0.25",  # Fits the same weights.
            ],
        )
        self._train(config, init_from=first)
        readers = [
            tf.train.load_checkpoint(f"{folder}/checkpoints/{name}")
            for folder, name in ((first, "step-0"), (self.workdir, "step-1"))
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

    @parameterized.parameters(
        ("model.num_landmarks=4", "model.num_landmarks is 3, now 4"),
        (
            "model.bottleneck=fully_connected",
            "model.bottleneck is 'heatmap', now 'fully_connected'",
        ),
    )
    def test_init_from_another_model_is_refused(self, setting, message):
        first = str(self.root / "first")
        _save_run(first, TINY)
        with self.assertRaisesRegex(
            errors.UserError, f"another model: {message}$"
        ):
            self._train(configs.override(TINY, [setting]), init_from=first)
        self.assertFalse(os.path.exists(self.workdir))

    def test_init_from_a_run_without_weights_leaves_no_run(self):
        first = str(self.root / "first")
        with checkpoints.claimed(first, TINY):
            pass
        with self.assertRaisesRegex(
            errors.UserError, "no checkpoint in .*first"
        ):
            self._train(init_from=first)
        self.assertFalse(os.path.exists(self.workdir))

    def test_init_from_a_damaged_checkpoint_leaves_no_run(self):
        first = str(self.root / "first")
        _save_run(first, TINY)
        next(pathlib.Path(first).rglob("*.index")).write_bytes(b"")
        with self.assertRaisesRegex(errors.UserError, "step-0 is damaged"):
            self._train(init_from=first)
        self.assertFalse(os.path.exists(self.workdir))

    def test_init_from_has_no_windows(self):
        first = str(self.root / "first")
        _save_run(first, TINY)
        config = configs.override(TINY, ["train.window_share=0.5"])
        with self.assertRaisesRegex(
            errors.UserError, "init_from=.*; add --set train.window_share=0$"
        ):
            self._train(config, init_from=first)
        self.assertFalse(os.path.exists(self.workdir))


if __name__ == "__main__":
    tf.test.main()
