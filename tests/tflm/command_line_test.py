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


class CommandLineTest(absltest.TestCase):
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
