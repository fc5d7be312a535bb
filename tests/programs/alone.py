"""Tests that fork, in a process which has only what they are about.

A child that is forked from a test session collects what other tests left behind, and the servers
and channels of gRPC do not survive that: it crashes now and then, whoever forked it.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# since 3.12 Python warns of forks beside threads, which are the point of such a test
_QUIET = ["-W", "ignore:This process:DeprecationWarning"]


def alone(part: Callable[..., None], *arguments: str) -> None:
    """Call a function of a test module in a new process; fail with what that said, if it does."""
    code = f"import sys; from {part.__module__} import {part.__name__} as part; part(*sys.argv[1:])"
    command = [sys.executable, *_QUIET, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def failure_in_a_fork(part: Callable[[], object]) -> object:
    """Call something in a child of this process; return what it raised, or None."""
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    child = context.Process(target=_fails, args=(part, told))
    child.start()
    child.join(20.0)
    assert child.exitcode == 0
    return told.get()


def _fails(part: Callable[[], object], told: Any) -> None:
    try:
        part()
    except Exception as error:  # noqa: BLE001 - whoever forked looks at it
        told.put(error)
    else:
        told.put(None)
