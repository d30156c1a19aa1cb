import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from PIL import Image

from tflm.evaluation import figures
from tflm.evaluation.figures import marks

_ROOT = pathlib.Path(__file__).parents[4]


class SaveTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )

    def _figure(self):
        figure = marks.new_figure(3.0, 1.0, "a title of its own")
        figure.subplots().plot([1, 2])
        return figure

    def test_a_user_without_a_home_folder_can_draw(self):
        program = (
            "import os, pathlib\n"
            "def home(): raise RuntimeError('no home folder')\n"
            "pathlib.Path.home = home\n"
            "from tflm.evaluation import figures\n"
            "print(os.environ['MPLCONFIGDIR'])"
        )
        names = ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
        kept = {k: v for k, v in os.environ.items() if k not in names}
        folder = subprocess.check_output(
            [sys.executable, "-c", program],
            env={**kept, "PYTHONPATH": str(_ROOT)},
            text=True,
        )
        self.assertFalse(pathlib.Path(folder.strip()).exists())  # Gone again.

    def test_png_and_pdf_are_the_same_every_time(self):
        written = []
        for name in ("a.png", "b.png"):
            figures.save(self._figure(), self.root / name)
            pdf = (self.root / name).with_suffix(".pdf")
            written.append([(self.root / name).read_bytes(), pdf.read_bytes()])
        self.assertTrue(written[0] == written[1], "other bytes")
        self.assertTrue(written[0][1].startswith(b"%PDF-"))
        self.assertNotIn(b"/Type3", written[0][1])
        with Image.open(self.root / "a.png") as image:
            self.assertEqual((image.format, image.width), ("PNG", 360))
        self.assertLen([*self.root.iterdir()], 4)

    def test_both_or_neither(self):
        (self.root / "a.png").write_text("old")
        figure = self._figure()
        draw = figure.savefig

        def fail_for_pdf(path, **kwargs):
            if kwargs["format"] == "pdf":
                raise OSError("disk full")
            draw(path, **kwargs)

        with mock.patch.object(figure, "savefig", fail_for_pdf):
            with self.assertRaisesRegex(OSError, "disk full"):
                figures.save(figure, self.root / "a.png")
        self.assertEqual((self.root / "a.png").read_text(), "old")
        self.assertLen([*self.root.iterdir()], 1)

    def test_long_titles_are_broken(self):
        figure = marks.new_figure(3.0, 1.0, "many words " * 12 + "\nsecond")
        lines = figure.get_suptitle().split("\n")
        self.assertLess(max(map(len, lines)), 35)
        self.assertEqual(lines[-1], "second")
        self.assertGreater(figure.get_figheight(), 1.0 + 0.2 * 5)


if __name__ == "__main__":
    absltest.main()
