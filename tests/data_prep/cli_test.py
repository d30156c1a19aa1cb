import contextlib
import io
import json
import logging
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from unittest import mock
import zlib

from absl.testing import absltest
import numpy as np
from PIL import Image
import tensorflow_datasets as tfds
from tensorflow_datasets.core import read_only_builder

from data_prep import __main__ as cli
from data_prep import build
from data_prep import workers
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
        self._assert_refused("one of aflw, .*, voxceleb", status=2)
        self._assert_refused(
            "'celebb'; one of aflw, .*, voxceleb",
            "--dataset=celebb",
            status=2,
        )
        for words, *arguments in (
            ("--keypoints is for images and video", "--keypoints=a.csv"),
            ("--stride is for video", "--stride=2"),
            ("--extra is for svhn", "--noextra"),
        ):
            self._assert_refused(
                f"{words}, not for celeba",
                "--dataset=celeba",
                *arguments,
                status=2,
            )
        self._assert_refused(
            "--stride.* 0", "--dataset=video", "--stride=0", status=2
        )
        self._assert_refused(
            "--num_workers is for builds without --beam_runner",
            "--dataset=celeba",
            "--num_workers=2",
            "--beam_runner=DirectRunner",
            status=2,
        )
        self._assert_refused(
            "--beam_options needs --beam_runner",
            "--dataset=celeba",
            "--beam_options=direct_num_workers=2",
            status=2,
        )
        self._assert_refused("raw_dri", "--raw_dri=x", status=2)
        self._assert_refused("unexpected.* x", "x", status=2)

    def test_every_flag_of_a_dataset_is_an_argument_of_its_builder(self):
        for dataset, options in cli.DATASETS.items():
            with self.subTest(dataset):
                builder_class, _ = build._builder_class(dataset)
                self.assertLessEqual(
                    set(options), build._record(builder_class, {}).keys()
                )

    def test_only_flags_that_are_given_reach_the_builder(self):
        for arguments, expected in (
            (["--dataset=images"], {}),
            (
                ["--dataset=images", "--val_fraction=0", "--keypoints=a.csv"],
                {"val_fraction": 0.0, "keypoints": os.path.abspath("a.csv")},
            ),
            (
                ["--dataset=video", "--stride=3", "--motion_crop", "--end=9"],
                {"stride": 3, "motion_crop": True, "end": 9},
            ),
            (["--dataset=svhn", "--noextra"], {"extra": False}),
            (["--dataset=smallnorb/car"], {}),
        ):
            values = cli._parse(["data_prep", *arguments])
            self.assertEqual(cli._options(values), expected)

    def test_a_category_that_is_not_there(self):
        self._assert_refused(
            "'smallnorb/bike'; one of smallnorb, .*, smallnorb/car",
            "--dataset=smallnorb/bike",
        )
        self._assert_refused(
            "'celeba/car'; one of celeba", "--dataset=celeba/car"
        )

    def test_raw_dir_missing_or_not_there_says_where_to_get_it(self):
        self._assert_refused("mmlab.ie.cuhk.edu.hk", "--dataset=celeba")
        self._assert_refused(
            "no/such.*mmlab.ie.cuhk.edu.hk",
            "--dataset=celeba",
            "--raw_dir=no/such",
        )
        (self.root / "empty").mkdir()
        self._assert_refused(
            "empty is empty.*mmlab.ie.cuhk.edu.hk",
            "--dataset=celeba",
            f"--raw_dir={self.root / 'empty'}",
        )
        for flag in ("--raw_dir=.", "--skip_broken"):
            self._assert_refused(
                "puppets is generated: leave", "--dataset=puppets", flag
            )

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

    def test_an_image_of_absurd_size_is_named_and_not_decoded(self):
        raw_dir = self._images()
        path = raw_dir / "bomb.png"
        Image.new("RGB", (8, 8)).save(path)
        encoded = bytearray(path.read_bytes())
        encoded[16:24] = struct.pack(">II", 40_000, 40_000)  # 4.8 GB.
        encoded[29:33] = struct.pack(">I", zlib.crc32(encoded[12:29]))
        path.write_bytes(encoded)

        self._assert_refused(
            "bomb.png has more than 178 million pixels.*shrink it",
            "--dataset=images",
            f"--raw_dir={raw_dir}",
        )

    def test_a_full_disk_is_one_line_and_leaves_nothing(self):
        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        raw_dir = self._celeba()
        later = (
            "import sys; from data_prep import __main__ as cli;"
            " from tflm import files; files._PROBE_BYTES = 0;"
            " sys.exit(cli.run(sys.argv))"
        )
        for how, message in (
            (["-m", "data_prep"], "cannot write to .*celeba: File too large;"),
            # Full while it writes.
            (["-c", later], "writing .*celeba: .*large.*; free space"),
        ):
            made = subprocess.run(
                [
                    *(sys.executable, *how, "--dataset=celeba"),
                    f"--raw_dir={raw_dir}",
                    f"--data_dir={self.data_dir}",
                ],
                cwd=ROOT,
                preexec_fn=limited,
                capture_output=True,
                text=True,
            )
            self.assertEqual(made.returncode, 1, made.stderr)
            self.assertRegex(made.stderr, rf"\Aerror: {message}.*\n\Z")
        self.assertFalse(self.data_dir.exists())

    def test_a_tilde_is_the_home_folder(self):
        self.enter_context(mock.patch.dict(os.environ, HOME=str(self.root)))
        raw_dir = self._images()

        status, _, _ = self._run(
            "--dataset=images", f"--raw_dir={raw_dir}", "--data_dir=~/shards"
        )

        self.assertEqual(status, 0)
        self.assertTrue((self.root / "shards" / "images").is_dir())

    def test_second_run_changes_nothing(self):
        arguments = ("--dataset=celeba", f"--raw_dir={self._celeba()}")
        status, out, error = self._run(*arguments)
        self.assertEqual((status, error), (0, ""))
        self.assertIn("celeba/1.1.0: built in", out)
        times = [p.stat().st_mtime_ns for p in self.data_dir.rglob("*")]

        status, out, error = self._run(*arguments)

        self.assertEqual((status, error), (0, ""))
        self.assertIn("celeba/1.1.0: already built", out)
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

        arguments = ("--dataset=images", f"--raw_dir={raw_dir}")
        status, _, error = self._run(*arguments, "--val_fraction=0.3")
        self.assertEqual(status, 1)
        self.assertRegex(error, "val_fraction=0.0, not 0.3;.* or remove")

    def test_options_are_compared_as_what_they_mean(self):
        raw_dir = self._images()
        arguments = ("--dataset=images", f"--raw_dir={raw_dir}")
        with_option = (*arguments, "--val_fraction=0.5")
        self.assertEqual(self._run(*with_option)[0], 0)

        status, out, _ = self._run(*with_option)
        self.assertEqual(status, 0)
        self.assertIn("already built", out)

        status, _, error = self._run(*arguments)
        self.assertEqual(status, 1)
        self.assertRegex(error, "val_fraction=0.5, not 0.0;.* or remove")

        shutil.rmtree(self.data_dir)
        self.assertEqual(self._run(*arguments)[0], 0)
        status, out, _ = self._run(*arguments, "--val_fraction=0")
        self.assertEqual(status, 0)
        self.assertIn("already built", out)

        # As built before an option was there.
        path = next(self.data_dir.rglob("metadata.json"))
        metadata = json.loads(path.read_text())
        del metadata["options"]["val_fraction"], metadata["counts"]
        path.write_text(json.dumps(metadata))
        self.assertEqual(self._run(*arguments)[0], 0)

    def test_beam_builds_what_is_asked_for(self):
        status, out, error = self._run(
            "--dataset=celeba",
            f"--raw_dir={self._celeba()}",
            "--beam_runner=DirectRunner",
            "--beam_options=direct_num_workers=1,direct_running_mode=in_memory",
        )
        self.assertEqual((status, error), (0, ""))
        self.assertIn("celeba/1.1.0: built in", out)
        self.assertIn("train: 7 clips, 7 frames", out)

    def test_a_stop_that_beam_turns_into_an_error(self):
        def be_stopped(*unused, **unused_too):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt as stop:
                logging.error("Traceback ...")
                raise RuntimeError("[while running 'train/Read']") from stop

        with mock.patch.object(build, "build", be_stopped):
            status, out, error = self._run("--dataset=puppets")

        self.assertEqual((status, out), (128 + signal.SIGTERM, ""))
        self.assertEqual(error, "stopped; nothing was left behind\n")
        self.assertTrue(logging.getLogger().isEnabledFor(logging.ERROR))

    def test_a_killed_worker_is_one_line(self):
        with mock.patch.object(
            workers,
            "read_all",
            side_effect=workers.WorkerKilledError("a worker ended"),
        ):
            self._assert_refused(
                "a worker ended",
                "--dataset=celeba",
                f"--raw_dir={self._celeba()}",
            )

    def test_a_skipped_name_that_is_no_text_is_shown(self):
        built = build.Built(
            path=pathlib.Path("a"),
            is_new=True,
            seconds=0.0,
            num_clips={},
            num_frames={},
            skipped=["b\udcff.png", "c\n.png"],
            counts=["raw\udcfe: 3 images read"],
        )
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with contextlib.redirect_stdout(out):
            cli._report(built)
            out.flush()
        self.assertIn(rb"b\udcff.png, c\n.png", out.buffer.getvalue())
        self.assertIn(rb"raw\udcfe: 3 images", out.buffer.getvalue())

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
        self._wait_for(process, lambda: any(folder.glob("incomplete.*_1.1.0")))
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate()
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertEqual(error, "stopped; nothing was left behind\n")
        self.assertFalse(self.data_dir.exists())

        process = self._start(*arguments)
        self._wait_for(process, lambda: any(folder.glob("incomplete.*_1.1.0")))
        process.kill()
        process.communicate()
        self.assertNotEmpty(list(folder.glob("incomplete.*_1.1.0")))
        with self.assertRaises(tfds.core.DatasetNotFoundError):
            read_only_builder.builder_from_files(
                "images", data_dir=self.data_dir
            )

        for path in list(raw_dir.iterdir())[3:]:
            path.unlink()
        status, out, _ = self._run(*arguments)
        self.assertEqual(status, 0)
        self.assertIn("train: 3 clips", out)
        self.assertEqual([p.name for p in folder.iterdir()], ["1.1.0"])

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
