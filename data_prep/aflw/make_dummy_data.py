"""Draws the tiny data set in dummy_data/, in the layout of the AFLW release.

python data_prep/aflw/make_dummy_data.py
"""

import pathlib

import numpy as np
from PIL import Image
import scipy.io

NUM_IMAGES = {"train": 11, "test": 3}
FACE_YX = np.array(  # From 0 at the centre of the first pixel.
    [[18, 14], [18, 30], [26, 22], [34, 16], [34, 28]]
)
COLOURS = np.array(  # Of the keypoints.
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]],
    np.uint8,
)
BACKGROUND = np.array([70, 80, 90], np.uint8)


def make(raw_dir: pathlib.Path, magnification: int = 1) -> None:
    """Writes 14 faces, whose keypoints are dots of 3 x 3 pixels, and the lists.

    Args:
        raw_dir: the folder to write to.
        magnification: how many pixels a side one pixel becomes.
    """
    random = np.random.default_rng(0)
    for part, num_images in NUM_IMAGES.items():
        names, points, sizes = [], [], []
        for number in range(num_images):
            names.append(f"{number % 2}/{part}{number:05d}_{number + 46}.jpg")
            points.append(FACE_YX + random.integers(-3, 4, size=2))
            height, width = 44 + number, 48
            sizes.append([height * magnification, width * magnification])
            pixels = np.broadcast_to(BACKGROUND, (height, width, 3)).copy()
            for (y, x), colour in zip(points[-1], COLOURS):
                pixels[y - 1 : y + 2, x - 1 : x + 2] = colour
            pixels = pixels.repeat(magnification, 0).repeat(magnification, 1)
            path = raw_dir / "output" / names[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, quality=90, subsampling=0)
        (raw_dir / f"aflw_{part}_images.txt").write_text(
            "".join(f"{name}\n" for name in names)
        )
        scipy.io.savemat(
            raw_dir / f"aflw_{part}_keypoints.mat",
            {
                "gt": (np.array(points) + 0.5) * magnification - 0.5,
                "hw": np.array(sizes),
            },
            do_compression=True,
        )


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
