"""Settings of the whole suite."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # One process for each core.
    for _kind in ("INTRAOP", "INTEROP"):
        os.environ.setdefault(f"TF_NUM_{_kind}_THREADS", "1")


def pytest_collection_modifyitems(items):
    """Leaves out `test_session`, a helper that tf.test.TestCase exposes."""
    items[:] = [item for item in items if item.name != "test_session"]
