import pathlib
import tempfile

from absl.testing import absltest

from data_prep.video import make_dummy_data
from data_prep.video import video_dataset_builder
from tflm import errors
from tflm.media import boxes
from tflm.media import crops

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

    def test_a_still_scene_has_no_motion(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "still.mp4")
            make_dummy_data.write(path, 10, lambda _: make_dummy_data.draw(3))
            with self.assertRaisesRegex(errors.RawDataError, "nothing moves"):
                crops.Motion(path)


if __name__ == "__main__":
    absltest.main()
