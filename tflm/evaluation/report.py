"""Evaluates a run: detects, fits, scores, probes, draws, writes.

What `metrics.json` holds:

dataset, trained_on: the dataset evaluated and the one trained on.
step: of the checkpoint.
windows: how narrow the landmarks' windows still were at that step, see
    `training.steps.windows`; 0: the landmarks are the detector's alone.
num_landmarks: K; null if the bottleneck is fully connected.
code_units: numbers that pass a fully-connected bottleneck, else null. They are
    scored as if they were the coordinates of landmarks.
pixel: what a pixel is in all that follows.
no_annotations: why nothing was scored, else null. If not null, the keys from
    num_train to calibration are null.
num_train, num_test: images the linear maps were fitted and scored on.
nme_percent: `no_bias`, `bias`, `ridge`, `untrained_no_bias`,
    `untrained_bias`, `mean_shape`: mean point error over the distance of the
    dataset's normalising pair; null if it has none.
mean_error_px: likewise: mean point error.
nme_original_percent: as nme_percent, in the proportions of the image that
    data_prep read; the view is square, whatever these are.
mean_error_original_px: the same in pixels of the image or video that data_prep
    read.
validation: `nme_percent` and `mean_error_px` likewise, of `num_images`
    validation images; null if these are not annotated.
pck: of the map without bias. Per distance ("6": at most 6 pixels) the percent
    of correct points of each keypoint, and the mean of these, `mean`. In
    `untrained` and `mean_shape` the same of these.
pck_bias: of the map with bias, per distance and in `untrained`.
pck_original: of the map without bias, per distance in pixels of the original.
intervals: 95 % intervals; see `intervals.measure`.
sample_efficiency: `of`, the key above that is measured; `how`, in words; and
    the lists of `sample_efficiency.measure`. Null if no image annotates all
    keypoints.
sample_efficiency_pck: the same of the mean of `pck` at 6 pixels.
matching, correspondence, calibration: see the modules of these names.
health: `spread` of each landmark (normalised units: the image spans 2), `dead`
    landmarks and `duplicated` pairs, over `num_images` images.
consistency, bottleneck_use, jitter, invariance: see the modules of these
    names; null where a dataset has not what they need. These, health, matching,
    correspondence and calibration are null if there are no landmarks.

`no_bias` and `bias` are the linear maps from landmarks to keypoints without
and with a constant term, `ridge` one with a constant term and small weights
(`regression.fit_ridge`), `untrained` the same maps from the landmarks of
`detections.untrained_model`; `mean_shape` answers every image with the mean of
the training annotations. A number that nothing was counted for is null.
"""

from collections.abc import Sequence
import datetime
import math
import os
import pathlib
import platform
import subprocess
import time

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors
from tflm import files
from tflm.data import shards as shards_lib
from tflm.evaluation import bottleneck_use
from tflm.evaluation import comparison
from tflm.evaluation import consistency
from tflm.evaluation import detections
from tflm.evaluation import invariance
from tflm.evaluation import jitter
from tflm.evaluation import keypoint_maps
from tflm.evaluation import page
from tflm.evaluation import scores
from tflm.evaluation import tables
from tflm.models import landmark_model
from tflm.training import checkpoints
from tflm.training import health as health_lib
from tflm.training import steps

_PIXEL = (
    f"of the square view at {scores.VIEW_SIZE} x {scores.VIEW_SIZE}, whatever"
    " the image size of the network: [-1, 1] spans"
    f" {scores.VIEW_SIZE - 1} pixels"
)
_UNLABELLED_IMAGES = 1_000  # Enough to judge landmarks by.
_PROBED_IMAGES = 64  # One of each clip, and so many pairs.
_VIEWPOINT = {"azimuth", "elevation", "lighting"}  # Factors of Small NORB.
_NUMBERS, _IMAGE_ERRORS = "metrics.json", "image_errors.npz"
_PAGE, _VIDEO = "report.html", "landmarks.mp4"
FIGURES = (  # All that `illustrations` may draw.
    "accuracy",
    "calibration",
    "elevation_by_azimuth",
    "instance_by_lighting",
    "landmark_bars",
    "landmarks",
    "matched",
    "reconstructions",
    "sample_efficiency",
    "sample_efficiency_pck",
    "score_maps",
    "swaps",
)
_MEASURED = (
    "num_train",
    "num_test",
    "nme_percent",
    "mean_error_px",
    "nme_original_percent",
    "mean_error_original_px",
    "validation",
    "pck",
    "pck_bias",
    "pck_original",
    "intervals",
    "sample_efficiency",
    "sample_efficiency_pck",
    "matching",
    "correspondence",
    "calibration",
    "health",
    "consistency",
    "bottleneck_use",
    "jitter",
    "invariance",
)


