"""Draws the tiny data set in dummy_data/, in the raw layout of CelebA.

python data_prep/celeba/make_dummy_data.py
"""

import pathlib

import numpy as np
from PIL import Image
from PIL import ImageDraw

HEADER = (
    "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y"
    " leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
)
SIZE = (44, 54)  # (width, height); CelebA's is (178, 218).
FACE_XY = np.array([[17, 28], [27, 28], [22, 34], [18, 38], [26, 38]])
MAFL_TRAIN = range(1, 6)
MAFL_TEST = range(6, 8)
UNLABELLED = range(8, 11)
VALIDATION_PARTITION = range(11, 12)


def make(raw_dir: pathlib.Path) -> None:
    """Writes 11 faces, whose keypoints are red dots, and the lists."""
    random = np.random.default_rng(0)
    (raw_dir / "img_align_celeba").mkdir(parents=True, exist_ok=True)
    (raw_dir / "MAFL").mkdir(exist_ok=True)
    rows = []
    for number in range(1, 12):
        name = f"{number:06d}.jpg"
        points = FACE_XY + random.integers(-3, 4, size=2)
        image = Image.new("RGB", SIZE, (200, 170, 20 * number))
        draw = ImageDraw.Draw(image)
        for x, y in points.tolist():
            draw.rectangle((x - 1, y - 1, x + 1, y + 1), (255, 0, 0))
        image.save(
            raw_dir / "img_align_celeba" / name, quality=90, subsampling=0
        )
        if number not in UNLABELLED:
            rows.append(" ".join([name, *map(str, points.ravel().tolist())]))
    _write(
        raw_dir / "list_landmarks_align_celeba.txt", len(rows), HEADER, *rows
    )
    _write(
        raw_dir / "list_eval_partition.txt",
        *(
            f"{number:06d}.jpg {int(number in VALIDATION_PARTITION)}"
            for number in range(1, 12)
        ),
    )
    _write(raw_dir / "MAFL/training.txt", *(f"{n:06d}.jpg" for n in MAFL_TRAIN))
    _write(raw_dir / "MAFL/testing.txt", *(f"{n:06d}.jpg" for n in MAFL_TEST))


def _write(path: pathlib.Path, *lines: object) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
