import base64
import hashlib
import io
import os
import pathlib
import tarfile
import tempfile
from unittest import mock

from absl.testing import absltest

from tflm import errors
from tflm.web import litert


def _archive(members: dict[str, bytes]) -> bytes:
    """A .tgz as npm has them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def _package(name: str, archive: bytes, members: dict[str, str]):
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    return litert._Package(name, f"sha512-{digest}", members)


CORE = _archive(
    {"package/dist/index.js": b"core", "package/wasm/a.wasm": b"a", "b": b"b"}
)
OTHER = _archive({"package/dist/index.js": b"other"})
PACKAGES = (
    _package(
        "core",
        CORE,
        {"package/dist/index.js": "index.js", "package/wasm/a.wasm": "wasm/a"},
    ),
    _package("wasm-utils", OTHER, {"package/dist/index.js": "other.js"}),
)
FILES = {"index.js": b"core", "wasm/a": b"a", "other.js": b"other"}


class LitertTest(absltest.TestCase):
    """With two small packages, in a registry that is a folder."""

    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory())
        )
        self.registry = self.root / "registry"
        for name, archive in (("core", CORE), ("wasm-utils", OTHER)):
            path = (
                self.registry
                / f"@litertjs/{name}/-/{name}-{litert.VERSION}.tgz"
            )
            path.parent.mkdir(parents=True)
            path.write_bytes(archive)
        self.cache = self.root / "cache" / "tflm"
        self.core = f"litertjs-core-{litert.VERSION}.tgz"
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in litert._REGISTRY_VARIABLES
        }
        environment["XDG_CACHE_HOME"] = str(self.root / "cache")
        environment["NPM_CONFIG_REGISTRY"] = self.registry.as_uri()
        self.enter_context(mock.patch.dict(os.environ, environment, clear=True))
        self.enter_context(mock.patch.object(litert, "_PACKAGES", PACKAGES))

    def _unpack(self, litert_dir=None) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            litert.unpack(litert.load(litert_dir), folder)
            return {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in pathlib.Path(folder).rglob("*")
                if path.is_file()
            }

    def _error(self, litert_dir=None) -> str:
        with self.assertRaises(errors.UserError) as caught:
            self._unpack(litert_dir)
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def test_what_is_needed_is_fetched_once(self):
        self.assertEqual(self._unpack(), FILES)
        self.registry.rename(self.root / "gone")
        self.assertEqual(self._unpack(), FILES)

    def test_a_damaged_cache_is_mended(self):
        self._unpack()
        (self.cache / self.core).write_bytes(CORE[:-1])
        self.assertEqual(self._unpack(), FILES)
        self.assertEqual((self.cache / self.core).read_bytes(), CORE)

    def test_without_network_and_cache_the_remedy_is_named(self):
        self.registry.rename(self.root / "gone")
        self.assertRegex(
            self._error(),
            f"cannot fetch file:.*/core-{litert.VERSION}.tgz: .*; try again, or"
            f" run npm pack @litertjs/core@{litert.VERSION}"
            f" @litertjs/wasm-utils@{litert.VERSION} where .* --litert_dir",
        )

    def test_anything_else_in_the_registry_is_refused_and_not_kept(self):
        (path,) = self.registry.rglob("core-*.tgz")
        path.write_bytes(OTHER)
        self.assertIn("core-", self._error())
        self.assertIn("its hash differs", self._error())
        self.assertFalse((self.cache / self.core).exists())

    def test_archives_of_a_folder_need_neither_network_nor_cache(self):
        self.registry.rename(self.root / "gone")
        folder = self.root / "packed"
        folder.mkdir()
        self.assertRegex(
            self._error(folder), f"cannot read .*{self.core}: .*; run npm pack"
        )
        other = f"litertjs-wasm-utils-{litert.VERSION}.tgz"
        (folder / other).write_bytes(OTHER)
        (folder / self.core).write_bytes(OTHER)
        self.assertRegex(
            self._error(folder), f"{self.core} is damaged.*; run npm pack"
        )
        (folder / self.core).write_bytes(CORE)
        self.assertEqual(self._unpack(folder), FILES)
        self.assertFalse(self.cache.exists())

    def test_a_cache_that_cannot_be_written_is_done_without(self):
        (self.root / "cache").touch()
        self.assertEqual(self._unpack(), FILES)

    def test_a_user_without_a_home_folder_has_no_cache(self):
        del os.environ["XDG_CACHE_HOME"]
        no_home = RuntimeError("Could not determine home directory.")
        with mock.patch.object(pathlib.Path, "home", side_effect=no_home):
            self.assertEqual(self._unpack(), FILES)

    def test_the_registry_is_the_one_that_npm_is_set_up_for(self):
        npm = self.root / "npm"
        npm.write_text("#!/bin/sh\necho http://127.0.0.1:9/mirror/\n")
        npm.chmod(0o755)
        del os.environ["NPM_CONFIG_REGISTRY"]
        os.environ["PATH"] = f"{self.root}{os.pathsep}{os.environ['PATH']}"
        self.assertIn("http://127.0.0.1:9/mirror/@litertjs", self._error())

        os.environ["npm_config_registry"] = self.registry.as_uri()
        self.assertEqual(self._unpack(), FILES)


if __name__ == "__main__":
    absltest.main()
