"""Evaluates a run: detects, fits, scores, draws, writes.

What `metrics.json` holds:

dataset, trained_on: the dataset evaluated and the one trained on.
step: of the checkpoint.
num_landmarks: K; null if the bottleneck is fully connected.
code_units: numbers that pass a fully-connected bottleneck, else null. They are
    scored as if they were the coordinates of landmarks.
pixel: what a pixel is in all that follows.
no_annotations: why nothing was scored, else null. If not null, the keys from
    num_train to sample_efficiency are null.
num_train, num_test: images the linear maps were fitted and scored on.
nme_percent: `no_bias`, `bias`, `untrained_no_bias`, `untrained_bias`,
    `mean_shape`: mean point error over the distance of the dataset's
    normalising pair; null if it has none.
mean_error_px: likewise: mean point error.
pck: of the map without bias. Per distance ("6": at most 6 pixels) the percent
    of correct points of each keypoint, and the mean of these, `mean`. In
    `untrained` and `mean_shape` the same of these.
pck_bias: of the map with bias, per distance and in `untrained`.
sample_efficiency: `error`, the key above that is the error; `how`, in words;
    and the lists of `sample_efficiency.measure`. Null if no image annotates all
    keypoints.
health: `spread` of each landmark (normalised units: the image spans 2), `dead`
    landmarks and `duplicated` pairs, over `num_images` images; null if there
    are no landmarks.

`no_bias` and `bias` are the linear maps from landmarks to keypoints without
and with a constant term, `untrained` the same maps from the landmarks of
`detections.untrained_model`; `mean_shape` answers every image with the mean of
the training annotations. A number that nothing was counted for is null.
"""

import json
import math
import pathlib

import numpy as np

from tflm import configs
from tflm import coords
from tflm import errors
from tflm import files
from tflm.data import shards as shards_lib
from tflm.evaluation import detections
from tflm.evaluation import figures
from tflm.evaluation import metrics
from tflm.evaluation import regression
from tflm.evaluation import sample_efficiency
from tflm.models import bottlenecks
from tflm.models import landmark_model
from tflm.training import checkpoints
from tflm.training import health as health_lib

VIEW_SIZE = 128  # Errors are in pixels of a view of this side, as in the paper.
DISTANCES_PX = (2, 4, 6, 8, 10, 12, 14, 16, 18, 20)  # Of PCK.
HEADLINE_PX = 6  # Of the table, as of the paper's.
_PIXEL = (
    f"of the square view at {VIEW_SIZE} x {VIEW_SIZE}, whatever the image size"
    f" of the network: [-1, 1] spans {VIEW_SIZE - 1} pixels"
)
_METHODS = {  # The two lines of their names in the table.
    "no_bias": ("", "no bias"),
    "bias": ("", "with bias"),
    "untrained_no_bias": ("untrained,", "no bias"),
    "untrained_bias": ("untrained,", "with bias"),
    "mean_shape": ("", "mean shape"),
}
_ERRORS = {"nme_percent": "NME, %", "mean_error_px": "mean error, px"}
_HOW = (
    "n of the training images that annotate all keypoints, drawn at random"
    " without replacement; then all of them, once as they are and in resamples"
    " with replacement; standard deviations over the draws"
)
_SHOWN_IMAGES = 8
_SHOWN_PAIRS = 5
_SHOWN_MAPS = 5  # Landmarks, of _SHOWN_MAP_IMAGES images.
_SHOWN_MAP_IMAGES = 2
_UNLABELLED_IMAGES = 1_000  # Enough to judge landmarks by.


