"""Keypoints that people have marked, in files of three formats.

* Plain CSV: a line `image,NAME_x,NAME_y,...`, then one line per image.
* DeepLabCut CSV, the labels of a project (CollectedData_*.csv).
* COCO keypoints JSON.

The content says which one a file has. Coordinates of all three are taken to be
pixels, 0 = centre of the first pixel; data_prep/images/README.md says more.
"""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import pathlib
import re

import numpy as np

from data_prep import clips
from tflm import errors
from tflm.media import file_names
from tflm.media import folders
from tflm.media import images
from tflm.media import tables

FLAG = "--keypoints="
WITHOUT_IMAGE = "without an image"
WITHOUT_KEYPOINTS = "without keypoints"
REPEATED = "that repeat another"
OTHER_CATEGORY = "in another category"
CROWD = "for a crowd"

# First cells of the lines that a file of DeepLabCut starts with; individuals
# is only there in a project of several animals, scorer says who labelled.
_DEEPLABCUT_HEADER = ("scorer", "individuals", "bodyparts", "coords")
_DEEPLABCUT_FRAME = re.compile(r"(?:.*/)?([^/]+)/img0*(\d+)\.\w+")
# Not an animal: body parts that the scene has once, whatever lives in it.
_DEEPLABCUT_SCENE = "single"

_STORED = (
    "it was annotated as it is stored, not turned as its EXIF data say: remove"
    " these from the image (exiftool -Orientation= FILE), or annotate the"
    " turned image"
)

