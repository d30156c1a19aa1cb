import base64
from concurrent import futures
import contextlib
import http.server
import io
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from unittest import mock
import urllib.error
import urllib.request

from absl.testing import parameterized
import grpc
import numpy as np
from PIL import Image
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests import malformed_requests
from tests import processes
from tests import serving_double
from tests.tflm.serving import lively_model
from tflm import client
from tflm import errors
from tflm.client import served
from tflm.evaluation import keypoint_maps
from tflm.serving import detector
from tflm.serving import saved_model

_MODEL = serving_double.MODEL
_WEIGHTS = np.random.RandomState(0).normal(size=[6, 2, 2]).astype(np.float32)
_MAP = keypoint_maps.KeypointMap(
    ("left_eye", "M\u00fcndung"), _WEIGHTS, np.zeros([2, 2], np.float32)
)

# What importing and making a client takes besides Python itself.
_IMPORT = """
import sys
before = set(sys.modules)
from tflm import client
client.RestClient("http://localhost:8501", "landmarks")
packages = {name.split(".")[0] for name in set(sys.modules) - before}
print(*packages - set(sys.stdlib_module_names) - {"tflm"})
"""


def _png(image: np.ndarray) -> bytes:
    return tf.io.encode_png(image).numpy()


def _encoded(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


class ServedTest(parameterized.TestCase, tf.test.TestCase):
    """Of TensorFlow Serving's own server; without it, of a double."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        # A proxy cannot reach servers of the loopback.
        direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        stack.enter_context(mock.patch.dict(os.environ, direct))
        folder = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory())
        )
        cls.model = lively_model.build()
        saved_model.write(folder / "3", cls.model, lively_model.CONFIG, _MAP)
        (folder / "2").mkdir()  # Older: not looked at.
        start = serving_double.in_this_process
        if shutil.which(serving_double.BINARY):
            start = serving_double.real
        cls.server = stack.enter_context(start(folder))
        cls.rest = client.RestClient(cls.server.rest, _MODEL)
        cls.grpc = client.GrpcClient(cls.server.grpc, _MODEL)
        stack.callback(cls.grpc.close)

    def _expect(self, found, images):
        """Checks what was found in images, each alone, by Keras."""
        self.assertLen(found, len(images))
        for each, image in zip(found, images):
            expected = detector.detect(
                tf.constant(image[None]), self.model, lively_model.CONFIG
            )
            self.assertAllClose(
                each.points, expected["landmarks"][0], atol=1e-5, rtol=0
            )
            self.assertAllClose(
                each.confidence, expected["confidence"][0], atol=1e-5, rtol=0
            )
            self.assertEqual((each.names, each.error), ((), ""))

    @parameterized.parameters("rest", "grpc")
    def test_landmarks_in_files_are_keras_s(self, kind):
        images = [lively_model.images(*size) for size in [(40, 50), (90, 31)]]
        found = getattr(self, kind).predict_bytes([_png(i) for i in images])
        self._expect(found, images)
        self.assertNotAllClose(found[0].points, found[1].points, atol=1e-2)

    @parameterized.parameters("rest", "grpc")
    def test_landmarks_in_arrays_are_keras_s(self, kind):
        images = lively_model.images(2, 40, 50)
        found = getattr(self, kind).predict_images(images)
        self._expect(found, images)

    @parameterized.parameters("rest", "grpc")
    def test_keypoints_have_names_and_a_place(self, kind):
        images = lively_model.images(2, 32, 32)

        found = getattr(self, kind).predict_keypoints(images)

        expected = detector.find_keypoints(
            tf.constant(images), self.model, lively_model.CONFIG, _MAP
        )
        for index, each in enumerate(found):
            self.assertEqual(each.names, ("left_eye", "M\u00fcndung"))
            self.assertAllClose(
                each.points, expected["keypoints"][index], atol=1e-4
            )

    @parameterized.parameters("rest", "grpc")
    def test_other_signatures_run_too(self, kind):
        images = lively_model.images(2, 32, 32)
        server = getattr(self, kind)

        maps = server.predict("heatmaps", images=images)
        pictures = server.predict(
            "reconstruct", style_images=images, geometry_images=images[::-1]
        )

        self.assertAllInRange(maps["heatmaps"], 0.0, 1.0)
        self.assertEqual(np.shape(maps["heatmaps"]), (2, 16, 16, 3))
        expected = detector.reconstruct(
            tf.constant(images),
            tf.constant(images[::-1]),
            self.model,
            lively_model.CONFIG,
        )["images"]
        self.assertAllClose(
            np.array(pictures, np.float32), tf.cast(expected, tf.float32), 0, 1
        )

    @parameterized.parameters("rest", "grpc")
    def test_a_bad_file_fails_alone(self, kind):
        image = lively_model.images(40, 50)
        heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
        files = [b"", heic, _png(image)[:-99], _png(image[:1]), _png(image)]

        *bad, good = getattr(self, kind).predict_bytes(files)

        self._expect([good], [image])
        for each, words in zip(
            bad,
            (
                "the file does not decode .it is empty.; fetch it again",
                "the file is a HEIC photo, which is not read; convert it",
                "the file does not decode .it is cut short.; copy or fetch",
                "^less than 2 x 2 pixels$",  # The server's own words.
            ),
            strict=True,
        ):
            self.assertRegex(each.error, words)
            self.assertEqual(each.points, [(-1.0, -1.0)] * 3)
            self.assertEqual(each.confidence, [0.0] * 3)

    @parameterized.parameters("rest", "grpc")
    def test_a_bad_file_that_is_sent_fails_alone_too(self, kind):
        files = [*malformed_requests.FILES, _png(lively_model.images(40, 50))]

        answer = getattr(self, kind).predict("predict_bytes", image_bytes=files)

        self.assertEqual(
            answer["error"], [*malformed_requests.FILES.values(), ""]
        )

    @parameterized.parameters("rest", "grpc")
    def test_files_are_prepared_before_they_are_sent(self, kind):
        pixels = lively_model.images(40, 50)
        photo = Image.fromarray(pixels)
        exif = Image.Exif()
        exif[0x0112] = 6
        cut_out = np.dstack([pixels, np.full([40, 50], 255, np.uint8)])
        cut_out[:, :20, 3] = 0
        on_black = pixels * (cut_out[..., 3:] > 0)
        server = getattr(self, kind)
        files = {
            "TIFF": {"exif": exif},
            "WEBP": {"exif": exif, "lossless": True},
            "PNG": {"exif": exif},
        }
        turned = [_encoded(photo, name, **files[name]) for name in files]
        plain = [_encoded(photo, name) for name in ("BMP", "GIF")]

        found = server.predict_bytes(
            [*turned, _encoded(Image.fromarray(cut_out), "PNG"), *plain]
        )

        upright = np.rot90(pixels, -1)
        with Image.open(io.BytesIO(plain[1])) as gif:
            palette = np.asarray(gif.convert("RGB"))
        self._expect(found[:4], [upright] * 3 + [on_black])
        self._expect(found[4:], [pixels, palette])

    @parameterized.parameters("rest", "grpc")
    def test_each_malformed_request_is_refused_and_the_next_answered(
        self, kind
    ):
        server = getattr(self, kind)
        image = lively_model.images(40, 50)
        for name, (signature, inputs) in malformed_requests.REQUESTS.items():
            with self.subTest(name):
                with self.assertRaises(client.Refused) as caught:
                    server.predict(signature, **inputs)
                message = str(caught.exception)
                self.assertLen(message.splitlines(), 1)
                self.assertRegex(message, "^(http://)?127.0.0.1:[0-9]+ answers")
                self._expect(server.predict_bytes([_png(image)]), [image])

    @parameterized.parameters("rest", "grpc")
    def test_the_server_s_own_words_arrive(self, kind):
        server = getattr(self, kind)
        for request, words in (
            ("NaN", r"images of type float must be numbers in \[0, 1\]"),
            ("no images", "images: no images"),
            ("no such signature", '"no_such_signature.*" not found'),
            ("six channels", "images must have 3 channels"),
            ("twelve channels", "geometry_images must have 3 channels"),
            ("unequal counts", "as many style_images as geometry_images"),
        ):
            signature, inputs = malformed_requests.REQUESTS[request]
            with self.assertRaisesRegex(client.Refused, words):
                server.predict(signature, **inputs)

    @parameterized.parameters(
        (client.RestClient, "rest"), (client.GrpcClient, "grpc")
    )
    def test_it_asks_for_a_model_and_a_version(self, kind, where):
        address = getattr(self.server, where)
        images = lively_model.images(1, 32, 32)
        found = kind(address, _MODEL, version=3).predict_images(images)
        self._expect(found, images)
        for model, version, words in (
            (_MODEL, 2, r"Specific\(landmarks, 2\)"),
            ("a/b", None, r"Latest\(a/b\)"),
        ):
            with self.assertRaisesRegex(client.Refused, f"not found.*{words}"):
                kind(address, model, version).predict_images(images)

    def test_rows_may_be_asked_for_as_in_the_readme(self):
        image = lively_model.images(40, 50)
        row = {"b64": base64.b64encode(_png(image)).decode()}
        for rows in ([row], [{"image_bytes": row}]):
            request = {"signature_name": "predict_bytes", "instances": rows}
            (prediction,) = self._get(":predict", request)["predictions"]
            found = client.Found(
                prediction["landmarks"],
                prediction["confidence"],
                error=prediction["error"],
            )
            self._expect([found], [image])

    def test_status_and_metadata(self):
        (status,) = self._get("")["model_version_status"]
        self.assertEqual(
            (status["version"], status["state"]), ("3", "AVAILABLE")
        )

        metadata = self._get("/metadata")["metadata"]["signature_def"]
        inputs = metadata["signature_def"]["predict_bytes"]["inputs"]
        self.assertEqual(inputs["image_bytes"]["dtype"], "DT_STRING")

        with self.assertRaises(urllib.error.HTTPError) as caught:
            self._get(":classify", {})
        caught.exception.close()
        self.assertEqual(caught.exception.code, 400)

    def test_metadata_over_grpc(self):
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = _MODEL
        request.metadata_field.append("signature_def")
        with grpc.insecure_channel(self.server.grpc) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            answer = stub.GetModelMetadata(request, timeout=60.0)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        outputs = signatures.signature_def["keypoints"].outputs
        self.assertCountEqual(outputs, ["keypoints", "confidence", "names"])

    def _get(self, path, request=None):
        url = f"{self.server.rest}/v1/models/{_MODEL}{path}"
        data = None if request is None else json.dumps(request).encode()
        with urllib.request.urlopen(url, data, timeout=60.0) as response:
            return json.load(response)

    def _run(self, *arguments):
        """Runs the command beside good.png and bad.jpg."""
        folder = self.enter_context(tempfile.TemporaryDirectory())
        folder = pathlib.Path(folder)
        image = lively_model.images(40, 50)
        (folder / "good.png").write_bytes(_png(image))
        (folder / "bad.jpg").write_bytes(b"GIF89a")
        os.mkfifo(folder / "pipe.png")
        process = processes.start(
            "tflm.client", folder, f"--server={self.server.rest}", *arguments
        )
        output, problems = process.communicate(timeout=120)
        self.assertNotIn("Traceback", problems)
        return process.returncode, output, problems, image

    def test_the_command_prints_a_table(self):
        status, output, problems, image = self._run("good.png")

        self.assertEqual((status, problems), (0, ""))
        title, *lines = (line.split("\t") for line in output.splitlines())
        self.assertEqual(title, ["image", "landmark", "x", "y", "confidence"])
        self.assertEqual(
            [line[:2] for line in lines],
            [["good.png", str(i)] for i in range(3)],
        )
        numbers = np.array([line[2:] for line in lines], float)
        expected = detector.detect(
            tf.constant(image[None]), self.model, lively_model.CONFIG
        )
        self.assertAllClose(numbers[:, :2], expected["landmarks"][0], atol=1e-4)
        self.assertAllClose(numbers[:, 2], expected["confidence"][0], atol=1e-3)

    def test_the_command_names_files_that_fail_and_goes_on(self):
        status, output, problems, image = self._run(
            "bad.jpg", "none.png", "pipe.png", ".", "good.png", "--json"
        )

        self.assertEqual(status, 1)
        self.assertEqual(
            problems.splitlines(),
            [
                "bad.jpg: the file does not decode (it begins as a GIF, but its"
                " header is damaged); replace it",
                "none.png: No such file or directory; name an image file that"
                " you may read",
                "pipe.png: it is no file; name image files",
                ".: it is a folder; name the files in it",
                "4 of 5 files failed",
            ],
        )
        bad, none, *_, good = map(json.loads, output.splitlines())
        self.assertStartsWith(bad["error"], "the file does not decode")
        self.assertEqual((none["image"], none["landmarks"]), ("none.png", []))
        found = client.Found(good["landmarks"], good["confidence"])
        self._expect([found], [image])

    def test_the_command_ends_in_a_line_when_it_is_refused(self):
        status, output, problems, _ = self._run("good.png", "--model=faces")

        self.assertEqual(status, 1)
        self.assertRegex(
            problems, r"^client: http://.* 404: .*Latest\(faces\)\n$"
        )


class _OddClient(served.Client):
    """Is refused, or not answered, about one file and all that go with it."""

    def __init__(self, error: Exception, is_down: bool = False):
        self.num_asked = []
        self._error, self._is_down = error, is_down

    def predict(self, signature: str, **inputs) -> dict[str, list]:
        (files,) = inputs.values()
        self.num_asked.append(len(files))
        if self._is_down or any(file.endswith(b"odd") for file in files):
            raise self._error
        count = len(files)
        return {
            "landmarks": [[(0.5, 0.5)]] * count,
            "confidence": [[1]] * count,
        }

    def close(self) -> None:
        pass


class OneOfManyTest(parameterized.TestCase):
    """Files of which the server does not take one."""

    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.paths = []
        for index in range(10):
            path = folder / f"{index}.png"
            png = _png(np.full([4, 4, 3], index, np.uint8))
            path.write_bytes(png + b"odd" * (index == 3))
            self.paths.append(str(path))

    @parameterized.parameters(client.Refused, errors.UserError)
    def test_the_others_are_answered(self, kind):
        server = _OddClient(kind("RESOURCE_EXHAUSTED: too much"))

        answers = server.predict_files(self.paths)

        self.assertEqual(
            [found.error for found in answers],
            [""] * 3 + ["RESOURCE_EXHAUSTED: too much"] + [""] * 6,
        )

    def test_a_server_that_is_down_is_not_asked_about_each(self):
        server = _OddClient(errors.UserError("is it running?"), is_down=True)

        with self.assertRaisesRegex(errors.UserError, "is it running"):
            server.predict_files(self.paths)

        self.assertEqual(server.num_asked, [10, 1])


class NoAnswerTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        self.enter_context(mock.patch.dict(os.environ, direct))

    @parameterized.parameters(
        (client.RestClient, "http://{}"), (client.GrpcClient, "{}")
    )
    def test_nobody_listens(self, kind, form):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        address = form.format(f"127.0.0.1:{port}")
        with self.assertRaises(errors.UserError) as caught:
            kind(address, _MODEL).predict_bytes([b""])
        self.assertNotIsInstance(caught.exception, client.Refused)
        self.assertRegex(
            str(caught.exception), f"^{address}: .*refused.*is it running.?$"
        )

    @parameterized.parameters(
        (client.RestClient, "http://{}", "no answer in 0.2 s"),
        (client.GrpcClient, "{}", "DEADLINE_EXCEEDED"),
    )
    def test_somebody_listens_and_says_nothing(self, kind, form, words):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            address = form.format(f"127.0.0.1:{port}")
            server = kind(address, _MODEL, timeout=0.2)
            with self.assertRaisesRegex(errors.UserError, words) as caught:
                server.predict_bytes([b""])
        self.assertLen(str(caught.exception).splitlines(), 1)

    @parameterized.parameters(
        # As some versions of TensorFlow Serving escape: not JSON.
        (400, b"""{ "error": "input \\'x\\'\n\tis wrong" }""", "is wrong"),
        (400, b'{"error": "two\\nlines"}', "two lines"),
        (400, b'{"error": "' + b"1" * 9_999 + b'"}', r"1{400}\.\.\.$"),
        (502, b"<html>Bad Gateway</html>", "502: <html>Bad Gateway"),
        (200, b"<html>Hello</html>", "not answer as TensorFlow Serving does"),
        (200, b"[1]", "not answer as TensorFlow Serving does"),
        (200, b'{"outputs": [[3]]}', "without landmarks"),
    )
    def test_an_answer_that_is_not_one_ends_in_a_line(
        self, status, content, words
    ):
        with _answering(status, content) as url:
            with self.assertRaisesRegex(errors.UserError, words) as caught:
                client.RestClient(url, _MODEL).predict_bytes([b""])
        self.assertLen(str(caught.exception).splitlines(), 1)
        is_refusal = isinstance(caught.exception, client.Refused)
        self.assertEqual(is_refusal, status == 400)

    def test_a_redirection_is_not_followed(self):
        # By a GET, as urllib would; the server would call that malformed.
        with _answering(301, b"Moved", Location="https://elsewhere") as url:
            with self.assertRaisesRegex(errors.UserError, "HTTP 301: Moved"):
                client.RestClient(url, _MODEL).predict_bytes([b""])

    @parameterized.parameters("http://127.0.0.1:1/modèle", "http://a..b:1")
    def test_a_url_that_cannot_be_asked_ends_in_a_line(self, url):
        with self.assertRaisesRegex(errors.UserError, "is it running"):
            client.RestClient(url, _MODEL).predict_bytes([b""])

    @parameterized.parameters(
        "localhost:8501", "http://", "ftp://localhost", "http://[::1:8501"
    )
    def test_what_is_no_url_is_named(self, url):
        words = f"^'{re.escape(url)}' is not the"
        with self.assertRaisesRegex(errors.UserError, words):
            client.RestClient(url, _MODEL)

    def test_images_of_another_type_are_not_sent(self):
        server = client.RestClient("http://127.0.0.1:1", _MODEL)
        for images, kind in ((np.zeros([1, 2, 2, 3]), "float64"), ([], "list")):
            with self.assertRaisesRegex(
                errors.UserError, f"must be a uint8 array .*, got {kind}$"
            ):
                server.predict_images(images)

    def test_without_the_package_of_grpc_it_says_what_to_install(self):
        missing = {"tensorflow_serving.apis": None}
        with mock.patch.dict(sys.modules, missing):
            with self.assertRaisesRegex(
                errors.UserError, "pip install tensorflow-serving-api==2.15.1$"
            ):
                client.GrpcClient("localhost:8500", _MODEL)

    def test_messages_of_grpc_may_be_larger_than_4_mb(self):
        rpc = grpc.server(
            futures.ThreadPoolExecutor(max_workers=1),
            options=[("grpc.max_receive_message_length", -1)],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Echo(), rpc
        )
        port = rpc.add_insecure_port("127.0.0.1:0")
        rpc.start()
        self.addCleanup(rpc.stop, None)
        server = client.GrpcClient(f"127.0.0.1:{port}", _MODEL)
        self.addCleanup(server.close)

        values = server.predict("any", values=np.zeros([4_200_000], np.uint8))

        self.assertLen(values, 4_200_000)

    def test_without_pillow_it_says_what_to_install(self):
        server = client.RestClient("http://127.0.0.1:1", _MODEL)
        with mock.patch.dict(sys.modules, {"tflm.media": None}):
            with self.assertRaisesRegex(
                errors.UserError, "pip install numpy pillow; or send upright"
            ):
                server.predict_bytes([b""])

    def test_rest_needs_nothing_but_python(self):
        root = pathlib.Path(__file__).parents[3]
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT],
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.stdout.strip(), "")


class _Echo(prediction_service_pb2_grpc.PredictionServiceServicer):
    def Predict(self, request, context):
        return predict_pb2.PredictResponse(outputs=request.inputs)


@contextlib.contextmanager
def _answering(status: int, content: bytes, **headers: str):
    """A server that answers everything alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        thread.join()


if __name__ == "__main__":
    tf.test.main()
