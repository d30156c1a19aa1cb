import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from data_prep import clips
from data_prep import videos
from data_prep.video import make_dummy_data

NUM_FRAMES = 50
STEP = 5  # Grey levels from one frame to the next.


def _grey(index: int) -> np.ndarray:
    return np.full([32, 48, 3], STEP * index, np.uint8)


def _number(image: np.ndarray) -> int:
    return round(float(image.mean()) / STEP)


class VideosTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )

    def _video(self, name: str) -> pathlib.Path:
        make_dummy_data.write(self.root / name, NUM_FRAMES, _grey)
        return self.root / name

    @parameterized.product(
        name=["a.mp4", "a.avi"],
        which=[
            (0, None, 1),
            (0, 7, 1),
            (13, None, 1),
            (17, 44, 5),
            (49, 99, 2),
        ],
    )
    def test_a_frame_is_the_one_its_index_says(self, name, which):
        start, end, stride = which
        found = list(videos.frames(self._video(name), start, end, stride))

        expected = list(range(NUM_FRAMES))[start:end:stride]
        self.assertEqual([index for index, _ in found], expected)
        self.assertEqual([_number(image) for _, image in found], expected)
        self.assertEqual(found[0][1].shape, (32, 48, 3))

    @parameterized.parameters("a.mp4", "a.avi")
    def test_number_of_frames(self, name):
        self.assertEqual(videos.num_frames(self._video(name)), NUM_FRAMES)

    def test_frames_are_made_as_they_are_taken(self):
        with mock.patch.object(
            videos, "_upright", wraps=videos._upright
        ) as upright:
            frames = videos.frames(self._video("a.mp4"), stride=4)
            next(frames), next(frames)
            self.assertEqual(upright.call_count, 2)
            frames.close()

    @parameterized.parameters((0, 0), (90, 1), (-90, 3), (180, 2), (-180, 2))
    def test_a_rotated_frame_is_turned_counter_clockwise(self, angle, turns):
        stored = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        frame = mock.Mock(rotation=angle)
        frame.to_ndarray.return_value = stored

        np.testing.assert_array_equal(
            videos._upright(frame), np.rot90(stored, turns)
        )

    @parameterized.parameters("a.mp4", "a.avi")
    def test_samples_are_spread_evenly(self, name):
        samples = videos.samples(self._video(name), 5)

        # 50 frames in 5 parts; the middles lie between frames 4 and 5, ...
        found = [_number(image) for image in samples]
        np.testing.assert_allclose(found, [5, 15, 25, 35, 45], atol=1)

    @parameterized.parameters("a.mp4", "a.avi")
    def test_a_file_cut_short_is_named(self, name):
        path = self._video(name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with self.assertRaisesRegex(
            clips.RawDataError, f"^{path} does not decode as a video .*replace"
        ):
            list(videos.frames(path))

    @parameterized.parameters("num_frames", "frames", "samples")
    def test_what_is_no_video_is_named(self, function):
        path = self.root / "a.mp4"
        path.write_text("Not a video.")
        arguments = [path, 3] if function == "samples" else [path]
        with self.assertRaisesRegex(clips.RawDataError, f"^{path} does not"):
            result = getattr(videos, function)(*arguments)
            list(result)


if __name__ == "__main__":
    absltest.main()
