import collections
import contextlib
import json
import pathlib
import shutil

import numpy as np
import tensorflow as tf

from data_prep.puppets import render
from tests import tiny_shards
from tflm import configs
from tflm import coords
from tflm import errors
from tflm.data import shards
from tflm.data import stills


def _copied(folder: pathlib.Path, version: str) -> pathlib.Path:
    """Shards of puppets below a new data folder."""
    built = pathlib.Path(tiny_shards.data_dir()) / "puppets" / "1.1.0"
    return shutil.copytree(built, folder / "puppets" / version)


@contextlib.contextmanager
def _changed_features(shards_dir: pathlib.Path):
    path = shards_dir / "features.json"
    features = json.loads(path.read_text())
    yield features["featuresDict"]["features"]
    path.write_text(json.dumps(features))


class ShardsTest(tf.test.TestCase):
    def test_facts_come_from_the_metadata(self):
        opened = tiny_shards.puppets()
        self.assertEqual(opened.keypoint_names, render.JOINTS)
        self.assertEqual(opened.left_right_swaps, render.LEFT_RIGHT_SWAPS)
        self.assertIsNone(opened.normalizing_pair)
        self.assertEqual(opened.num_clips("regression_test"), 4)

    def test_what_tells_data_apart_reads_the_same_from_a_file(self):
        identity = tiny_shards.puppets().identity("train")
        read = json.loads(json.dumps(identity))
        self.assertEqual(f"{read['bytes']}", f"{identity['bytes']}")

    def test_missing_shards_name_the_command(self):
        with self.assertRaisesRegex(
            FileNotFoundError,
            "python -m data_prep --dataset=celeba --data_dir=/nowhere",
        ):
            shards.open_shards("/nowhere", "celeba")

    def test_a_build_under_way_is_not_read(self):
        folder = pathlib.Path(self.get_temp_dir())
        built = pathlib.Path(tiny_shards.data_dir()) / "puppets" / "1.1.0"
        shutil.copytree(built, folder / "puppets" / "incomplete.X_1.1.0")
        with self.assertRaisesRegex(FileNotFoundError, "no shards of puppets"):
            shards.open_shards(str(folder), "puppets")

    def test_shards_of_an_earlier_version_are_named(self):
        folder = pathlib.Path(self.get_temp_dir())
        with _changed_features(_copied(folder, "1.0.0")) as parts:
            frame = parts["frames"]["sequence"]["feature"]["featuresDict"]
            del frame["features"]["scale"]
        with self.assertRaisesRegex(
            errors.UserError, r"puppets/1\.0\.0 was .* python -m data_prep"
        ):
            shards.open_shards(str(folder), "puppets")

    def test_what_data_prep_did_not_write_is_named(self):
        folder = pathlib.Path(self.get_temp_dir()) / "other"
        with _changed_features(_copied(folder, "3.0.0")) as parts:
            parts["views"] = parts.pop("frames")
        with self.assertRaisesRegex(
            errors.UserError, r"puppets/3\.0\.0 was not written by data_prep"
        ):
            shards.open_shards(str(folder), "puppets")

    def test_a_file_that_was_cut_short_is_told(self):
        folder = pathlib.Path(self.get_temp_dir()) / "short"
        copy = _copied(folder, "1.1.0")
        path = next(copy.glob("*test.tfrecord*"))
        size = sum(p.stat().st_size for p in copy.glob("*test.tfrecord*"))
        path.write_bytes(path.read_bytes()[:-1])
        with self.assertRaisesRegex(
            errors.UserError,
            f"{copy}: the files of test have {size - 1} bytes, not the {size}"
            " that were written; copy the whole folder",
        ):
            shards.open_shards(str(folder), "puppets")

    def test_a_missing_file_is_named(self):
        folder = pathlib.Path(self.get_temp_dir()) / "cut"
        path = next(_copied(folder, "1.1.0").glob("*test.tfrecord*"))
        path.unlink()
        with self.assertRaisesRegex(
            errors.UserError, f"{path.name} is missing; copy the whole folder"
        ):
            shards.open_shards(str(folder), "puppets")

    def test_an_unknown_role_is_named(self):
        with self.assertRaisesRegex(errors.UserError, "no pose images"):
            tiny_shards.puppets().clips("pose")

    def test_an_unknown_role_is_named_whatever_is_asked(self):
        opened = tiny_shards.puppets()
        for ask in (opened.identity, opened.num_frames, opened.num_clips):
            with self.assertRaisesRegex(
                errors.UserError, "puppets has no pose images; it has train"
            ):
                ask("pose")

    def test_damaged_descriptions_are_named(self):
        for number, (name, content, message) in enumerate(
            (
                ("dataset_info.json", "{", "dataset_info.json is damaged"),
                ("dataset_info.json", "{}", "1.1.0 is damaged: "),
                ("dataset_info.json", "[]", "1.1.0 is damaged: "),
                ("features.json", "", "features.json is damaged"),
                ("features.json", "{}", "1.1.0 is damaged: "),
                ("metadata.json", '{"splits"', "metadata.json is damaged"),
                ("metadata.json", "{}", "lacks 'normalizing_pair'"),
                ("metadata.json", None, "metadata.json is missing"),
                ("features.json", None, "features.json is missing"),
            )
        ):
            folder = pathlib.Path(self.get_temp_dir()) / f"damaged{number}"
            path = _copied(folder, "1.1.0") / name
            path.unlink()
            if content is not None:
                path.write_text(content)
            with (
                self.subTest(f"{name} {content}"),
                self.assertRaisesRegex(
                    errors.UserError,
                    f"{message}.*; copy the whole folder .*or remove it and"
                    " build it again with: python -m data_prep",
                ),
            ):
                shards.open_shards(str(folder), "puppets")

    def test_copies_of_a_build_are_passed_over(self):
        folder = pathlib.Path(self.get_temp_dir()) / "copies"
        _copied(folder, "1.1.0")
        for name in ("2.0.0 (1)", "\N{SUPERSCRIPT TWO}.0.0"):
            _copied(folder, name)
        opened = shards.open_shards(str(folder), "puppets")
        self.assertEndsWith(str(opened.builder.data_dir), "1.1.0")

    def test_stills_are_all_frames_with_their_own_keypoints(self):
        config = configs.override(
            configs.PRESETS["puppets"], ["model.image_size=128"]
        )
        opened = tiny_shards.puppets()
        batches = list(stills.stills(config, opened, "regression_test", 5))
        ids = np.concatenate([batch["clip_id"] for batch in batches])
        counts = collections.Counter(ids.tolist())
        self.assertEqual(set(counts.values()), {8})
        self.assertLen(counts, 4)
        # The test split's seeds end in (2, clip), see the builder.
        clip = int(ids[0].decode().rpartition("_")[2])
        images, joints = render.render_clip((0, 2, clip), 8)
        difference = np.abs(batches[0]["image"][0] - images[0] / 255.0)
        self.assertLess(difference.mean(), 0.01)  # JPEG.
        self.assertAllClose(
            coords.to_pixels(batches[0]["keypoints"], (128, 128)),
            joints[:5],
            atol=1e-3,
        )

    def test_a_damaged_file_is_named(self):
        folder = pathlib.Path(self.get_temp_dir(), "damaged")
        (path,) = _copied(folder, "1.1.0").glob("*-test.tfrecord*")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        opened = shards.open_shards(str(folder), "puppets")

        with self.assertRaisesRegex(
            errors.UserError, f"^{path} is damaged; copy the whole folder"
        ):
            with shards.naming_damage(opened):
                list(opened.clips("regression_test"))


if __name__ == "__main__":
    tf.test.main()
