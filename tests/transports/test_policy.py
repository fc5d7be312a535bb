"""When it is tried again, how often, and how many calls at once: decisions without I/O."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featkit.errors import (
    AuthError,
    ClosedError,
    DeadlineExceeded,
    ProtocolError,
    RequestRejected,
    RowMismatch,
    StoreUnavailable,
    ThrottledError,
)
from featkit.transports import policy
from featkit.transports.deadline import Deadline
from featkit.transports.options import Retry
from featkit.transports.policy import Attempts, Budget, Concurrency, retry_after

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def no_limit() -> Deadline:
    return Deadline(None)


# -- budget ----------------------------------------------------------------------------------------


def test_a_full_outage_spends_half_of_the_budget_on_retries_and_no_more():
    budget = Budget(capacity=40)
    assert [budget.failed() for _ in range(100)] == [True] * 19 + [False] * 81


def test_a_budget_that_is_spent_is_earned_back():
    budget = Budget(capacity=10)
    while budget.failed():
        pass
    for _ in range(100):
        budget.succeeded()
    assert budget.failed()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_budget_bears_three_failures_in_ten(share, seed):
    draws, budget = random.Random(seed), Budget()
    refused = 0
    for _ in range(10_000):
        if draws.random() < share:
            refused += not budget.failed()
        else:
            budget.succeeded()
    assert refused == 0


@given(st.lists(st.booleans()), st.floats(1, 100))
def test_a_budget_allows_no_more_retries_than_its_half_and_what_was_earned(successes, capacity):
    budget, allowed, earned = Budget(capacity), 0, 0.0
    for success in successes:
        if success:
            budget.succeeded()
            earned += Budget.EARNED
        else:
            allowed += budget.failed()
    assert allowed <= capacity / 2 + earned


# -- concurrency -----------------------------------------------------------------------------------


@given(st.integers(1, 32), st.lists(st.booleans()))
def test_the_limit_stays_between_one_and_the_most(most, successes):
    concurrency = Concurrency(most)
    for success in successes:
        before = concurrency.limit
        (concurrency.succeeded if success else concurrency.throttled)()
        assert 1 <= concurrency.limit <= most
        assert concurrency.limit >= before if success else concurrency.limit <= before


def test_the_limit_falls_at_once_and_comes_back_slowly():
    concurrency = Concurrency(8)
    concurrency.throttled()
    assert concurrency.limit == 5
    for _ in range(3):
        concurrency.throttled()
    assert concurrency.limit == 1
    needed = 0
    while concurrency.limit < 8:
        concurrency.succeeded()
        needed += 1
    assert 8 < needed < 50


def test_no_more_calls_run_than_the_limit_says():
    concurrency, running, peak = Concurrency(3), 0, 0
    lock, barrier = threading.Lock(), threading.Barrier(3)

    def call() -> None:
        nonlocal running, peak
        with concurrency.slot(no_limit()):
            with lock:
                running += 1
                peak = max(peak, running)
            barrier.wait(10)
            with lock:
                running -= 1

    threads = [threading.Thread(target=call) for _ in range(21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert peak == 3


@pytest.mark.parametrize(("most", "running"), [(8, 2), (1, 1)])
def test_calls_of_one_kind_begin_as_many_as_their_store_wants(most, running):
    concurrency = Concurrency(most, 2)
    with ExitStack() as stack:
        for _ in range(running):
            stack.enter_context(concurrency.slot(no_limit(), "a kind"))
        with (
            pytest.raises(DeadlineExceeded),
            concurrency.slot(Deadline(timedelta(milliseconds=20)), "a kind"),
        ):
            raise AssertionError


def test_who_waits_for_a_slot_waits_until_the_deadline():
    concurrency = Concurrency(1)
    with (
        concurrency.slot(no_limit()),
        pytest.raises(DeadlineExceeded),
        concurrency.slot(Deadline(timedelta(milliseconds=20))),
    ):
        raise AssertionError
    with concurrency.slot(Deadline(timedelta(milliseconds=20))):  # nothing was lost
        pass


def test_who_waits_for_a_slot_is_woken_when_nobody_waits_for_him():
    concurrency, deadline, raised = Concurrency(1), no_limit(), []

    def call() -> None:
        with pytest.raises(ClosedError), concurrency.slot(deadline):
            pass
        raised.append(True)

    with concurrency.slot(no_limit()):
        thread = threading.Thread(target=call)
        thread.start()
        deadline.abandon(ClosedError("closed"))
        thread.join(timeout=5)
        assert raised


@pytest.fixture
def unhurried(monkeypatch):
    """Have who waits for a slot wait until somebody wakes him."""
    monkeypatch.setattr(policy, "_SLICE", 60.0)


class Counted(Deadline):
    """A deadline that counts how often somebody who waits looks at it."""

    def __init__(self) -> None:
        super().__init__(None)
        self.looks = 0

    def left(self) -> float | None:
        self.looks += 1
        return super().left()


def waiting(concurrency: Concurrency, kind: str, deadline: Counted, run=int) -> threading.Thread:
    """Start a call that waits for a slot."""

    def call() -> None:
        with suppress(ClosedError), concurrency.slot(deadline, kind):
            run()

    before = deadline.looks
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    while deadline.looks == before:  # it looks once it has found that there is no slot
        time.sleep(0.001)
    return thread


@pytest.mark.usefixtures("unhurried")
def test_a_free_slot_wakes_one_of_those_who_wait_for_it():
    concurrency, deadline = Concurrency(1), Counted()
    with concurrency.slot(no_limit(), "one"):
        threads = [
            waiting(concurrency, "one", deadline, lambda: time.sleep(0.005)) for _ in range(16)
        ]
    for thread in threads:
        thread.join(timeout=5)
        assert not thread.is_alive()
    assert deadline.looks < 32  # were all woken each time, it would be 136


@pytest.mark.usefixtures("unhurried")
def test_a_free_slot_reaches_the_kind_that_it_is_free_for():
    concurrency = Concurrency(2)
    with concurrency.slot(no_limit(), "slow"):
        with concurrency.slot(no_limit(), "other"):
            held_back = waiting(concurrency, "slow", Counted())
            thread = waiting(concurrency, "fast", Counted())
        thread.join(timeout=5)
        assert not thread.is_alive()
        assert held_back.is_alive()
    held_back.join(timeout=5)
    assert not held_back.is_alive()


# -- attempts --------------------------------------------------------------------------------------


def attempts(
    *, idempotent: bool = True, timeout: timedelta | None = None, **retry: object
) -> Attempts:
    return Attempts(Retry(**retry), Budget(), Deadline(timeout), idempotent=idempotent)


def tries(errors, tried: Attempts) -> int:
    """Count how many of these failures are followed by another try; waits are not waited."""
    count = 0
    for error in errors:
        tried.made += 1
        if not tried.again(error):
            return count
        count += 1
    return count


def unavailable(**told) -> StoreUnavailable:
    return StoreUnavailable("trouble", **told)


def test_what_is_in_trouble_is_tried_as_often_as_told():
    assert tries([unavailable()] * 20, attempts(attempts=5)) == 4


@pytest.mark.parametrize(
    "error",
    [
        AuthError("no"),
        RequestRejected("no"),
        DeadlineExceeded("late"),
        ClosedError("closed"),
        unavailable(temporary=False),
        ValueError("a bug"),
    ],
    ids=repr,
)
def test_what_would_not_help_is_not_tried_again(error):
    assert tries([error], attempts()) == 0


@pytest.mark.parametrize("kind", [ProtocolError, RowMismatch])
def test_an_unreadable_reply_is_asked_for_once_more(kind):
    assert tries([kind("odd"), kind("odd")], attempts()) == 1


def test_a_write_is_repeated_only_where_it_was_not_sent():
    assert tries([unavailable()], attempts(idempotent=False)) == 0
    assert tries([unavailable(sent=False)], attempts(idempotent=False)) == 1
    assert tries([ThrottledError("slowly")], attempts(idempotent=False)) == 1


def test_who_cannot_be_reached_is_tried_for_as_long_as_told_whatever_the_number():
    patient = attempts(attempts=2, reconnect=timedelta(seconds=60))
    assert tries([unavailable(sent=False)] * 50, patient) == 50
    hasty = attempts(reconnect=timedelta(0))
    assert tries([unavailable(sent=False)], hasty) == 0


def test_after_an_outage_there_are_still_tries_for_what_fails_otherwise():
    tried = attempts(attempts=3, reconnect=timedelta(seconds=60))
    assert tries([unavailable(sent=False)] * 30 + [unavailable()] * 9, tried) == 32


def test_a_server_that_dies_late_is_waited_for_as_long_as_one_that_was_dead(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tried = attempts(reconnect=timedelta(seconds=1))
    clock[0] = 30.0  # it took the request, and broke off
    assert tries([unavailable(), unavailable(sent=False)], tried) == 2
    clock[0] = 31.5
    assert tries([unavailable(sent=False)], tried) == 0


@given(st.integers(1, 30), st.floats(0.001, 1), st.floats(0.001, 10))
def test_waits_double_with_full_jitter_up_to_the_longest(made, base, longest):
    tried = attempts(attempts=100, base=timedelta(seconds=base), longest=timedelta(seconds=longest))
    tried.made = made
    assert tried.again(unavailable())
    assert 0 <= tried.pause <= min(base * 2 ** (made - 1), longest) + 1e-6


@given(st.floats(0, 1e6), st.integers(1, 7))
def test_it_is_never_tried_earlier_than_the_store_asks(seconds, made):
    for error in (unavailable(retry_after=seconds), ThrottledError("no", retry_after=seconds)):
        tried = attempts()
        tried.made = made
        assert tried.again(error)
        assert tried.pause >= seconds


def test_a_store_that_says_when_to_come_back_is_asked_until_the_deadline():
    assert tries([ThrottledError("no", retry_after=1.0)] * 100, attempts(attempts=3)) == 100
    assert tries([ThrottledError("no", retry_after=0.0)] * 100, attempts(attempts=3)) == 2


@given(st.floats(1, 1e9))
def test_what_the_store_asks_for_beyond_the_deadline_is_not_waited_for(seconds):
    tried = attempts(timeout=timedelta(milliseconds=900))
    assert not tried.again(ThrottledError("no", retry_after=seconds))


def test_a_wait_ends_when_nobody_waits_any_more():
    deadline = no_limit()
    tried = Attempts(Retry(), Budget(), deadline, idempotent=True)
    assert tried.again(ThrottledError("no", retry_after=50.0))
    threading.Timer(0.05, deadline.abandon, [ClosedError("closed")]).start()
    started = time.monotonic()
    with pytest.raises(ClosedError):
        tried.begin()
    assert time.monotonic() - started < 5


def test_what_fails_as_the_time_is_up_tells_its_own_failure():
    tried = attempts(timeout=timedelta(microseconds=1))
    time.sleep(0.001)
    assert not tried.again(unavailable())


# -- Retry-After -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1.0),
        ("0", 0.0),
        ("0.5", 0.5),
        ("1e9", 1e9),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 12:00:30", 30.0),
        ("Mon, 23 Nov 2026 13:00:30 +0100", 30.0),
        ("Mon, 23 Nov 2026 11:59:59 GMT", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("Mon, 23 Nov 99999 12:00:00 GMT", None),
        ("Mon, 23 Nov 2026 12:00:00 +99999999999999999999", None),
        ("Mon, 23 Nov 2026 12:00:00 +9999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after(value, NOW) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ ([+-]\d+|[A-Z]+)"))
def test_no_retry_after_is_an_error(value):
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds < float("inf")
