"""Smaller numbers for the TFLite detector.

kind     weights  computed in  error
float32  float32  float32      none
float16  float16  float32      of rounding the weights
dynamic  int8     int8 *       and of each activation as it comes
int8     int8     int8         and of activations in ranges seen in advance

* float32 where the runtime has no such kernel.

int8 is for the convolutions of the features alone. From the score maps on
everything stays float32: means over score maps and a softmax of few values cost
next to nothing, and with 256 levels from 0 to 1 an output alone would be wrong
by up to a quarter of a pixel of 128. Input and outputs are float32 in every
kind: a caller need not know which it has, and one step of an 8-bit input would
save 36 kB of copying a frame.
"""

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

KINDS = ("float32", "float16", "dynamic", "int8")

# What the features consist of; all other ops stay float32 in int8.
_INTEGER_OPS = {"CONV_2D", "MIRROR_PAD", "PAD"}


def convert(
    new_converter: Callable[[], tf.lite.TFLiteConverter],
    kind: str,
    calibration_views: Sequence[np.ndarray] = (),
) -> bytes:
    """Converts a detector.

    Args:
        new_converter: makes a converter; one cannot be used twice.
        kind: of `KINDS`.
        calibration_views: for int8: typical inputs, each float32
            `[1, S, S, 3]` in [0, 1]; their activations set the ranges.

    Returns:
        The content of a .tflite file.

    Raises:
        ValueError: if the kind is unknown, or int8 has no views.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; one of {', '.join(KINDS)}")
    converter = new_converter()
    if kind == "float32":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind != "int8":
        return converter.convert()
    if not len(calibration_views):
        raise ValueError("int8 needs images to see the ranges of activations")
    converter.representative_dataset = lambda: (
        [view] for view in calibration_views
    )
    ops, node = _float_part(new_converter().convert())
    # The converter cannot leave a part alone, its debugger can.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=ops, denylisted_nodes=[node]
        ),
    )
    return _without_detours(debugger.get_nondebug_quantized_model())


def _float_part(converted: bytes) -> tuple[list[str], str]:
    """What follows the features: names of ops, and the node of the score maps.

    Args:
        converted: the detector in float32.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(converted))
    (graph,) = model.subgraphs
    named = [
        (flatbuffer_utils.opcode_to_name(model, op.opcodeIndex), op)
        for op in graph.operators
    ]
    *_, head = (op for name, op in named if name == "CONV_2D")
    node = graph.tensors[head.outputs[0]].name.decode()
    return sorted({name for name, _ in named} - _INTEGER_OPS), node


def _without_detours(converted: bytes) -> bytes:
    """Takes out float32 -> int8 -> float32 where nothing is computed in int8.

    The converter puts one after every softmax, with 256 levels from 0 to 1,
    also where it is told to leave the softmax alone.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(converted))
    (graph,) = model.subgraphs
    named = [
        (flatbuffer_utils.opcode_to_name(model, op.opcodeIndex), op)
        for op in graph.operators
    ]
    before = {
        op.outputs[0]: op.inputs[0] for name, op in named if name == "QUANTIZE"
    }
    detours = {
        op.outputs[0]: before[op.inputs[0]]
        for name, op in named
        if name == "DEQUANTIZE" and op.inputs[0] in before
    }
    for op in graph.operators:
        op.inputs = [detours.get(tensor, tensor) for tensor in op.inputs]
    # Backwards, as an op that nobody needs may be all that needs another.
    needed, kept = set(graph.outputs), []
    for op in reversed(graph.operators):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
            kept.append(op)
    graph.operators = kept[::-1]
    return flatbuffer_utils.convert_object_to_bytearray(model)
