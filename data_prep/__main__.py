"""Turns raw data into the shards that tflm reads.

    python -m data_prep --dataset=celeba --raw_dir=/data/celeba

The shards are written to DATA_DIR/DATASET/VERSION. A dataset that is there
already is left alone; a build that was cut off is redone. data_prep/DATASET/
README.md says what RAW_DIR holds.
"""

from collections.abc import Sequence
import functools
import itertools
import logging
import os
import signal
import sys

from absl import flags

from tflm import errors

# Dataset -> the flags that are arguments of its builder, by the same names. A
# flag that is not given is not passed on: the builder knows its default.
DATASETS = {
    "aflw": (),
    "bbc_pose": (),
    "celeba": (),
    "human36m": (),
    "images": ("val_fraction", "test_fraction", "keypoints"),
    "puppets": (),
    "smallnorb": (),
    "svhn": ("extra",),
    "video": (
        "stride",
        "start",
        "end",
        "crop",
        "boxes",
        "motion_crop",
        "max_side",
        "val_fraction",
        "test_fraction",
        "keypoints",
    ),
    "voxceleb": ("exclude_identities", "val_fraction"),
}
PATHS = ("boxes", "exclude_identities", "keypoints")  # Flags; made absolute.
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
    stops = []  # Signals that have come.
    handlers = {
        number: signal.signal(number, functools.partial(_stop, stops))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        # Here, not above: TensorFlow takes seconds, and a wrong command line
        # should not.
        from data_prep import build

        try:
            built = build.build(
                values.dataset,
                values.raw_dir,
                values.data_dir,
                options,
                skip_broken=values.skip_broken,
                num_workers=values.num_workers or os.cpu_count(),
                beam_runner=values.beam_runner,
                beam_options=values.beam_options or (),
            )
        except (build.BuildError, errors.UserError) as error:
            return _fail(error, 1)
        except OSError as error:
            if line := errors.about_path(error):
                return _fail(line, 1)
            raise
    except BaseException:
        if not stops:
            raise
        # Beam makes a RuntimeError of it.
        print("stopped; nothing was left behind", file=sys.stderr)
        return 128 + stops[0]
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    _report(built)
    return 0


def _parse(argv: Sequence[str]) -> flags.FlagValues:
    """Parses the command line; its flags are no other script's."""
    values = flags.FlagValues()
    text = functools.partial(flags.DEFINE_string, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, flag_values=values)
    integer = functools.partial(flags.DEFINE_integer, flag_values=values)
    share = functools.partial(
        flags.DEFINE_float, lower_bound=0.0, upper_bound=1.0, flag_values=values
    )
    text(
        "dataset",
        None,
        f"One of {', '.join(DATASETS)}; one category of it, if it has some, as"
        " in smallnorb/car.",
    )
    text("raw_dir", None, "Folder of the raw data.")
    text("data_dir", "data", "Folder that the shards are written to.")
    switch(
        "skip_broken",
        False,
        "Leave out files that are missing or do not decode, and what names"
        " them, such as annotations; and count them.",
    )
    integer(
        "num_workers",
        None,
        "Processes that read raw files; one per CPU by default.",
        lower_bound=1,
    )
    text(
        "beam_runner",
        None,
        "Build in an Apache Beam pipeline, by this runner: DirectRunner here,"
        " DataflowRunner, FlinkRunner or SparkRunner on a cluster. RAW_DIR and"
        " DATA_DIR must be on a disk that its workers share, under the same"
        " paths.",
    )
    flags.DEFINE_list(
        "beam_options",
        None,
        "Options of Beam, as KEY=VALUE,... For DirectRunner, for example:"
        " direct_num_workers=4,direct_running_mode=multi_processing.",
        flag_values=values,
    )
    share(
        "val_fraction",
        None,
        "images, video, voxceleb: share of what is held out as split val.",
    )
    share(
        "test_fraction",
        None,
        "images, video: share of what is held out as split test; by default,"
        " some if there are --keypoints.",
    )
    text(
        "keypoints",
        None,
        "images, video: file of keypoints that people have marked.",
    )
    integer("stride", None, "video: take every so many frames.", lower_bound=1)
    integer("start", None, "video: first frame, from 0.", lower_bound=0)
    integer("end", None, "video: frame to stop before.", lower_bound=1)
    text("crop", None, "video: TOP,LEFT,HEIGHT,WIDTH of what is kept, pixels.")
    text("boxes", None, "video: CSV file with boxes to keep, by frame.")
    switch("motion_crop", False, "video: keep what moves.")
    integer(
        "max_side",
        None,
        "video: pixels of a stored frame's longer side, at most.",
        lower_bound=1,
    )
    switch("extra", False, "svhn: also train on the archive extra.")
    text(
        "exclude_identities",
        None,
        "voxceleb: file of the identities to leave out, one a line.",
    )
    switch("help", False, "Show this text.")
    if extra := values(list(argv))[1:]:
        raise ValueError(f"unexpected arguments: {' '.join(extra)}")
    return values


def _options(values: flags.FlagValues) -> dict[str, object]:
    """Checks the flags; returns those that are the builder's own arguments."""
    known = ", ".join(DATASETS)
    if values.dataset is None:
        raise ValueError(f"--dataset is missing; one of {known}")
    dataset = values.dataset.partition("/")[0]
    if dataset not in DATASETS:
        raise ValueError(f"no dataset {values.dataset!r}; one of {known}")
    options = {}
    for name in dict.fromkeys(itertools.chain(*DATASETS.values())):
        if not values[name].present:
            continue
        if name not in DATASETS[dataset]:
            users = [d for d, names in DATASETS.items() if name in names]
            raise ValueError(
                f"--{name} is for {' and '.join(users)}, not for {dataset}"
            )
        value = values[name].value
        if name in PATHS:
            value = os.path.abspath(os.path.expanduser(value))
        options[name] = value
    if values.beam_runner and values["num_workers"].present:
        raise ValueError(
            "--num_workers is for builds without --beam_runner; its runner has"
            " --beam_options of its own"
        )
    if values.beam_options and not values.beam_runner:
        raise ValueError("--beam_options needs --beam_runner")
    return options


def _stop(stops: list[int], number: int, frame: object) -> None:
    """Ends the run by an exception, so that it cleans up; only once."""
    del frame
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)  # Beam would show where it was.
    stops.append(number)
    raise KeyboardInterrupt


def _fail(error: Exception | str, status: int) -> int:
    print(errors.in_one_line(f"error: {error}"), file=sys.stderr)
    return status


def _report(built) -> None:
    """Prints a `build.Built`."""
    if built.is_new:
        print(f"{built.path}: built in {built.seconds:.0f} s")
    else:
        print(f"{built.path}: already built; to build it again, remove it")
    for split, num_clips in built.num_clips.items():
        print(f"  {split}: {num_clips} clips, {built.num_frames[split]} frames")
    for line in built.counts:
        print(_printable(line))
    if built.skipped:
        names = _printable(", ".join(built.skipped[:NUM_NAMES]))
        more = ", ..." if len(built.skipped) > NUM_NAMES else ""
        print(f"skipped {len(built.skipped)} broken files: {names}{more}")


def _printable(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return errors.in_one_line(text)


if __name__ == "__main__":
    sys.exit(run(sys.argv))
