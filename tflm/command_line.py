"""How the scripts start and how they fail. Import it before TensorFlow."""

from collections.abc import Callable
import io
import logging
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Its start-up chatter.
# TensorFlow itself leaves oneDNN off on CPUs without AVX512-VNNI, where it
# makes training 1.7 times as fast.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from absl import app  # noqa: E402
from absl import logging as absl_logging  # noqa: E402

from tflm import errors  # noqa: E402


def run(main: Callable[..., int | None], takes_arguments: bool = False) -> None:
    """Parses the flags, runs `main`, and exits with the status it returns.

    What the user can mend ends in one line on stderr and status 1; anything
    else is a bug and keeps its traceback.

    Args:
        main: called without arguments, or with the list of what is not a flag.
        takes_arguments: whether there may be any.
    """
    path = pathlib.Path(sys.argv[0])
    script = path.parent.name if path.name == "__main__.py" else path.name

    def fail(error: Exception | str) -> int:
        print(errors.in_one_line(f"{script}: {error}"), file=sys.stderr)
        return 1

    def guarded(argv: list[str]) -> int | None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Names of files may be no UTF-8.
            sys.stdout.reconfigure(errors="surrogateescape")
        absl_logging.set_verbosity(absl_logging.ERROR)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log = logging.getLogger("tflm")
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            if takes_arguments:
                return main(argv[1:])
            if len(argv) > 1:
                raise errors.UserError(f"unexpected arguments: {argv[1:]}")
            return main()
        except (errors.UserError, FloatingPointError) as error:
            return fail(error)
        except BrokenPipeError:  # Who reads, as `head`, has read enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            if line := errors.about_path(error):
                return fail(line)
            raise
        except KeyboardInterrupt:
            print(f"{script}: stopped", file=sys.stderr)
            return 130

    app.run(guarded, argv=[_with_home(argument) for argument in sys.argv])


def _with_home(argument: str) -> str:
    """Replaces ~ in --flag=~/folder, which most shells leave as it is."""
    flag, equals, value = argument.partition("=")
    if not (equals and flag.startswith("-")):
        return argument
    paths = map(os.path.expanduser, value.split(","))
    return f"{flag}={','.join(paths)}"
