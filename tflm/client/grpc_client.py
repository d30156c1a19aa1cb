"""Asking by gRPC, with the package tensorflow-serving-api.

It is imported where it is needed, as it imports TensorFlow.
"""

import typing

from tflm import errors
from tflm.client import served

if typing.TYPE_CHECKING:
    import numpy as np

_INSTALL = "pip install tensorflow-serving-api==2.15.1"
# gRPC takes messages up to 4 MB unless told otherwise. The client takes any;
# tensorflow_model_server takes and sends up to 2 GB, what a message may have.
_ANY_SIZE = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
# What is wrong with a request, not with the server or the way to it.
_REFUSALS = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
)


class GrpcClient(served.Client):
    """Asks over gRPC, without encryption.

    Args:
        address: of the server, for instance "localhost:8500".
        model: its name there.
        version: of the model; the newest if None.
        timeout: seconds that an answer may take.

    Raises:
        errors.UserError: if tensorflow-serving-api is not installed.
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        timeout: float = 60.0,
    ):
        try:
            import grpc
            from tensorflow_serving.apis import model_pb2
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise errors.UserError(
                f"a gRPC client needs tensorflow-serving-api: {_INSTALL}"
            ) from error
        self._address = address
        self._timeout = timeout
        self._model = model_pb2.ModelSpec(name=model)
        if version is not None:
            self._model.version.value = version
        self._channel = grpc.insecure_channel(address, _ANY_SIZE)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def predict(self, signature: str, **inputs) -> dict[str, list]:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(model_spec=self._model)
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            response = self._stub.Predict(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code, details = error.code().name, served.one_line(error.details())
            if code in _REFUSALS:
                raise served.Refused(
                    f"{self._address} answers {code}: {details}"
                ) from error
            raise errors.UserError(
                f"{self._address}: {code}, {details}; is it the server's gRPC"
                " address, and is it running?"
            ) from error
        outputs = {
            name: _as_lists(tf.make_ndarray(value))
            for name, value in response.outputs.items()
        }
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def _as_lists(value: "np.ndarray") -> list:
    """Nested lists as REST has them, with strings instead of bytes."""
    if value.dtype == object:
        for index, item in enumerate(value.flat):
            value.flat[index] = item.decode()
    return value.tolist()
