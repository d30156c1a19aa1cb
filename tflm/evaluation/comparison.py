"""Several runs in one table, beside the numbers of the paper.

The run to take is chosen by its error on the validation images, never by that
on the test images (paper, sec. 4.2: "model selection is done using 10%
validation split of the training data").
"""

from collections.abc import Sequence
import dataclasses
import json
import pathlib

import numpy as np

from tflm import configs
from tflm import errors
from tflm import files
from tflm.evaluation import intervals
from tflm.evaluation import published
from tflm.evaluation import tables
from tflm.training import checkpoints

NAMES = ("comparison.json", "comparison.md")  # Of the files of `write`.
_OFFICIAL_TEST_IMAGES = {"celeba": 1_000, "aflw": 2_991}


@dataclasses.dataclass(frozen=True)
class Run:
    """An evaluated run."""

    workdir: str
    config: configs.Config
    found: dict  # What metrics.json holds, see `report`.
    image_errors: dict[str, np.ndarray]  # See `scores.Scored`.


def check(workdirs: Sequence[str], dataset: str | None) -> None:
    """Makes sure that runs can be compared, before they are evaluated.

    Args:
        workdirs: of the runs.
        dataset: to compare them on; None: that of each run.

    Raises:
        errors.MissingError: if one is no run.
        errors.UserError: if one is named twice, or no dataset is common to all.
    """
    if len({pathlib.Path(workdir).resolve() for workdir in workdirs}) < len(
        workdirs
    ):
        raise errors.UserError(f"{', '.join(workdirs)}: a run is named twice")
    trained_on = {
        workdir: checkpoints.load_config(workdir).data.dataset
        for workdir in workdirs
    }
    if dataset is None and len(set(trained_on.values())) > 1:
        raise errors.UserError(
            "the runs were trained on "
            + ", ".join(f"{trained_on[name]} ({name})" for name in workdirs)
            + "; name the dataset to compare them on with --eval_dataset"
        )


def load(workdir: str, dataset: str) -> Run:
    """Reads what `report.evaluate` wrote of a run.

    Raises:
        errors.UserError: if it is not there, or damaged.
    """
    folder = checkpoints.evaluation_dir(workdir, dataset)
    path, image_errors = folder / "metrics.json", {}
    try:
        found = json.loads(path.read_text())
        if not found["no_annotations"]:
            path = folder / "image_errors.npz"
            with np.load(path, allow_pickle=False) as file:
                image_errors = dict(file)
    except Exception as error:  # Whatever the parsers of both raise.
        raise errors.UserError(
            f"{path} cannot be read: {error}; write it again with python"
            f" evaluate.py --workdir={workdir} --eval_dataset={dataset}"
        ) from error
    return Run(workdir, checkpoints.load_config(workdir), found, image_errors)


def compare(runs: Sequence[Run]) -> dict:
    """Compares runs that were evaluated on the same dataset.

    Args:
        runs: at least two.

    Returns:
        What `comparison.json` holds: `dataset`; `error`, the key of
        `metrics.json` that is compared; `selected`, the workdir of the least
        validation error, None without validation images; `runs`, a dict for
        each of them; and `differences`, a dict for each run but the first: see
        `intervals.paired_difference`, of its errors minus those of the first.

    Raises:
        errors.UserError: if the runs were not scored on the same images.
    """
    first = runs[0]
    dataset = first.found["dataset"]
    if why_not := first.found["no_annotations"]:
        raise errors.UserError(f"runs cannot be compared: {why_not}")
    nme = first.found["nme_percent"]
    has_nme = nme is not None and nme["no_bias"] is not None
    error = "nme_percent" if has_nme else "mean_error_px"
    validated = {
        run.workdir: run.found["validation"][error]["no_bias"]
        for run in runs
        if run.found["validation"] and run.found["validation"][error]
    }
    validated = {
        w: value for w, value in validated.items() if value is not None
    }
    compared = {
        "dataset": dataset,
        "error": error,
        "selected": min(validated, key=validated.get) if validated else None,
        "runs": [_facts(run, error) for run in runs],
        "differences": [
            {"workdir": run.workdir, **_difference(run, first, error)}
            for run in runs[1:]
        ],
    }
    return files.nan_to_none(compared)


