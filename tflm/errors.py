"""Errors that the person at the keyboard can mend."""

import dataclasses
import errno


class UserError(ValueError):
    """A setting, file or folder that cannot be used as asked.

    The message is one line that names it and says what to do; scripts print it
    without a traceback.
    """


class MissingError(UserError, FileNotFoundError):
    """A run, a checkpoint or a dataset that is not there."""


class RawDataError(UserError):
    """An image, video, annotation file or raw dataset that cannot be used."""


@dataclasses.dataclass(frozen=True)
class Broken:
    """A file, or a part of one, that cannot be used, in place of its content.

    Whoever reads many files goes on with the next.
    """

    path: str
    message: str  # One line that names the file and the remedy.


def in_one_line(text: str) -> str:
    """Writes out line breaks and tabs, which names of files may have.

    A line break becomes a backslash and an n, for example.
    """
    breaks = {ord(one): repr(one)[1:-1] for one in "\t\n\r\v\f\x85\u2028\u2029"}
    return text.translate(breaks)


def about_path(error: OSError) -> str | None:
    """One line about a path that cannot be used, with a remedy.

    Returns:
        None if the error names no path: then it may be a bug, and where it came
        up must be seen.
    """
    if error.filename is None:
        return None
    remedy = {
        errno.EACCES: "change its permissions, or choose another",
        errno.EPERM: "change its permissions, or choose another",
        errno.EROFS: "it is on a disk that cannot be written; choose another",
        errno.ENOSPC: "free space on its disk, or choose another",
        errno.EDQUOT: "free space on its disk, or choose another",
        errno.ENAMETOOLONG: "choose a shorter name",
    }.get(error.errno, "choose another path")
    return f"{error.filename}: {error.strerror}; {remedy}"
