"""How far a long task is, on stderr."""

from collections.abc import Iterable
from collections.abc import Iterator
import sys
import time

import tqdm

SECONDS_PER_LINE = 10.0


def track(
    items: Iterable, description: str, total: int | None, unit: str
) -> Iterator:
    """Yields `items`, and shows how many, how fast and how long to go.

    A terminal gets a bar; a file or pipe a line every SECONDS_PER_LINE.

    Args:
        items: what to yield.
        description: what is being done.
        total: the number of items, None if it is not known.
        unit: what an item is, in the plural.
    """
    if sys.stderr.isatty():
        with tqdm.tqdm(
            items, description, total, unit=f" {unit}", dynamic_ncols=True
        ) as bar:
            yield from bar
        return
    start = last_line = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last_line >= SECONDS_PER_LINE:
            last_line = now
            speed = count / (now - start)
            line = f"{description}: {count}"
            if total:
                line += f" of {total}"
            line += f" {unit}, {speed:.0f} a second"
            if total:
                line += f", {(total - count) / speed:.0f} s to go"
            print(line, file=sys.stderr, flush=True)
