import base64
import csv
import errno
import functools
import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import tempfile
import threading
import unittest
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image
from PIL import ImageOps

from tests import browser
from tests import processes
from tests import serving_double
from tests.tflm.serving import lively_model
from tflm import configs
from tflm import errors
from tflm import serving
from tflm import web
from tflm.evaluation import keypoint_maps
from tflm.media import images as media
from tflm.serving import saved_model
from tflm.serving import tflite
from tflm.web import litert

# Of the third, each pixel of the view has many; the last is not even.
_SIZES = [(48, 48), (60, 300), (500, 170), (33, 57)]
_ARCHIVES = [b"of LiteRT.js"]
_EXIF = Image.Exif()
_EXIF[0x0112] = 6  # To be turned by a quarter, clockwise.
_NAMES = ("left <b>eye</b>", "right eye")


def _config(crop_fraction: float) -> configs.Config:
    return configs.override(
        lively_model.CONFIG, [f"data.crop_fraction={crop_fraction}"]
    )


def _images() -> list[np.ndarray]:
    """Blotches under fine stripes, that only a good resize averages away."""
    images = []
    for size in _SIZES:
        rows, columns = np.indices(size)
        stripes = (rows + 2 * columns) % 5 < 2
        blotches = lively_model.images(*size)
        images.append(np.where(stripes[..., None], blotches // 2, blotches))
    return images


def _keypoint_map() -> keypoint_maps.KeypointMap:
    """The first keypoint is landmark 1, the second between 0 and 2."""
    weights = np.zeros([3, 2, 2, 2], np.float32)  # Landmark, y or x; keypoint.
    for axis in (0, 1):
        weights[1, axis, 0, axis] = 1.0
        weights[[0, 2], axis, 1, axis] = 0.5
    return keypoint_maps.KeypointMap(
        _NAMES, weights.reshape(6, 2, 2), np.zeros([2, 2], np.float32)
    )


class WriteTest(absltest.TestCase):
    """Without LiteRT.js, so without a network."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.root = pathlib.Path(
            cls.enter_context(tempfile.TemporaryDirectory())
        )
        cls.file = cls.root / "model.tflite"
        tflite.write(cls.file, lively_model.build(), _config(0.8))

    def setUp(self):
        super().setUp()
        scratch = self.enter_context(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(scratch) / "new" / "web"
        self.unpack = self.enter_context(
            mock.patch.object(litert, "unpack", autospec=True)
        )

    def _write(self, images=(), **options):
        web.write(
            self.folder, self.file, images, _ARCHIVES, title="Mice", **options
        )

    def test_the_page_knows_the_model_and_keeps_every_pixel(self):
        images = _images()
        self._write(images)

        notes = json.loads((self.folder / "demo.json").read_text())
        self.assertEqual((notes["image_size"], notes["full_size"]), (32, 40))
        # The first colours of the palette.
        self.assertEqual(
            notes["landmarks"],
            [
                {"name": "Landmark 0", "colour": "#ee4400"},
                {"name": "Landmark 1", "colour": "#7711ff"},
                {"name": "Landmark 2", "colour": "#11eeff"},
            ],
        )
        self.assertEqual(notes["keypoints"], [])
        for name, image in zip(notes["examples"], images, strict=True):
            with Image.open(self.folder / name) as example:
                np.testing.assert_array_equal(np.asarray(example), image)
        self.assertEqual(
            (self.folder / "detector.tflite").read_bytes(),
            self.file.read_bytes(),
        )
        self.assertEqual(self.unpack.call_args.args[0], _ARCHIVES)

    def test_the_policy_of_the_page_allows_its_import_map_alone(self):
        self._write()
        text = (self.folder / "index.html").read_text()
        (content,) = re.findall('<script type="importmap">(.*?)</script>', text)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest())
        (policy,) = re.findall('Policy" content="(.*?)"', text)
        self.assertIn(
            f"script-src 'self' 'wasm-unsafe-eval' 'sha256-{digest.decode()}';",
            policy,
        )
        self.assertStartsWith(policy, "default-src 'none';")
        self.assertNotRegex(policy, r"unsafe-inline|'unsafe-eval'|\*|https?:")

    def test_a_page_is_replaced_whole_or_not_at_all(self):
        self._write(_images())
        self._write(_images()[:1])
        self.assertLen(list(self.folder.glob("examples/*")), 1)

        self.unpack.side_effect = OSError(errno.ENOSPC, "disk full")
        with self.assertRaisesRegex(errors.UserError, "cannot .*: disk full;"):
            self._write(_images())
        self.assertLen(list(self.folder.glob("examples/*")), 1)
        self.assertEqual(list(self.folder.parent.iterdir()), [self.folder])

    def test_a_folder_of_something_else_is_left_alone(self):
        self.folder.mkdir(parents=True)
        (self.folder / "thesis.tex").touch()
        with self.assertRaisesRegex(errors.UserError, "is no page of an exp"):
            self._write()
        self.assertLen(list(self.folder.iterdir()), 1)
        self.folder = self.folder / "thesis.tex"
        with self.assertRaisesRegex(errors.UserError, "is no page of an exp"):
            self._write()
        self.folder = self.folder / "web"
        with self.assertRaisesRegex(errors.UserError, "cannot write .*/web: "):
            self._write()

    def test_as_many_names_as_keypoints(self):
        with self.assertRaisesRegex(ValueError, "2 names for 0 keypoints"):
            self._write(keypoint_names=_NAMES)


def _write_photos(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    """Photos that EXIF data turn, and a cut-out; maps name to upright size."""
    pixels = _images()[3]
    height, width = pixels.shape[:2]
    photo = Image.fromarray(pixels)
    photo.save(folder / "photo.jpg", exif=_EXIF, quality=95)
    photo.save(folder / "photo.png", exif=_EXIF)
    photo.save(folder / "photo.webp", exif=_EXIF, lossless=True)
    # Under what is transparent, image editors leave any colours.
    alpha = np.zeros([height, width], np.uint8)
    alpha[5:25, 10:40] = 255
    alpha[5:25, 40:45] = 100
    garbage = np.random.default_rng(0).integers(256, size=pixels.shape)
    shown = np.where(alpha[..., None] > 0, pixels, garbage)
    cut_out = np.dstack([shown, alpha]).astype(np.uint8)
    Image.fromarray(cut_out).save(folder / "cut_out.png")
    return {
        "photo.jpg": (width, height),
        "photo.png": (width, height),
        "photo.webp": (width, height),
        "cut_out.png": (height, width),
    }


def _run(module: str, folder: pathlib.Path, *arguments: str) -> str:
    process = processes.start(module, folder, *arguments)
    output, problems = process.communicate(timeout=120)
    assert process.returncode == 0, problems
    return output


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        del arguments


@unittest.skipUnless(browser.find(), f"none of {browser.NAMES} is on PATH")
class BrowserTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.root = pathlib.Path(
            cls.enter_context(tempfile.TemporaryDirectory())
        )
        try:
            archives = litert.load()
        except errors.UserError as error:
            raise unittest.SkipTest(f"needs LiteRT.js: {error}") from error
        cls.images = _images()
        cls.detectors = {}
        model = lively_model.build()
        for name, crop_fraction, keypoint_map in (
            ("whole", 1.0, None),
            ("cropped", 0.8, _keypoint_map()),
        ):
            file = cls.root / f"{name}.tflite"
            tflite.write(
                file, model, _config(crop_fraction), keypoint_map=keypoint_map
            )
            cls.detectors[name] = serving.load_detector(file)
            names = keypoint_map.names if keypoint_map else ()
            web.write(
                cls.root / name,
                file,
                cls.images,
                archives,
                title=f"The {name} one",
                keypoint_names=names,
            )
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0),
            functools.partial(_QuietHandler, directory=cls.root),
        )
        threading.Thread(target=server.serve_forever).start()
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        cls.address = f"http://127.0.0.1:{server.server_port}"
        cls.page = cls.enter_context(browser.open_page())

    def setUp(self):
        super().setUp()
        self.page.resize(1200)
        self.page.requests.clear()
        self.page.problems.clear()

    def tearDown(self):
        for address in self.page.requests:
            self.assertStartsWith(address, f"{self.address}/")
        self.assertEqual(self.page.problems, [])
        super().tearDown()

    def _open(self, name: str):
        self.page.load(f"{self.address}/{name}/")
        self._await_status("Example 1:")

    def _await_status(self, start: str) -> str:
        """Waits until the live region says something; answers all of it."""
        return self.page.evaluate(
            f"""(async () => {{
              for (;;) {{
                const text = document.getElementById('status').textContent;
                if (text.startsWith({json.dumps(start)})) return text;
                await new Promise((resolve) => setTimeout(resolve, 20));
              }}
            }})()"""
        )

    def _choose(self, selector: str):
        self.page.evaluate(f"document.querySelector('{selector}').click()")

    def _shown(self, height: int, width: int) -> np.ndarray:
        """Where the dots are, [K, 2], (x, y), pixels of the image."""
        centres = self.page.evaluate(
            """(() => {
              const middle = ({left, top, width, height}) =>
                [left + width / 2, top + height / 2];
              const box = document.getElementById('canvas')
                .getBoundingClientRect();
              return [...document.querySelectorAll('.dot')].map((dot) => {
                const [x, y] = middle(dot.getBoundingClientRect());
                return [(x - box.left) / box.width, (y - box.top) / box.height];
              });
            })()"""
        )
        return np.array(centres) * [width, height] - 0.5

    def _assert_shown(self, name: str, image: np.ndarray):
        """That the page shows of an image what Python finds in it."""
        found = self.detectors[name]([image])
        height, width = image.shape[:2]
        expected = found["landmarks"][0] * [width - 1, height - 1]
        np.testing.assert_allclose(
            self._shown(height, width), expected, atol=0.1, rtol=0
        )
        values = self.page.evaluate(
            "[...document.querySelectorAll('#list .value')].map("
            "one => Number(one.textContent))"
        )
        np.testing.assert_allclose(
            values, found["confidence"][0], atol=0.006, rtol=0
        )

    @parameterized.parameters("whole", "cropped")
    def test_it_shows_the_landmarks_that_python_finds(self, name):
        self._open(name)
        self.assertEqual(
            self.page.evaluate("document.title"), f"The {name} one"
        )
        if name == "cropped":
            self._choose("[value=landmarks]")
        positions = []
        for number, image in enumerate(self.images, start=1):
            self._choose(f"#examples button:nth-child({number})")
            height, width = image.shape[:2]
            self._await_status(f"Example {number}: {width} × {height} pixels")
            self._assert_shown(name, image)
            positions.append(self._shown(1, 1))
        # Else agreement would mean little.
        self.assertGreater(np.std(positions, axis=0).min(), 1e-3)
        time = self.page.evaluate("document.getElementById('time').textContent")
        self.assertRegex(time, r"^\d+\.\d ms per frame")

    @parameterized.parameters("whole", "cropped")
    def test_the_view_is_the_one_of_python(self, name):
        self._open(name)
        for number, image in enumerate(self.images, start=1):
            pixels = self.page.evaluate(
                f"""(async () => {{
                  const {{square}} = await import('./view.js');
                  const notes = await (await fetch('demo.json')).json();
                  const answer = await fetch('examples/{number}.png');
                  const bitmap = await createImageBitmap(await answer.blob());
                  return [...square(bitmap, bitmap.width, bitmap.height,
                    notes.full_size, notes.image_size)];
                }})()"""
            )
            np.testing.assert_allclose(
                np.reshape(pixels, [32, 32, 3]),
                self.detectors[name].view(image),
                atol=1e-5,
            )

    def test_named_keypoints_are_shown_first(self):
        self._open("cropped")
        rows = "[...document.querySelectorAll('#list .name')].map(one =>"
        names = self.page.evaluate(f"{rows} one.textContent)")
        self.assertEqual(names, [*_NAMES])
        height, width = self.images[0].shape[:2]
        keypoints = self._shown(height, width)
        # Their names stand to the left and to the right of them, outwards.
        self.assertGreater(np.ptp(keypoints[:, 0]), 0.1 * width)
        self.assertBetween(keypoints[:, 0].min(), 0.25 * width, 0.75 * width)
        self.assertBetween(keypoints[:, 0].max(), 0.25 * width, 0.75 * width)
        is_left = self.page.evaluate(
            "[...document.querySelectorAll('.dot')].map(dot =>"
            " dot.querySelector('span').getBoundingClientRect().right"
            " < dot.getBoundingClientRect().right)"
        )
        left = int(np.argmin(keypoints[:, 0]))
        self.assertEqual(is_left, [index == left for index in range(2)])
        self._choose("[value=landmarks]")
        landmarks = self._shown(height, width)
        self._assert_shown("cropped", self.images[0])
        np.testing.assert_allclose(keypoints[0], landmarks[1], atol=0.1)
        between = (landmarks[0] + landmarks[2]) / 2.0
        np.testing.assert_allclose(keypoints[1], between, atol=0.1)

    def _choose_file(self, path: pathlib.Path):
        document = self.page.command("DOM.getDocument")["root"]["nodeId"]
        node = self.page.command(
            "DOM.querySelector", nodeId=document, selector="#file"
        )
        self.page.command("DOM.setFileInputFiles", files=[str(path)], **node)

    def test_a_chosen_file_is_upright(self):
        self._open("whole")
        path = self.root / "photo.jpg"
        Image.fromarray(self.images[1]).save(path, exif=_EXIF, quality=95)
        self._choose_file(path)

        self._await_status("photo.jpg: 60 × 300 pixels")

        with Image.open(path) as photo:
            upright = np.asarray(ImageOps.exif_transpose(photo))
        self._assert_shown("whole", upright)

    def test_every_orientation_of_a_webp_is_that_of_python(self):
        self._open("whole")
        photo = Image.fromarray(self.images[3])
        for orientation in range(1, 10):
            exif = Image.Exif()
            exif[0x0112] = orientation
            content = io.BytesIO()
            photo.save(content, "WEBP", exif=exif, lossless=True)
            encoded = base64.b64encode(content.getvalue()).decode()
            width, height, pixels = self.page.evaluate(
                f"""(async () => {{
                  const {{decode}} = await import('./photo.js');
                  const text = atob('{encoded}');
                  const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
                  const bitmap = await decode(new Blob([bytes]));
                  const {{width, height}} = bitmap;
                  const context = new OffscreenCanvas(width, height)
                    .getContext('2d');
                  context.drawImage(bitmap, 0, 0);
                  return [width, height,
                    [...context.getImageData(0, 0, width, height).data]];
                }})()"""
            )
            np.testing.assert_array_equal(
                np.reshape(pixels, [height, width, 4])[..., :3],
                media.decode(content.getvalue(), "a.webp"),
            )

    def test_predict_client_and_page_find_the_same_points(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        sizes = _write_photos(folder)
        direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        self.enter_context(mock.patch.dict(os.environ, direct))
        saved_model.write(
            folder / "saved_model/1", lively_model.build(), _config(1.0)
        )
        server = self.enter_context(
            serving_double.in_this_process(folder / "saved_model")
        )

        predicted = _run(
            "tflm.predict", folder, f"--model={self.root}/whole.tflite", *sizes
        )
        answered = _run(
            "tflm.client", folder, f"--server={server.rest}", "--json", *sizes
        )
        self._open("whole")

        with open(folder / "predictions/images.csv", newline="") as file:
            rows = {row[0]: row[1:] for row in csv.reader(file)}
        answers = {
            answer["image"]: answer["landmarks"]
            for answer in map(json.loads, answered.splitlines())
        }
        self.assertIn("images.csv", predicted)
        for name, (height, width) in sizes.items():
            with self.subTest(name):
                values = np.array(rows[name], float).reshape(-1, 3)[:, :2]
                last_pixel = np.array([width, height]) - 1
                # The same pixels, and numbers of three decimals in the table.
                np.testing.assert_allclose(
                    answers[name] * last_pixel, values, atol=2e-3, rtol=0
                )
                self._choose_file(folder / name)
                self._await_status(f"{name}: {width} × {height} pixels")
                # Browsers round colours in other places (premultiplied by
                # alpha, for instance), and the places of dots on the screen.
                np.testing.assert_allclose(
                    self._shown(height, width), values, atol=0.1, rtol=0
                )

    def test_files_are_dropped(self):
        self._open("whole")
        drop = """(async () => {
          const file = new File(%s, '%s');
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(file);
          document.getElementById('drop').dispatchEvent(
            new DragEvent('drop', {dataTransfer, bubbles: true}));
        })()"""
        content = "[await (await fetch('examples/3.png')).arrayBuffer()]"
        self.page.evaluate(drop % (content, "third.png"))
        self._await_status("third.png: 170 × 500 pixels")
        self._assert_shown("whole", self.images[2])

        self.page.evaluate(drop % ("['words']", "notes.txt"))
        self._await_status(
            "notes.txt is no picture that this browser reads; save it"
        )
        self._assert_shown("whole", self.images[2])  # Still.

    def test_the_camera_runs_until_it_is_stopped(self):
        self._open("whole")
        self._choose("#camera")
        self._await_status("The camera is on.")
        frames = """new Promise((resolve) => {
          const seen = new Set();
          new MutationObserver((_, observer) => {
            seen.add(document.getElementById('canvas').toDataURL());
            if (seen.size >= 2) { observer.disconnect(); resolve(seen.size); }
          }).observe(document.getElementById('dots'),
            {attributes: true, subtree: true});
        })"""
        self.assertEqual(self.page.evaluate(frames), 2)
        label = "document.querySelector('.dot').getAttribute('aria-label')"
        self.assertEqual(self.page.evaluate(label), "Landmark 0")
        self._choose("#camera")
        self._await_status("The camera is off.")

        data = self.page.evaluate(
            "document.getElementById('canvas').toDataURL()"
        )
        png = base64.b64decode(data.partition(",")[2])
        with Image.open(io.BytesIO(png)) as frame:
            self._assert_shown("whole", np.asarray(frame.convert("RGB")))
        self.assertRegex(
            self.page.evaluate(label), r"\ALandmark 0, confidence \d.\d\d\Z"
        )
        self.assertIsNone(
            self.page.evaluate("document.getElementById('video').srcObject")
        )

    def test_a_camera_that_goes_away_is_told(self):
        self._open("whole")
        self._choose("#camera")
        self._await_status("The camera is on.")
        self.page.evaluate(
            "document.getElementById('video').srcObject.getVideoTracks()[0]"
            ".dispatchEvent(new Event('ended'))"
        )
        self._await_status("The camera has stopped.")
        self.assertIsNone(
            self.page.evaluate("document.getElementById('video').srcObject")
        )

    def _marked(self) -> list[list[int]]:
        """Indices of the dots, and of the rows, that are marked."""
        return self.page.evaluate(
            "['.dot', '#list button'].map(all => [...document"
            ".querySelectorAll(all + '.on')].map(one => +one.dataset.index))"
        )

    def _press(self, key: str):
        code = {"Tab": 9, "ArrowDown": 40, "End": 35, "ArrowLeft": 37}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.page.command(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
            )

    def test_dots_and_rows_are_marked_together(self):
        self._open("whole")
        self.assertEqual(self._marked(), [[], []])
        self.page.evaluate("document.getElementById('camera').focus()")
        self._press("Tab")
        self.assertEqual(self._marked(), [[0], [0]])  # Of the dots.
        self._press("ArrowLeft")
        self.assertEqual(self._marked(), [[2], [2]])
        for _ in range(len(_SIZES) + 2):  # Examples, the names' box, the list.
            self._press("Tab")
        focused = "document.activeElement.closest('#list') !== null"
        self.assertTrue(self.page.evaluate(focused))
        self._press("ArrowDown")
        self.assertEqual(self._marked(), [[1], [1]])
        self._press("End")
        self.assertEqual(self._marked(), [[2], [2]])
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        self.assertEqual(self.page.evaluate(outline), "solid")
        self._press("Tab")
        self.assertEqual(self._marked(), [[], []])

        for selector in (".dot", "#list button"):
            x, y = self.page.evaluate(
                f"(() => {{const box = document.querySelector('{selector}')"
                ".getBoundingClientRect();"
                "return [box.left + box.width / 2, box.top + box.height / 2]"
                "})()"
            )
            self.page.command(
                "Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y
            )
            self.assertEqual(self._marked(), [[0], [0]])
            self.page.command(
                "Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1
            )
            self.assertEqual(self._marked(), [[], []])

    def test_it_fits_a_phone_in_the_light_and_in_the_dark(self):
        self.page.resize(375)
        self._open("cropped")
        for number in range(1, len(_SIZES) + 1):
            self._choose(f"#examples button:nth-child({number})")
            self._await_status(f"Example {number}:")
            width = "document.documentElement.scrollWidth"
            self.assertLessEqual(self.page.evaluate(width), 375)
        colour = "getComputedStyle(document.body).backgroundColor"
        self.page.emulate(prefers_color_scheme="dark")
        self.assertEqual(self.page.evaluate(colour), "rgb(18, 20, 24)")
        self.page.emulate(prefers_color_scheme="light")
        self.assertEqual(self.page.evaluate(colour), "rgb(244, 245, 247)")

    def test_opened_as_a_file_it_says_what_to_do(self):
        self.page.load((self.root / "whole" / "index.html").as_uri())
        text, visibility = self.page.evaluate(
            """(() => {
              document.getAnimations().forEach((one) => one.finish());
              const note = document.getElementById('not-started');
              return [note.innerText, getComputedStyle(note).visibility];
            })()"""
        )
        self.assertIn("python -m http.server", text)
        self.assertEqual(visibility, "visible")
        self.page.requests.clear()  # Of the file, and that they are refused.
        self.page.problems.clear()


if __name__ == "__main__":
    absltest.main()
