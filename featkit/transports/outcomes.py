"""Outcomes of calls, as they get from the threads that perform them to who waits for them."""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

_SLICE = 0.1  # seconds


class Arrivals:
    """Outcomes of calls, by place; who waits for them is woken by the last, not by each."""

    def __init__(self, count: int) -> None:
        self.outcomes: dict[int, Any] = {}
        self._count = count
        self._complete: SimpleQueue[None] = SimpleQueue()

    def settle(self, place: int, outcome: object) -> None:
        """Add an outcome."""
        self.outcomes[place] = outcome
        if len(self.outcomes) == self._count:
            self._complete.put(None)

    def awaited(self, patience: float | None) -> Iterator[list[int]]:
        """Wait for all, or until the time is up; tell now and then which have come."""
        ends = None if patience is None else time.monotonic() + patience
        told = 0
        while told < self._count:
            left = _SLICE if ends is None else ends - time.monotonic()
            if left <= 0:
                return
            # in slices: where polars was used, Ctrl-C does not end a wait, however long it is
            with suppress(Empty):
                self._complete.get(timeout=min(left, _SLICE))
            if places := list(self.outcomes)[told:]:
                told += len(places)
                yield places


def wake(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], outcome: object) -> None:
    """Give a future its outcome from another thread."""
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if not future.done():
        future.set_result(outcome)


class Raised:
    """What a call raised that is no failure of the store."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def result(outcome: Any) -> Any:  # noqa: ANN401 - what the call's decode returned
    """Return an outcome; raise what is no failure of the store."""
    if isinstance(outcome, Raised):
        raise outcome.error
    return outcome


def settled(job: Callable[[], Any], settle: Callable[[Any], None]) -> None:
    """Do a job, and settle it with the outcome."""
    try:
        outcome = job()
    except BaseException as error:  # noqa: BLE001 - for the thread that waits for it to raise
        outcome = Raised(error)
    settle(outcome)
