"""What must begin anew in a process that was just forked: locks, threads, connections."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """What can begin anew."""

    def start_anew(self) -> None:
        """Forget the locks and connections of the parent process."""


_known: WeakSet[Forked] = WeakSet()


def after_fork(thing: Forked) -> None:
    """Have something begin anew in each process that is forked from this one."""
    _known.add(thing)


def _start_anew() -> None:
    for thing in list(_known):
        thing.start_anew()


if hasattr(os, "register_at_fork"):  # where there is no fork there is no such function
    os.register_at_fork(after_in_child=_start_anew)
