"""What the scripts set before TensorFlow starts."""

import json
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest

_ROOT = pathlib.Path(__file__).parents[2]
_NAME = "TF_ENABLE_ONEDNN_OPTS"
_PROGRAM = f"""
import json, os, sys
from tflm import command_line
print(json.dumps([os.environ["{_NAME}"], "tensorflow" in sys.modules]))
"""


def _seen(**environment: str) -> tuple[str, bool]:
    """Of a new process: the variable, and whether TensorFlow has started."""
    inherited = {k: v for k, v in os.environ.items() if k != _NAME}
    output = subprocess.check_output(
        [sys.executable, "-c", _PROGRAM],
        env={**inherited, **environment, "PYTHONPATH": str(_ROOT)},
    )
    return tuple(json.loads(output))


def _failed(statement: str) -> str:
    """What a script whose main is `statement` writes to stderr."""
    program = (
        "import sys; sys.argv[0] = 'script.py'\n"
        "from tflm import command_line, errors\n"
        f"def main():\n    {statement}\n"
        "command_line.run(main)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert ended.returncode == 1
    return ended.stderr


class CommandLineTest(absltest.TestCase):
    def test_a_path_that_cannot_be_used_is_one_line(self):
        self.assertEqual(
            _failed("open('/nowhere/file')"),
            "script.py: /nowhere/file: No such file or directory; choose"
            " another path\n",
        )
        self.assertRegex(
            _failed("open('/dev/null/' + 255 * 'x')"),
            r"\Ascript.py: /dev/null/x+: Not a directory; .*\n\Z",
        )
        self.assertEqual(
            _failed("raise errors.MissingError('no run; train one')"),
            "script.py: no run; train one\n",
        )

    def test_an_error_that_names_no_path_keeps_its_traceback(self):
        for statement in (
            "raise OSError('what is this')",
            "import os; os.read(999, 1)",
        ):
            with self.subTest(statement):
                found = _failed(statement)
                self.assertIn("Traceback", found)
                self.assertIn("in main", found)

    def test_a_reader_who_has_read_enough_gets_no_error(self):
        found = _failed(
            "import os; r, w = os.pipe(); os.close(r); os.write(w, b'x')"
        )
        self.assertEmpty(found)

    def test_onednn_is_on_before_tensorflow_starts(self):
        self.assertEqual(_seen(), ("1", False))

    def test_a_user_may_turn_it_off(self):
        self.assertEqual(_seen(**{_NAME: "0"}), ("0", False))

    def test_a_tilde_after_a_flag_is_the_home_folder(self):
        printed = subprocess.check_output(
            [
                sys.executable,
                "-c",
                "from absl import flags; from tflm import command_line\n"
                "paths = flags.DEFINE_list('paths', [], '')\n"
                "command_line.run(lambda rest: print(paths.value, rest), True)",
                "--paths=~/a,b~,~/c=d",
                "~/e",
            ],
            env={**os.environ, "HOME": "/home/me", "PYTHONPATH": str(_ROOT)},
            text=True,
        )
        self.assertEqual(
            printed, "['/home/me/a', 'b~', '/home/me/c=d'] ['~/e']\n"
        )


if __name__ == "__main__":
    absltest.main()
