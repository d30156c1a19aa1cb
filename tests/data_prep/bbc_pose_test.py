import pathlib
import shutil
from unittest import mock

from absl.testing import absltest
import numpy as np
from PIL import Image
import scipy.io
import tensorflow_datasets as tfds

from data_prep import clips
from data_prep.bbc_pose import bbc_pose_dataset_builder
from data_prep.bbc_pose import make_dummy_data
from tests import builder_case
from tflm import errors

DUMMY_DATA = (
    pathlib.Path(bbc_pose_dataset_builder.__file__).parent / "dummy_data"
)


class BbcPoseBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = bbc_pose_dataset_builder.Builder
    # One clip a video: none has more than 32 frames.
    SPLITS = {"train": 2, "val": 1, "annotated_train": 2, "annotated_test": 1}
    OVERLAPPING_SPLITS = ["train", "annotated_train"]


class StridedTest(absltest.TestCase):
    def test_every_frame_is_in_one_clip_and_every_clip_spans_the_video(self):
        frames = list(range(500))
        parts = clips.strided(frames)
        self.assertLen(parts, 16)  # 15 clips of 32 hold 480 frames only.
        self.assertEqual(sorted(sum(parts, [])), frames)
        for part in parts:
            self.assertLessEqual(len(part), 32)
            self.assertEqual(set(np.diff(part)), {16})
            self.assertLess(part[0], 16)
            self.assertGreaterEqual(part[-1], 484)

    def test_up_to_32_frames_are_one_clip(self):
        self.assertEqual(clips.strided(range(32)), [range(32)])
        self.assertEqual(
            clips.strided(range(33)), [range(0, 33, 2), range(1, 33, 2)]
        )


