"""Table 2 of the paper: other losses, and no landmarks in the bottleneck.

    python -m tflm.ablation --preset=celeba --minutes=5

Trains and scores every variant for the same time, and writes table2.md and
table2.json to --output. Stop it at any time: the same command continues, and
a variant that is finished is not trained again.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import json
import logging
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import time

from absl import flags
import tqdm

from tflm import command_line  # Before TensorFlow: it quiets its start.
from tflm import configs
from tflm import errors
from tflm import files
from tflm.training import checkpoints

_PRESET = flags.DEFINE_string(
    "preset", None, "Settings that the variants start from."
)
_MINUTES = flags.DEFINE_float("minutes", 5.0, "Training time of each variant.")
_SET = flags.DEFINE_multi_string(
    "set", [], "Override of one setting of all variants."
)
_VARIANTS = flags.DEFINE_list("variants", None, "Some of them; all by default.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "data", "Where data_prep wrote the shards."
)
_OUTPUT = flags.DEFINE_string(
    "output", "runs/ablation", "Folder of the runs and of the table."
)
_LOSS_WEIGHTS = flags.DEFINE_string(
    "loss_weights", None, "Weights of the loss network, as for train.py."
)

VARIANTS = {
    **{
        loss: (f"loss.name={loss}",)
        for loss in (
            "l1",
            "adversarial_l1",
            "l2",
            "adversarial_l2",
            "perceptual",
        )
    },
    **{
        f"fully_connected_{units}": (
            "model.bottleneck=fully_connected",
            f"model.fully_connected_units={units}",
        )
        for units in (10, 20, 60)
    },
}
_ROOT = pathlib.Path(__file__).resolve().parents[1]
_LOGGED_STEP = re.compile(r"step (\d+) / \d+, ")
_FEWEST_STEPS = 20
_log = logging.getLogger("tflm.ablation")


@dataclasses.dataclass(frozen=True)
class Commands:
    """How to train and to evaluate; a test has others."""

    train: tuple[str, ...] = (sys.executable, str(_ROOT / "train.py"))
    evaluate: tuple[str, ...] = (
        sys.executable,
        str(_ROOT / "evaluate.py"),
        "--nofigures",
    )
    speed_seconds: float = 20.0  # That a variant's speed is measured for.


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What is asked for."""

    preset: str
    minutes: float  # Of training, from the first step to the last.
    assignments: tuple[str, ...]  # section.field=value, for all variants.
    data_dir: str
    output: pathlib.Path
    loss_weights: str | None = None
    commands: Commands = Commands()

    def __post_init__(self):
        if self.preset not in configs.PRESETS:
            raise errors.UserError(
                f"--preset: no preset {self.preset!r}; one of"
                f" {configs.PRESET_NAMES}"
            )
        if not self.minutes > 0:
            raise errors.UserError(
                f"--minutes must be positive, got {self.minutes}"
            )
        for assignment in self.assignments:
            if assignment.startswith("train.num_steps="):
                raise errors.UserError(
                    f"--set={assignment}: the steps follow from --minutes"
                )
        self.config(())

    def config(self, more: Iterable[str]) -> configs.Config:
        """The preset with the settings asked for, and more."""
        try:
            return configs.override(
                configs.PRESETS[self.preset], [*self.assignments, *more]
            )
        except ValueError as error:
            raise errors.UserError(f"--set: {error}") from error

    def workdir(self, variant: str) -> pathlib.Path:
        """Of the variant's run."""
        return self.output / variant

    def notes_path(self, variant: str) -> pathlib.Path:
        """What is known of a variant: a JSON file beside its workdir.

        It holds the `request`; and as soon as they are known `num_steps`;
        `timed_steps` and `timed_seconds` of training; and the `result`.
        """
        return self.output / f"{variant}.json"

    def request(self, variant: str) -> dict:
        """What a finished variant is compared with."""
        return {
            "minutes": self.minutes,
            "data_dir": self.data_dir,
            "loss_weights": self.loss_weights,
            "config": json.loads(
                configs.to_json(self.config(VARIANTS[variant]))
            ),
        }


