"""A double of tensorflow_model_server on loopback: not TensorFlow Serving.

It answers gRPC (Predict, GetModelMetadata) and REST (predict, status, metadata)
from the newest version in a SavedModel's folder. As TF Serving does, it runs
the signatures in a C++ session that checks no shapes beforehand, so what is
wrong with a request shows in the same code. Statuses, messages and JSON follow
the documents and sources of TF Serving, named where they are used. It does not
batch, poll for versions or know labels.

    python -m tests.serving_double FOLDER

runs it until its input ends.
"""

import argparse
import base64
from collections.abc import Iterator
from concurrent import futures
import contextlib
import dataclasses
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

from google.protobuf import json_format
import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

BINARY = "tensorflow_model_server"
MODEL = "landmarks"
_ERRORS = tf.errors
# http_server.cc, ToHTTPStatusCode; what is not here is 500.
_HTTP_STATUSES = {
    _ERRORS.INVALID_ARGUMENT: 400,
    _ERRORS.DEADLINE_EXCEEDED: 504,
    _ERRORS.NOT_FOUND: 404,
    _ERRORS.RESOURCE_EXHAUSTED: 429,
    _ERRORS.FAILED_PRECONDITION: 400,
    _ERRORS.OUT_OF_RANGE: 400,
    _ERRORS.UNIMPLEMENTED: 501,
    _ERRORS.UNAVAILABLE: 503,
}
_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}
_LARGEST_MESSAGE = 2**31 - 1  # Bytes; server.cc, SetMaxMessageSize.


@dataclasses.dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        rest: its URL.
        grpc: its address, host and port.
        pid: of its process.
    """

    rest: str
    grpc: str
    pid: int


@contextlib.contextmanager
def in_this_process(folder: str | os.PathLike) -> Iterator[Server]:
    """Runs the double on `folder`, which holds the versions, in threads."""
    model = _Model(pathlib.Path(folder))
    rpc = grpc.server(
        futures.ThreadPoolExecutor(max_workers=16),
        options=[
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.max_send_message_length", _LARGEST_MESSAGE),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(model), rpc
    )
    grpc_port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    handler = type("Handler", (_RestHandler,), {"model": model})
    rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=rest.serve_forever, daemon=True)
    thread.start()
    try:
        yield _server(rest.server_port, grpc_port, os.getpid())
    finally:
        rest.shutdown()
        rest.server_close()
        rpc.stop(grace=None).wait()


@contextlib.contextmanager
def in_own_process(folder: str | os.PathLike) -> Iterator[Server]:
    """Runs the double on `folder` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serving_double", os.fspath(folder)],
        stdin=subprocess.PIPE,  # Its end, should this process die.
        stdout=subprocess.PIPE,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        text=True,
    )
    with process:
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the double did not start")
            yield Server(**json.loads(line))
        finally:
            process.kill()


