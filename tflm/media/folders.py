"""The files of a folder, and a count of what is left out of them."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import pathlib

from tflm import errors

OTHER_ENDING = "with another ending"
UNREAD = "of a kind that is not read; convert to JPEG or PNG"
HIDDEN = "hidden"
NO_FILE = "that are no files"
DANGLING = "links to nothing"
SEEN_BEFORE = "links to a folder that is read anyway"
UNREADABLE = "folders that cannot be opened"
MISSING = (UNREAD, DANGLING, UNREADABLE)  # What people may expect to be read.
_NUM_NAMES = 3  # That are named in a line.
# Pictures all the same, so that leaving them out is hardly meant.
_UNREAD_SUFFIXES = (
    ".heic", ".heif", ".jxl", ".psd", ".svg", ".dng", ".cr2", ".cr3", ".nef",
    ".arw", ".orf", ".rw2", ".raf",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        names: paths below the folder, with forward slashes, sorted.
        left_out: one of the reasons above to the paths it applies to.
    """

    names: list[str]
    left_out: dict[str, list[str]]


def listing(
    root: str | os.PathLike,
    suffixes: Collection[str],
    is_foreign: Callable[[pathlib.Path], bool] = lambda path: False,
) -> Listing:
    """Lists the files below a folder whose names end as asked.

    A link to a folder is followed, unless that folder is read anyway, so that
    no file is read twice and no loop is entered. Hidden folders are passed
    over, and so are hidden files; those that end as asked are counted.

    Args:
        root: the folder.
        suffixes: in lower case, such as ".png"; capitals make no difference.
        is_foreign: whether a path is passed over without being counted.
    """
    names, left_out = [], {}
    visited, links = set(), [pathlib.Path(root)]

    def leave_out(reason: str, path: pathlib.Path) -> None:
        name = path.relative_to(root).as_posix()
        left_out.setdefault(reason, []).append(name)

    def take(path: pathlib.Path) -> None:
        suffix = path.suffix.lower()
        has_suffix = suffix in suffixes
        if path.name.startswith("."):
            if has_suffix:
                leave_out(HIDDEN, path)
        elif not has_suffix:
            is_unread = suffix in _UNREAD_SUFFIXES
            leave_out(UNREAD if is_unread else OTHER_ENDING, path)
        elif path.is_file():
            names.append(path.relative_to(root).as_posix())
        elif path.is_symlink():
            leave_out(DANGLING, path)
        else:  # A pipe, for example, which would wait for ever.
            leave_out(NO_FILE, path)

    while links:  # Folders come before links, which may lead to them.
        waiting = [links.pop(0)]
        while waiting:
            folder = waiting.pop()
            try:
                identity = _identity(folder)
                entries = sorted(os.scandir(folder), key=lambda one: one.name)
            except OSError:
                leave_out(UNREADABLE, folder)
                continue
            if identity in visited:
                leave_out(SEEN_BEFORE, folder)
                continue
            visited.add(identity)
            for entry in entries:
                path = pathlib.Path(entry.path)
                if is_foreign(path):
                    continue
                if not _is_folder(entry):
                    take(path)
                elif not entry.name.startswith("."):
                    (links if entry.is_symlink() else waiting).append(path)
    return Listing(
        sorted(names), {key: sorted(left_out[key]) for key in sorted(left_out)}
    )


def in_words(left_out: Mapping[str, Sequence[str]]) -> str:
    """Says how much was left out, and the first few names.

    Args:
        left_out: reason to names, such as `Listing.left_out`.

    Returns:
        Such as "left out: 2 with another ending (a.txt, b.txt), 1 hidden
        (.c.png)"; "" if nothing was.
    """
    parts = []
    for reason, names in left_out.items():
        if names:
            parts.append(f"{len(names)} {reason} ({first_few(names)})")
    return f"left out: {', '.join(parts)}" if parts else ""


def first_few(names: Sequence[str]) -> str:
    """Such as "a.txt, b.txt, c.txt, ..."."""
    shown = [*map(_printable, names[:_NUM_NAMES])]
    more = ["..."] if len(names) > _NUM_NAMES else []
    return ", ".join(shown + more)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link to itself.
        return False


def _identity(folder: pathlib.Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _printable(name: str) -> str:
    text = name.encode("utf-8", "backslashreplace").decode()
    return errors.in_one_line(text)
