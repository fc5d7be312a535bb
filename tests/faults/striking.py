"""Ctrl-C at a moment of one's own choosing."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE = 60.0  # seconds


@contextmanager
def when(reached: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread, once what runs in here has got somewhere."""

    def wait() -> None:
        ends = time.monotonic() + _PATIENCE
        while not reached() and time.monotonic() < ends:
            time.sleep(0.01)
        act()

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        yield
    finally:
        waiting.join()


def strike() -> None:
    """Send this process what Ctrl-C sends."""
    os.kill(os.getpid(), signal.SIGINT)
