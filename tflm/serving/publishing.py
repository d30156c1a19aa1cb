"""Puts a finished export in place of an earlier one.

Everything is written into a hidden folder and then renamed, one by one: the
SavedModel to a new version beside the earlier ones, each file over the earlier
one of its name. So whoever looks, TF Serving for instance, sees of each either
all or nothing. (TF Serving passes over names that are not numbers.)
"""

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil

from tflm import errors
from tflm import files

VERSIONS = "saved_model"  # The folder that TF Serving polls.


def next_version(output_dir: str | os.PathLike) -> int:
    """The number after all versions in `output_dir`; from 1 on."""
    numbers = [int(path.name) for path in _versions(pathlib.Path(output_dir))]
    return max(numbers, default=0) + 1


@contextlib.contextmanager
def staged(
    output_dir: str | os.PathLike,
    keep_versions: int,
    mark: str,
    superseded: Iterable[str],
) -> Iterator[pathlib.Path]:
    """Gives a new folder whose content is published if the block succeeds.

    Args:
        output_dir: to publish in; made if needed.
        keep_versions: at least 1; so many of the newest versions stay.
        mark: a file that every version of ours has. Of others none is deleted.
        superseded: names of earlier files that go unless they are new as well:
            beside a new model they would be of another one.

    Yields:
        A folder on the disk of `VERSIONS`, for files and `VERSIONS`/NUMBER.

    Raises:
        errors.UserError: if `output_dir` cannot be written, or another process
            exports to it.
    """
    output_dir = pathlib.Path(output_dir).resolve()
    if output_dir.is_file():
        raise errors.UserError(
            f"{output_dir} is a file; choose another --output_dir"
        )
    versions = output_dir / VERSIONS
    remedy = "choose another --output_dir"
    busy = f"another process exports to {output_dir}; wait, or {remedy}"
    try:
        with files.own_folder(output_dir, busy, remedy):
            files.check_writable(versions, remedy)
            # On the disk where it will be, which may be another.
            nearest = versions if versions.exists() else output_dir
            with files.scratch_folder(nearest, ".export-") as scratch:
                new = scratch / "new"
                new.mkdir()
                yield new
                _publish(new, output_dir)
                names = {path.name for path in new.iterdir()}
                for name in set(superseded) - names:
                    (output_dir / name).unlink(missing_ok=True)
                _retire(output_dir, keep_versions, mark, scratch)
    except OSError as error:
        reason = error.strerror or error
        raise errors.UserError(
            f"cannot write {output_dir}: {reason}; {remedy}"
        ) from error


def _retire(
    output_dir: pathlib.Path,
    keep_versions: int,
    mark: str,
    scratch: pathlib.Path,
) -> None:
    ours = [path for path in _versions(output_dir) if (path / mark).exists()]
    ours.sort(key=lambda path: int(path.name))
    for version in ours[:-keep_versions]:
        # Renamed first: no one sees half of it.
        version.rename(scratch / version.name)


def _publish(new: pathlib.Path, output_dir: pathlib.Path) -> None:
    (output_dir / VERSIONS).mkdir(exist_ok=True)
    for version in (new / VERSIONS).iterdir():
        version.rename(output_dir / VERSIONS / version.name)
    for file in new.iterdir():
        if file.is_file():
            # Copied, as VERSIONS may be on a disk of its own.
            with files.replacing(output_dir / file.name) as partial:
                shutil.copyfile(file, partial)


def _versions(output_dir: pathlib.Path) -> list[pathlib.Path]:
    return [
        path
        for path in (output_dir / VERSIONS).glob("*")
        if path.name.isdecimal() and path.is_dir()
    ]
