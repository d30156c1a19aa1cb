"""Scores the landmarks of trained runs, and draws them.

    python evaluate.py --workdir=runs/puppets

Without --workdir and --dataset it takes the newest run. The numbers, figures
and a page with all of them are in WORKDIR/eval/DATASET. Of several runs

    python evaluate.py --workdir=runs/celeba_k10,runs/celeba_k30

compares them in one table, beside the paper's.
"""

import contextlib

from absl import flags

from tflm import command_line  # Before TensorFlow: it quiets its start.
from tflm import errors
from tflm.evaluation import comparison
from tflm.evaluation import report
from tflm.training import checkpoints

_WORKDIR = flags.DEFINE_list(
    "workdir", None, "The run's folder, or several; the newest run by default."
)
_DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Instead of --workdir: the run is runs/DATASET, with _ for /.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "data", "Where data_prep wrote the shards."
)
_EVAL_DATASET = flags.DEFINE_string(
    "eval_dataset", None, "Dataset to evaluate on, if not the run's own."
)
_FIGURES = flags.DEFINE_bool(
    "figures", True, "Draw figures and the page; --nofigures: only the numbers."
)


def main() -> int:
    if _WORKDIR.value and _DATASET.value:
        raise errors.UserError(
            "give --workdir or --dataset, not both; to evaluate the run on"
            f" other data use --eval_dataset={_DATASET.value}"
        )
    workdirs = _WORKDIR.value or [
        checkpoints.default_workdir(_DATASET.value)
        if _DATASET.value
        else checkpoints.newest_workdir()
    ]
    comparison.check(workdirs, _EVAL_DATASET.value)
    report.check(workdirs, _DATA_DIR.value, _EVAL_DATASET.value)
    with contextlib.ExitStack() as stack:
        for workdir in workdirs:
            dataset = _EVAL_DATASET.value
            dataset = dataset or checkpoints.load_config(workdir).data.dataset
            stack.enter_context(checkpoints.evaluated(workdir, dataset))
        _evaluate(workdirs)
    return 0


def _evaluate(workdirs: list[str]) -> None:
    for workdir in workdirs:
        found = report.evaluate(
            workdir, _DATA_DIR.value, _EVAL_DATASET.value, _FIGURES.value
        )
        print(report.text(found))
        folder = checkpoints.evaluation_dir(workdir, found["dataset"])
        print("written:")
        for path in report.written(folder):
            print(f"  {path}")
    if len(workdirs) > 1:
        dataset = found["dataset"]  # The same of all.
        compared = comparison.compare(
            [comparison.load(workdir, dataset) for workdir in workdirs]
        )
        for table in comparison.tables_of(compared):
            print(f"\n{table.markdown()}")
        print("written:")
        folder = checkpoints.evaluation_dir(workdirs[0], dataset)
        for path in comparison.write(folder, compared):
            print(f"  {path}")


if __name__ == "__main__":
    command_line.run(main)
