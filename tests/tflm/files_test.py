import contextlib
import errno
import fcntl
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from tflm import errors
from tflm import files

_ROOT = pathlib.Path(__file__).parents[2]
_DIES = """
import os, signal, sys
from tflm import files
with {block}:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _die_in(block: str) -> None:
    """A process that is killed in a block of `files`."""
    subprocess.run(
        [sys.executable, "-c", _DIES.format(block=block)],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )


def _without_locks():
    """As NFS without its lock service answers."""
    error = OSError(errno.ENOLCK, "No locks available")
    return mock.patch.object(fcntl, "flock", side_effect=error)


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

    def test_two_writers_of_a_file_do_not_meet(self):
        for locks in (contextlib.nullcontext(), _without_locks()):
            with locks, files.replacing(self.path) as one:
                one.write_text("one")
                with files.replacing(self.path) as other:
                    other.write_text("other")
                self.assertEqual(self.path.read_text(), "other")
                self.assertEqual(one.read_text(), "one")
            self.assertEqual(self.path.read_text(), "one")
            self.assertEqual(self._listing(), ["numbers.txt"])

    def test_what_killed_writers_left_does_not_pile_up(self):
        for _ in range(2):
            _die_in(f"files.replacing({str(self.path)!r})")
            self.assertLen(self._listing(), 2)
        self.assertEqual(self.path.read_text(), "old")
        with files.replacing(self.path) as partial:
            self.assertEqual(partial.read_bytes(), b"")
            partial.write_text("new")
        self.assertEqual(self._listing(), ["numbers.txt"])

    def test_a_name_may_be_as_long_as_names_can_be(self):
        path = self.path.with_name("x" * 255)
        with files.replacing(path) as partial:
            partial.write_text("new")
        self.assertEqual(path.read_text(), "new")
        with self.assertRaises(OSError) as caught:
            with files.replacing(self.path.with_name("x" * 256)):
                self.fail("it started to work")
        self.assertIn("xxx", caught.exception.filename)

    def test_what_cannot_be_written_is_named(self):
        def full(path):
            with files.replacing(path):
                raise OSError(errno.ENOSPC, "No space left on device")

        def a_folder(path):
            with files.replacing(path.parent):
                self.fail("it started to work")

        for write, path in ((full, self.path), (a_folder, self.path.parent)):
            with self.assertRaises(OSError) as caught:
                write(self.path)
            self.assertEqual(caught.exception.filename, str(path))
        with self.assertRaises(ConnectionResetError) as caught:
            with files.replacing(self.path):
                raise ConnectionResetError(errno.ECONNRESET, "reset")
        self.assertIsNone(caught.exception.filename)
        self.assertEqual(self._listing(), ["numbers.txt"])

    def test_a_folder_is_one_process_own(self):
        folder = self.path.parent / "deep" / "own"
        with files.own_folder(folder, "is taken", "choose"):
            with self.assertRaisesRegex(errors.UserError, "^is taken$"):
                with files.own_folder(folder, "is taken", "choose"):
                    self.fail("two are in it")
            self.assertTrue(folder.is_dir())
        self.assertEqual(self._listing(), ["numbers.txt"])
        with files.own_folder(folder, "is taken", "choose"):
            (folder / "result").touch()
        self.assertTrue((folder / "result").exists())

    def test_without_locks_there_is_a_warning(self):
        with _without_locks(), self.assertLogs("tflm") as logs:
            with files.locked(self.path, "is taken"):
                with files.locked(self.path, "is taken"):
                    pass
        self.assertLen(logs.output, 2)
        self.assertRegex(logs.output[0], "numbers.txt: its file system has no")

    def test_what_cannot_be_written_to_is_found_first(self):
        below = self.path / "deep"  # A file is no folder.
        with self.assertRaisesRegex(
            errors.UserError, f"^cannot write to {below}: Not a dir.*; choose$"
        ):
            files.check_writable(below, "choose")
        full = OSError(errno.ENOSPC, "No space left on device")
        with mock.patch.object(pathlib.Path, "write_bytes", side_effect=full):
            with self.assertRaisesRegex(errors.UserError, "No space left"):
                files.check_writable(self.path.parent / "new", "choose")
        files.check_writable(self.path.parent / "new" / "deep", "choose")
        self.assertEqual(self._listing(), ["numbers.txt"])

    def test_scratch_folders_of_killed_processes_go_and_others_stay(self):
        parent = self.path.parent
        _die_in(f"files.scratch_folder({str(parent)!r}, '.new-')")
        self.assertLen(self._listing(), 2)
        (parent / ".new-york").mkdir()
        with files.scratch_folder(parent, ".new-") as one:
            with files.scratch_folder(parent, ".new-") as other:
                self.assertTrue(one.exists())
                self.assertCountEqual(
                    self._listing(),
                    ["numbers.txt", ".new-york", one.name, other.name],
                )

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
