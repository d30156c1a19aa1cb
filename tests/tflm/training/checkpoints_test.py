import pathlib
from unittest import mock

from absl.testing import parameterized
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm import losses
from tflm.losses import adversarial
from tflm.losses import perceptual
from tflm.models import landmark_model
from tflm.training import checkpoints
from tflm.training import optimizers
from tflm.training import steps

TINY = configs.override(
    configs.PRESETS["puppets"],
    [
        "model.image_size=32",
        "model.num_filters=4",
        "model.num_landmarks=3",
        "train.batch_size=2",
        "train.schedule=cosine",
        "train.num_steps=8",
    ],
)


def _state(loss: losses.Loss | None = None, config: configs.Config = TINY):
    """A model, its optimizer and a loss, all new."""
    tf.keras.utils.set_random_seed(0)
    model = landmark_model.LandmarkModel(config.model)
    optimizer = optimizers.adam(config.train)
    optimizer.build(model.trainable_variables)
    return model, optimizer, loss or losses.from_config(config.loss)


def _perceptual():
    return perceptual.PerceptualLoss(
        lambda images: [tf.nn.avg_pool2d(images, 2, 2, "VALID")], ["pool"]
    )


def _batches(num: int):
    def images(seed):
        return tf.random.stateless_uniform([2, 32, 32, 3], seed=(seed, 0))

    return [
        {
            "source": images(i),
            "target": images(99 + i),
            "seen": images(99 + i),
            "mask": tf.ones([2, 32, 32, 1]),
        }
        for i in range(num)
    ]


def _train(state, batches, config: configs.Config = TINY):
    # Step by step: compiling would take longer than these few steps.
    tf.config.run_functions_eagerly(True)
    try:
        step = steps.make_train_step(*state, config)
        for batch in batches:
            metrics = step(batch)
    finally:
        tf.config.run_functions_eagerly(False)
    return {name: float(value) for name, value in metrics.items()}


def _variables(state) -> dict[str, list[tf.Variable]]:
    model, optimizer, loss = state
    if isinstance(loss, adversarial.AdversarialLoss):
        loss_variables = loss.discriminator.weights + loss.optimizer.variables
    else:
        loss_variables = list(loss.variables)
    plateau = optimizer.plateau
    return {
        "model": model.variables,
        "optimizer": optimizer.variables,
        "loss": loss_variables,
        "plateau": list(plateau.variables) if plateau else [],
    }


