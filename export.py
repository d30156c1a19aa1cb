"""Exports a run: a SavedModel for TF Serving, TFLite and ONNX detectors.

    python export.py --quantize=float32,int8 --web

Without flags, of the run that was trained last. All of them answer like the
Keras model, or nothing is exported: they are compared on images of its dataset.
With --web a page runs the detector in the browser.
"""

import pathlib
import signal
import sys

from absl import flags

from tflm import command_line  # Before TensorFlow: it quiets its start.
from tflm import errors
from tflm import web
from tflm.data import shards as shards_lib
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import bundle
from tflm.serving import tflite
from tflm.training import checkpoints
from tflm.training import steps

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The run's folder; that of the newest run if not given."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder to write; WORKDIR/export if not given."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "data", "Where data_prep wrote the shards."
)
_QUANTIZE = flags.DEFINE_list(
    "quantize",
    ["float32"],
    "Kinds of .tflite files to write, of float32, float16, dynamic and int8.",
)
_ONNX = flags.DEFINE_boolean(
    "onnx",
    False,
    "Also writes detector.onnx; takes the packages onnx, onnxruntime and"
    " tf2onnx.",
)
_KEEP_VERSIONS = flags.DEFINE_integer(
    "keep_versions", 2, "Versions of the SavedModel that stay in the folder."
)
_WEB = flags.DEFINE_boolean(
    "web",
    False,
    "Also writes web/: a page that runs the detector in the browser.",
)
_LITERT_DIR = flags.DEFINE_string(
    "litert_dir",
    None,
    "With --web and without a network: folder of LiteRT.js as npm pack gives"
    " it.",
)

_PAGE = "web"  # Folder below that of the export.
_NUM_CALIBRATION_IMAGES = 200
_NUM_EXAMPLES = 8  # Images to try in the page.


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        if _WEB.value and "float32" not in _QUANTIZE.value:
            raise errors.UserError(
                "--web runs the float32 detector; add float32 to --quantize"
            )
        # First, for it may lack a network.
        litert = web.load_litert(_LITERT_DIR.value) if _WEB.value else []
        workdir = _WORKDIR.value or checkpoints.newest_workdir()
        output_dir = _OUTPUT_DIR.value or checkpoints.export_dir(workdir)
        page = pathlib.Path(output_dir, _PAGE)
        if _WEB.value:
            web.check(page)
        config = checkpoints.load_config(workdir)
        shards = shards_lib.open_shards(_DATA_DIR.value, config.data.dataset)
        model = landmark_model.LandmarkModel(config.model)
        step = checkpoints.restore_model(workdir, model)
        images = bundle.sample_images(shards)
        calibration_images = []
        if "int8" in _QUANTIZE.value:
            calibration_images = bundle.sample_images(
                shards,
                _NUM_CALIBRATION_IMAGES,
                bundle.CALIBRATION,
                shuffle_seed=0,
            )
        keypoint_map = keypoint_maps.load(
            checkpoints.keypoint_map_path(workdir),
            config.model.num_landmarks,
            keypoint_maps.fingerprint(model.detector.get_weights()),
        )
        exports = bundle.export(
            model,
            config,
            images,
            output_dir,
            keypoint_map=keypoint_map,
            kinds=_QUANTIZE.value,
            calibration_images=calibration_images,
            onnx=_ONNX.value,
            keep_versions=_KEEP_VERSIONS.value,
            origin={"workdir": str(workdir), "step": step},
        )
    except KeyboardInterrupt as stop:
        print("export.py: stopped; nothing was exported", file=sys.stderr)
        return 128 + stop.args[0]
    print(
        f"exported {workdir}, step {step}, to {output_dir}; landmarks compared"
        f" with Keras on {len(images)} images of {config.data.dataset}, in"
        " pixels of a view of 128 x 128:"
    )
    print(f"  {'':<24}      MB  ms/image    mean   worst landmark     max")
    for export in exports:
        print(
            f"  {export.name:<24} {export.num_bytes / 1e6:7.2f}"
            f" {export.milliseconds:9.2f} {export.mean_px:7.4f}"
            f" {export.worst_px:16.4f} {export.max_px:7.4f}"
        )
    if steps.windows(step, config.train):
        print(
            "its landmarks were still held in windows at that step: run"
            " train.py to its end before you rely on it"
        )
    if crop := config.data.frame_crop:
        print(f"it was trained on crops ({crop}): clients must crop likewise")
    if _WEB.value:
        try:
            web.write(
                page,
                pathlib.Path(output_dir, tflite.file_name("float32")),
                images[:_NUM_EXAMPLES],
                litert,
                title=f"Landmarks of {config.data.dataset}",
                keypoint_names=keypoint_map.names if keypoint_map else (),
            )
        except KeyboardInterrupt as stop:
            print("export.py: stopped; no page was written", file=sys.stderr)
            return 128 + stop.args[0]
        print(f"look at it: python -m http.server --directory={page}")
    return 0


def _stop(number: int, frame: object) -> None:
    """Ends the run by an exception, so that it cleans up; only once."""
    del frame
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


if __name__ == "__main__":
    command_line.run(main)
