"""The two drivers of flows: `drive` with threads, `adrive` in asyncio.

Both do the same: run the flow to its next effect, perform the effect, send the result back. All
I/O of featkit happens here.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from featkit.calls import Call, LocalRead
from featkit.errors import ClosedError, FeatkitError, NotSupportedError
from featkit.transports.options import HttpOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
        self._http_options = http or HttpOptions()
        self._http: HttpTransport | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False
        self._lock = threading.RLock()  # a garbage collection within it may close another client
        _open.add(self)

    def submit(self, call: Call[T], deadline: Deadline) -> Future[T | FeatkitError]:
        """Have a thread of the pool perform a call."""
        with self._lock:
            if self._pool is None:
                workers = max(WORKERS, self._http_options.limits.connections)
                self._pool = ThreadPoolExecutor(workers, thread_name_prefix="featkit")
            pool = self._pool
        try:
            return pool.submit(self.perform, call, deadline)
        except RuntimeError:  # closed, or the interpreter ends
            outcome = self.perform(call, deadline)
            done: Future[T | FeatkitError] = Future()
            done.set_result(outcome)
            return done

    def perform(self, call: Call[T], deadline: Deadline) -> T | FeatkitError:
        """Send one call and decode its reply; return a failure instead of raising it."""
        try:
            if self._closed:
                raise _closed_meanwhile()
            if isinstance(call.request, LocalRead):
                if call.request.threaded and _forked:
                    raise _without_threads(call.request)
                return call.decode(call.request.run())
            return self._over_http().send(call, call.request, deadline)
        except FeatkitError as error:
            return error

    def _over_http(self) -> HttpTransport:
        from featkit.transports.http import HttpTransport  # noqa: PLC0415 - it imports httpx

        with self._lock:
            if self._closed:
                raise _closed_meanwhile()
            if self._http is None:
                self._http = HttpTransport(self._http_options)
            return self._http

    def close(self) -> None:
        """Have calls that run fail, close connections, and end the threads once they are done."""
        with self._lock:
            self._closed = True
            if self._http is not None:
                self._http.close(_closed_meanwhile())
            if self._pool is not None:
                # what waits is not cancelled, which would leave those who wait for it waiting: it
                # runs, and fails at once
                self._pool.shutdown(wait=False)

    def start_anew(self) -> None:
        """Make all this usable in a forked process: threads are gone, locks and sockets are not."""
        self._lock = threading.RLock()
        self._pool = None
        if self._http is not None:
            self._http = self._http.in_child()


_open: WeakSet[Transports] = WeakSet()


_forked = False
"""Whether this process was forked from one that had polars, whose threads it has not."""


def _after_fork() -> None:
    global _forked  # noqa: PLW0603 - a process is forked or it is not
    _forked = "polars" in sys.modules
    for transports in _open:
        transports.start_anew()


if hasattr(os, "register_at_fork"):  # where there is no fork there is no such function
    os.register_at_fork(after_in_child=_after_fork)


def _without_threads(request: LocalRead[Any]) -> NotSupportedError:
    return NotSupportedError(
        f"{request} cannot be read in a process that was forked: polars, which reads it, would "
        "wait for ever for threads that a fork leaves behind; start processes with "
        "multiprocessing.get_context('spawn') or 'forkserver'"
    )


def _closed_meanwhile() -> ClosedError:
    return ClosedError(
        "the client was closed while a call of it was running; make another with featkit.connect"
    )


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
        if isinstance(call.request, LocalRead):
            outcome = transports.perform(call, deadline)
            progress.advance(call.keys)
            return outcome
        # never in this thread, where Ctrl-C could strike between any two steps of the HTTP
        # library and leave its pool with a connection that nobody gives back
        return in_threads([call])[0]

    def together(calls: Sequence[Call[Any]]) -> list[Any]:
        progress.expect(sum(call.keys for call in calls))
        return [one(calls[0])] if len(calls) == 1 else in_threads(calls)

    def in_threads(calls: Sequence[Call[Any]]) -> list[Any]:
        futures: dict[Future[Any], Call[Any]] = {}
        done: SimpleQueue[Future[Any]] = SimpleQueue()
        try:
            for call in calls:
                future = transports.submit(call, deadline)
                futures[future] = call
                future.add_done_callback(done.put)
            for future in _arriving(done, len(futures), _patience(deadline)):
                progress.advance(futures[future].keys)
        except BaseException:  # Ctrl-C, or what the progress raised
            deadline.abandon()  # also what was begun without coming into `futures`
            _let_go(futures, deadline)
            # polars would have what the caller does next interrupted as well, while it runs here
            wait([future for future in futures if not future.cancelled()], _SETTLING)
            raise
        _let_go(futures, deadline)
        return [_outcome(future, call, deadline) for future, call in futures.items()]

    outcome: Any = None
    while not isinstance(effect := _advance(flow, outcome), _Returned):
        if (outcome := _late(deadline, effect)) is None:
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
        futures = {asyncio.wrap_future(transports.submit(call, deadline)): call for call in calls}
        for future, call in futures.items():
            future.add_done_callback(partial(_advance_by, progress, call.keys))
        try:
            if futures:
                await asyncio.wait(futures, timeout=_patience(deadline))
        finally:
            _let_go(futures, deadline)
        return [_outcome(future, call, deadline) for future, call in futures.items()]

    outcome: Any = None
    while not isinstance(effect := _advance(flow, outcome), _Returned):
        if (outcome := _late(deadline, effect)) is None:
            calls = [effect] if isinstance(effect, Call) else effect
            outcomes = await together(calls)
            outcome = outcomes[0] if isinstance(effect, Call) else outcomes
    return effect.value


def _late(deadline: Deadline, effect: Effect) -> FeatkitError | list[FeatkitError] | None:
    """Answer what there is no time for, inside the flow, which has what came in time."""
    try:
        deadline.left()
    except FeatkitError:
        if isinstance(effect, Call):
            return deadline.error(effect.request)
        return [deadline.error(call.request) for call in effect]
    return None


def _advance_by(progress: Progress, keys: int, _: object) -> None:
    progress.advance(keys)


_GRACE = 0.1  # seconds for calls to say themselves that the time is up, and what they did


def _patience(deadline: Deadline) -> float | None:
    try:
        left = deadline.left()
    except FeatkitError:  # the time is up, or the client was closed; the calls say so themselves
        return _GRACE
    return None if left is None else left + _GRACE


_SLICE = 0.1  # seconds
_SETTLING = 0.5  # seconds


def _arriving(
    done: SimpleQueue[Future[Any]], count: int, patience: float | None
) -> Iterator[Future[Any]]:
    """Yield so many futures as they are done, fewer if the time is up before."""
    ends = None if patience is None else time.monotonic() + patience
    for _ in range(count):
        future = None
        while future is None:
            left = _SLICE if ends is None else ends - time.monotonic()
            if left <= 0:
                return
            # in slices: where polars was used, Ctrl-C does not end a wait, however long it is
            with suppress(Empty):
                future = done.get(timeout=min(left, _SLICE))
        yield future


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


def _outcome(
    future: Future[Any] | asyncio.Future[Any],
    call: Call[Any],
    deadline: Deadline,
) -> Any:  # noqa: ANN401 - what the call's decode returns
    if future.done() and not future.cancelled():
        return future.result()
    return deadline.error(call.request)
