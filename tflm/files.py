"""Files that are whole or not there."""

from collections.abc import Iterator
import contextlib
import json
import math
import os
import pathlib
import secrets
import shutil


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


@contextlib.contextmanager
def scratch_folder(
    parent: str | os.PathLike, prefix: str
) -> Iterator[pathlib.Path]:
    """Makes a new folder in `parent` that is gone after the block.

    Also if a signal's handler raises while it is made: `tempfile` leaves it.
    """
    folder = pathlib.Path(parent, f"{prefix}{secrets.token_hex(8)}")
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
