"""LiteRT.js, which runs .tflite files in a browser: a pinned release of npm.

It is too large to be kept with the code, so it is fetched when a page is first
written, checked by its hash, and kept in the user's cache folder.

To update it, take a `VERSION` that both packages have, and their hashes as
`npm view @litertjs/core@VERSION dist.integrity` prints them; tests/tflm/web
then shows in a browser whether the page still works.

Source: https://github.com/google-ai-edge/LiteRT, litert/js; Apache License 2.0.
"""

import base64
from collections.abc import Sequence
import dataclasses
import hashlib
import http.client
import io
import logging
import os
import pathlib
import shutil
import subprocess
import tarfile
import urllib.request

from tflm import errors
from tflm import files

VERSION = "2.5.3"

_PUBLIC_REGISTRY = "https://registry.npmjs.org"
_REGISTRY_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")
_SECONDS = 60.0  # That the registry may be silent.

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Package:
    """A package of the scope @litertjs."""

    name: str
    integrity: str  # As npm states it: sha512-BASE64.
    members: dict[str, str]  # What of it is needed, and its name here.

    @property
    def file_name(self) -> str:
        """As `npm pack` names the archive."""
        return f"litertjs-{self.name}-{VERSION}.tgz"


_PACKAGES = (
    _Package(
        "core",
        "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkv"
        "iYGr9OFDL1kCnN4nzWoyJQ==",
        {
            "package/dist/index.js": "index.js",
            # LiteRT.js takes the second where the browser has no relaxed SIMD.
            **{
                f"package/wasm/{name}": f"wasm/{name}"
                for name in (
                    "litert_wasm_internal.js",
                    "litert_wasm_internal.wasm",
                    "litert_wasm_compat_internal.js",
                    "litert_wasm_compat_internal.wasm",
                )
            },
        },
    ),
    _Package(
        "wasm-utils",
        "sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2k"
        "T39A9OYBVdFawteZ/sI1kQ==",
        {"package/dist/index.js": "wasm_utils.js"},
    ),
)


def load(litert_dir: str | os.PathLike | None = None) -> list[bytes]:
    """Gives the archives of the packages, for `unpack`.

    Args:
        litert_dir: where the archives of `npm pack` are; None: they come from
            the cache, or from the registry that npm is set up for.

    Raises:
        errors.UserError: if they cannot be had, or are not what they should be.
    """
    if litert_dir is None:
        return [_fetch(package) for package in _PACKAGES]
    return [_read(package, litert_dir) for package in _PACKAGES]


def unpack(archives: Sequence[bytes], folder: str | os.PathLike) -> None:
    """Writes `index.js`, `wasm_utils.js` and `wasm/` into a folder.

    Args:
        archives: of `load`.
        folder: made if needed.
    """
    for package, archive in zip(_PACKAGES, archives, strict=True):
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member, name in package.members.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(member).read())


def _read(package: _Package, litert_dir: str | os.PathLike) -> bytes:
    path = pathlib.Path(litert_dir, package.file_name)
    try:
        archive = path.read_bytes()
    except OSError as error:
        raise errors.UserError(
            f"cannot read {path}: {error.strerror}; run {_pack()} in that"
            " folder"
        ) from error
    if not _is_sound(archive, package):
        raise errors.UserError(
            f"{path} is damaged or another file: its hash differs; run"
            f" {_pack()} in that folder"
        )
    return archive


def _fetch(package: _Package) -> bytes:
    """From the cache, or else from the registry into the cache."""
    try:
        cached = _cache_dir() / package.file_name
    except RuntimeError:  # The user has no home folder.
        return _download(package)
    try:
        archive = cached.read_bytes()
    except OSError:
        archive = b""
    if _is_sound(archive, package):
        return archive
    archive = _download(package)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(cached) as partial:
            partial.write_bytes(archive)
    except OSError as error:
        _log.info("%s is not kept: %s", cached, error.strerror)
    return archive


def _download(package: _Package) -> bytes:
    registry = _registry()
    url = f"{registry}/@litertjs/{package.name}/-/{package.name}-{VERSION}.tgz"
    _log.info("fetching %s", url)
    remedy = (
        f"try again, or run {_pack()} where there is a network and give the"
        " folder of its two files as --litert_dir"
    )
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as response:
            archive = response.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise errors.UserError(
            f"cannot fetch {url}: {error}; {remedy}"
        ) from error
    if not _is_sound(archive, package):
        raise errors.UserError(
            f"{url} is not what it should be: its hash differs; {remedy}"
        )
    return archive


def _registry() -> str:
    """Where npm fetches from on this machine, without a slash at the end."""
    for name in _REGISTRY_VARIABLES:
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    if npm := shutil.which("npm"):
        answer = subprocess.run(
            [npm, "config", "get", "registry"], capture_output=True, text=True
        )
        if answer.stdout.startswith("http"):
            return answer.stdout.strip().rstrip("/")
    return _PUBLIC_REGISTRY


def _cache_dir() -> pathlib.Path:
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home, "tflm")


def _is_sound(archive: bytes, package: _Package) -> bool:
    digest = hashlib.sha512(archive).digest()
    return package.integrity == f"sha512-{base64.b64encode(digest).decode()}"


def _pack() -> str:
    """The command that fetches the archives."""
    names = (f"@litertjs/{package.name}@{VERSION}" for package in _PACKAGES)
    return f"npm pack {' '.join(names)}"
