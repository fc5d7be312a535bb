"""The one deadline of a user's call, which every wait below it respects."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from featkit.errors import DeadlineExceeded, SlowAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from featkit.errors import FeatkitError


class Deadline:
    """The moment by which something must be done.

    Parameters
    ----------
    timeout
        From now; None: no limit.
    abandoned
        Another's event to share.

    Attributes
    ----------
    abandoned
        Set once nobody waits any more.
    until
        When it is, by `time.monotonic`; None: never.
    """

    def __init__(
        self, timeout: timedelta | None, *, abandoned: threading.Event | None = None
    ) -> None:
        self._started = time.monotonic()
        self._limit = None if timeout is None else timeout.total_seconds()
        self.until = None if self._limit is None else self._started + self._limit
        self.abandoned = abandoned or threading.Event()
        self._reason: FeatkitError | None = None
        self._ends: list[Callable[[], object]] = []

    def left(self) -> float | None:
        """Seconds left, None without limit; raise the `error` when there are none."""
        if self.abandoned.is_set():
            raise self.error()
        if self.until is None:
            return None
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise self._over()
        return seconds

    def _over(self) -> FeatkitError:
        """Make the error of a time that is up."""
        return self.error()

    @property
    def elapsed(self) -> float:
        """Seconds since it was set."""
        return time.monotonic() - self._started

    def sleep(self, seconds: float) -> None:
        """Wait so long; raise the `error` as soon as nobody waits any more."""
        if seconds > 0:
            self.abandoned.wait(seconds)
        self.left()

    def abandon(self, reason: FeatkitError | None = None) -> None:
        """Say that nobody waits any more, so that what still runs can stop; and why."""
        self._reason = self._reason or reason
        self.abandoned.set()
        for end in list(self._ends):
            end()

    @contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """Have `end` called where nobody waits any more, for a wait that does not look by itself.

        It is called by the thread that says so, maybe twice.
        """
        self._ends.append(end)
        try:
            if self.abandoned.is_set():
                end()
            yield
        finally:
            with suppress(ValueError):
                self._ends.remove(end)

    def within(self, patience: timedelta) -> Deadline:
        """Return the deadline of one part: this one, or `patience` from now if it has no limit."""
        return _Part(self, patience if self._limit is None else None)

    def of_one_try(self, patience: timedelta) -> Deadline:
        """Return the deadline of one try: this one, or `patience` from now if that is sooner."""
        return _Try(self, patience)

    def error(self, what: object = "") -> FeatkitError:
        """Make the error that says why there is no time: how long it took, or the `abandon` reason.

        Parameters
        ----------
        what
            What is not done.
        """
        if self._reason is not None:
            return type(self._reason)(*self._reason.args)  # one for each who raises it
        named = f"{what}: " if what else ""
        return DeadlineExceeded(
            f"{named}no answer within the timeout: {self.elapsed:.1f} s have passed; allow more "
            "with connect(..., timeout='120s'), or ask for fewer entities at a time"
        )


class _Part(Deadline):
    def __init__(self, whole: Deadline, patience: timedelta | None) -> None:
        # who waits for the whole waits for each part
        super().__init__(patience, abandoned=whole.abandoned)
        self._whole = whole
        limits = [until for until in (whole.until, self.until) if until is not None]
        self.until = min(limits, default=None)

    def _over(self) -> FeatkitError:
        self._whole.left()  # raises its own error where its time is up as well
        return self.error()

    def abandon(self, reason: FeatkitError | None = None) -> None:
        self._whole.abandon(reason)

    @contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        with self._whole.ending(end):
            yield

    def error(self, what: object = "") -> FeatkitError:
        of_whole = self._limit is None or self.abandoned.is_set()
        return self._whole.error(what) if of_whole else super().error(what)


class _Try(_Part):
    def error(self, what: object = "") -> FeatkitError:
        if self.abandoned.is_set():
            return self._whole.error(what)
        return SlowAnswer(f"no answer within {self.elapsed:.1f} s")


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
