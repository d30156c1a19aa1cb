"""Reading by several processes at once, in bounded memory."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import multiprocessing
from multiprocessing import connection as connections
import os
import signal
import threading
import traceback
from typing import Any

from tflm import errors

_MOST_SOURCES = 16  # That a worker is given at a time.
_NAME_LENGTH = 300  # Characters; the points of a source can be many.
_READY = None  # What a worker says, among its items, when it has no source.


class WorkerKilledError(Exception):
    """A worker process is gone; the message is one line with a remedy."""


def read_all(
    read: Callable[[Any], Iterable], sources: Sequence, num_workers: int
) -> Iterator:
    """Yields the items of every source, in no fixed order.

    Close the generator to end the workers early. A worker makes its next item
    when the one before has left for the pipe that it shares with this process:
    it is one large item ahead, or as many small ones as the pipe holds, which
    are some hundred kilobytes.

    Args:
        read: from a source to its items, which are sent one by one: a long
            video does not fill the memory. A function of a module.
        sources: what to read; can be pickled.
        num_workers: processes; 1: this one.

    Raises:
        RawDataError: as raised by `read`.
        OSError: as raised by `read`, with its number and file name.
        RuntimeError: if `read` raises something else in a worker, which is an
            error of the program; its message is the worker's traceback, and
            names the source. (Libraries that read a file are called where all
            that they raise becomes an error of the data.)
        WorkerKilledError: if a worker process ends before its work.
    """
    num_workers = min(num_workers, len(sources))
    if num_workers <= 1:
        for source in sources:
            yield from items(read, source)
        return
    # A pipe for each worker, not a queue for all: if a worker is killed in the
    # middle of a message its pipe ends, while a queue would wait for the rest.
    context = multiprocessing.get_context("spawn")
    processes = {}
    shares = _shares(sources, num_workers)
    try:
        for _ in range(num_workers):
            ours, theirs = context.Pipe()
            processes[ours] = context.Process(
                target=_work, args=(read, theirs), daemon=True
            )
            processes[ours].start()
            theirs.close()  # The worker has the only one; see above.
        working = set(processes)
        while working:
            for pipe in connections.wait(working):
                item = _receive(pipe, processes[pipe])
                if item is _READY:
                    share = next(shares, ())
                    _send(pipe, processes[pipe], share)
                    if not share:
                        working.remove(pipe)
                elif isinstance(item, Exception):
                    raise item
                else:
                    yield item
    finally:
        for process in processes.values():
            if process.pid is not None:  # It has started.
                process.terminate()
                process.join()
        for pipe in processes:
            pipe.close()


def items(read: Callable[[Any], Iterable], source: Any) -> Iterator:
    """Items of a source; an unexpected exception gets one that names it."""
    try:
        yield from read(source)
    except (errors.RawDataError, OSError):
        raise
    except Exception as error:
        name = repr(source)[:_NAME_LENGTH]
        raise RuntimeError(f"reading {name} failed: {error!r}") from error


def _shares(sources: Sequence, num_workers: int) -> Iterator[Sequence]:
    """Cuts the sources into what a worker is given at a time.

    Several at first, so that workers on stills seldom wait for the next; one by
    one at last, so that none is left with all the long videos.
    """
    start = 0
    while start < len(sources):
        size = (len(sources) - start) // (4 * num_workers)
        stop = start + max(1, min(size, _MOST_SOURCES))
        yield tuple(sources[start:stop])
        start = stop


def _receive(
    pipe: connections.Connection, process: multiprocessing.Process
) -> Any:
    try:
        return pipe.recv()
    except (EOFError, OSError):
        raise _killed(process) from None


def _send(
    pipe: connections.Connection,
    process: multiprocessing.Process,
    share: Sequence,
) -> None:
    try:
        pipe.send(share)
    except OSError:
        raise _killed(process) from None


def _killed(process: multiprocessing.Process) -> WorkerKilledError:
    process.join()
    return WorkerKilledError(
        f"a worker process ended with status {process.exitcode}; if memory ran"
        " out, use fewer --num_workers"
    )


def _work(
    read: Callable[[Any], Iterable], pipe: connections.Connection
) -> None:
    """A worker's life."""
    # Ctrl-C reaches every process of the terminal: the workers leave it to
    # their parent, which stops them in order. If the parent is killed, they
    # end too; without this they would read their shares to the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        pipe.send(_READY)
        while share := pipe.recv():
            for source in share:
                for item in items(read, source):
                    pipe.send(item)
            pipe.send(_READY)
    except Exception as error:
        with contextlib.suppress(BrokenPipeError):  # The parent is gone.
            pipe.send(_portable(error))


def _portable(error: Exception) -> Exception:
    """What to raise in the parent; other classes may not survive pickling."""
    if isinstance(error, errors.RawDataError):
        return errors.RawDataError(str(error))
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, error.filename)
    return RuntimeError("".join(traceback.format_exception(error)))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
