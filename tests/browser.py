"""A real browser for tests: headless Chromium, over its own pipe.

Commands and events are JSON as the DevTools protocol has them; see
https://chromedevtools.github.io/devtools-protocol. Nothing listens on a port.
"""

import base64
from collections.abc import Iterator
import contextlib
import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # Which root cannot have.
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No host has an address, but for a server that a test starts itself.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # A camera that shows moving shapes, and that any page may use.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--remote-debugging-pipe",
)
_SECONDS = 60.0  # That one answer may take, on a busy machine.
_HIGH_FD = 10  # Chromium reads from 3 and writes to 4: out of their way.


def find() -> str | None:
    """Path of a Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """An open page, and all that went wrong in it.

    Attributes:
        requests: URLs that the page asked for, itself and data: left out.
        problems: what it wrote to the console, and errors.
    """

    def __init__(self, pipe: "_Pipe", session: str):
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._pipe = pipe
        self._session = session

    def command(self, method: str, **parameters) -> dict:
        """Sends a command of the protocol to the page; answers its result."""
        return self._pipe.command(method, parameters, self._session, self._note)

    def load(self, url: str) -> None:
        """Goes to a URL and waits until all of it is loaded."""
        self._url, self._is_loaded = url, False
        answer = self.command("Page.navigate", url=url)
        if "errorText" in answer:
            raise RuntimeError(f"cannot open {url}: {answer['errorText']}")
        while not self._is_loaded:
            self._note(self._pipe.read())

    def resize(self, width: int, height: int = 800) -> None:
        """Makes the window, in CSS pixels, that of a phone or a desk."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def evaluate(self, expression: str):
        """The value of JavaScript, or of the promise it answers."""
        answer = self.command(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def emulate(self, media: str = "", **features: str) -> None:
        """Shows the page as for `print`, or `prefers_color_scheme="dark"`."""
        self.command(
            "Emulation.setEmulatedMedia",
            media=media,
            features=[
                {"name": name.replace("_", "-"), "value": value}
                for name, value in features.items()
            ],
        )

    def screenshot(self, path: str | os.PathLike, whole: bool = True) -> None:
        """Writes a PNG of the whole page, or of the window."""
        answer = self.command(
            "Page.captureScreenshot", captureBeyondViewport=whole
        )
        pathlib.Path(path).write_bytes(base64.b64decode(answer["data"]))

    def _note(self, message: dict) -> None:
        """Keeps what an event of the page says."""
        if message.get("sessionId") != self._session:
            return
        method, event = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._is_loaded = True
        elif method == "Network.requestWillBeSent":
            url = event["request"]["url"]
            if url != self._url and not url.startswith("data:"):
                self.requests.append(url)
        elif method == "Runtime.consoleAPICalled":
            words = [str(arg.get("value")) for arg in event["args"]]
            self.problems.append(f"{event['type']}: {' '.join(words)}")
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", "")
            self.problems.append(f"{details['text']} {thrown}")
        elif method == "Log.entryAdded":
            entry = event["entry"]
            self.problems.append(f"{entry['level']}: {entry['text']}")


@contextlib.contextmanager
def open_page(width: int = 1200) -> Iterator[Page]:
    """Starts a browser with an empty page; ends it with the block.

    Raises:
        RuntimeError: if there is no Chromium, or it does not answer.
    """
    program = find()
    if program is None:
        raise RuntimeError(f"none of {', '.join(NAMES)} is on PATH")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        pipe = _Pipe(program, pathlib.Path(folder))
        try:
            target = pipe.command("Target.createTarget", {"url": "about:blank"})
            attached = pipe.command(
                "Target.attachToTarget", {**target, "flatten": True}
            )
            page = Page(pipe, attached["sessionId"])
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.command(f"{domain}.enable")
            page.resize(width)
            yield page
        finally:
            pipe.close()


class _Pipe:
    """A Chromium process and the two pipes to it."""

    def __init__(self, program: str, folder: pathlib.Path):
        self._log = folder / "log.txt"
        child_reads, self._writes = map(_high, os.pipe())
        self._reads, child_writes = map(_high, os.pipe())
        self._buffer = b""
        self._num_commands = 0
        flags = (*_FLAGS, f"--user-data-dir={folder / 'profile'}")
        self._process = os.posix_spawn(
            program,
            [program, *flags],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (
                    os.POSIX_SPAWN_OPEN,
                    1,
                    str(self._log),
                    os.O_WRONLY | os.O_CREAT,
                    0o600,
                ),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, child_reads, 3),
                (os.POSIX_SPAWN_DUP2, child_writes, 4),
            ],
            setsid=True,
        )
        os.close(child_reads)
        os.close(child_writes)

    def command(
        self, method: str, parameters: dict, session: str = "", note=None
    ) -> dict:
        """Sends a command; `note` gets the events that come before it."""
        self._num_commands += 1
        message = {
            "id": self._num_commands,
            "method": method,
            "params": parameters,
            **({"sessionId": session} if session else {}),
        }
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._writes, rest) :]
        while True:
            answer = self.read()
            if answer.get("id") != self._num_commands:
                if note is not None:
                    note(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            else:
                return answer["result"]

    def read(self) -> dict:
        """The next message."""
        deadline = time.monotonic() + _SECONDS
        while b"\0" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            is_ready, _, _ = select.select([self._reads], [], [], left)
            more = os.read(self._reads, 1 << 20) if is_ready else b""
            if not more:
                why = "has ended" if is_ready else f"is silent for {_SECONDS} s"
                raise RuntimeError(
                    f"Chromium {why}: {self._log.read_text()[-2000:]}"
                )
            self._buffer += more
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        """Ends the browser and all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._reads)
        os.close(self._writes)


def _high(descriptor: int) -> int:
    """The same file under a number that Chromium does not use."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    os.close(descriptor)
    return high
