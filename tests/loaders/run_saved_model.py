"""What run_saved_model.cc does, by the TensorFlow of any Python.

A program of its own: with another TensorFlow, and where tflm is not installed.
"""

import argparse
import importlib.util
import statistics
import sys
import time

import tensor_files  # Beside this program.
import tensorflow as tf

_WARM_UP_CALLS = 5


def _status(error: Exception) -> str:
    """As TensorFlow in C++ writes it, in one line."""
    message = " ".join(str(error).split())
    if isinstance(error, tf.errors.OpError):
        codes = vars(tf.errors).items()
        names = {code: name for name, code in codes if name.isupper()}
        return f"{names[error.error_code]}: {message}"
    return f"INVALID_ARGUMENT: {message}"


def _answer(
    signatures, name: str, inputs_path: str, outputs_path: str, repeat: int
) -> str:
    if name not in signatures:
        return f"NOT_FOUND: there is no signature {name}"
    given = tensor_files.read(inputs_path)
    inputs = {key: tf.constant(value) for key, value in given.items()}

    def run():
        outputs = signatures[name](**inputs)
        return {key: output.numpy() for key, output in outputs.items()}

    try:
        outputs = run()
    except (TypeError, ValueError, tf.errors.OpError) as error:
        return _status(error)
    tensor_files.write(outputs_path, outputs)
    if not repeat:
        return "OK"
    for _ in range(_WARM_UP_CALLS):
        run()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return f"OK {1e3 * statistics.median(seconds)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=0)
    parser.add_argument("--inter_op_threads", type=int, default=0)
    parser.add_argument("--intra_op_threads", type=int, default=0)
    parser.add_argument("folder")
    parser.add_argument("requests", nargs="+")
    arguments = parser.parse_args()
    if importlib.util.find_spec("tflm") is not None:
        sys.exit("tflm can be imported here, so nothing would be proved")
    tf.config.threading.set_inter_op_parallelism_threads(
        arguments.inter_op_threads
    )
    tf.config.threading.set_intra_op_parallelism_threads(
        arguments.intra_op_threads
    )
    loaded = tf.saved_model.load(arguments.folder)
    words = iter(arguments.requests)
    for request in zip(words, words, words):
        answer = _answer(loaded.signatures, *request, arguments.repeat)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
