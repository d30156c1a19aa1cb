"""The detector as an ONNX file, for the runtimes of that format.

The packages that this takes are optional; each is imported when it is needed.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import logging
import os

import numpy as np

from tflm import configs
from tflm import errors
from tflm.evaluation import keypoint_maps
from tflm.models import landmark_model
from tflm.serving import view_files

NAME = "detector.onnx"
OPSET = 15  # Of ONNX 1.10, from 2021.


def check_packages() -> None:
    """Fails if what writing and trying a file needs is not there.

    Raises:
        errors.UserError: if so; it names the package.
    """
    with _optional("--onnx", "onnx onnxruntime tf2onnx"):
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401


def write(
    file: str | os.PathLike,
    model: landmark_model.LandmarkModel,
    config: configs.Config,
    keypoint_map: keypoint_maps.KeypointMap | None = None,
) -> None:
    """Converts the detector of `model`; only ONNX's own ops are needed.

    It takes `images`, float32 `[N, S, S, 3]` in [0, 1], square views; see
    `detector.detect_in_view`. The notes of `view_files` are properties in its
    metadata.

    Args:
        file: to be written.
        model: a trained model in float32.
        config: its experiment.
        keypoint_map: fitted to its landmarks, if there is one.
    """
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    function = view_files.function(model, keypoint_map, batch_size=None)
    converted, _ = tf2onnx.convert.from_function(
        function,
        function.input_signature,
        opset=OPSET,
        custom_op_handlers={"MirrorPad": (_convert_padding, [])},
    )
    # It imports those for machine learning on tables as well.
    own = [each for each in converted.opset_import if not each.domain]
    del converted.opset_import[:]
    converted.opset_import.extend(own)
    # It gives the number of images another name at each place.
    for value in (*converted.graph.input, *converted.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    _pass_on_where_no_axis_is_added(converted.graph)
    notes = view_files.notes(config, keypoint_map, batch_size=None)
    onnx.helper.set_model_props(converted, notes)
    onnx.save(converted, os.fspath(file))


def _convert_padding(graph, node, name: str, args: list) -> None:
    """Writes symmetric padding, which ONNX has not, as other ops.

    What tf2onnx would write ends in Compress, an op whose output is of a size
    that depends on numbers; TensorRT has none.

    Args:
        graph: tf2onnx's.
        node: a MirrorPad of images `[N, H, W, C]`, of known H and W.
        name: of the node.
        args: none.
    """
    del args
    pads = node.inputs[1].get_tensor_value(as_list=False)  # [4, 2]
    images, shape = node.input[0], graph.get_shape(node.input[0])
    graph.remove_node(name)
    if pads.max() <= 1:  # Mirroring one row is to repeat it.
        sides = pads.T.reshape(-1).astype(np.int64)
        ops = [("Pad", sides, {"mode": "edge"})]
    else:
        rows = (
            np.pad(np.arange(shape[axis]), pads[axis], "symmetric")
            for axis in (1, 2)
        )
        ops = [
            ("Gather", numbers, {"axis": axis})
            for axis, numbers in enumerate(rows, start=1)
        ]
    for index, (op, numbers, attributes) in enumerate(ops):
        constant = graph.make_const(f"{name}_{index}", numbers).output[0]
        is_last = index == len(ops) - 1
        (images,) = graph.make_node(
            op,
            [images, constant],
            attributes,
            outputs=node.output if is_last else None,
        ).output


def _pass_on_where_no_axis_is_added(graph) -> None:
    """Replaces each Unsqueeze of no axes, which tf2onnx makes of an einsum.

    It passes its input on, but OpenVINO adds an axis there.
    """
    empty = {each.name for each in graph.initializer if 0 in each.dims}
    for node in graph.node:
        if node.op_type == "Unsqueeze" and node.input[1] in empty:
            node.op_type = "Identity"
            del node.input[1]
    used = {name for node in graph.node for name in node.input}
    for each in list(graph.initializer):
        if each.name not in used:
            graph.initializer.remove(each)


def load(
    file: str | os.PathLike,
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Loads what `write` wrote.

    Returns:
        A function of views, float32 `[N, S, S, 3]`, N at least 1.

    Raises:
        errors.UserError: if there is no onnxruntime.
        ValueError: if the file is damaged.
    """
    session = _session(file)
    names = [output.name for output in session.get_outputs()]

    def run(views: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"images": views})))

    return run


def read_view(file: str | os.PathLike) -> configs.Config:
    """Which view of an image the model takes; see `view_notes`.

    Args:
        file: a sound .onnx file, of any model.

    Raises:
        errors.UserError: if the file does not say.
    """
    notes = _session(file).get_modelmeta().custom_metadata_map
    return view_files.config_of(file, notes.get(view_files.VIEW, ""))


def _session(file: str | os.PathLike):
    with _optional(file, "onnxruntime"):
        import onnxruntime
    try:
        return onnxruntime.InferenceSession(
            os.fspath(file), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # Its errors have no base class of their own.
        raise ValueError(str(error)) from error


@contextlib.contextmanager
def _optional(user: str | os.PathLike, packages: str) -> Iterator[None]:
    """Says what to install if an import in the block fails."""
    try:
        yield
    except ImportError as error:
        raise errors.UserError(
            f"{user} needs the package {error.name}; pip install -c"
            f" requirements.txt {packages}"
        ) from error
