"""How a served model bears many clients, some of whom send nonsense.

    python -m tests.benchmarks.serving_benchmark --workdir=runs/puppets

Run it on an idle machine. Without --server the model is served by the double of
TensorFlow Serving, in a process of its own; with it by a real server. It prints
requests per second, latencies, errors and the server's memory. The exit status
is 1 if a good request failed or had another answer than at first, a malformed
one was not refused, the server died, or its memory grew by more than a quarter.
"""

import contextlib
import itertools
import pathlib
import threading
import time

from absl import flags
import numpy as np

from tflm import command_line  # Before TensorFlow: it quiets its start.

# isort: split
from tests import malformed_requests
from tests import serving_double
from tflm import client
from tflm import errors
from tflm.serving import publishing
from tflm.training import checkpoints

_WORKDIR = flags.DEFINE_string("workdir", None, "A run that was exported.")
_SAVED_MODEL = flags.DEFINE_string(
    "saved_model", None, "Instead of it, the folder with the versions."
)
_SERVER = flags.DEFINE_string(
    "server", None, "Instead of both, HOST:PORT (gRPC) of a running server."
)
_MODEL = flags.DEFINE_string(
    "model", serving_double.MODEL, "With --server, the model's name there."
)
_CLIENTS = flags.DEFINE_integer("clients", 8, "Clients at a time.")
_SECONDS = flags.DEFINE_float("seconds", 60.0, "To run for.")

_FIRST_MEMORY = 10.0  # Seconds after the start; sooner in short runs.
_MEMORY_GROWTH = 1.25
_ONE_MALFORMED_IN = 10  # Requests.
_SIZES = ((218, 178), (480, 640), (1_080, 1_920))  # Of images, (H, W), px.


class _Clients:
    """Threads that ask, and the sum of what they saw.

    Attributes:
        latencies: of good requests that were answered, seconds.
        num_refused: malformed requests that were, as they should be.
        problems: what went otherwise, a line each.
    """

    def __init__(self, address: str):
        self.latencies: list[float] = []
        self.num_refused = 0
        self.problems: list[str] = []
        self._address = address
        self._lock = threading.Lock()
        server = client.GrpcClient(address, _MODEL.value)
        self._good = [
            (signature, inputs, server.predict(signature, **inputs))
            for signature, inputs in _good_requests()
        ]
        server.close()

    def run(self, until: float) -> list[threading.Thread]:
        """Starts them all; they end at `until`, of time.monotonic()."""
        threads = [
            threading.Thread(target=self._ask, args=(number, until))
            for number in range(_CLIENTS.value)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _ask(self, number: int, until: float) -> None:
        server = client.GrpcClient(self._address, _MODEL.value)
        malformed = itertools.cycle(malformed_requests.REQUESTS.items())
        good = itertools.cycle(self._good)
        for _ in range(number):  # Not all the same at the same time.
            next(malformed), next(good)
        for turn in itertools.count(number):
            if time.monotonic() > until:
                break
            if turn % _ONE_MALFORMED_IN == 0:
                name, (signature, inputs) = next(malformed)
                self._ask_malformed(server, name, signature, inputs)
            else:
                self._ask_good(server, *next(good))
        server.close()

    def _ask_malformed(self, server, name, signature, inputs) -> None:
        problem = f"answered although malformed: {name}"
        try:
            server.predict(signature, **inputs)
        except client.Refused:
            problem = None
        except errors.UserError as error:
            problem = str(error)
        with self._lock:
            if problem:
                self.problems.append(problem)
            else:
                self.num_refused += 1

    def _ask_good(self, server, signature, inputs, expected) -> None:
        start = time.monotonic()
        try:
            answer = server.predict(signature, **inputs)
        except errors.UserError as error:
            with self._lock:
                self.problems.append(str(error))
            return
        seconds = time.monotonic() - start
        same = np.allclose(
            answer["landmarks"], expected["landmarks"], atol=1e-3
        ) and answer.get("error") == expected.get("error")
        with self._lock:
            self.latencies.append(seconds)
            if not same:
                self.problems.append(f"another answer than first: {signature}")


def main() -> int:
    with contextlib.ExitStack() as stack:
        address, pid = _SERVER.value, None
        if address is None:
            server = stack.enter_context(
                serving_double.in_own_process(_saved_model())
            )
            address, pid = server.grpc, server.pid
        clients = _Clients(address)
        start = time.monotonic()
        threads = clients.run(start + _SECONDS.value)
        first_memory = min(_FIRST_MEMORY, _SECONDS.value / 2)
        time.sleep(first_memory)
        before = _resident_mb(pid)
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - start
        after = _resident_mb(pid)

    num_requests = len(clients.latencies) + clients.num_refused
    problems = list(clients.problems)
    if not clients.latencies:
        problems.append("no good request was answered")
    if after > _MEMORY_GROWTH * before:
        problems.append("the server's memory grew")
    if pid is not None and not after:
        problems.append("the server died")
    p50, p99 = 1e3 * np.percentile(clients.latencies or [np.nan], [50, 99])
    print(f"clients:           {_CLIENTS.value:8}")
    print(f"requests/s:        {num_requests / seconds:8.1f}")
    print(f"latency, p50:      {p50:8.1f} ms")
    print(f"latency, p99:      {p99:8.1f} ms")
    print(f"answered:          {len(clients.latencies):8}")
    print(f"expected errors:   {clients.num_refused:8}")
    print(f"unexpected errors: {len(problems):8}")
    if pid is not None:
        print(f"memory at {first_memory:3.0f} s:   {before:8.0f} MB")
        print(f"memory at the end: {after:8.0f} MB")
    for problem in sorted(set(problems)):
        print(f"wrong: {problem}")
    return 1 if problems else 0


def _saved_model() -> str:
    if not (_SAVED_MODEL.value or _WORKDIR.value):
        raise errors.UserError("give --workdir, --saved_model or --server")
    folder = _SAVED_MODEL.value or str(
        pathlib.Path(checkpoints.export_dir(_WORKDIR.value))
        / publishing.VERSIONS
    )
    if not pathlib.Path(folder).is_dir():
        raise errors.UserError(f"{folder}: no such folder; run export.py first")
    return folder


def _good_requests() -> list[tuple[str, dict]]:
    """Photographs as files, and a square image as pixels."""
    import tensorflow as tf

    random = np.random.RandomState(0)
    files = []
    for height, width in _SIZES:
        coarse = random.uniform(0, 255, [9, 9, 3])
        image = tf.image.resize(coarse, [height, width], "bicubic")
        pixels = tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)
        files.append(tf.io.encode_jpeg(pixels).numpy())
    images = random.randint(0, 256, [4, 128, 128, 3]).astype(np.uint8)
    return [
        ("predict_bytes", {"image_bytes": files[:1]}),
        ("serving_default", {"images": images}),
        ("predict_bytes", {"image_bytes": files}),
        (
            "predict_bytes",
            {"image_bytes": [*malformed_requests.FILES, files[0]]},
        ),
    ]


def _resident_mb(pid: int | None) -> float:
    """Memory of a process; 0 if there is none."""
    with contextlib.suppress(OSError):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        for line in status.splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    command_line.run(main)
