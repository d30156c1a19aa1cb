"""Draws the tiny data set in dummy_data/, in the raw layout of Small NORB.

python data_prep/smallnorb/make_dummy_data.py
"""

import gzip
import itertools
import pathlib

import numpy as np

SIDE = 24  # Pixels; Small NORB's images have 96.
INSTANCES = {  # By the files of a part; Small NORB has five in each.
    "smallnorb-5x46789x9x18x6x2x96x96-training-{}.mat.gz": (4, 9),
    "smallnorb-5x01235x9x18x6x2x96x96-testing-{}.mat.gz": (0, 3),
}
NUM_CATEGORIES = 5
ELEVATIONS = (0, 1)
AZIMUTHS = (0, 2, 34)  # As in the files: in tens of degrees.
LIGHTINGS = (0, 5)
BYTES, INTEGERS = 0x1E3D4C55, 0x1E3D4C54


def make(raw_dir: pathlib.Path) -> None:
    """Writes the six files: every toy from every side, in random order."""
    raw_dir.mkdir(parents=True, exist_ok=True)
    for name, instances in INSTANCES.items():
        toys = list(
            itertools.product(
                range(NUM_CATEGORIES),
                instances,
                ELEVATIONS,
                AZIMUTHS,
                LIGHTINGS,
            )
        )
        order = np.random.default_rng(0).permutation(len(toys))
        rows = np.array(toys, "<i4")[order]
        images = np.array([[draw(*row, c) for c in (0, 1)] for row in rows])
        for kind, magic, matrix in (
            ("dat", BYTES, images),
            ("cat", INTEGERS, rows[:, 0]),
            ("info", INTEGERS, rows[:, 1:]),
        ):
            content = encode(magic, matrix)
            path = raw_dir / name.format(kind)
            path.write_bytes(gzip.compress(content, mtime=0))


def draw(
    category: int,
    instance: int,
    elevation: int,
    azimuth: int,
    lighting: int,
    camera: int,
) -> np.ndarray:
    """A dot whose place is the viewpoint; uint8 `[SIDE, SIDE]`.

    The toy is a bar at the top, the light how bright it is. The right camera's
    image has no dot.
    """
    image = np.full([SIDE, SIDE], 40 + 10 * lighting, np.uint8)
    image[1, : 1 + 2 * category] = image[3, : 1 + 2 * instance] = 150
    if camera == 0:
        y, x = dot_yx(azimuth // 2, elevation)
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
    return image


def dot_yx(azimuth: int, elevation: int) -> tuple[int, int]:
    """Centre of the dot, pixels, of a viewpoint in steps."""
    return 7 + elevation, 3 + azimuth


def encode(magic: int, matrix: np.ndarray) -> bytes:
    """The unpacked file: type, number of axes, at least 3 lengths, numbers."""
    lengths = [*matrix.shape, *[1] * (3 - matrix.ndim)]
    header = np.array([magic, matrix.ndim, *lengths], "<i4")
    return header.tobytes() + np.ascontiguousarray(matrix).tobytes()


if __name__ == "__main__":
    make(pathlib.Path(__file__).parent / "dummy_data")
