"""Exporting a detector, and running one in whatever form it is kept."""

from tflm.serving.loading import load_detector

__all__ = ["load_detector"]