def evaluate(workdir: str, data_dir: str, dataset: str | None = None) -> dict:
    """Evaluates the newest checkpoint of a run.

    Writes `metrics.json` and figures to `checkpoints.evaluation_dir`.

    Args:
        workdir: the run.
        data_dir: where data_prep wrote the shards.
        dataset: the one to evaluate on; by default that of the run.

    Returns:
        What `metrics.json` holds; see the top of this module.

    Raises:
        FileNotFoundError: if the run, its checkpoint or the shards are missing.
        errors.UserError: if the run cannot be read, or the dataset not scored.
    """
    config = checkpoints.load_config(workdir)
    dataset = dataset or config.data.dataset
    shards = shards_lib.open_shards(data_dir, dataset)
    test_role, why_not = _test_role(shards)
    model = landmark_model.LandmarkModel(config.model)
    step = checkpoints.restore_model(workdir, model)
    folder = checkpoints.evaluation_dir(workdir, dataset)
    folder.mkdir(parents=True, exist_ok=True)

    def detect(role, max_images=None, untrained=None):
        return detections.detect(
            model,
            config,
            shards,
            role,
            untrained=untrained,
            num_shown=_SHOWN_IMAGES,
            max_images=max_images,
        )

    has_landmarks = config.model.bottleneck == "heatmap"
    found = {
        "dataset": dataset,
        "trained_on": config.data.dataset,
        "step": step,
        "num_landmarks": config.model.num_landmarks if has_landmarks else None,
        "code_units": None
        if has_landmarks
        else config.model.fully_connected_units,
        "pixel": _PIXEL,
        "no_annotations": why_not,
        **dict.fromkeys(_SCORES),
    }
    keypoints = None
    if why_not:
        test = detect(test_role, _UNLABELLED_IMAGES)
    else:
        untrained = detections.untrained_model(
            config, shards, "regression_train"
        )
        train = detect("regression_train", untrained=untrained)
        test = detect(test_role, untrained=untrained)
        scores, regressed_px = score(train, test, shards)
        found |= scores
        keypoints = _shown_keypoints(test, regressed_px, shards)
    found["health"] = _health(test.landmarks) if has_landmarks else None
    _write_json(folder / "metrics.json", found)
    if found["sample_efficiency"]:
        _draw_sample_efficiency(folder, found)
    if has_landmarks:
        _draw_landmarks(folder, found, test, keypoints)
        _draw_score_maps(folder, found, test, model)
        pairs = detections.example_pairs(
            config, shards, test_role, _SHOWN_PAIRS
        )
        _draw_quadruplets(folder, found, pairs, model, config)
    return found


def table(found: dict) -> str:
    """The numbers of `evaluate` for a reader, a few lines of text."""
    health = found["health"]
    what = (
        f"{found['num_landmarks']} landmarks"
        if health
        else f"a fully-connected code of {found['code_units']} numbers"
    )
    lines = [
        f"{found['dataset']}, {what} trained on {found['trained_on']} for"
        f" {found['step']} steps"
    ]
    if found["no_annotations"]:
        lines.append(f"not scored: {found['no_annotations']}")
    else:
        lines += [
            f"linear maps fitted on {found['num_train']} images, scored on"
            f" {found['num_test']}; pixels of a {VIEW_SIZE} px view",
            "untrained: the same maps from the same network with random"
            " weights; mean shape: a constant",
            "",
            *_score_lines(found),
            "",
            *_sample_efficiency_lines(found),
        ]
    if health:
        lines.append(
            f"landmarks: {len(health['dead'])} dead,"
            f" {len(health['duplicated'])} pairs duplicated, of"
            f" {found['num_landmarks']}"
        )
    else:
        lines.append("no figures of landmarks: a fully-connected code has none")
    return "\n".join(lines)


_SCORES = (
    "num_train",
    "num_test",
    "nme_percent",
    "mean_error_px",
    "pck",
    "pck_bias",
    "sample_efficiency",
)


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


