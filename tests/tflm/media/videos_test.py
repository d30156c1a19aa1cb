import contextlib
import fractions
import gc
import io
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import av
import numpy as np
import PIL.Image

from data_prep.video import make_dummy_data
from tflm import errors
from tflm.media import videos
from tflm.media.videos import containers
from tflm.media.videos import decoding

NUM_FRAMES = 50
STEP = 5  # Grey levels from one frame to the next.
_REGULAR = "keyint=12:min-keyint=12:scenecut=0:b-adapt=0"


def _grey(index: int) -> np.ndarray:
    return np.full([32, 48, 3], STEP * index, np.uint8)


def _number(image: np.ndarray) -> int:
    return round(float(image.mean()) / STEP)


def _numbers(frames) -> list[int | None]:
    """What the pictures show; None: damaged."""
    return [
        None if frame.image is None else _number(frame.image)
        for frame in frames
    ]


def _cut(path: pathlib.Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: round(len(whole) * share)])


def _packet_like(packet: av.Packet, data: bytes) -> av.Packet:
    copy = av.Packet(data)
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
    return copy


def _damage(wanted: int):
    """Changes the inner bytes of one packet: its data, not its header."""

    def change(number: int, packet: av.Packet) -> av.Packet:
        if number != wanted:
            return packet
        data = bytearray(bytes(packet))
        noise = np.random.default_rng(0).integers(1, 255, len(data))
        first = len(data) // 2
        if data[:2] == b"\xff\xd8":  # A JPEG: beyond its tables.
            first = data.index(b"\xff\xda") + 14
        data[first:] = noise[first:].astype(np.uint8).tobytes()
        return _packet_like(packet, bytes(data))

    return change