def check(workdirs: Sequence[str], data_dir: str, dataset: str | None) -> None:
    """Finds out what `evaluate` would refuse, before it takes its time.

    Args:
        workdirs: of the runs; several are to be compared.
        data_dir: as for `evaluate`.
        dataset: as for `evaluate`.

    Raises:
        errors.UserError: as `evaluate`; or if several runs cannot be compared.
    """
    for workdir in workdirs:
        name = dataset or checkpoints.load_config(workdir).data.dataset
        _, why_not = _test_role(shards_lib.open_shards(data_dir, name))
        if why_not and len(workdirs) > 1:
            raise errors.UserError(f"runs cannot be compared: {why_not}")
        checkpoints.existing(workdir)


def evaluate(
    workdir: str,
    data_dir: str,
    dataset: str | None = None,
    draw: bool = True,
) -> dict:
    """Evaluates the newest checkpoint of a run.

    Writes to `checkpoints.evaluation_dir`, in place of what was there:
    `metrics.json`, with annotations `image_errors.npz`, and figures, a video
    and a page. The map of ridge regression, which also does with few labelled
    images, goes to `checkpoints.keypoint_map_path` if the run was trained on
    the dataset.

    Args:
        workdir: the run.
        data_dir: where data_prep wrote the shards.
        dataset: the one to evaluate on; by default that of the run.
        draw: whether to make figures, video and page.

    Returns:
        What `metrics.json` holds; see the top of this module.

    Raises:
        errors.MissingError: if the run, its checkpoint or the shards are
            missing.
        errors.UserError: if the run cannot be read, or the dataset not scored.
    """
    config = checkpoints.load_config(workdir)
    dataset = dataset or config.data.dataset
    shards = shards_lib.open_shards(data_dir, dataset)
    with shards_lib.naming_damage(shards):
        return _evaluate(workdir, config, shards, dataset, draw)


def _evaluate(
    workdir: str,
    config: configs.Config,
    shards: shards_lib.Shards,
    dataset: str,
    draw: bool,
) -> dict:
    start = time.monotonic()
    test_role, why_not = _test_role(shards)
    model = landmark_model.LandmarkModel(config.model)
    step = checkpoints.restore_model(workdir, model)
    folder = checkpoints.evaluation_dir(workdir, dataset)
    untrained = detections.untrained_model(
        config, shards, test_role if why_not else "regression_train"
    )

    def detect(role, max_images=None):
        return detections.detect(
            model,
            config,
            shards,
            role,
            untrained=untrained,
            num_shown=_PROBED_IMAGES,
            max_images=max_images,
        )

    has_landmarks = config.model.bottleneck == "heatmap"
    found = {
        "dataset": dataset,
        "trained_on": config.data.dataset,
        "step": step,
        "windows": float(steps.windows(step, config.train)),
        "num_landmarks": config.model.num_landmarks if has_landmarks else None,
        "code_units": None
        if has_landmarks
        else config.model.fully_connected_units,
        "pixel": _PIXEL,
        "no_annotations": why_not,
        **dict.fromkeys(_MEASURED),
    }
    scored = None
    if why_not:
        all_of_them = _VIEWPOINT <= shards.factors
        most = None if all_of_them else _UNLABELLED_IMAGES
        test = detect(test_role, most)
    else:
        train, test = detect("regression_train"), detect(test_role)
        val = detect("val") if "val" in shards.splits else None
        if val and not np.isfinite(val.annotations).all(axis=-1).any():
            val = None
        measured, scored = scores.score(train, test, shards, config, val)
        found |= measured
    factors = _factors(test)
    if has_landmarks:
        pairs = detections.example_pairs(
            config, shards, test_role, _PROBED_IMAGES
        )
        found |= _probe(model, untrained, test, factors, pairs)
    found = files.nan_to_none(found)
    folder.mkdir(parents=True, exist_ok=True)
    # What an earlier evaluation wrote has other numbers.
    for path in [*written(folder), *(folder / n for n in comparison.NAMES)]:
        path.unlink(missing_ok=True)
    files.write_json(folder / _NUMBERS, found)
    if scored:
        _write_arrays(folder / _IMAGE_ERRORS, scored.image_errors)
    if scored and has_landmarks and dataset == config.data.dataset:
        keypoint_maps.from_linear_map(
            scored.keypoint_map, shards.keypoint_names, scores.VIEW_SIZE
        ).save(
            checkpoints.keypoint_map_path(workdir),
            keypoint_maps.fingerprint(model.detector.get_weights()),
        )
    if draw:
        # Not before: matplotlib looks through the machine's fonts.
        from tflm.evaluation import illustrations

        subject = illustrations.Subject(
            found, config, model, shards, test_role, test, factors, scored
        )
        drawn = illustrations.draw(subject, folder, _VIDEO)
        page.write(
            folder / _PAGE,
            found,
            config,
            tables.of_evaluation(found),
            [(one.title, one.caption, one.path) for one in drawn],
            _provenance(workdir, shards, config, time.monotonic() - start),
        )
    return found


