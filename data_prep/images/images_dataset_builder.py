"""A folder of images, with or without keypoints; see README.md."""

from collections.abc import Iterator
from collections.abc import Sequence
import csv
import hashlib
import io
import math
import pathlib

import numpy as np
from PIL import Image
from PIL import ImageOps
import tensorflow_datasets as tfds

from data_prep import clips

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
MAX_SIDE = 512  # Pixels; larger images are shrunk.
JPEG_QUALITY = 95


class Builder(tfds.core.GeneratorBasedBuilder):
    """One clip per image.

    Args:
        val_fraction: share of the images in split `val`; 0: no such split.
        test_fraction: share of the images in split `test`; 0: no such split.
        keypoints: CSV file with columns image, NAME_x, NAME_y, ... or None.
        skip_broken: leave images out that do not decode, and list them in
            `broken`, instead of stopping at the first.

    Raises:
        RawDataError: if the fractions leave nothing to train on, or the
            keypoints cannot be read.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder of your images ({', '.join(SUFFIXES)}), in sub-folders or"
        " not"
    )

    def __init__(
        self,
        *,
        val_fraction: float = 0.0,
        test_fraction: float = 0.0,
        keypoints: str | None = None,
        skip_broken: bool = False,
        **kwargs,
    ):
        if min(val_fraction, test_fraction) < 0 or (
            val_fraction + test_fraction >= 1
        ):
            raise clips.RawDataError(
                f"--val_fraction={val_fraction} and"
                f" --test_fraction={test_fraction} must not be negative, and"
                " add up to less than 1"
            )
        self._val_fraction = val_fraction
        self._test_fraction = test_fraction
        self._annotations = Annotations(keypoints)
        self.broken = clips.BrokenFiles(skip_broken)
        self.num_clips: dict[str, int] = {}  # Per split, once it is known.
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        names = self._annotations.keypoint_names
        roles = {"train": "train"}
        if self._val_fraction:
            roles["val"] = "val"
        if names:
            roles["regression_train"] = "annotated_train"
            if self._test_fraction:
                roles["regression_test"] = "annotated_test"
        return tfds.core.DatasetInfo(
            builder=self,
            description="A folder of images.",
            features=clips.features(len(names)),
            metadata=clips.metadata(
                keypoint_names=names,
                left_right_swaps=left_right_swaps(names),
                normalizing_pair=(
                    (names.index("left_eye"), names.index("right_eye"))
                    if {"left_eye", "right_eye"} <= set(names)
                    else None
                ),
                splits=roles,
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        raw_dir = pathlib.Path(dl_manager.manual_dir)
        names = _image_names(raw_dir)
        self._annotations.check(names, raw_dir)
        splits = self._split(names)
        self.num_clips = {split: len(part) for split, part in splits.items()}
        return {
            split: self._generate_examples(raw_dir, part)
            for split, part in splits.items()
        }

    def _split(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Maps split to image names; no split is empty."""
        positions = {name: position(name) for name in names}
        splits = {"train": [], "val": [], "test": []}
        for name, place in positions.items():
            if place < self._val_fraction:
                splits["val"].append(name)
            elif place >= 1.0 - self._test_fraction:
                splits["test"].append(name)
            else:
                splits["train"].append(name)
        if self._annotations.keypoint_names:
            for split in ("train", "test"):
                splits[f"annotated_{split}"] = [
                    name
                    for name in splits[split]
                    if self._annotations.has(name)
                ]
        if not self._val_fraction:
            del splits["val"]
        if not self._test_fraction:
            del splits["test"]
            splits.pop("annotated_test", None)
        for split, part in splits.items():
            if not part:
                raise clips.RawDataError(self._how_to_fill(split, positions))
        return splits

    def _how_to_fill(self, split: str, positions: dict[str, float]) -> str:
        """Says that `split` is empty, and which fraction would change that."""
        what = "image"
        if split.startswith("annotated_"):
            what = "annotated image"
            positions = {
                name: place
                for name, place in positions.items()
                if self._annotations.has(name)
            }
        text = f"none of the {len(positions)} {what}s falls into split {split}"
        if split == "val":
            need = math.floor(100 * min(positions.values())) + 1
            return f"{text}; --val_fraction={need / 100} is enough for one"
        if split in ("test", "annotated_test"):
            need = math.floor(100 * (1.0 - max(positions.values()))) + 1
            return f"{text}; --test_fraction={need / 100} is enough for one"
        return f"{text}; lower --val_fraction or --test_fraction"

    def _generate_examples(
        self, raw_dir: pathlib.Path, names: Sequence[str]
    ) -> Iterator[tuple[str, dict]]:
        for name in names:
            path = raw_dir / name
            try:
                encoded, size = clips.read_image(path)
            except clips.RawDataError as error:
                self.broken.stop_or_skip(path, error)
                continue
            image, scale = prepare(encoded)
            points = self._annotations.points(name)
            yield name, clips.still(name, image, shrink_points(points, scale))


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


