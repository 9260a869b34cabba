"""The process's logging, given back as it was: commands and processes set it up for themselves."""

import logging
import sys
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture
def root_logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    yield
    root.handlers[:] = before
    sys.excepthook, threading.excepthook = hooks
    root.setLevel(level)
