"""Stops a training whose numbers are not numbers any more."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tflm.training import checkpoints


def check(
    latest: Sequence[Mapping[str, tf.Tensor]], last_step: int, workdir: str
) -> None:
    """Finds the first step that was not finite, and its most telling value.

    Args:
        latest: scalars of the latest steps, `loss` and `gradient_norm` among
            them, oldest first.
        last_step: the number of the last of these steps.
        workdir: whose newest checkpoint is older than all of them.

    Raises:
        FloatingPointError: naming the value, the step and the checkpoint.
    """
    for step, metrics in enumerate(latest, last_step - len(latest) + 1):
        values = {name: float(value) for name, value in metrics.items()}
        bad = [name for name in values if not np.isfinite(values[name])]
        if bad:
            # A part is what spoils the sum, and the loss what spoils gradients.
            order = {"loss": 1, "gradient_norm": 2}
            name = min(bad, key=lambda name: order.get(name, 0))
            good = checkpoints.newest(workdir)
            raise FloatingPointError(
                f"{name} is {values[name]} at step {step}; the last good"
                f" checkpoint is {good or 'none'}. Try a lower learning rate"
                " in another --workdir"
            )