def run(ablation: Ablation, variants: Iterable[str]) -> list[dict]:
    """Trains and scores variants that are not finished; writes the table.

    Args:
        ablation: what is asked for.
        variants: names of `VARIANTS`.

    Returns:
        A row per variant; see `_row`.

    Raises:
        errors.UserError: if a variant cannot be trained or evaluated, or was
            with other settings.
    """
    variants = list(variants)
    if unknown := [name for name in variants if name not in VARIANTS]:
        raise errors.UserError(
            f"--variants: no variant {unknown[0]!r}; one of"
            f" {', '.join(VARIANTS)}"
        )
    with files.own_folder(
        ablation.output,
        f"another process writes the table in {ablation.output}; wait until it"
        " is done, or choose another --output",
        "choose another --output",
    ):
        return _run(ablation, variants)


def _run(ablation: Ablation, variants: list[str]) -> list[dict]:
    todo = [name for name in variants if "result" not in _notes(ablation, name)]
    # First those that may lack a loss network: better known now than later.
    todo.sort(key=lambda name: not _is_perceptual(ablation, name))
    durations = []  # Of whole variants, seconds.
    for number, name in enumerate(todo):
        expected = ablation.minutes * 60 + ablation.commands.speed_seconds
        if durations:
            expected = sum(durations) / len(durations)
        end = datetime.datetime.now() + datetime.timedelta(
            seconds=expected * (len(todo) - number)
        )
        _log.info(
            "%s: variant %d of %d; expected end of all %s%s",
            name,
            len(variants) - len(todo) + number + 1,
            len(variants),
            end.strftime("%H:%M"),
            "" if durations else ", and the time of evaluations",
        )
        since = time.monotonic()
        _finish(ablation, name)
        durations.append(time.monotonic() - since)
        _write_table(ablation, variants)
    return _write_table(ablation, variants)


