import dataclasses
import json

from absl.testing import absltest
from absl.testing import parameterized

from tflm import configs

# Each choice of a recipe, and where it is found.
PAPER = {
    "data.still_pairs=independent": "sec. 4.1: g1 x0, g2 x0",
    "model.marginal=sum": "sec. 3.1, below eq. 1",
    "model.gaussian=paper": "eq. 2",
    "model.heatmap_sigma=0.1": "sec. 3.1",
    "model.initializer=normal": "sec. 4.1",
    "model.image_size=128": "sec. 4.1",
    "model.num_filters=32": "sec. 4.1",
    "model.context_convs=0": "sec. 4.1",
    "model.last_convs=2": "sec. 4.1: blocks of two convolutions",
    "loss.name=perceptual": "sec. 3.2",
    "loss.equivariance_weight=0": "end of sec. 2: not used",
    "loss.separation_weight=0": "not in the paper",
    "train.learning_rate=1e-2": "sec. 4.1",
    "train.schedule=plateau": "sec. 4.1",
    "train.decay_factor=0.1": "sec. 4.1",
    "train.weight_decay=5e-4": "sec. 4.1",
    "train.clip=global": "sec. 4.1",
    "train.clip_norm=1": "sec. 4.1",
    "train.window_share=0": "not in the paper",
}
RELEASED = {
    "data.still_pairs=chained": "dataset: the source is a warp of the target",
    "data.warp_fill=zero": "sampler",
    "model.marginal=mean": "get_coord",
    "model.gaussian=released": "get_gaussian_maps",
    "model.heatmap_sigma=0.1": "configuration",
    "model.initializer=truncated_normal": "conv",
    "model.image_size=128": "configuration",
    "model.num_filters=32": "configuration",
    "model.last_convs=1": "simple_renderer",
    "loss.name=perceptual": "configuration",
    "loss.scales=released": "perceptual loss",
    "loss.equivariance_weight=0": "there is none",
    "loss.separation_weight=0": "there is none",
    "train.batch_size=50": "configuration",
    "train.learning_rate=1e-3": "configuration",
    "train.schedule=staircase": "configuration",
    "train.decay_factor=0.95": "configuration",
    "train.decay_steps=100_000": "configuration",
    "train.weight_decay=1e-5": "configuration",
    "train.weight_decay_kind=l2": "conv",
    "train.clip=per_variable": "trainer",
    "train.clip_norm=1": "trainer",
    "target_warp.translation=0.1": "TPSRandomSampler",
    "target_warp.bend_all=0.001": "TPSRandomSampler",
    "target_warp.bend_half=0.005": "TPSRandomSampler",
    "source_warp.rotation=5": "TPSRandomSampler",
    "source_warp.scale=0.1": "TPSRandomSampler",
    "source_warp.translation=0.1": "TPSRandomSampler",
    "source_warp.bend_all=0.001": "TPSRandomSampler",
    "source_warp.bend_half=0.01": "TPSRandomSampler",
}


