"""Keypoints that people have marked, in files of several layouts."""

from collections.abc import Sequence
import csv
import io
import pathlib

import numpy as np

from data_prep import clips


class Annotations:
    """The keypoints of a CSV file; no keypoints at all without a file.

    Args:
        path: the file, or None.

    Attributes:
        keypoint_names: one per keypoint, in the order of the columns.

    Raises:
        RawDataError: if the file is missing or malformed.
    """

    def __init__(self, path: str | None):
        self.keypoint_names: list[str] = []
        self._path = path
        self._points: dict[str, np.ndarray] = {}
        self._lines: dict[str, int] = {}
        if path is not None:
            self._read()

    def _read(self) -> None:
        try:
            text = pathlib.Path(self._path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise clips.RawDataError(
                f"{self._path} is no UTF-8 text; save it as CSV"
            ) from None
        except OSError as error:
            raise clips.RawDataError(
                f"--keypoints={self._path} cannot be read"
                f" ({error.strerror}); give the path of a CSV file"
            ) from None
        reader = csv.reader(io.StringIO(text, newline=""))
        self._read_header(next(reader, []))
        for cells in reader:
            if cells:
                self._read_line(reader.line_num, cells)
        if not any(self.has(name) for name in self._points):
            raise clips.RawDataError(
                f"{self._path} annotates no image; leave --keypoints out, or"
                " fill the file in"
            )

    def _read_header(self, cells: Sequence[str]) -> None:
        cells = [cell.strip() for cell in cells]
        names = [cell.removesuffix("_x") for cell in cells[1::2]]
        expected = ["image"]
        for name in names:
            expected += [f"{name}_x", f"{name}_y"]
        if not names or cells != expected or len(set(names)) < len(names):
            raise clips.RawDataError(
                f"{self._path}, line 1: columns must be image, NAME_x, NAME_y"
                " for each keypoint, every NAME once; got"
                f" {','.join(cells)!r}"
            )
        self.keypoint_names = names

    def _read_line(self, number: int, cells: Sequence[str]) -> None:
        name, *values = (cell.strip() for cell in cells)
        where = f"{self._path}, line {number}"
        if len(values) != 2 * len(self.keypoint_names):
            raise clips.RawDataError(
                f"{where}: must have {1 + 2 * len(self.keypoint_names)} cells"
                f" like line 1, got {len(cells)}; correct or remove the line"
            )
        if name in self._points:
            raise clips.RawDataError(
                f"{where}: {name} is also in line {self._lines[name]}; remove"
                " one of them"
            )
        try:
            xy = [float(value or "nan") for value in values]
        except ValueError as error:
            raise clips.RawDataError(
                f"{where}: {error}; write a number, or leave the cell empty if"
                " the keypoint is not visible"
            ) from None
        points = np.reshape(xy, [-1, 2])[:, ::-1]
        half_missing = np.isnan(points).any(axis=1) != np.isnan(points).all(
            axis=1
        )
        if half_missing.any() or np.isinf(points).any():
            raise clips.RawDataError(
                f"{where}: every keypoint needs two finite numbers or two empty"
                f" cells; got {','.join(cells)!r}"
            )
        self._points[name] = points
        self._lines[name] = number

    def check(self, image_names: Sequence[str], raw_dir: pathlib.Path) -> None:
        """Raises RawDataError if a line names an image that is not there."""
        known = set(image_names)
        for name, number in self._lines.items():
            if name not in known:
                raise clips.RawDataError(
                    f"{self._path}, line {number}: no image {name!r} in"
                    f" {raw_dir}; correct the path (relative to that folder) or"
                    " remove the line"
                )

    def has(self, name: str) -> bool:
        """Whether the image has a keypoint that is not missing."""
        return not np.isnan(self.points(name)).all()

    def points(self, name: str) -> np.ndarray:
        """Float `[rows, 2]`, (y, x), pixels; NaN where missing."""
        rows = clips.num_rows(len(self.keypoint_names))
        missing = np.full([rows, 2], np.nan)
        return self._points.get(name, missing)


def left_right_swaps(names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of keypoints whose names differ by left and right only."""
    swaps = []
    for i, name in enumerate(names):
        mirrored = name.replace("left", "right")
        if mirrored != name and mirrored in names:
            swaps.append((i, names.index(mirrored)))
    return swaps