def table(ablation: Ablation, rows: list[dict]) -> str:
    """The rows in Markdown."""
    error = "NME, %" if rows[0]["error"] == "nme_percent" else "mean error, px"
    columns = {
        "variant": lambda row: _name(row),
        f"{error}: no bias": lambda row: f"{row['no_bias']:.2f}",
        "with bias": lambda row: f"{row['bias']:.2f}",
        "mean shape": lambda row: f"{row['mean_shape']:.2f}",
        "steps": lambda row: f"{row['num_steps']:,}",
        "minutes": lambda row: f"{row['minutes']:.1f}",
        "images/s": lambda row: f"{row['images_per_second']:.0f}",
        "dead landmarks": lambda row: (
            "-" if row["dead"] is None else str(row["dead"])
        ),
    }
    cells = [list(columns)]
    cells += [[show(row) for show in columns.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [
        "| " + " | ".join(f"{c:{w}}" for c, w in zip(line, widths)) + " |"
        for line in cells
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    settings = "".join(f" --set={item}" for item in ablation.assignments)
    if ablation.loss_weights:
        settings += f" --loss_weights={ablation.loss_weights}"
    train = ablation.config(()).train
    ends = "; the learning rate's schedule ends with them"
    has_limit = hasattr(os, "sched_getaffinity")  # Linux alone tells.
    num_cores = len(os.sched_getaffinity(0)) if has_limit else os.cpu_count()
    return "\n".join(
        [
            f"`--preset={ablation.preset} --minutes={ablation.minutes:g}"
            f"{settings}`, {rows[0]['dataset']}, seed {train.seed},"
            f" {num_cores} CPU cores ({platform.machine()}).",
            f"{ablation.minutes:g} minutes of training each, from the first"
            f" step to the last{ends if train.schedule == 'cosine' else ''}.",
            "",
            *lines,
            "",
        ]
    )


def _finish(ablation: Ablation, name: str) -> None:
    """Does what is left to do of a variant, and notes its result."""
    notes = _notes(ablation, name)
    if "num_steps" not in notes:
        speed = _measure_speed(ablation, name)
        num_steps = round(ablation.minutes * 60 * speed)
        if num_steps < _FEWEST_STEPS:
            raise errors.UserError(
                f"{ablation.minutes:g} minutes are but {num_steps} steps of"
                f" {name}; give more --minutes"
            )
        notes |= {"num_steps": num_steps, "timed_steps": 0, "timed_seconds": 0}
        _write_notes(ablation, name, notes)
    _log.info("%s: training for %d steps", name, notes["num_steps"])
    _train(ablation, name, notes)
    _log.info("%s: evaluating", name)
    workdir = ablation.workdir(name)
    command = [*ablation.commands.evaluate, f"--workdir={workdir}"]
    command.append(f"--data_dir={ablation.data_dir}")
    with _started(name, command) as lines:
        for _ in lines:
            pass
    notes["result"] = _row(ablation, name, notes)
    _write_notes(ablation, name, notes)


def _row(ablation: Ablation, name: str, notes: dict) -> dict:
    """A row of the table.

    variant; dataset; loss_network: of the perceptual loss, else null; error:
    "nme_percent", or "mean_error_px" of a dataset without a unit of NME;
    no_bias, bias, mean_shape: that error; num_steps; minutes: measured;
    images_per_second; dead: number of landmarks, null if there are none.
    """
    config = checkpoints.load_config(str(ablation.workdir(name)))
    dataset = config.data.dataset
    folder = checkpoints.evaluation_dir(str(ablation.workdir(name)), dataset)
    try:
        found = json.loads((folder / "metrics.json").read_text())
    except (OSError, ValueError) as error:
        raise errors.UserError(
            f"{folder / 'metrics.json'} cannot be read: {error}; remove"
            f" {folder} and start again"
        ) from error
    if found["no_annotations"]:
        raise errors.UserError(
            f"{name} is trained but not scored: {found['no_annotations']}"
        )
    error = "nme_percent" if found["nme_percent"] else "mean_error_px"
    steps_per_second = notes["timed_steps"] / notes["timed_seconds"]
    is_perceptual = config.loss.name == "perceptual"
    return {
        "variant": name,
        "dataset": dataset,
        "loss_network": (
            f"{config.loss.network} {config.loss.network_hash}"
            if is_perceptual
            else None
        ),
        "error": error,
        **{
            method: found[error][method]
            for method in ("no_bias", "bias", "mean_shape")
        },
        "num_steps": notes["num_steps"],
        "minutes": notes["num_steps"] / steps_per_second / 60,
        "images_per_second": steps_per_second * config.train.batch_size,
        "dead": found["health"] and len(found["health"]["dead"]),
    }


def _name(row: dict) -> str:
    network = row["loss_network"]
    return f"{row['variant']} ({network})" if network else row["variant"]


def _train_command(
    ablation: Ablation, name: str, workdir: pathlib.Path, *more: str
) -> list[str]:
    assignments = *ablation.assignments, *VARIANTS[name], *more
    command = [
        *ablation.commands.train,
        f"--preset={ablation.preset}",
        f"--data_dir={ablation.data_dir}",
        f"--workdir={workdir}",
        *(f"--set={assignment}" for assignment in assignments),
    ]
    if ablation.loss_weights and _is_perceptual(ablation, name):
        command.append(f"--loss_weights={ablation.loss_weights}")
    return command


def _is_perceptual(ablation: Ablation, name: str) -> bool:
    return ablation.config(VARIANTS[name]).loss.name == "perceptual"


def _measure_speed(ablation: Ablation, name: str) -> float:
    """Steps per second of a variant, after those that compile it."""
    seconds = ablation.commands.speed_seconds
    _log.info("%s: measuring its speed for %.0f seconds", name, seconds)
    workdir = ablation.output / f"{name}.speed"
    shutil.rmtree(workdir, ignore_errors=True)
    command = _train_command(
        ablation,
        name,
        workdir,
        "train.num_steps=1000000000",
        "train.log_every=5",
    )
    timer = _Timer()
    with _started(name, command) as lines:
        for step in logged_steps(lines):
            timer.saw(step)
            if timer.seconds >= seconds:
                break
    shutil.rmtree(workdir)
    return timer.steps / timer.seconds


def _train(ablation: Ablation, name: str, notes: dict) -> None:
    """Trains until `num_steps`, and adds what it took to the notes."""
    num_steps = notes["num_steps"]
    log_every = ablation.config(()).train.log_every
    command = _train_command(
        ablation,
        name,
        ablation.workdir(name),
        f"train.num_steps={num_steps}",
        # There must be something between two lines to be timed.
        f"train.log_every={min(log_every, num_steps // 10)}",
    )
    timer = _Timer()
    try:
        with (
            _started(name, command) as lines,
            tqdm.tqdm(
                desc=name, total=num_steps, unit="step", disable=None
            ) as progress,
        ):
            for step in logged_steps(lines):
                timer.saw(step)
                progress.update(step - progress.n)
    finally:
        notes["timed_steps"] += timer.steps
        notes["timed_seconds"] += timer.seconds
        _write_notes(ablation, name, notes)
    if not notes["timed_steps"]:
        raise errors.UserError(
            f"{name} was trained before its time could be taken; remove"
            f" {ablation.notes_path(name)} and {ablation.workdir(name)}"
        )


class _Timer:
    """Steps and seconds since the first line of a training run."""

    def __init__(self):
        self.steps, self.seconds = 0, 0.0
        self._first: tuple[int, float] | None = None

    def saw(self, step: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = step, now
        self.steps = step - self._first[0]
        self.seconds = now - self._first[1]


def logged_steps(lines: Iterable[str]) -> Iterator[int]:
    """The steps that lines of `training.progress` tell of."""
    for line in lines:
        if logged := _LOGGED_STEP.match(line):
            yield int(logged[1])


@contextlib.contextmanager
def _started(name: str, command: list[str]) -> Iterator[Iterator[str]]:
    """Runs a command; gives the lines that it logs.

    Leaving before its last line stops it, and so does an error.

    Raises:
        errors.UserError: if it fails by itself; with its last line.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    last, ended = "", False

    def lines():
        nonlocal last, ended
        for line in process.stderr:
            last = line.strip() or last
            yield line
        ended = True

    try:
        yield lines()
    finally:
        if not ended:
            process.terminate()
            for _ in process.stderr:  # Lest it waits for a reader.
                pass
        process.stderr.close()
        process.wait()
    if ended and process.returncode:
        raise errors.UserError(f"{name} stopped: {last or command}")


def _notes(ablation: Ablation, name: str) -> dict:
    """Reads the notes on a variant; new ones if there are none.

    Raises:
        errors.UserError: if they are of another request.
    """
    path, request = ablation.notes_path(name), ablation.request(name)
    if not path.exists():
        return {"request": request}
    remedy = (
        f"choose another --output, or remove {path} and"
        f" {ablation.workdir(name)}"
    )
    try:
        notes = json.loads(path.read_text())
        before = notes["request"]
        old = configs.from_json(json.dumps(before["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise errors.UserError(
            f"{path} cannot be read: {error}; {remedy}"
        ) from error
    changed = [
        f"{key} is {before.get(key)!r}, now {request[key]!r}"
        for key in ("minutes", "data_dir", "loss_weights")
        if before.get(key) != request[key]
    ]
    changed += configs.differences(old, ablation.config(VARIANTS[name]))
    if changed:
        raise errors.UserError(
            f"{name} was made with other settings: {'; '.join(changed)};"
            f" {remedy}"
        )
    return notes


def _write_notes(ablation: Ablation, name: str, notes: dict) -> None:
    files.write_json(ablation.notes_path(name), notes)


def _write_table(ablation: Ablation, variants: list[str]) -> list[dict]:
    rows = [_notes(ablation, name).get("result") for name in variants]
    rows = [row for row in rows if row]
    found = {
        "preset": ablation.preset,
        "minutes": ablation.minutes,
        "set": list(ablation.assignments),
        "loss_weights": ablation.loss_weights,
        "variants": rows,
    }
    files.write_json(ablation.output / "table2.json", found)
    with files.replacing(ablation.output / "table2.md") as partial:
        partial.write_text(table(ablation, rows))
    return rows


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Runs the command; returns its exit status."""
    if not _PRESET.value:
        raise errors.UserError(f"give --preset, one of {configs.PRESET_NAMES}")
    signal.signal(signal.SIGTERM, _interrupt)  # Lest training goes on alone.
    ablation = Ablation(
        _PRESET.value,
        _MINUTES.value,
        tuple(_SET.value),
        _DATA_DIR.value,
        pathlib.Path(_OUTPUT.value),
        _LOSS_WEIGHTS.value,
    )
    rows = run(ablation, _VARIANTS.value or VARIANTS)
    print(table(ablation, rows))
    print("written:")
    for name in ("table2.md", "table2.json"):
        print(f"  {ablation.output / name}")
    return 0


if __name__ == "__main__":
    command_line.run(main)
