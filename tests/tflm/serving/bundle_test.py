import dataclasses
import json
import pathlib
import shutil
import sys
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf

from tests import tiny_shards
from tests.tflm.serving import lively_model
from tflm import errors
from tflm.data import shards as shards_lib
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import bundle
from tflm.serving import onnx_file
from tflm.serving import saved_model
from tflm.serving import tflite

_MAP = keypoint_maps.KeypointMap(
    ("head",), np.ones([6, 1, 2], np.float32), np.zeros([1, 2], np.float32)
)
_IMAGES = [lively_model.images(*shape) for shape in [(40, 90), (32, 32)]]


def _wrong_by(number):
    """A `load` whose model answers `number` too much."""

    def load(path):
        del path
        return lambda images: {
            name: output + np.float32(number)
            for name, output in bundle.detector.detect_in_view(
                images, _wrong_by.model
            ).items()
        }

    return load


class BundleTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = lively_model.build()
        _wrong_by.model = cls.model
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.written = pathlib.Path(scratch.name) / "written"
        cls.exports = bundle.export(
            cls.model,
            lively_model.CONFIG,
            _IMAGES,
            str(cls.written),
            keypoint_map=_MAP,
            onnx=True,
        )

    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.parent = pathlib.Path(scratch.name)
        self.output_dir = self.parent / "export"

    def _export(self, output_dir=None, **options):
        """Exports, but copies what it would take seconds to convert."""

        def copy_folder(folder, *_):
            shutil.copytree(self.written / "saved_model" / "1", folder)

        def copy_file(file, *_):
            shutil.copy(self.written / f"detector{file.suffix}", file)

        with (
            mock.patch.object(saved_model, "write", copy_folder),
            mock.patch.object(tflite, "write", copy_file),
            mock.patch.object(onnx_file, "write", copy_file),
        ):
            return bundle.export(
                self.model,
                lively_model.CONFIG,
                _IMAGES,
                str(output_dir or self.output_dir),
                **options,
            )

    def _write_earlier_export(self):
        self.output_dir.mkdir()
        (self.output_dir / "detector.tflite").write_text("earlier")

    def _everything(self) -> list[str]:
        return sorted(
            path.relative_to(self.parent).as_posix()
            for path in self.parent.rglob("*")
        )

    def test_all_models_are_written_and_agree_with_keras(self):
        self.assertEqual(
            [export.name for export in self.exports],
            ["saved_model/1", "detector.tflite", "detector.onnx"],
        )
        for export in self.exports:
            self.assertLess(export.difference, 1e-5)
            self.assertLess(export.max_px, 1e-3)
            self.assertGreater(export.milliseconds, 0.0)
        for export in self.exports[1:]:
            size = (self.written / export.name).stat().st_size
            self.assertEqual(export.num_bytes, size)
        self.assertEqual(
            sorted(path.name for path in self.written.iterdir()),
            ["detector.onnx", "detector.tflite", "export.json", "saved_model"],
        )
        self.assertEqual(list(self.written.parent.iterdir()), [self.written])

    def test_keypoints_that_differ_are_not_exported(self):
        other = dataclasses.replace(_MAP, bias=np.ones([1, 2], np.float32))
        with self.assertRaisesRegex(
            errors.UserError, "by 0.49 in another output"
        ):
            self._export(keypoint_map=other)
        self._export(keypoint_map=_MAP)

    def test_what_is_there_can_be_read_later(self):
        report = json.loads((self.written / "export.json").read_text())

        self.assertEqual(report["num_images"], 2)
        self.assertEqual(
            report["exports"],
            [dataclasses.asdict(export) for export in self.exports],
        )

    def test_both_models_run_where_they_were_put(self):
        cropped = dataclasses.replace(
            lively_model.CONFIG,
            data=dataclasses.replace(
                lively_model.CONFIG.data, crop_fraction=0.8
            ),
        )

        bundle.export(self.model, cropped, _IMAGES, str(self.output_dir))

        image = _IMAGES[0][None]
        answer = saved_model.load(self.output_dir / "saved_model/1")(image)
        view = bundle.views.square(image / np.float32(255.0), cropped).numpy()
        in_view = tflite.load(self.output_dir / "detector.tflite")(view)
        # The view is rows and columns 4 to 35 of 40, which are squeezed from
        # 40 x 90 pixels (H x W).
        x, y = np.moveaxis(in_view["landmarks"], -1, 0)
        expected_x = ((31 * x + 4.5) / 40 * 90 - 0.5) / 89
        expected_y = ((31 * y + 4.5) / 40 * 40 - 0.5) / 39
        self.assertAllClose(
            answer["landmarks"],
            np.stack([expected_x, expected_y], axis=-1),
            atol=1e-5,
        )

    def test_an_earlier_export_gets_a_new_version(self):
        self._write_earlier_export()
        (self.output_dir / "detector_int8.tflite").write_text("earlier")
        self._export(onnx=True)
        self.assertGreater(
            (self.output_dir / "detector.onnx").stat().st_size, 1_000
        )

        again = self._export(keep_versions=1)

        self.assertEqual(again[0].name, "saved_model/2")
        content = (self.output_dir / "detector.tflite").read_bytes()
        self.assertGreater(len(content), 1_000)
        self.assertEqual(
            sorted(path.name for path in self.output_dir.iterdir()),
            ["detector.tflite", "export.json", "saved_model"],
        )
        (version,) = (self.output_dir / "saved_model").iterdir()
        self.assertEqual(version.name, "2")

    def test_a_model_that_differs_leaves_nothing_behind(self):
        with mock.patch.object(tflite, "load", _wrong_by(0.01)):
            with self.assertRaisesRegex(
                errors.UserError,
                "detector.tflite differs from Keras by 1.8 px at most",
            ):
                self._export(output_dir=self.parent / "new" / "export")

        self.assertEmpty(self._everything())

    def test_a_model_that_differs_keeps_the_earlier_export(self):
        self._write_earlier_export()

        with mock.patch.object(tflite, "load", _wrong_by(0.01)):
            with self.assertRaisesRegex(errors.UserError, "nothing was"):
                self._export()

        self.assertEqual(
            self._everything(), ["export", "export/detector.tflite"]
        )
        kept = (self.output_dir / "detector.tflite").read_text()
        self.assertEqual(kept, "earlier")

    def test_an_onnx_file_that_differs_keeps_the_earlier_export(self):
        self._write_earlier_export()
        (self.output_dir / "detector.onnx").write_text("earlier")

        with mock.patch.object(onnx_file, "load", _wrong_by(5e-4)):
            with self.assertRaisesRegex(
                errors.UserError,
                "detector.onnx differs from Keras by 0.09 px at most, more than"
                " 0.02; nothing was exported",
            ):
                self._export(onnx=True)

        self.assertEqual(
            self._everything(),
            ["export", "export/detector.onnx", "export/detector.tflite"],
        )
        kept = (self.output_dir / "detector.onnx").read_text()
        self.assertEqual(kept, "earlier")

    def test_without_a_package_for_onnx_nothing_is_exported(self):
        self._write_earlier_export()
        with mock.patch.dict(sys.modules, {"tf2onnx": None}):
            with self.assertRaisesRegex(
                errors.UserError, "--onnx needs the package tf2onnx; pip"
            ):
                self._export(onnx=True)
        self.assertEqual(
            self._everything(), ["export", "export/detector.tflite"]
        )

    def test_a_small_difference_passes_and_is_reported(self):
        with mock.patch.object(tflite, "load", _wrong_by(1e-4)):
            _, lite = self._export()

        self.assertAllClose(lite.difference, 1e-4, atol=1e-6)
        self.assertAllClose(lite.max_px, 127 * np.sqrt(2) * 1e-4, atol=1e-4)

    def test_a_kind_of_less_precision_may_differ_more(self):
        with mock.patch.object(tflite, "load", _wrong_by(5e-4)):
            with self.assertRaisesRegex(errors.UserError, "more than 0.02;"):
                self._export()
            self._export(kinds=["float16"])
        self.assertEqual(
            sorted(path.name for path in self.output_dir.iterdir()),
            ["detector_float16.tflite", "export.json", "saved_model"],
        )

    def test_settings_that_make_no_sense_are_named(self):
        for options, message in (
            (dict(kinds=["int4"]), "--quantize: unknown kind 'int4'; choose"),
            (
                dict(keep_versions=0),
                "--keep_versions must be at least 1, got 0",
            ),
        ):
            with self.assertRaisesRegex(errors.UserError, message):
                self._export(**options)
        self.assertEmpty(self._everything())

    def test_answers_that_are_not_numbers_are_not_exported(self):
        with mock.patch.object(tflite, "load", _wrong_by(np.nan)):
            with self.assertRaisesRegex(errors.UserError, "by nan"):
                self._export()

        self.assertEmpty(self._everything())

    def test_an_interrupted_export_leaves_nothing_behind(self):
        with mock.patch.object(tflite, "load", side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                self._export(output_dir=self.parent / "new" / "export")

        self.assertEmpty(self._everything())

    def test_a_full_disk_is_named_and_nothing_left(self):
        full = tf.errors.ResourceExhaustedError(
            None, None, "export/variables; No space left on device"
        )
        with mock.patch.object(tf.saved_model, "save", side_effect=full):
            with self.assertRaisesRegex(
                errors.UserError, "cannot write .*: No space left on device; "
            ):
                bundle.export(
                    self.model,
                    lively_model.CONFIG,
                    _IMAGES,
                    str(self.output_dir),
                )

        self.assertEmpty(self._everything())

    def test_a_model_without_landmarks_is_refused(self):
        config = dataclasses.replace(
            lively_model.CONFIG,
            model=dataclasses.replace(
                lively_model.CONFIG.model, bottleneck="fully_connected"
            ),
        )
        model = landmark_model.LandmarkModel(config.model)
        with self.assertRaisesRegex(
            errors.UserError, "bottleneck=fully_connected has no landmarks"
        ):
            bundle.export(model, config, _IMAGES, str(self.output_dir))
        self.assertEmpty(self._everything())


class SampleImagesTest(tf.test.TestCase):
    def test_images_are_as_stored_and_of_the_validation_role(self):
        shards = tiny_shards.puppets()

        images = bundle.sample_images(shards)

        clips = list(shards.clips("val"))
        self.assertLen(images, len(clips))
        for image, clip in zip(images, clips):
            stored = tf.io.decode_image(clip["frames"]["image"][0])
            self.assertEqual(image.dtype, np.uint8)
            self.assertAllEqual(image, stored)

    def test_without_validation_images_others_are_taken(self):
        shards = tiny_shards.puppets()
        splits = {"train": shards.splits["train"], "val": "not_there"}

        images = bundle.sample_images(
            dataclasses.replace(shards, splits=splits), num_images=3
        )

        self.assertLen(images, 3)
        first = next(iter(shards.clips("train")))["frames"]["image"][0]
        self.assertAllClose(images[0] / 255.0, shards_lib.decode(first))

    def test_a_seed_gives_the_same_images_again(self):
        shards = tiny_shards.puppets()
        first, again = (
            bundle.sample_images(shards, 4, bundle.CALIBRATION, shuffle_seed=0)
            for _ in range(2)
        )
        self.assertAllEqual(first, again)
        stored = next(iter(shards.clips("train")))["frames"]["image"][0]
        self.assertEqual(first[0].shape, shards_lib.decode(stored).shape)

    def test_a_dataset_without_images_is_named(self):
        shards = dataclasses.replace(tiny_shards.puppets(), splits={})

        with self.assertRaisesRegex(errors.UserError, "puppets has no"):
            bundle.sample_images(shards)


if __name__ == "__main__":
    tf.test.main()
