"""What a person at the terminal sees of a training, and how they stop it."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import logging
import signal

import tensorflow as tf
import tqdm
import tqdm.contrib.logging

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying of them."""
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda got, _: received.append(got))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Progress(tqdm.tqdm):
    """A bar of steps with the loss and images/s; plain lines without a tty."""

    def update_to(
        self, step: int, metrics: Mapping[str, tf.Tensor], speed: float
    ) -> None:
        """Shows a step, its loss, and the images per second up to it.

        A perceptual loss is about 1 however good it is, so the error of the
        pixels, `loss/input`, is shown beside it.
        """
        text = f"loss {float(metrics['loss']):.5f}"
        if "loss/input" in metrics:
            text += f", of pixels {float(metrics['loss/input']):.5f}"
        text += f", {speed:.0f} images/s"
        self.set_postfix_str(text, refresh=False)
        self.update(step - self.n)
        if self.disable:
            _log.info("step %d / %d, %s", step, self.total, text)


@contextlib.contextmanager
def progress(step: int, last_step: int) -> Iterator[Progress]:
    """A bar from `step` to `last_step`; log lines appear above it."""
    bar_format = (
        "step {n_fmt}/{total_fmt} {bar:24}{postfix}, {elapsed} passed,"
        " {remaining} left"
    )
    with (
        Progress(
            initial=step,
            total=last_step,
            bar_format=bar_format,
            disable=None,
            dynamic_ncols=True,
        ) as bar,
        tqdm.contrib.logging.logging_redirect_tqdm([logging.getLogger("tflm")]),
    ):
        yield bar
