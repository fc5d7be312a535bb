"""The two drivers of flows: `drive` with threads, `adrive` in asyncio.

Both do the same: run the flow to its next effect, perform the effect, send the result back. All
I/O of featkit happens here.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from featkit.calls import Call
from featkit.errors import DeadlineExceeded, FeatkitError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from datetime import timedelta

    from featkit.calls import Effect, Flow

T = TypeVar("T")


class Progress(Protocol):
    """Who wants to know how far a flow is, counted in keys."""

    def expect(self, keys: int) -> None:
        """Hear that so many more keys will be asked for."""

    def advance(self, keys: int) -> None:
        """Hear that so many keys have their answer."""


class Silent:
    """A `Progress` that nobody watches."""

    def expect(self, keys: int) -> None:
        """Do nothing."""

    def advance(self, keys: int) -> None:
        """Do nothing."""


WORKERS = 8
"""Calls at once: what a store's server bears, and what hides the wait for it."""


class Deadline:
    """The moment by which one call of the user's must be done.

    Parameters
    ----------
    timeout
        From now; None: no limit.
    """

    def __init__(self, timeout: timedelta | None) -> None:
        self._timeout = timeout
        self._started = time.monotonic()

    def left(self) -> float | None:
        """Seconds left, None without limit; raise `DeadlineExceeded` when there are none."""
        if self._timeout is None:
            return None
        seconds = self._timeout.total_seconds() - (time.monotonic() - self._started)
        if seconds <= 0:
            raise self.exceeded()
        return seconds

    def exceeded(self) -> DeadlineExceeded:
        """Make the error that says how long the call took."""
        took = time.monotonic() - self._started
        return DeadlineExceeded(
            f"no answer within the timeout: {took:.1f} s have passed; allow more with "
            "connect(..., timeout='60s'), or ask for fewer entities at a time"
        )


class Workers:
    """A pool of threads that is made when first used, and anew in a forked process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def pool(self) -> ThreadPoolExecutor:
        """Return the pool of this process."""
        with self._lock:
            if self._pool is None or self._process != os.getpid():
                self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="featkit")
                self._process = os.getpid()
            return self._pool

    def close(self) -> None:
        """End the threads once they are done."""
        with self._lock:
            if self._pool is not None and self._process == os.getpid():
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def drive(
    flow: Flow[T],
    workers: Workers,
    deadline: Deadline,
    progress: Progress,
) -> T:
    """Run a flow to its end in this thread; calls yielded together run in the workers.

    Parameters
    ----------
    flow
        What to run.
    workers
        Threads for calls that are made at once.
    deadline
        Looked at before each effect, and while calls run.
    progress
        Told how many keys are asked for, and of each call that is done.
    """

    def one(call: Call[Any]) -> Any:  # noqa: ANN401 - what the call's decode returns
        outcome = _outcome(call)
        progress.advance(call.keys)
        return outcome

    def together(calls: Sequence[Call[Any]]) -> list[Any]:
        progress.expect(sum(call.keys for call in calls))
        if len(calls) == 1:
            return [one(calls[0])]
        futures = {workers.pool().submit(_outcome, call): call for call in calls}
        try:
            for future in as_completed(futures, deadline.left()):
                progress.advance(futures[future].keys)
        except TimeoutError:
            pass  # the calls that are not done answer with it below
        finally:
            for future in futures:
                future.cancel()
        return [future.result() if _done(future) else deadline.exceeded() for future in futures]

    outcome: Any = None
    while not isinstance(effect := _advance(flow, outcome), _Returned):
        deadline.left()
        outcome = one(effect) if isinstance(effect, Call) else together(effect)
    return effect.value


async def adrive(
    flow: Flow[T],
    deadline: Deadline,
    progress: Progress,
) -> T:
    """Run a flow to its end in the running event loop; the twin of `drive`.

    Parameters
    ----------
    flow
        What to run.
    deadline
        Looked at before each effect, and while calls run.
    progress
        Told how many keys are asked for, and of each call that is done.
    """
    slots = asyncio.Semaphore(WORKERS)

    async def one(call: Call[Any]) -> Any:  # noqa: ANN401 - what the call's decode returns
        async with slots:
            outcome = await asyncio.to_thread(_outcome, call)
        progress.advance(call.keys)
        return outcome

    async def together(calls: Sequence[Call[Any]]) -> list[Any]:
        progress.expect(sum(call.keys for call in calls))
        tasks = [asyncio.ensure_future(one(call)) for call in calls]
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=deadline.left())
        finally:
            for task in tasks:
                task.cancel()
        return [task.result() if _done(task) else deadline.exceeded() for task in tasks]

    outcome: Any = None
    while not isinstance(effect := _advance(flow, outcome), _Returned):
        deadline.left()
        outcome = (
            (await together([effect]))[0] if isinstance(effect, Call) else await together(effect)
        )
    return effect.value


class _Returned(Generic[T]):
    """The end of a flow."""

    def __init__(self, value: T) -> None:
        self.value = value


def _advance(flow: Flow[T], outcome: Any) -> Effect | _Returned[T]:  # noqa: ANN401 - what the last effect gave
    """Send an outcome into the flow, as an error where it is one, and get its next effect."""
    try:
        if isinstance(outcome, FeatkitError):
            return flow.throw(outcome)
        return flow.send(outcome)
    except StopIteration as stop:
        return _Returned(stop.value)


def _outcome(call: Call[T]) -> T | FeatkitError:
    """Send one call and decode its reply; return a failure instead of raising it."""
    try:
        return call.decode(call.request.run())
    except FeatkitError as error:
        return error


def _done(task: Future[Any] | asyncio.Future[Any]) -> bool:
    return task.done() and not task.cancelled()
