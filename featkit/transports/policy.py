"""When to try again, how often, and how many calls at once: decisions without I/O.

======================================  ========================================================
what happened                           what is done
======================================  ========================================================
no connection, connection lost          again, where the request is idempotent
408, 500, 502, 503, 504                 again, after a random wait that doubles
429, 503 with ``Retry-After``           again, not before the time that the store asks for, until
                                        the deadline, and with fewer requests at once
a reply that cannot be read             again, once
no reply in time                        again, once; then the lookup asks for half as much
401, 403, other 4xx, TLS, redirects     an error at once
======================================  ========================================================

A retry that the store did not ask for is paid from a budget that successes fill, so that a store
in trouble does not get a multiple of its usual load.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from featkit.errors import (
    DeadlineExceeded,
    FeatkitError,
    ProtocolError,
    SlowAnswer,
    StoreUnavailable,
    ThrottledError,
)
from featkit.transports.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from featkit.transports.deadline import Deadline
    from featkit.transports.options import Retry


class Budget:
    """Tokens that retries cost and successes earn; no retry while less than half is left.

    In steady state up to four requests in ten may fail and be sent again; in a full outage
    retries end after `capacity` / 2 of them.
    """

    COST = 1.0
    EARNED = 0.75

    def __init__(self, capacity: float = 40.0) -> None:
        self._capacity = capacity
        self._tokens = capacity
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """Earn for a request that went well."""
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + self.EARNED)

    def failed(self) -> bool:
        """Pay for a request that failed; tell whether it may be sent again."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - self.COST)
            return self._tokens > self._capacity / 2


class Concurrency:
    """How many requests run at once: fewer when the store is overloaded, more as it recovers.

    Additive increase, multiplicative decrease, as TCP does it.

    Parameters
    ----------
    most
        The upper bound.
    least
        How many of one kind may run at once from the beginning, where the store is not overloaded.
    """

    DECREASE = 0.7

    def __init__(self, most: int, least: int = 1) -> None:
        self._most = float(most)
        self._least = min(least, most)
        self._limit = float(most)
        self._running = 0
        self._paces: dict[Hashable, Pace] = {}
        self._changed = threading.Condition()
        self._waiting: Counter[Hashable] = Counter()  # by kind: calls that wait for a slot

    @property
    def limit(self) -> int:
        """How many requests may run at once now."""
        return max(1, int(self._limit))

    @contextmanager
    def slot(self, deadline: Deadline, kind: Hashable = None) -> Iterator[Slot]:
        """Wait for a free slot and hold it; raise `DeadlineExceeded` when none comes in time.

        Parameters
        ----------
        deadline
            How long it is waited for.
        kind
            What tells calls alike, of which no more run at once than make the store faster; None:
            nothing does.
        """
        with self._changed:
            pace = self._pace(kind)
            if self._is_full(pace):
                self._wait(deadline, kind, pace)
            self._running += 1
            slot = Slot(self, pace)
        try:
            yield slot
        finally:
            slot.free()

    def _is_full(self, pace: Pace | None) -> bool:
        return self._running >= self.limit or (pace is not None and pace.running >= pace.level)

    def _wait(self, deadline: Deadline, kind: Hashable, pace: Pace | None) -> None:
        self._waiting[kind] += 1
        try:
            while self._is_full(pace):
                left = deadline.left()
                self._changed.wait(_SLICE if left is None else min(left, _SLICE))
        finally:
            self._waiting[kind] -= 1
            if not self._waiting[kind]:
                del self._waiting[kind]

    def _wake(self) -> None:
        """Wake who waits for a slot that is free: one, or where some may be held back, all.

        Who is woken takes a slot that is there, whatever the deadline says: so none is lost.
        """
        self._changed.notify(1 if len(self._waiting) == 1 else self._waiting.total())

    def _pace(self, kind: Hashable) -> Pace | None:
        if kind is None:
            return None
        pace = self._paces.pop(kind, None) or Pace(int(self._most), self._least)
        self._paces[kind] = pace  # the last one used comes last
        if len(self._paces) > _KINDS:
            del self._paces[next(iter(self._paces))]
        return pace

    def given_back(self, slot: Slot) -> None:
        """Let others run once a slot is free."""
        with self._changed:
            self._running -= 1
            slot.ended = time.monotonic()
            if slot.pace:
                slot.area = slot.pace.end(slot.ended, slot.area)
            self._wake()

    def learn(self, slot: Slot, entities: int) -> None:
        """Learn from a call that was answered how many are to run at once."""
        with self._changed:
            if slot.pace and slot.ended is not None and (seconds := slot.ended - slot.begun) > 0:
                level = slot.pace.level
                slot.pace.learn(entities, seconds, slot.area / seconds, slot.ended)
                if slot.pace.level > level:
                    self._changed.notify_all()

    def succeeded(self) -> None:
        """Allow a little more."""
        with self._changed:
            before = self.limit
            self._limit = min(self._most, self._limit + 1 / self._limit)
            if self.limit > before:
                self._wake()

    def throttled(self) -> None:
        """Allow much less."""
        with self._changed:
            self._limit = max(1.0, self._limit * self.DECREASE)


