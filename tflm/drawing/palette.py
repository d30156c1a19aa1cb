"""Colours of landmarks, that the colour-blind tell apart too.

Chosen greedily: after a vermilion, each is the one whose distance in CIELAB to
the nearest of those before it is greatest, taking of normal sight, protanopia
and deuteranopia the one that sees it smallest. So the first K are a good choice
for every K, and a landmark has the same colour beside many others as beside
few. Chosen from all colours whose channels are multiples of 17, with lightness
from 40 to 96 for all three, so that they show on dark images and, with a dark
edge, on light ones, and chroma of at least 45, so that they are no greys.

Sight is simulated by the matrices for severity 1 of Machado, Oliveira and
Fernandes, "A physiologically-based model for simulation of color vision
deficiency", IEEE Transactions on Visualization and Computer Graphics 15, 2009.
"""

import numpy as np

# An odd number: then colours and an even number of shapes, both repeated, give
# as many pairs as there can be.
_COLOURS = (
    "ee4400 7711ff 11eeff bb4466 bbffaa 3377cc eeff00 55ddbb dd6655"
    " ffdd66 7766ff 33bbff bb5599 ff9900 55cc88 ddaa55 11ffee cc00bb"
    " ee88cc 7788ff 227733 88ffcc dd6699 ddee88 33dd22 5544dd 449955"
    " 009900 cc77cc ff8877 994499 88eeaa ff88ff ee33dd bbee11 bbdd88"
    " 00cc99 ffee55 cc8844 bb4477 7744ff 00bb66 66ffdd 8844aa dd6677"
    " dd6688 eecc66 6655dd ee88bb cc4444 bb55aa dd66aa ff1133 eecc44"
    " 7788dd ffaaee 008811 7777ff ee88dd 669933 bbff77 ffbb77 33ffff"
).split()


def palette(num_landmarks: int) -> np.ndarray:
    """A fixed colour for each landmark, the same in every picture.

    Returns:
        float32 `[num_landmarks, 3]`, RGB in [0, 1]. After the 63rd they repeat.
    """
    rgb = [list(bytes.fromhex(colour)) for colour in _COLOURS]
    repeated = np.arange(num_landmarks) % len(rgb)
    return (np.array(rgb, np.float32) / 255.0)[repeated]
