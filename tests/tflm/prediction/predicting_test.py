import csv
import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
from unittest import mock
import weakref

from absl.testing import absltest
import numpy as np
from PIL import Image

from data_prep import annotations
from data_prep.video import make_dummy_data
from tests.tflm.prediction import dots
from tflm import errors
from tflm.media import boxes
from tflm.media import folders
from tflm.media import videos
from tflm.prediction import inputs
from tflm.prediction import predicting

_SIZE = (48, 80)  # Of the video.


def _dot(index: int) -> tuple[float, float]:
    """Of the video's frame `index`: (y, x), pixels."""
    return 20.0 + index / 2, 25.0 + index


def _frame(index: int) -> np.ndarray:
    return dots.draw(_SIZE, _dot(index))


class PredictTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )
        self.output_dir = self.root / "predictions"

    def _predict(
        self,
        *names: str,
        detector=None,
        crop=None,
        boxes=None,
        motion_crop=False,
        **options,
    ):
        found = inputs.find(
            [str(self.root / name) for name in names], self.output_dir
        )
        return predicting.predict(
            detector or dots.detector(),
            found.with_sources(
                inputs.cropped(found.sources, crop, boxes, motion_crop)
            ),
            self.output_dir,
            model="dots",
            **options,
        )

    def _csv(self, name: str) -> list[list[str]]:
        with open(self.output_dir / name, newline="") as file:
            return list(csv.reader(file))

    def _json(self, name: str) -> dict:
        return json.loads((self.output_dir / name).read_text())

    def _everything_written(self) -> list[str]:
        return sorted(
            path.relative_to(self.output_dir).as_posix()
            for path in self.output_dir.rglob("*")
            if path.is_file()
        )

    def test_dots_are_where_they_are_in_the_original_images(self):
        expected = dots.write_kinds(self.root / "in")

        outcome = self._predict("in")

        rows = self._csv("in.csv")
        self.assertEqual(rows[0], ["scorer", *["tflm"] * 6])
        self.assertEqual(
            rows[1], ["bodyparts", *["landmark_00"] * 3, *["landmark_01"] * 3]
        )
        self.assertEqual(rows[2], ["coords", *["x", "y", "likelihood"] * 2])
        self.assertEqual([row[0] for row in rows[3:]], [*expected])
        for name, *cells in rows[3:]:
            (height, width), (y, x) = expected[name]
            numbers = [float(cell) for cell in cells]
            np.testing.assert_allclose(
                numbers,
                # The second landmark is in the middle of the view.
                [x, y, 0.75, (width - 1) / 2, (height - 1) / 2, 0.5],
                atol=0.3,
                err_msg=name,
            )
        self.assertEqual(
            outcome,
            predicting.Outcome(
                [self.output_dir / "in.csv", self.output_dir / "in.json"],
                num_files=len(expected),
            ),
        )

    def test_the_json_is_coco_s_and_says_the_same(self):
        expected = dots.write_kinds(self.root / "in")

        self._predict(
            "in", detector=dots.detector(keypoint_map=dots.KEYPOINT_MAP)
        )

        found = self._json("in.json")
        (category,) = found["categories"]
        names = ["landmark_00", "landmark_01", "nose", "tail"]
        self.assertEqual(category["keypoints"], names)
        rows = self._csv("in.csv")[3:]
        self.assertLen(found["images"], len(expected))
        self.assertLen(found["annotations"], len(expected))
        self.assertLen({one["id"] for one in found["annotations"]}, len(rows))
        images = {image["id"]: image for image in found["images"]}
        self.assertLen(images, len(rows))
        for one, (name, *cells) in zip(found["annotations"], rows):
            image = images[one["image_id"]]
            self.assertEqual(image["file_name"], name)
            self.assertEqual(
                (image["height"], image["width"]), expected[name][0]
            )
            self.assertEqual(one["category_id"], category["id"])
            self.assertLen(one["keypoints"], 3 * len(names))
            self.assertEqual(one["num_keypoints"], len(names))
            table = np.reshape(one["keypoints"], [-1, 3])
            of_csv = np.reshape([float(cell) for cell in cells], [-1, 3])
            np.testing.assert_array_equal(table[:, :2], of_csv[:, :2])
            # The tail is out of the image, on the left.
            self.assertEqual(table[:, 2].tolist(), [2, 2, 2, 1])
            self.assertLess(table[3, 0], 0)
            left, top, width, height = one["bbox"]
            low, high = table[:, :2].min(axis=0), table[:, :2].max(axis=0)
            np.testing.assert_allclose([left, top], low)
            np.testing.assert_allclose([width, height], high - low, atol=1e-3)
            np.testing.assert_allclose(one["area"], width * height, rtol=1e-3)

    def test_data_prep_reads_the_json_as_annotations(self):
        expected = dots.write_kinds(self.root / "in")
        self._predict("in")

        read = annotations.read(str(self.output_dir / "in.json"))

        self.assertEqual(
            list(read.keypoint_names), ["landmark_00", "landmark_01"]
        )
        for name, (_, dot) in expected.items():
            np.testing.assert_allclose(read.points(name)[0], dot, atol=0.3)

    def test_named_keypoints_come_with_the_confidence_of_their_landmarks(self):
        (_, expected), *_ = dots.write_kinds(self.root / "in").values()

        self._predict(
            "in/colour.jpg",
            detector=dots.detector(keypoint_map=dots.KEYPOINT_MAP),
        )

        _, parts, _, row = self._csv("images.csv")
        self.assertEqual(row[0], str(self.root / "in" / "colour.jpg"))
        self.assertEqual(parts[7:], ["nose"] * 3 + ["tail"] * 3)
        self.assertEqual(row[7:10], row[1:4])  # The same as landmark 0.
        self.assertEqual(row[9:13:3], ["0.75", "0.75"])
        np.testing.assert_allclose(
            [float(cell) for cell in row[7:9]], expected[::-1], atol=0.3
        )

    def test_a_video_has_a_row_of_each_frame(self):
        make_dummy_data.write(self.root / "walk.mp4", 7, _frame)

        self._predict("walk.mp4", detector=dots.detector(batch_size=3))

        rows = self._csv("walk.csv")[3:]
        self.assertEqual([row[0] for row in rows], list("0123456"))
        for index, row in enumerate(rows):
            y, x = _dot(index)
            np.testing.assert_allclose(
                [float(cell) for cell in row[1:3]], [x, y], atol=0.3
            )
        found = self._json("walk.json")
        self.assertEqual(
            [image["file_name"] for image in found["images"]],
            [f"walk.mp4:{index}" for index in range(7)],
        )

    def test_some_frames_of_a_video(self):
        make_dummy_data.write(self.root / "walk.mp4", 7, _frame)

        self._predict("walk.mp4", selection=inputs.Selection(1, 6, 2))

        rows = self._csv("walk.csv")[3:]
        self.assertEqual([row[0] for row in rows], ["1", "3", "5"])
        np.testing.assert_allclose(float(rows[2][1]), _dot(5)[1], atol=0.3)

    def test_a_crop_is_looked_at_and_points_are_those_of_the_image(self):
        Image.fromarray(dots.draw((60, 90), (30.0, 50.0))).save(
            self.root / "a.png"
        )
        make_dummy_data.write(self.root / "walk.mp4", 2, _frame)

        self._predict("a.png", "walk.mp4", crop="10,15,40,60")

        # The second landmark is in the middle of what is looked at.
        centre = [15 + 59 / 2, 10 + 39 / 2]
        for name, dots_at in (
            ("images.csv", [(30.0, 50.0)]),
            ("walk.csv", [_dot(0), _dot(1)]),
        ):
            for (y, x), row in zip(dots_at, self._csv(name)[3:], strict=True):
                x_y = [float(row[i]) for i in (1, 2, 4, 5)]
                np.testing.assert_allclose(x_y, [x, y, *centre], atol=0.3)
        size = self._json("images.json")["images"][0]
        self.assertEqual((size["height"], size["width"]), (60, 90))

    def test_frames_without_a_box_have_no_points(self):
        make_dummy_data.write(self.root / "walk.mp4", 5, _frame)
        boxes = self.root / "boxes.csv"
        boxes.write_text(
            "video,frame,top,left,height,width\n"
            "walk.mp4,1,4,8,40,60\nwalk.mp4,3,8,12,40,60\n"
        )

        self._predict("walk.mp4", boxes=str(boxes), overlay=True)

        rows = self._csv("walk.csv")[3:]
        self.assertEqual([row[0] for row in rows], list("01234"))
        for index in (0, 4):
            self.assertEqual(rows[index][1:], [""] * 6)
        for index in (1, 2, 3):
            y, x = _dot(index)
            numbers = [float(cell) for cell in rows[index][1:]]
            middle = [6 + 2 * index + 59 / 2, 2 + 2 * index + 39 / 2]
            np.testing.assert_allclose(
                numbers, [x, y, 0.75, *middle, 0.5], atol=0.3
            )
        found = self._json("walk.json")
        self.assertLen(found["images"], 5)
        self.assertEqual(
            [(one["id"], one["image_id"]) for one in found["annotations"]],
            [(1, 2), (2, 3), (3, 4)],
        )
        movie = self.output_dir / "walk_overlay.mp4"
        colours = [
            np.ptp(frame.image.astype(int), axis=-1).max()
            for frame in videos.frames(movie)
        ]
        self.assertLess(max(colours[0], colours[4]), 40)  # Nothing is drawn.
        self.assertGreater(min(colours[1:4]), 80)

    def test_what_moves_is_followed(self):
        def far(index):
            return 12.0 + 6 * index, 20.0 + 10 * index

        size = (100, 150)
        make_dummy_data.write(
            self.root / "run.mp4", 8, lambda index: dots.draw(size, far(index))
        )
        make_dummy_data.write(
            self.root / "still.mp4", 8, lambda _: dots.draw(size, far(0))
        )

        with self.assertLogs("tflm", "WARNING") as logs:
            self._predict("run.mp4", "still.mp4", motion_crop=True)

        self.assertIn("still.mp4: nothing moves before", logs.output[0])
        self.assertIn("; give --crop or --boxes", logs.output[0])
        rows = self._csv("run.csv")[3:]
        for index, row in enumerate(rows):
            y, x = far(index)
            numbers = [float(cell) for cell in row[1:6]]
            np.testing.assert_allclose(numbers[:2], [x, y], atol=0.6)
            if 1 <= index <= 6:  # Else the crop ends where the frame does.
                np.testing.assert_allclose(numbers[3:], [x, y], atol=3)

    def test_a_crop_that_has_no_sense_is_refused(self):
        Image.fromarray(dots.draw((60, 90), (30.0, 50.0))).save(
            self.root / "a.png"
        )
        make_dummy_data.write(self.root / "walk.mp4", 2, _frame)
        boxes = self.root / "boxes.csv"
        boxes.write_text("video,frame,top,left,height,width\n")
        for names, options, message in (
            (["walk.mp4"], {"crop": "1,2,3"}, "--crop=1,2,3 must be top,left"),
            (
                ["walk.mp4"],
                {"crop": "1,2,3,4", "motion_crop": True},
                "--crop, --boxes and --motion_crop: give one of them$",
            ),
            (
                ["walk.mp4"],
                {"boxes": str(boxes)},
                "has no box of 1 of 1 videos .walk.mp4.; add some",
            ),
            (
                ["walk.mp4", "a.png"],
                {"motion_crop": True},
                "--motion_crop is for videos, and .*a.png is an image; name",
            ),
        ):
            with (
                self.subTest(message),
                self.assertRaisesRegex(errors.UserError, message),
            ):
                self._predict(*names, **options)
        self.assertFalse(self.output_dir.exists())

    def test_broken_files_are_named_skipped_and_counted(self):
        dots.write_kinds(self.root / "in")
        whole = (self.root / "in" / "colour.jpg").read_bytes()
        (self.root / "in" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
        make_dummy_data.write(self.root / "in" / "walk.mp4", 7, _frame)
        (self.root / "in" / "text.mp4").write_text("Not a video.")
        whole = (self.root / "in" / "walk.mp4").read_bytes()
        (self.root / "in" / "short.mp4").write_bytes(whole[: len(whole) // 2])

        with self.assertLogs("tflm", "WARNING") as logs:
            outcome = self._predict("in", overlay=True)

        messages = [record.getMessage() for record in logs.records]
        self.assertLen(messages, 3)
        for message, name in zip(
            messages, ("cut.jpg", "short.mp4", "text.mp4")
        ):
            self.assertRegex(message, f"^skipped: .*{name} does not decode")
            self.assertNotIn("--", message)  # No flags of data_prep.
        self.assertEqual((outcome.num_skipped, outcome.num_files), (3, 10))
        self.assertEqual(
            [row[0] for row in self._csv("in.csv")[3:]],
            [
                "colour.jpg",
                "deep.png",
                "grey.png",
                "more/alpha.PNG",
                "more/exif.jpg",
                "small.bmp",
            ],
        )
        self.assertEqual(
            [
                name
                for name in self._everything_written()
                if "_overlay/" not in name
            ],
            ["in.csv", "in.json", "walk.csv", "walk.json", "walk_overlay.mp4"],
        )

    def test_what_a_folder_misses_is_no_success(self):
        for reason, is_whole in (
            (folders.UNREADABLE, False),
            (folders.DANGLING, False),
            (folders.UNREAD, False),
            (folders.HIDDEN, True),
        ):
            outcome = predicting.Outcome([], 1, left_out={reason: ["a"]})
            self.assertEqual(outcome.is_whole, is_whole)

    def test_nothing_is_written_where_nothing_could_be_read(self):
        make_dummy_data.write(self.root / "walk.mp4", 7, _frame)
        (self.root / "bro\nken.png").touch()

        with self.assertLogs("tflm", "WARNING") as logs:
            outcome = self._predict(
                "bro\nken.png",
                "walk.mp4",
                selection=inputs.Selection(start=7),
            )

        self.assertLen(logs.records, 2)
        self.assertIn(r"/bro\nken.png does not decode", logs.output[0])
        self.assertIn(
            f"{self.root / 'walk.mp4'} has 7 frames, none from --start=7 on;",
            logs.output[1],
        )
        self.assertEqual(outcome, predicting.Outcome([], 2, 2))
        self.assertFalse(outcome.is_whole)
        self.assertEqual(outcome.line(), "0 of 2 files read, 2 skipped")
        self.assertEmpty(self._everything_written())

    def test_overlays_have_the_size_of_the_originals(self):
        expected = dots.write_kinds(self.root / "in")
        make_dummy_data.write(self.root / "in" / "walk.mp4", 5, _frame)

        outcome = self._predict("in", overlay=True)

        folder = self.output_dir / "in_overlay"
        self.assertIn(folder, outcome.written)
        drawn = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*.*")
        }
        self.assertCountEqual(
            drawn,
            [
                name if name.endswith(".jpg") else f"{name}.jpg"
                for name in expected
            ],
        )
        for name, (size, (y, x)) in expected.items():
            path = drawn.get(name) or drawn[f"{name}.jpg"]
            with Image.open(path) as image:
                self.assertEqual(image.size, size[::-1])
                middle = np.asarray(image.convert("RGB"), np.int32)
                colour = middle[round(y), round(x)]
                self.assertGreater(np.ptp(colour), 50, name)  # Not grey.
        movie = self.output_dir / "walk_overlay.mp4"
        self.assertIn(movie, outcome.written)
        frames = [frame.image for frame in videos.frames(movie)]
        self.assertLen(frames, 5)
        self.assertEqual(frames[0].shape, (*_SIZE, 3))

    def test_overlays_stay_in_their_folder(self):
        dots.write_kinds(self.root / "in")

        self._predict("in/../in/more/exif.jpg", overlay=True)

        (found,) = (self.output_dir / "images_overlay").rglob("exif.jpg")
        self.assertIn(self.output_dir / "images_overlay", found.parents)

    def test_two_images_have_two_overlays(self):
        dots.write_kinds(self.root / "kinds")
        for name in ("a.jpg", "in/a.jpg"):
            (self.root / name).parent.mkdir(exist_ok=True)
            shutil.copy(self.root / "kinds/colour.jpg", self.root / name)
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.root / "in")

        predicting.predict(
            dots.detector(),
            inputs.find(["a.jpg", "../a.jpg"], self.output_dir),
            self.output_dir,
            model="dots",
            overlay=True,
        )

        drawn = (self.output_dir / "images_overlay").rglob("a.jpg")
        self.assertLen(list(drawn), 2)

    def _changed(self, name: str, change) -> None:
        """Videos read as `name` give the frames that `change` makes."""
        read = videos.frames

        def changed(path, *arguments):
            for frame in read(path, *arguments):
                yield change(frame) if path.name == name else frame

        self.enter_context(mock.patch.object(videos, "frames", changed))

    def test_a_video_that_changes_its_size_has_no_drawing(self):
        make_dummy_data.write(self.root / "in" / "a.mp4", 3, _frame)
        make_dummy_data.write(self.root / "in" / "b.mp4", 3, _frame)

        def change(frame):
            size = (48, 32) if frame.index == 2 else (32, 48)
            image = dots.draw(size, (10.0, 12.0))
            return dataclasses.replace(frame, image=image)

        self._changed("a.mp4", change)
        with self.assertLogs("tflm", "WARNING") as logs:
            outcome = self._predict("in", overlay=True)

        self.assertLen(logs.output, 1)
        self.assertRegex(
            logs.output[0], "a.mp4:2: no drawing .* is 48 x 32 .* 32 x 48"
        )
        self.assertEqual((outcome.num_skipped, outcome.num_partial), (0, 1))
        self.assertEqual(
            self._everything_written(),
            ["a.csv", "a.json", "b.csv", "b.json", "b_overlay.mp4"],
        )
        self.assertNotIn(self.output_dir / "a_overlay.mp4", outcome.written)
        for row in self._csv("a.csv")[3:]:
            np.testing.assert_allclose(
                [float(cell) for cell in row[1:3]], [12, 10], atol=0.6
            )

    def test_a_crop_does_not_fit_frames_of_another_size(self):
        make_dummy_data.write(self.root / "a.mp4", 3, _frame)

        def change(frame):
            size = (60, 90) if frame.index == 1 else _SIZE
            return dataclasses.replace(
                frame, image=dots.draw(size, (20.0, 25.0))
            )

        self._changed("a.mp4", change)
        with self.assertLogs("tflm", "WARNING") as logs:
            outcome = self._predict("a.mp4", crop="0,0,40,60")

        self.assertRegex(
            logs.output[0], "a.mp4, frame 1 has 60 x 90 pixels .* 48 x 80"
        )
        rows = self._csv("a.csv")[3:]
        self.assertEqual([bool(row[1]) for row in rows], [True, False, True])
        self.assertEqual(outcome.num_partial, 1)

    def test_damaged_frames_have_empty_rows(self):
        make_dummy_data.write(self.root / "a.mp4", 20, _frame)
        damaged = (0, 3, 4, 10, 11, 12, 13)

        def change(frame):
            if frame.index not in damaged:
                return frame
            problem = f"a.mp4, frame {frame.index} is damaged (odd); replace it"
            return dataclasses.replace(frame, image=None, problem=problem)

        self._changed("a.mp4", change)
        with self.assertLogs("tflm", "WARNING") as logs:
            outcome = self._predict("a.mp4", overlay=True)

        messages = [record.getMessage() for record in logs.records]
        self.assertEqual(
            messages,
            [
                *(
                    f"skipped: a.mp4, frame {index} is damaged (odd); replace"
                    " it"
                    for index in damaged[:5]
                ),
                "skipped: 2 more frames of a.mp4",
            ],
        )
        self.assertEqual((outcome.num_skipped, outcome.num_partial), (0, 1))
        self.assertFalse(outcome.is_whole)
        rows = self._csv("a.csv")[3:]
        self.assertEqual([row[0] for row in rows], [*map(str, range(20))])
        for index, row in enumerate(rows):
            if index in damaged:
                self.assertEqual(row[1:], [""] * 6)
            else:
                y, x = _dot(index)
                np.testing.assert_allclose(
                    [float(cell) for cell in row[1:3]], [x, y], atol=0.6
                )
        for image in self._json("a.json")["images"]:
            self.assertEqual((image["height"], image["width"]), _SIZE)
        drawn = list(videos.frames(self.output_dir / "a_overlay.mp4"))
        np.testing.assert_allclose(
            [frame.seconds + 0.04 for frame in drawn],
            [index / 25 for index in range(20) if index not in damaged],
            atol=1e-3,
        )

    def test_a_video_cut_off_has_a_table_of_what_is_there(self):
        make_dummy_data.write(self.root / "a.avi", 20, _frame)
        whole = (self.root / "a.avi").read_bytes()
        (self.root / "a.avi").write_bytes(whole[: len(whole) // 2])

        with self.assertLogs("tflm", "WARNING") as logs:
            outcome = self._predict("a.avi")

        self.assertRegex(
            logs.output[0],
            r"a.avi is cut off after \d+ of 20 frames; replace it$",
        )
        rows = self._csv("a.csv")[3:]
        self.assertBetween(len(rows), 5, 15)
        self.assertTrue(all(row[1] for row in rows))
        self.assertEqual((outcome.num_skipped, outcome.num_partial), (0, 1))

    def test_overlays_keep_the_times_of_the_video(self):
        make_dummy_data.write(self.root / "a.mp4", 6, _frame)
        times = (0.0, 0.04, 1.0, 1.04, 7.0, 7.5)
        self._changed(
            "a.mp4",
            lambda frame: dataclasses.replace(
                frame, seconds=times[frame.index]
            ),
        )
        for stride in (1, 2):
            self._predict(
                "a.mp4", overlay=True, selection=inputs.Selection(stride=stride)
            )
            drawn = videos.frames(self.output_dir / "a_overlay.mp4")
            np.testing.assert_allclose(
                [frame.seconds for frame in drawn], times[::stride], atol=1e-3
            )

    def test_a_drawing_that_fails_costs_itself_alone(self):
        make_dummy_data.write(self.root / "a.mp4", 3, _frame)
        Image.fromarray(_frame(0)).save(self.root / "a.png")
        Image.fromarray(_frame(0)).save(self.root / "b.png")

        def fail(*arguments):
            raise RuntimeError("no\nencoder")

        for owner, name in (
            (predicting.drawing.movies.Movie, "write"),
            (predicting.drawing.images, "encode_jpeg"),
        ):
            self.enter_context(mock.patch.object(owner, name, fail))
        with self.assertLogs("tflm", "WARNING") as logs:
            outcome = self._predict("a.png", "b.png", "a.mp4", overlay=True)

        self.assertEqual(
            [record.getMessage().partition(": ")[2] for record in logs.records],
            ["no drawing can be made (no encoder)"] * 3,
        )
        self.assertEqual((outcome.num_skipped, outcome.num_partial), (0, 3))
        self.assertContainsSubset(
            ["a.csv", "images.csv"], self._everything_written()
        )

    def test_a_name_that_cannot_be_written_does_not_end_the_rest(self):
        make_dummy_data.write(self.root / "in" / "v.mp4", 3, _frame)
        make_dummy_data.write(self.root / "in" / "w.mp4", 3, _frame)
        (self.output_dir / "v.csv").mkdir(parents=True)

        with self.assertLogs("tflm", "WARNING") as logs:
            outcome = self._predict("in")

        self.assertRegex(logs.output[0], "skipped: .*v.csv.* cannot be written")
        self.assertEqual(outcome.num_skipped, 1)
        self.assertEqual(self._everything_written(), ["w.csv", "w.json"])

    def test_the_table_of_a_long_name_has_a_shorter_one(self):
        make_dummy_data.write(self.root / f"{'v' * 250}.mp4", 3, _frame)

        outcome = self._predict(f"{'v' * 250}.mp4", overlay=True)

        name = "v" * 200
        self.assertEqual(
            self._everything_written(),
            [f"{name}.csv", f"{name}.json", f"{name}_overlay.mp4"],
        )
        self.assertTrue(outcome.is_whole)

    def test_what_a_folder_holds_beside_is_told(self):
        dots.write_kinds(self.root / "in")
        (self.root / "in" / "IMG_1.HEIC").touch()
        (self.root / "in" / "notes.txt").touch()

        outcome = self._predict("in")

        self.assertFalse(outcome.is_whole)
        self.assertRegex(
            outcome.line(),
            "^6 of 6 files read; left out: 1 of a kind that is not read;"
            " .*IMG_1.HEIC., 1 with another ending .*notes.txt.$",
        )

    def test_images_are_read_no_further_than_a_batch_and_not_kept(self):
        alive = weakref.WeakSet()
        num_read = 0
        seen = []

        class Pixels(np.ndarray):
            """An array that a WeakSet can hold."""

            __hash__ = object.__hash__

        def read(source, selection):
            nonlocal num_read
            for index in range(10):
                image = dots.draw((40, 60), (20.0, 30.0)).view(Pixels)
                alive.add(image)
                num_read += 1
                box = boxes.Box(0, 0, 40, 60)
                frame = inputs.Frame(index, f"{index}", (40, 60), image, box)
                del image
                yield frame

        def find(views):
            seen.append((num_read, len(alive)))
            return dots.find(views)

        source = inputs.Images("many", "", [str(i) for i in range(10)])
        with mock.patch.object(inputs, "read", read):
            predicting.predict(
                dots.detector(batch_size=3, find=find),
                inputs.Inputs([source], [], {}),
                self.output_dir,
                model="dots",
            )

        read_before, held = zip(*seen)
        self.assertEqual(read_before, (3, 6, 9, 10))
        self.assertLessEqual(max(held), 2)  # That of the loop, and the last.
        self.assertLen(self._csv("many.csv"), 3 + 10)

    def test_rows_are_written_before_all_is_read(self):
        make_dummy_data.write(self.root / "walk.mp4", 7, _frame)
        added = []
        with mock.patch.object(
            predicting.outputs.Tables,
            "add",
            side_effect=lambda frame, *_: added.append(frame.index),
        ):

            def find(views):
                seen.append(list(added))
                return dots.find(views)

            seen = []
            self._predict(
                "walk.mp4", detector=dots.detector(batch_size=3, find=find)
            )
        self.assertEqual(seen, [[], [0, 1, 2], [0, 1, 2, 3, 4, 5]])

    def test_interrupted_it_leaves_nothing_under_a_final_name(self):
        dots.write_kinds(self.root / "in")
        make_dummy_data.write(self.root / "walk.mp4", 7, _frame)
        self._predict("walk.mp4", overlay=True)
        before = {
            name: (self.output_dir / name).read_bytes()
            for name in self._everything_written()
        }
        calls = []

        def find(views):
            calls.append(len(views))
            if len(calls) == 2:
                raise KeyboardInterrupt
            return dots.find(views)

        for name in ("walk.mp4", "in"):
            calls.clear()
            with self.assertRaises(KeyboardInterrupt):
                self._predict(
                    name, detector=dots.detector(3, find), overlay=True
                )
        after = {
            name: (self.output_dir / name).read_bytes()
            for name in self._everything_written()
            if not name.startswith("in_overlay/")  # Each a whole picture.
        }
        self.assertEqual(after, before)


if __name__ == "__main__":
    absltest.main()
