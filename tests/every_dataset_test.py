"""Every dataset, from dummy raw data to exported files, and pixel by pixel."""

import dataclasses
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from data_prep import build
from tflm import configs
from tflm import losses
from tflm.data import shards as shards_lib
from tflm.data import stills
from tflm.data import warps
from tflm.evaluation import report
from tflm.models import landmark_model
from tflm.serving import bundle
from tflm.training import checkpoints
from tflm.training import loop

DATA_PREP = pathlib.Path(build.__file__).parent
TINY = [
    "loss.name=l2",
    "model.image_size=32",
    "model.num_filters=2",
    "model.num_landmarks=3",
    "train.batch_size=2",
    "train.num_steps=2",
    "data.shuffle_buffer=4",
]
# What a builder is asked for, beyond its defaults.
OPTIONS = {
    "images": {"keypoints": "annotations.csv", "test_fraction": 0.5},
    "video": {"keypoints": "annotations.csv"},
    "voxceleb": {"val_fraction": 0.5},
}
ANNOTATED = ("aflw", "bbc_pose", "celeba", "human36m", "images", "video")
DATASETS = (*ANNOTATED, "smallnorb/car", "smallnorb", "svhn", "voxceleb")


def _stored(shards: shards_lib.Shards) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and keypoints (pixels) of regression_test as they are on disk."""
    return [
        (shards_lib.decode(image).numpy(), points.numpy())
        for clip in shards.clips("regression_test")
        for image, points in zip(
            clip["frames"]["image"], clip["frames"]["keypoints"]
        )
    ]


class EveryDatasetTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls._folder.cleanup)
        cls.data_dir = cls._folder.name

    def _shards(self, dataset: str) -> shards_lib.Shards:
        raw_dir = DATA_PREP / dataset.partition("/")[0] / "dummy_data"
        options = dict(OPTIONS.get(dataset, {}))
        if "keypoints" in options:
            options["keypoints"] = str(raw_dir / options["keypoints"])
        build.build(dataset, str(raw_dir), self.data_dir, options)
        return shards_lib.open_shards(self.data_dir, dataset)

    def test_no_dataset_is_left_out(self):
        folders = {path.parent.name for path in DATA_PREP.glob("*/README.md")}
        tested = {dataset.partition("/")[0] for dataset in DATASETS}
        self.assertEqual(folders - tested, {"puppets"})  # Has no raw data.
        self.assertContainsSubset(DATASETS, configs.PRESETS)

    @parameterized.parameters(*DATASETS)
    def test_train_evaluate_export(self, dataset):
        shards = self._shards(dataset)
        config = configs.override(configs.PRESETS[dataset], TINY)
        workdir = tempfile.mkdtemp(dir=self.data_dir)

        step = loop.train(
            config, shards, workdir, losses.from_config(config.loss)
        )
        self.assertEqual(step, 2)

        found = report.evaluate(
            workdir, self.data_dir, draw=dataset in ("smallnorb/car", "video")
        )
        self.assertEqual(not found["no_annotations"], dataset in ANNOTATED)
        self.assertEqual(
            list(found["invariance"]["factors"] if found["invariance"] else []),
            ["azimuth", "elevation", "lighting", "instance"]
            if dataset.startswith("smallnorb")
            else [],
        )

        model = landmark_model.LandmarkModel(config.model)
        checkpoints.restore_model(workdir, model)
        exports = bundle.export(
            model,
            config,
            bundle.sample_images(shards),
            checkpoints.export_dir(workdir),
        )
        self.assertLess(max(export.difference for export in exports), 1e-3)

    @parameterized.parameters(*ANNOTATED)
    def test_the_dot_stays_at_its_keypoint(self, dataset):
        """After data_prep, the network's view, a mirror and a warp."""
        config, shards = configs.PRESETS[dataset], self._shards(dataset)
        size = config.model.image_size
        coefficients = warps.random_coefficients(
            dataclasses.replace(configs.RELEASED_SOURCE_WARP, translation=0.05),
            1,
            tf.constant([1, 2]),
        )
        grid = warps.sampling_grid(coefficients, (size, size))[0].numpy()
        (batch,) = stills.stills(config, shards, "regression_test", 64)
        views = batch["image"].numpy(), batch["keypoints"].numpy()
        num_seen = 0
        for (stored, stored_points), view, points in zip(
            _stored(shards), *views, strict=True
        ):
            background = np.median(stored, axis=(0, 1))
            warped = warps.warp(view[None], coefficients)[0].numpy()
            for place, point in zip(stored_points, points):
                if not (np.abs(point) < 0.9).all():  # NaN, or near the border.
                    continue
                dot = stored[tuple(np.rint(place).astype(int))]
                self.assertGreater(np.abs(dot - background).max(), 0.2)

                def assert_dot(pixel, dot=dot, background=background):
                    self.assertLess(
                        np.abs(pixel - dot).sum(),
                        np.abs(pixel - background).sum(),
                    )

                y, x = np.rint((point + 1) * (size - 1) / 2).astype(int)
                assert_dot(view[y, x])
                assert_dot(view[:, ::-1][y, size - 1 - x])
                # The pixel of the warped view that shows the keypoint.
                misses = ((grid - point) ** 2).sum(axis=-1)
                if misses.min() < (2 / size) ** 2:  # Else it moved out.
                    nearest = np.unravel_index(misses.argmin(), misses.shape)
                    assert_dot(warped[nearest])
                num_seen += 1
        self.assertGreater(num_seen, 0)


if __name__ == "__main__":
    absltest.main()