class CheckpointsTest(parameterized.TestCase, tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.workdir = f"{self.create_tempdir_path()}/run"

    def create_tempdir_path(self) -> str:
        return str(pathlib.Path(self.get_temp_dir()) / self.id())

    @parameterized.named_parameters(
        ("perceptual", _perceptual, []),
        (
            "adversarial_on_a_plateau",
            lambda: losses.from_config(configs.LossConfig("adversarial_l1")),
            ["train.schedule=plateau", "train.patience_steps=1"],
        ),
    )
    def test_stop_and_resume_equals_an_uninterrupted_run(self, make, settings):
        config = configs.override(TINY, settings)
        batches = _batches(4)
        straight = _state(make(), config)
        expected = _train(straight, batches, config)

        first = _state(make(), config)
        _train(first, batches[:2], config)
        checkpoints.save(self.workdir, *first)
        second = _state(make(), config)
        step = checkpoints.restore_or_initialize(self.workdir, *second)
        for name, variables in _variables(first).items():
            for saved, read in zip(variables, _variables(second)[name]):
                self.assertAllEqual(saved, read)
        found = _train(second, batches[2:], config)

        self.assertEqual(step, 2)
        self.assertAllClose(found, expected, rtol=1e-5)
        for name, variables in _variables(straight).items():
            for one, other in zip(variables, _variables(second)[name]):
                self.assertAllClose(one, other, atol=1e-5)

    def test_restore_model_loads_the_newest_weights(self):
        state = _state()
        _train(state, _batches(1))
        checkpoints.save(self.workdir, *state)
        other = landmark_model.LandmarkModel(TINY.model)
        self.assertEqual(checkpoints.restore_model(self.workdir, other), 1)
        for saved, read in zip(state[0].variables, other.variables):
            self.assertAllEqual(saved, read)

    def test_two_checkpoints_are_kept(self):
        state = _state()
        for step in range(1, 5):
            state[1].iterations.assign(step)
            checkpoints.save(self.workdir, *state)
        names = sorted(
            path.stem for path in pathlib.Path(self.workdir).rglob("*.index")
        )
        self.assertEqual(names, ["step-3", "step-4"])
        newest = checkpoints.newest(self.workdir)
        self.assertEqual(newest, f"{self.workdir}/checkpoints/step-4")

    def test_no_checkpoint_is_said(self):
        model = landmark_model.LandmarkModel(TINY.model)
        with self.assertRaisesRegex(FileNotFoundError, "no checkpoint in"):
            checkpoints.restore_model(self.workdir, model)

    def test_a_checkpoint_cut_short_is_named(self):
        state = _state()
        checkpoints.save(self.workdir, *state)
        for pattern in ("*.data*", "*.index"):
            file = next(pathlib.Path(self.workdir).rglob(pattern))
            file.write_bytes(file.read_bytes()[:-200])
            with (
                self.subTest(pattern),
                self.assertRaisesRegex(
                    errors.UserError, "step-0 is damaged; remove .*step-0"
                ),
            ):
                checkpoints.restore_model(self.workdir, state[0])

    def test_a_checkpoint_of_another_model_is_refused(self):
        checkpoints.save(self.workdir, *_state())
        bigger = configs.override(TINY, ["model.num_filters=8"])
        model = landmark_model.LandmarkModel(bigger.model)
        with self.assertRaisesRegex(errors.UserError, "does not fit"):
            checkpoints.restore_model(self.workdir, model)

    def test_a_workdir_remembers_its_config(self):
        with checkpoints.claimed(self.workdir, TINY):
            self.assertEqual(checkpoints.load_config(self.workdir), TINY)
        with checkpoints.claimed(self.workdir, TINY):
            pass

    def test_a_run_that_never_started_may_change_its_settings(self):
        changed = configs.override(TINY, ["train.learning_rate=0.5"])
        for config in (TINY, changed):
            with checkpoints.claimed(self.workdir, config):
                pass
        self.assertEqual(checkpoints.load_config(self.workdir), changed)

    @parameterized.parameters(
        (
            "cosine",
            0.0,
            "train.learning_rate=0.5",
            "learning_rate is 0.003, now 0.5",
        ),
        ("cosine", 0.0, "train.num_steps=9", "train.num_steps is 8, now 9"),
        ("constant", 0.0, "train.num_steps=7", "train.num_steps is 8, now 7"),
        ("constant", 0.5, "train.num_steps=9", "train.num_steps is 8, now 9"),
    )
    def test_other_settings_are_refused_and_named(
        self, schedule, window_share, other, message
    ):
        config = configs.override(
            TINY,
            [
                f"train.schedule={schedule}",
                f"train.window_share={window_share}",
            ],
        )
        with checkpoints.claimed(self.workdir, config):
            checkpoints.save(self.workdir, *_state())
        # What may change does not let the rest through.
        changed = configs.override(config, [other, "train.log_every=7"])
        with (
            self.assertRaisesRegex(errors.UserError, f"settings: .*{message};"),
            checkpoints.claimed(self.workdir, changed),
        ):
            pass
        self.assertEqual(checkpoints.load_config(self.workdir), config)

    @parameterized.parameters(
        ("cosine", "log_every"),
        ("cosine", "image_every"),
        ("cosine", "save_every"),
        ("constant", "num_steps"),
    )
    def test_what_is_no_part_of_the_weights_may_change(self, schedule, field):
        config = configs.override(TINY, [f"train.schedule={schedule}"])
        with checkpoints.claimed(self.workdir, config):
            checkpoints.save(self.workdir, *_state())
        changed = configs.override(config, [f"train.{field}=5000"])
        with checkpoints.claimed(self.workdir, changed):
            pass
        self.assertEqual(checkpoints.load_config(self.workdir), changed)

    def test_other_data_and_other_first_weights_are_refused(self):
        one, other = {"clips": 12, "bytes": 34}, {"clips": 12, "bytes": 35}
        with checkpoints.claimed(self.workdir, TINY, other, "runs/b"):
            pass  # It never started.
        with checkpoints.claimed(self.workdir, TINY, one, "runs/a/"):
            checkpoints.save(self.workdir, *_state())
        for data, init_from in ((one, "runs/a"), (one, None), (None, None)):
            with checkpoints.claimed(self.workdir, TINY, data, init_from):
                pass
        for data, init_from, message in (
            (other, None, "clips 12 bytes 34, now clips 12 bytes 35; name the"),
            (one, "runs/b", "from runs/a, not from --init_from=runs/b; choose"),
        ):
            with (
                self.assertRaisesRegex(errors.UserError, message),
                checkpoints.claimed(self.workdir, TINY, data, init_from),
            ):
                pass

    def test_a_run_begun_from_new_weights_takes_no_others(self):
        data = {"clips": 12}
        with checkpoints.claimed(self.workdir, TINY, data):
            checkpoints.save(self.workdir, *_state())
        with (
            self.assertRaisesRegex(errors.UserError, "begun from new weights"),
            checkpoints.claimed(self.workdir, TINY, data, "runs/a"),
        ):
            pass

    def test_foreign_files_are_passed_over_and_stay(self):
        state = _state()
        state[1].iterations.assign(1)
        checkpoints.save(self.workdir, *state)
        folder = pathlib.Path(self.workdir, "checkpoints")
        foreign = [
            "step-18000 (1).index",
            "step-18000 (1).data-00000-of-00001",
            "step-100.index.conflict",
            "step-abc.index",
            "step-.index",
            "step-\N{SUPERSCRIPT TWO}.index",
            "._step-100.index",
            ".DS_Store",
        ]
        for name in foreign:
            (folder / name).touch()
        (folder / "step-2 (1)").mkdir()
        (pathlib.Path(self.workdir).parent / ".DS_Store").touch()

        newest = checkpoints.newest(self.workdir)
        self.assertEqual(newest, f"{folder}/step-1")
        self.assertEqual(
            checkpoints.restore_or_initialize(self.workdir, *state), 1
        )
        root = str(pathlib.Path(self.workdir).parent)
        self.assertEqual(checkpoints.newest_workdir(root), self.workdir)
        for step in range(2, 5):
            state[1].iterations.assign(step)
            checkpoints.save(self.workdir, *state)
        self.assertContainsSubset(
            [*foreign, "step-2 (1)"], [path.name for path in folder.iterdir()]
        )
        self.assertFalse((folder / "step-2.index").exists())

    def test_a_checkpoint_removed_while_it_is_read_gives_way_to_the_next(self):
        state = _state()
        checkpoints.save(self.workdir, *state)
        other = landmark_model.LandmarkModel(TINY.model)
        read = tf.train.Checkpoint.read

        def removed(checkpoint, path):
            if path.endswith("step-0"):  # By a run that goes on.
                for step in (1, 2):
                    state[1].iterations.assign(step)
                    checkpoints.save(self.workdir, *state)
            return read(checkpoint, path)

        with mock.patch.object(tf.train.Checkpoint, "read", removed):
            self.assertEqual(checkpoints.restore_model(self.workdir, other), 2)
        for saved, found in zip(state[0].variables, other.variables):
            self.assertAllEqual(saved, found)

    def test_a_start_that_is_refused_leaves_what_was_there(self):
        data = {"clips": 12}
        for error in (errors.UserError, KeyboardInterrupt):
            with self.assertRaises(error):
                with checkpoints.claimed(f"{self.workdir}/deep", TINY, data):
                    raise error
            self.assertFalse(pathlib.Path(self.workdir).exists())
        with checkpoints.claimed(self.workdir, TINY, data):
            pass
        before = {
            path.name: path.read_bytes()
            for path in pathlib.Path(self.workdir).iterdir()
        }
        changed = configs.override(TINY, ["train.seed=5"])
        with self.assertRaises(errors.UserError):
            with checkpoints.claimed(self.workdir, changed, {"clips": 13}):
                raise errors.UserError
        after = {
            path.name: path.read_bytes()
            for path in pathlib.Path(self.workdir).iterdir()
        }
        self.assertEqual(after, before)

    def test_an_error_after_a_checkpoint_leaves_the_run(self):
        with self.assertRaises(errors.UserError):
            with checkpoints.claimed(self.workdir, TINY):
                checkpoints.save(self.workdir, *_state())
                raise errors.UserError
        self.assertEqual(checkpoints.load_config(self.workdir), TINY)

    def test_a_workdir_that_cannot_be_written_to_is_named(self):
        pathlib.Path(self.workdir).parent.mkdir(parents=True)
        pathlib.Path(self.workdir).touch()
        with (
            self.assertRaisesRegex(
                errors.UserError,
                f"^cannot write to {self.workdir}: Not a directory; choose"
                " another --workdir$",
            ),
            checkpoints.claimed(self.workdir, TINY),
        ):
            pass

    def test_one_process_evaluates_a_run_on_a_dataset(self):
        def evaluated(dataset):
            return checkpoints.evaluated(self.workdir, dataset)

        with (
            evaluated("puppets"),
            evaluated("smallnorb/car"),
            self.assertRaisesRegex(
                errors.UserError,
                f"^another process evaluates {self.workdir} on puppets; wait",
            ),
            evaluated("puppets"),
        ):
            pass
        with evaluated("puppets"):
            pass

    def test_what_a_save_that_was_cut_off_left_is_removed(self):
        state = _state()
        folder = pathlib.Path(self.workdir, "checkpoints")
        (folder / "step-7_temp").mkdir(parents=True)
        (folder / "step-7_temp" / "part").touch()
        (folder / "step-10.data-00000-of-00001").touch()
        state[1].iterations.assign(1)
        checkpoints.save(self.workdir, *state)
        names = sorted(path.name for path in folder.iterdir())
        self.assertEqual(names, ["step-1.data-00000-of-00001", "step-1.index"])

    def test_two_runs_in_one_workdir_are_refused(self):
        with (
            checkpoints.claimed(self.workdir, TINY),
            self.assertRaisesRegex(errors.UserError, "another process"),
            checkpoints.claimed(self.workdir, TINY),
        ):
            pass

    def test_a_folder_that_is_no_run_is_named(self):
        with self.assertRaisesRegex(FileNotFoundError, "is not a run"):
            checkpoints.load_config(self.workdir)

    def test_a_damaged_config_is_named(self):
        with checkpoints.claimed(self.workdir, TINY):
            pass
        path = pathlib.Path(self.workdir) / "config.json"
        whole = path.read_text()
        for content, message in (
            (whole[:40].encode(), "it is no JSON, "),
            (b"\xff\xfe", "it is no text"),
            (b"[" * 100_000, ""),
            (b"[]", "the file must have sections"),
            (whole.replace("num_l", "l").encode(), "model has no field"),
        ):
            path.write_bytes(content)
            with self.assertRaisesRegex(
                errors.UserError,
                f"config.json cannot be read: {message}.*; if a later version",
            ):
                checkpoints.load_config(self.workdir)

    @parameterized.parameters("{", "[]", "null", "{}", '{"data": 3}')
    def test_a_damaged_origin_is_named(self, content):
        with checkpoints.claimed(self.workdir, TINY, {"clips": 12}):
            checkpoints.save(self.workdir, *_state())
        path = pathlib.Path(self.workdir) / "origin.json"
        path.write_text(content)
        with (
            self.assertRaisesRegex(
                errors.UserError, "origin.json is damaged .*or remove it"
            ),
            checkpoints.claimed(self.workdir, TINY, {"clips": 12}),
        ):
            pass
        path.unlink()  # The remedy.
        with checkpoints.claimed(self.workdir, TINY, {"clips": 12}):
            pass

    def test_the_map_to_keypoints_is_in_the_workdir(self):
        path = checkpoints.keypoint_map_path("runs/faces")
        self.assertEqual(path, pathlib.Path("runs/faces/keypoints.npz"))

    def test_default_workdirs_are_apart_and_where_the_newest_is_sought(self):
        found = {checkpoints.default_workdir(name) for name in configs.PRESETS}
        self.assertLen(found, len(configs.PRESETS))
        parents = {pathlib.Path(workdir).parent for workdir in found}
        self.assertEqual(parents, {pathlib.Path("runs")})

    def test_newest_workdir(self):
        root = self.create_tempdir_path()
        with self.assertRaisesRegex(FileNotFoundError, "no trained run"):
            checkpoints.newest_workdir(root)
        for name in ("b", "a"):
            checkpoints.save(f"{root}/{name}", *_state())
        self.assertEqual(checkpoints.newest_workdir(root), f"{root}/a")


if __name__ == "__main__":
    tf.test.main()
