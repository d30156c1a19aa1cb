"""Files that are whole or not there."""

from collections.abc import Iterator
import contextlib
import json
import math
import os
import pathlib


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a name beside `path` to write to; it becomes `path` at the end.

    An error leaves what was at `path`, if anything, and nothing beside it.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike, value) -> None:
    """Writes nested dicts and lists of numbers and text; NaN becomes null."""
    text = json.dumps(nan_to_none(value), indent=2, allow_nan=False)
    with replacing(path) as partial:
        partial.write_text(f"{text}\n")


def nan_to_none(value):
    """What `write_json` writes: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nan_to_none(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
