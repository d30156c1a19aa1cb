import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

from tflm import errors
from tflm.serving import publishing

_MARK = "mark"


class PublishingTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        scratch = self.enter_context(tempfile.TemporaryDirectory())
        self.parent = pathlib.Path(scratch)
        self.output_dir = self.parent / "new" / "export"
        self.versions = self.output_dir / "saved_model"

    def _publish(self, text="new", keep_versions=2, names=("a.tflite",)):
        """Publishes a version and files, all of them holding `text`."""
        number = publishing.next_version(self.output_dir)
        with publishing.staged(
            self.output_dir, keep_versions, _MARK, ["a.tflite", "b.tflite"]
        ) as folder:
            version = folder / "saved_model" / str(number)
            version.mkdir(parents=True)
            (version / _MARK).write_text(text)
            for name in names:
                (folder / name).write_text(text)

    def _names(self, folder) -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    def test_versions_count_up_and_the_oldest_go(self):
        for expected in (["1"], ["1", "2"], ["2", "3"]):
            self._publish()
            self.assertEqual(self._names(self.versions), expected)
        self._publish(keep_versions=1)
        self.assertEqual(self._names(self.versions), ["4"])

    def test_versions_are_numbers_not_text(self):
        (self.versions / "9").mkdir(parents=True)
        (self.versions / "10").mkdir()
        for name in ("notes", "11 (1)", "\N{SUPERSCRIPT TWO}"):
            (self.versions / name).mkdir()
        self.assertEqual(publishing.next_version(self.output_dir), 11)
        for name in ("9", "10"):
            (self.versions / name / _MARK).touch()
        self._publish()
        self.assertEqual(
            self._names(self.versions),
            ["10", "11", "11 (1)", "notes", "\N{SUPERSCRIPT TWO}"],
        )

    def test_versions_of_others_stay(self):
        (self.versions / "1").mkdir(parents=True)
        for _ in range(2):
            self._publish(keep_versions=1)
        self.assertEqual(self._names(self.versions), ["1", "3"])

    def test_files_are_replaced_and_those_of_earlier_models_go(self):
        self._publish("old", names=["a.tflite", "b.tflite", "c.onnx"])

        self._publish("new", names=["a.tflite"])

        self.assertEqual(
            self._names(self.output_dir), ["a.tflite", "c.onnx", "saved_model"]
        )
        self.assertEqual((self.output_dir / "a.tflite").read_text(), "new")

    def test_a_version_is_whole_as_soon_as_it_is_there(self):
        self._publish("old")
        seen = []
        rename = pathlib.Path.rename

        def watched(path, target):
            before = {
                name: self._names(self.versions / name)
                for name in self._names(self.versions)
                if name.isdigit()
            }
            seen.append(before)
            return rename(path, target)

        with mock.patch.object(pathlib.Path, "rename", watched):
            self._publish("new", keep_versions=1)

        # Before the new one comes, and before the old one goes.
        self.assertEqual(seen, [{"1": [_MARK]}, {"1": [_MARK], "2": [_MARK]}])

    def test_the_work_is_where_a_server_does_not_look(self):
        self._publish("old")
        with publishing.staged(self.output_dir, 2, _MARK, []) as folder:
            visible = [
                name for name in self._names(self.versions) if name.isdigit()
            ]
            self.assertEqual(visible, ["1"])
            # And on the same disk, also if that folder alone is a mount.
            self.assertIn(".export-", str(folder.relative_to(self.versions)))
            (folder / "saved_model" / "2").mkdir(parents=True)
        self.assertEqual(self._names(self.versions), ["1", "2"])

    def test_versions_may_be_on_a_disk_of_their_own(self):
        try:
            other = self.enter_context(
                tempfile.TemporaryDirectory(dir="/dev/shm")
            )
        except OSError:
            self.skipTest("no other disk")
        if os.stat(other).st_dev == os.stat(self.parent).st_dev:
            self.skipTest("no other disk")
        self.output_dir.mkdir(parents=True)
        self.versions.symlink_to(other)

        self._publish("first")
        self._publish("second")

        self.assertEqual(self._names(self.versions), ["1", "2"])
        file = self.output_dir / "a.tflite"
        self.assertEqual(file.read_text(), "second")

    def test_a_failure_changes_nothing(self):
        for failure in (KeyboardInterrupt, errors.UserError):
            with self.assertRaises(failure):
                with publishing.staged(self.output_dir, 2, _MARK, []) as folder:
                    (folder / "a.tflite").touch()
                    raise failure
            self.assertEmpty(list(self.parent.iterdir()))
        self._publish("old")
        with self.assertRaises(KeyboardInterrupt):
            with publishing.staged(self.output_dir, 1, _MARK, []) as folder:
                (folder / "a.tflite").write_text("new")
                raise KeyboardInterrupt
        self.assertEqual(self._names(self.versions), ["1"])
        self.assertEqual((self.output_dir / "a.tflite").read_text(), "old")

    def test_a_version_that_another_export_made_is_not_overwritten(self):
        with self.assertRaisesRegex(
            errors.UserError, "cannot write .*export: "
        ):
            with publishing.staged(self.output_dir, 2, _MARK, []) as folder:
                (folder / "saved_model" / "1").mkdir(parents=True)
                (folder / "saved_model" / "1" / "mine").touch()
                self.versions.joinpath("1").mkdir(parents=True)
                self.versions.joinpath("1", "theirs").touch()
        self.assertEqual(self._names(self.versions / "1"), ["theirs"])

    def test_a_place_that_cannot_be_written_is_named_before_any_work(self):
        file = self.parent / "file"
        file.touch()
        for output_dir, message in (
            (file, "file is a file; choose another --output_dir"),
            (file / "export", "cannot write .*file/export: Not a directory"),
        ):
            with self.assertRaisesRegex(errors.UserError, message):
                with publishing.staged(output_dir, 2, _MARK, []):
                    self.fail("it started to work")

    def test_two_exports_at_once_are_refused(self):
        with publishing.staged(self.output_dir, 2, _MARK, []) as folder:
            with self.assertRaisesRegex(
                errors.UserError,
                f"another process exports to {self.output_dir}; wait, or choose"
                " another --output_dir",
            ):
                with publishing.staged(self.output_dir, 2, _MARK, []):
                    self.fail("it started to work")
            (folder / "saved_model" / "1").mkdir(parents=True)
        self.assertEqual(self._names(self.versions), ["1"])

    def test_what_is_published_can_be_read_by_others(self):
        mask = os.umask(0o022)
        self.addCleanup(os.umask, mask)
        self._publish()
        mode = (self.versions / "1").stat().st_mode & 0o777
        self.assertEqual(mode, 0o755)


if __name__ == "__main__":
    absltest.main()
