"""The two drivers of flows: `drive` with threads, `adrive` in asyncio.

Both do the same: run the flow to its next effect, perform the effect, send the result back. All
I/O of featkit happens here.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from featkit.calls import Call, LocalRead
from featkit.errors import ClosedError, DeadlineExceeded, FeatkitError, NotSupportedError
from featkit.transports.deadline import Deadline
from featkit.transports.options import TransportOptions
from featkit.transports.outcomes import Arrivals, result, settled, wake
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
        self._undoable: dict[int, list[Call[Any]]] = {}
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
                wanted = partial(self.perform, call, deadline)
                jobs.append(partial(settled, wanted, partial(settle, place)))
        with self._lock:
            if not self._closed:
                self._workers.do(jobs)
                return
        for job in jobs:  # which fail at once
            job()

    def perform(self, call: Call[T], deadline: Deadline) -> T | FeatkitError:
        """Send one call and decode its reply; return a failure instead of raising it."""
        try:
            if self._closed:
                raise _closed_meanwhile()
            return self._performed(call, deadline)
        except FeatkitError as error:
            return error

    def _performed(self, call: Call[T], deadline: Deadline) -> T:
        if isinstance(call.request, LocalRead):
            deadline.left()
            if call.request.threaded and _forked:
                raise _without_threads(call.request)
            return call.decode(call.request.run())
        assert not isinstance(call.request, Wait)  # noqa: S101 - it takes no thread
        return self._transport(call.request.transport).send(call, call.request, deadline)

    @contextmanager
    def undoable(self) -> Iterator[list[Call[Any]]]:
        """Give a list for what undoes that which a flow waits for; closing sends what it holds."""
        calls: list[Call[Any]] = []
        self._undoable[id(calls)] = calls
        try:
            yield calls
        finally:
            self._undoable.pop(id(calls), None)

    def _undo_all(self) -> None:
        """Have what goes on at the store for flows that run end, and wait for that."""
        calls = [call for own in list(self._undoable.values()) for call in own]
        if not calls:
            return
        arrivals, workers = Arrivals(len(calls)), Workers(len(calls))  # the others may be busy
        jobs = [partial(self._performed, call, Deadline(_FAREWELL)) for call in calls]
        workers.do(
            [partial(settled, job, partial(arrivals.settle, n)) for n, job in enumerate(jobs)]
        )
        for _ in arrivals.awaited(_FAREWELL.total_seconds()):
            pass
        workers.end()

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
        """Have calls that run fail, close connections, and end the threads once they are done.

        What goes on at the store for flows that run is undone before.
        """
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._undo_all()
        with self._lock:
            for transport in self._made.values():
                transport.close(_closed_meanwhile())
            self._workers.end()  # jobs that wait fail at once

    def start_anew(self) -> None:
        """Make all this usable in a forked process: threads are gone, locks and sockets are not."""
        self._lock = threading.RLock()
        self._workers = self._new_workers()
        self._undoable = {}
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
    with closing(flow), transports.undoable() as undo:
        while not isinstance(effect := _advance(flow, outcome), _Returned):
            undo[:] = _undoing(effect)
            try:
                if (outcome := _late(deadline, effect)) is None:
                    outcome = one(effect) if isinstance(effect, Call) else together(effect)
            except BaseException:
                _undo(undo, transports)
                raise
            _undo(_undoing(_overdue(effect, outcome)), transports)
    return effect.value


def _undo(calls: list[Call[Any]], transports: Transports) -> None:
    """Have what goes on at the store end, and wait a little for it."""
    if calls:
        arrivals = Arrivals(len(calls))
        transports.submit(calls, Deadline(_FAREWELL), arrivals.settle)
        for _ in arrivals.awaited(_SETTLING):
            pass


def _undoing(effect: Effect) -> list[Call[Any]]:
    calls = [effect] if isinstance(effect, Call) else effect
    return [call.undo for call in calls if call.undo is not None]


def _overdue(effect: Effect, outcome: Any) -> list[Call[Any]]:  # noqa: ANN401 - of the calls
    """Return the calls whose time was up."""
    calls, outcomes = ([effect], [outcome]) if isinstance(effect, Call) else (effect, outcome)
    return [
        call for call, own in zip(calls, outcomes, strict=True) if isinstance(own, DeadlineExceeded)
    ]


def _in_threads(
    calls: Sequence[Call[Any]], transports: Transports, deadline: Deadline, progress: Progress
) -> list[Any]:
    """Have calls performed by the threads of the pool, and wait for them."""
    arrivals = Arrivals(len(calls))
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
        result(outcomes[place]) if place in outcomes else deadline.error(call.request)
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
            transports.submit(calls, deadline, lambda place, told: wake(loop, places[place], told))
            if futures:
                await asyncio.wait(futures, timeout=_patience(deadline))
        finally:
            if any(not future.done() for future in futures):
                deadline.abandon()
                for future in futures:
                    future.cancel()
        return [
            deadline.error(call.request) if future.cancelled() else result(future.result())
            for future, call in futures.items()
        ]

    outcome: Any = None
    with closing(flow), transports.undoable() as undo:
        while not isinstance(effect := _advance(flow, outcome), _Returned):
            undo[:] = _undoing(effect)
            try:
                if (outcome := _late(deadline, effect)) is None:
                    calls = [effect] if isinstance(effect, Call) else effect
                    outcomes = await together(calls)
                    outcome = outcomes[0] if isinstance(effect, Call) else outcomes
            except BaseException:
                await _aundo(undo, transports)
                raise
            await _aundo(_undoing(_overdue(effect, outcome)), transports)
    return effect.value


async def _aundo(calls: list[Call[Any]], transports: Transports) -> None:
    """Do as `_undo` does, without blocking the event loop."""
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in calls]
    transports.submit(
        calls,
        Deadline(_FAREWELL),
        lambda place, told: wake(loop, futures[place], told),
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


_SETTLING = 0.3  # seconds
_FAREWELL = timedelta(seconds=2)  # for what ends at the store what nobody waits for


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
