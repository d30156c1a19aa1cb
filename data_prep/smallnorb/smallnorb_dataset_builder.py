"""Small NORB: toys from all sides, under several lights; see README.md.

A clip is one toy under one light: its frames are the viewpoints.
"""

import collections
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import gzip
import io
import math
import pathlib
import tempfile
import zlib

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds
from tensorflow_datasets.datasets.smallnorb import (
    smallnorb_dataset_builder as official,
)

from data_prep import clip_builder
from data_prep import clips
from tflm import errors

CATEGORIES = ("animal", "human", "airplane", "truck", "car")  # As in `cat`.
PARTS = {
    "training": "smallnorb-5x46789x9x18x6x2x96x96-training-{}.mat",
    "testing": "smallnorb-5x01235x9x18x6x2x96x96-testing-{}.mat",
}
FACTORS = ("azimuth", "elevation", "lighting")
VAL_INSTANCE = 9  # Of the training instances of each category.
NUM_INSTANCES, NUM_ELEVATIONS, NUM_AZIMUTHS, NUM_LIGHTINGS = 10, 9, 18, 6
MAX_BYTES = 2**30  # Of an unpacked file; the largest of Small NORB has 2**29.
HOMEPAGE = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"

_TYPES = {  # What the first four bytes of a file say.
    0x1E3D4C55: np.dtype("uint8"),
    0x1E3D4C54: np.dtype("<i4"),
}
_MOST_HEADER_BYTES = 4 * (2 + 4)
_COPY_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Matrix:
    """An unpacked file: a header, then numbers."""

    path: pathlib.Path
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int  # Of the numbers, bytes.

    def read(self) -> np.ndarray:
        return np.fromfile(self.path, self.dtype, offset=self.start).reshape(
            self.shape
        )


def _read(source: clip_builder.Source) -> Iterator[dict]:
    """Reads a clip; `spec` is its id, the matrix of images, its light, views.

    A view is a row of the matrix, its azimuth and its elevation, in steps.
    """
    clip_id, images, lighting, views = source.spec
    _, num_cameras, height, width = images.shape
    frames = []
    with images.path.open("rb") as file:
        for index, (row, azimuth, elevation) in enumerate(views):
            # The left camera's image comes first.
            file.seek(images.start + int(row) * num_cameras * height * width)
            gray = Image.frombytes(
                "L", (width, height), file.read(height * width)
            )
            buffer = io.BytesIO()
            gray.convert("RGB").save(buffer, "PNG")
            frames.append(
                clips.frame(
                    buffer.getvalue(),
                    index,
                    azimuth=int(azimuth),
                    elevation=int(elevation),
                    lighting=lighting,
                )
            )
    yield clips.clip(clip_id, frames)


