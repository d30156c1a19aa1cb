import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

from tflm import files


class FilesTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "numbers.txt"
        self.path.write_text("old")

    def _listing(self):
        return [path.name for path in self.path.parent.iterdir()]

    def test_the_file_is_replaced_at_the_end(self):
        with files.replacing(str(self.path)) as partial:
            partial.write_text("new")
            self.assertEqual(self.path.read_text(), "old")
        self.assertEqual(self.path.read_text(), "new")
        self.assertEqual(self._listing(), ["numbers.txt"])

    def test_an_error_leaves_the_old_file_and_nothing_else(self):
        with self.assertRaises(KeyboardInterrupt):
            with files.replacing(self.path) as partial:
                partial.write_text("half")
                raise KeyboardInterrupt
        self.assertEqual(self.path.read_text(), "old")
        self.assertEqual(self._listing(), ["numbers.txt"])

    def test_a_scratch_folder_is_gone_after_the_block(self):
        with files.scratch_folder(self.path.parent, ".new-") as folder:
            self.assertEqual(folder.parent, self.path.parent)
            self.assertStartsWith(folder.name, ".new-")
            (folder / "deep").mkdir()
        self.assertEqual(self._listing(), ["numbers.txt"])

    def test_a_signal_while_a_scratch_folder_is_made_leaves_none(self):
        make = pathlib.Path.mkdir

        def interrupted(*args, **kwargs):
            make(*args, **kwargs)
            raise KeyboardInterrupt

        with mock.patch.object(pathlib.Path, "mkdir", interrupted):
            with self.assertRaises(KeyboardInterrupt):
                with files.scratch_folder(self.path.parent, ".new-"):
                    self.fail("there was no signal")
        self.assertEqual(self._listing(), ["numbers.txt"])

    def test_nan_is_null_in_json(self):
        values = {"a": [1, float("nan"), {"b": float("nan")}], "c": "nan"}
        files.write_json(self.path, values)
        self.assertEqual(
            json.loads(self.path.read_text()),
            {"a": [1, None, {"b": None}], "c": "nan"},
        )
        with self.assertRaises(ValueError):  # No number of JSON.
            files.write_json(self.path, [float("inf")])


if __name__ == "__main__":
    absltest.main()
