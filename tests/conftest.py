"""Settings of the whole suite."""


def pytest_collection_modifyitems(items):
    """Leaves out `test_session`, a helper that tf.test.TestCase exposes."""
    items[:] = [item for item in items if item.name != "test_session"]
