import dataclasses
import json

from absl.testing import absltest
from absl.testing import parameterized

from tflm import configs

PAPER = (
    "model.marginal=sum",
    "model.gaussian=paper",
    "model.initializer=normal",
    "loss.name=perceptual",
    "train.learning_rate=1e-2",
    "train.schedule=plateau",
    "train.decay_factor=0.1",
    "train.weight_decay=5e-4",
    "train.clip=global",
    "train.clip_norm=1",
)
RELEASED = (
    "model.marginal=mean",
    "model.gaussian=released",
    "model.initializer=truncated_normal",
    "loss.name=perceptual",
    "loss.scales=released",
    "train.learning_rate=1e-3",
    "train.schedule=staircase",
    "train.decay_factor=0.95",
    "train.decay_steps=100_000",
    "train.weight_decay=1e-5",
    "train.weight_decay_kind=l2",
    "train.clip=per_variable",
    "train.clip_norm=1",
)


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

    def test_a_field_that_an_earlier_version_had_not_has_its_default(self):
        values = json.loads(configs.to_json(configs.Config()))
        del values["model"]["padding"]
        values["train"]["clip_norm"] = 1  # As JSON of other programs has it.
        found = configs.from_json(json.dumps(values))
        self.assertEqual(found, configs.Config())


if __name__ == "__main__":
    absltest.main()
