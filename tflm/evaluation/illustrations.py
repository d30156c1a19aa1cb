"""The figures and the video of an evaluation: what is drawn, and of what."""

from collections.abc import Iterator
import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import coords
from tflm.data import shards as shards_lib
from tflm.data import views
from tflm.drawing import movies
from tflm.drawing import overlays
from tflm.drawing import palette
from tflm.evaluation import detections
from tflm.evaluation import figures
from tflm.evaluation import invariance
from tflm.evaluation import metrics
from tflm.evaluation import scores
from tflm.evaluation import swaps
from tflm.evaluation import tables
from tflm.models import bottlenecks
from tflm.models import landmark_model

_IMAGES = 8
_PAIRS = 5
_SWAPPED = 5
_MAPS = 5  # Landmarks, of _MAP_IMAGES images.
_MAP_IMAGES = 2
_STABLE = 5  # Landmarks of the figure of invariance.
_FRAMES_PER_SECOND = 10
_VIEW = f"of a {scores.VIEW_SIZE} px view"


@dataclasses.dataclass(frozen=True)
class Subject:
    """What there is to draw."""

    found: dict  # What metrics.json holds; see `report`.
    config: configs.Config
    model: landmark_model.LandmarkModel
    shards: shards_lib.Shards
    role: str  # Of the images of `test`.
    test: detections.Detections
    factors: dict[str, np.ndarray]  # Of the images; see `invariance`.
    scored: scores.Scored | None  # None without annotations.


@dataclasses.dataclass(frozen=True)
class Illustration:
    """A figure on disk."""

    title: str
    caption: str
    path: pathlib.Path  # Of its PNG.


def draw(
    subject: Subject, folder: pathlib.Path, video: str
) -> list[Illustration]:
    """Draws all figures that apply, and a video if the images are of one.

    Args:
        subject: what there is to draw.
        folder: where to write: NAME.png, NAME.pdf, and the video.
        video: name of its file.

    Returns:
        The figures, in the order to look at them.
    """
    drawn = []
    for name, title, caption, figure in _figures(subject):
        path = folder / f"{name}.png"
        figures.save(figure, path)
        drawn.append(Illustration(title, caption, path))
    if subject.found["num_landmarks"] and not subject.factors:
        _write_video(subject, folder / video)
    return drawn


def _figures(subject: Subject) -> Iterator[tuple]:
    """The name, title, caption and figure of each."""
    found = subject.found
    has_landmarks = found["num_landmarks"] is not None
    if has_landmarks:
        yield _landmarks(subject)
    if found["matching"]:
        yield _matched(subject)
    if has_landmarks:
        yield _reconstructions(subject)
        yield _swaps(subject)
        yield _score_maps(subject)
    if found["pck"]:
        yield _accuracy(subject)
    if found["sample_efficiency"]:
        yield from _sample_efficiency(subject)
    if found["invariance"]:
        yield from _invariance(subject)
    if has_landmarks:
        yield _bars(subject)
    if found["calibration"]:
        yield _calibration(subject)


def _landmarks(subject: Subject) -> tuple:
    test = subject.test
    shown = test.shown[:_IMAGES]
    caption = "The same landmark has the same colour and shape everywhere."
    keypoints = None
    if subject.scored:
        keypoints = _keypoints(subject, subject.scored.predicted_px["no_bias"])
        caption += (
            " Under them the keypoints regressed from the landmarks by the map"
            " without bias, as dots, and annotated ones, as rings; the numbers"
            f" are an image's mean error in pixels {_VIEW}."
        )
    title = "Landmarks"
    figure = figures.landmarks_on_images(
        test.images[:_IMAGES],
        test.landmarks[shown],
        _heading(title, subject),
        keypoints,
    )
    return "landmarks", title, caption, figure


def _matched(subject: Subject) -> tuple:
    title = "Single landmarks as keypoints"
    figure = figures.matched_landmarks(
        subject.test.images[:_IMAGES],
        _keypoints(subject, subject.scored.matched_px),
        _keypoints(subject, subject.scored.predicted_px["no_bias"]),
        subject.found["matching"]["landmark_of"],
        _heading(title, subject),
    )
    return (
        "matched",
        title,
        "Above: the one landmark that stays nearest to each keypoint, as it is;"
        " below: keypoints regressed from all landmarks (paper, figure 4).",
        figure,
    )


