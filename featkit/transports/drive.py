"""The two drivers of flows: `drive` with threads, `adrive` in asyncio.

Both do the same: run the flow to its next effect, perform the effect, send the result back. All
I/O of featkit happens here.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from featkit.calls import Call, LocalRead
from featkit.errors import FeatkitError
from featkit.transports.options import HttpOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from featkit.calls import Effect, Flow
    from featkit.transports.deadline import Deadline
    from featkit.transports.http import HttpTransport

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


class Transports:
    """What performs calls: threads, and the transports that they use, each made when first used.

    Parameters
    ----------
    http
        How stores are reached over HTTP; None: as usual.
    """

    def __init__(self, http: HttpOptions | None = None) -> None:
        self._http_options = http
        self._http: HttpTransport | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self._lock = threading.Lock()

    def pool(self) -> ThreadPoolExecutor:
        """Return the threads of this process; a forked one has threads of its own."""
        with self._lock:
            if self._pool is None or self._process != os.getpid():
                self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="featkit")
                self._process = os.getpid()
            return self._pool

    def perform(self, call: Call[T], deadline: Deadline) -> T | FeatkitError:
        """Send one call and decode its reply; return a failure instead of raising it."""
        try:
            if isinstance(call.request, LocalRead):
                return call.decode(call.request.run())
            return self._over_http().send(call, call.request, deadline)
        except FeatkitError as error:
            return error

    def _over_http(self) -> HttpTransport:
        from featkit.transports.http import HttpTransport  # noqa: PLC0415 - it imports httpx

        with self._lock:
            if self._http is None:
                self._http = HttpTransport(self._http_options or HttpOptions())
            return self._http

    def close(self) -> None:
        """Close connections, and end the threads once they are done."""
        with self._lock:
            if self._http is not None:
                self._http.close()
            if self._pool is not None and self._process == os.getpid():
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._http = self._pool = None


def drive(flow: Flow[T], transports: Transports, deadline: Deadline, progress: Progress) -> T:
    """Run a flow to its end in this thread; calls yielded together run in the threads of the pool.

    Parameters
    ----------
    flow
        What to run.
    transports
        What performs its calls.
    deadline
        Looked at before each effect, and while calls run.
    progress
        Told how many keys are asked for, and of each call that is done.
    """

    def one(call: Call[Any]) -> Any:  # noqa: ANN401 - what the call's decode returns
        outcome = transports.perform(call, deadline)
        progress.advance(call.keys)
        return outcome

    def together(calls: Sequence[Call[Any]]) -> list[Any]:
        progress.expect(sum(call.keys for call in calls))
        if len(calls) == 1:
            return [one(calls[0])]
        pool = transports.pool()
        futures = {pool.submit(transports.perform, call, deadline): call for call in calls}
        try:
            for future in as_completed(futures, deadline.left()):
                progress.advance(futures[future].keys)
        except TimeoutError:
            pass  # the calls that are not done answer with it below
        finally:
            _let_go(futures, deadline)
        return [future.result() if _done(future) else deadline.exceeded() for future in futures]

    outcome: Any = None
    while not isinstance(effect := _advance(flow, outcome), _Returned):
        deadline.left()
        outcome = one(effect) if isinstance(effect, Call) else together(effect)
    return effect.value


async def adrive(
    flow: Flow[T], transports: Transports, deadline: Deadline, progress: Progress
) -> T:
    """Run a flow to its end without blocking the event loop; the twin of `drive`.

    The calls run in the same threads, so that either kind of client may be used from any number
    of event loops, and a cancelled task leaves no connection behind.

    Parameters
    ----------
    flow, transports, deadline, progress
        As for `drive`.
    """

    async def together(calls: Sequence[Call[Any]]) -> list[Any]:
        progress.expect(sum(call.keys for call in calls))
        loop, pool = asyncio.get_running_loop(), transports.pool()
        futures = {
            loop.run_in_executor(pool, transports.perform, call, deadline): call for call in calls
        }
        for future, call in futures.items():
            future.add_done_callback(partial(_advance_by, progress, call.keys))
        try:
            if futures:
                await asyncio.wait(futures, timeout=deadline.left())
        finally:
            _let_go(futures, deadline)
        return [future.result() if _done(future) else deadline.exceeded() for future in futures]

    outcome: Any = None
    while not isinstance(effect := _advance(flow, outcome), _Returned):
        deadline.left()
        outcome = (
            (await together([effect]))[0] if isinstance(effect, Call) else await together(effect)
        )
    return effect.value


def _advance_by(progress: Progress, keys: int, _: object) -> None:
    progress.advance(keys)


def _let_go(futures: Iterable[Future[Any] | asyncio.Future[Any]], deadline: Deadline) -> None:
    """Cancel what has not begun, and have what runs for nobody any more stop."""
    if any(not future.done() for future in futures):
        deadline.abandon()
        for future in futures:
            future.cancel()


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


def _done(task: Future[Any] | asyncio.Future[Any]) -> bool:
    return task.done() and not task.cancelled()
