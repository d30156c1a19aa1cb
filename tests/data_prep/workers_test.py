from collections.abc import Iterator
import contextlib
import multiprocessing
import os
import pathlib
import pickle
import signal
import tempfile
import threading
import time

from absl.testing import absltest

from data_prep import workers
from tflm import errors

MEGABYTE = 2**20


def _three_items(source: int) -> Iterator[tuple[int, int]]:
    for item in range(3):
        yield source, item


def _process(source: int) -> Iterator[int]:
    yield os.getpid()


def _large_items(log: pathlib.Path) -> Iterator[bytes]:
    """Adds a byte to a file for each item that is made."""
    for _ in range(20):
        with log.open("ab") as file:
            file.write(b".")
        yield bytes(MEGABYTE)


def _refuse(source: int) -> Iterator[int]:
    yield source
    raise errors.RawDataError(f"{source}.jpg is broken; replace it")


def _fail(source: str) -> Iterator[int]:
    yield 1
    raise KeyError("head")


def _small_then_killed_in_a_large_one(source: int) -> Iterator[bytes]:
    yield b"small"
    kill = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL))
    kill.start()
    yield bytes(100 * MEGABYTE)


class WorkersTest(absltest.TestCase):
    def test_all_items_of_all_sources_arrive(self):
        expected = [(s, i) for s in range(70) for i in range(3)]
        for num_workers in (1, 2):
            with self.subTest(f"{num_workers} workers"):
                items = workers.read_all(_three_items, range(70), num_workers)
                self.assertCountEqual(items, expected)
        self.assertEmpty(multiprocessing.active_children())

    def test_one_source_or_one_worker_needs_no_process(self):
        for sources, num_workers in (([1], 4), ([1, 2], 1), ([], 2)):
            processes = workers.read_all(_process, sources, num_workers)
            self.assertLessEqual(set(processes), {os.getpid()})

    def test_workers_wait_for_the_consumer_and_end_with_it(self):
        with tempfile.TemporaryDirectory() as folder:
            logs = [pathlib.Path(folder, name) for name in "ab"]
            items = workers.read_all(_large_items, logs, num_workers=2)
            with contextlib.closing(items):
                next(items)
                next(items)
                time.sleep(1.0)  # They could make all 40 items.
                made = sum(log.stat().st_size for log in logs if log.exists())
                self.assertLen(multiprocessing.active_children(), 2)
        self.assertLessEqual(made, 2 + 2)  # Taken, and one ahead for each.
        self.assertEmpty(multiprocessing.active_children())

    def test_an_error_of_the_data_is_raised_as_itself(self):
        items = workers.read_all(_refuse, [5, 5], num_workers=2)
        with self.assertRaisesRegex(errors.RawDataError, r"\A5.jpg is broken;"):
            list(items)
        self.assertEmpty(multiprocessing.active_children())

    def test_other_errors_survive_the_way_to_the_parent(self):
        class OneOfALibraryError(OSError):  # It is no use to the parent.
            def __init__(self, code, library):
                super().__init__(code, f"{library} failed", "a.mp4")

        error = pickle.loads(
            pickle.dumps(workers._portable(OneOfALibraryError(2, "decoder")))
        )
        self.assertIsInstance(error, FileNotFoundError)
        self.assertEqual(error.filename, "a.mp4")
        self.assertEqual(error.strerror, "decoder failed")

        try:
            {}["head"]
        except KeyError as key_error:
            error = pickle.loads(pickle.dumps(workers._portable(key_error)))
        self.assertIsInstance(error, RuntimeError)
        self.assertIn('{}["head"]', str(error))  # The line, of a traceback.

    def test_an_unexpected_error_names_its_source(self):
        for sources in (["a.mp4"], ["a.mp4"] * 2):
            with self.assertRaisesRegex(RuntimeError, "reading 'a.mp4' failed"):
                list(workers.read_all(_fail, sources, num_workers=2))

    def test_a_worker_killed_within_an_item_is_an_error(self):
        items = workers.read_all(
            _small_then_killed_in_a_large_one, [0, 1], num_workers=2
        )
        self.assertEqual(next(items), b"small")
        time.sleep(1.5)  # Half of the large item is in the pipe.
        with self.assertRaisesRegex(
            workers.WorkerKilledError, r"\A.*status -9; .*--num_workers\Z"
        ):
            list(items)
        self.assertEmpty(multiprocessing.active_children())

    def test_a_source_that_cannot_be_sent_is_not_lost(self):
        items = workers.read_all(_process, [0, lambda: 1], num_workers=2)
        with self.assertRaisesRegex(Exception, "pickle"):
            list(items)
        self.assertEmpty(multiprocessing.active_children())

    def test_shares_shrink_to_one_source(self):
        shares = list(workers._shares(range(1_000), num_workers=3))

        self.assertSequenceEqual(
            [source for share in shares for source in share], range(1_000)
        )
        sizes = [len(share) for share in shares]
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertEqual(sizes[0], 16)
        self.assertEqual(sizes[-20:], [1] * 20)


if __name__ == "__main__":
    absltest.main()