@contextlib.contextmanager
def real(folder: str | os.PathLike) -> Iterator[Server]:
    """Runs tensorflow_model_server itself, which must be on PATH."""
    rest_port, grpc_port = (_free_port() for _ in range(2))
    process = subprocess.Popen(
        [
            shutil.which(BINARY),
            f"--port={grpc_port}",
            f"--rest_api_port={rest_port}",
            f"--model_name={MODEL}",
            f"--model_base_path={pathlib.Path(folder).resolve()}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = _server(rest_port, grpc_port, process.pid)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                url = f"{server.rest}/v1/models/{MODEL}"
                with urllib.request.urlopen(url, timeout=5) as status:
                    if b"AVAILABLE" in status.read():
                        break
            if process.poll() is not None:
                raise RuntimeError(f"{BINARY} ended with {process.returncode}")
            time.sleep(0.1)
        else:
            raise RuntimeError(f"{BINARY} does not serve {folder}")
        yield server
    finally:
        process.kill()
        process.wait()


def _server(rest_port: int, grpc_port: int, pid: int) -> Server:
    return Server(
        f"http://127.0.0.1:{rest_port}", f"127.0.0.1:{grpc_port}", pid
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class _Refusal(Exception):
    """An answer that is an error: its code, as in tf.errors, and message."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


def _invalid(message: str) -> _Refusal:
    return _Refusal(_ERRORS.INVALID_ARGUMENT, message)


class _Model:
    """The newest version in a folder, as a session."""

    def __init__(self, folder: pathlib.Path):
        self.version = max(
            int(path.name) for path in folder.iterdir() if path.name.isdigit()
        )
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        loaded = tf.compat.v1.saved_model.load(
            self._session, ["serve"], str(folder / str(self.version))
        )
        self.signatures = dict(loaded.signature_def)
        # Session.run would check shapes in Python, which a server does not.
        self._runs = {
            name: self._session._make_callable_from_options(
                config_pb2.CallableOptions(
                    feed=[each.name for _, each in _sorted(signature.inputs)],
                    fetch=[each.name for _, each in _sorted(signature.outputs)],
                )
            )
            for name, signature in self.signatures.items()
            if signature.inputs
        }

    def check(self, name: str, version: int | None) -> None:
        """basic_manager.cc, GetUntypedServableHandle."""
        if name == MODEL and version in (None, self.version):
            return
        asked = f"Latest({name})"
        if version is not None:
            asked = f"Specific({name}, {version})"
        raise _Refusal(
            _ERRORS.NOT_FOUND, f"Servable not found for request: {asked}"
        )

    def predict(
        self, signature: str, inputs: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """predict_util.cc, RunPredict."""
        if signature not in self._runs:
            raise _Refusal(
                _ERRORS.FAILED_PRECONDITION,
                f'Serving signature key "{signature}" not found.',
            )
        definition = self.signatures[signature]
        known = sorted(definition.inputs)
        if len(inputs) != len(known):
            raise _invalid(
                "input size does not match signature:"
                f" {len(inputs)}!={len(known)}"
            )
        for name in inputs:
            if name not in known:
                raise _invalid(
                    f"input tensor alias not found in signature: {name}. Inputs"
                    f" expected to be in the set {{{','.join(known)}}}."
                )
        try:
            values = self._runs[signature](*(inputs[name] for name in known))
        except tf.errors.OpError as error:
            raise _Refusal(error.error_code, error.message) from error
        return dict(zip(sorted(definition.outputs), values))


def _sorted(infos) -> list[tuple]:
    return sorted(infos.items())


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: _Model):
        self._model = model

    def Predict(self, request, context):
        spec = request.model_spec
        try:
            self._check(spec)
            name = spec.signature_name or "serving_default"
            outputs = self._model.predict(name, _arrays(request.inputs))
        except _Refusal as refusal:
            context.abort(_GRPC_CODES[refusal.code], refusal.message)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = MODEL
        response.model_spec.signature_name = name
        response.model_spec.version.value = self._model.version
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        """get_model_metadata_impl.cc."""
        try:
            self._check(request.model_spec)
            if list(request.metadata_field) != ["signature_def"]:
                raise _invalid("Metadata field is not supported")
        except _Refusal as refusal:
            context.abort(_GRPC_CODES[refusal.code], refusal.message)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = MODEL
        response.model_spec.version.value = self._model.version
        response.metadata["signature_def"].Pack(_signatures(self._model))
        return response

    def _check(self, spec) -> None:
        version = spec.version.value if spec.HasField("version") else None
        self._model.check(spec.name, version)


def _arrays(inputs) -> dict[str, np.ndarray]:
    arrays = {}
    for name, proto in inputs.items():
        try:
            arrays[name] = tf.make_ndarray(proto)
        except (ValueError, TypeError) as error:
            raise _invalid(f"tensor parsing error: {name}") from error
    return arrays


def _signatures(model: _Model) -> get_model_metadata_pb2.SignatureDefMap:
    return get_model_metadata_pb2.SignatureDefMap(
        signature_def=model.signatures
    )


class _RestHandler(http.server.BaseHTTPRequestHandler):
    """api_rest.md; http_rest_api_util.cc has the paths."""

    protocol_version = "HTTP/1.1"
    model: _Model
    _PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(.*)")

    def do_GET(self):
        self._reply(b"")

    def do_POST(self):
        self._reply(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, *_):
        pass

    def _reply(self, body: bytes) -> None:
        if not self.path.startswith("/v1/"):
            self.send_error(404)
            return
        try:
            status, answer = 200, self._answer(body)
        except _Refusal as refusal:
            status = _HTTP_STATUSES.get(refusal.code, 500)
            answer = {"error": refusal.message}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body: bytes) -> dict:
        found = self._PATH.fullmatch(self.path)
        name, version, verb = found.groups() if found else (None, None, None)
        name = urllib.parse.unquote(name or "")
        version = int(version) if version else None
        if (self.command, verb) == ("POST", ":predict"):
            self.model.check(name, version)
            return _predict(self.model, body)
        if (self.command, verb) == ("GET", "/metadata"):
            self.model.check(name, version)
            return self._metadata()
        if (self.command, verb) == ("GET", ""):
            return self._status(name, version)
        raise _invalid(f"Malformed request: {self.command} {self.path}")

    def _metadata(self) -> dict:
        """http_rest_api_util.cc, ToJsonString."""
        signatures = json_format.MessageToDict(
            _signatures(self.model),
            including_default_value_fields=True,
            preserving_proto_field_name=True,
        )
        return {
            "model_spec": {
                "name": MODEL,
                "signature_name": "",
                "version": str(self.model.version),
            },
            "metadata": {"signature_def": signatures},
        }

    def _status(self, name: str, version: int | None) -> dict:
        """get_model_status_impl.cc."""
        if name != MODEL or version not in (None, self.model.version):
            which = "any versions" if version is None else f"version {version}"
            raise _Refusal(
                _ERRORS.NOT_FOUND, f"Could not find {which} of model {name}"
            )
        status = {
            "version": str(self.model.version),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        return {"model_version_status": [status]}


def _predict(model: _Model, body: bytes) -> dict:
    """json_tensor.cc, FillPredictRequestFromJson and MakeJsonFromTensors."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise _invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise _invalid("JSON Value: Is not object")
    name = request.get("signature_name", "serving_default")
    if name not in model.signatures:
        raise _invalid(
            f'Serving signature name: "{name}" not found in signature def'
        )
    types = {
        key: tf.as_dtype(info.dtype)
        for key, info in model.signatures[name].inputs.items()
    }
    if len(request.keys() & {"instances", "inputs"}) != 1:
        raise _invalid("Missing 'inputs' or 'instances' key")
    by_row = "instances" in request
    if by_row:
        inputs = _from_rows(request["instances"], types)
    else:
        inputs = _from_columns(request["inputs"], types)
    outputs = {
        key: _to_json(value, key.endswith("_bytes"))
        for key, value in model.predict(name, inputs).items()
    }
    if by_row:
        rows = [dict(zip(outputs, row)) for row in zip(*outputs.values())]
        return {"predictions": [_unnamed(row) for row in rows]}
    return {"outputs": _unnamed(outputs)}


def _unnamed(outputs: dict):
    """A single output has no name."""
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def _from_rows(rows, types: dict) -> dict[str, np.ndarray]:
    if not isinstance(rows, list) or not rows:
        raise _invalid("JSON Value: No values in 'instances' array")
    if _is_base64(rows[0]) or not isinstance(rows[0], dict):
        if len(types) > 1:
            raise _invalid("instances is a plain list, but expecting objects")
        rows = [{next(iter(types)): row} for row in rows]
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != types.keys():
            raise _invalid(
                f"Failed to process element: {number} of 'instances' list."
                f" keys must be equal to: {','.join(sorted(types))}"
            )
    # Rows of different shapes are refused as lists of different lengths are.
    return {
        key: _array([row[key] for row in rows], kind)
        for key, kind in types.items()
    }


def _from_columns(columns, types: dict) -> dict[str, np.ndarray]:
    if _is_base64(columns) or not isinstance(columns, dict):
        if len(types) > 1:
            raise _invalid("inputs is a plain value/list, expecting an object")
        columns = {next(iter(types)): columns}
    for key in types:
        if key not in columns:
            raise _invalid(f"Missing named input: {key} in 'inputs' object.")
    return {key: _array(columns[key], kind) for key, kind in types.items()}


def _is_base64(value) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"]


def _array(value, kind: tf.DType) -> np.ndarray:
    """json_tensor.cc, FillTensorProto: the first items tell the shape."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    leaves = []

    def fill(item, level: int) -> None:
        if not isinstance(item, list):
            if level != len(shape):
                raise _invalid(f"JSON Value found at incorrect level: {level}")
            leaves.append(_leaf(item, kind))
        elif level >= len(shape) or len(item) != shape[level]:
            raise _invalid(
                f"Encountered list at unexpected size: {len(item)} at level:"
                f" {level}"
            )
        else:
            for each in item:
                fill(each, level + 1)

    fill(value, 0)
    return np.array(leaves, kind.as_numpy_dtype).reshape(shape)


def _leaf(value, kind: tf.DType):
    if kind == tf.string:
        if isinstance(value, str):
            return value.encode()
        if _is_base64(value):
            try:
                return base64.b64decode(value["b64"], validate=True)
            except ValueError as error:
                raise _invalid("Unable to base64 decode") from error
    elif not isinstance(value, bool):
        if kind.is_integer and isinstance(value, int):
            return value % 2 ** (8 * kind.size)  # Cut, without a word.
        if kind.is_floating and isinstance(value, int | float):
            return value
    raise _invalid(
        f"JSON Value: {json.dumps(value)} is not of expected type: {kind.name}"
    )


def _to_json(value: np.ndarray, as_base64: bool):
    def text(item):
        if isinstance(item, list):
            return [text(each) for each in item]
        if not isinstance(item, bytes):
            return item
        if as_base64:
            return {"b64": base64.b64encode(item).decode()}
        return item.decode()

    return text(value.tolist())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    tf.get_logger().setLevel("ERROR")
    with in_this_process(parser.parse_args().folder) as server:
        print(json.dumps(dataclasses.asdict(server)), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
