"""Numbers of the paper, to stand beside measured ones.

All are NME in percent on the official test images, for networks trained to the
end on all of their data; without bias unless said.

Source: Jakab et al., NeurIPS 2018, table 1. (The table of figure 4, of bodies,
is not here: its numbers could not be checked.)
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of table 1; None where the paper has none."""

    method: str
    trained_on: str
    loss_network: str
    num_landmarks: int | None
    nme_percent: dict[str, float]  # By dataset of the test images.
    with_bias: bool = False


def _ours(trained_on, loss_network, num_landmarks, celeba, aflw):
    return Row(
        "Jakab et al. 2018",
        trained_on,
        loss_network,
        num_landmarks,
        {"celeba": celeba, "aflw": aflw},
    )


def _other(method, num_landmarks, with_bias=False, **nme_percent):
    return Row(method, "", "", num_landmarks, nme_percent, with_bias)


# Named by the dataset whose test images they are of: MAFL's are celeba's.
TABLE_1 = (
    _other("Thewlis et al. 2017", 30, celeba=7.15),
    _other("Thewlis et al. 2017", 50, celeba=6.67, aflw=10.53),
    _other("Thewlis et al. 2017, frames", None, celeba=5.83, aflw=8.80),
    _other("Shu et al. 2018 (regressed by an MLP)", None, celeba=5.45),
    _other("Zhang et al. 2018", 10, celeba=3.46, aflw=7.01),
    _other("Zhang et al. 2018", 30, celeba=3.16, aflw=6.58),
    _other("Zhang et al. 2018, no equivariance", 30, celeba=8.42),
    _other("Wiles et al. 2018 (VoxCeleb2)", None, with_bias=True, celeba=3.44),
    _ours("celeba", "colorization", 10, 3.19, 6.86),
    _ours("celeba", "colorization", 30, 2.58, 6.31),
    _ours("celeba", "colorization", 50, 2.54, 6.33),
    _ours("celeba", "imagenet", 10, 3.32, 6.99),
    _ours("celeba", "imagenet", 30, 2.63, 6.39),
    _ours("celeba", "imagenet", 50, 2.59, 6.35),
    _ours("voxceleb", "colorization", 30, 3.94, 6.75),
    Row(
        "Jakab et al. 2018",
        "voxceleb",
        "colorization",
        30,
        {"celeba": 3.63},
        with_bias=True,
    ),
    _ours("voxceleb", "imagenet", 30, 4.01, 7.10),
)
