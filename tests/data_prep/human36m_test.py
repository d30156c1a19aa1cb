import pathlib
import shutil
from unittest import mock

from absl.testing import parameterized
import cdflib
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep import clip_builder
from data_prep import clips
from data_prep.human36m import human36m_dataset_builder
from data_prep.human36m import make_dummy_data
from tests import builder_case
from tflm import errors

JOINTS = list(human36m_dataset_builder.JOINTS)
VIDEO = "Directions 1.54138969"  # Of S1.
LONGER_VIDEO = "Directions 1.55011271"  # One frame more than positions.


class Human36mBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = human36m_dataset_builder.Builder
    # A clip of each video; S1 has two.
    SPLITS = {
        "train": 5,
        "val": 1,
        "annotated_train": 5,
        "annotated_test": 2,
    }
    OVERLAPPING_SPLITS = ["train", "annotated_train"]


class Human36mTest(builder_case.BuilderCase):
    DATASET = "human36m"

    def setUp(self):
        super().setUp()
        self.video = self.raw_dir / f"S1/Videos/{VIDEO}.mp4"
        self.positions = (
            self.raw_dir / f"S1/MyPoseFeatures/D2_Positions/{VIDEO}.cdf"
        )

    def _set(self, **constants: object) -> None:
        """Sets constants of the builder, for the rest of the test."""
        for name, value in constants.items():
            module = human36m_dataset_builder
            if name == "MAX_FRAMES":
                module = clips
            self.enter_context(mock.patch.object(module, name, value))

    def _read_video(self, stride=1) -> list[dict | errors.Broken]:
        """Reads VIDEO of S1 without a build."""
        source = clip_builder.Source(
            "S1", 10, (self.raw_dir / "S1", VIDEO, stride)
        )
        return list(human36m_dataset_builder.Builder.read(source))

    def _message(self) -> str:
        """What is wrong with VIDEO of S1."""
        (broken,) = self._read_video()
        self.assertEqual(broken.path, str(self.video))
        self.assertNotIn("\n", broken.message)
        return broken.message

    def test_keypoints_are_where_the_dots_of_their_side_are(self):
        self._set(MAX_SIDE=64)  # Smaller than the crops: they are resized.
        colors = {"right": 2, "left": 0}
        found = self._read("annotated_test")
        self.assertLen(found, 2)
        found |= self._read("train")
        for clip_id, frames in found.items():
            for image, keypoints in zip(frames["image"], frames["keypoints"]):
                self.assertEqual(image.shape, (64, 64, 3))
                for name, (y, x) in zip(JOINTS, keypoints):
                    side = name.split("_")[0]
                    patch = image[round(y), round(x)].astype(int)
                    where = f"{clip_id} {name}: {patch}"
                    self.assertEqual(patch.argmax(), colors.get(side, 1), where)
                    self.assertGreater(
                        patch.max() - np.median(patch), 80, where
                    )

    def test_a_dot_is_centred_on_its_keypoint(self):
        self._set(MAX_SIDE=64)
        (clip,) = self._read_video()
        for frame in clip["frames"]:
            # The crops differ, but none is smaller than what is stored of it.
            self.assertLess(max(frame["scale"]), 1.0)
            image = np.array(Image.open(frame["image"]), int)
            red = image[..., 0] - image[..., 1:].max(axis=-1)
            y, x = frame["keypoints"][JOINTS.index("left_ankle")]
            top, left = round(y) - 4, round(x) - 4
            near = red[top : top + 9, left : left + 9].clip(40) - 40
            rows, columns = np.indices(near.shape)
            centre = [
                top + (rows * near).sum() / near.sum(),
                left + (columns * near).sum() / near.sum(),
            ]
            np.testing.assert_allclose(centre, [y, x], atol=0.5)

    def test_subjects_are_split(self):
        subjects = {
            split: {name.split("/")[0] for name in self._read(split)}
            for split in human36m_dataset_builder.SUBJECTS
        }
        self.assertEqual(
            subjects,
            {
                "train": {"S1", "S5", "S6", "S7"},
                "val": {"S8"},
                "annotated_train": {"S1", "S5", "S6", "S7"},
                "annotated_test": {"S9", "S11"},
            },
        )

    def test_frames_of_a_clip_share_one_box(self):
        self._set(MAX_FRAMES=4)
        pose = cdflib.CDF(self.positions)["Pose"].reshape(-1, 32, 2)
        for clip, stop in zip(self._read_video(), (4, 8, 10), strict=True):
            start = clip["frames"][0]["index"]
            # By hand: the box is around the joints of this clip's frames.
            low, high = (
                extreme(pose[start:stop], axis=(0, 1))[::-1]
                for extreme in (np.min, np.max)
            )
            side = np.ceil((high - low).max() * 1.3)
            corner = np.round((low + high - (side - 1)) / 2)
            for frame in clip["frames"]:
                xy = pose[frame["index"]][
                    list(human36m_dataset_builder.JOINTS.values())
                ]
                np.testing.assert_allclose(
                    frame["keypoints"], xy[:, ::-1] - corner, atol=1e-3
                )

    def test_long_videos_are_cut_into_clips_of_neighbouring_frames(self):
        self._set(MAX_FRAMES=4)
        found = {
            clip["clip_id"]: [frame["index"] for frame in clip["frames"]]
            for clip in self._read_video()
        }
        self.assertEqual(
            found,
            {
                f"S1/{VIDEO}/00000": [0, 1, 2, 3],
                f"S1/{VIDEO}/00004": [4, 5, 6, 7],
                f"S1/{VIDEO}/00008": [8, 9],
            },
        )
        self.assertEqual(
            {clip["video"] for clip in self._read_video()}, {f"S1/{VIDEO}"}
        )

    def test_thinned_frames_are_cropped_as_those_of_whole_clips(self):
        self._set(MAX_FRAMES=8)
        frames, thinned = (
            [f for clip in self._read_video(stride) for f in clip["frames"]]
            for stride in (1, 4)
        )
        self.assertEqual([frame["index"] for frame in thinned], [0, 4, 8])
        for frame in thinned:
            same = frames[frame["index"]]
            np.testing.assert_array_equal(frame["keypoints"], same["keypoints"])
            self.assertEqual(
                frame["image"].getvalue(), same["image"].getvalue()
            )

    def test_all_but_train_is_thinned(self):
        self._set(ANNOTATED_STRIDE=4)
        built = self._build()
        # 10 frames a video, but 9 of one of S5: 0, 4 and 8 of each.
        self.assertEqual(
            built.num_frames,
            {
                "train": 49,
                "val": 3,
                "annotated_train": 15,
                "annotated_test": 6,
            },
        )

    def test_frames_without_positions_are_left_out(self):
        clip = self._read("train")[f"S1/{LONGER_VIDEO}/00000"]
        np.testing.assert_array_equal(clip["index"], range(10))

    def test_positions_without_frames_are_left_out(self):
        clip = self._read("train")["S5/Eating.54138969/00000"]
        np.testing.assert_array_equal(clip["index"], range(9))

    def test_swaps_exchange_left_and_right(self):
        info = human36m_dataset_builder.Builder(data_dir=str(self.root)).info
        swaps = [
            {JOINTS[first], JOINTS[second]}
            for first, second in info.metadata["left_right_swaps"]
        ]
        self.assertCountEqual(
            swaps,
            [
                {f"left_{part}", f"right_{part}"}
                for part in (
                    "hip",
                    "knee",
                    "ankle",
                    "shoulder",
                    "elbow",
                    "wrist",
                )
            ],
        )

    def test_videos_named_all_are_ignored(self):
        shutil.copy(self.video, self.video.with_name("_ALL 1.54138969.mp4"))
        self.assertEqual(self._build().num_clips["train"], 5)

    def test_whatever_reading_positions_raises_is_one_line(self):
        with mock.patch.object(
            human36m_dataset_builder.cdflib,
            "CDF",
            side_effect=ZeroDivisionError("odd"),
        ):
            self.assertRegex(self._message(), "no CDF .*ZeroDivisionError: odd")

    def test_a_missing_file_of_a_pair_is_named_or_skipped(self):
        self.positions.unlink()
        (self.raw_dir / "S6/Videos/Walking.54138969.mp4").unlink()
        shutil.copy(self.video, self.raw_dir / "S6/Videos/Extra.1.mp4")
        with self.assertRaisesRegex(
            errors.RawDataError, f"3 of 18 files are missing .*{VIDEO}.cdf"
        ):
            self._build()

        built = self._build(skip_broken=True)

        self.assertCountEqual(
            [pathlib.Path(path).name for path in built.skipped],
            [f"{VIDEO}.mp4", "Extra.1.mp4", "Walking.54138969.mp4"],
        )
        self.assertEqual(built.num_clips["train"], 3)

    def test_a_missing_subject_is_named(self):
        shutil.rmtree(self.raw_dir / "S7/Videos")
        with self.assertRaisesRegex(
            errors.RawDataError, "S7/Videos holds no .mp4 file"
        ):
            self._build()

    def test_a_truncated_video_is_named(self):
        content = self.video.read_bytes()
        self.video.write_bytes(content[: len(content) // 2])
        self.assertIn(str(self.video), self._message())

    def test_a_video_of_another_length_is_named(self):
        images = [make_dummy_data.draw(np.full([32, 2], 40))] * 30
        make_dummy_data.write_video(self.video, images)
        self.assertRegex(self._message(), f"{VIDEO}.mp4 has 30 frames.* of 10")

    def test_positions_of_another_video_are_named(self):
        positions = np.zeros([10, 32, 2], np.float32)
        positions[:, 0] = 1e6
        make_dummy_data.write_positions(self.positions, positions)
        self.assertRegex(self._message(), "112 pixels.*1300000.*another video")

    @parameterized.parameters(
        (b"no CDF at all", "no CDF file"),
        (b"", "no CDF file"),
    )
    def test_an_unreadable_file_of_positions_is_named(self, content, message):
        self.positions.write_bytes(content)
        self.assertRegex(self._message(), f"{VIDEO}.cdf is {message}")

    def test_a_truncated_file_of_positions_is_named(self):
        self.positions.write_bytes(self.positions.read_bytes()[:700])
        self.assertRegex(self._message(), f"{VIDEO}.cdf is no CDF file")

    @parameterized.parameters(
        (np.zeros([10, 32, 3], np.float32), r"must be .*64.* got \[10, 96\]"),
        (np.full([10, 32, 2], np.nan, np.float32), "must be finite"),
    )
    def test_positions_of_another_kind_are_named(self, positions, message):
        make_dummy_data.write_positions(self.positions, positions)
        self.assertRegex(self._message(), f"{VIDEO}.cdf: Pose {message}")


if __name__ == "__main__":
    tfds.testing.test_main()