_SIDE = re.compile("left|right")
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # Of a_word, aWord, AWord.


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a file says of one image.

    Attributes:
        image: its path, with forward slashes.
        points: float `[num_keypoints, 2]`, (y, x), pixels; NaN where missing.
        place: where in the file, such as "line 3".
        size: (height, width) of the image, as the file states it, pixels; None
            where it does not.
    """

    image: str
    points: np.ndarray
    place: str
    size: tuple[float | None, float | None] = (None, None)


class Annotations:
    """The keypoints of the images that a file lists.

    Args:
        path: the file, for messages.
        keypoint_names: one per keypoint.
        entries: one per image; those without keypoints are left out, and those
            that say the same twice.
        left_out: reason to the entries that were left out before.
        unknown: places of entries that name no image at all.

    Attributes:
        left_out: reason to the places or images of the entries left out.
        unknown: see above.

    Raises:
        RawDataError: if two keypoints have the same name, or two entries
            disagree about an image.
    """

    def __init__(
        self,
        path: str,
        keypoint_names: Sequence[str],
        entries: Iterable[Entry],
        left_out: Mapping[str, Sequence[str]] | None = None,
        unknown: Sequence[str] = (),
    ):
        for name, count in collections.Counter(keypoint_names).items():
            if count > 1 or not name:
                raise errors.RawDataError(
                    f"{path}: {count} keypoints are named {name!r}; give each a"
                    " name of its own"
                )
        self._path = path
        self.keypoint_names = list(keypoint_names)
        self.unknown = unknown
        self.left_out = {k: list(v) for k, v in (left_out or {}).items()}
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            if np.isnan(entry.points).all():
                self._count(WITHOUT_KEYPOINTS, entry.image)
                continue
            other = self._entries.setdefault(entry.image, entry)
            if other is entry:
                continue
            if not np.array_equal(other.points, entry.points, equal_nan=True):
                raise errors.RawDataError(
                    f"{path}, {entry.place}: {entry.image} is also in"
                    f" {other.place}; keep one, an image shows one object"
                )
            self._count(REPEATED, entry.image)

    def leave_out(self, reason: str, name: str) -> None:
        """Removes the entry of an image, if there is one, and counts it."""
        self._entries.pop(name, None)
        self._count(reason, name)

    def _count(self, reason: str, name: str) -> None:
        self.left_out.setdefault(reason, []).append(name)

    def counts(self) -> str:
        """One line: how many entries there are, and what was left out."""
        words = folders.in_words(self.left_out)
        return f"{self._path}: {len(self._entries)} entries read" + (
            f"; {words}" if words else ""
        )

    def names(self) -> list[str]:
        """The images, in the order of the file."""
        return list(self._entries)

    def has(self, name: str) -> bool:
        """Whether the image has a keypoint that is not missing."""
        return name in self._entries

    def points(self, name: str) -> np.ndarray:
        """Float `[rows, 2]`, (y, x), pixels; NaN where missing."""
        if name in self._entries:
            return self._entries[name].points
        rows = clips.num_rows(len(self.keypoint_names))
        return np.full([rows, 2], np.nan)

    def stated(self, name: str) -> "Stated | None":
        """What the file says of the image's size, if it does."""
        entry = self._entries.get(name)
        if entry is None or entry.size == (None, None):
            return None
        return Stated(f"{self._path}, {entry.place}", entry.size)

    def check(
        self,
        image_names: Sequence[str],
        raw_dir: pathlib.Path,
        skip_broken: bool = False,
        what: str = "image",
    ) -> "Annotations":
        """Finds the image of every entry.

        It is the one that has the same path. If there is none: the only one
        whose path ends with the entry's, or the other way round, for files of
        DeepLabCut and COCO often name folders that are not there any more, and
        plain file names where there are folders now.

        Args:
            image_names: paths below `raw_dir`, with forward slashes.
            raw_dir: for messages.
            skip_broken: leave entries without an image out, and count them.
            what: the entries name, for messages.

        Returns:
            The same, under the names of `image_names`.

        Raises:
            RawDataError: if entries have no image, or one may be of several,
                or if two entries are of one image.
        """
        finder = file_names.Finder(image_names, by_ending=True)
        renamed, missing = [], []
        for entry in self._entries.values():
            found = finder.find(entry.image)
            if not found:
                missing.append(entry)
            elif len(found) > 1:
                raise errors.RawDataError(
                    f"{self._path}, {entry.place}: {entry.image!r} may be"
                    f" {_either(found, raw_dir)}"
                )
            else:
                renamed.append(dataclasses.replace(entry, image=found[0]))
        num_missing = len(missing) + len(self.unknown)
        if num_missing and not (skip_broken and renamed):
            described = [
                *(
                    f"{entry.place}: {finder.describe(entry.image)}"
                    for entry in missing
                ),
                *(f"{place}: no image has its id" for place in self.unknown),
            ]
            is_plain = all(map(str.isascii, described))
            remedy = (
                f"correct their paths (relative to {raw_dir})"
                + ("" if is_plain else ", save the file as UTF-8")
                + (", remove the entries" if renamed else "")
                + (", or pass --skip_broken" if renamed else "")
            )
            raise errors.RawDataError(
                f"{self._path}: {num_missing} of {num_missing + len(renamed)}"
                f" entries have no {what} there"
                f" ({folders.first_few(described)}); {remedy}"
            )
        checked = Annotations(
            self._path, self.keypoint_names, renamed, self.left_out
        )
        for name in (*(entry.image for entry in missing), *self.unknown):
            checked.leave_out(WITHOUT_IMAGE, name)
        return checked


@dataclasses.dataclass(frozen=True)
class Stated:
    """The size of an image, as an annotation file states it.

    Attributes:
        where: the file and the place in it.
        size: (height, width), pixels; None: this one is not stated.
    """

    where: str
    size: tuple[float | None, float | None]

    def check(
        self,
        image: str,
        size: tuple[int, int],
        path: pathlib.Path | None = None,
    ) -> None:
        """Checks that keypoints are of the image as it is read.

        Args:
            image: for messages.
            size: (height, width) of the image, upright, pixels.
            path: the image file; None: a frame of a video.

        Raises:
            RawDataError: if its size is another.
        """
        if self._is_of(size):
            return
        height, width = (
            "?" if side is None else f"{side:g}" for side in self.size
        )
        problem = (
            f"{image} has {size[1]} x {size[0]} pixels (width x height), but"
            f" {self.where}, states {width} x {height}"
        )
        remedy = (
            "its keypoints would be misplaced: give the image that was"
            " annotated, or keypoints and size of this one"
        )
        if path is not None and self._is_of(images.stored_size(path)):
            remedy = _STORED
        raise errors.RawDataError(f"{problem}; {remedy}")

    def _is_of(self, size: tuple[int, int]) -> bool:
        return all(
            stated in (None, side) for stated, side in zip(self.size, size)
        )


