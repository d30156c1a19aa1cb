"""Asking by REST, with Python's standard library alone.

Files are sent as base64, a third more bytes, and arrays as text, several times
as many: they are better sent as files, or by gRPC.
"""

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request

from tflm import errors
from tflm.client import served


class RestClient(served.Client):
    """Asks over HTTP; a new connection for each request.

    Args:
        url: of the server, for instance "http://localhost:8501".
        model: its name there.
        version: of the model; the newest if None.
        timeout: seconds that the server may be silent.
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: int | None = None,
        timeout: float = 60.0,
    ):
        try:
            parts = urllib.parse.urlsplit(url)
        except ValueError:  # Half of an IPv6 address.
            parts = urllib.parse.urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise errors.UserError(
                f"{url!r} is not the URL of a server; one is like"
                " http://localhost:8501"
            )
        path = f"/v1/models/{urllib.parse.quote(model, safe='')}"
        if version is not None:
            path += f"/versions/{version}"
        self._server = url.rstrip("/")
        self._url = f"{self._server}{path}:predict"
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirect)

    def close(self) -> None:
        """Does nothing: no connection is kept."""

    def predict(self, signature: str, **inputs) -> dict[str, list]:
        question = {"signature_name": signature, "inputs": inputs}
        request = urllib.request.Request(
            self._url,
            json.dumps(question, default=_as_json).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            status, content = self._answer(request)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                reason = f"no answer in {self._timeout:g} s"
            raise errors.UserError(
                f"{self._server}: {served.one_line(reason)}; is it the server's"
                " URL, and is it running?"
            ) from error
        if status != 200:
            kind = served.Refused if 400 <= status < 500 else errors.UserError
            raise kind(
                f"{self._server} answers HTTP {status}: {_error_in(content)}"
            )
        try:
            return json.loads(content)["outputs"]
        except (ValueError, TypeError, LookupError) as error:
            raise errors.UserError(
                f"{self._server} does not answer as TensorFlow Serving does;"
                " is it the URL of its REST server?"
            ) from error

    def _answer(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Otherwise a question would be sent on as a GET without its content."""

    def redirect_request(self, *_):
        return None


def _as_json(value):
    """What JSON has no form for: files, and arrays."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value.tolist()


def _error_in(content: bytes) -> str:
    """The message of an answer that is not HTTP 200, in one line.

    Some versions of TensorFlow Serving escape it in a way that is not JSON.
    """
    text = content.decode(errors="replace")
    try:
        return served.one_line(json.loads(text)["error"])
    except (ValueError, TypeError, LookupError):
        return served.one_line(text)
