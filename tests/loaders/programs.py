"""Programs that load a SavedModel and run its signatures, without tflm."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from tests.loaders import tensor_files

_HERE = pathlib.Path(__file__).parent
_SOURCE = _HERE / "run_saved_model.cc"


@dataclasses.dataclass(frozen=True)
class Answer:
    """To one request."""

    status: str  # "OK", or an error's name, a colon and its message.
    outputs: dict[str, np.ndarray]  # None of an error.
    median_ms: float | None  # Of a call, if it was asked for.


def find_compiler() -> str | None:
    """Path of g++, None if there is none."""
    return shutil.which("g++")


def build(folder: str | os.PathLike) -> pathlib.Path:
    """Compiles the loader in C++ against the installed TensorFlow.

    Raises:
        RuntimeError: if that fails.
    """
    # Not at the top: it takes seconds, and the other programs need it not.
    import tensorflow as tf

    program = pathlib.Path(folder) / "run_saved_model"
    libraries = pathlib.Path(tf.sysconfig.get_lib())
    command = [
        find_compiler(),
        *tf.sysconfig.get_compile_flags(),
        str(_SOURCE),
        f"--output={program}",
        *map(str, sorted(libraries.glob("libtensorflow_*.so.2"))),
        f"-Wl,-rpath,{libraries}",
    ]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(f"g++ failed: {made.stderr[-2000:]}")
    return program


def in_python(python: str = sys.executable) -> list[str]:
    """The same loader by the TensorFlow of a Python, for `run`."""
    return [python, str(_HERE / "run_saved_model.py")]


def run(
    command: Sequence[str],
    saved_model: str | os.PathLike,
    requests: Sequence[tuple[str, Mapping[str, np.ndarray]]],
    repeat: int = 0,
    num_threads: int = 0,
) -> list[Answer]:
    """Sends requests to a program, one after the other.

    Args:
        command: starts it.
        saved_model: its folder.
        requests: pairs of a signature's name and inputs by their names.
        repeat: calls to time, of each request; 0: none.
        num_threads: of one op; ops run one at a time. 0: as TensorFlow likes.

    Returns:
        As many answers.

    Raises:
        RuntimeError: if the program fails, or the model does not load.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as folder:
        words = []
        for number, (signature, inputs) in enumerate(requests):
            tensor_files.write(f"{folder}/{number}.in", inputs)
            words += [signature, f"{number}.in", f"{number}.out"]
        made = subprocess.run(
            [
                *command,
                f"--repeat={repeat}",
                f"--inter_op_threads={min(1, num_threads)}",
                f"--intra_op_threads={num_threads}",
                str(pathlib.Path(saved_model).resolve()),
                *words,
            ],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        lines = made.stdout.splitlines()
        if made.returncode or len(lines) != len(requests):
            last = made.stderr.strip().splitlines()[-1:]
            raise RuntimeError(
                f"{pathlib.Path(command[-1]).name} ended with"
                f" {made.returncode}: {''.join(last)}"
            )
        answers = []
        for number, line in enumerate(lines):
            if not line.startswith("OK"):
                answers.append(Answer(line, {}, None))
                continue
            milliseconds = float(line.split()[1]) if repeat else None
            outputs = tensor_files.read(f"{folder}/{number}.out")
            answers.append(Answer("OK", outputs, milliseconds))
    return answers