class Slot:
    """The place of a call among those that run, until its answer is there."""

    def __init__(self, concurrency: Concurrency, pace: Pace | None) -> None:
        self._concurrency = concurrency
        self.pace = pace
        self.begun = time.monotonic()
        self.area = pace.begin(self.begun) if pace else 0.0
        self.ended: float | None = None

    def free(self) -> None:
        """Give it back; once is enough."""
        if self.ended is None:
            self._concurrency.given_back(self)


_KINDS = 64  # of calls whose pace is remembered
_SLICE = 0.25  # seconds between two looks at a deadline that may have been abandoned


class Attempts:
    """The tries of one call: decides of each failure whether, and after how long, to try again.

    Parameters
    ----------
    retry
        How often.
    budget
        The budget of the store's host.
    idempotent
        Whether a request whose fate is unknown may be sent again.
    deadline
        No wait goes beyond it.

    Attributes
    ----------
    made
        How many tries were begun.
    pause
        Seconds to wait before the next one.
    """

    def __init__(
        self, retry: Retry, budget: Budget, deadline: Deadline, *, idempotent: bool
    ) -> None:
        self._retry = retry
        self._budget = budget
        self._deadline = deadline
        self._idempotent = idempotent
        self.pause = 0.0
        self._reached = 0  # tries that the store had to bear
        self._last_reached = 0.0  # when the last try ended that may have reached the store
        self._unreadable = 0
        self._slow = 0
        self.made = 0

    def begin(self) -> None:
        """Wait until the next try may be made; raise when there is no time for it."""
        self._deadline.sleep(self.pause)
        self.made += 1

    def again(self, error: Exception) -> bool:
        """Decide after a failure whether to try again; `begin` waits as long as is due."""
        wait = self._wait(error)
        self.pause = wait or 0.0
        return wait is not None

    def _wait(self, error: Exception) -> float | None:
        if not isinstance(error, FeatkitError) or not self._worthwhile(error):
            return None
        asked = error.retry_after if isinstance(error, StoreUnavailable) else None
        patience = self._retry.longest.total_seconds()
        if isinstance(error, StoreUnavailable) and not error.sent:  # it cost the store nothing
            alone = self._deadline.elapsed - self._last_reached
            patience = min(patience, self._retry.reconnect.total_seconds() - alone)
        else:
            self._last_reached = self._deadline.elapsed
            if not asked and not self._may_cost():
                return None
        if patience <= 0:
            return None
        doubled = self._retry.base * 2 ** min(self.made - 1, 20)
        seconds = random.uniform(0, min(doubled.total_seconds(), patience))  # noqa: S311 - jitter
        seconds = max(seconds, asked or 0.0)
        try:
            left = self._deadline.left()
        except DeadlineExceeded:  # the failure says more
            return None
        return seconds if left is None or seconds < left else None

    def _may_cost(self) -> bool:
        """Tell whether the store may be asked again without having said when."""
        self._reached += 1
        return self._reached < self._retry.attempts and self._budget.failed()

    def _worthwhile(self, error: FeatkitError) -> bool:
        match error:
            case ProtocolError():
                self._unreadable += 1
                return self._unreadable == 1
            case SlowAnswer():
                self._slow += 1
                return self._idempotent and self._slow == 1
            case ThrottledError():
                return True
            case StoreUnavailable():
                return error.temporary and (self._idempotent or not error.sent)
            case _:
                return False


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Read a ``Retry-After`` header: seconds or a date; None for junk and for what is past.

    Examples
    --------
    >>> retry_after("1"), retry_after("-1"), retry_after("soon")
    (1.0, None, None)
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return seconds if 0 <= seconds < float("inf") else None
