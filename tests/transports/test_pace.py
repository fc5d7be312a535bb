"""How many calls run at once: what a simulated store makes of it, without waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featkit.transports.pace import AGE, Pace

Speed = Callable[[int], float]  # of a store, of which so much is asked at once, to that of one

WORK = 0.28  # seconds that a call takes alone


def one_worker(at_once: int) -> float:
    """Take turns, and lose a little with each change."""
    return 1 / (1 + 0.03 * (at_once - 1))


def workers(count: int) -> Speed:
    return lambda at_once: min(at_once, count)


def any_number(at_once: int) -> float:
    return at_once


def run(
    pace: Pace,
    speed: Speed,
    calls: int,
    *,
    start: float = 0.0,
    keys: int = 2000,
    held_up: tuple[int, float] = (-1, 0.0),
) -> float:
    """Have a store answer calls, as many at once as the pace says; tell when the last is done.

    What is asked at once gets equal shares, so that calls end in the order in which they began.
    Once so many calls are left to begin, all are held up for so many seconds.
    """
    now, done, left = start, 0.0, calls  # done: the share of each call since the start
    under_way: deque[tuple[float, float, float]] = deque()  # share at the end, begun, area
    while left or under_way:
        while left and pace.running < pace.level:
            left -= 1
            under_way.append((done + WORK, now, pace.begin(now)))
            now += held_up[1] * (left == held_up[0])
        share = speed(len(under_way)) / len(under_way)
        end, begun, area = under_way.popleft()
        now += (end - done) / share
        done = end
        taken = now - begun
        pace.learn(keys, taken, pace.end(now, area) / taken, now)
    return now


@pytest.mark.parametrize(
    ("speed", "level"),
    [(one_worker, 1), (workers(1), 1), (workers(2), 2), (workers(4), 4), (workers(8), 8)],
    ids=["one worker", "1", "2", "4", "8"],
)
def test_as_many_run_at_once_as_the_store_has_workers(speed, level):
    pace = Pace(8)
    run(pace, speed, 60)
    assert pace.level == level


@pytest.mark.parametrize("hold_up", [5, 8, 100])
@pytest.mark.parametrize("stalled", range(65, 100))
def test_what_holds_up_a_few_calls_says_nothing_of_the_store(stalled, hold_up):
    held_up = (stalled, hold_up * WORK)  # as where a library is imported meanwhile
    pace = Pace(8)
    run(pace, any_number, 100, held_up=held_up)
    assert pace.level == 8
    single = Pace(8)
    run(single, one_worker, 100, held_up=held_up)
    # where the first call was held up, the second level seems better, for a minute
    assert single.level <= (1 if stalled < 98 else 2)


def test_a_store_that_bears_any_number_gets_the_most():
    pace = Pace(8)
    run(pace, any_number, 40)
    assert pace.level == 8


def test_one_worker_is_asked_one_thing_after_another_from_the_fourth_call_on():
    pace = Pace(8)
    run(pace, one_worker, 5)
    assert pace.level == 1
    assert run(Pace(8), one_worker, 50) < 1.01 * 50 * WORK


def test_finding_out_costs_a_store_with_many_workers_few_rounds():
    pace = Pace(8)
    assert run(pace, any_number, 2000) < 1.02 * 2000 / 8 * WORK
    # what was learnt is kept
    assert run(pace, any_number, 5, start=10.0) - 10.0 == pytest.approx(WORK)


def test_what_changes_is_found_out_again():
    pace = Pace(8)
    end = run(pace, workers(8), 40)
    for _ in range(4):  # the workers are gone
        end = run(pace, one_worker, 40, start=end + AGE)
    assert pace.level == 1
    for _ in range(4):  # they are back
        end = run(pace, workers(8), 40, start=end + AGE)
    assert pace.level == 8


def test_lookups_of_few_entities_say_nothing_of_large_ones():
    pace = Pace(8)
    end = run(pace, one_worker, 40)
    end = run(pace, any_number, 200, start=end, keys=1)
    assert pace.level == 1
    small_first = Pace(8)
    end = run(small_first, any_number, 40, keys=1)
    assert small_first.level == 8
    for _ in range(4):
        end = run(small_first, one_worker, 40, start=end + AGE)
    assert small_first.level == 1


@pytest.mark.parametrize(("speed", "level"), [(one_worker, 2), (workers(4), 4)])
def test_a_store_that_wants_the_next_call_early_has_it_from_the_beginning(speed, level):
    pace = Pace(8, 2)
    assert pace.level == 2
    end = run(pace, speed, 40)
    assert pace.level == level
    run(pace, one_worker, 1, start=end + AGE)  # it is looked at again from half of it
    assert pace.level >= 2


@given(
    st.integers(1, 32),
    st.integers(1, 32),
    st.lists(
        st.tuples(st.integers(1, 5000), st.floats(0, 1e3), st.floats(0, 40), st.floats(0, 1e3))
    ),
)
def test_the_level_stays_between_the_least_and_the_most(one, other, answers):
    least, most = sorted((one, other))
    pace = Pace(most, least)
    now = 0.0
    for entities, seconds, at_once, pause in answers:
        now += pause
        pace.learn(entities, seconds, at_once, now)
        assert least <= pace.level <= most