class BbcPoseTest(builder_case.BuilderCase):
    DATASET = "bbc_pose"

    def setUp(self):
        super().setUp()
        self.mat = self.raw_dir / "bbcpose.mat"

    def _change(self, video: int, **fields) -> None:
        """Rewrites fields of a video in bbcpose.mat."""
        entries = scipy.io.loadmat(self.mat)["bbcpose"]
        for name, value in fields.items():
            entries[0, video - 1][name] = value
        scipy.io.savemat(self.mat, {"bbcpose": entries})

    def _assert_refused(self, words: str) -> None:
        with self.assertRaisesRegex(errors.RawDataError, words) as caught:
            self._sources()
        self.assertNotIn("\n", str(caught.exception))

    def _assert_dots_at_keypoints(self, split: str) -> None:
        for name, frames in self._read(split).items():
            for image, points in zip(frames["image"], frames["keypoints"]):
                for colour, point in zip(make_dummy_data.COLOURS, points):
                    if np.isnan(point).any():
                        continue
                    distance = np.abs(image.astype(int) - colour).max(axis=-1)
                    dot = np.argwhere(distance < 80)
                    with self.subTest(f"{name} {colour}"):
                        self.assertNotEmpty(dot)
                        np.testing.assert_allclose(
                            dot.mean(axis=0), point, atol=0.6
                        )

    def test_keypoints_are_where_the_dots_of_their_colours_are(self):
        for split in ("train", "val", "annotated_train", "annotated_test"):
            self._assert_dots_at_keypoints(split)

    def test_keypoints_move_with_a_frame_that_is_shrunk(self):
        shutil.rmtree(self.raw_dir)
        make_dummy_data.make(self.raw_dir, magnification=10)
        self._assert_dots_at_keypoints("annotated_test")
        (source,) = self._sources()["annotated_test"]
        for frames in self._read("annotated_test").values():
            self.assertEqual(frames["image"].shape[1:], (256, 256, 3))
            np.testing.assert_allclose(
                frames["scale"], 256 / source.spec.box.height, rtol=1e-6
            )

    def test_left_and_right_are_swapped(self):
        builder = bbc_pose_dataset_builder.Builder(data_dir=self.root / "data")
        metadata = builder.info.metadata
        names = metadata["keypoint_names"]
        swapped = list(names)
        for i, j in metadata["left_right_swaps"]:
            swapped[i], swapped[j] = swapped[j], swapped[i]
        self.assertEqual(
            [name.replace("right", "left") for name in names],
            [name.replace("right", "left") for name in swapped],
        )
        self.assertEqual([i for i in range(7) if names[i] == swapped[i]], [0])

    def test_box_is_the_extent_of_the_joints_of_the_video_and_a_margin(self):
        [source] = self._sources()["annotated_test"]
        poses = [make_dummy_data.pose_xy(4, frame) for frame in (1, 2, 3)]
        low, high = np.min(poses, axis=(0, 1)), np.max(poses, axis=(0, 1))

        box = source.spec.box

        side = 1.3 * (high - low).max()
        self.assertBetween(box.height, side, side + 1)
        self.assertEqual(box.width, box.height)
        centre = np.array([box.left, box.top]) + (box.height - 1) / 2
        np.testing.assert_allclose(centre, (low + high) / 2, atol=0.5)

    def test_one_box_for_all_frames_and_splits_of_a_video(self):
        sources = self._sources()
        boxes = {}
        for source in sources["train"] + sources["annotated_train"]:
            boxes.setdefault(source.group, set()).add(source.spec.box)
        self.assertEqual([len(some) for some in boxes.values()], [1, 1])
        self.assertNotEqual(boxes["1"], boxes["2"])

    def test_which_frames_are_in_which_split(self):
        self.assertEqual(
            {
                split: {
                    name: list(frames["index"])
                    for name, frames in self._read(split).items()
                }
                for split in ("train", "val", "annotated_train")
            },
            {
                # All on disk, in the order of their numbers.
                "train": {"1/00000": [1, 2, 3, 4, 12], "2/00000": [1, 2, 3]},
                "val": {"3/00000": [1, 2]},
                "annotated_train": {"1/00000": [2, 4, 12], "2/00000": [1, 3]},
            },
        )
        test = self._read("annotated_test")
        self.assertEqual(list(test["4/00000"]["index"]), [2, 3])

    def test_frames_without_annotation_have_no_keypoints(self):
        keypoints = self._read("train")["1/00000"]["keypoints"]
        missing = np.isnan(keypoints).all(axis=(1, 2))
        self.assertEqual(list(missing), [True, False, True, False, False])
        self.assertFalse(np.isnan(keypoints[~missing]).any())

    def test_joints_marked_by_hand_replace_those_of_the_program(self):
        # Frame 2 of video 4 has both.
        joints = scipy.io.loadmat(self.mat)["bbcpose"][0, 3]["train_joints"]
        self._change(4, train_joints=joints + 3.0)
        test = self._read("annotated_test")["4/00000"]
        [source] = self._sources()["annotated_test"]
        x, y = make_dummy_data.pose_xy(4, 2)[0]
        np.testing.assert_allclose(
            test["keypoints"][0, 0],
            [y - source.spec.box.top, x - source.spec.box.left],
        )

    def test_annotated_train_is_spread_over_the_video(self):
        joints = np.zeros([2, 7, 2_500])
        joints[0] = 5.0
        joints[:, :, 700] = np.nan
        frames = np.arange(1.0, 2_501.0)
        self._change(1, train_frames=frames, train_joints=joints)

        sources = self._sources(skip_broken=True)  # Most have no image.
        chosen = sources["annotated_train"][0].spec.frames

        self.assertLen(set(chosen), 1_000)
        self.assertNotIn(701, chosen)
        self.assertLess(chosen[0], 4)
        self.assertGreater(chosen[-1], 2_497)
        self.assertLessEqual(np.diff(chosen).max(), 4)

    def test_long_videos_are_cut_into_strided_clips(self):
        source = self.raw_dir / "2/1.jpg"
        for frame in range(4, 68):
            (self.raw_dir / "2" / f"{frame}.jpg").hardlink_to(source)
        train = self._read("train")
        for start in (0, 1, 2):  # 67 frames: more than 2 clips can hold.
            self.assertEqual(
                list(train[f"2/{start:05d}"]["index"]),
                list(range(start + 1, 68, 3)),
            )
        for source in self._sources()["train"]:
            read = bbc_pose_dataset_builder.Builder.read(source)
            self.assertEqual({clip["video"] for clip in read}, {source.group})

    def test_videos_of_the_extended_data_set_are_left_out(self):
        entries = scipy.io.loadmat(self.mat)["bbcpose"]
        entries = np.concatenate([entries, entries[:, :1]], axis=1)
        scipy.io.savemat(self.mat, {"bbcpose": entries})
        self._assert_refused("5 is missing; unpack")  # It has no folder.
        with mock.patch.object(bbc_pose_dataset_builder, "NUM_VIDEOS", 4):
            self.assertLen(self._sources()["train"], 2)

    def test_other_files_of_a_folder_are_ignored(self):
        for name in ("._1.jpg", "01.jpg", "thumb.jpg", "5.txt"):
            (self.raw_dir / "1" / name).write_bytes(b"not a frame")
        frames = self._sources()["train"][0].spec.frames
        self.assertEqual(frames, [1, 2, 3, 4, 12])

    def test_a_frame_too_small_for_its_joints_is_named(self):
        Image.new("RGB", (2, 2)).save(self.raw_dir / "1/4.jpg")
        with self.assertRaisesRegex(
            errors.RawDataError, "1/4.jpg: a keypoint .* outside .* 2 x 2 pix"
        ):
            self._build()

    def test_absent_and_broken_frames_are_named_or_skipped(self):
        (self.raw_dir / "1/4.jpg").unlink()  # Annotated.
        path = self.raw_dir / "4/3.jpg"
        path.write_bytes(path.read_bytes()[:200])
        with self.assertRaisesRegex(
            errors.RawDataError, "1 of 12 files are missing .*1/4.jpg"
        ):
            self._build()

        built = self._build(skip_broken=True)

        self.assertEqual(
            [pathlib.Path(p).name for p in built.skipped], ["4.jpg", "3.jpg"]
        )
        self.assertEqual(
            built.num_frames,
            {
                "train": 7,
                "val": 2,
                "annotated_train": 4,
                "annotated_test": 1,
            },
        )

    def test_grey_frames_become_rgb(self):
        path = self.raw_dir / "4/2.jpg"
        Image.open(path).convert("L").save(path)
        image = self._read("annotated_test")["4/00000"]["image"][0]
        np.testing.assert_array_equal(image.min(axis=-1), image.max(axis=-1))

    def test_bad_annotation_files_are_named(self):
        whole = self.mat.read_bytes()
        self.mat.write_bytes(whole[:400])
        self._assert_refused("bbcpose.mat is no MATLAB 5 file, or damaged")
        self.mat.write_text("videoName,type,source\n" * 20)
        self._assert_refused("bbcpose.mat is no MATLAB 5 file, or damaged")
        self.mat.unlink()
        self._assert_refused("bbcpose.mat cannot be read .No such file")
        scipy.io.savemat(self.mat, {"bbcpose": [1.0, 2.0]})
        self._assert_refused("bbcpose.mat holds no array of structs")
        scipy.io.savemat(self.mat, {"bbcpose": {"type": "train"}})
        self._assert_refused("bbcpose has no field 'train_frames'")

    def test_bad_fields_are_named(self):
        joints = np.zeros([2, 7, 3])
        for video, words, fields in (
            (2, "2 x 7 x 2 for 2 train_frames, got 2 x 7 x 3", (joints,)),
            (
                1,
                "2 x 7 x 3 for 3 train_frames, got 7 x 2 x 3",
                (joints.transpose(1, 0, 2),),
            ),
            (1, "train_joints has 1e.09, beyond any frame", (joints + 1e9,)),
            (1, "train_joints must be numbers", (np.array(["a"]),)),
            (1, "no frame has a joint to crop by", (joints + np.nan,)),
            (1, "whole numbers from 1, got 1.5", (joints, [1.5, 2, 3])),
        ):
            shutil.copy(DUMMY_DATA / "bbcpose.mat", self.mat)
            self._change(
                video, **dict(zip(("train_joints", "train_frames"), fields))
            )
            with self.subTest(words):
                self._assert_refused(f"bbcpose.mat, video {video}: .*{words}")

    def test_a_video_of_another_type_is_an_error(self):
        self._change(3, type="validation")
        self._assert_refused("video 3: type must be one of train, val, test")

    def test_no_video_of_a_type_is_an_error(self):
        self._change(3, type="train")
        with self.assertRaisesRegex(errors.RawDataError, "into split val"):
            self._build()


if __name__ == "__main__":
    tfds.testing.test_main()
