"""How far a long task is, on stderr."""

import datetime
import sys
import time

import tqdm

SECONDS_PER_LINE = 10.0


class Display:
    """Shows how many, how fast and how long to go, as a context manager.

    A terminal gets a bar; a file or pipe a line every SECONDS_PER_LINE.

    Args:
        description: what is being done.
        total: how many there will be, or a guess; 0 if it is not known.
        unit: what is counted, in the plural.
    """

    def __init__(self, description: str, total: int, unit: str):
        self._description = description
        self._total = total
        self._unit = unit
        self._count = 0
        self._start = self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(
                desc=description,
                total=total or None,
                unit=f" {unit}",
                dynamic_ncols=True,
            )

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *unused) -> None:
        if self._bar:
            self._bar.close()

    def advance(self, count: int) -> None:
        """Counts on."""
        self._count += count
        if self._bar:
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._last_line < SECONDS_PER_LINE:
            return
        self._last_line = now
        speed = self._count / (now - self._start)
        line = f"{self._description}: {self._count}"
        if self._total:
            line += f" of {self._total}"
        line += f" {self._unit}, {speed:.1f} a second"
        if self._total > self._count > 0:
            seconds = round((self._total - self._count) / speed)
            line += f", {datetime.timedelta(seconds=seconds)} to go"
        print(line, file=sys.stderr, flush=True)
