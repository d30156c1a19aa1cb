import atexit
import functools
import itertools
import pathlib
import shutil
import tempfile
from unittest import mock

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from data_prep import build
from data_prep.smallnorb import make_dummy_data
from tests import tiny_shards
from tflm import configs
from tflm import errors
from tflm.data import pairs
from tflm.data import shards as shards_lib
from tflm.data import stills
from tflm.data import warps

VIDEO = configs.override(
    configs.PRESETS["puppets"],
    ["model.image_size=32", "train.batch_size=4", "data.shuffle_buffer=12"],
)
TOY_VIEWPOINTS = [(a, e) for e in (0, 1) for a in (0, 1, 17)]
STILLS = configs.override(
    configs.PRESETS["celeba"],
    [
        "data.dataset=puppets",
        "model.image_size=32",
        "train.batch_size=4",
        "data.shuffle_buffer=12",
    ],
)


def _batches(config, num, first_step=0):
    dataset = pairs.train_batches(config, tiny_shards.puppets(), first_step)
    return list(itertools.islice(dataset.as_numpy_iterator(), num))


def _as_uint8(images: np.ndarray) -> np.ndarray:
    return np.rint(images * 255).astype(np.uint8)


def _frames() -> dict[str, np.ndarray]:
    """All training frames by clip: uint8 `[8, 32, 32, 3]`."""
    frames = {}
    for batch in stills.stills(VIDEO, tiny_shards.puppets(), "train"):
        for clip_id, image in zip(batch["clip_id"].numpy(), batch["image"]):
            frames.setdefault(clip_id, []).append(_as_uint8(image.numpy()))
    return {clip_id: np.stack(images) for clip_id, images in frames.items()}


@functools.cache
def _toys() -> shards_lib.Shards:
    """Two training clips, of a toy from TOY_VIEWPOINTS under two lights."""
    folder = tempfile.mkdtemp(prefix="toys")
    atexit.register(shutil.rmtree, folder)
    raw_dir = pathlib.Path(folder, "raw")
    make_dummy_data.make(raw_dir)
    build.build("smallnorb/car", str(raw_dir), folder, {})
    return shards_lib.open_shards(folder, "smallnorb/car")


class PairsTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.named_parameters(("video", VIDEO), ("stills", STILLS))
    def test_the_same_seed_gives_the_same_batches(self, config):
        for first, second in zip(_batches(config, 3), _batches(config, 3)):
            self.assertAllEqual(first["source"], second["source"])
            self.assertAllEqual(first["target"], second["target"])
            self.assertAllEqual(first["mask"], second["mask"])

    @parameterized.parameters((1, 1), (3, 4), (7, 7))
    def test_video_pairs_are_of_one_clip_and_the_gap_apart(self, low, high):
        config = configs.override(
            VIDEO, [f"data.min_gap={low}", f"data.max_gap={high}"]
        )
        clips = _frames()
        gaps = set()
        for batch in _batches(config, 6):
            for source, target in zip(
                _as_uint8(batch["source"]), _as_uint8(batch["target"])
            ):
                places = [
                    (clip_id, source_at, target_at)
                    for clip_id, frames in clips.items()
                    for source_at in np.flatnonzero(
                        (frames == source).all((1, 2, 3))
                    )
                    for target_at in np.flatnonzero(
                        (frames == target).all((1, 2, 3))
                    )
                ]
                self.assertLen(places, 1)
                gaps.add(abs(places[0][1] - places[0][2]))
        self.assertEqual(gaps, set(range(low, high + 1)))

    @parameterized.parameters((1, 1), (2, 2), (1, 2))
    def test_viewpoint_pairs_are_steps_apart(self, low, high):
        config = configs.override(
            VIDEO,
            [
                "data.dataset=smallnorb/car",
                "data.pairs=viewpoint",
                f"data.min_gap={low}",
                f"data.max_gap={high}",
                "train.batch_size=40",
            ],
        )
        shards = _toys()
        (all_frames,) = stills.stills(config, shards, "train")
        # Both clips, in the order of their frames.
        viewpoints = {
            _as_uint8(image).tobytes(): (clip_id, *viewpoint)
            for clip_id, image, viewpoint in zip(
                all_frames["clip_id"].numpy(),
                all_frames["image"].numpy(),
                2 * TOY_VIEWPOINTS,
            )
        }
        self.assertLen(viewpoints, 2 * len(TOY_VIEWPOINTS))

        seen = set()
        batches = pairs.train_batches(config, shards).as_numpy_iterator()
        for batch in itertools.islice(batches, 10):
            seen |= {
                tuple(viewpoints[_as_uint8(i).tobytes()] for i in images)
                for images in zip(batch["source"], batch["target"])
            }

        # By hand, per clip: of 6 x 5 pairs, the 8 of azimuths 1 and 17 are two
        # steps apart; all others are one, for 17 is next to 0.
        far = {pair for pair in seen if {pair[0][1], pair[1][1]} == {1, 17}}
        self.assertLen(far, 2 * 8 if high == 2 else 0)
        self.assertLen(seen - far, 2 * 22 if low == 1 else 0)
        for source, target in seen:
            self.assertEqual(source[0], target[0])
            self.assertNotEqual(source, target)

    def test_viewpoint_pairs_need_viewpoints(self):
        config = configs.override(VIDEO, ["data.pairs=viewpoint"])
        with self.assertRaisesRegex(
            errors.UserError, "puppets does not tell azimuth and elevation"
        ):
            pairs.train_batches(config, tiny_shards.puppets())

    @parameterized.named_parameters(("video", VIDEO), ("stills", STILLS))
    def test_views_in_memory_change_nothing(self, config):
        cached = _batches(config, 2)
        with mock.patch.object(pairs, "_CACHE_BYTES", 0):
            decoded = _batches(config, 2)
        for one, other in zip(cached, decoded):
            self.assertAllEqual(one["source"], other["source"])
            self.assertAllEqual(one["target"], other["target"])

    def test_video_pairs_count_every_pixel(self):
        self.assertAllEqual(
            _batches(VIDEO, 1)[0]["mask"], np.ones([4, 32, 32, 1])
        )

    def test_a_gap_that_no_clip_has_is_named(self):
        config = configs.override(VIDEO, ["data.min_gap=8"])
        with self.assertRaisesRegex(errors.UserError, "8 to 1000000 apart"):
            pairs.train_batches(config, tiny_shards.puppets())

    def test_stills_without_warp_are_their_own_pair(self):
        nothing = [
            f"{side}_warp.{part}=0"
            for side in ("target", "source")
            for part in (
                "rotation",
                "scale",
                "translation",
                "bend_all",
                "bend_half",
            )
        ]
        batch = _batches(configs.override(STILLS, nothing), 1)[0]
        self.assertAllEqual(batch["source"], batch["target"])

    def test_warped_pairs_differ_and_leave_the_border_out(self):
        batch = _batches(STILLS, 1)[0]
        self.assertNotAllClose(batch["source"], batch["target"], atol=0.1)
        self.assertLess(batch["mask"][:, 0].max(), 1.0)
        self.assertGreater(batch["mask"][:, 16, 16].min(), 0.9)
        for name in ("source", "target", "mask"):
            self.assertAllInRange(batch[name], -1e-5, 1 + 1e-5)

    @parameterized.parameters(
        ("tps", "chained"), ("tps", "independent"), ("video", "chained")
    )
    def test_what_is_warped_by_what(self, kind, still_pairs):
        config = configs.override(
            VIDEO,
            [
                f"data.pairs={kind}",
                f"data.still_pairs={still_pairs}",
                "target_warp.rotation=1",
                "source_warp.rotation=2",
            ],
        )

        def translation(warp, batch_size, seed):
            del seed
            rows, columns = (3, 0) if warp == config.target_warp else (0, 2)
            found = np.zeros([batch_size, warps.CONTROL_POINTS**2 + 3, 2])
            shift = [2 * rows / 31, 2 * columns / 31]  # Of the place seen.
            found[:, -3:] = [shift, [1, 0], [0, 1]]
            return tf.constant(found, tf.float32)

        with mock.patch.object(warps, "random_coefficients", translation):
            batch = _batches(config, 1)[0]

        frames = np.concatenate(list(_frames().values()))
        mask = warps.border_mask(32)
        for target, source, counts in zip(
            batch["target"], batch["source"], batch["mask"]
        ):
            shown = _as_uint8(target)[:-3]
            (still,) = (f for f in frames if (f[3:] == shown).all())
            self.assertAllClose(counts[:-3], mask[3:], atol=1e-4)
            shown = _as_uint8(source)[:, :-2]
            if still_pairs == "independent":  # The same still.
                self.assertAllEqual(shown, still[:, 2:])
            elif kind == "tps":  # The warped target, warped again.
                self.assertAllClose(source[:, :-2], target[:, 2:], atol=1e-4)
            else:  # Another frame.
                others = [f for f in frames if (f[:, 2:] == shown).all()]
                self.assertLen(others, 1)
                self.assertNotAllEqual(others[0], still)

    @parameterized.named_parameters(("video", VIDEO), ("stills", STILLS))
    def test_jitter_changes_only_what_the_detector_sees(self, config):
        plain = _batches(config, 2)
        config = configs.override(config, ["data.color_jitter=0.1"])
        jittered = _batches(config, 2)
        for before, after in zip(plain, jittered):
            self.assertAllEqual(before["seen"], before["target"])
            for name in ("source", "target", "mask"):
                self.assertAllEqual(before[name], after[name])
            for target, seen in zip(after["target"], after["seen"]):
                self.assertNotAllClose(target, seen, atol=0.02)
        for one, other in zip(jittered, _batches(config, 2)):
            self.assertAllEqual(one["seen"], other["seen"])

    def test_the_view_of_a_still_is_its_source(self):
        plain = _batches(STILLS, 1)[0]
        config = configs.override(STILLS, ["loss.equivariance_weight=1"])

        batch = _batches(config, 1)[0]

        self.assertNotIn("view", plain)
        self.assertAllEqual(batch["view"], batch["source"])
        again = warps.warp(tf.constant(batch["target"]), batch["view_warp"])
        self.assertAllClose(again, batch["view"], atol=1e-5)
        for name in plain:
            self.assertAllEqual(batch[name], plain[name])

    def test_the_view_of_a_frame_is_a_warp_of_the_target(self):
        config = configs.override(
            VIDEO, ["loss.equivariance_weight=1", "view_warp.rotation=20"]
        )
        plain, batch = _batches(VIDEO, 1)[0], _batches(config, 1)[0]
        again = warps.warp(tf.constant(batch["target"]), batch["view_warp"])
        self.assertAllClose(again, batch["view"], atol=1e-5)
        self.assertNotAllClose(batch["view"], batch["target"], atol=0.1)
        for name in plain:
            self.assertAllEqual(batch[name], plain[name])

    def test_the_view_has_colours_of_its_own(self):
        config = configs.override(
            STILLS, ["loss.equivariance_weight=1", "data.color_jitter=0.3"]
        )
        batch = _batches(config, 1)[0]
        self.assertNotAllClose(batch["view"], batch["source"], atol=0.05)
        again = warps.warp(tf.constant(batch["seen"]), batch["view_warp"])
        self.assertNotAllClose(again, batch["view"], atol=0.05)

    def test_another_first_step_gives_other_clips(self):
        clips = _frames()

        def order(first_step):
            return [
                clip_id
                for batch in _batches(VIDEO, 3, first_step)
                for target in _as_uint8(batch["target"])
                for clip_id, frames in clips.items()
                if (frames == target).all((1, 2, 3)).any()
            ]

        self.assertLen(set(order(0)), 12)  # An epoch.
        self.assertNotEqual(order(0), order(5))


if __name__ == "__main__":
    tf.test.main()
