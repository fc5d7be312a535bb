"""One deadline per call, total, whatever the server does with its bytes: N6."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from featkit.calls import Call, HttpRequest
from featkit.errors import ClosedError, DeadlineExceeded, SlowAnswer
from featkit.transports.deadline import Deadline, current, in_force
from featkit.transports.options import Limits
from tests.faults import proxy as faults
from tests.faults.serving import Deaf

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.proxy import Exchange, Fault, FaultProxy
    from tests.transports.conftest import Sender

HANG = 20.0  # seconds after which a deadline did not end what it should have


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stop the time; the test moves it."""
    moment = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    return moment


# -- the deadline itself ---------------------------------------------------------------------------


def test_without_a_limit_there_is_always_time(clock: list[float]) -> None:
    deadline = Deadline(None)
    clock[0] += 1e9
    assert deadline.left() is None


def test_time_runs_out(clock: list[float]) -> None:
    deadline = Deadline(timedelta(seconds=2))
    clock[0] += 1.5
    assert deadline.left() == 0.5
    clock[0] += 0.5
    with pytest.raises(DeadlineExceeded, match=r"no answer within the timeout: 2\.0 s"):
        deadline.left()


def test_a_part_of_what_has_no_limit_has_the_patience_for_it(clock: list[float]) -> None:
    part = Deadline(None).within(timedelta(seconds=60))
    clock[0] += 59
    assert part.left() == 1
    clock[0] += 1
    with pytest.raises(DeadlineExceeded):
        part.left()


def test_a_part_of_what_has_a_limit_has_that_one(clock: list[float]) -> None:
    whole = Deadline(timedelta(seconds=100))
    clock[0] += 10
    part = whole.within(timedelta(seconds=60))
    clock[0] += 80
    assert part.left() == 10
    assert part.elapsed == 80
    clock[0] += 10
    with pytest.raises(DeadlineExceeded, match=r"100\.0 s"):
        part.left()


def test_a_try_that_takes_too_long_is_slow_unless_all_of_it_is_late(clock: list[float]) -> None:
    whole = Deadline(timedelta(seconds=100))
    part = whole.within(timedelta(seconds=60))
    tries = [part.of_one_try(timedelta(seconds=seconds)) for seconds in (30, 200)]
    assert [each.left() for each in tries] == [30, 100]
    clock[0] += 30
    with pytest.raises(SlowAnswer, match=r"30\.0 s"):
        tries[0].left()
    clock[0] += 70
    for each in tries:
        with pytest.raises(DeadlineExceeded, match=r"100\.0 s"):
            each.left()


def test_who_abandons_a_part_abandons_the_whole_and_says_why() -> None:
    whole = Deadline(None)
    parts = [whole.within(timedelta(seconds=60)) for _ in range(2)]
    parts[0].abandon(ClosedError("closed by somebody"))
    raised = []
    for each in (whole, *parts):
        with pytest.raises(ClosedError, match="closed by somebody") as caught:
            each.left()
        raised.append(caught.value)
    assert len(set(map(id, raised))) == 3  # each adds to the message of its own


def test_a_sleep_ends_when_it_is_abandoned() -> None:
    deadline = Deadline(None).within(timedelta(seconds=60))
    threading.Timer(0.02, deadline.abandon).start()
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        deadline.sleep(50)
    assert time.monotonic() - started < HANG


def test_it_is_in_force_in_the_thread_that_said_so_and_no_longer_than_that() -> None:
    deadline, seen = Deadline(None), []
    with in_force(deadline):
        assert current.get() is deadline
        thread = threading.Thread(target=lambda: seen.append(current.get()))
        thread.start()
        thread.join()
    assert seen == [None]
    assert current.get() is None


# -- over a network --------------------------------------------------------------------------------

SLOW = {
    "never answers": faults.black_hole,
    "stalls": faults.stall(60),
    "drips its header": faults.slow_header(0.02),
    "drips its body": faults.drip(0.02),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_the_deadline_is_total(proxy: FaultProxy, sender: Sender, fault: Fault) -> None:
    sender.one()
    proxy.play(fault)
    started = time.monotonic()
    error = sender.fails(DeadlineExceeded, timeout=0.3)
    assert time.monotonic() - started < HANG
    assert isinstance(error, TimeoutError)
    assert "(1 attempt, " in str(error)
    proxy.be_honest()
    assert sender.one() == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_without_a_timeout_there_is_a_patience(
    proxy: FaultProxy, connect: Callable[..., Sender], fault: Fault
) -> None:
    proxy.play(fault)
    sender = connect(limits=Limits(patience=timedelta(seconds=0.3)))
    started = time.monotonic()
    sender.fails(DeadlineExceeded, timeout=None)
    assert time.monotonic() - started < HANG


def test_a_timeout_of_the_call_beats_the_patience(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    proxy.play(faults.stall(0.3))
    assert connect(limits=Limits(patience=timedelta(seconds=0.1))).one(timeout=20) == [1, 2, 3]


def test_the_retries_share_the_deadline(proxy: FaultProxy, sender: Sender) -> None:
    async def late_loss(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)
        await faults.close_before(exchange)

    assert sender.one() == [1, 2, 3]  # what is imported for the first call takes its time
    proxy.play(late_loss)
    error = sender.fails(DeadlineExceeded, timeout=0.5)
    assert re.search(r"\([123] attempts?, ", str(error))  # of four, each with time of its own


def test_what_waits_for_its_turn_is_over_as_well(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    proxy.play(faults.black_hole)
    sender = connect()
    started = time.monotonic()
    outcomes = sender.outcomes(*[[n] for n in range(40)], timeout=0.3)
    assert time.monotonic() - started < HANG
    assert {type(outcome) for outcome in outcomes} == {DeadlineExceeded}
    assert all(proxy.url in str(outcome) for outcome in outcomes)
    proxy.be_honest()
    assert sender.outcomes([1], [2]) == [[1], [2]]


def test_the_calls_that_were_in_time_have_their_answers(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    sender = connect()
    assert sender.one() == [1, 2, 3]  # what is made for the first call takes its time
    proxy.play(faults.black_hole, calls={3})
    outcomes = sender.outcomes(*[[n] for n in range(6)], timeout=1.0)
    late = [outcome for outcome in outcomes if isinstance(outcome, DeadlineExceeded)]
    assert len(late) == 1
    assert [outcome for outcome in outcomes if outcome not in late] == [
        [n] for n, outcome in enumerate(outcomes) if outcome not in late
    ]


def test_a_large_request_to_a_server_that_does_not_read_ends_in_time(
    connect: Callable[..., Sender],
) -> None:
    with Deaf() as deaf:
        call = Call(HttpRequest(url=deaf.url, method="POST", body=b" " * 6 * 10**6))
        started = time.monotonic()
        (outcome,) = connect().run([call], timeout=0.5)
        assert isinstance(outcome, DeadlineExceeded)
        assert time.monotonic() - started < HANG
