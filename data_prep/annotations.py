"""Keypoints that people have marked, in files of three formats.

* Plain CSV: a line `image,NAME_x,NAME_y,...`, then one line per image.
* DeepLabCut CSV, the labels of a project (CollectedData_*.csv).
* COCO keypoints JSON.

The content says which one a file has. Coordinates of all three are taken to be
pixels, 0 = centre of the first pixel; data_prep/images/README.md says more.
"""

import collections
from collections.abc import Iterable
from collections.abc import Sequence
import csv
import dataclasses
import io
import json
import pathlib
import re

import numpy as np

from data_prep import clips
from tflm import errors

Line = tuple[int, list[str]]  # Its number from 1, its cells.

# First cells of the lines that a file of DeepLabCut starts with; individuals
# is only there in a project of several animals, scorer says who labelled.
_DEEPLABCUT_HEADER = ("scorer", "individuals", "bodyparts", "coords")
_DEEPLABCUT_FRAME = re.compile(r"(?:.*/)?([^/]+)/img0*(\d+)\.\w+")
# Not an animal: body parts that the scene has once, whatever lives in it.
_DEEPLABCUT_SCENE = "single"

_SIDE = re.compile("left|right")
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # Of a_word, aWord, AWord.


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a file says of one image.

    Attributes:
        image: its path, with forward slashes.
        points: float `[num_keypoints, 2]`, (y, x), pixels; NaN where missing.
        place: where in the file, such as "line 3".
    """

    image: str
    points: np.ndarray
    place: str


class Annotations:
    """The keypoints of the images that a file lists.

    Args:
        path: the file, for messages.
        keypoint_names: one per keypoint.
        entries: one per image.

    Raises:
        RawDataError: if two keypoints or two entries have the same name.
    """

    def __init__(
        self,
        path: str,
        keypoint_names: Sequence[str],
        entries: Iterable[Entry],
    ):
        for name, count in collections.Counter(keypoint_names).items():
            if count > 1 or not name:
                raise errors.RawDataError(
                    f"{path}: {count} keypoints are named {name!r}; give each a"
                    " name of its own"
                )
        self._path = path
        self.keypoint_names = list(keypoint_names)
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            other = self._entries.setdefault(entry.image, entry)
            if other is not entry:
                raise errors.RawDataError(
                    f"{path}, {entry.place}: {entry.image} is also in"
                    f" {other.place}; keep one, an image shows one object"
                )

    def names(self) -> list[str]:
        """The images, in the order of the file."""
        return list(self._entries)

    def has(self, name: str) -> bool:
        """Whether the image has a keypoint that is not missing."""
        return not np.isnan(self.points(name)).all()

    def points(self, name: str) -> np.ndarray:
        """Float `[rows, 2]`, (y, x), pixels; NaN where missing."""
        if name in self._entries:
            return self._entries[name].points
        rows = clips.num_rows(len(self.keypoint_names))
        return np.full([rows, 2], np.nan)

    def check(
        self, image_names: Sequence[str], raw_dir: pathlib.Path
    ) -> "Annotations":
        """Finds the image of every entry.

        It is the one that has the same path. If there is none: the only one
        whose path ends with the entry's, or the other way round, for files of
        DeepLabCut and COCO often name folders that are not there any more, and
        plain file names where there are folders now.

        Args:
            image_names: paths below `raw_dir`, with forward slashes.
            raw_dir: for messages.

        Returns:
            The same, under the names of `image_names`.

        Raises:
            RawDataError: if an entry has no image, or may be of several, or if
                two entries are of one image.
        """
        images = set(image_names)
        by_ending = collections.defaultdict(list)
        for image in images:
            for ending in endings(image):
                by_ending[ending].append(image)
        renamed = []
        for entry in self._entries.values():
            found = [entry.image]
            if entry.image not in images:
                found = by_ending.get(entry.image, []) + [
                    ending
                    for ending in endings(entry.image)
                    if ending in images
                ]
            if not found:
                raise errors.RawDataError(
                    f"{self._path}, {entry.place}: no image {entry.image!r} in"
                    f" {raw_dir}; correct the path (relative to that folder) or"
                    " remove the entry"
                )
            if len(found) > 1:
                first, second, *_ = sorted(found)
                raise errors.RawDataError(
                    f"{self._path}, {entry.place}: {entry.image!r} may be"
                    f" {first} or {second} of {raw_dir}; write the path"
                    " relative to that folder"
                )
            renamed.append(dataclasses.replace(entry, image=found[0]))
        return Annotations(self._path, self.keypoint_names, renamed)


def read(path: str | None) -> Annotations:
    """Reads a file of any of the three formats; no keypoints without a file.

    Raises:
        RawDataError: if the file is missing or malformed, has more than one
            object in an image, or no keypoint at all.
    """
    if path is None:
        return Annotations("", [], [])
    text = _read_text(path)
    if text.lstrip().startswith(("{", "[")):
        found = _read_coco(path, text)
    else:
        lines = _read_lines(path, text)
        if lines and lines[0][1][0] == _DEEPLABCUT_HEADER[0]:
            found = _read_deeplabcut(path, lines)
        else:
            found = _read_plain(path, lines)
    if not any(found.has(name) for name in found.names()):
        raise errors.RawDataError(
            f"{path} annotates no image; leave --keypoints out, or fill the"
            " file in"
        )
    return found


def deeplabcut_frame(name: str) -> tuple[str, int] | None:
    """Of labeled-data/VIDEO/img0012.png, VIDEO and 12; None of other names."""
    match = _DEEPLABCUT_FRAME.fullmatch(name)
    return match and (match[1], int(match[2]))


def check_size(where: str, size: tuple[int, int], points: np.ndarray) -> None:
    """Checks that keypoints can be of this image, not of a larger version.

    A point just beyond the border can be meant; one that is further from it
    than the image is long cannot.

    Args:
        where: for the message.
        size: (height, width) of the image, pixels; upright or not.
        points: float `[rows, 2]`, (y, x), pixels; NaN where missing.

    Raises:
        RawDataError: if a point is too far.
    """
    length = max(size)
    is_far = ((points < -length) | (points > 2 * length)).any(axis=1)
    if is_far.any():
        y, x = points[np.argmax(is_far)]
        raise errors.RawDataError(
            f"{where}: a keypoint at x {x:g}, y {y:g} is far outside the image"
            f" of {size[1]} x {size[0]} pixels; give keypoints in pixels of"
            " this image"
        )


def left_right_swaps(names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of keypoints whose names differ by the side only.

    A side is `left` or `right` anywhere in a name, or an `l` or `r` that is a
    word: L_paw, paw_l, pawL, L1. Capitals make no difference. A name with two
    possible partners has none.
    """
    lowered = [name.lower() for name in names]
    mirrored = [_mirror(name) for name in names]
    everyone = range(len(names))
    partners = [
        [
            j
            for j in everyone
            if j != i
            and lowered[j] == mirrored[i]
            and mirrored[j] == lowered[i]
        ]
        for i in everyone
    ]
    return [
        (i, j)
        for i in everyone
        for j in partners[i]
        if i < j and partners[i] == [j] and partners[j] == [i]
    ]


