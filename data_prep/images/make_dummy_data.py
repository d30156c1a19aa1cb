"""Draws the tiny image folder in dummy_data/, with keypoint files.

python data_prep/images/make_dummy_data.py
"""

import json
import pathlib

from PIL import Image
from PIL import ImageDraw

NAMES = (
    "a.jpg",
    "b.png",
    "c.bmp",
    "more/d.webp",
    "more/e.GIF",
    "more/deeper/f.jpeg",
)
NUM_ANNOTATED = 4  # The first ones.
KEYPOINTS = ("left_eye", "right_eye")
PLAIN = "annotations.csv"
DEEPLABCUT = "CollectedData_Ann.csv"
COCO = "coco.json"
FOLDER = "labeled-data/video"  # That the images were in, says DEEPLABCUT.
_SAVE_OPTIONS = {  # Else the red of a dot runs into its neighbours.
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True},
}


def make(raw_dir: pathlib.Path) -> None:
    """Writes 6 images, 4 of them annotated, and files that are no images.

    The left eye is a red dot of 3 x 3 pixels, the right one a blue one. The
    three keypoint files say the same.
    """
    marks = {}  # Image name to x, y of the left and of the right eye.
    for number, name in enumerate(NAMES):
        path = raw_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        eyes = [(4 + number, 6), (20 - number, 9 + number)]
        image = Image.new("RGB", (28 + number, 20), (40, 90 + 20 * number, 0))
        draw = ImageDraw.Draw(image)
        for (x, y), colour in zip(eyes, ("red", "blue")):
            draw.rectangle((x - 1, y - 1, x + 1, y + 1), colour)
        image.save(path, **_SAVE_OPTIONS.get(path.suffix, {}))
        if number < NUM_ANNOTATED:
            marks[name] = eyes
    _write_plain(raw_dir / PLAIN, marks)
    _write_deeplabcut(raw_dir / DEEPLABCUT, marks)
    _write_coco(raw_dir / COCO, marks)
    (raw_dir / "notes.txt").write_text("Not an image.\n")


def _write_plain(path: pathlib.Path, marks: dict) -> None:
    columns = [f"{name}_{axis}" for name in KEYPOINTS for axis in "xy"]
    _write_lines(path, ["image", *columns], *_rows(marks))


def _write_deeplabcut(path: pathlib.Path, marks: dict) -> None:
    num_columns = 2 * len(KEYPOINTS)
    _write_lines(
        path,
        ["scorer", *["Ann"] * num_columns],
        ["bodyparts", *(name for name in KEYPOINTS for _ in "xy")],
        ["coords", *["x", "y"] * len(KEYPOINTS)],
        *([f"{FOLDER}/{name}", *values] for name, *values in _rows(marks)),
    )


def _rows(marks: dict) -> list[list]:
    return [[name, *left, *right] for name, (left, right) in marks.items()]


def _write_lines(path: pathlib.Path, *rows: list) -> None:
    lines = (",".join(map(str, row)) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines))


def _write_coco(path: pathlib.Path, marks: dict) -> None:
    content = {
        "images": [
            {"id": number, "file_name": name.rpartition("/")[-1]}
            for number, name in enumerate(NAMES, start=1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": NAMES.index(name) + 1,
                "category_id": 1,
                "keypoints": [*left, 2, *right, 2],
                "num_keypoints": 2,
            }
            for number, (name, (left, right)) in enumerate(marks.items(), 1)
        ],
        "categories": [{"id": 1, "name": "face", "keypoints": KEYPOINTS}],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
