"""Reading by several processes at once, in bounded memory."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from typing import Any

_WAITING_PER_WORKER = 4  # Items that a worker is ahead, at most.
_SECONDS_PER_LOOK = 1.0  # At whether the workers still live.
_END = None  # Of tasks; and of a worker's items.


def read_all(
    read: Callable[[Any], Iterable], sources: Sequence, num_workers: int
) -> Iterator:
    """Yields the items of every source, in no fixed order.

    Close the generator to end the workers early.

    Args:
        read: from a source to its items, which are sent one by one: a long
            video does not fill the memory. A function of a module.
        sources: what to read; can be pickled.
        num_workers: processes; 1: this one.

    Raises:
        RuntimeError: if a worker is killed, or `read` raises what is no
            ValueError or OSError; those are raised as they are.
    """
    num_workers = min(num_workers, len(sources))
    if num_workers <= 1:
        for source in sources:
            yield from read(source)
        return
    context = multiprocessing.get_context("spawn")
    tasks, items = (
        context.Queue(),
        context.Queue(_WAITING_PER_WORKER * num_workers),
    )
    processes = [
        context.Process(target=_work, args=(read, tasks, items), daemon=True)
        for _ in range(num_workers)
    ]
    try:
        for process in processes:
            process.start()
        for task in (*sources, *[_END] * num_workers):
            tasks.put(task)
        while num_workers:
            item = _next(items, processes)
            if item is _END:
                num_workers -= 1
            elif isinstance(item, Exception):
                raise item
            else:
                yield item
    finally:
        for process in processes:
            process.terminate()
        for used in (tasks, items):
            used.cancel_join_thread()
            used.close()
        for process in processes:
            process.join()


def _next(items: multiprocessing.Queue, processes: Sequence) -> Any:
    while True:
        with contextlib.suppress(queue.Empty):
            return items.get(timeout=_SECONDS_PER_LOOK)
        if any(process.exitcode for process in processes):
            raise RuntimeError(
                "a worker process was killed; is there enough memory?"
            )


def _work(read, tasks, items) -> None:
    """A worker's life."""
    # Ctrl-C reaches every process of the terminal: the workers leave it to
    # their parent, which stops them in order. If the parent is killed, they
    # end too; without this they would wait for work for ever.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while (source := tasks.get()) is not _END:
            for item in read(source):
                items.put(item)
        items.put(_END)
    except (ValueError, OSError) as error:
        items.put(error)
    except Exception:
        items.put(RuntimeError(traceback.format_exc()))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
