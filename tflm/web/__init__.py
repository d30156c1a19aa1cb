"""A detector as a web page that needs no server-side code."""

from tflm.web.demo import check
from tflm.web.demo import write
from tflm.web.litert import load as load_litert

__all__ = ["check", "load_litert", "write"]
