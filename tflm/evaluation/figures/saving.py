"""Writing figures to disk."""

import pathlib

import matplotlib
from matplotlib import figure as figures

from tflm import files


def save(figure: figures.Figure, path: pathlib.Path) -> None:
    """Writes a PNG and, beside it, a PDF: both whole, or neither.

    What is drawn anew from the same numbers gives the same bytes on any day.
    Letters of the PDF are letters, not outlines.

    Args:
        figure: drawn by this package.
        path: of the PNG.
    """
    vectors = pathlib.Path(path).with_suffix(".pdf")
    with (
        matplotlib.rc_context({"pdf.fonttype": 42}),
        files.replacing(path) as png,
        files.replacing(vectors) as pdf,
    ):
        figure.savefig(png, format="png", facecolor="white")
        figure.savefig(
            pdf,
            format="pdf",
            facecolor="white",
            metadata={"CreationDate": None},
        )
