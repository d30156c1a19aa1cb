import json
import os
import pathlib
import shutil
import unicodedata

from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

from data_prep.video import make_dummy_data
from data_prep.video import video_dataset_builder
from tests import builder_case
from tflm import errors

DUMMY_DATA = pathlib.Path(make_dummy_data.__file__).parent / "dummy_data"


class VideoBuilderTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = video_dataset_builder.Builder
    SPLITS = {"train": 3}  # 40 frames make two clips, 12 make one.


def _centre_of_red(image: np.ndarray) -> np.ndarray:
    """(y, x) of the red square's centre."""
    red, green, _ = np.moveaxis(image.astype(int), -1, 0)
    return np.argwhere(red - green > 100).mean(axis=0)


class VideoTest(builder_case.BuilderCase):
    DATASET = "video"

    def setUp(self):
        super().setUp()
        self.keypoints = str(self.raw_dir / "annotations.csv")
        self.boxes = str(self.raw_dir / "boxes.csv")

    def _clips(self, split: str, **options) -> list[dict]:
        builder = tfds.builder_from_directory(self._build(**options).path)
        return list(tfds.as_numpy(builder.as_dataset(split)))

    def _frames(self, split: str, **options) -> dict[str, list[int]]:
        """Maps video to the indices of its frames in `split`."""
        found = {}
        for clip in self._clips(split, **options):
            video = clip["video"].decode()
            indices = clip["frames"]["index"].tolist()
            found[video] = sorted(found.get(video, []) + indices)
        return found

    @parameterized.named_parameters(
        ("whole_frame", {}, (48, 64)),
        ("fixed", {"crop": "4,0,40,60"}, (40, 60)),
        ("beyond_the_frame", {"crop": "-8,-8,64,80"}, (64, 80)),
        ("tracked", {"boxes": "boxes"}, (24, 24)),
        ("shrunk", {"max_side": 32}, (24, 32)),
    )
    def test_keypoints_are_where_the_square_is(self, options, size):
        options = dict(options, keypoints=self.keypoints, test_fraction=0.0)
        if "boxes" in options:
            options["boxes"] = self.boxes
        found = self._clips("annotated_train", **options)

        self.assertLen(found, 6)
        for clip in found:
            (image,), (points,) = (
                clip["frames"][name] for name in ("image", "keypoints")
            )
            self.assertEqual(image.shape[:2], size)
            self.assertEqual(points.shape, (1, 2))
            np.testing.assert_array_equal(
                clip["frames"]["scale"],
                [[0.5, 0.5] if "max_side" in options else [1.0, 1.0]],
            )
            np.testing.assert_allclose(
                points[0], _centre_of_red(image), atol=0.6
            )

    def _leave_only_a(self) -> None:
        shutil.rmtree(self.raw_dir / "more")
        path = pathlib.Path(self.keypoints)
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line for line in lines if "avi" not in line))

    def test_motion_is_followed(self):
        self._leave_only_a()  # In the other the square hardly moves.
        found = self._clips(
            "annotated_train",
            keypoints=self.keypoints,
            test_fraction=0.0,
            motion_crop=True,
        )

        self.assertLen(found, 4)
        for clip in found:
            (image,), (points,) = (
                clip["frames"][name] for name in ("image", "keypoints")
            )
            side, width, _ = image.shape
            self.assertEqual(side, width)
            self.assertBetween(side, 9, 3 * make_dummy_data.SQUARE)
            np.testing.assert_allclose(points[0], (side - 1) / 2, atol=1.5)
            np.testing.assert_allclose(
                points[0], _centre_of_red(image), atol=0.6
            )

    def test_every_frame_is_in_a_clip_once(self):
        self.assertEqual(
            self._frames("train"),
            {"a.mp4": list(range(40)), "more/b.avi": list(range(12))},
        )

    def test_stride_start_and_end(self):
        self.assertEqual(
            self._frames("train", stride=4, start=3, end=20),
            {"a.mp4": [3, 7, 11, 15, 19], "more/b.avi": [3, 7, 11]},
        )

    def test_videos_are_held_out_whole_if_there_are_enough(self):
        options = {"test_fraction": 0.5, "keypoints": self.keypoints}
        self.assertEqual(
            self._frames("train", **options), {"a.mp4": list(range(40))}
        )
        self.assertEqual(
            self._frames("annotated_test", **options), {"more/b.avi": [2, 11]}
        )

    def test_else_the_last_part_of_each_is_held_out(self):
        self._leave_only_a()
        options = {
            "val_fraction": 0.25,
            "test_fraction": 0.5,
            "keypoints": self.keypoints,
        }
        for split, expected in (
            ("train", range(10)),
            ("val", range(10, 20)),
            ("test", range(20, 40)),
            ("annotated_train", [0]),
            ("annotated_test", [20, 39]),
        ):
            with self.subTest(split):
                self.assertEqual(
                    self._frames(split, **options), {"a.mp4": list(expected)}
                )

    def test_a_frame_outside_its_track_is_left_out(self):
        frames = self._frames("train", boxes=self.boxes)
        self.assertEqual(frames["more/b.avi"], list(range(2, 12)))

    def test_an_annotated_frame_outside_its_track_is_named(self):
        self._annotate("more/b.avi:0", "more/b.avi:4")
        options = {
            "keypoints": self.keypoints,
            "boxes": self.boxes,
            "test_fraction": 0.0,
        }
        with self.assertRaisesRegex(
            errors.RawDataError, "b.avi, frame 0 is annotated, but --boxes has"
        ):
            self._build(**options)
        built = self._build(skip_broken=True, **options)
        self.assertEqual(built.num_frames["annotated_train"], 1)

    def test_a_video_without_boxes_is_named(self):
        path = pathlib.Path(self.boxes)
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line for line in lines if "avi" not in line))
        with self.assertRaisesRegex(
            errors.RawDataError, "no box of 1 of 2 videos .more/b.avi"
        ):
            self._build(boxes=self.boxes)

    def test_keypoints_of_another_size_are_named(self):
        path = pathlib.Path(self.keypoints)
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines, "a.mp4:5,640,480"]))
        with self.assertRaisesRegex(
            errors.RawDataError, "a.mp4, frame 5: a keypoint at x 640, y 480"
        ):
            self._build(keypoints=self.keypoints)

    def test_annotations_at_the_start_would_leave_nothing_to_train_on(self):
        self._leave_only_a()
        self._annotate("a.mp4:0", "a.mp4:1", "a.mp4:2")
        with self.assertRaisesRegex(
            errors.RawDataError, "2 of 40 frames are left to train on"
        ):
            self._build(keypoints=self.keypoints)

    def _label_images(self, *names: str) -> None:
        """Writes frame 10 of a.mp4 as images, annotated as DeepLabCut does."""
        lines = ["scorer,me,me", "bodyparts,square,square", "coords,x,y"]
        for name in names:
            path = self.raw_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(make_dummy_data.draw(10)).save(path)
            x, y = make_dummy_data.column(10), make_dummy_data.ROW
            lines.append(f"labeled-data/{name},{x},{y}")
        pathlib.Path(self.keypoints).write_text("\n".join(lines))

    def test_annotated_images_are_cut_like_frames(self):
        names = [f"a/img{number:03d}.png" for number in (7, 3, 1, 5, 9)]
        self._label_images(*names)
        shutil.rmtree(self.raw_dir / "more")
        options = {"keypoints": self.keypoints, "motion_crop": True}

        train = self._clips("annotated_train", **options)
        test = self._clips("annotated_test", **options)

        ids = [clip["clip_id"].decode() for clip in test]
        self.assertEqual(ids, ["a/img009.png"])  # A fifth, the last.
        self.assertEqual({clip["video"] for clip in train}, {b"a"})
        self.assertLen(train, 4)
        for clip in (*train, *test):
            (image,), (points,) = (
                clip["frames"][name] for name in ("image", "keypoints")
            )
            self.assertLess(image.shape[0], 3 * make_dummy_data.SQUARE)
            np.testing.assert_allclose(
                points[0], _centre_of_red(image), atol=0.6
            )

    def test_deeplabcut_names_mean_frames_if_there_are_no_images(self):
        self._label_images("a/img0010.png")
        shutil.rmtree(self.raw_dir / "a")
        found = self._frames(
            "annotated_train", keypoints=self.keypoints, test_fraction=0.0
        )
        self.assertEqual(found, {"a.mp4": [10]})

    def _annotate(self, *names: str) -> None:
        lines = ["image,square_x,square_y", *(f"{n},9,25" for n in names)]
        pathlib.Path(self.keypoints).write_text("\n".join(lines))

    def test_the_test_takes_its_share_of_what_is_annotated(self):
        # more/b.avi, the last by name, has no annotation to test with.
        self._annotate(*(f"a.mp4:{index}" for index in (0, 10, 20, 30)))
        options = {"keypoints": self.keypoints, "test_fraction": 0.25}
        for split, expected in (
            (
                "train",
                {"a.mp4": list(range(30)), "more/b.avi": list(range(12))},
            ),
            ("test", {"a.mp4": list(range(30, 40))}),
            ("annotated_train", {"a.mp4": [0, 10, 20]}),
            ("annotated_test", {"a.mp4": [30]}),
        ):
            with self.subTest(split):
                self.assertEqual(self._frames(split, **options), expected)

    def test_images_of_a_video_are_held_out_with_their_frames(self):
        names = [f"a/img{index:04d}.png" for index in (3, 10, 25, 30)]
        self._label_images(*names)
        shutil.rmtree(self.raw_dir / "more")
        options = {"keypoints": self.keypoints, "test_fraction": 0.5}

        test = self._clips("annotated_test", **options)

        self.assertCountEqual(
            [clip["clip_id"].decode() for clip in test], names[2:]
        )
        self.assertEqual(
            self._frames("train", **options), {"a.mp4": list(range(25))}
        )

    def test_images_of_one_video_do_not_hide_frames_of_another(self):
        self._label_images("b/img0010.png", "a/img0010.png")
        shutil.rmtree(self.raw_dir / "a")
        found = self._clips(
            "annotated_train", keypoints=self.keypoints, test_fraction=0.0
        )
        self.assertCountEqual(
            [clip["clip_id"] for clip in found], [b"a.mp4:10", b"b/img0010.png"]
        )

    def test_an_annotated_frame_that_is_not_there_is_named(self):
        self._annotate("a.mp4:40", "a.mp4:3")
        options = {"keypoints": self.keypoints, "test_fraction": 0.0}
        with self.assertRaisesRegex(
            errors.RawDataError,
            "1 annotated frames .*a.mp4:40: a.mp4 has 40 frames",
        ):
            self._build(**options)

        built = self._build(skip_broken=True, **options)

        self.assertEqual(built.num_frames["annotated_train"], 1)
        self.assertIn(
            f"{self.keypoints}: 1 entries read; left out: 1 beyond the end of"
            " their video (a.mp4:40)",
            built.counts,
        )

    def test_annotations_of_a_broken_video_end_no_build(self):
        self._annotate("a.mp4:3", "more/b.avi:3")
        (self.raw_dir / "more/b.avi").write_text("Not a video.")
        options = {"keypoints": self.keypoints, "test_fraction": 0.0}
        with self.assertRaisesRegex(errors.RawDataError, "more/b.avi does not"):
            self._build(**options)
        built = self._build(skip_broken=True, **options)
        self.assertEqual(built.num_frames, {"train": 40, "annotated_train": 1})
        self.assertLen(built.skipped, 1)

    def test_an_annotated_video_that_is_not_there_is_counted(self):
        self._annotate("a.mp4:3", "c.mp4:3")
        options = {"keypoints": self.keypoints, "test_fraction": 0.0}
        with self.assertRaisesRegex(
            errors.RawDataError, "1 of 2 entries have no image or video there"
        ):
            self._build(**options)
        built = self._build(skip_broken=True, **options)
        self.assertEqual(built.num_frames["annotated_train"], 1)

    def test_annotated_frames_that_are_not_used_are_counted(self):
        self._annotate("a.mp4:3", "a.mp4:30")
        (self.raw_dir / "still.png").write_bytes(b"")
        (self.raw_dir / "notes.txt").touch()
        built = self._build(keypoints=self.keypoints, test_fraction=0.0, end=20)
        self.assertIn(
            f"{self.keypoints}: 1 entries read; left out: 1 in a part that is"
            " not used for annotations (a.mp4:30)",
            built.counts,
        )
        self.assertIn(f"{self.raw_dir}: 2 videos read", built.counts[0])
        self.assertIn("not annotated (still.png)", built.counts[0])
        self.assertIn("notes.txt", built.counts[0])

    def test_names_written_as_macos_does(self):
        name = unicodedata.normalize("NFD", "Zoë.mp4")
        shutil.rmtree(self.raw_dir / "more")
        os.rename(self.raw_dir / "a.mp4", self.raw_dir / name)
        self._annotate("Zoë.mp4:3")
        path = pathlib.Path(self.boxes)
        path.write_text(
            "video;frame;top;left;height;width\n"
            "Zoë.mp4;0;0,5;0;24;24\nZoë.mp4;39;0;0;24;24\n"
        )
        found = self._frames(
            "annotated_train",
            keypoints=self.keypoints,
            boxes=self.boxes,
            test_fraction=0.0,
        )
        self.assertEqual(found, {name: [3]})

    def test_a_point_far_outside_costs_its_frame_alone(self):
        path = pathlib.Path(self.keypoints)
        lines = ["image,a_x,a_y", "a.mp4:3,9,9", "a.mp4:5,999,9", "a.mp4:7,9,9"]
        path.write_text("\n".join(lines))
        options = {"keypoints": self.keypoints, "test_fraction": 0.0}
        with self.assertRaisesRegex(
            errors.RawDataError, "a.mp4, frame 5: a keypoint at x 999"
        ):
            self._build(**options)
        built = self._build(skip_broken=True, **options)
        self.assertEqual(built.num_frames["annotated_train"], 2)
        self.assertEqual(
            list(built.skipped), [f"{self.raw_dir / 'a.mp4'}, frame 5"]
        )

    def test_a_stated_size_of_a_frame_is_checked(self):
        path = self.raw_dir / "coco.json"
        for width, is_good in ((64, True), (65, False)):
            content = {
                "images": [
                    {
                        "id": 1,
                        "file_name": "a.mp4:3",
                        "width": width,
                        "height": 48,
                    }
                ],
                "annotations": [
                    {"image_id": 1, "category_id": 1, "keypoints": [9, 9, 2]}
                ],
                "categories": [{"id": 1, "keypoints": ["square"]}],
            }
            path.write_text(json.dumps(content))
            options = {"keypoints": str(path), "test_fraction": 0.0}
            if is_good:
                built = self._build(**options)
                self.assertEqual(built.num_frames["annotated_train"], 1)
                shutil.rmtree(built.path)
            else:
                with self.assertRaisesRegex(
                    errors.RawDataError,
                    "a.mp4, frame 3 has 64 x 48 pixels .* states 65 x 48;",
                ):
                    self._build(**options)

    def test_an_annotated_image_without_a_motion_crop_is_named(self):
        self._annotate("still.png", "a.mp4:3")
        Image.new("RGB", (30, 30)).save(self.raw_dir / "still.png")
        options = {
            "keypoints": self.keypoints,
            "motion_crop": True,
            "test_fraction": 0.0,
        }
        with self.assertRaisesRegex(errors.RawDataError, "still.png: nothing"):
            self._build(**options)
        built = self._build(skip_broken=True, **options)
        self.assertEqual(built.num_frames["annotated_train"], 1)
        self.assertLen(built.skipped, 1)

    def test_a_broken_video_is_named_or_skipped(self):
        (self.raw_dir / "more/b.avi").write_text("Not a video.")
        with self.assertRaisesRegex(errors.RawDataError, "more/b.avi does not"):
            self._build()

        built = self._build(skip_broken=True)

        self.assertLen(built.skipped, 1)
        self.assertEqual(built.num_frames, {"train": 40})

    def test_a_damaged_frame_is_named_or_left_out(self):
        path = self.raw_dir / "more/b.avi"
        data = bytearray(path.read_bytes())
        starts = [
            place
            for place in range(len(data))
            if data[place : place + 3] == b"\xff\xda\x00"  # Of a JPEG scan.
        ]
        place = starts[5] + 14
        data[place : place + 100] = bytes(range(1, 101))
        path.write_bytes(data)
        with self.assertRaisesRegex(
            errors.RawDataError, "b.avi, frame 5 is damaged .*--skip_broken"
        ):
            self._build()

        built = self._build(skip_broken=True)

        self.assertEqual(built.skipped, [f"{path}, frame 5"])
        self.assertEqual(built.num_frames, {"train": 40 + 11})
        self.assertEqual(
            self._frames("train", skip_broken=True)["more/b.avi"],
            [*range(5), *range(6, 12)],
        )

    def test_a_video_cut_off_is_named_or_used_to_where_it_ends(self):
        path = self.raw_dir / "more/b.avi"
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10])
        with self.assertRaisesRegex(
            errors.RawDataError,
            "b.avi is cut off after . of 12 frames; .*--skip",
        ):
            self._build()

        built = self._build(skip_broken=True)

        self.assertEqual(built.skipped, [str(path)])
        self.assertBetween(built.num_frames["train"], 40 + 4, 40 + 9)

    @parameterized.parameters(
        ({"stride": 0}, "--stride=0"),
        ({"max_side": 0}, "--max_side=0 must be positive"),
        ({"crop": "1,2,3"}, "--crop=1,2,3 must be top,left,height,width"),
        ({"crop": "48,0,8,8"}, "frame 0: --crop=48,0,8,8 is outside the 48 x"),
        ({"crop": "0,0,8,8", "motion_crop": True}, "give one of them"),
        ({"boxes": "no.csv"}, "--boxes=no.csv cannot be read"),
        ({"start": 100}, "nothing in .* falls into split train"),
        ({"test_fraction": 1.0}, "--test_fraction=1.0 must not"),
    )
    def test_bad_options(self, options, words):
        with self.assertRaisesRegex(errors.RawDataError, words):
            self._build(**options)

    def test_boxes_beyond_the_end_of_their_video(self):
        with open(self.boxes, "a") as file:
            file.write("a.mp4,900,1,1,9,9\n")
        with self.assertRaisesRegex(
            errors.RawDataError,
            r"a.mp4 has \d+ frames, .* frame 900, .* pass --skip_broken",
        ):
            self._build(boxes=self.boxes)
        self.assertFalse((self.root / "data").exists())
        built = self._build(boxes=self.boxes, skip_broken=True)
        self.assertIn(
            f"{self.boxes}: boxes of 2 videos or images read; left out: 1"
            " beyond the end of their video (a.mp4)",
            built.counts,
        )

    def test_boxes_of_a_video_that_is_not_there_are_counted(self):
        with open(self.boxes, "a") as file:
            file.write("c.mp4,0,1,1,9,9\n")
        built = self._build(boxes=self.boxes, skip_broken=True)
        self.assertIn(
            f"{self.boxes}: boxes of 2 videos or images read; left out: 1"
            " without a video (c.mp4)",
            built.counts,
        )

    @parameterized.parameters(
        ("video,frame", "line 1: columns must be video,frame,top,"),
        ("c.mp4,0,1,1,9,9", "1 of 3 videos with boxes are not .*'c.mp4'"),
        ("A.mp4,0,1,1,9,9", "'A.mp4', but there is a.mp4: capitals differ"),
        ("a.mp4,0,1,1,9", "line 8: 'a.mp4,0,1,1,9' must be"),
        ("a.mp4,1,1,nan,9,9", "line 8: .*nan.* must be"),
        ("a.mp4,0,1,1,9,9", "line 8: frame 0 of a.mp4 has another box"),
    )
    def test_bad_boxes(self, line, words):
        path = pathlib.Path(self.boxes)
        lines = path.read_text().splitlines()
        is_header = line.startswith("video")
        path.write_text("\n".join([line] if is_header else [*lines, line]))
        with self.assertRaisesRegex(errors.RawDataError, words):
            self._build(boxes=self.boxes)


if __name__ == "__main__":
    tfds.testing.test_main()
