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
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial
from pkgutil import resolve_name
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from featkit.calls import Call, LocalRead
from featkit.errors import ClosedError, DeadlineExceeded, FeatkitError, NotSupportedError
from featkit.transports.deadline import Deadline
from featkit.transports.options import TransportOptions
from featkit.transports.workers import Workers
from featkit.waiting import Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from featkit.calls import Effect, Flow
    from featkit.transports.base import Transport

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
    options
        How stores are reached; None: as usual.
    """

    def __init__(self, options: TransportOptions | None = None) -> None:
        self._options = options or TransportOptions()
        self._made: dict[str, Transport[Any]] = {}
        self._workers = self._new_workers()
        self._closed = False
        self._lock = threading.RLock()  # a garbage collection within it may close another client
        _open.add(self)

    def _new_workers(self) -> Workers:
        return Workers(max(WORKERS, self._options.limits.connections))

    def submit(
        self, calls: Sequence[Call[Any]], deadline: Deadline, settle: Callable[[int, Any], None]
    ) -> None:
        """Have threads perform calls, and settle each, by its place, with the outcome."""
        jobs = []
        for place, call in enumerate(calls):
            if isinstance(call.request, Wait):
                call.request.subscribe(partial(settle, place, None))
            else:
                jobs.append(partial(self._do, call, deadline, partial(settle, place)))
        with self._lock:
            if not self._closed:
                self._workers.do(jobs)
                return
        for job in jobs:  # which fail at once
            job()

    def _do(self, call: Call[Any], deadline: Deadline, settle: Callable[[Any], None]) -> None:
        try:
            outcome = self.perform(call, deadline)
        except BaseException as error:  # noqa: BLE001 - for the thread that waits for it to raise
            outcome = _Raised(error)
        settle(outcome)

    def perform(self, call: Call[T], deadline: Deadline) -> T | FeatkitError:
        """Send one call and decode its reply; return a failure instead of raising it."""
        try:
            if self._closed:
                raise _closed_meanwhile()
            if isinstance(call.request, LocalRead):
                deadline.left()
                if call.request.threaded and _forked:
                    raise _without_threads(call.request)
                return call.decode(call.request.run())
            assert not isinstance(call.request, Wait)  # noqa: S101 - it takes no thread
            return self._transport(call.request.transport).send(call, call.request, deadline)
        except FeatkitError as error:
            return error

    def _transport(self, name: str) -> Transport[Any]:
        if (made := self._made.get(name)) is not None:
            return made  # which is closed where this is
        kind = resolve_name(name)  # imports what the first request needs
        with self._lock:
            if self._closed:
                raise _closed_meanwhile()
            if name not in self._made:
                self._made[name] = kind(self._options)
            return self._made[name]

    def close(self) -> None:
        """Have calls that run fail, close connections, and end the threads once they are done."""
        with self._lock:
            self._closed = True
            for transport in self._made.values():
                transport.close(_closed_meanwhile())
            self._workers.end()  # jobs that wait fail at once

    def start_anew(self) -> None:
        """Make all this usable in a forked process: threads are gone, locks and sockets are not."""
        self._lock = threading.RLock()
        self._workers = self._new_workers()
        self._made = {name: transport.in_child() for name, transport in self._made.items()}


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
        return _in_threads([call], transports, deadline, progress)[0]

    def together(calls: Sequence[Call[Any]]) -> list[Any]:
        progress.expect(sum(call.keys for call in calls))
        if len(calls) == 1:
            return [one(calls[0])]
        return _in_threads(calls, transports, deadline, progress)

    outcome: Any = None
    with closing(flow):
        while not isinstance(effect := _advance(flow, outcome), _Returned):
            try:
                if (outcome := _late(deadline, effect)) is None:
                    outcome = one(effect) if isinstance(effect, Call) else together(effect)
            except BaseException:
                _undo(effect, transports)
                raise
            if isinstance(outcome, DeadlineExceeded):
                _undo(effect, transports)
    return effect.value


def _undo(effect: Effect, transports: Transports) -> None:
    """Have what goes on at the store end, where that can be had, and wait a little for it."""
    calls = _undoing(effect)
    if calls:
        arrivals = _Arrivals(len(calls))
        transports.submit(calls, Deadline(_FAREWELL), arrivals.settle)
        for _ in arrivals.awaited(_SETTLING):
            pass


def _undoing(effect: Effect) -> list[Call[Any]]:
    calls = [effect] if isinstance(effect, Call) else effect
    return [call.undo for call in calls if call.undo is not None]


def _in_threads(
    calls: Sequence[Call[Any]], transports: Transports, deadline: Deadline, progress: Progress
) -> list[Any]:
    """Have calls performed by the threads of the pool, and wait for them."""
    arrivals = _Arrivals(len(calls))
    try:
        transports.submit(calls, deadline, arrivals.settle)
        for places in arrivals.awaited(_patience(deadline)):
            for place in places:
                progress.advance(calls[place].keys)
    except BaseException:  # Ctrl-C, or what the progress raised
        deadline.abandon()
        # polars would have what the caller does next interrupted as well, while it runs here
        for _ in arrivals.awaited(_SETTLING):
            pass
        raise
    outcomes = dict(arrivals.outcomes)
    if len(outcomes) < len(calls):
        deadline.abandon()
    return [
        _result(outcomes[place]) if place in outcomes else deadline.error(call.request)
        for place, call in enumerate(calls)
    ]


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
        loop = asyncio.get_running_loop()
        futures = {loop.create_future(): call for call in calls}
        places = list(futures)
        try:
            for future, call in futures.items():
                future.add_done_callback(partial(_advance_by, progress, call.keys))
            transports.submit(calls, deadline, lambda place, told: _wake(loop, places[place], told))
            if futures:
                await asyncio.wait(futures, timeout=_patience(deadline))
        finally:
            if any(not future.done() for future in futures):
                deadline.abandon()
                for future in futures:
                    future.cancel()
        return [
            deadline.error(call.request) if future.cancelled() else _result(future.result())
            for future, call in futures.items()
        ]

    outcome: Any = None
    with closing(flow):
        while not isinstance(effect := _advance(flow, outcome), _Returned):
            try:
                if (outcome := _late(deadline, effect)) is None:
                    calls = [effect] if isinstance(effect, Call) else effect
                    outcomes = await together(calls)
                    outcome = outcomes[0] if isinstance(effect, Call) else outcomes
            except BaseException:
                await _aundo(effect, transports)
                raise
            if isinstance(outcome, DeadlineExceeded):
                await _aundo(effect, transports)
    return effect.value


async def _aundo(effect: Effect, transports: Transports) -> None:
    """Do as `_undo` does, without blocking the event loop."""
    loop = asyncio.get_running_loop()
    calls = _undoing(effect)
    futures = [loop.create_future() for _ in calls]
    transports.submit(
        calls,
        Deadline(_FAREWELL),
        lambda place, told: _wake(loop, futures[place], told),
    )
    if futures:
        await asyncio.wait(futures, timeout=_SETTLING)


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


_GRACE = 0.15  # seconds for calls to say themselves that the time is up, and what they did


def _patience(deadline: Deadline) -> float | None:
    try:
        left = deadline.left()
    except FeatkitError:  # the time is up, or the client was closed; the calls say so themselves
        return _GRACE
    return None if left is None else left + _GRACE


_SLICE = 0.1  # seconds
_SETTLING = 0.3  # seconds
_FAREWELL = timedelta(seconds=2)  # for what ends at the store what nobody waits for


class _Arrivals:
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


def _wake(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], outcome: object) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if not future.done():
        future.set_result(outcome)


class _Raised:
    """What a call raised that is no failure of the store."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _result(outcome: Any) -> Any:  # noqa: ANN401 - what the call's decode returned
    if isinstance(outcome, _Raised):
        raise outcome.error
    return outcome


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
