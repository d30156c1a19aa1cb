import numpy as np
import tensorflow_datasets as tfds

from data_prep.puppets import puppets_dataset_builder
from data_prep.puppets import render
from tests import tiny_shards


class RenderTest(tfds.testing.TestCase):
    def test_a_clip_is_a_function_of_its_seed(self):
        first, joints = render.render_clip((0, 1, 2), 3)
        again, joints_again = render.render_clip((0, 1, 2), 3)
        other, _ = render.render_clip((0, 1, 3), 3)
        self.assertAllEqual(first, again)
        self.assertAllEqual(joints, joints_again)
        self.assertGreater(np.abs(first.astype(int) - other).mean(), 10)

    def test_joints_are_inside_the_image(self):
        for clip in range(20):
            _, joints = render.render_clip((7, clip), 8)
            self.assertGreaterEqual(joints.min(), 2.0)
            self.assertLessEqual(joints.max(), 125.0)

    def test_the_pose_moves_smoothly(self):
        for clip in range(3):
            _, joints = render.render_clip((7, clip), 512)
            steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
            self.assertLess(steps.max(), 2.2)
            self.assertGreater(joints.std(axis=0)[1:3].max(), 3.0)  # Wrists.

    def test_bones_keep_their_length_or_shorten_towards_the_viewer(self):
        for clip in range(10):
            _, joints = render.render_clip((7, clip), 32)
            _, wrist, _, elbow, _, shoulder, _ = joints.transpose(1, 0, 2)
            upper = np.linalg.norm(elbow - shoulder, axis=-1)
            lower = np.linalg.norm(wrist - elbow, axis=-1)
            self.assertLess(upper.max(), 26.0 * 1.08 + 0.1)
            self.assertLess(lower.max(), 24.0 * 1.08 + 0.1)
            self.assertGreater((upper + lower).max(), 40.0)

    def test_hands_are_drawn_where_the_wrists_are(self):
        """Skin appears beyond the wrist, in line with the forearm."""
        seen, misses = 0, 0
        for clip in range(30):
            random = np.random.default_rng((7, clip))
            body = render._random_body(random)
            images, joints = render.render_clip((7, clip), 1)
            front = 0 if body.right_arm_in_front else 1
            wrist, elbow = joints[0, 1 + front], joints[0, 3 + front]
            hand = wrist + 6 * (wrist - elbow) / np.linalg.norm(wrist - elbow)
            y, x = np.rint(hand).astype(int)
            if not 0 <= y < 128 or not 0 <= x < 128:
                continue
            seen += 1
            colour = images[0, y, x] / 255.0
            cosine = colour @ body.skin
            cosine /= np.linalg.norm(colour) * np.linalg.norm(body.skin)
            misses += cosine < 0.99
        self.assertGreater(seen, 20)
        self.assertLessEqual(misses, 1)

    def test_other_sizes_show_the_same_scene(self):
        small, joints_small = render.render_clip((0, 1), 1, image_size=64)
        large, joints = render.render_clip((0, 1), 1)
        self.assertAllClose((joints_small + 0.5) * 2 - 0.5, joints, atol=1e-4)
        pooled = large.reshape(1, 64, 2, 64, 2, 3).mean((2, 4))
        self.assertLess(np.abs(pooled - small).mean(), 3.0)


class PuppetsTest(tfds.testing.TestCase):
    def test_splits_share_no_clip_and_no_person(self):
        skins = {}
        for split, number in (("train", 0), ("val", 1), ("test", 2)):
            for clip in range(5):
                random = np.random.default_rng((0, number, clip))
                shirt = render._random_body(random).shirt
                skins[split, clip] = tuple(shirt)
        self.assertLen(set(skins.values()), 15)

    def test_shards_hold_the_clips(self):
        shards = tiny_shards.puppets()
        self.assertEqual(
            {
                split: info.num_examples
                for split, info in shards.builder.info.splits.items()
            },
            tiny_shards.NUM_CLIPS,
        )
        clips = {
            clip["clip_id"].numpy().decode(): clip["frames"]
            for clip in shards.builder.as_dataset(split="val")
        }
        images, joints = render.render_clip((0, 1, 1), 8)
        frames = clips["val_00001"]
        self.assertAllEqual(frames["index"], range(8))
        self.assertAllClose(frames["keypoints"], joints)
        # JPEG of quality 92.
        self.assertLess(
            np.abs(frames["image"].numpy() - images.astype(int)).mean(), 3
        )

    def test_two_thousand_clips_by_default(self):
        self.assertEqual(sum(puppets_dataset_builder.NUM_CLIPS.values()), 2_000)


if __name__ == "__main__":
    tfds.testing.test_main()
