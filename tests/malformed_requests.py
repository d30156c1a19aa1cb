"""Requests that a server of a landmark model must refuse, and survive."""

import struct

import numpy as np

_NOT_A_NUMBER = np.full([1, 8, 8, 3], 0.5, np.float32)
_NOT_A_NUMBER[0, 3, 4, 1] = np.nan
_PIXELS = np.full([2, 8, 8, 3], 128, np.uint8)

# What is wrong: signature, inputs.
REQUESTS = {
    "no batch": ("serving_default", {"images": _PIXELS[0]}),
    "a number": ("serving_default", {"images": np.uint8(3)}),
    "too many axes": ("serving_default", {"images": _PIXELS[None]}),
    "one channel": ("serving_default", {"images": _PIXELS[..., :1]}),
    "four channels": ("heatmaps", {"images": np.zeros([1, 8, 8, 4], np.uint8)}),
    "six channels": ("keypoints", {"images": np.zeros([1, 8, 8, 6], np.uint8)}),
    "twelve channels": (
        "reconstruct",
        {
            "style_images": _PIXELS[:1],
            "geometry_images": np.zeros([1, 8, 8, 12], np.uint8),
        },
    ),
    "one row": ("serving_default", {"images": _PIXELS[:, :1]}),
    "no rows": ("serving_default", {"images": _PIXELS[:, :0]}),
    "no images": ("serving_default", {"images": _PIXELS[:0]}),
    "floats as pixels": ("serving_default", {"images": _PIXELS / 255.0}),
    "pixels as floats": ("serving_float", {"images": np.float32(_PIXELS)}),
    "NaN": ("serving_float", {"images": _NOT_A_NUMBER}),
    "numbers as files": ("predict_bytes", {"image_bytes": _PIXELS[0, 0, 0]}),
    "files in a table": ("predict_bytes", {"image_bytes": [[b"a"], [b"b"]]}),
    "unequal counts": (
        "reconstruct",
        {"style_images": _PIXELS, "geometry_images": _PIXELS[:1]},
    ),
    "one input of two": ("reconstruct", {"style_images": _PIXELS}),
    "another name": ("serving_default", {"pictures": _PIXELS}),
    "nothing": ("serving_default", {}),
    "no such signature": ("no_such_signature", {"images": _PIXELS}),
}


def png_header(width: int, height: int) -> bytes:
    """The first 33 bytes of a PNG file, its checksum left at 0."""
    size = struct.pack(">II", width, height)
    chunk = b"IHDR" + size + b"\x08\x02\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + bytes(4)


# Files that fail alone, and what is said about each.
FILES = {
    b"": "neither JPEG nor PNG",
    png_header(10_000, 5_000): "more than 25000000 pixels",
    png_header(40, 50): "does not decode",
}
