"""Named tensors in a file, for programs that share no library.

Of each tensor a line of text, `NAME TYPE SIZE SIZE ...`, TYPE as TensorFlow
names it; then its numbers, row by row, in the order of bytes of the machine
(both ends are one). A string is its length, 8 bytes, and its content.
"""

from collections.abc import Mapping
import os
import pathlib

import numpy as np

_TYPES = {
    "uint8": np.uint8,
    "int32": np.int32,
    "int64": np.int64,
    "float": np.float32,
    "double": np.float64,
    "string": np.object_,
}
_NAMES = {np.dtype(dtype): name for name, dtype in _TYPES.items()}


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors; strings are arrays of bytes objects."""
    parts = []
    for name, tensor in tensors.items():
        words = [name, _NAMES[tensor.dtype], *map(str, tensor.shape)]
        parts.append(" ".join(words).encode() + b"\n")
        if tensor.dtype == np.object_:
            for text in tensor.flat:
                parts += [np.uint64(len(text)).tobytes(), text]
        else:
            parts.append(tensor.tobytes())
    pathlib.Path(path).write_bytes(b"".join(parts))


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads what `write`, or the program in C++, wrote."""
    content = pathlib.Path(path).read_bytes()
    tensors, start = {}, 0
    while start < len(content):
        end = content.index(b"\n", start)
        name, type_name, *sizes = content[start:end].decode().split(" ")
        shape, start = [int(size) for size in sizes], end + 1
        count = int(np.prod(shape, dtype=np.int64))
        if type_name == "string":
            tensor = np.empty([count], np.object_)
            for index in range(count):
                length = int(np.frombuffer(content, np.uint64, 1, start)[0])
                tensor[index] = content[start + 8 : start + 8 + length]
                start += 8 + length
        else:
            dtype = np.dtype(_TYPES[type_name])
            tensor = np.frombuffer(content, dtype, count, start)
            start += count * dtype.itemsize
        tensors[name] = tensor.reshape(shape)
    return tensors
