import json
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np

from tflm import configs
from tflm import errors
from tflm.evaluation import comparison
from tflm.training import checkpoints

IDS = np.array(["a", "b", "c", "d"])


def _run(workdir, image_errors, validation=None, **changes):
    """A run whose errors without bias are `image_errors`, percent."""
    image_errors = np.array(image_errors, float)
    found = {
        "dataset": "celeba",
        "trained_on": "celeba",
        "step": 7,
        "num_landmarks": 30,
        "no_annotations": None,
        "nme_percent": {"no_bias": float(image_errors.mean()), "bias": 1.0},
        "intervals": {"nme_percent": {"no_bias": [0.5, 9.5]}},
        "validation": validation
        and {"nme_percent": {"no_bias": validation, "bias": 1.0}},
        "num_test": 4,
    }
    ids = {"clip_ids": IDS, "videos": IDS, "index": np.zeros([4], int)}
    return comparison.Run(
        workdir,
        configs.PRESETS["celeba"],
        found | changes,
        {"nme_percent": image_errors[:, None], **ids},
    )


class CompareTest(absltest.TestCase):
    def test_the_run_is_chosen_by_validation_not_by_test(self):
        runs = [
            _run("first", [4, 4, 4, 4], validation=6.0),
            _run("second", [5, 6, 7, 6], validation=5.0),
        ]
        compared = comparison.compare(runs)
        self.assertEqual(compared["selected"], "second")
        (difference,) = compared["differences"]
        self.assertEqual(difference["workdir"], "second")
        self.assertAlmostEqual(difference["mean"], 2.0)
        # All four differ to one side: so do 2 of 16 flips.
        self.assertAlmostEqual(difference["p"], 2 / 16, delta=0.02)

        text = "\n".join(
            table.markdown() for table in comparison.tables_of(compared)
        )
        self.assertRegex(
            text, r"second +\| 2\.00 \(1\.25 to 2\.75\) \| 0\.1\d\d\d"
        )
        self.assertRegex(text, r"first +\| celeba .* 4\.00 \(0\.50 to 9\.50\)")
        self.assertRegex(text, r"second \(chosen\) .* 5\.00 \| +4 \| measured")
        # Table 1: with K = 30 of CelebA, of VoxCeleb with bias.
        self.assertRegex(text, r"Jakab.* 30 \| +2\.58 \| .*1,000 \| published")
        self.assertRegex(text, r"Jakab.* voxceleb .* 30 \| +- \| +3\.63 \|")
        self.assertNotRegex(text, r"Jakab.* 6\.31 ")  # That is of AFLW.

    def test_validation_without_the_normalising_pair_chooses_none(self):
        runs = [_run("first", [4] * 4), _run("second", [5] * 4)]
        for run in runs:
            run.found["validation"] = {"nme_percent": {"no_bias": None}}

        self.assertIsNone(comparison.compare(runs)["selected"])

    def test_without_validation_images_none_is_chosen(self):
        compared = comparison.compare([_run("a", [1] * 4), _run("b", [2] * 4)])
        self.assertIsNone(compared["selected"])
        text = comparison.tables_of(compared)[0].markdown()
        self.assertNotIn("chosen", text)

    def test_runs_on_other_images_are_refused(self):
        other = _run("b", [1] * 4)
        other.image_errors["index"][2] = 9
        with self.assertRaisesRegex(
            errors.UserError, "b and a were scored on other images; evaluate"
        ):
            comparison.compare([_run("a", [1] * 4), other])

    def test_what_has_no_annotations_is_not_compared(self):
        runs = [_run(name, [1] * 4, no_annotations="none") for name in "ab"]
        with self.assertRaisesRegex(errors.UserError, "not be compared: none"):
            comparison.compare(runs)


class FilesTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )

    def _claim(self, name, dataset):
        workdir = str(self.root / name)
        with checkpoints.claimed(workdir, configs.PRESETS[dataset]):
            return workdir

    def test_what_cannot_be_compared_is_refused_at_once(self):
        faces = self._claim("faces", "celeba")
        puppets = self._claim("puppets", "puppets")
        comparison.check([faces, puppets], "celeba")
        comparison.check([faces], None)
        with self.assertRaisesRegex(
            errors.UserError, "celeba .*faces.*, puppets .* --eval_dataset$"
        ):
            comparison.check([faces, puppets], None)
        with self.assertRaisesRegex(errors.UserError, "named twice"):
            comparison.check([faces, f"{self.root}/./faces"], None)
        with self.assertRaisesRegex(FileNotFoundError, "is not a run"):
            comparison.check([faces, str(self.root / "none")], "celeba")

    def test_damaged_numbers_are_named(self):
        folder = self.root / "run" / "eval" / "puppets"
        folder.mkdir(parents=True)
        for metrics, message in (
            ("{", "metrics.json cannot be read: .*; write it again with"),
            ("[]", "metrics.json cannot be read"),
            ('{"no_annotations": null}', "image_errors.npz cannot be read"),
        ):
            (folder / "metrics.json").write_text(metrics)
            (folder / "image_errors.npz").write_bytes(b"PK\x03\x04")
            with self.assertRaisesRegex(errors.UserError, message):
                comparison.load(str(self.root / "run"), "puppets")

    def test_numbers_and_tables_are_written(self):
        compared = comparison.compare([_run("a", [1] * 4), _run("b", [2] * 4)])
        numbers, text = comparison.write(self.root, compared)
        self.assertEqual(json.loads(numbers.read_text()), compared)
        self.assertIn("| b", text.read_text())


if __name__ == "__main__":
    absltest.main()
