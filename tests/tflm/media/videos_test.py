import fractions
import gc
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import av
import numpy as np

from data_prep.video import make_dummy_data
from tflm import errors
from tflm.media import videos

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

    @parameterized.parameters("a.mp4", "a.avi")
    def test_frames_a_second(self, name):
        self.assertEqual(videos.frame_rate(self._video(name)), 25.0)

    def test_frames_are_made_as_they_are_taken(self):
        with mock.patch.object(
            videos, "_upright", wraps=videos._upright
        ) as upright:
            frames = videos.frames(self._video("a.mp4"), stride=4)
            next(frames), next(frames)
            self.assertEqual(upright.call_count, 2)
            frames.close()

    def test_frames_do_not_wait_in_memory_for_the_garbage_collector(self):
        path = self._video("a.mp4")
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

        for _ in videos.frames(path):
            pass

        kept = [x for x in gc.get_objects() if isinstance(x, av.VideoFrame)]
        self.assertLess(len(kept), 3)

    def _copy(
        self,
        path: pathlib.Path,
        name: str,
        *,
        turn=None,
        cut_seconds=0,
        title="",
        **options,
    ) -> pathlib.Path:
        """Copies the packets of a video, as a phone or a cutter may do.

        Args:
            path: of the video.
            name: of the copy; its suffix is the container's.
            turn: arguments of PyAV's set_display_rotation.
            cut_seconds: players are told to start that late.
            title: in the copy's metadata.
            **options: of the container.
        """
        with (
            av.open(str(path)) as old,
            av.open(str(self.root / name), "w", options=options) as new,
        ):
            new.metadata["title"] = title
            (stream,) = old.streams.video
            copied = new.add_stream_from_template(stream)
            if turn:
                copied.set_display_rotation(*turn)
            for packet in old.demux(stream):
                if packet.dts is not None:  # Not the last, which is empty.
                    packet.pts -= round(cut_seconds / stream.time_base)
                    packet.dts -= round(cut_seconds / stream.time_base)
                    packet.stream = copied
                    new.mux(packet)
        return self.root / name

    @parameterized.named_parameters(
        # A counter-clockwise angle, left and right, top and bottom exchanged.
        ("quarter", (90,), lambda image: np.rot90(image)),
        ("phone", (-90,), lambda image: np.rot90(image, 3)),
        ("half", (180,), lambda image: np.rot90(image, 2)),
        ("mirror", (0, True), lambda image: image[:, ::-1]),
        ("flip", (0, False, True), lambda image: image[::-1]),
        ("both", (90, True), lambda image: np.rot90(image)[:, ::-1]),
    )
    def test_frames_are_upright(self, turn, expected):
        path = self.root / "a.mp4"
        make_dummy_data.write(path, 2)
        (_, stored), _ = videos.frames(path)

        (_, found), _ = videos.frames(self._copy(path, "b.mp4", turn=turn))

        np.testing.assert_array_equal(found, expected(stored))

    def test_a_trimmed_file_starts_where_players_start(self):
        # Frame 20 is no key frame: 15 to 19 are in the file, but not shown.
        path = self._copy(self._video("a.mp4"), "b.mp4", cut_seconds=20 / 25)

        found = list(videos.frames(path))

        self.assertEqual(videos.num_frames(path), 30)
        self.assertEqual([index for index, _ in found], list(range(30)))
        self.assertEqual([_number(image) for _, image in found][:2], [20, 21])

    @parameterized.parameters("num_frames", "frames")
    def test_a_matroska_file_cut_short_is_named(self, function):
        path = self._copy(self._video("a.mp4"), "b.mkv")
        self.assertEqual(videos.num_frames(path), NUM_FRAMES)
        self.assertLen(list(videos.frames(path)), NUM_FRAMES)

        path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])

        with self.assertRaisesRegex(
            errors.RawDataError, "b.mkv .*shorter than"
        ):
            list(getattr(videos, function)(path))

    def test_an_avi_with_dropped_frames_is_whole(self):
        path = self.root / "a.avi"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", 25)
            stream.height, stream.width = 32, 48
            for index in (*range(10), *range(20, 40)):
                frame = av.VideoFrame.from_ndarray(_grey(index), "rgb24")
                frame.pts, frame.time_base = index, fractions.Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

        self.assertLen(list(videos.frames(path)), 30)
        self.assertEqual(videos.num_frames(path), 30)

    def test_an_mp4_in_fragments_cut_short_is_named(self):
        path = self._copy(
            self._video("a.mp4"), "b.mp4", movflags="frag_keyframe+empty_moov"
        )
        self.assertLen(list(videos.frames(path)), NUM_FRAMES)

        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])

        with self.assertRaisesRegex(
            errors.RawDataError, "b.mp4 .*shorter than"
        ):
            list(videos.frames(path))

    def test_a_title_that_is_no_utf_8_does_not_matter(self):
        path = self._copy(self._video("a.mp4"), "b.mp4", title="Ma ete")
        whole = path.read_bytes()
        self.assertIn(b"Ma ete", whole)
        path.write_bytes(whole.replace(b"Ma ete", b"Ma \xe9te"))

        self.assertEqual(videos.num_frames(path), NUM_FRAMES)
        self.assertEqual(videos.frame_rate(path), 25.0)
        self.assertLen(list(videos.frames(path)), NUM_FRAMES)
        self.assertLen(list(videos.samples(path, 3)), 3)

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
            errors.RawDataError, f"^{path} does not decode as a video .*replace"
        ):
            list(videos.frames(path))

    @parameterized.parameters("num_frames", "frame_rate", "frames", "samples")
    def test_what_is_no_video_is_named(self, function):
        path = self.root / "a.mp4"
        path.write_text("Not a video.")
        arguments = [path, 3] if function == "samples" else [path]
        with self.assertRaisesRegex(errors.RawDataError, f"^{path} does not"):
            result = getattr(videos, function)(*arguments)
            list(result)


if __name__ == "__main__":
    absltest.main()
