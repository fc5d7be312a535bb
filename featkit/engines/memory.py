"""Memory that is free again, given back to the system: for processes with a limit."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Ask the C library to return what it holds on to, where it is one that can be asked.

    glibc keeps freed arrays of some megabytes for later ones, and in several arenas; over many
    pieces that adds up to as much as the join itself takes.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
