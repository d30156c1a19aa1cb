"""Asking a model that TensorFlow Serving serves.

    from tflm import client

    server = client.RestClient("http://localhost:8501", "landmarks")
    (found,) = server.predict_files(["photo.jpg"])

From the command line: `python -m tflm.client photo.jpg`.
"""

from tflm.client.grpc_client import GrpcClient
from tflm.client.rest import RestClient
from tflm.client.served import Found
from tflm.client.served import Refused

__all__ = ["Found", "GrpcClient", "Refused", "RestClient"]