def read(path: str | None) -> Annotations:
    """Reads a file of any of the three formats; no keypoints without a file.

    Raises:
        RawDataError: if the file is missing or malformed, has more than one
            object in an image, or no keypoint at all.
    """
    if path is None:
        return Annotations("", [], [])
    with tables.naming(path, "save or export it again"):
        found = _read(path)
    if not found.names() and not found.unknown:
        raise errors.RawDataError(
            f"{path} annotates no image; leave --keypoints out, or fill the"
            " file in"
        )
    points = [found.points(name) for name in found.names()]
    if _are_fractions(np.concatenate(points or [np.zeros([0, 2])])):
        raise errors.RawDataError(
            f"{path}: all keypoints are between 0 and 1, as fractions of width"
            " and height are; multiply them by these, to get pixels"
        )
    return found


def _are_fractions(points: np.ndarray) -> bool:
    """Whether all lie in the first pixel, and not all at a corner of it."""
    values = points[np.isfinite(points)]
    is_inside = ((values >= 0.0) & (values <= 1.0)).all()
    return bool(is_inside and (values % 1.0).any())


def _read(path: str) -> Annotations:
    text = tables.read_text(path, "give the path of a CSV or JSON file", FLAG)
    if text.lstrip().startswith(("{", "[")):
        return _read_coco(path, text)
    rows = tables.read_rows(path, text)
    if rows and rows[0].cells[0].lower() == _DEEPLABCUT_HEADER[0]:
        return _read_deeplabcut(path, rows)
    return _read_plain(path, rows)


def _either(found: Sequence[str], raw_dir: pathlib.Path) -> str:
    """Names two files that an entry may mean, and says what to do."""
    first, second, *_ = sorted(found)
    if file_names.composed(first) == file_names.composed(second):
        return (
            f"{first!a} or {second!a} of {raw_dir}, which look the same; rename"
            " one of them"
        )
    return (
        f"{first} or {second} of {raw_dir}; write the path relative to that"
        " folder"
    )


def deeplabcut_frame(name: str) -> tuple[str, int] | None:
    """Of labeled-data/VIDEO/img0012.png, VIDEO and 12; None of other names."""
    match = _DEEPLABCUT_FRAME.fullmatch(name)
    return match and (match[1], int(match[2]))


