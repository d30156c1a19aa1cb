"""Turns raw data into the shards that tflm reads.

    python -m data_prep --dataset=celeba --raw_dir=/data/celeba

The shards are written to DATA_DIR/DATASET/VERSION. A dataset that is there
already is left alone; a build that was cut off is redone.
"""

from collections.abc import Sequence
import functools
import os
import signal
import sys

from absl import flags

# Dataset -> the flags that only some datasets have; its builder takes
# arguments of the same names.
DATASETS = {
    "celeba": ("skip_broken",),
    "images": ("skip_broken", "val_fraction", "test_fraction", "keypoints"),
    "puppets": (),
}
TEST_FRACTION = 0.1  # Of images with keypoints, unless asked otherwise.
NUM_NAMES = 5  # How many skipped files are named.


def run(argv: Sequence[str]) -> int:
    """Runs the command line `argv`, program name first.

    Returns:
        The exit status: 0 if the shards are there, 1 if they cannot be built,
        2 if the command line is wrong, 128 + the signal if stopped by one.
    """
    try:
        values = _parse(argv)
        if values.help:
            print(__doc__, values.get_help(), sep="\n")
            return 0
        options = _options(values)
    except (flags.Error, ValueError) as error:
        return _fail(error, 2)

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    handlers = {
        number: signal.signal(number, _stop)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        # Here, not above: TensorFlow takes seconds, and a wrong command line
        # should not.
        from data_prep import build
        from data_prep import clips

        try:
            built = build.build(
                values.dataset,
                values.raw_dir,
                values.data_dir,
                options,
                skip_broken=values.skip_broken,
                num_workers=values.num_workers or os.cpu_count(),
            )
        except (build.BuildError, clips.RawDataError) as error:
            return _fail(error, 1)
        except OSError as error:
            if error.filename is None and error.errno is None:
                raise
            return _fail(error, 1)
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        print("stopped; nothing was left behind", file=sys.stderr)
        return 128 + number
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    _report(built)
    return 0


def _parse(argv: Sequence[str]) -> flags.FlagValues:
    """Parses the command line; its flags are no other script's."""
    values = flags.FlagValues()
    text = functools.partial(flags.DEFINE_string, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    number = functools.partial(
        flags.DEFINE_float, lower_bound=0.0, upper_bound=1.0, flag_values=values
    )
    text("dataset", None, f"One of {', '.join(DATASETS)}.")
    text("raw_dir", None, "Folder of the raw data.")
    text("data_dir", "data", "Folder that the shards are written to.")
    switch(
        "skip_broken",
        False,
        "Leave out files that are missing or do not decode, and count them.",
    )
    flags.DEFINE_integer(
        "num_workers",
        None,
        "Processes that read raw files; one per CPU by default.",
        lower_bound=1,
        flag_values=values,
    )
    number(
        "val_fraction",
        None,
        "images: share of the images in split val; none by default.",
    )
    number(
        "test_fraction",
        None,
        "images: share of the images in split test; none by default, but"
        f" {TEST_FRACTION} with --keypoints.",
    )
    text(
        "keypoints",
        None,
        "images: CSV file with columns image, NAME_x, NAME_y, ... in pixels.",
    )
    switch("help", False, "Show this text.")
    if extra := values(list(argv))[1:]:
        raise ValueError(f"unexpected arguments: {' '.join(extra)}")
    return values


def _options(values: flags.FlagValues) -> dict[str, object]:
    """Checks the flags; returns those that are the builder's own arguments."""
    known = ", ".join(DATASETS)
    dataset = values.dataset
    if dataset is None:
        raise ValueError(f"--dataset is missing; one of {known}")
    if dataset not in DATASETS:
        raise ValueError(f"no dataset {dataset!r}; one of {known}")
    for name in DATASETS["images"]:
        if values[name].present and name not in DATASETS[dataset]:
            users = [d for d, names in DATASETS.items() if name in names]
            raise ValueError(
                f"--{name} is for {' and '.join(users)}, not for {dataset}"
            )
    if dataset != "images":
        return {}
    val_fraction, test_fraction = values.val_fraction, values.test_fraction
    if test_fraction is None:
        test_fraction = TEST_FRACTION if values.keypoints else 0.0
    return {
        "val_fraction": val_fraction or 0.0,
        "test_fraction": test_fraction,
        "keypoints": values.keypoints and os.path.abspath(values.keypoints),
    }


def _stop(number: int, frame: object) -> None:
    """Ends the run by an exception, so that it cleans up; only once."""
    del frame
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _fail(error: Exception, status: int) -> int:
    message = " ".join(str(error).split())
    print(f"error: {message}", file=sys.stderr)
    return status


def _report(built) -> None:
    """Prints a `build.Built`."""
    if built.is_new:
        print(f"{built.path}: built in {built.seconds:.0f} s")
    else:
        print(f"{built.path}: already built; to build it again, remove it")
    for split, num_clips in built.num_clips.items():
        print(f"  {split}: {num_clips} clips, {built.num_frames[split]} frames")
    if built.skipped:
        names = ", ".join(built.skipped[:NUM_NAMES])
        more = ", ..." if len(built.skipped) > NUM_NAMES else ""
        print(f"skipped {len(built.skipped)} broken files: {names}{more}")


if __name__ == "__main__":
    sys.exit(run(sys.argv))
