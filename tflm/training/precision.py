"""The type that convolutions compute in."""

import pathlib

import tensorflow as tf

_BFLOAT16_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}


def resolve(precision: str) -> str:
    """Turns "auto" into what this machine computes fastest.

    Args:
        precision: "float32", "bfloat16" or "auto".

    Returns:
        "bfloat16" for "auto" on a CPU that has units for it (twice the speed
        there, slower elsewhere); else "float32" for "auto".
    """
    if precision != "auto":
        return precision
    if tf.config.list_physical_devices("GPU"):
        return "float32"
    return "bfloat16" if _BFLOAT16_UNITS & cpu_flags() else "float32"


def cpu_flags() -> set[str]:
    """What the CPU can do, as Linux names it; empty elsewhere."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:  # Not Linux.
        return set()
    lines = (line.partition(":") for line in text.splitlines())
    return {
        flag
        for key, _, value in lines
        if key.strip() in ("flags", "Features")
        for flag in value.split()
    }
