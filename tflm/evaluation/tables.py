"""The numbers of an evaluation as tables for readers."""

from collections.abc import Sequence
import dataclasses

from tflm.evaluation import scores

_METHODS = {
    "no_bias": "no bias",
    "bias": "with bias",
    "ridge": "with bias, ridge",
    "untrained_no_bias": "untrained, no bias",
    "untrained_bias": "untrained, with bias",
    "mean_shape": "mean shape",
}
ERRORS = {"nme_percent": "NME, %", "mean_error_px": "mean error, px"}
_FITS = {name: _METHODS[name] for name in ("no_bias", "bias", "ridge")}
_OF_NUMBERS = "0123456789-+"  # Their first characters.
_MOST_STABLE = 5  # Landmarks of the table of invariance.


@dataclasses.dataclass(frozen=True)
class Table:
    """One table; the first column names the rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""  # What the numbers are.

    def is_text(self) -> list[bool]:
        """Which columns are words, to be set to the left."""
        return [
            any(cell and cell[0] not in _OF_NUMBERS for cell in column)
            for column in zip(*self.rows)
        ]

    def markdown(self) -> str:
        """A Markdown table whose columns also line up as plain text."""
        rows = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows)]
        columns = list(zip(widths, self.is_text()))
        lines = [
            " | ".join(
                cell.ljust(width) if is_text else cell.rjust(width)
                for cell, (width, is_text) in zip(row, columns)
            )
            for row in rows
        ]
        dashes = (
            "-" * width if is_text else "-" * (width - 1) + ":"
            for width, is_text in columns
        )
        lines.insert(1, " | ".join(dashes))
        title = f"{self.title}{': ' if self.note else ''}{self.note}"
        return "\n".join([title, "", *(f"| {line} |" for line in lines)])


def of_evaluation(found: dict) -> list[Table]:
    """The tables of one run.

    Args:
        found: what `metrics.json` holds; see `report`.

    Returns:
        Those that apply.
    """
    tables = []
    if not found["no_annotations"]:
        tables += [_errors(found), _correct(found)]
        if found["sample_efficiency"]:
            tables.append(_sample_efficiency(found))
    if found["health"]:
        tables.append(_landmarks(found))
    if found["invariance"]:
        tables.append(_invariance(found))
    return tables


def cell(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A number, and the interval that it lies in."""
    if value is None:
        return "-"
    if interval is None or None in interval:
        return f"{value:.2f}"
    low, high = interval
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _errors(found: dict) -> Table:
    intervals = found["intervals"]
    rows = []
    for error, words in ERRORS.items():
        if found[error]:
            of_error = intervals.get(error, {})
            rows.append(
                [
                    words,
                    *(
                        cell(found[error][method], of_error.get(method))
                        for method in _METHODS
                    ),
                ]
            )
    rows += [
        [words, *(cell(found[error][method]) for method in _METHODS)]
        for error, words in (
            ("nme_original_percent", "NME, %, in the original's proportions"),
            ("mean_error_original_px", "mean error, px of the original"),
        )
        if found[error]
    ]
    if found["validation"]:
        rows += [
            [
                f"{ERRORS[error]}, of {found['validation']['num_images']}"
                " validation images",
                *(cell(values.get(method)) for method in _METHODS),
            ]
            for error, values in found["validation"].items()
            if error in ERRORS and values
        ]
    return Table(
        "Error of the linear maps",
        ["", *_METHODS.values()],
        rows,
        f"fitted on {found['num_train']} images, scored on"
        f" {found['num_test']}; pixels of a {scores.VIEW_SIZE} px view; in"
        " brackets 95 % intervals; ridge: with small weights, what tflm.predict"
        " and export.py use; untrained: the same network before training;"
        " mean shape: a constant",
    )


def _correct(found: dict) -> Table:
    distance = str(scores.HEADLINE_PX)
    matching = found["matching"]
    original = found["pck_original"][distance]
    columns = {
        "no bias": found["pck"][distance],
        "with bias": found["pck_bias"][distance],
        "untrained, with bias": found["pck_bias"]["untrained"][distance],
        "mean shape": found["pck"]["mean_shape"][distance],
        "no bias, px of the original": original,
    }
    if matching:
        columns["matched landmark"] = matching["pck"][distance]
    low_high = found["intervals"]["pck"][distance]
    rows = []
    for joint in found["pck"][distance]:
        cells = [
            cell(values[joint], low_high[joint] if name == "no bias" else None)
            for name, values in columns.items()
        ]
        if matching:
            landmark = matching["landmark_of"].get(joint)
            cells[-1] += "" if landmark is None else f" (#{landmark})"
        rows.append([joint, *cells])
    return Table(
        f"Percent of keypoints within {distance} pixels",
        ["", *columns],
        rows,
        f"of a {scores.VIEW_SIZE} px view, or of the original image; matched:"
        " the one landmark that stays nearest to the keypoint, as it is",
    )


