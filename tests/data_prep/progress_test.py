import contextlib
import io
from unittest import mock

from absl.testing import absltest

from data_prep import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ProgressTest(absltest.TestCase):
    def _said(self, total: int, steps: list[tuple[float, int]]) -> list[str]:
        """Lines on a pipe, after steps of (seconds from the start, count)."""
        clock = mock.Mock(return_value=1_000.0)
        with (
            mock.patch.object(progress.time, "monotonic", clock),
            contextlib.redirect_stderr(io.StringIO()) as error,
            progress.Display("celeba train", total, "frames") as display,
        ):
            for seconds, count in steps:
                clock.return_value = 1_000.0 + seconds
                display.advance(count)
        return error.getvalue().splitlines()

    def test_a_pipe_gets_count_speed_and_time_to_go(self):
        self.assertEqual(
            self._said(100, [(10.0, 8), (20.0, 42)]),
            [
                "celeba train: 8 of 100 frames, 0.8 a second, 0:01:55 to go",
                "celeba train: 50 of 100 frames, 2.5 a second, 0:00:20 to go",
            ],
        )

    def test_hours_to_go(self):
        self.assertEqual(
            self._said(1_000_000, [(10.0, 1_000)]),
            [
                "celeba train: 1000 of 1000000 frames, 100.0 a second, 2:46:30"
                " to go"
            ],
        )

    def test_a_line_every_ten_seconds(self):
        steps = [(seconds, 1) for seconds in range(1, 36)]
        self.assertLen(self._said(0, steps), 3)

    def test_no_time_to_go_if_the_total_is_unknown_or_passed_or_nothing_done(
        self,
    ):
        self.assertEqual(
            self._said(0, [(10.0, 8)]),
            ["celeba train: 8 frames, 0.8 a second"],
        )
        self.assertEqual(
            self._said(8, [(10.0, 9)]),
            ["celeba train: 9 of 8 frames, 0.9 a second"],
        )
        self.assertEqual(
            self._said(8, [(10.0, 0)]),
            ["celeba train: 0 of 8 frames, 0.0 a second"],
        )

    def test_a_terminal_gets_a_bar_that_is_closed(self):
        with contextlib.redirect_stderr(Terminal()) as error:
            with progress.Display("celeba train", 4, "frames") as display:
                display.advance(3)
                display._bar.refresh()
            drawn = error.getvalue()
        self.assertRegex(drawn, r"celeba train:  75%.* 3/4 .*frames")
        self.assertTrue(drawn.endswith("\n"))


if __name__ == "__main__":
    absltest.main()
