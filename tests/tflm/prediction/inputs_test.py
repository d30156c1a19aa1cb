import pathlib
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image

from data_prep.video import make_dummy_data
from tests.tflm.prediction import dots
from tflm import errors
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
        return inputs.find(paths, self.root / "predictions")

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

        images, video = inputs.find([str(folder)], folder)

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
