"""The dependency rules of the layout, enforced."""

import ast
import pathlib

from absl.testing import absltest

ROOT = pathlib.Path(__file__).parents[1]
# Rooms of tflm in the order that data flows; one imports only from those
# before it.
ROOMS = (
    "errors",
    "files",
    "command_line",
    "media",
    "client",
    "configs",
    "coords",
    "drawing",
    "data",
    "models",
    "losses",
    "training",
    "colorization",
    "evaluation",
    "serving",
    "web",
    "prediction",
    "pretrain_colorization",
    "ablation",
    "predict",
)
# Run as python -m tflm.NAME.
SCRIPTS = ("client/__main__", "pretrain_colorization", "ablation", "predict")
# All that data_prep may import of tflm.
GROUND = ("tflm.errors", "tflm.files", "tflm.media")


def _imported(path: pathlib.Path, at_start: bool = False) -> set[str]:
    """Full names of the modules (or their members) that a file imports.

    Args:
        path: of the file.
        at_start: whether only those that are imported with it are meant.
    """
    names = set()
    tree = ast.parse(path.read_text())
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _packages(path: pathlib.Path) -> set[str]:
    return {name.split(".")[0] for name in _imported(path)}


class ImportsTest(absltest.TestCase):
    def test_rooms_import_only_from_rooms_before_them(self):
        for path in (ROOT / "tflm").rglob("*.py"):
            room = path.relative_to(ROOT / "tflm").parts[0].removesuffix(".py")
            if room == "__init__":
                continue
            allowed = set(ROOMS[: ROOMS.index(room) + 1])
            imported = {
                name.split(".")[1]
                for name in _imported(path)
                if name.startswith("tflm.")
            }
            with self.subTest(str(path)):
                self.assertLessEqual(imported, allowed)

    def test_data_prep_and_tflm_share_the_reading_of_media_alone(self):
        for path in (ROOT / "data_prep").rglob("*.py"):
            with self.subTest(str(path)):
                for name in _imported(path):
                    if name.startswith("tflm"):
                        self.assertStartsWith(name, GROUND)
        for path in (ROOT / "tflm").rglob("*.py"):
            with self.subTest(str(path)):
                self.assertNotIn("data_prep", _packages(path))

    def test_media_is_read_without_tensorflow(self):
        for path in (ROOT / "tflm" / "media").rglob("*.py"):
            with self.subTest(str(path)):
                self.assertNoCommonElements(
                    _packages(path), {"tensorflow", "tensorflow_datasets"}
                )

    def test_tensorflow_addons_is_imported_by_the_warps_alone(self):
        users = [
            str(path.relative_to(ROOT))
            for folder in ("tflm", "data_prep")
            for path in (ROOT / folder).rglob("*.py")
            if "tensorflow_addons" in _packages(path)
        ]
        self.assertEqual(users, ["tflm/data/warps.py"])

    def test_what_needs_beam_and_ffmpeg_is_in_one_place(self):
        for package, expected in (
            ("apache_beam", {"data_prep/beam_pipeline.py"}),
            # One reads videos, the other writes them.
            ("av", {"tflm/media/videos", "tflm/drawing/movies.py"}),
        ):
            users = {
                path.relative_to(ROOT)
                for folder in ("data_prep", "tflm")
                for path in (ROOT / folder).rglob("*.py")
                if package in _packages(path)
                and path.name != "make_dummy_data.py"
            }
            users = {
                path.parent.as_posix()
                if path.parts[-2] == "videos"
                else str(path)
                for path in users
            }
            self.assertEqual(users, expected)

    def test_what_needs_onnx_imports_it_when_it_is_asked_for(self):
        for package in ("onnx", "onnxruntime", "tf2onnx"):
            users = [
                path.relative_to(ROOT).as_posix()
                for path in (ROOT / "tflm").rglob("*.py")
                if package in _packages(path)
            ]
            self.assertEqual(users, ["tflm/serving/onnx_file.py"])
        at_start = _imported(ROOT / users[0], at_start=True)
        self.assertIn("numpy", at_start)
        self.assertNoCommonElements(
            at_start, {"onnx", "onnxruntime", "tf2onnx"}
        )

    def test_flags_are_defined_by_scripts_alone(self):
        users = {
            path.relative_to(ROOT / "tflm").with_suffix("").as_posix()
            for path in (ROOT / "tflm").rglob("*.py")
            if "absl.flags" in _imported(path)
        }
        self.assertLessEqual(users, set(SCRIPTS))

    def test_configs_import_no_tensorflow(self):
        packages = _packages(ROOT / "tflm" / "configs.py")
        self.assertNotIn("tensorflow", packages)


if __name__ == "__main__":
    absltest.main()
