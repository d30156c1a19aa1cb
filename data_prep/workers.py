"""What a builder's worker processes need to behave well."""

import multiprocessing
import os
import signal
import threading


def initialize() -> None:
    """The initializer of a pool of spawned processes.

    Ctrl-C reaches every process of the terminal: the workers leave it to their
    parent, which stops them in order. If the parent is killed, they end too;
    without this they would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