def eyes(names: Sequence[str]) -> tuple[int, int] | None:
    """Indices of left_eye and right_eye, the unit of NME, if both are there."""
    if {"left_eye", "right_eye"} <= set(names):
        return names.index("left_eye"), names.index("right_eye")
    return None


def _mirror(name: str) -> str:
    """The name of the other side, in lower case."""
    letters = {"l": "r", "r": "l"}
    words = {"left": "right", "right": "left"}
    name = _WORD.sub(lambda w: letters.get(w[0].lower(), w[0]), name).lower()
    return _SIDE.sub(lambda side: words[side[0]], name)


def endings(path: str) -> list[str]:
    """Of a/b/c: a/b/c, b/c and c, by which `Annotations.check` finds it."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _read_text(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise errors.RawDataError(
            f"{path} is no UTF-8 text; save it as CSV or JSON"
        ) from None
    except OSError as error:
        raise errors.RawDataError(
            f"--keypoints={path} cannot be read ({error.strerror}); give the"
            " path of a CSV or JSON file"
        ) from None


def _read_lines(path: str, text: str) -> list[Line]:
    """Lines of a CSV file, without those whose cells are all empty."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        return [
            (reader.line_num, [cell.strip() for cell in cells])
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise errors.RawDataError(
            f"{path}, line {reader.line_num}: {error}; save the file as CSV"
        ) from None


