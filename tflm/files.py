"""Files that are whole or not there, and folders that one process has."""

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import logging
import math
import os
import pathlib
import re
import secrets
import shutil

from tflm import errors

_PROBE_BYTES = 1_000_000  # A disk that has no more is full.
# How file systems without locks answer, as those of some clusters.
_NO_LOCKS = {
    errno.ENOLCK,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EBADF,
}
# What writing to an open file answers, which names no file.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_TOKEN_BYTES = 8
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a name beside `path` to write to; it becomes `path` at the end.

    An error leaves what was at `path`, if anything, and nothing beside it. Two
    processes that write `path` never write the same part. The part of a process
    that was killed is taken over by the next that writes `path`.

    Raises:
        OSError: naming `path`, if it cannot be written.
    """
    path = pathlib.Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        partial, descriptor = _new_part(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        yield partial
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and (
            error.errno in _FULL
            if error.filename is None
            else str(error.filename) == str(partial)
        ):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        os.close(descriptor)


def _new_part(path: pathlib.Path) -> tuple[pathlib.Path, int]:
    """An empty file beside `path`, locked, and its descriptor."""
    # Its name is short: that of `path` may be as long as names can be.
    stem = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    for number in itertools.count():
        partial = path.with_name(f".{stem}-{number}.partial")
        try:
            descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:
            if partial.exists():
                continue  # Another user's.
            raise
        is_free = _lock(descriptor, partial)
        if is_free:
            os.truncate(descriptor, 0)
            return partial, descriptor
        os.close(descriptor)
        if is_free is None:  # Whose a part is cannot be known.
            partial.unlink(missing_ok=True)
            partial = path.with_name(f".{stem}-{_token()}.partial")
            return partial, os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)


def _lock(descriptor: int, path: pathlib.Path) -> bool | None:
    """Locks what is at `path`, and there open; until it is closed.

    Returns:
        Whether it is this process's now; None if its file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    try:  # Who had it may have renamed or removed it in the meantime.
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked(path: str | os.PathLike, refusal: str) -> Iterator[None]:
    """Keeps other processes out of the block.

    On a file system without locks it warns of that and goes on: people who
    have no other must be able to work.

    Args:
        path: a folder that is there, or a file, which is made.
        refusal: what to say if another process is in the block.

    Raises:
        errors.UserError: saying so.
    """
    path = pathlib.Path(path)
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o666)
    try:
        is_free = _lock(descriptor, path)
        if is_free is False:
            raise errors.UserError(refusal)
        if is_free is None:
            _log.warning(
                "%s: its file system has no locks, so that nothing keeps a"
                " second process out; start none",
                path,
            )
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def own_folder(
    folder: str | os.PathLike, refusal: str, remedy: str
) -> Iterator[None]:
    """Makes a folder that no other process may write to during the block.

    If it is empty at the end, it is removed with those that were made for it.

    Args:
        folder: to make if it does not exist.
        refusal: what to say if another process writes to it.
        remedy: what to do if it cannot be written to.

    Raises:
        errors.UserError: if it is another process's, or cannot be written to.
    """
    folder = pathlib.Path(folder)
    made = missing_folders(folder)
    check_writable(folder, remedy)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder, refusal):
            yield
    finally:
        remove_empty(made)


def missing_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Those to make for a folder, and itself, the deepest first."""
    return [p for p in (folder, *folder.parents) if not p.exists()]


def remove_empty(folders: Iterable[pathlib.Path]) -> None:
    """Removes folders, the deepest first, up to one that is not empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def check_writable(folder: str | os.PathLike, remedy: str) -> None:
    """Finds out whether a folder, which need not be there, can be written to.

    Args:
        folder: to look at.
        remedy: what to do if not.

    Raises:
        errors.UserError: if not, or the disk is full.
    """
    folder = pathlib.Path(folder)
    try:
        there = folder.absolute()
        while not os.path.lexists(there):
            there = there.parent
        probe = there / f".{_token()}.partial"
        try:
            probe.write_bytes(os.urandom(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise errors.UserError(
            f"cannot write to {folder}: {error.strerror}; {remedy}"
        ) from error


def _token() -> str:
    return secrets.token_hex(_TOKEN_BYTES)


@contextlib.contextmanager
def scratch_folder(
    parent: str | os.PathLike, prefix: str
) -> Iterator[pathlib.Path]:
    """Makes a new folder in `parent` that is gone after the block.

    Also if a signal's handler raises while it is made: `tempfile` leaves it.
    Those that killed processes left there under that prefix go as well.
    """
    left_over = re.compile(
        re.escape(prefix) + f"[0-9a-f]{{{2 * _TOKEN_BYTES}}}"
    )
    for path in pathlib.Path(parent).iterdir():
        if left_over.fullmatch(path.name):
            with contextlib.suppress(OSError), _opened(path) as descriptor:
                if _lock(descriptor, path):
                    shutil.rmtree(path)
    folder = pathlib.Path(parent, f"{prefix}{_token()}")
    try:
        folder.mkdir(mode=0o700)
        with _opened(folder) as descriptor:
            _lock(descriptor, folder)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _opened(folder: pathlib.Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


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
