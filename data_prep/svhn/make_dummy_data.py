"""Draws the tiny data set in dummy_data/, in the raw layout of SVHN.

python data_prep/svhn/make_dummy_data.py
"""

from collections.abc import Mapping
from collections.abc import Sequence
import gzip
import io
import pathlib
import tarfile

import h5py
import numpy as np
from PIL import Image
from PIL import ImageDraw

SIZE = (60, 32)  # (width, height), pixels.
FIELDS = ("height", "label", "left", "top", "width")
# Per archive: house numbers as written, by image. SVHN counts its images
# through; here some are left out, to get to the first of split val.
NUMBERS = {
    "train": {1: "12", 2: "7", 3: "305", 4: "46", 5: "89", 14: "61", 47: "4"},
    "test": {1: "20", 2: "4", 3: "198"},
    "extra": {1: "71", 2: "8", 3: "635"},
}
DIGIT_SIZE = (12, 20)  # (width, height) of a box, pixels.
DOT_XY = (3, 15)  # Centre of the white dot, from the left top of the box.


def make(raw_dir: pathlib.Path) -> None:
    """Writes three archives of house numbers.

    A digit is a frame of the colour of its number, with a white dot of 3 pixels
    near its left bottom and a bar as high as the digit is large.
    """
    raw_dir.mkdir(parents=True, exist_ok=True)
    for archive, numbers in NUMBERS.items():
        files, boxes = {}, {}
        for image, number in numbers.items():
            files[f"{image}.png"], boxes[f"{image}.png"] = _draw(number)
        files["digitStruct.mat"] = digit_struct(boxes)
        write_archive(raw_dir / f"{archive}.tar.gz", archive, files)


def _draw(number: str) -> tuple[bytes, list[tuple]]:
    """A PNG of `number`, and the boxes of its digits, as in FIELDS."""
    hue = int(number) * 37 % 200
    image = Image.new("RGB", SIZE, (hue, 60, 200 - hue))
    draw = ImageDraw.Draw(image)
    width, height = DIGIT_SIZE
    boxes = []
    for place, digit in enumerate(number):
        left, top = 3 + 18 * place, 5 + place
        draw.rectangle(
            (left, top, left + width - 1, top + height - 1),
            outline=(255, 200, hue),
        )
        bar = top + height - 2 - int(digit)
        draw.line((left + 9, bar, left + 9, top + height - 2), (0, 0, 0))
        x, y = left + DOT_XY[0], top + DOT_XY[1]
        draw.rectangle((x - 1, y - 1, x + 1, y + 1), (255, 255, 255))
        boxes.append((height, int(digit) or 10, left, top, width))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue(), boxes


def digit_struct(boxes: Mapping[str, Sequence[tuple]]) -> bytes:
    """A file as MATLAB 7.3 writes it, of the boxes of each image.

    One digit has its numbers in place, several have references to them.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        values = file.create_group("#refs#")

        def refer(value: np.ndarray) -> h5py.Reference:
            name = str(len(values))
            values[name] = value
            return values[name].ref

        names, groups = [], []
        for image, digits in boxes.items():
            names.append(refer(np.array([[ord(c)] for c in image], np.uint16)))
            group = values.create_group(str(len(values)))
            groups.append(group.ref)
            for field, column in zip(FIELDS, zip(*digits)):
                scalars = [np.array([[float(value)]]) for value in column]
                group[field] = (
                    scalars[0]
                    if len(scalars) == 1
                    else _column([refer(scalar) for scalar in scalars])
                )
        file["digitStruct/bbox"] = _column(groups)
        file["digitStruct/name"] = _column(names)
    return buffer.getvalue()


def _column(references: Sequence[h5py.Reference]) -> np.ndarray:
    """References as `[n, 1]`."""
    column = np.empty([len(references), 1], h5py.ref_dtype)
    column[:, 0] = references
    return column


def write_archive(
    path: pathlib.Path, folder: str, files: dict[str, bytes]
) -> None:
    """Packs files into a folder of a .tar.gz, alike on every run."""
    with (
        gzip.GzipFile(path, "wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