def position(name: str) -> float:
    """Where an image stands between 0 and 1, by its name alone.

    The first 6 bytes of the MD5 of the name, read as a big-endian fraction:
    the same on every machine, whatever other images there are.

    Args:
        name: path relative to the raw folder, with forward slashes.
    """
    digest = hashlib.md5(name.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def prepare(encoded: bytes) -> tuple[bytes, np.ndarray]:
    """Makes an image file an upright RGB image of bounded size.

    An RGB JPEG or PNG that is upright and small enough keeps its bytes.

    Args:
        encoded: a file that Pillow reads. Of an animation, the first frame is
            taken; what is transparent becomes black.

    Returns:
        The JPEG (if it was one before) or PNG, and float `[2]`, the new size
        as a share of the upright old one, (y, x).
    """
    with Image.open(io.BytesIO(encoded)) as image:
        is_lossy = image.format in ("JPEG", "MPO")
        is_plain = (
            image.format in ("JPEG", "PNG")
            and image.mode == "RGB"
            and "transparency" not in image.info
            and getattr(image, "n_frames", 1) == 1  # No animated PNG.
            and image.getexif().get(0x0112, 1) == 1  # Orientation: upright.
        )
        if is_plain and max(image.size) <= MAX_SIDE:
            return encoded, np.ones(2)
        rgb = _to_rgb(ImageOps.exif_transpose(image))
    shrink = min(1.0, MAX_SIDE / max(rgb.size))
    size = tuple(max(1, round(side * shrink)) for side in rgb.size)
    scale = np.divide(size, rgb.size)[::-1]
    if size != rgb.size:
        rgb = rgb.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if is_lossy:
        rgb.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        rgb.save(buffer, "PNG")
    return buffer.getvalue(), scale


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB; transparent parts lie on black, 16-bit greys keep range."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would clip it.
        values = np.asarray(image, np.float64) / 257.0
        image = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(black, image)
    rgb = image.convert("RGB")
    rgb.info.clear()  # Else a palette's transparency is saved with it.
    return rgb


def shrink_points(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Moves points along with an image that is resized.

    The edges of the image stay its edges, and pixel centres lie half a pixel
    inside: y + 0.5 scales, not y.

    Args:
        points: float `[P, 2]`, (y, x), pixels of the old image, 0 = centre of
            the first.
        scale: float `[2]`, new size / old size, (y, x).

    Returns:
        As `points`, in pixels of the new image.
    """
    return (points + 0.5) * scale - 0.5


def left_right_swaps(names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of keypoints whose names differ by left and right only."""
    swaps = []
    for i, name in enumerate(names):
        mirrored = name.replace("left", "right")
        if mirrored != name and mirrored in names:
            swaps.append((i, names.index(mirrored)))
    return swaps


def _image_names(raw_dir: pathlib.Path) -> list[str]:
    """Paths below `raw_dir`, with forward slashes, sorted; no hidden ones."""
    paths = (path.relative_to(raw_dir) for path in raw_dir.rglob("*"))
    names = sorted(
        path.as_posix()
        for path in paths
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.parts)
    )
    if not names:
        raise clips.RawDataError(
            f"{raw_dir} holds no image ({', '.join(SUFFIXES)}); give the folder"
            " of your images as --raw_dir"
        )
    return names