def _keypoints(subject: Subject, points_px: np.ndarray) -> figures.Keypoints:
    shown = subject.test.shown[:_IMAGES]
    annotated = subject.test.annotations[shown]
    size = (scores.VIEW_SIZE, scores.VIEW_SIZE)
    return figures.Keypoints(
        coords.from_pixels(points_px[shown], size),
        annotated,
        metrics.point_errors(points_px[shown], scores.in_view(annotated)),
        subject.shards.keypoint_names,
    )


def _reconstructions(subject: Subject) -> tuple:
    model, config = subject.model, subject.config.model
    pairs = detections.example_pairs(
        subject.config, subject.shards, subject.role, _PAIRS
    )
    outputs = model((pairs.source, pairs.target), training=False)
    # The heatmaps that the generator gets, drawn finer.
    drawn = bottlenecks.HeatmapBottleneck(
        sigma=model.bottleneck.sigma, gaussian=model.bottleneck.gaussian
    )
    drawn.build(
        [None, config.image_size, config.image_size, config.num_landmarks]
    )
    title = "Reconstructions"
    figure = figures.quadruplets(
        pairs.source,
        pairs.target,
        outputs["reconstruction"].numpy(),
        drawn.heatmaps(outputs["landmarks"]).numpy(),
        [
            "two frames of a clip" if is_video else "two warps of a still"
            for is_video in pairs.is_video
        ],
        _heading(title, subject),
    )
    return (
        "reconstructions",
        title,
        "Each target is redrawn from the source's looks and the target's"
        " landmarks alone (paper, figures 2 and 5).",
        figure,
    )


def _swaps(subject: Subject) -> tuple:
    images = subject.test.images[:_SWAPPED]
    title = "Style and geometry"
    figure = figures.swap_grid(
        images,
        images,
        swaps.grid(subject.model, images),
        _heading(title, subject),
    )
    return (
        "swaps",
        title,
        "Each image's landmarks, row by row, redrawn in the looks of each"
        " image, column by column (paper, figure 7). Looks that follow the row"
        " were passed on by the landmarks.",
        figure,
    )


def _score_maps(subject: Subject) -> tuple:
    images = subject.test.images[:_MAP_IMAGES]
    detected = {
        name: value.numpy()
        for name, value in subject.model.detect(images).items()
    }
    # The most confident of those that are alive and no copy of another.
    health, bottleneck = subject.found["health"], subject.model.bottleneck
    useless = {*health["dead"], *(pair[1] for pair in health["duplicated"])}
    order = np.argsort(-detected["confidence"].mean(axis=0), kind="stable")
    order = sorted(order.tolist(), key=lambda landmark: landmark in useless)
    title = "Score maps"
    figure = figures.score_maps(
        images, detected, order[:_MAPS], _heading(title, subject)
    )
    return (
        "score_maps",
        title,
        f"Bars: softmax of the {bottleneck.marginal} over each row (left) and"
        f" column (above), at a temperature of {bottleneck.temperature:g}; dot:"
        " the landmark, the expected place (paper, figure 2).",
        figure,
    )


def _accuracy(subject: Subject) -> tuple:
    found = subject.found
    panels = {"regressed, no bias": found["pck"]}
    if found["matching"]:
        panels["single landmarks"] = found["matching"]["pck"]
    panels["mean shape"] = found["pck"]["mean_shape"]
    title = "Accuracy over distance"
    figure = figures.accuracy_over_distance(
        panels, f"px {_VIEW}", _heading(title, subject)
    )
    return (
        "accuracy",
        title,
        "Share of the keypoints of the test images that are found within a"
        " distance (paper, figure 4).",
        figure,
    )