def score(
    train: detections.Detections,
    test: detections.Detections,
    shards: shards_lib.Shards,
) -> tuple[dict, np.ndarray]:
    """Fits on `train`, scores on `test`.

    Args:
        train: detections of regression_train.
        test: detections of regression_test.
        shards: where they come from.

    Returns:
        What `metrics.json` holds from num_train to sample_efficiency; and the
        points `[N, P, 2]`, pixels, that the map without bias predicts for
        `test`.

    Raises:
        errors.UserError: if a keypoint is not annotated in `train`, or none is
            in `test`.
    """
    names, pair = shards.keypoint_names, shards.normalizing_pair
    _check_annotated(train.annotations, shards, "regression_train")
    train_px, truth_px = _in_view(train.landmarks), _in_view(train.annotations)
    test_px, answer_px = _in_view(test.landmarks), _in_view(test.annotations)
    if not np.isfinite(answer_px).all(axis=-1).any():
        raise errors.UserError(
            f"no image of regression_test of {shards.builder.name} is"
            " annotated; build the dataset with annotated test images"
        )
    raw_train_px, raw_test_px = (
        _in_view(part.untrained) for part in (train, test)
    )
    predicted_px = {
        "no_bias": regression.fit(train_px, truth_px, False)(test_px),
        "bias": regression.fit(train_px, truth_px, True)(test_px),
        "untrained_no_bias": regression.fit(raw_train_px, truth_px, False)(
            raw_test_px
        ),
        "untrained_bias": regression.fit(raw_train_px, truth_px, True)(
            raw_test_px
        ),
        "mean_shape": np.broadcast_to(
            regression.mean_shape(truth_px), answer_px.shape
        ),
    }

    def mean_error(points_px):
        return metrics.mean_error(points_px, answer_px)

    def normalized_error(points_px):
        return metrics.normalized_mean_error(points_px, answer_px, pair)

    normalized = pair and _each(normalized_error, predicted_px)
    has_unit = normalized and math.isfinite(normalized["mean_shape"])
    efficiency = sample_efficiency.measure(
        train_px,
        truth_px,
        test_px,
        normalized_error if has_unit else mean_error,
    )
    pck = {
        method: _pck(points, answer_px, names)
        for method, points in predicted_px.items()
    }
    scores = {
        "num_train": len(train_px),
        "num_test": len(test_px),
        "nme_percent": normalized,
        "mean_error_px": _each(mean_error, predicted_px),
        "pck": {
            **pck["no_bias"],
            "untrained": pck["untrained_no_bias"],
            "mean_shape": pck["mean_shape"],
        },
        "pck_bias": {**pck["bias"], "untrained": pck["untrained_bias"]},
        "sample_efficiency": efficiency
        and {
            "error": "nme_percent" if has_unit else "mean_error_px",
            "how": _HOW,
            **efficiency,
        },
    }
    return _nan_to_none(scores), predicted_px["no_bias"]


def _each(error, predicted_px: dict[str, np.ndarray]) -> dict[str, float]:
    return {method: error(points) for method, points in predicted_px.items()}


def _check_annotated(
    annotations: np.ndarray, shards: shards_lib.Shards, role: str
) -> None:
    annotated = np.isfinite(annotations).all(axis=-1).any(axis=0)  # [P]
    if absent := [
        name for name, has in zip(shards.keypoint_names, annotated) if not has
    ]:
        raise errors.UserError(
            f"none of the {len(annotations)} images of {role} of"
            f" {shards.builder.name} annotates {', '.join(absent)}; build the"
            " dataset with such images, or without these keypoints"
        )


