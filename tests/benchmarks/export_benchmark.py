"""Every exported form in every loader: how close to Keras, how large, how fast.

    python -m tests.benchmarks.export_benchmark --workdir=runs/celeba \\
        --newer_python=newer/bin/python --output=exports.md

Run it on an idle machine; the loader in C++ needs g++. `--preset=celeba` in
place of --workdir takes an untrained model of a preset, still with images of
its dataset: its times are those of a trained one, its landmarks say little, as
all are near the centre. The status is 1 if a form is further from Keras than
`agreement.TOLERANCES` allows, or if a loader that is there fails.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from absl import flags

from tflm import command_line  # Before TensorFlow: it quiets its start.

# isort: split
import numpy as np
import tensorflow as tf

from tests.loaders import interpreters
from tests.loaders import programs
from tests.loaders import signature_requests
from tflm import configs
from tflm import errors
from tflm import files
from tflm.data import shards as shards_lib
from tflm.data import views
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import agreement
from tflm.serving import bundle
from tflm.serving import detector
from tflm.serving import onnx_file
from tflm.serving import quantization
from tflm.serving import tflite
from tflm.training import checkpoints
from tflm.training import optimizers

_FORMS = ("saved_model", *quantization.KINDS, "onnx")

_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder.")
_PRESET = flags.DEFINE_enum(
    "preset",
    None,
    sorted(configs.PRESETS),
    "Instead of a run: an untrained model of these settings.",
)
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Where the shards are.")
_FORMS_FLAG = flags.DEFINE_list(
    "forms", list(_FORMS), f"What to measure, of {', '.join(_FORMS)}."
)
_NEWER_PYTHON = flags.DEFINE_string(
    "newer_python",
    None,
    "A Python with a newer TensorFlow; also to load the SavedModel.",
)
_THREADS = flags.DEFINE_integer("threads", 2, "Of every loader.")
_REPEAT = flags.DEFINE_integer("repeat", 50, "Calls whose median is taken.")
_OUTPUT = flags.DEFINE_string("output", None, "File for the table.")

_NUM_IMAGES = 64
_BATCH_SIZE = 32
_FOOTNOTE = f"""
px: distance of landmarks from those of Keras, in pixels of a view of 128 x 128;
of a SavedModel from all its signatures. Its MB hold the generator as well. A
.tflite file takes one image at a time, so its batch is {_BATCH_SIZE} calls;
an .onnx file takes all at once.
OpenVINO is told to compute in float32, and how to resize for a SavedModel."""
_ROOT = pathlib.Path(__file__).parents[2]
_WARM_UP_CALLS = 5


@dataclasses.dataclass(frozen=True)
class _Row:
    """A form in a loader."""

    form: str
    loader: str
    kind: str = "float32"  # Of numbers; see `agreement.TOLERANCES`.
    problem: str = ""  # Why there is nothing more.
    is_failure: bool = False
    found: agreement.Agreement | None = None
    num_bytes: int = 0
    latency_ms: float = 0.0  # Of one image.
    batch_ms: float = 0.0  # Of `_BATCH_SIZE` images.

    def __str__(self) -> str:
        if self.found is None:
            return f"| {self.form} | {self.loader} | {self.problem} | | | | |"
        numbers = (
            f"{self.found.mean_px:.4f}",
            f"{self.found.max_px:.4f}",
            f"{self.num_bytes / 1e6:.2f}" if self.num_bytes else "",
            f"{self.latency_ms:.2f}",
            f"{1e3 * _BATCH_SIZE / self.batch_ms:.0f}",
        )
        return f"| {self.form} | {self.loader} | {' | '.join(numbers)} |"


@dataclasses.dataclass(frozen=True)
class _Run:
    """What was exported, and the Keras model to compare with."""

    config: configs.Config
    model: landmark_model.LandmarkModel
    keypoint_map: keypoint_maps.KeypointMap | None
    images: list[np.ndarray]  # Each uint8 [H, W, 3].
    title: str


def main() -> int:
    if _NEWER_PYTHON.value and not shutil.which(_NEWER_PYTHON.value):
        raise errors.UserError(
            f"--newer_python: {_NEWER_PYTHON.value} is no program"
        )
    if (_WORKDIR.value is None) == (_PRESET.value is None):
        raise errors.UserError("give either --workdir or --preset")
    for form in _FORMS_FLAG.value:
        if form not in _FORMS:
            raise errors.UserError(
                f"--forms: unknown {form!r}; choose from {','.join(_FORMS)}"
            )
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    with tempfile.TemporaryDirectory() as scratch:
        workdir = _WORKDIR.value
        if workdir is None:
            workdir = f"{scratch}/untrained"
            _save_untrained(workdir, configs.PRESETS[_PRESET.value])
        run = _open(workdir)
        rows = [_row_of_keras(run)]
        print(_head(run), flush=True)
        print(rows[0], flush=True)
        for row in _rows(run, workdir, pathlib.Path(scratch)):
            rows.append(row)
            print(row, flush=True)
    print(_FOOTNOTE)
    if _OUTPUT.value is not None:
        lines = [_head(run), *map(str, rows), _FOOTNOTE]
        with files.replacing(_OUTPUT.value) as unfinished:
            unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    too_far = list(filter(None, map(_beyond, rows)))
    for line in too_far:
        print(line, file=sys.stderr)
    return int(bool(too_far) or any(row.is_failure for row in rows))


def _save_untrained(workdir: str, config: configs.Config) -> None:
    model = landmark_model.LandmarkModel(config.model)
    optimizer = optimizers.adam(config.train)
    optimizer.build(model.trainable_variables)
    with checkpoints.claimed(workdir, config):
        checkpoints.save(workdir, model, optimizer, None)


def _open(workdir: str) -> _Run:
    config = checkpoints.load_config(workdir)
    shards = shards_lib.open_shards(_DATA_DIR.value, config.data.dataset)
    model = landmark_model.LandmarkModel(config.model)
    step = checkpoints.restore_model(workdir, model)
    keypoint_map = keypoint_maps.load(
        checkpoints.keypoint_map_path(workdir),
        config.model.num_landmarks,
        keypoint_maps.fingerprint(model.detector.get_weights()),
    )
    return _Run(
        config,
        model,
        keypoint_map,
        bundle.sample_images(shards, _NUM_IMAGES),
        f"{config.data.dataset}, {config.model.image_size} pixels,"
        f" K={config.model.num_landmarks}, step {step}",
    )


def _rows(run: _Run, workdir: str, scratch: pathlib.Path) -> Iterator[_Row]:
    """All but that of Keras."""
    forms = _FORMS_FLAG.value
    kinds = [kind for kind in quantization.KINDS if kind in forms]
    onnx = ["--onnx"] if "onnx" in forms else []
    if problem := _export(workdir, scratch / "export", kinds, *onnx):
        raise errors.UserError(problem)
    if "saved_model" in forms:
        (folder,) = (scratch / "export" / "saved_model").iterdir()
        yield from _rows_of_saved_model(run, folder, scratch)
    expected = [_expected_in_view(run, image) for image in run.images]
    for kind in kinds:
        file = scratch / "export" / tflite.file_name(kind)
        for load in (
            interpreters.tf_lite,
            interpreters.ai_edge_litert,
            interpreters.openvino,
        ):
            yield _row_of_file(kind, file, load, expected)
    if onnx:
        file = scratch / "export" / onnx_file.NAME
        for load in (interpreters.onnxruntime, interpreters.openvino):
            yield _row_of_file("float32", file, load, expected)


def _export(
    workdir: str, folder: pathlib.Path, kinds: Sequence[str], *more: str
) -> str:
    """Runs export.py; answers what it complains of, "" if of nothing."""
    made = subprocess.run(
        [
            sys.executable,
            _ROOT / "export.py",
            f"--workdir={workdir}",
            f"--data_dir={_DATA_DIR.value}",
            f"--output_dir={folder}",
            f"--quantize={','.join(kinds) or 'float32'}",
            *more,
        ],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if not made.returncode:
        return ""
    return made.stderr.strip().splitlines()[-1]


def _row_of_keras(run: _Run) -> _Row:
    detect = tf.function(
        lambda images: detector.detect(images, run.model, run.config),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    image = tf.constant(run.images[0][None])
    batch = tf.repeat(image, _BATCH_SIZE, axis=0)
    return _Row(
        "the run itself",
        f"Keras {importlib.metadata.version('keras')}",
        found=agreement.Agreement(0.0, 0.0, 0.0, 0.0),
        latency_ms=_median_ms(lambda: detect(image)["landmarks"].numpy()),
        batch_ms=_median_ms(lambda: detect(batch)["landmarks"].numpy()),
    )


def _rows_of_saved_model(
    run: _Run, folder: pathlib.Path, scratch: pathlib.Path
) -> Iterator[_Row]:
    form = "SavedModel"
    requests = [
        request
        for image in run.images
        for request in signature_requests.for_every_signature(
            image, run.model, run.config, run.keypoint_map
        )
    ]
    fraction = run.config.model.image_size / views.full_size(run.config)
    sized = {
        "num_bytes": sum(
            path.stat().st_size for path in folder.rglob("*") if path.is_file()
        )
    }

    def row(loader: str, command: Callable[[], list[str]]) -> _Row:
        def measured() -> _Row:
            program = command()
            answers = programs.run(
                program,
                folder,
                [(request.signature, request.inputs) for request in requests],
                num_threads=_THREADS.value,
            )
            for request, answer in zip(requests, answers):
                if answer.status != "OK":
                    raise RuntimeError(f"{request.signature}: {answer.status}")
            one = run.images[0][None]
            single, batch = programs.run(
                program,
                folder,
                [
                    ("serving_default", {"images": images})
                    for images in (one, np.repeat(one, _BATCH_SIZE, axis=0))
                ],
                repeat=_REPEAT.value,
                num_threads=_THREADS.value,
            )
            found = agreement.compare(
                [
                    (answer.outputs, request.expected)
                    for request, answer in zip(requests, answers)
                ],
                fraction,
            )
            return _Row(
                form,
                loader,
                found=found,
                latency_ms=single.median_ms,
                batch_ms=batch.median_ms,
                **sized,
            )

        return _guarded(form, loader, measured)

    here = f"TensorFlow {tf.__version__}"
    if programs.find_compiler() is None:
        yield _Row(form, f"{here}, C++", problem="not run: no g++")
    else:
        yield row(f"{here}, C++", lambda: [str(programs.build(scratch))])
    yield row(f"{here}, Python", programs.in_python)
    newer = _NEWER_PYTHON.value
    if newer is None:
        yield _Row(
            form, "newer TensorFlow", problem="not run: no --newer_python"
        )
    else:
        yield row(
            f"TensorFlow {_version_in(newer)}, Python",
            lambda: programs.in_python(newer),
        )

    def default_alone() -> _Row:
        default = [
            request
            for request in requests
            if request.signature == "serving_default"
        ]
        loaded = interpreters.openvino(folder, _THREADS.value)
        found = agreement.compare(
            (
                (loaded(request.inputs["images"]), request.expected)
                for request in default
            ),
            fraction,
        )
        one = run.images[0][None]
        many = np.repeat(one, _BATCH_SIZE, axis=0)
        return _Row(
            f"{form}, serving_default alone",
            _label(interpreters.openvino),
            found=found,
            latency_ms=_median_ms(lambda: loaded(one)),
            batch_ms=_median_ms(lambda: loaded(many)),
            **sized,
        )

    yield _guarded(form, _label(interpreters.openvino), default_alone)


def _row_of_file(
    kind: str,
    file: pathlib.Path,
    load: Callable[[pathlib.Path, int], interpreters.Run],
    expected: Sequence[tuple[np.ndarray, dict[str, np.ndarray]]],
) -> _Row:
    """A detector of square views.

    Args:
        kind: of its numbers.
        file: it; one that is .tflite takes one view at a time.
        load: of `interpreters`.
        expected: views, float32 `[1, S, S, 3]`, and what Keras finds in each.
    """
    form = f"{file.suffix}, {kind}"

    def measured() -> _Row:
        loaded = load(file, _THREADS.value)
        found = agreement.compare(
            (loaded(images), outputs) for images, outputs in expected
        )
        one, _ = expected[0]
        many = [one] * _BATCH_SIZE
        if file.suffix == ".onnx":
            many = [np.concatenate(many)]
        return _Row(
            form,
            _label(load),
            kind,
            found=found,
            num_bytes=file.stat().st_size,
            latency_ms=_median_ms(lambda: loaded(one)),
            batch_ms=_median_ms(lambda: [loaded(each) for each in many]),
        )

    return _guarded(form, _label(load), measured)


def _expected_in_view(run: _Run, image: np.ndarray) -> tuple:
    """The square view of an image, and what Keras finds in it."""
    images = views.square(image[None] / np.float32(255.0), run.config)
    found = detector.detect_in_view(images, run.model)
    return images.numpy(), {name: part.numpy() for name, part in found.items()}


def _guarded(form: str, loader: str, measured: Callable[[], _Row]) -> _Row:
    """A row also of what is missing or fails; the others go on."""
    try:
        return measured()
    except ImportError as error:
        return _Row(form, loader, problem=f"not run: {error}")
    except Exception as error:  # Each loader has its own.
        lines = str(error).strip().splitlines()
        problem = f"failed: {type(error).__name__}: {''.join(lines[-1:])}"
        return _Row(form, loader, problem=problem, is_failure=True)


def _median_ms(action: Callable[[], object]) -> float:
    for _ in range(_WARM_UP_CALLS):
        action()
    seconds = []
    for _ in range(_REPEAT.value):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))


def _head(run: _Run) -> str:
    """What was measured, and the table's first rows."""
    return (
        f"{run.title}; {len(run.images)} images, {_THREADS.value} threads of"
        f" {os.cpu_count()}, {_processor()}; medians of {_REPEAT.value} calls"
        "\n\n| form | loader | mean px | max px | MB | ms, batch 1 | images/s,"
        f" batch {_BATCH_SIZE} |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )


def _processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return "unknown processor"


def _label(load: Callable) -> str:
    """Name and version of what a function of `interpreters` runs."""
    if load is interpreters.tf_lite:
        return f"tf.lite {tf.__version__}"
    package = load.__name__.replace("_", "-")
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def _version_in(python: str) -> str:
    """Of TensorFlow, whose package has several names."""
    made = subprocess.run(
        [python, "-c", "import tensorflow; print(tensorflow.__version__)"],
        capture_output=True,
        text=True,
    )
    return made.stdout.strip() or "unknown"


def _beyond(row: _Row) -> str | None:
    """What is too far from Keras, None if nothing is."""
    if row.found is None:
        return None
    beyond = row.found.beyond(agreement.TOLERANCES[row.kind])
    return beyond and f"{row.form} in {row.loader} differs {beyond}"


if __name__ == "__main__":
    command_line.run(main)
