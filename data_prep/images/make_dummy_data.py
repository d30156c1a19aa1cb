"""Draws the tiny image folder in dummy_data/, with a keypoint file.

python data_prep/images/make_dummy_data.py
"""

import pathlib

from PIL import Image

NAMES = (
    "a.jpg",
    "b.png",
    "c.bmp",
    "more/d.webp",
    "more/e.GIF",
    "more/deeper/f.jpeg",
)


def make(raw_dir: pathlib.Path) -> None:
    """Writes 6 plain images, 4 annotated ones among them, and a text file."""
    lines = ["image,left_eye_x,left_eye_y,right_eye_x,right_eye_y"]
    for number, name in enumerate(NAMES):
        path = raw_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12 + number, 10), (40 * number, 90, 0)).save(path)
        if number < 4:
            lines.append(f"{name},{number},2.5,{number + 4},3")
    (raw_dir / "annotations.csv").write_text("\n".join(lines) + "\n")
    (raw_dir / "notes.txt").write_text("Not an image.\n")


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
