"""Scores the landmarks of a trained run, and draws them.

    python evaluate.py --workdir=runs/puppets

Without --workdir and --dataset it takes the newest run. The numbers, figures
and what they mean are in WORKDIR/eval/DATASET.
"""

from absl import flags

from tflm import command_line  # Before TensorFlow: it quiets its start.
from tflm import errors
from tflm.evaluation import report
from tflm.training import checkpoints

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The run's folder; the newest run if not given."
)
_DATASET = flags.DEFINE_string(
    "dataset", None, "Instead of --workdir: the run is runs/DATASET."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "data", "Where data_prep wrote the shards."
)
_EVAL_DATASET = flags.DEFINE_string(
    "eval_dataset", None, "Dataset to evaluate on, if not the run's own."
)


def main() -> int:
    if _WORKDIR.value and _DATASET.value:
        raise errors.UserError(
            "give --workdir or --dataset, not both; to evaluate the run on"
            f" other data use --eval_dataset={_DATASET.value}"
        )
    workdir = _WORKDIR.value
    if not workdir:
        workdir = (
            f"runs/{_DATASET.value}"
            if _DATASET.value
            else checkpoints.newest_workdir()
        )
    found = report.evaluate(workdir, _DATA_DIR.value, _EVAL_DATASET.value)
    print(report.table(found))
    folder = checkpoints.evaluation_dir(workdir, found["dataset"])
    print("written:")
    for path in sorted(folder.glob("*.*")):
        print(f"  {path}")
    return 0


if __name__ == "__main__":
    command_line.run(main)