def _sample_efficiency(subject: Subject) -> Iterator[tuple]:
    for key, title, mean_shape_of, is_share in (
        ("sample_efficiency", "Error with few labels", None, False),
        ("sample_efficiency_pck", "Accuracy with few labels", "pck", True),
    ):
        efficiency = subject.found[key]
        if mean_shape_of:
            distance = str(scores.HEADLINE_PX)
            mean_shape = subject.found["pck"]["mean_shape"][distance]["mean"]
            label = f"keypoints within {distance} px {_VIEW}, %"
        else:
            mean_shape = subject.found[efficiency["of"]]["mean_shape"]
            label = tables.ERRORS[efficiency["of"]]
        figure = figures.sample_efficiency(
            {fit: efficiency[fit] for fit in ("no_bias", "bias", "ridge")},
            mean_shape,
            label,
            _heading(title, subject),
            higher_is_better=is_share,
        )
        yield (
            key,
            title,
            "Linear maps from landmarks to keypoints, fitted on n labelled"
            " images (paper, figures 3 and 4).",
            figure,
        )


def _invariance(subject: Subject) -> Iterator[tuple]:
    test = subject.test
    ranking = subject.found["invariance"]["ranking"][:_STABLE]
    for grid in invariance.grids(subject.factors):
        images = detections.images_at(
            subject.config, subject.shards, subject.role, grid.index.ravel()
        )
        title = f"Stable landmarks, {grid.row_name} by {grid.column_name}"
        figure = figures.landmark_grid(
            images.reshape(*grid.index.shape, *images.shape[1:]),
            test.landmarks[grid.index],
            ranking,
            (grid.row_name, grid.column_name),
            (grid.row_labels, grid.column_labels),
            _heading(title, subject),
        )
        yield (
            f"{grid.row_name}_by_{grid.column_name}",
            title,
            f"The {len(ranking)} landmarks that move least of all while the"
            " factors change (paper, figure 6). Azimuth 0 is another side of"
            " each toy.",
            figure,
        )


def _bars(subject: Subject) -> tuple:
    found = subject.found
    measured = {
        "spread, px": [
            (scores.VIEW_SIZE - 1) / 2 * spread
            for spread in found["health"]["spread"]
        ],
        "consistency, px": found["consistency"]["landmarks"],
    }
    if found["jitter"]:
        measured["jitter, px"] = found["jitter"]["landmarks"]
    if found["correspondence"]:
        backward = found["correspondence"]["backward_bias_px"]
        measured["backward error, px"] = backward["landmarks"]
    title = "Landmark by landmark"
    figure = figures.landmark_bars(measured, _heading(title, subject))
    return (
        "landmark_bars",
        title,
        f"In pixels {_VIEW}. Spread: how far it moves over the images;"
        " consistency: how far it is, after a known warp, from where the warp"
        " should have taken it; backward error: from where the annotated"
        " keypoints put it, by a linear map with bias.",
        figure,
    )


def _calibration(subject: Subject) -> tuple:
    title = "Confidence and error"
    figure = figures.calibration_curve(
        subject.found["calibration"], f"px {_VIEW}", _heading(title, subject)
    )
    return (
        "calibration",
        title,
        "Error: the distance of a landmark from where the annotated keypoints"
        " put it.",
        figure,
    )


def _write_video(subject: Subject, path: pathlib.Path) -> None:
    """The landmarks of the first clip, if it has more than one frame."""
    (clip,) = subject.shards.clips(subject.role).take(1)
    if len(clip["frames"]["index"]) < 2:
        return
    colours = palette.palette(subject.found["num_landmarks"])
    with movies.Movie(path, _FRAMES_PER_SECOND) as movie:
        for encoded in clip["frames"]["image"]:
            image = shards_lib.decode(encoded)
            view = views.square(image, subject.config)[None]
            found = subject.model.detect(view)
            points_px = views.points_from_square(
                found["landmarks"][0], tf.shape(image)[:2], subject.config
            )
            movie.write(
                overlays.draw(
                    np.rint(image.numpy() * 255.0).astype(np.uint8),
                    points_px.numpy(),
                    colours,
                    found["confidence"][0].numpy(),
                )
            )


def _heading(title: str, subject: Subject) -> str:
    found = subject.found
    run = f"step {found['step']} of a run on {found['trained_on']}"
    return f"{title}: {found['dataset']}, {run}"
