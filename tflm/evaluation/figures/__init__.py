"""Figures of an evaluation: what they show is in the modules.

A landmark has its colour of `drawing.palette` and one of four shapes, the same
in every figure; a keypoint has a colour of Okabe and Ito's and a shape. So do
the curves and bars that are about one of them.
"""

import atexit
import os
import pathlib
import shutil
import tempfile

try:
    pathlib.Path.home()
except RuntimeError:  # A user without a home folder, as some containers have.
    if "MPLCONFIGDIR" not in os.environ:  # Where matplotlib keeps its fonts.
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="matplotlib-")
        atexit.register(
            shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True
        )

from tflm.evaluation.figures.bars import landmark_bars
from tflm.evaluation.figures.curves import accuracy_over_distance
from tflm.evaluation.figures.curves import calibration_curve
from tflm.evaluation.figures.curves import sample_efficiency
from tflm.evaluation.figures.grids import landmark_grid
from tflm.evaluation.figures.grids import quadruplets
from tflm.evaluation.figures.grids import swap_grid
from tflm.evaluation.figures.landmarks import Keypoints
from tflm.evaluation.figures.landmarks import landmarks_on_images
from tflm.evaluation.figures.landmarks import matched_landmarks
from tflm.evaluation.figures.maps import in_colour
from tflm.evaluation.figures.maps import score_maps
from tflm.evaluation.figures.saving import save

__all__ = [
    "Keypoints",
    "accuracy_over_distance",
    "calibration_curve",
    "in_colour",
    "landmark_bars",
    "landmark_grid",
    "landmarks_on_images",
    "matched_landmarks",
    "quadruplets",
    "sample_efficiency",
    "save",
    "score_maps",
    "swap_grid",
]