def _read_plain(path: str, lines: Sequence[Line]) -> Annotations:
    header = lines[0][1] if lines else []
    names = [cell.removesuffix("_x") for cell in header[1::2]]
    expected = ["image"]
    for name in names:
        expected += [f"{name}_x", f"{name}_y"]
    if not names or header != expected:
        got = ",".join(header)[:200]
        raise errors.RawDataError(
            f"{path}, line 1: columns must be image, NAME_x, NAME_y for each"
            f" keypoint; got {got!r}; correct it, or give a file of DeepLabCut"
            " or COCO"
        )
    entries = []
    for number, (image, *values) in lines[1:]:
        points = _parse_points(f"{path}, line {number}", names, values)
        image = image.replace("\\", "/")
        entries.append(Entry(image, points, f"line {number}"))
    return Annotations(path, names, entries)


def _read_deeplabcut(path: str, lines: Sequence[Line]) -> Annotations:
    """Reads header lines, then paths of one cell or of one per folder.

    `scorer,,,Ann,Ann` / `bodyparts,,,nose,nose` / `coords,,,x,y`, then
    `labeled-data,VIDEO,img01.png,12.5,30`.
    """
    header = {
        cells[0]: cells
        for _, cells in lines[: len(_DEEPLABCUT_HEADER)]
        if cells[0] in _DEEPLABCUT_HEADER
    }
    coords, parts = header.get("coords", []), header.get("bodyparts", [])
    first = coords.index("x") if "x" in coords else len(coords)
    names = parts[first::2]
    if (
        not names
        or coords[first:] != ["x", "y"] * len(names)
        or parts[first + 1 :: 2] != names
    ):
        raise errors.RawDataError(
            f"{path}: the lines bodyparts and coords must have an x and a y for"
            " each body part, and nothing else; give the labels of a DeepLabCut"
            " project (CollectedData_*.csv), not what a network found"
        )
    animals = {*header.get("individuals", [])[first:]} - {_DEEPLABCUT_SCENE}
    if len(animals) > 1:
        raise errors.RawDataError(
            f"{path} has {len(animals)} individuals"
            f" ({', '.join(sorted(animals))}), but an image shows one object;"
            " keep the columns of one"
        )
    entries = []
    for number, cells in lines[len(header) :]:
        points = _parse_points(f"{path}, line {number}", names, cells[first:])
        image = "/".join(filter(None, cells[:first])).replace("\\", "/")
        entries.append(Entry(image, points, f"line {number}"))
    return Annotations(path, names, entries)


def _parse_points(
    where: str, names: Sequence[str], cells: Sequence[str]
) -> np.ndarray:
    """Float `[len(names), 2]`, (y, x), from cells that have x before y."""
    if len(cells) != 2 * len(names):
        raise errors.RawDataError(
            f"{where}: must have {2 * len(names)} cells after the image like"
            f" the first line, got {len(cells)}; correct or remove the line"
        )
    try:
        xy = np.reshape([float(cell or "nan") for cell in cells], [-1, 2])
    except ValueError as error:
        raise errors.RawDataError(
            f"{where}: {error}; write a number, or leave the cell empty if the"
            " keypoint is not visible"
        ) from None
    is_good = np.isfinite(xy).all(axis=1) | np.isnan(xy).all(axis=1)
    if not is_good.all():
        i = np.argmin(is_good)
        raise errors.RawDataError(
            f"{where}: every keypoint needs two finite numbers or two empty"
            f" cells; {names[i]} has {','.join(cells[2 * i : 2 * i + 2])!r}"
        )
    return xy[:, ::-1]


