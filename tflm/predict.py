"""Finds the landmarks in images, folders of images and videos.

    python -m tflm.predict --model=runs/puppets my_images my_video.mp4

Writes NAME.csv, as DeepLabCut does, and NAME.json, COCO keypoints, of each
folder and video to --output_dir; images named one by one share images.csv.
Coordinates are pixels of the original image, seen upright, x first, 0 = centre
of the first pixel. A run that evaluate.py fitted named keypoints of has those,
too. A file that does not decode is named, and left out; the exit status is
then 1.

A model that was trained on crops is given the same crops, unless --crop,
--boxes or --motion_crop says otherwise. A frame without such a crop has no
points.
"""

import pathlib
import sys

from absl import flags

from tflm import command_line  # Before TensorFlow: it quiets its start.
from tflm import errors
from tflm import files
from tflm import serving
from tflm.prediction import inputs
from tflm.prediction import predicting
from tflm.training import checkpoints

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "A run's folder, or a SavedModel, .tflite or .onnx file of export.py; the"
    " newest run if not given.",
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "predictions", "Folder to write."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 32, "Images that go through the model at once."
)
_OVERLAY = flags.DEFINE_bool(
    "overlay", False, "Also write images, or a video, with the points drawn."
)
_START = flags.DEFINE_integer("start", 0, "Of a video: its first frame.")
_END = flags.DEFINE_integer(
    "end", None, "Of a video: the first frame not taken; to its end if not set."
)
_STRIDE = flags.DEFINE_integer("stride", 1, "Of a video: every n-th frame.")
_CROP = flags.DEFINE_string(
    "crop",
    None,
    "top,left,height,width, pixels; or none: whole frames. If no crop is asked"
    " for, it is that of the data that the model was trained on.",
)
_BOXES = flags.DEFINE_string(
    "boxes", None, "Of videos: a CSV file of tracked boxes, as for data_prep."
)
_MOTION_CROP = flags.DEFINE_bool(
    "motion_crop", None, "Of videos: look at what moves, as data_prep does."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    for flag, least in ((_BATCH_SIZE, 1), (_STRIDE, 1), (_START, 0)):
        if flag.value < least:
            raise errors.UserError(
                f"--{flag.name} must be at least {least}, got {flag.value}"
            )
    if _END.value is not None and _END.value <= _START.value:
        raise errors.UserError(
            f"--end must be above --start={_START.value}, got {_END.value}"
        )
    output_dir = pathlib.Path(_OUTPUT_DIR.value)
    found = inputs.find(arguments, output_dir)
    is_crop_asked = any(
        flag.value is not None for flag in (_CROP, _BOXES, _MOTION_CROP)
    )
    if is_crop_asked:
        found = found.with_sources(
            inputs.cropped(
                found.sources,
                None if _CROP.value == "none" else _CROP.value,
                _BOXES.value,
                bool(_MOTION_CROP.value),
            )
        )
    model = _MODEL.value or _newest_run()
    files.check_writable(output_dir, "choose another --output_dir")
    detector = serving.load_detector(model, _BATCH_SIZE.value)
    if not is_crop_asked:
        sources, line = inputs.cropped_as_trained(
            found.sources, detector.frame_crop
        )
        found = found.with_sources(sources)
        if line:
            print(line, file=sys.stderr)
    outcome = predicting.predict(
        detector,
        found,
        output_dir,
        model=model,
        overlay=_OVERLAY.value,
        selection=inputs.Selection(_START.value, _END.value, _STRIDE.value),
    )
    if outcome.written:
        print("written:")
    for path in outcome.written:
        print(f"  {path}")
    print(outcome.line(), file=sys.stderr)
    return 0 if outcome.is_whole else 1


def _newest_run() -> str:
    try:
        return checkpoints.newest_workdir()
    except FileNotFoundError as error:
        raise errors.UserError(
            "no trained run under runs; name a run's folder, a SavedModel, a"
            " .tflite or an .onnx file with --model"
        ) from error


if __name__ == "__main__":
    flags.FLAGS.set_gnu_getopt(True)  # Flags may stand behind inputs.
    command_line.run(main, takes_arguments=True)
