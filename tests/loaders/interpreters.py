"""Runtimes of .tflite and .onnx files, and OpenVINO, behind one function.

Each is imported when it is asked for, as each may be missing.
"""

from collections.abc import Callable
import os
import pathlib

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from tflm.training import precision

# From images to outputs by the names that the exported model gives them.
Run = Callable[[np.ndarray], dict[str, np.ndarray]]


def tf_lite(file: str | os.PathLike, num_threads: int) -> Run:
    """The interpreter that comes with TensorFlow."""
    import tensorflow as tf

    return _signature(tf.lite.Interpreter, file, num_threads)


def ai_edge_litert(file: str | os.PathLike, num_threads: int) -> Run:
    """TFLite's successor, a package of its own."""
    from ai_edge_litert import interpreter

    return _signature(interpreter.Interpreter, file, num_threads)


def _signature(interpreter_class, file, num_threads: int) -> Run:
    interpreter = interpreter_class(os.fspath(file), num_threads=num_threads)
    runner = interpreter.get_signature_runner("serving_default")
    return lambda images: runner(images=images)


def openvino(path: str | os.PathLike, num_threads: int) -> Run:
    """Of a .tflite or .onnx file, or of a SavedModel its serving_default.

    It cannot be told to take another signature. What it lacks of a SavedModel
    is the op of antialiased resizing, which is given to it here.
    """
    import openvino as ov
    from openvino.frontend import tensorflow as frontend

    core = ov.Core()
    core.add_extension(
        frontend.ConversionExtension("ScaleAndTranslate", _resized)
    )
    options = {
        "INFERENCE_NUM_THREADS": num_threads,
        "PERFORMANCE_HINT": "LATENCY",
        # Or it computes in bfloat16 where the processor has it.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if not {"avx512_vnni", "avx_vnni"} & precision.cpu_flags():
        # There its sums of products of integers overflow 16 bits.
        options["LP_TRANSFORMS_MODE"] = "NO"
    compiled = core.compile_model(
        core.read_model(os.fspath(path)), "CPU", options
    )
    path = pathlib.Path(path)
    names = {}
    if path.suffix == ".tflite":  # There it knows the names of tensors alone.
        names = _outputs_of_tensors(path)

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return {
            names.get(name, name): value
            for output, value in compiled([images]).items()
            for name in output.get_names()
        }

    return run


def onnxruntime(file: str | os.PathLike, num_threads: int) -> Run:
    """The reference runtime of ONNX."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        os.fspath(file), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(
        zip(names, session.run(names, {"images": images}))
    )


def _resized(node) -> list:
    """ScaleAndTranslate as `tf.image.resize` with antialiasing uses it.

    OpenVINO's own antialiased interpolation is off by up to 0.004 where an
    image shrinks.

    Args:
        node: its inputs are images `[N, H, W, C]` and the new (height, width);
            the further two, scale and shift, follow from these.
    """
    from openvino import opset13 as ops

    images = node.get_input(0)
    old = ops.convert(ops.shape_of(images), "f32")
    new = ops.convert(node.get_input(1), "f32")

    def weights(axis: int):
        """Of each new row for each old one, `[new, old]`: a triangle."""
        count, size = (
            ops.gather(sizes, np.int64(index), np.int64(0))
            for sizes, index in ((old, 1 + axis), (new, axis))
        )
        factor = ops.divide(count, size)
        rows, new_rows = (
            ops.range(np.float32(0), stop, np.float32(1), "f32")
            for stop in (count, size)
        )
        centres = ops.subtract(
            ops.multiply(ops.add(new_rows, np.float32(0.5)), factor),
            np.float32(0.5),
        )
        apart = ops.subtract(ops.unsqueeze(centres, np.int64(1)), rows)
        width = ops.maximum(factor, np.float32(1))
        triangle = ops.relu(
            ops.subtract(np.float32(1), ops.divide(ops.abs(apart), width))
        )
        return ops.divide(triangle, ops.reduce_sum(triangle, [1], True))

    planes = ops.transpose(images, np.array([0, 3, 1, 2]))
    planes = ops.matmul(weights(0), planes, False, False)
    planes = ops.matmul(planes, weights(1), False, True)
    return ops.transpose(planes, np.array([0, 2, 3, 1])).outputs()


def _outputs_of_tensors(file: pathlib.Path) -> dict[str, str]:
    """Names of a .tflite file's tensors -> of the outputs that they are."""
    model = schema.Model.GetRootAsModel(file.read_bytes(), 0)
    signature = model.SignatureDefs(0)
    graph = model.Subgraphs(signature.SubgraphIndex())
    outputs = [signature.Outputs(i) for i in range(signature.OutputsLength())]
    return {
        graph.Tensors(output.TensorIndex()).Name().decode(): (
            output.Name().decode()
        )
        for output in outputs
    }
