import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import av
import numpy as np

from tflm import errors
from tflm.drawing import movies

SIZE = (45, 63)  # Both odd.


def _frame(index: int) -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([5 * y, 4 * x, 0 * x + 20 * index], -1).astype(np.uint8)


class MovieTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )

    @parameterized.parameters(
        ("a.mp4", "h264", (46, 64)), ("b.GIF", "gif", SIZE)
    )
    def test_frames_are_what_was_written(self, name, codec, size):
        path = self.root / name
        with movies.Movie(path, 12.5) as movie:
            for index in range(10):
                movie.write(_frame(index))
            self.assertFalse(path.exists())

        self.assertEqual([*self.root.iterdir()], [path])
        with av.open(str(path)) as container:
            (stream,) = container.streams
            self.assertEqual(stream.codec_context.name, codec)
            frames = [*container.decode(stream)]
        self.assertLen(frames, 10)
        times = [float(frame.pts * frame.time_base) for frame in frames]
        np.testing.assert_allclose(times, np.arange(10) / 12.5, atol=1e-6)
        for index, frame in enumerate(frames):
            image = frame.to_ndarray(format="rgb24").astype(int)
            self.assertEqual(image.shape[:2], size)
            error = np.abs(image[: SIZE[0], : SIZE[1]] - _frame(index))
            self.assertLess(error.mean(), 6.0)

    def test_an_mp4_is_one_that_every_player_plays(self):
        with movies.Movie(self.root / "a.mp4", 30000 / 1001) as movie:
            movie.write(_frame(0))
            movie.write(_frame(1))
        with av.open(str(self.root / "a.mp4")) as container:
            (stream,) = container.streams
            self.assertEqual(stream.codec_context.pix_fmt, "yuv420p")
            self.assertEqual(
                (
                    stream.average_rate.numerator,
                    stream.average_rate.denominator,
                ),
                (30000, 1001),
            )
            # The last row and column are repeated, not black.
            image = next(container.decode(stream)).to_ndarray(format="rgb24")
        np.testing.assert_allclose(image[45, 30], _frame(0)[44, 30], atol=25)
        np.testing.assert_allclose(image[20, 63], _frame(0)[20, 62], atol=25)

    @parameterized.parameters("a.mp4", "a.gif")
    def test_an_error_leaves_what_was_there(self, name):
        (self.root / name).write_text("old")
        with self.assertRaisesRegex(RuntimeError, "stop"):
            with movies.Movie(self.root / name, 25) as movie:
                movie.write(_frame(0))
                raise RuntimeError("stop")
        self.assertEqual((self.root / name).read_text(), "old")
        self.assertLen([*self.root.iterdir()], 1)

    @parameterized.parameters("a.mp4", "a.gif")
    def test_a_movie_without_frames_is_none(self, name):
        with self.assertRaisesRegex(ValueError, f"no frame .*{name}"):
            with movies.Movie(self.root / name, 25):
                pass
        self.assertEmpty([*self.root.iterdir()])

    def test_what_cannot_be_written_is_named(self):
        with self.assertRaisesRegex(errors.UserError, r"a\.webm.*\.mp4"):
            movies.Movie(self.root / "a.webm", 25)
        with self.assertRaisesRegex(ValueError, "positive, got 0"):
            movies.Movie(self.root / "a.mp4", 0)
        with self.assertRaisesRegex(ValueError, r"\[9, 9, 3\] among"):
            with movies.Movie(self.root / "a.mp4", 25) as movie:
                movie.write(_frame(0))
                movie.write(np.zeros([9, 9, 3], np.uint8))
        with self.assertRaisesRegex(ValueError, "float64"):
            with movies.Movie(self.root / "a.mp4", 25) as movie:
                movie.write(np.zeros([8, 8, 3]))


if __name__ == "__main__":
    absltest.main()