def _halve(wanted: int):
    """Leaves the first half of one packet's picture data."""

    def change(number: int, packet: av.Packet) -> av.Packet:
        if number != wanted:
            return packet
        data = bytes(packet)
        start = data.index(b"\xff\xda")  # Of the scan.
        return _packet_like(packet, data[: (start + len(data)) // 2])

    return change


def _stored(image: np.ndarray, orientation: int) -> np.ndarray:
    """What a file holds of which EXIF says the orientation: by hand."""
    turned = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.swapaxes(0, 1),
        6: np.rot90(image),  # Shown turned clockwise.
        7: np.rot90(image, 2).swapaxes(0, 1),
        8: np.rot90(image, 3),
    }
    return np.ascontiguousarray(turned[orientation])


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
        self.assertEqual([frame.index for frame in found], expected)
        self.assertEqual([_number(frame.image) for frame in found], expected)
        self.assertEqual(found[0].image.shape, (32, 48, 3))
        np.testing.assert_allclose(
            [frame.seconds for frame in found], np.divide(expected, 25)
        )

    @parameterized.parameters("a.mp4", "a.avi")
    def test_number_of_frames(self, name):
        self.assertEqual(videos.num_frames(self._video(name)), NUM_FRAMES)

    @parameterized.parameters("a.mp4", "a.avi")
    def test_frames_a_second(self, name):
        self.assertAlmostEqual(videos.frame_rate(self._video(name)), 25.0)

    def test_frames_are_made_as_they_are_taken(self):
        with mock.patch.object(
            decoding, "upright", wraps=decoding.upright
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
        change=lambda number, packet: packet,
        **options,
    ) -> pathlib.Path:
        """Copies the packets of a video, as a phone or a cutter may do.

        Args:
            path: of the video.
            name: of the copy; its suffix is the container's.
            turn: arguments of PyAV's set_display_rotation.
            cut_seconds: players are told to start that late.
            title: in the copy's metadata.
            change: from a packet's number and the packet to the one that is
                copied, or None.
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
            for number, packet in enumerate(old.demux(stream)):
                if packet.dts is not None:  # Not the last, which is empty.
                    packet = change(number, packet)
                    if packet is None:
                        continue
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
        stored, _ = videos.frames(path)

        found, _ = videos.frames(self._copy(path, "b.mp4", turn=turn))

        np.testing.assert_array_equal(found.image, expected(stored.image))

    def test_a_trimmed_file_starts_where_players_start(self):
        # Frame 20 is no key frame: 15 to 19 are in the file, but not shown.
        path = self._copy(self._video("a.mp4"), "b.mp4", cut_seconds=20 / 25)

        found = list(videos.frames(path))

        self.assertEqual(videos.num_frames(path), 30)
        self.assertEqual(_numbers(found), list(range(20, 50)))
        self.assertEqual([frame.index for frame in found], list(range(30)))

    @parameterized.named_parameters(
        ("mkv", "b.mkv", {}, 0.9),
        ("mp4_index_first", "b.mp4", {"movflags": "faststart"}, 0.8),
        (
            "mp4_in_fragments",
            "b.mp4",
            {"movflags": "frag_keyframe+empty_moov"},
            0.7,
            "",
        ),
        ("avi", "b.avi", {}, 0.6),
    )
    def test_a_file_cut_off_keeps_its_whole_frames(
        self, name, options, share, of=f" of {NUM_FRAMES}"
    ):
        first = self._video("a.avi" if name.endswith("avi") else "a.mp4")
        path = self._copy(first, name, **options)
        self.assertEqual(_numbers(videos.frames(path)), list(range(NUM_FRAMES)))

        _cut(path, share)

        *found, last = videos.frames(path)
        count = videos.num_frames(path)
        self.assertBetween(count, 10, NUM_FRAMES - 3)
        self.assertEqual(_numbers(found), list(range(count)))
        self.assertIsInstance(last, errors.Broken)
        self.assertRegex(
            last.message,
            f"^{path} is cut off after {count}{of} frames; replace it$",
        )
        # What is before the cut is as it was.
        self.assertLen(list(videos.frames(path, end=10)), 10)

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

    def test_b_frames_that_are_cut_off_do_not_shift_the_last_frame(self):
        options = {"x264-params": f"bframes=2:{_REGULAR}"}
        clean = self._encoded("a.mp4", "libx264", **options)
        whole = self._copy(clean, "b.mkv").read_bytes()
        path = self.root / "c.mkv"
        for length in range(len(whole) // 2, len(whole) * 3 // 4, 40):
            path.write_bytes(whole[:length])
            *found, _ = videos.frames(path)
            self.assertEqual(_numbers(found), list(range(len(found))))

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

    def _holed(self) -> tuple[pathlib.Path, pathlib.Path]:
        """An MPEG-TS of `_grey`, and the same with a hole in the middle."""
        whole = self._encoded(
            "whole.mts", "libx264", **{"x264-params": _REGULAR}
        )
        data = whole.read_bytes()
        half = len(data) // 188 // 2 * 188
        holed = self.root / "holed.mts"
        holed.write_bytes(data[:half] + data[half + 10 * 188 :])
        return whole, holed

    def test_what_is_built_on_a_hole_is_damaged(self):
        whole, holed = self._holed()
        found = _numbers(videos.frames(holed))
        self.assertLess(len(found), NUM_FRAMES)
        self.assertBetween(found.count(None), 1, 26)  # Two groups, at most.
        first = found.index(None)
        rest = found[first + found[first:].count(None) :]
        self.assertEqual(found[:first], list(range(first)))
        self.assertEqual(rest, list(range(NUM_FRAMES))[-len(rest) :])

        joined = self.root / "joined.mts"
        joined.write_bytes(2 * whole.read_bytes())
        self.assertEqual(
            _numbers(videos.frames(joined)), 2 * list(range(NUM_FRAMES))
        )

    def test_what_follows_an_mp4_is_not_its_end(self):
        path = self._video("a.mp4")
        path.write_bytes(path.read_bytes() + b"hello, these are no data")
        self.assertEqual(_numbers(videos.frames(path)), [*range(NUM_FRAMES)])

    def test_a_file_that_is_gone_is_not_called_damaged(self):
        path = self.root / "a.mp4"
        with self.assertRaisesRegex(
            errors.RawDataError, f"^{path} cannot be read .No such file"
        ):
            list(videos.frames(path))

    def test_a_file_without_its_index_is_named(self):
        path = self._video("a.mp4")
        _cut(path, 0.5)  # The index of such an MP4 is at its end.
        with self.assertRaisesRegex(
            errors.RawDataError,
            f"^{path} does not decode as a video .its index is missing.*copy or"
            " fetch it again",
        ):
            list(videos.frames(path))

    @parameterized.parameters(
        (b"", "does not decode as a video .it is empty.; copy or fetch it"),
        (b"no video", "does not decode as a video .Invalid data.*; replace it"),
        (b"<!DOCTYPE html><html>", "is a web page; fetch the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
        (b"PK\x03\x04 walk.mp4", "is a ZIP archive; unpack it"),
        (b"RIFF\x10\0\0\0WEBPVP8X", "is a WebP; give it the ending of"),
    )
    def test_what_is_no_video_is_called_by_its_name(self, content, words):
        path = self.root / "a.mp4"
        path.write_bytes(content)
        with self.assertRaisesRegex(errors.RawDataError, f"^{path} .*{words}"):
            list(videos.frames(path))

    def _encoded(
        self,
        name: str,
        codec: str,
        seconds=None,
        count=NUM_FRAMES,
        picture=_grey,
        **options,
    ) -> pathlib.Path:
        """Frame i is shown at `seconds[i]`; 25 a second if None."""
        with av.open(str(self.root / name), "w") as container:
            stream = container.add_stream(codec, 25)
            stream.height, stream.width = 32, 48
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.options = options
            tick = fractions.Fraction(1, 25)
            if seconds is not None:
                tick = fractions.Fraction(1, 1000)
                stream.codec_context.time_base = tick
            for index in range(count):
                frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
                frame.pts = index
                if seconds is not None:
                    frame.pts = round(seconds[index] / tick)
                frame.time_base = tick
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return self.root / name

    @parameterized.named_parameters(
        ("jpeg", "mjpeg", ".avi", [20]),
        # Frames 15 to 29 are built on each other, but for the B frames.
        ("h264", "libx264", ".mkv", list(range(16, 30))),
        ("mpeg4", "mpeg4", ".avi", list(range(16, 30))),
    )
    def test_a_damaged_packet_costs_what_is_built_on_it(
        self, codec, suffix, most
    ):
        options = {} if codec == "mjpeg" else {"g": "15", "bf": "0"}
        noise = np.random.default_rng(0).integers(0, 256, [4, 6, 3], np.uint8)
        noise = np.kron(noise, np.ones([8, 8, 1], np.uint8))

        def moving(index):  # So that each frame is built on the one before.
            return np.roll(noise, 2 * index, axis=1)

        clean = self._encoded(f"a{suffix}", codec, picture=moving, **options)
        expected = [frame.image for frame in videos.frames(clean)]

        path = self._copy(clean, f"b{suffix}", change=_damage(20))

        found = list(videos.frames(path))
        self.assertLen(found, NUM_FRAMES)
        lost = [frame.index for frame in found if frame.image is None]
        self.assertIn(20, lost)
        self.assertContainsSubset(lost, most)
        for frame in found:
            if frame.image is None:
                self.assertRegex(
                    frame.problem,
                    f"^{path}, frame {frame.index} is damaged .*; replace"
                    " the video$",
                )
            else:
                np.testing.assert_array_equal(
                    frame.image, expected[frame.index]
                )

    def test_a_damaged_b_frame_costs_itself_alone(self):
        clean = self._encoded(
            "a.mp4", "libx264", **{"x264-params": f"bframes=2:{_REGULAR}"}
        )
        with av.open(str(clean)) as container:
            packets = [bytes(packet) for packet in container.demux(video=0)]
        # A unit of H.264 that no other is built on, behind its length.
        wanted = next(n for n in range(15, 25) if not packets[n][4] & 0x60)
        path = self._copy(clean, "b.mp4", change=_damage(wanted))

        found = _numbers(videos.frames(path))

        self.assertEqual(found.count(None), 1)
        self.assertEqual(
            [number for number in found if number is not None],
            [n for n in range(NUM_FRAMES) if n != found.index(None)],
        )

    def test_half_a_jpeg_is_no_frame(self):
        clean = self._encoded("a.avi", "mjpeg")
        path = self._copy(clean, "b.avi", change=_halve(20))
        found = _numbers(videos.frames(path))
        expected = list(range(NUM_FRAMES))
        expected[20] = None
        self.assertEqual(found, expected)

    @parameterized.named_parameters(
        ("mpeg2", "mpeg2video", ".mkv", {"g": "12", "bf": "2"}),
        ("mpeg2_ts", "mpeg2video", ".ts", {"g": "12", "bf": "2"}),
        (
            "h264",
            "libx264",
            ".mkv",
            {"x264-params": f"open-gop=1:bframes=2:{_REGULAR}"},
        ),
        (
            "h265",
            "libx265",
            ".mkv",
            # x265's cutree writes beyond its memory if pictures are tiny.
            {"x265-params": f"cutree=0:bframes=2:log-level=0:{_REGULAR}"},
        ),
    )
    def test_a_file_that_starts_with_an_open_group(
        self, codec, suffix, options
    ):
        clean = self._encoded(f"a{suffix}", codec, **options)
        expected = [frame.image for frame in videos.frames(clean)]
        with av.open(str(clean)) as container:
            (stream,) = container.streams
            packets = [p for p in container.demux(stream) if p.size]
        keys = [i for i, packet in enumerate(packets) if packet.is_keyframe]
        cut = [packet.pts for packet in packets[keys[1] :]]
        # Shown before the key, and built on what is cut off.
        num_leading = sum(pts < cut[0] for pts in cut)
        self.assertGreater(num_leading, 0)

        path = self.root / f"b{suffix}"
        with (
            av.open(str(clean)) as old,
            av.open(str(path), "w") as new,
        ):
            copied = new.add_stream_from_template(old.streams[0])
            packets = [p for p in old.demux(old.streams[0]) if p.size]
            for packet in packets[keys[1] :]:
                packet.stream = copied
                new.mux(packet)

        found = list(videos.frames(path))
        self.assertEqual(videos.num_frames(path), len(cut))
        self.assertEqual(
            [frame.image is None for frame in found],
            [index < num_leading for index in range(len(cut))],
        )
        for frame in found[num_leading:]:
            np.testing.assert_array_equal(
                frame.image, expected[frame.index - len(cut)]
            )

    @parameterized.parameters(".mp4", ".mkv")
    def test_frames_have_their_times(self, suffix):
        seconds = np.cumsum([0.04, 0.04, 1.0, 0.08, 0.5] * 10) + 3.0
        path = self._encoded(f"a{suffix}", "libx264", seconds)
        found = list(videos.frames(path, stride=7))
        self.assertEqual(_numbers(found), list(range(0, NUM_FRAMES, 7)))
        np.testing.assert_allclose(
            [frame.seconds for frame in found],
            (seconds - seconds[0])[::7],
            atol=1e-3,
        )

    def test_b_frames_without_time_stamps(self):
        options = {"x264-params": f"bframes=2:{_REGULAR}"}
        path = self._encoded("a.avi", "libx264", **options)
        self.assertEqual(_numbers(videos.frames(path)), list(range(NUM_FRAMES)))
        raw = self._encoded("a.h264", "libx264", **options)
        found = list(videos.frames(raw))
        self.assertEqual(_numbers(found), list(range(NUM_FRAMES)))
        np.testing.assert_allclose(
            [frame.seconds for frame in found], np.arange(NUM_FRAMES) / 25
        )

    def _streamed(self, name: str) -> pathlib.Path:
        """As a browser records: neither duration nor index."""
        written = io.BytesIO()

        class Pipe:
            def write(self, data):
                return written.write(data)

        with av.open(str(self._video("a.mp4"))) as old:
            (stream,) = old.streams
            with av.open(Pipe(), "w", format="matroska") as new:
                copied = new.add_stream_from_template(stream)
                for packet in old.demux(stream):
                    if packet.dts is not None:
                        packet.stream = copied
                        new.mux(packet)
        (self.root / name).write_bytes(written.getvalue())
        with av.open(str(self.root / name)) as container:
            self.assertIsNone(container.duration)
        return self.root / name

    def test_a_file_without_duration_has_the_same_samples(self):
        path = self._streamed("b.mkv")

        self.assertEqual(videos.num_frames(path), NUM_FRAMES)
        expected = [_number(i) for i in videos.samples(self.root / "a.mp4", 7)]
        found = [_number(image) for image in videos.samples(path, 7)]
        self.assertEqual(found, expected)
        self.assertEqual(_numbers(videos.frames(path)), list(range(NUM_FRAMES)))

    @parameterized.parameters("raises", "leads elsewhere")
    def test_samples_do_without_seeking(self, how):
        path = self._video("a.mp4")
        expected = [_number(image) for image in videos.samples(path, 7)]
        opened = containers.opened

        class Container:
            def __init__(self, container):
                self.container = container

            def seek(self, *arguments, **options):
                if how == "raises":
                    raise PermissionError("cannot seek")

            def __getattr__(self, name):
                return getattr(self.container, name)

        @contextlib.contextmanager
        def without_seeking(path):
            with opened(path) as (container, stream):
                yield Container(container), stream

        with mock.patch.object(containers, "opened", without_seeking):
            found = [_number(image) for image in videos.samples(path, 7)]

        self.assertEqual(found, expected)

    def test_jpegs_are_upright_as_their_exif_says(self):
        """Each on its own; FFmpeg has kinds of data that PyAV has not."""
        upright = make_dummy_data.draw(3)
        with av.open(str(self.root / "a.mkv"), "w") as container:
            stream = container.add_stream("mjpeg", 25)
            stream.height, stream.width = upright.shape[:2]
            stream.pix_fmt = "yuvj444p"
            for number, orientation in enumerate((1, *range(1, 9))):
                exif = PIL.Image.Exif()
                exif[0x0112] = orientation
                file = io.BytesIO()
                stored = _stored(upright, orientation)
                PIL.Image.fromarray(stored).save(
                    file, "JPEG", exif=exif, quality=95, subsampling=0
                )
                packet = av.Packet(file.getvalue())
                packet.pts = packet.dts = number
                packet.time_base = fractions.Fraction(1, 25)
                packet.stream, packet.is_keyframe = stream, True
                container.mux(packet)

        found = list(videos.frames(self.root / "a.mkv"))

        self.assertLen(found, 9)
        for frame in found:
            self.assertEqual(frame.image.shape, upright.shape)
            difference = np.abs(frame.image.astype(int) - upright)
            self.assertLess(difference.mean(), 4.0, frame.index)

    @parameterized.parameters("num_frames", "frame_rate", "frames", "samples")
    def test_whatever_a_library_raises_is_one_line(self, function):
        path = self._video("a.mp4")
        arguments = [path, 3] if function == "samples" else [path]

        def fail(*arguments, **options):
            raise RuntimeError("31 is not\na valid Type")

        with (
            mock.patch.object(av, "open", fail),
            self.assertRaisesRegex(
                errors.RawDataError,
                f"^{path} does not decode as a video .RuntimeError: 31 is not a"
                " valid Type.; replace it",
            ),
        ):
            list(getattr(videos, function)(*arguments))

    def test_what_a_library_raises_at_a_frame_costs_that_frame(self):
        path = self._video("a.mp4")
        number = 0

        def fail(frame, turn):
            nonlocal number
            number += 1
            if number == 8:
                raise RuntimeError("odd")
            return upright(frame, turn)

        upright = decoding.upright
        with mock.patch.object(decoding, "upright", fail):
            found = list(videos.frames(path))

        self.assertEqual([f.index for f in found if f.image is None], [7])
        self.assertIn("a.mp4, frame 7 is damaged (Runtime", found[7].problem)

    def test_a_file_of_which_no_frame_decodes_is_named(self):
        clean = self._encoded("a.avi", "mjpeg", count=12)
        path = self._copy(
            clean,
            "b.avi",
            change=lambda number, packet: _damage(number)(number, packet),
        )
        with self.assertRaisesRegex(
            errors.RawDataError, f"^{path} does not decode .*no frame of it"
        ):
            list(videos.frames(path))

    def test_what_has_no_moving_pictures_is_named(self):
        path = self.root / "a.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", 44100, layout="mono")
            frame = av.AudioFrame.from_ndarray(
                np.zeros([1, 1024], np.float32), "fltp", "mono"
            )
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        with self.assertRaisesRegex(errors.RawDataError, "of moving pictures"):
            list(videos.frames(path))
        path.write_bytes(b"")
        with self.assertRaisesRegex(errors.RawDataError, f"^{path} does not"):
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