def check_size(
    where: str,
    size: tuple[int, int],
    points: np.ndarray,
    path: pathlib.Path | None = None,
) -> None:
    """Checks that keypoints can be of this image, not of another version.

    A point just beyond the border can be meant; one that is further from it
    than the image is long cannot. Nor can one beyond the border of an image
    that lies on its side in its file, if all are inside of it as it lies there.

    Args:
        where: for the message.
        size: (height, width) of the image, upright, pixels.
        points: float `[rows, 2]`, (y, x), pixels; NaN where missing.
        path: the image file; None: a frame of a video.

    Raises:
        RawDataError: if a point is too far, or they are of the image as it
            lies.
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
    is_beyond = (points > size).any(axis=1)
    if (
        path is not None
        and is_beyond.any()
        and not (points > size[::-1]).any()
        and images.stored_size(path) == size[::-1]
    ):
        y, x = points[np.argmax(is_beyond)]
        raise errors.RawDataError(
            f"{where}: a keypoint at x {x:g}, y {y:g} is outside the image of"
            f" {size[1]} x {size[0]} pixels (width x height); {_STORED}"
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


def _read_plain(path: str, rows: Sequence[tables.Row]) -> Annotations:
    header = rows[0].cells if rows else []
    columns = [cell.lower() for cell in header]
    names = [cell[: -len("_x")] for cell in header[1::2]]
    expected = ["image"]
    for name in names:
        expected += [f"{name}_x".lower(), f"{name}_y".lower()]
    if not names or columns != expected:
        got = ",".join(header)[:200]
        raise errors.RawDataError(
            f"{path}, line 1: columns must be image, NAME_x, NAME_y for each"
            f" keypoint; got {got!r}; correct it, or give a file of DeepLabCut"
            " or COCO"
        )
    entries = []
    for row in rows[1:]:
        image, *values = row.cells
        points = _parse_points(f"{path}, line {row.number}", names, values)
        image = image.replace("\\", "/")
        entries.append(Entry(image, points, f"line {row.number}"))
    return Annotations(path, names, entries)


def _read_deeplabcut(path: str, rows: Sequence[tables.Row]) -> Annotations:
    """Reads header lines, then paths of one cell or of one per folder.

    `scorer,,,Ann,Ann` / `bodyparts,,,nose,nose` / `coords,,,x,y`, then
    `labeled-data,VIDEO,img01.png,12.5,30`.
    """
    header = {
        row.cells[0].lower(): row.cells
        for row in rows[: len(_DEEPLABCUT_HEADER)]
        if row.cells[0].lower() in _DEEPLABCUT_HEADER
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
    for row in rows[len(header) :]:
        place = f"line {row.number}"
        points = _parse_points(f"{path}, {place}", names, row.cells[first:])
        image = "/".join(filter(None, row.cells[:first])).replace("\\", "/")
        entries.append(Entry(image, points, place))
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
    with tables.naming(path, "export it again", "is no valid JSON"):
        content = json.loads(text)
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
    files, repeated = _coco_files(path, images)
    entries, unknown = [], []
    left_out = {OTHER_CATEGORY: [], CROWD: [], WITHOUT_KEYPOINTS: []}
    left_out[REPEATED] = repeated
    for i, annotation in enumerate(annotations):
        place = f"annotations[{i}]"
        if _id(annotation.get("category_id")) != _id(category.get("id")):
            left_out[OTHER_CATEGORY].append(place)
        elif not annotation.get("keypoints"):  # A box or a mask alone.
            left_out[WITHOUT_KEYPOINTS].append(place)
        elif annotation.get("iscrowd"):
            left_out[CROWD].append(place)
        elif (image := _id(annotation.get("image_id"))) not in files:
            unknown.append(f"{place}, image_id {annotation.get('image_id')!r}")
        else:
            points = _coco_points(
                f"{path}, {place}", len(names), annotation["keypoints"]
            )
            entries.append(
                Entry(files[image][0], points, place, files[image][1])
            )
    return Annotations(path, names, entries, left_out, unknown)


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


def _coco_files(
    path: str, images: Sequence[dict]
) -> tuple[dict[str, tuple[str, tuple[float | None, float | None]]], list[str]]:
    """Reads the list of images.

    Returns:
        Image id to its path, with forward slashes, and the size that is stated,
        if it is. And the places of images that are listed twice.
    """
    files, repeated = {}, []
    for i, image in enumerate(images):
        number, name = _id(image.get("id")), image.get("file_name")
        if number is None or not isinstance(name, str):
            raise errors.RawDataError(
                f"{path}, images[{i}]: must have a file_name and an id, got"
                f" {name!r} and {image.get('id')!r}; export the file again"
            )
        found = (name.replace("\\", "/"), _stated_size(image))
        if files.setdefault(number, found) != found:
            raise errors.RawDataError(
                f"{path}, images[{i}]: {name!r} has the id {number} of"
                f" {files[number][0]!r}, or its size differs there; export the"
                " file again"
            )
        if files[number] is not found:
            repeated.append(f"images[{i}]")
    return files, repeated


def _id(value: object) -> str | None:
    """An id as text: some programs write 7, others "7" or 7.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | str) else None


def _stated_size(image: dict) -> tuple[float | None, float | None]:
    """(height, width) of an image; None where missing, or zero."""
    return _side(image.get("height")), _side(image.get("width"))


def _side(value: object) -> float | None:
    """Pixels, which some programs write as a text."""
    try:
        side = float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return side if 0.0 < side < np.inf else None


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
