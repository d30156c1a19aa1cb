import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
import numpy as np

from data_prep.video import make_dummy_data
from data_prep.video import video_dataset_builder
from tflm import errors
from tflm.media import boxes
from tflm.media import crops
from tflm.media import videos

DUMMY_DATA = pathlib.Path(video_dataset_builder.__file__).parent / "dummy_data"


class CropsTest(absltest.TestCase):
    def test_boxes_between_two_rows_are_interpolated(self):
        track = {10: [0.0, 8.0, 20.0, 30.0], 14: [4.0, 0.0, 20.0, 40.0]}

        self.assertEqual(crops.box_of_track(track, 11), boxes.Box(1, 6, 20, 32))
        self.assertEqual(crops.box_of_track(track, 14), boxes.Box(4, 0, 20, 40))
        self.assertIsNone(crops.box_of_track(track, 9))
        self.assertIsNone(crops.box_of_track(track, 15))

    def test_the_crop_stays_inside_the_frame(self):
        motion = crops.Motion(DUMMY_DATA / "a.mp4")
        box = motion.box(make_dummy_data.draw(51))  # At the right border.
        self.assertEqual(box.left + box.width, make_dummy_data.SIZE[1])

    def test_motion_is_found_without_frames_of_another_size(self):
        expected = crops.Motion(DUMMY_DATA / "a.mp4")
        samples = list(videos.samples(DUMMY_DATA / "a.mp4", crops.NUM_SAMPLES))
        odd = np.zeros([20, 30, 3], np.uint8)
        with mock.patch.object(
            videos, "samples", lambda path, count: iter([*samples, odd])
        ):
            found = crops.Motion(DUMMY_DATA / "a.mp4")
        image = make_dummy_data.draw(20)
        self.assertEqual(found.box(image), expected.box(image))
        self.assertIsNone(found.box(odd))

    def test_a_crop_does_not_fit_frames_of_another_size(self):
        path = DUMMY_DATA / "a.mp4"
        first, other = make_dummy_data.draw(20), np.zeros([20, 30, 3], np.uint8)
        for place, expected in (
            (crops.Place(), ""),
            (crops.Place(box=boxes.Box(0, 0, 8, 8)), "b, frame 1 has 20 x 30 "),
            (crops.Place(follows=path), "b, frame 1 has 20 x 30 pixels"),
        ):
            cropper = crops.Cropper(place)
            self.assertEqual(cropper.misfit("b, frame 0", first), "")
            found = cropper.misfit("b, frame 1", other)
            self.assertStartsWith(found, expected)
            self.assertEqual("48 x 64" in found, bool(expected))

    def test_a_crop_that_is_far_too_large_is_refused(self):
        image = np.zeros([20, 30, 3], np.uint8)
        huge = boxes.Box(0, 0, 301, 8)
        track = {0: [0.0, 0.0, 301.0, 8.0]}
        for place in (crops.Place(box=huge), crops.Place(track=track)):
            with self.assertRaisesRegex(
                errors.RawDataError,
                "^a, frame 0: the crop has 301 x 8 pixels, .* 20 x 30 .height",
            ):
                crops.Cropper(place).box("a, frame 0", image, 0)

    def test_lines_of_boxes(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "boxes.csv")
            header = ",".join(crops.BOX_COLUMNS)
            line = "a.mp4,7.0,1,2,8,9"
            path.write_text(f"{header}\n{line}\n{line}\n")
            found = crops.Tracks(str(path)).boxes("a.mp4")
            self.assertEqual(found, {7: [1.0, 2.0, 8.0, 9.0]})
            for bad, words in (
                ("a.mp4,7,1,2,8,10", "frame 7 of a.mp4 has another box"),
                ("a.mp4,7.5,1,2,8,9", "a frame from 0 on, and four numbers"),
                ("a.mp4,-1,1,2,8,9", "a frame from 0 on, and four numbers"),
                ("a.mp4,nan,1,2,8,9", "a frame from 0 on, and four numbers"),
                ("a.mp4,3,1,2,8,nan", "a frame from 0 on, and four numbers"),
                ("a.mp4,3,1,2,8,1e300", "a frame from 0 on, and four numbers"),
            ):
                path.write_text(f"{header}\n{line}\n{bad}\n")
                with self.assertRaisesRegex(
                    errors.RawDataError, f"line 3: .*{words}"
                ):
                    crops.Tracks(str(path))

    def test_a_still_scene_has_no_motion(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "still.mp4")
            make_dummy_data.write(path, 10, lambda _: make_dummy_data.draw(3))
            with self.assertRaisesRegex(errors.RawDataError, "nothing moves"):
                crops.Motion(path)


if __name__ == "__main__":
    absltest.main()
