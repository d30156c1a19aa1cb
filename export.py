"""Exports the landmark detector of a run: a SavedModel and a TFLite file.

    python export.py

Without flags, of the run that was trained last. Both files answer like the
Keras model, or nothing is exported: they are compared on images of its dataset.
"""

import signal
import sys

from absl import flags

from tflm import command_line  # Before TensorFlow: it quiets its start.
from tflm.data import shards as shards_lib
from tflm.models import landmark_model
from tflm.serving import bundle
from tflm.training import checkpoints

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The run's folder; that of the newest run if not given."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder to write; WORKDIR/export if not given."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "data", "Where data_prep wrote the shards."
)


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        workdir = _WORKDIR.value or checkpoints.newest_workdir()
        output_dir = _OUTPUT_DIR.value or checkpoints.export_dir(workdir)
        config = checkpoints.load_config(workdir)
        shards = shards_lib.open_shards(_DATA_DIR.value, config.data.dataset)
        model = landmark_model.LandmarkModel(config.model)
        step = checkpoints.restore_model(workdir, model)
        images = bundle.sample_images(shards)
        exports = bundle.export(model, config, images, output_dir)
    except KeyboardInterrupt as stop:
        print("export.py: stopped; nothing was exported", file=sys.stderr)
        return 128 + stop.args[0]
    print(
        f"exported {workdir}, step {step}, to {output_dir}; compared with Keras"
        f" on {len(images)} images of {config.data.dataset}:"
    )
    for export in exports:
        print(
            f"  {export.name:<16} {export.num_bytes / 1e6:7.2f} MB"
            f" {export.milliseconds:8.1f} ms/image"
            f"   largest difference {export.difference:.1e}"
        )
    return 0


def _stop(number: int, frame: object) -> None:
    """Ends the run by an exception, so that it cleans up; only once."""
    del frame
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    command_line.run(main)