class Builder(clip_builder.ClipBuilder, skip_registration=True):
    """One clip per toy and light: all its viewpoints, by the left camera.

    It is not registered with tfds, whose own builder has the name.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "The scale of every frame."}
    BUILDER_CONFIGS = [  # None of them: all categories.
        tfds.core.BuilderConfig(name=category, description=f"Only {category}.")
        for category in CATEGORIES
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "the folder that holds the six smallnorb-*.mat.gz files, or these"
        f" unpacked, from {HOMEPAGE}"
    )
    RAW_DIR_IS_OPTIONAL = True  # Without it, the files are downloaded.
    read = staticmethod(_read)

    @property
    def url_infos(self) -> dict[str, object]:
        """What each download must be: tfds' own builder knows it."""
        return official.Builder.url_infos

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Toys from all sides, under several lights.",
            homepage=HOMEPAGE,
            features=clips.features(0, factors=FACTORS),
            metadata=clips.metadata(
                keypoint_names=[],
                left_right_swaps=[],
                normalizing_pair=None,
                splits={"train": "train", "val": "val", "test": "test"},
            ),
        )

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig,
    ) -> None:
        # Beside the shards: there is room, and what a killed run leaves there
        # the next one removes.
        with tempfile.TemporaryDirectory(dir=self.data_dir) as folder:
            self._unpacked_dir = pathlib.Path(folder)
            super()._download_and_prepare(dl_manager, download_config)

    def _raw_dir(
        self, dl_manager: tfds.download.DownloadManager
    ) -> pathlib.Path:
        return super()._raw_dir(dl_manager) or _download(dl_manager)

    def sources(
        self, raw_dir: pathlib.Path
    ) -> dict[str, list[clip_builder.Source]]:
        splits = {"train": [], "val": [], "test": []}
        categories = CATEGORIES
        if self.builder_config:
            categories = (self.builder_config.name,)
        for part in PARTS:
            images, toys = self._read_part(raw_dir, part)
            for (category, instance, lighting), views in toys.items():
                split = "test"
                if part == "training":
                    split = "val" if instance == VAL_INSTANCE else "train"
                if CATEGORIES[category] in categories:
                    toy = f"{CATEGORIES[category]}_{instance}"
                    spec = (f"{toy}_{lighting}", images, lighting, views)
                    splits[split].append(
                        clip_builder.Source(toy, len(views), spec)
                    )
        return splits

    def _read_part(
        self, raw_dir: pathlib.Path, part: str
    ) -> tuple[Matrix, Mapping[tuple[int, int, int], np.ndarray]]:
        """Reads what is in the images of a part, not these themselves.

        Returns:
            The images, uint8 `[N, 2, H, W]`; and a map from (category,
            instance, lighting) to its views, int `[n, 3]`: row, azimuth,
            elevation, ordered by elevation, then by azimuth.
        """
        names = {
            kind: raw_dir / PARTS[part].format(kind)
            for kind in ("dat", "cat", "info")
        }
        matrices = {
            kind: _read_header(self._unpack(name), name)
            for kind, name in names.items()
        }
        images = matrices["dat"]
        num_images = images.shape[0]
        for kind, shape, dtype in (
            ("dat", (num_images, 2, *images.shape[2:4]), np.uint8),
            ("cat", (num_images,), np.int32),
            ("info", (num_images, 4), np.int32),
        ):
            matrix = matrices[kind]
            if (matrix.shape, matrix.dtype) != (shape, np.dtype(dtype)):
                raise errors.RawDataError(
                    f"{names[kind]} must be {np.dtype(dtype)} {list(shape)}"
                    f" beside {names['dat'].name}, but is {matrix.dtype}"
                    f" {list(matrix.shape)}; fetch the files again"
                )
        category = matrices["cat"].read()
        instance, elevation, azimuth, lighting = matrices["info"].read().T
        for values, limit, step, kind in (
            (category, len(CATEGORIES), 1, "cat"),
            (instance, NUM_INSTANCES, 1, "info"),
            (elevation, NUM_ELEVATIONS, 1, "info"),
            (azimuth, 2 * NUM_AZIMUTHS, 2, "info"),
            (lighting, NUM_LIGHTINGS, 1, "info"),
        ):
            if not np.isin(values, np.arange(0, limit, step)).all():
                raise errors.RawDataError(
                    f"{names[kind]} holds numbers that mean nothing in"
                    " Small NORB; fetch the file again"
                )
        rows = collections.defaultdict(list)
        for row in np.lexsort((azimuth, elevation)):
            key = (category[row], instance[row], lighting[row])
            rows[tuple(map(int, key))].append(
                (row, azimuth[row] // 2, elevation[row])
            )
        return images, {key: np.array(views) for key, views in rows.items()}

    def _unpack(self, path: pathlib.Path) -> pathlib.Path:
        """The file, unpacked if it is not: images are not read in its order."""
        packed = path.with_name(f"{path.name}.gz")
        if path.is_file():
            return path
        if not packed.is_file():
            raise errors.RawDataError(
                f"{packed} is missing, and so is {path.name}; download it from"
                f" {HOMEPAGE}"
            )
        unpacked = self._unpacked_dir / path.name
        try:
            with gzip.open(packed) as source, unpacked.open("wb") as target:
                while block := source.read(_COPY_BYTES):
                    target.write(block)
                    if target.tell() > MAX_BYTES:
                        raise errors.RawDataError(
                            f"{packed} unpacks to more than Small NORB has;"
                            " fetch it again"
                        )
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise errors.RawDataError(
                f"{packed} does not unpack ({error}); fetch it again"
            ) from None
        return unpacked


def _download(dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
    """Downloads what tfds' own builder does; returns the folder."""
    urls = {
        info.filename: url for url, info in official.Builder.url_infos.items()
    }
    try:
        paths = dl_manager.download(urls)
    except Exception as error:  # Of the network; they have no common class.
        raise errors.RawDataError(
            f"the download from {HOMEPAGE} failed ({error}); get the files"
            " yourself and give their folder as --raw_dir"
        ) from error
    folder = pathlib.Path(dl_manager.download_dir) / "smallnorb"
    folder.mkdir(exist_ok=True)
    for name, path in paths.items():
        pathlib.Path(path).rename(folder / name)
    return folder


def _read_header(path: pathlib.Path, name: pathlib.Path) -> Matrix:
    """Reads the start of an unpacked file.

    It is the type, the number of axes and their lengths, of which there are at
    least three; all are 32-bit little-endian integers.

    Args:
        path: the unpacked file.
        name: what to call it in errors.

    Raises:
        RawDataError: if the file is of another format or length.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_HEADER_BYTES)
    header = np.frombuffer(content[: len(content) // 4 * 4], "<i4").tolist()
    magic, num_axes, *lengths = header if len(header) > 1 else (0, 0)
    shape = tuple(lengths[:num_axes])
    if magic not in _TYPES or num_axes < 1 or min(shape, default=0) < 1:
        raise errors.RawDataError(
            f"{name} is no matrix file of Small NORB; fetch it again"
        )
    dtype, start = _TYPES[magic], 4 * (2 + max(3, num_axes))
    num_bytes = path.stat().st_size
    if num_bytes != start + math.prod(shape) * dtype.itemsize:
        raise errors.RawDataError(
            f"{name} is cut short, or longer than its start says ({num_bytes}"
            f" bytes for {dtype} {list(shape)}); fetch it again"
        )
    return Matrix(path, dtype, shape, start)