def tables_of(compared: dict) -> list[tables.Table]:
    """The tables of what `compare` answers."""
    words = tables.ERRORS[compared["error"]]
    rows = [
        [
            facts["workdir"]
            + (" (chosen)" if facts["workdir"] == compared["selected"] else ""),
            facts["trained_on"],
            facts["loss"],
            str(facts["num_landmarks"] or "-"),
            tables.cell(facts["no_bias"], facts["interval"]),
            tables.cell(facts["bias"]),
            tables.cell(facts["validation"]),
            f"{facts['num_test']:,}",
            "measured",
        ]
        for facts in compared["runs"]
    ]
    if compared["error"] == "nme_percent":
        rows += _published_rows(compared["dataset"])
    found = [
        tables.Table(
            f"{words}, on {compared['dataset']}",
            [
                "run",
                "trained on",
                "loss",
                "K",
                "no bias",
                "with bias",
                "validation",
                "test images",
                "source",
            ],
            rows,
            "in brackets 95 % intervals; chosen: least error without bias on"
            " the validation images"
            if compared["selected"]
            else "in brackets 95 % intervals",
        )
    ]
    first = compared["runs"][0]["workdir"]
    found.append(
        tables.Table(
            f"Difference of {words} from {first}",
            ["run", "difference", "p"],
            [
                [
                    difference["workdir"],
                    tables.cell(difference["mean"], difference["interval"]),
                    "-"
                    if difference["p"] is None
                    else f"{difference['p']:.4f}",
                ]
                for difference in compared["differences"]
            ],
            "no bias, the same test images; 95 % interval; p of a sign-flip"
            " test over videos",
        )
    )
    return found


def write(folder: pathlib.Path, compared: dict) -> list[pathlib.Path]:
    """Writes `comparison.json` and `comparison.md`; returns their paths."""
    numbers, text = (folder / name for name in NAMES)
    files.write_json(numbers, compared)
    found = tables_of(compared)
    with files.replacing(text) as partial:
        partial.write_text("\n\n".join(t.markdown() for t in found) + "\n")
    return [numbers, text]


def _facts(run: Run, error: str) -> dict:
    found, loss = run.found, run.config.loss
    perceptual = f"{loss.name}, {loss.network}"
    return {
        "workdir": run.workdir,
        "trained_on": found["trained_on"],
        "step": found["step"],
        "loss": perceptual if loss.name == "perceptual" else loss.name,
        "num_landmarks": found["num_landmarks"],
        "no_bias": found[error]["no_bias"],
        "bias": found[error]["bias"],
        "interval": found["intervals"][error]["no_bias"],
        "validation": found["validation"]
        and found["validation"][error]["no_bias"],
        "num_test": found["num_test"],
    }


def _difference(run: Run, first: Run, error: str) -> dict:
    for name in ("clip_ids", "index"):
        mine, its = (one.image_errors[name] for one in (run, first))
        if not np.array_equal(mine, its):
            raise errors.UserError(
                f"{run.workdir} and {first.workdir} were scored on other"
                " images; evaluate both again"
            )
    return intervals.paired_difference(
        run.image_errors[error],
        first.image_errors[error],
        first.image_errors["videos"],
    )


def _published_rows(dataset: str) -> list[list[str]]:
    return [
        [
            row.method,
            row.trained_on or "-",
            f"perceptual, {row.loss_network}" if row.loss_network else "-",
            str(row.num_landmarks or "-"),
            "-" if row.with_bias else tables.cell(row.nme_percent[dataset]),
            tables.cell(row.nme_percent[dataset]) if row.with_bias else "-",
            "-",
            f"{_OFFICIAL_TEST_IMAGES[dataset]:,}",
            "published",
        ]
        for row in published.TABLE_1
        if dataset in row.nme_percent
    ]
