import dataclasses
import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image

from data_prep.video import make_dummy_data
from tests.tflm.prediction import dots
from tflm import errors
from tflm.media import boxes as boxes_lib
from tflm.media import crops
from tflm.media import folders
from tflm.prediction import inputs


class InputsTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )

    def _touch(self, *names: str) -> None:
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def _find(self, *names: str) -> list[inputs.Source]:
        paths = [str(self.root / name) for name in names]
        return inputs.find(paths, self.root / "predictions").sources

    def test_a_folder_s_images_share_a_table_and_videos_have_their_own(self):
        self._touch("in/b.JPG", "in/a/c.png", "in/a/v.mp4", "in/w.avi")
        self._touch("in/notes.txt", "in/.hidden.png", "in/.git/d.png")
        root = str(self.root / "in")

        self.assertEqual(
            self._find("in"),
            [
                inputs.Images("in", root, ["a/c.png", "b.JPG"]),
                inputs.Video("a/v", root, "a/v.mp4"),
                inputs.Video("w", root, "w.avi"),
            ],
        )

    def test_images_that_are_named_share_a_table_once_each(self):
        self._touch("b.png", "in/a.png", "in/v.wmv")
        b, a = str(self.root / "b.png"), str(self.root / "in/a.png")

        self.assertEqual(
            self._find("b.png", "in/v.wmv", "in/a.png", "./b.png"),
            [
                inputs.Images("images", "", [b, a]),
                inputs.Video("v", str(self.root / "in"), "v.wmv"),
            ],
        )

    def test_what_was_written_before_is_no_input(self):
        self._touch("a.png", "predictions/a.png", "predictions/v.mp4")

        (found,) = self._find(".")

        self.assertEqual(found.paths, ["a.png"])
        self.assertEqual(found.name, self.root.name)

    def test_drawings_beside_the_images_are_no_input(self):
        self._touch("in/a.png", "in/v.mp4", "in/v_overlay.mp4")
        self._touch("in/in_overlay/a.png.jpg", "in/b_overlay.png")
        folder = self.root / "in"

        images, video = inputs.find([str(folder)], folder).sources

        self.assertEqual(images.paths, ["a.png", "b_overlay.png"])
        self.assertEqual(video.path, "v.mp4")

    def test_names_are_their_own(self):
        self._touch("x/in/a.png", "y/in/a.png", "x/in/in.mp4", "y/in.avi")

        found = self._find("x/in", "y/in", "y/in.avi")

        self.assertEqual(
            [source.name for source in found], ["in", "in_2", "in_3", "in_4"]
        )

    def test_what_is_not_there_is_said_in_one_line(self):
        (self.root / "empty").mkdir()
        self._touch("notes/notes.txt")
        for names, message in (
            (["nowhere"], "nowhere does not exist; give"),
            (["empty"], "empty holds no image .*and no video"),
            (["notes"], "notes holds no image"),
            ([], "nothing to predict; give"),
        ):
            with self.assertRaisesRegex(errors.UserError, message) as caught:
                self._find(*names)
            self.assertNotIn("\n", str(caught.exception))

    def test_one_odd_input_does_not_cost_the_others(self):
        self._touch("a.png", "in/b.png", "in/notes.txt", "in/c.HEIC")
        (self.root / "empty").mkdir()
        paths = [
            str(self.root / name)
            for name in ("a.png", "gone", "empty", "in", "long" * 99)
        ]

        found = inputs.find(paths, self.root / "predictions")

        self.assertEqual(
            [one.paths for one in found.sources], [[paths[0]], ["b.png"]]
        )
        self.assertEqual(
            [one.path for one in found.broken], [*paths[1:3], paths[4]]
        )
        self.assertRegex(
            found.broken[2].message, "long cannot be read .File name too long.;"
        )
        self.assertEqual(
            found.left_out,
            {
                folders.OTHER_ENDING: [f"{paths[3]}/notes.txt"],
                folders.UNREAD: [f"{paths[3]}/c.HEIC"],
            },
        )

    def test_a_file_of_another_ending_is_what_its_first_bytes_say(self):
        Image.new("RGB", (4, 4)).save(self.root / "photo.dat", "PNG")
        heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
        (self.root / "IMG_1.HEIC").write_bytes(heic)
        make_dummy_data.write(self.root / "a.mp4", 2)
        (self.root / "a.mp4").rename(self.root / "a.ts")

        image, video = self._find("photo.dat", "IMG_1.HEIC", "a.ts")

        self.assertEqual(
            image.paths,
            [str(self.root / name) for name in ("photo.dat", "IMG_1.HEIC")],
        )
        self.assertEqual(video.path, "a.ts")
        _, broken = inputs.read(image, inputs.ALL_FRAMES)
        self.assertIn(
            "is a HEIC photo, which is not read; conv", broken.message
        )

    def test_linked_folders_are_read_but_not_the_output(self):
        self._touch("day1/a.png", "predictions/b.png")
        (self.root / "in").mkdir()
        for name in ("day1", "predictions"):
            (self.root / "in" / name).symlink_to(self.root / name)

        (found,) = self._find("in")

        self.assertEqual(found.paths, ["day1/a.png"])

    def test_long_names_leave_room_for_endings(self):
        name = "\u00e9" * 120  # 240 bytes.
        self._touch(f"in/{name}.mp4", f"in/{name[1:]}.mp4")

        found = self._find("in")

        shortened = name[:100]
        self.assertEqual(
            [one.name for one in found], [shortened, f"{shortened}_2"]
        )

    def test_crops_are_those_of_the_training_unless_told_otherwise(self):
        sources = [
            inputs.Images("images", "", ["a.png"]),
            inputs.Video("v", "in", "v.mp4"),
        ]
        boxes = self.root / "boxes.csv"
        boxes.write_text("video,frame,top,left,height,width\nv.mp4,3,1,2,8,9\n")

        for crop, of_image, of_video, message in (
            ("", crops.Place(), crops.Place(), "^$"),
            (
                "--crop=1,2,3,4",
                crops.Place(box=boxes_lib.Box(1, 2, 3, 4)),
                crops.Place(box=boxes_lib.Box(1, 2, 3, 4)),
                "by --crop=1,2,3,4; --crop=none takes whole frames",
            ),
            (
                "--motion_crop",
                crops.Place(),
                crops.Place(follows=pathlib.Path("in/v.mp4")),
                "by --motion_crop .videos alone: cut your images out alike.;",
            ),
            (
                f"--boxes={boxes}",
                crops.Place(),
                crops.Place(track={3: [1.0, 2.0, 8.0, 9.0]}),
                "by --boxes=",
            ),
            (
                "a square around the signer",
                crops.Place(),
                crops.Place(),
                "a square around the signer; if your images are not cropped",
            ),
        ):
            with self.subTest(crop):
                found, line = inputs.cropped_as_trained(sources, crop)
                self.assertEqual(
                    [one.place for one in found], [of_image, of_video]
                )
                self.assertRegex(line, message)
                self.assertNotIn("\n", line)

    def test_boxes_of_other_videos_are_no_boxes_of_these(self):
        boxes = self.root / "boxes.csv"
        boxes.write_text("video,frame,top,left,height,width\nw.mp4,3,1,2,8,9\n")

        with self.assertRaisesRegex(errors.UserError, "or --crop=none for"):
            inputs.cropped_as_trained(
                [inputs.Video("v", "in", "v.mp4")], f"--boxes={boxes}"
            )

    def test_frames_of_a_video(self):
        make_dummy_data.write(self.root / "a.mp4", 12)
        (source,) = self._find("a.mp4")
        every_third = inputs.Selection(start=1, end=9, stride=3)

        found = list(inputs.read(source, every_third))

        self.assertEqual([frame.index for frame in found], [1, 4, 7])
        self.assertEqual(found[1].file_name, "a.mp4:4")
        self.assertEqual(found[1].image_size, make_dummy_data.SIZE)
        self.assertEqual(found[1].image.shape, (*make_dummy_data.SIZE, 3))
        self.assertEqual(inputs.count(source, every_third), 3)
        self.assertEqual(inputs.count(source, inputs.ALL_FRAMES), 12)

    def test_boxes_beyond_the_end_of_a_video_are_told_after_its_frames(self):
        make_dummy_data.write(self.root / "a.mp4", 12)
        (source,) = self._find("a.mp4")
        for last, is_told in ((11, False), (12, True)):
            track = {0: [0.0, 0.0, 8.0, 8.0], last: [9.0, 9.0, 8.0, 8.0]}
            tracked = dataclasses.replace(
                source, place=crops.Place(track=track)
            )
            *frames, end = inputs.read(tracked, inputs.Selection(end=6))
            self.assertEqual(isinstance(end, errors.Broken), is_told)
            self.assertLen(frames, 6 if is_told else 5)
        self.assertRegex(
            end.message,
            "a.mp4 has 12 frames, from 0 on, but --boxes has a box of its"
            " frame 12",
        )

    def test_images_are_read_as_they_are_seen_and_broken_ones_told(self):
        expected = dots.write_kinds(self.root / "in")
        self._touch("in/broken.jpg")
        Image.new("RGB", (1, 9)).save(self.root / "in" / "thin.png")
        (source,) = self._find("in")

        found = list(inputs.read(source, inputs.ALL_FRAMES))

        broken = [one for one in found if isinstance(one, errors.Broken)]
        frames = [one for one in found if isinstance(one, inputs.Frame)]
        self.assertEqual(
            [one.path for one in broken], ["broken.jpg", "thin.png"]
        )
        self.assertEqual([frame.index for frame in frames], [*expected])
        for frame in frames:
            size, dot = expected[frame.index]
            self.assertEqual(frame.image_size, size)
            bright = np.unravel_index(np.argmax(frame.image.sum(axis=-1)), size)
            np.testing.assert_allclose(bright, dot, atol=1.5)


if __name__ == "__main__":
    absltest.main()