def _read_coco(path: str, text: str) -> Annotations:
    """Reads COCO's lists of images, annotations and categories."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise errors.RawDataError(
            f"{path} is no valid JSON ({error}); export it again"
        ) from None
    images, annotations, categories = (
        _coco_list(path, content, name)
        for name in ("images", "annotations", "categories")
    )
    with_keypoints = [one for one in categories if one.get("keypoints")]
    if len(with_keypoints) != 1:
        raise errors.RawDataError(
            f"{path}: one of the categories must have keypoints, got"
            f" {len(with_keypoints)}; keep one kind of object"
        )
    (category,) = with_keypoints
    names = category["keypoints"]
    if not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise errors.RawDataError(
            f"{path}: keypoints of the category must be a list of names;"
            " export it again"
        )
    files = _coco_files(path, images)
    entries = []
    for i, annotation in enumerate(annotations):
        place = f"annotations[{i}]"
        if annotation.get("category_id") != category.get("id"):
            continue
        if not annotation.get("keypoints"):  # A box or a mask alone.
            continue
        image = annotation.get("image_id")
        if not isinstance(image, int | str) or image not in files:
            raise errors.RawDataError(
                f"{path}, {place}: no image has the id {image!r}; remove it, or"
                " export the file again"
            )
        points = _coco_points(
            f"{path}, {place}", len(names), annotation.get("keypoints")
        )
        if not np.isnan(points).all():  # Else a box or a mask alone, too.
            entries.append(Entry(files[image], points, place))
    return Annotations(path, names, entries)


def _coco_list(path: str, content: object, name: str) -> list[dict]:
    values = content.get(name) if isinstance(content, dict) else None
    if not isinstance(values, list) or not all(
        isinstance(value, dict) for value in values
    ):
        raise errors.RawDataError(
            f"{path} has no list {name} as COCO keypoints have; export it in"
            " that format"
        )
    return values


def _coco_files(path: str, images: Sequence[dict]) -> dict[int | str, str]:
    """Maps image id to its path, with forward slashes."""
    files = {}
    for i, image in enumerate(images):
        number, name = image.get("id"), image.get("file_name")
        if (
            not isinstance(number, int | str)
            or not isinstance(name, str)
            or number in files
        ):
            raise errors.RawDataError(
                f"{path}, images[{i}]: must have a file_name and an id of its"
                f" own, got {name!r} and {number!r}; export the file again"
            )
        files[number] = name.replace("\\", "/")
    return files


def _coco_points(where: str, num_keypoints: int, values: object) -> np.ndarray:
    """Float `[num_keypoints, 2]`, (y, x), from x, y, visibility of each.

    Visibility 0 is a keypoint without a label, 1 is hidden, 2 is visible.
    """
    try:
        table = np.array(values, np.float64).reshape(num_keypoints, 3)
    except (OverflowError, TypeError, ValueError):
        table = np.full([num_keypoints, 3], np.nan)
    is_labelled = table[:, 2] > 0
    if np.isnan(table[:, 2]).any() or not np.isfinite(table[is_labelled]).all():
        raise errors.RawDataError(
            f"{where}: keypoints must be {3 * num_keypoints} numbers: x, y,"
            f" visibility for each of the {num_keypoints} names of the"
            " category; correct or remove it"
        )
    return np.where(is_labelled[:, None], table[:, 1::-1], np.nan)