def _sample_efficiency(found: dict) -> Table:
    efficiency = found["sample_efficiency"]
    rows = []
    for entries in zip(*(efficiency[fit] for fit in _FITS)):
        n, draws = entries[0]["n"], entries[0]["draws"]
        kind = "all"
        if draws > 1:
            resampled = entries[0]["with_replacement"]
            kind = f"{draws} resamples" if resampled else f"{draws}"
        rows.append(
            [
                str(n),
                kind,
                *(
                    cell(entry["mean"])
                    + (f" ± {cell(entry['std'])}" if draws > 1 else "")
                    for entry in entries
                ),
            ]
        )
    return Table(
        f"Maps fitted on n labelled images: {ERRORS[efficiency['of']]}",
        ["n", "draws", *_FITS.values()],
        rows,
        "mean ± deviation over draws",
    )


def _landmarks(found: dict) -> Table:
    health = found["health"]
    rows = [
        ["dead", f"{len(health['dead'])}", "do not move"],
        ["duplicated", f"{len(health['duplicated'])}", "pairs that stay close"],
    ]
    consistency = found["consistency"]
    rows.append(
        [
            "consistency, px",
            cell(consistency["px"]),
            "distance from where a known warp takes them;"
            f" {cell(consistency['still_px'])} if they stayed where they are",
        ]
    )
    use = found["bottleneck_use"]
    share = use["reconstruction"]
    rows += [
        [
            "redrawn with its own landmarks",
            f"{share['right']:.4f}",
            "squared error of the target; with the source's landmarks"
            f" {share['source']:.4f}"
            + (
                f", another image's {share['other']:.4f}"
                if share["other"] is not None
                else ""  # There is one image.
            ),
        ],
        [
            "follow a shift, %",
            f"{100 * sum(use['shift']['mean']) / 2:.0f}",
            "of a known shift of the image, by which landmarks move;"
            " {:.0f} along y, {:.0f} along x".format(
                *(100 * share for share in use["shift"]["mean"])
            ),
        ],
    ]
    if jitter := found["jitter"]:
        rows.append(
            [
                "jitter, px",
                cell(jitter["px"]),
                "from the middle of the frames before and after; mean motion"
                f" {cell(jitter['motion_px'])}",
            ]
        )
    if correspondence := found["correspondence"]:
        rows += [
            [
                "forward error, px",
                cell(correspondence["forward_px"]["mean"]),
                "keypoints regressed from landmarks, no bias",
            ],
            [
                "backward error, px",
                cell(correspondence["backward_px"]["mean"]),
                "landmarks regressed from keypoints, no bias",
            ],
        ]
        if percent := correspondence["percent"]:
            rows.append(
                [
                    "backward error, %",
                    cell(percent["backward"]),
                    "the same, of the distance of the eyes; with bias"
                    f" {cell(percent['backward_bias'])}",
                ]
            )
    if calibration := found["calibration"]:
        rows.append(
            [
                "confidence and error",
                cell(calibration["pooled"]),
                "rank correlation; below 0: low confidence predicts error",
            ]
        )
    return Table(
        f"The {found['num_landmarks']} landmarks",
        ["", "all", "what it is"],
        rows,
        f"pixels of a {scores.VIEW_SIZE} px view",
    )


def _invariance(found: dict) -> Table:
    invariance = found["invariance"]
    factors = list(invariance["factors"])
    rows = [
        [
            f"#{landmark}",
            *(
                cell(invariance["factors"][factor][landmark])
                for factor in factors
            ),
            cell(invariance["overall"][landmark]),
        ]
        for landmark in invariance["ranking"][:_MOST_STABLE]
    ]
    return Table(
        f"The {len(rows)} most stable landmarks",
        ["landmark", *factors, "all"],
        rows,
        "distance in pixels of a"
        f" {scores.VIEW_SIZE} px view from the mean place over the values of"
        " one factor, the others held",
    )
