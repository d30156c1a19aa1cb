"""Draws the tiny data set in dummy_data/, in the raw layouts of VoxCeleb.

python data_prep/voxceleb/make_dummy_data.py
"""

import pathlib

import numpy as np
from PIL import Image

FACE_YX = np.array([[9, 8], [9, 15], [16, 12]])  # Eyes and mouth.
VIDEOS = {  # Folder -> images in it.
    "Ada_Example/1.6/aB-1/1": ("0000025.jpg", "0000050.jpg"),
    "Ada_Example/1.6/aB-1/2": ("0000025.jpg",),
    "Ada_Example/1.6/aB-1/10": ("0000025.jpg",),
    "Ada_Example/1.6/cD_2/1": ("0000025.jpg", "0000050.jpg"),
    "Bo_Example/eF3": ("0000100.jpg", "0000200.jpg", "0000300.jpg"),
    "Zoe_Example/gH4/00001": ("1.jpg", "2.jpg"),  # Falls into split val.
}


def make(raw_dir: pathlib.Path) -> None:
    """Writes 11 frames of 4 videos of 3 faces, whose features move."""
    random = np.random.default_rng(0)
    for number, (folder, names) in enumerate(VIDEOS.items()):
        (raw_dir / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            pixels = np.full([24, 24, 3], 200, np.uint8)
            pixels[..., 2] = 30 * number
            for y, x in FACE_YX + random.integers(-3, 4, size=2):
                pixels[y - 1 : y + 2, x - 1 : x + 2] = (60, 20, 20)
            Image.fromarray(pixels).save(
                raw_dir / folder / name, quality=90, subsampling=0
            )


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
