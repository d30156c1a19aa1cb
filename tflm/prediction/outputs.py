"""Tables of points, written row by row: DeepLabCut's CSV and COCO's JSON.

Coordinates in both are pixels of the image as it is seen upright (a photo that
its EXIF data turn: after the turn), x before y; 0 is the centre of the first
column or row. They are rounded to thousandths.

`likelihood`, and `score` in the JSON, is the confidence of a landmark: how
concentrated its score map is, in [0, 1], not a probability. Of a named keypoint
it is the mean confidence of the landmarks that it is made of: readers of
DeepLabCut's files drop points by it, and would drop all without one.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import csv
import errno
import json
import pathlib
import shutil
import tempfile
from typing import IO

import numpy as np

from tflm import files
from tflm.prediction import inputs

SCORER = "tflm"
_VISIBLE, _NOT_VISIBLE = 2, 1  # COCO's flags of a labelled keypoint.


class CsvTable:
    """The layout of the CSV that DeepLabCut writes of an analysed video.

    Three header rows, `scorer`, `bodyparts` and `coords`, then a row of each
    image: its path or frame number, and x, y, likelihood of each point; empty
    cells where nothing was found.

    Args:
        file: to be written to.
        names: of the points.

    Source: vid1_camera-1DLC_resnet50_*filtered.csv in DeepLabCut's examples.
    """

    def __init__(self, file: IO[str], names: Sequence[str]):
        self._writer = csv.writer(file, lineterminator="\n")
        count = len(names)
        parts = [name for name in names for _ in range(3)]
        self._writer.writerow(["scorer", *[SCORER] * (3 * count)])
        self._writer.writerow(["bodyparts", *parts])
        self._writer.writerow(["coords", *["x", "y", "likelihood"] * count])

    def add(
        self, frame: inputs.Frame, points_px: np.ndarray, scores: np.ndarray
    ) -> None:
        """Writes a row; see `Tables.add`."""
        rows = zip(_xy(points_px), _rounded(scores))
        cells = [cell for (x, y), score in rows for cell in (x, y, score)]
        known = ["" if np.isnan(cell) else cell for cell in cells]
        self._writer.writerow([frame.index, *known])


class CocoTable:
    """COCO's keypoints: an annotation of each image, of one category.

    The visibility of a point is 2; 1, labelled but not visible, if it lies
    outside the image, as a named keypoint may. `bbox` and `area` are those of
    the box around the points. Not in COCO's annotations: `score`, as in its
    results, the mean of `keypoint_scores`. An image where nothing was found has
    no annotation.

    Args:
        file: to be written to.
        waiting: for annotations until all images are written.
        names: of the points.
        model: what found them.

    Source: https://cocodataset.org/#format-data
    """

    def __init__(
        self, file: IO[str], waiting: IO[str], names: Sequence[str], model: str
    ):
        self._file = file
        self._waiting = waiting
        self._num_images = self._num_annotations = 0
        head = {
            "info": {"description": "points found by tflm", "model": model},
            "licenses": [],
            "categories": [
                {
                    "id": 1,
                    "name": "object",
                    "supercategory": "object",
                    "keypoints": list(names),
                    "skeleton": [],
                }
            ],
        }
        file.write(json.dumps(head)[:-1] + ', "images": [\n')

    def add(
        self, frame: inputs.Frame, points_px: np.ndarray, scores: np.ndarray
    ) -> None:
        """Writes an image and its annotation; see `Tables.add`."""
        size = frame.image_size
        separator = ",\n" if self._num_images else ""
        self._num_images += 1
        image = {
            "id": self._num_images,
            "file_name": frame.file_name,
            "height": size[0],
            "width": size[1],
        }
        self._file.write(separator + json.dumps(image))
        if np.isnan(scores).all():
            return
        # A pixel reaches half a pixel beyond its centre.
        is_inside = np.all(
            (points_px >= -0.5) & (points_px <= np.array(size) - 0.5), axis=-1
        )
        flags = np.where(is_inside, _VISIBLE, _NOT_VISIBLE).tolist()
        xy = _xy(points_px)
        left, top = np.min(xy, axis=0)
        width, height = np.ptp(xy, axis=0)
        separator = ",\n" if self._num_annotations else ""
        self._num_annotations += 1
        annotation = {
            "id": self._num_annotations,
            "image_id": self._num_images,
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": [
                number
                for point, flag in zip(xy, flags)
                for number in (*point, flag)
            ],
            "num_keypoints": len(xy),
            "bbox": _rounded([left, top, width, height]),
            "area": _rounded(width * height),
            "score": _rounded(np.mean(scores)),
            "keypoint_scores": _rounded(scores),
        }
        self._waiting.write(separator + json.dumps(annotation, allow_nan=False))

    def finish(self) -> None:
        """Appends the annotations to the images."""
        self._file.write('\n], "annotations": [\n')
        self._waiting.seek(0)
        shutil.copyfileobj(self._waiting, self._file)
        self._file.write("\n]}\n")


class Tables:
    """Both tables of a source."""

    def __init__(self, csv_table: CsvTable, coco_table: CocoTable):
        self._tables = (csv_table, coco_table)

    def add(
        self, frame: inputs.Frame, points_px: np.ndarray, scores: np.ndarray
    ) -> None:
        """Writes what was found in an image.

        Args:
            frame: the image.
            points_px: float `[P, 2]`, (y, x), pixels of the image; NaN if
                nothing was.
            scores: float `[P]`; likewise.
        """
        for table in self._tables:
            table.add(frame, points_px, scores)


def table_paths(folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    """The files of `tables`: CSV, JSON."""
    return [folder / f"{name}.csv", folder / f"{name}.json"]


@contextlib.contextmanager
def tables(
    folder: pathlib.Path, name: str, point_names: Sequence[str], model: str
) -> Iterator[Tables]:
    """Opens both tables; they get their names when the block succeeds.

    Args:
        folder: where they go.
        name: of the files, without ending; it may have folders in it.
        point_names: of all points.
        model: what finds them, for the reader.
    """
    csv_path, coco_path = table_paths(folder, name)
    for path in (csv_path, coco_path):
        if path.is_dir():  # Found later, the other table would be there.
            raise IsADirectoryError(errno.EISDIR, "a folder is there", path)
    csv_path.parent.mkdir(parents=True, exist_ok=True)
    # What is in no encoding, as file names may be, is written as it was.
    options = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    with contextlib.ExitStack() as stack:
        partials = [
            stack.enter_context(files.replacing(path))
            for path in (csv_path, coco_path)
        ]
        csv_file, coco_file = (
            stack.enter_context(open(partial, "w", **options))
            for partial in partials
        )
        waiting = stack.enter_context(
            tempfile.TemporaryFile("w+", dir=csv_path.parent, **options)
        )
        coco_table = CocoTable(coco_file, waiting, point_names, model)
        yield Tables(CsvTable(csv_file, point_names), coco_table)
        coco_table.finish()


def _xy(points_px: np.ndarray) -> list[list[float]]:
    return _rounded(points_px[:, ::-1])


def _rounded(values) -> list | float:
    # Adding 0 makes 0 of -0.
    return (np.round(np.asarray(values, np.float64), 3) + 0.0).tolist()
