"""Errors that the person at the keyboard can mend."""

import dataclasses


class UserError(ValueError):
    """A setting, file or folder that cannot be used as asked.

    The message is one line that names it and says what to do; scripts print it
    without a traceback.
    """


class RawDataError(UserError):
    """An image, video, annotation file or raw dataset that cannot be used."""


@dataclasses.dataclass(frozen=True)
class Broken:
    """A file, or a part of one, that cannot be used, in place of its content.

    Whoever reads many files goes on with the next.
    """

    path: str
    message: str  # One line that names the file and the remedy.