class ConfigsTest(parameterized.TestCase):
    @parameterized.parameters(*configs.PRESETS)
    def test_json_round_trip(self, name):
        config = configs.PRESETS[name]
        self.assertEqual(configs.from_json(configs.to_json(config)), config)

    @parameterized.parameters("released", "paper")
    def test_presets_of_a_recipe_differ_in_their_data_only(self, recipe):
        presets = [
            preset
            for name, preset in configs.PRESETS.items()
            if name.endswith(f"_{recipe}")
        ]
        self.assertGreater(len(presets), 10)
        for preset in presets:
            is_still = preset.data.pairs == "tps"
            self.assertEqual(preset.source_warp != configs.NO_WARP, is_still)
            num_landmarks = presets[0].model.num_landmarks
            model = dataclasses.replace(
                preset.model, num_landmarks=num_landmarks
            )
            self.assertEqual(model, presets[0].model)
            self.assertEqual(preset.loss, presets[0].loss)
            self.assertEqual(preset.train, presets[0].train)

    @parameterized.parameters(("paper", PAPER), ("released", RELEASED))
    def test_a_recipe_has_the_values_of_its_source(self, recipe, values):
        preset = configs.PRESETS[f"celeba_{recipe}"]
        stated = configs.override(preset, values)
        self.assertEmpty(configs.differences(preset, stated))

    def test_override_replaces_one_field(self):
        old = configs.PRESETS["celeba"]
        new = configs.override(old, ["model.num_landmarks=10"])
        self.assertEqual(
            configs.differences(old, new),
            ["model.num_landmarks is 30, now 10"],
        )

    def test_settings_that_are_valid_together_come_in_any_order(self):
        gaps = ["data.min_gap=60", "data.max_gap=90"]
        preset = configs.PRESETS["human36m"]
        one = configs.override(preset, gaps)
        self.assertEqual((one.data.min_gap, one.data.max_gap), (60, 90))
        self.assertEqual(configs.override(preset, gaps[::-1]), one)

    def test_an_int_serves_as_a_float(self):
        config = configs.override(configs.Config(), ["train.clip_norm=2"])
        self.assertIsInstance(config.train.clip_norm, float)

    @parameterized.parameters(
        ("model.landmarks=3", "no such setting: 'model.landmarks'"),
        ("models.num_landmarks=3", "no such setting: 'models.num_landmarks'"),
        ("num_landmarks=3", "no such setting: 'num_landmarks'"),
        ("model.num_landmarks=ten", "model.num_landmarks is int, got 'ten'"),
        ("model.num_landmarks=1.5", "model.num_landmarks is int, got '1.5'"),
        ("train.clip_norm=True", "train.clip_norm is float, got 'True'"),
        ("model.num_landmarks", "model.num_landmarks needs a value"),
        (
            "model.image_size=100",
            "image_size must be one of 32, 64, 128, 256; got 100",
        ),
        (
            "model.image_size=48",
            "image_size must be one of 32, 64, 128, 256; got 48",
        ),
        ("model.heatmap_sigma=0", "heatmap_sigma must be positive, got 0.0"),
        ("train.window_share=2", r"window_share must be in \[0, 1\], got 2.0"),
        ("train.clip=both", "clip must be one of global, per_variable, none"),
        ("train.seed=2147483648", "seed must be less than .*, got 2147483648"),
        ("data.max_gap=0", "max_gap must be at least min_gap"),
    )
    def test_a_bad_override_names_the_setting(self, assignment, message):
        with self.assertRaisesRegex(ValueError, message):
            configs.override(configs.Config(), [assignment])

    @parameterized.parameters(
        ("{", "Expecting property name"),
        ('{"modell": {}}', "the file has no section 'modell'"),
        ('{"model": {}}', "it lacks the section 'data'"),
        ("[]", r"the file must have sections, got '\[\]'"),
        ("null", "the file must have sections, got 'None'"),
    )
    def test_a_bad_file_raises_value_error(self, text, message):
        with self.assertRaisesRegex(ValueError, message):
            configs.from_json(text)

    @parameterized.parameters(
        ({"size": 3}, "model has no field 'size'"),
        ({"image_size": 3}, "image_size must be one of"),
        ({"image_size": "32"}, "model.image_size is int, got '32'"),
        ({"num_landmarks": True}, "model.num_landmarks is int, got True"),
        ({"padding": None}, "model.padding is str, got None"),
        (["image_size"], "model must have fields, got"),
    )
    def test_a_bad_section_is_told_in_words(self, section, message):
        values = json.loads(configs.to_json(configs.Config()))
        values["model"] = section
        with self.assertRaisesRegex(ValueError, message):
            configs.from_json(json.dumps(values))

    @parameterized.parameters(
        (["data.pairs=video"], "needs a view_warp unless"),
        (["data.still_pairs=independent"], "needs a view_warp unless"),
        (
            [f"source_warp.{part}=0" for part in vars(configs.NO_WARP)],
            "needs a view_warp unless",
        ),
        (["model.bottleneck=fully_connected"], "has no landmarks"),
    )
    def test_equivariance_needs_landmarks_and_a_known_warp(
        self, settings, message
    ):
        weight = "loss.equivariance_weight=1"
        configs.override(configs.Config(), [weight])
        with self.assertRaisesRegex(ValueError, message):
            configs.override(configs.Config(), [*settings, weight])

    def test_a_field_that_an_earlier_version_had_not_has_its_default(self):
        values = json.loads(configs.to_json(configs.Config()))
        del values["model"]["padding"], values["view_warp"]
        values["train"]["clip_norm"] = 1  # As JSON of other programs has it.
        found = configs.from_json(json.dumps(values))
        self.assertEqual(found, configs.Config())


if __name__ == "__main__":
    absltest.main()
