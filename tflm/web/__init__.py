"""A detector as a web page that needs no server-side code."""

from tflm.web.demo import write

__all__ = ["write"]