def _pck(
    predicted_px: np.ndarray, annotated_px: np.ndarray, names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    table_of = {}
    for distance in DISTANCES_PX:
        correct = metrics.percentage_correct(
            predicted_px, annotated_px, distance
        )
        counted = correct[np.isfinite(correct)]
        table_of[str(distance)] = {
            **dict(zip(names, correct.tolist())),
            "mean": float(counted.mean()),
        }
    return table_of


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


def _score_lines(found: dict) -> list[str]:
    rows = {
        words: found[error] for error, words in _ERRORS.items() if found[error]
    }
    distance = str(HEADLINE_PX)
    pck = {
        "no_bias": found["pck"][distance],
        "bias": found["pck_bias"][distance],
        "untrained_no_bias": found["pck"]["untrained"][distance],
        "untrained_bias": found["pck_bias"]["untrained"][distance],
        "mean_shape": found["pck"]["mean_shape"][distance],
    }
    for joint in pck["no_bias"]:
        rows[f"PCK@{distance} px, %: {joint}"] = {
            method: pck[method][joint] for method in _METHODS
        }
    width = max(map(len, rows))
    lines = [
        (" " * width + "".join(f"{name:>12}" for name in names)).rstrip()
        for names in zip(*_METHODS.values())
    ]
    for name, row in rows.items():
        cells = (_cell(row[method]) for method in _METHODS)
        lines.append(f"{name:{width}}" + "".join(f"{c:>12}" for c in cells))
    return lines


def _sample_efficiency_lines(found: dict) -> list[str]:
    efficiency = found["sample_efficiency"]
    if not efficiency:
        return ["no image annotates all keypoints: no sample efficiency", ""]
    fits = {"no_bias": "no bias", "bias": "with bias", "ridge": "with, ridge"}
    lines = [
        f"{_ERRORS[efficiency['error']]}, of maps fitted on n labelled images,"
        " mean and deviation over draws",
        f"{'n':>6}{'draws':>14}" + "".join(f"{w:>18}" for w in fits.values()),
    ]
    for entries in zip(*(efficiency[fit] for fit in fits)):
        n, draws = entries[0]["n"], entries[0]["draws"]
        kind = "all"
        if draws > 1:
            resampled = entries[0]["with_replacement"]
            kind = f"{draws} resamples" if resampled else f"{draws}"
        cells = (
            _cell(entry["mean"])
            + (f" +- {_cell(entry['std']):>6}" if draws > 1 else " " * 10)
            for entry in entries
        )
        line = f"{n:>6}{kind:>14}" + "".join(f"{c:>18}" for c in cells)
        lines.append(line.rstrip())
    return [*lines, ""]


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _shown_keypoints(
    test: detections.Detections,
    regressed_px: np.ndarray,
    shards: shards_lib.Shards,
) -> figures.Keypoints:
    annotated = test.annotations[test.shown]
    regressed_px = regressed_px[test.shown]
    return figures.Keypoints(
        coords.from_pixels(regressed_px, (VIEW_SIZE, VIEW_SIZE)),
        annotated,
        metrics.point_errors(regressed_px, _in_view(annotated)),
        shards.keypoint_names,
    )


def _draw_landmarks(
    folder: pathlib.Path,
    found: dict,
    test: detections.Detections,
    keypoints: figures.Keypoints | None,
) -> None:
    title = _title("Landmarks", found)
    if keypoints is not None:
        title += (
            "\nunder them: keypoints regressed from the landmarks, no bias, and"
            f" the image's mean error in pixels of a {VIEW_SIZE} px view"
        )
    figure = figures.landmarks_on_images(
        test.images, test.landmarks[test.shown], title, keypoints
    )
    figures.save(figure, folder / "landmarks.png")


def _draw_sample_efficiency(folder: pathlib.Path, found: dict) -> None:
    efficiency = found["sample_efficiency"]
    error = efficiency["error"]
    figure = figures.sample_efficiency(
        {fit: efficiency[fit] for fit in ("no_bias", "bias", "ridge")},
        found[error]["mean_shape"],
        f"{_ERRORS[error]}, mean and deviation over draws",
        _title("Linear maps from landmarks to keypoints", found),
    )
    figures.save(figure, folder / "sample_efficiency.png")


def _draw_score_maps(
    folder: pathlib.Path,
    found: dict,
    test: detections.Detections,
    model: landmark_model.LandmarkModel,
) -> None:
    images = test.images[:_SHOWN_MAP_IMAGES]
    detected = {
        name: value.numpy() for name, value in model.detect(images).items()
    }
    # The most confident of those that are alive and no copy of another.
    health = found["health"]
    useless = {*health["dead"], *(pair[1] for pair in health["duplicated"])}
    order = np.argsort(-detected["confidence"].mean(axis=0), kind="stable")
    order = sorted(order.tolist(), key=lambda landmark: landmark in useless)
    figure = figures.score_maps(
        images,
        detected,
        order[:_SHOWN_MAPS],
        _title("Score maps", found)
        + f"\nbars: softmax of the {model.bottleneck.marginal} over each row"
        " (left) and column (above), at a temperature of"
        f" {model.bottleneck.temperature:g}; dot: the landmark",
    )
    figures.save(figure, folder / "score_maps.png")


def _draw_quadruplets(
    folder: pathlib.Path,
    found: dict,
    pairs: detections.Pairs,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
) -> None:
    outputs = model((pairs.source, pairs.target), training=False)
    # The heatmaps that the generator gets, drawn finer.
    size, num_landmarks = config.model.image_size, config.model.num_landmarks
    drawn = bottlenecks.HeatmapBottleneck(
        sigma=model.bottleneck.sigma, gaussian=model.bottleneck.gaussian
    )
    drawn.build([None, size, size, num_landmarks])
    figure = figures.quadruplets(
        pairs.source,
        pairs.target,
        outputs["reconstruction"].numpy(),
        drawn.heatmaps(outputs["landmarks"]).numpy(),
        [
            "two frames of a clip" if is_video else "two warps of a still"
            for is_video in pairs.is_video
        ],
        _title("Reconstructions", found),
    )
    figures.save(figure, folder / "reconstructions.png")


def _title(what: str, found: dict) -> str:
    run = f"step {found['step']} of a run on {found['trained_on']}"
    return f"{what}: {found['dataset']}, {run}"


def _in_view(points: np.ndarray) -> np.ndarray:
    """Normalised points in pixels of the view that errors are measured in."""
    points = np.asarray(points, np.float64)
    return coords.to_pixels(points, (VIEW_SIZE, VIEW_SIZE))


def _nan_to_none(value):
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nan_to_none(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


def _write_json(path: pathlib.Path, found: dict) -> None:
    with files.replacing(path) as partial:
        partial.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")
