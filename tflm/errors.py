"""Errors that the person at the keyboard can mend."""


class UserError(ValueError):
    """A setting, file or folder that cannot be used as asked.

    The message is one line that names it and says what to do; scripts print it
    without a traceback.
    """
