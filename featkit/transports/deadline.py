"""The one deadline of a user's call, which every wait below it respects."""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from featkit.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta


class Deadline:
    """The moment by which something must be done.

    Parameters
    ----------
    timeout
        From now; None: no limit.
    """

    def __init__(self, timeout: timedelta | None) -> None:
        self._started = time.monotonic()
        self._limit = None if timeout is None else timeout.total_seconds()
        self._abandoned = False

    def left(self) -> float | None:
        """Seconds left, None without limit; raise `DeadlineExceeded` when there are none."""
        if self._abandoned:
            raise self.exceeded()
        if self._limit is None:
            return None
        seconds = self._limit - self.elapsed
        if seconds <= 0:
            raise self.exceeded()
        return seconds

    @property
    def elapsed(self) -> float:
        """Seconds since it was set."""
        return time.monotonic() - self._started

    def abandon(self) -> None:
        """Say that nobody waits any more, so that what still runs can stop."""
        self._abandoned = True

    def within(self, patience: timedelta) -> Deadline:
        """Return a deadline for one part, no later than this one and no longer than `patience`."""
        return _Part(self, patience)

    def exceeded(self) -> DeadlineExceeded:
        """Make the error that says how long it took."""
        return DeadlineExceeded(
            f"no answer within the timeout: {self.elapsed:.1f} s have passed; allow more with "
            "connect(..., timeout='120s'), or ask for fewer entities at a time"
        )


class _Part(Deadline):
    def __init__(self, whole: Deadline, patience: timedelta) -> None:
        super().__init__(patience)
        self._whole = whole

    def left(self) -> float | None:
        own, whole = super().left(), self._whole.left()
        return own if whole is None or own is None else min(own, whole)


current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)
"""The deadline of what this thread does now, for the code that cannot be handed it."""


@contextmanager
def in_force(deadline: Deadline) -> Iterator[None]:
    """Make a deadline the current one."""
    token = current.set(deadline)
    try:
        yield
    finally:
        current.reset(token)