def written(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of an evaluation in its folder; those of others stay there."""
    figures = (
        f"{name}{ending}" for name in FIGURES for ending in (".png", ".pdf")
    )
    names = [_NUMBERS, _IMAGE_ERRORS, _PAGE, _VIDEO, *figures]
    return sorted(path for name in names if (path := folder / name).is_file())


def text(found: dict) -> str:
    """The numbers of `evaluate` for a reader: a line, and Markdown tables."""
    what = (
        f"{found['num_landmarks']} landmarks"
        if found["num_landmarks"]
        else f"a fully-connected code of {found['code_units']} numbers"
    )
    parts = [
        f"{found['dataset']}, {what} trained on {found['trained_on']} for"
        f" {found['step']} steps"
    ]
    if found["windows"]:
        parts[0] += (
            "\nthe landmarks were still held in windows when training stopped"
            " there, so that these numbers are not those of a whole training;"
            " run train.py to its end"
        )
    if found["no_annotations"]:
        parts[0] += f"\nnot scored: {found['no_annotations']}"
    parts += [table.markdown() for table in tables.of_evaluation(found)]
    if not found["num_landmarks"]:
        parts.append("no figures of landmarks: a fully-connected code has none")
    return "\n\n".join(parts)


def _test_role(shards: shards_lib.Shards) -> tuple[str, str | None]:
    """The role to look at, and why it cannot be scored (None if it can).

    Raises:
        errors.UserError: if the dataset has no images for the roles.
    """
    name, why_not = shards.builder.name, None
    missing = [
        role
        for role in ("regression_train", "regression_test")
        if role not in shards.splits
    ]
    if not shards.keypoint_names:
        why_not = f"{name} has no annotations"
    elif missing:
        why_not = f"{name} has no annotations for {' and '.join(missing)}"
    roles = ["test", "val", "train"] if why_not else ["regression_test"]
    role = next((role for role in roles if role in shards.splits), roles[-1])
    for used in [role] if why_not else ["regression_train", role]:
        shards.num_clips(used)
    return role, why_not


def _factors(test: detections.Detections) -> dict[str, np.ndarray]:
    """What is known of each image, for `invariance`; empty if nothing is.

    A clip of Small NORB is named CATEGORY_TOY_LIGHT and shows one toy.
    """
    if not _VIEWPOINT <= set(test.factors):
        return test.factors
    toys = [clip_id.rpartition("_")[0] for clip_id in test.clip_ids.tolist()]
    _, instance = np.unique(toys, return_inverse=True)
    return {**test.factors, "instance": instance}


def _probe(
    model: landmark_model.LandmarkModel,
    untrained: landmark_model.LandmarkModel,
    test: detections.Detections,
    factors: dict[str, np.ndarray],
    pairs: detections.Pairs,
) -> dict:
    """What `metrics.json` holds that needs no annotations."""
    health = _health(test.landmarks)
    landmarks_px = scores.in_view(test.landmarks)
    found = {
        "health": health,
        "consistency": consistency.measure(model, untrained, test.images),
        "bottleneck_use": bottleneck_use.measure(
            model, pairs.source, pairs.target, test.images
        ),
    }
    if _VIEWPOINT <= set(factors):
        found["invariance"] = invariance.measure(
            landmarks_px, factors, health["dead"]
        )
    if not factors:  # Else `index` counts no frames.
        found["jitter"] = jitter.measure(landmarks_px, test.videos, test.index)
    return found


def _health(landmarks: np.ndarray) -> dict:
    step = math.ceil(len(landmarks) / _UNLABELLED_IMAGES)
    looked_at = landmarks[::step]
    health = health_lib.landmark_health(looked_at)
    return {
        "num_images": len(looked_at),
        "spread": health.spread.tolist(),
        "dead": health.dead,
        "duplicated": [list(pair) for pair in health.duplicated],
    }


def _write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    with files.replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


def _provenance(
    workdir: str,
    shards: shards_lib.Shards,
    config: configs.Config,
    seconds: float,
) -> dict[str, str]:
    """Where the numbers of a page come from, for a reader."""
    counts = {
        f"clips of {role}": f"{shards.num_clips(role):,}"
        for role in shards.splits
    }
    return {
        "run": workdir,
        "data": f"{shards.builder.info.full_name}",
        **counts,
        "seed": str(config.train.seed),
        "time": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        "length of the evaluation": f"{seconds:.0f} s",
        "commit": _commit(),
        "versions": f"TensorFlow {tf.__version__}, NumPy {np.__version__},"
        f" Python {platform.python_version()}",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }


def _commit() -> str:
    """Of this code, and whether it was changed since."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(
            command,
            cwd=pathlib.Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not known: no git repository"
