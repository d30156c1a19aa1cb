import pathlib
import re
import tempfile
import unittest

from absl.testing import absltest
import numpy as np
from PIL import Image

from tests import browser
from tflm import configs
from tflm.evaluation import page
from tflm.evaluation import tables

EVIL = "<script>console.error('evil')</script>\" & <b>"
FOUND = {
    "dataset": "faces & more",
    "trained_on": "faces",
    "step": 12345,
    "num_landmarks": 30,
    "code_units": None,
    "pixel": "of the square view",
    "no_annotations": None,
    "nme_percent": {"no_bias": 5.25, "mean_shape": 9.5},
    "mean_error_px": {"no_bias": 1.5, "mean_shape": 3.25},
    "pck": {"6": {"mean": 97.5}, "mean_shape": {"6": {"mean": 80.0}}},
    "consistency": {"px": 1.25, "still_px": 20.5},
    "health": {"dead": [3], "duplicated": [[1, 2], [4, 5]]},
    "unknown": [float("nan"), EVIL],
}
UNSCORED = {
    **FOUND,
    "num_landmarks": None,
    "code_units": 60,
    "no_annotations": "images has no annotations",
    **dict.fromkeys(
        ["nme_percent", "mean_error_px", "pck", "consistency", "health"]
    ),
}
TABLES = [
    tables.Table(
        "Wide table",
        ["", *(f"column {index}" for index in range(20))],
        [[EVIL, *(["12.345"] * 20)], ["second", *(["1"] * 20)]],
        "a note",
    ),
    tables.Table("Plain table", ["", "value"], [["row", "7"]]),
]


def _write(folder: pathlib.Path, found: dict = FOUND) -> pathlib.Path:
    """A page with two figures."""
    figures = []
    for name, size in (("small", (80, 60)), ("large", (1900, 300))):
        pixels = np.full([size[1], size[0], 3], 200, np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        figures.append((f"The {name} one", EVIL, folder / f"{name}.png"))
    path = folder / "report.html"
    page.write(
        path,
        found,
        configs.PRESETS["celeba"],
        TABLES,
        figures,
        {"commit": "0123abcd", "time": EVIL},
    )
    return path


class PageTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )

    def test_nothing_is_fetched_and_nothing_is_taken_for_html(self):
        path = _write(self.folder)

        text = path.read_text(encoding="utf-8")
        self.assertNotIn("<script", text)
        self.assertNotIn("<b>", text)
        self.assertIn("<title>Landmarks of faces &amp; more</title>", text)
        for address in re.findall(r'(?:src|href)="([^"]*)', text):
            self.assertStartsWith(address, "data:")
        self.assertNotRegex(text, r"url\(|@import|https?:")
        names = {one.name for one in self.folder.iterdir()}
        self.assertEqual(names, {"small.png", "large.png", "report.html"})

    def test_the_numbers_stand_beside_those_of_a_constant(self):
        text = _write(self.folder).read_text(encoding="utf-8")
        rows = [
            re.sub(r"<[^>]*>", " ", row).split()
            for row in re.findall(r"<tr>.*?</tr>", text)
        ]
        rows = [" ".join(row) for row in rows]
        for expected in (
            "NME, %, of keypoints from landmarks 5.25 9.50 by a constant",
            "keypoints found within 6 px, % 97.50 80.00 by a constant",
            "distance of landmarks after a known warp, px 1.25 20.50 if they"
            " stayed where they are",
            "landmarks that do not move 1 of 30",
            "pairs of landmarks that stay together 2",
            "row 7",
            "commit 0123abcd",
            "model.num_landmarks 30",
        ):
            self.assertIn(expected, rows)

    def test_what_was_not_measured_is_left_out(self):
        text = _write(self.folder, UNSCORED).read_text(encoding="utf-8")
        self.assertIn("images has no annotations", text)
        self.assertIn("A fully-connected code of 60 numbers", text)
        self.assertNotIn("by a constant", text)

    def test_a_missing_image_leaves_the_old_page(self):
        path = self.folder / "report.html"
        path.write_text("old")
        with self.assertRaises(FileNotFoundError):
            page.write(
                path,
                FOUND,
                configs.PRESETS["celeba"],
                [],
                [("title", "caption", self.folder / "none.png")],
                {},
            )
        self.assertEqual(path.read_text(), "old")
        self.assertLen([*self.folder.iterdir()], 1)


@unittest.skipUnless(browser.find(), f"none of {browser.NAMES} is on PATH")
class BrowserTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(
            cls.enter_context(tempfile.TemporaryDirectory())
        )
        cls.page = cls.enter_context(browser.open_page(width=375))
        cls.page.load(_write(cls.folder).as_uri())

    def test_all_is_shown_without_a_problem_or_a_request(self):
        widths = self.page.evaluate(
            "Promise.all([...document.images].map(i => i.decode().then("
            "() => i.naturalWidth)))"
        )
        self.assertEqual(widths, [80, 1900])
        self.assertEqual(self.page.evaluate("document.scripts.length"), 0)
        counts = self.page.evaluate(
            "['h1', 'table', 'figure', 'details'].map("
            "name => document.querySelectorAll(name).length)"
        )
        # At a glance, two given, provenance and configuration.
        self.assertEqual(counts, [1, 5, 2, 3])
        self.assertEqual(
            self.page.evaluate(
                "document.querySelector('figcaption').textContent"
            ),
            EVIL,
        )
        self.assertEqual(self.page.requests, [])
        self.assertEqual(self.page.problems, [])

    def test_it_fits_a_phone(self):
        self.page.evaluate(
            "document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        for width in (375, 1200):
            self.page.resize(width)
            sizes = self.page.evaluate(
                "[document.documentElement.scrollWidth, innerWidth,"
                " ...[...document.images].map(i => i.clientWidth)]"
            )
            self.assertEqual(sizes[1], width)
            self.assertLessEqual(sizes[0], width)  # Less by a scroll bar.
            # Small images are not enlarged, large ones are still legible.
            self.assertEqual(sizes[2], 80)
            self.assertBetween(sizes[3], 640, 1152)
        smallest = self.page.evaluate(
            "Math.min(...[...document.querySelectorAll('td, th, p')].map("
            "one => parseFloat(getComputedStyle(one).fontSize)))"
        )
        self.assertGreaterEqual(smallest, 14)

    def test_dark_where_the_reader_wants_it_and_white_on_paper(self):
        script = "getComputedStyle(document.body).backgroundColor"
        self.page.emulate(prefers_color_scheme="dark")
        self.assertEqual(self.page.evaluate(script), "rgb(22, 24, 28)")
        self.page.emulate("print", prefers_color_scheme="dark")
        self.assertEqual(self.page.evaluate(script), "rgb(255, 255, 255)")
        self.page.emulate(prefers_color_scheme="light")
        self.assertEqual(self.page.evaluate(script), "rgb(255, 255, 255)")


@unittest.skipUnless(browser.find(), f"none of {browser.NAMES} is on PATH")
class HarnessTest(absltest.TestCase):
    def test_it_notices_what_goes_wrong(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "bad.html")
            path.write_text(
                "<img src='http://example.com/a.png'>"
                "<script>console.error('oh', 7); throw Error('no');</script>"
            )
            with browser.open_page(width=375) as opened:
                opened.load(path.as_uri())
        self.assertEqual(opened.requests, ["http://example.com/a.png"])
        problems = "\n".join(opened.problems)
        self.assertIn("error: oh 7", problems)
        self.assertIn("Error: no", problems)
        self.assertIn("ERR_NAME_NOT_RESOLVED", problems)


if __name__ == "__main__":
    absltest.main()
