import contextlib
import io
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds
from tensorflow_datasets.core import read_only_builder

from data_prep import __main__ as cli
from data_prep.celeba import celeba_dataset_builder
from data_prep.images import make_dummy_data

ROOT = pathlib.Path(cli.__file__).parents[1]
CELEBA = pathlib.Path(celeba_dataset_builder.__file__).parent / "dummy_data"


class CliTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )
        self.data_dir = self.root / "data"

    def _run(self, *arguments: str) -> tuple[int, str, str]:
        """Returns exit status, standard output, standard error."""
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            status = cli.run(
                ["data_prep", f"--data_dir={self.data_dir}", *arguments]
            )
        return status, out.getvalue(), error.getvalue()

    def _assert_refused(
        self, words: str, *arguments: str, status: int = 1
    ) -> None:
        actual, out, error = self._run(*arguments)
        self.assertEqual((actual, out), (status, ""))
        self.assertRegex(error, rf"\Aerror: .*{words}.*\n\Z")  # One line.
        self.assertFalse(self.data_dir.exists())

    def _celeba(self) -> pathlib.Path:
        raw_dir = self.root / "celeba"
        shutil.copytree(CELEBA, raw_dir)
        return raw_dir

    def _images(self) -> pathlib.Path:
        raw_dir = self.root / "images"
        make_dummy_data.make(raw_dir)
        return raw_dir

    def test_wrong_command_lines(self):
        self._assert_refused("one of celeba, images, puppets", status=2)
        self._assert_refused(
            "'celebb'; one of celeba, images, puppets",
            "--dataset=celebb",
            status=2,
        )
        self._assert_refused(
            "--keypoints is for images, not for celeba",
            "--dataset=celeba",
            "--keypoints=a.csv",
            status=2,
        )
        self._assert_refused(
            "--skip_broken is for celeba and images, not for puppets",
            "--dataset=puppets",
            "--skip_broken",
            status=2,
        )
        self._assert_refused("raw_dri", "--raw_dri=x", status=2)
        self._assert_refused("unexpected.* x", "x", status=2)

    def test_raw_dir_missing_or_not_there_says_where_to_get_it(self):
        self._assert_refused("mmlab.ie.cuhk.edu.hk", "--dataset=celeba")
        self._assert_refused(
            "no/such.*mmlab.ie.cuhk.edu.hk",
            "--dataset=celeba",
            "--raw_dir=no/such",
        )
        self._assert_refused("leave", "--dataset=puppets", "--raw_dir=.")

    def test_celeba_file_missing(self):
        raw_dir = self._celeba()
        (raw_dir / "list_eval_partition.txt").unlink()
        self._assert_refused(
            "list_eval_partition.txt is missing",
            "--dataset=celeba",
            f"--raw_dir={raw_dir}",
        )

    def test_celeba_row_with_text(self):
        raw_dir = self._celeba()
        path = raw_dir / "list_landmarks_align_celeba.txt"
        lines = path.read_text().splitlines()
        name, _, *values = lines[4].split()
        lines[4] = " ".join([name, "left", *values])
        path.write_text("\n".join(lines))
        self._assert_refused(
            f"list_landmarks_align_celeba.txt, line 5: '{name} left",
            "--dataset=celeba",
            f"--raw_dir={raw_dir}",
        )

    def test_folder_without_images(self):
        raw_dir = self.root / "empty"
        raw_dir.mkdir()
        (raw_dir / "notes.txt").write_text("Not an image.")
        self._assert_refused(
            "empty holds no image", "--dataset=images", f"--raw_dir={raw_dir}"
        )

    def test_missing_keypoints_file(self):
        self._assert_refused(
            "no.csv cannot be read",
            "--dataset=images",
            f"--raw_dir={self._images()}",
            "--keypoints=no.csv",
        )

    def test_truncated_jpeg_is_named_and_can_be_skipped(self):
        raw_dir = self._images()
        path = raw_dir / "a.jpg"
        noise = np.random.default_rng(0).integers(256, size=(64, 64, 3))
        Image.fromarray(noise.astype(np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:-500])
        arguments = ("--dataset=images", f"--raw_dir={raw_dir}")
        self._assert_refused("a.jpg does not decode.*--skip_broken", *arguments)

        status, out, error = self._run(*arguments, "--skip_broken")

        self.assertEqual((status, error), (0, ""))
        self.assertIn("train: 5 clips, 5 frames", out)
        self.assertIn(f"skipped 1 broken files: {path}", out)

    def test_second_run_changes_nothing(self):
        arguments = ("--dataset=celeba", f"--raw_dir={self._celeba()}")
        status, out, error = self._run(*arguments)
        self.assertEqual((status, error), (0, ""))
        self.assertIn("celeba/1.0.0: built in", out)
        times = [p.stat().st_mtime_ns for p in self.data_dir.rglob("*")]

        status, out, error = self._run(*arguments)

        self.assertEqual((status, error), (0, ""))
        self.assertIn("celeba/1.0.0: already built", out)
        self.assertIn("train: 7 clips, 7 frames", out)
        self.assertEqual(
            times, [p.stat().st_mtime_ns for p in self.data_dir.rglob("*")]
        )

    def test_another_raw_dir_or_option_is_refused(self):
        raw_dir = self._images()
        other = self.root / "other"
        shutil.copytree(raw_dir, other)
        self._run("--dataset=images", f"--raw_dir={raw_dir}")

        status, _, error = self._run("--dataset=images", f"--raw_dir={other}")
        self.assertEqual(status, 1)
        self.assertRegex(error, f"{raw_dir}.*{other}.*--data_dir, or remove")

        status, _, error = self._run(
            "--dataset=images", f"--raw_dir={raw_dir}", "--val_fraction=0.3"
        )
        self.assertEqual(status, 1)
        self.assertRegex(error, "val_fraction=0.0, not 0.3;.* or remove")

    def test_killed_build_is_not_read_and_is_redone(self):
        # Enough images that the build cannot end before it is killed.
        raw_dir = self.root / "many"
        raw_dir.mkdir()
        image = Image.new("RGB", (400, 400), "teal")
        image.save(self.root / "image.bmp")
        for number in range(3_000):
            (raw_dir / f"{number}.bmp").symlink_to(self.root / "image.bmp")
        arguments = ("--dataset=images", f"--raw_dir={raw_dir}")
        folder = self.data_dir / "images"

        process = self._start(*arguments)
        self._wait_for(process, lambda: any(folder.glob("incomplete.*_1.0.0")))
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate()
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertEqual(error, "stopped; nothing was left behind\n")
        self.assertFalse(self.data_dir.exists())

        process = self._start(*arguments)
        self._wait_for(process, lambda: any(folder.glob("incomplete.*_1.0.0")))
        process.kill()
        process.communicate()
        self.assertNotEmpty(list(folder.glob("incomplete.*_1.0.0")))
        with self.assertRaises(tfds.core.DatasetNotFoundError):
            read_only_builder.builder_from_files(
                "images", data_dir=self.data_dir
            )

        for path in list(raw_dir.iterdir())[3:]:
            path.unlink()
        status, out, _ = self._run(*arguments)
        self.assertEqual(status, 0)
        self.assertIn("train: 3 clips", out)
        self.assertEqual([p.name for p in folder.iterdir()], ["1.0.0"])

    def _start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "data_prep", f"--data_dir={self.data_dir}"]
            + list(arguments),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _wait_for(self, process, is_reached) -> None:
        deadline = time.monotonic() + 60
        while not is_reached():
            self.assertIsNone(process.poll(), "ended too early")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)


if __name__ == "__main__":
    absltest.main()
