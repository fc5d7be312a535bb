"""Rows in order are matched as any rows are, or it is said that they are not in order."""

from unittest.mock import sentinel

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from featkit.dtypes import TIMESTAMP
from featkit.engines.base import CREATED, JoinTask
from featkit.engines.ordered import best_in_order
from featkit.engines.runs import Run, best_of
from featkit.engines.spine import Spine
from featkit.history import EVENT, HistoryRows, Rule
from featkit.keys import EntityKeys

numbers = st.integers(0, 12)
rows = st.tuples(st.integers(1, 4), numbers, st.none() | numbers)
moments = st.tuples(st.sampled_from([1, 2, 4, 9]), numbers)
rules = st.builds(Rule, delay=st.sampled_from([0, 3]), strict=st.booleans(), created=st.booleans())


def task_of(spine, rule):
    frame = pl.DataFrame(spine, schema={"k": pl.Int64, "at": TIMESTAMP}, orient="row")
    keys = EntityKeys.of(frame.select("k"))
    history = HistoryRows(
        scan=pl.LazyFrame(),
        keys=(pl.col("k"),),
        event=pl.col("event"),
        created=pl.col("created"),
        convert=sentinel.convert,
        unreadable=sentinel.unreadable,
        origin=None,
    )
    return JoinTask(
        spine=Spine(keys, frame["at"]), history=history, features=(), rule=rule, oldest=None
    )


def frame_of(found, *, created=True):
    schema = {"k0": pl.Int64, EVENT: TIMESTAMP, CREATED: TIMESTAMP}
    frame = pl.DataFrame(found, schema=schema, orient="row")
    return frame if created else frame.drop(CREATED)


def any_order(task, first, frame, *, revised):
    codes, event, created = task.usable(frame)
    run = Run(
        numbers=np.arange(first, first + frame.height),
        codes=codes,
        event=event,
        created=created,
        known=task.rule.known_from(event, created),
    )
    return best_of(task.spine, run, revised=revised)


def told(best):
    fields = ["slots", "numbers", "event", "created", "count", "seen"]
    return {name: np.array(getattr(best, name)).tolist() for name in fields}


def by_time(row):
    key, event, created = row
    return key, event, -1 if created is None else created


@given(
    found=st.lists(rows, min_size=1, max_size=30),
    spine=st.lists(moments, min_size=1, max_size=12),
    rule=rules,
)
def test_it_equals_the_way_for_any_rows(found, spine, rule):
    task, frame = task_of(spine, rule), frame_of(sorted(found, key=by_time))
    best = best_in_order(task, 7, frame, revised=rule.created)
    if len({key for key, _, _ in found}) * 2 > len(found):
        assert best is None
    elif best is not None or len(spine) <= 4 * len(found):
        assert told(best) == told(any_order(task, 7, frame, revised=rule.created))


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([(1, 5, None), (1, 4, None), (1, 6, None), (1, 7, None)], id="events"),
        pytest.param([(2, 4, None), (2, 5, None), (1, 4, None), (1, 5, None)], id="entities"),
        pytest.param([(1, 4, None), (1, 5, None)] * 2, id="an entity twice"),
        pytest.param([(1, 4, 9), (1, 4, 8), (1, 4, 8), (1, 5, 1)], id="created timestamps"),
        pytest.param([(1, None, 9), (1, 4, 8), (1, 4, 8), (1, 5, 1)], id="without event"),
        pytest.param([(1, 4, 9), (2, 4, 8), (4, 4, 8)], id="as many entities as rows"),
    ],
)
def test_rows_in_another_order_are_left_to_others(found):
    task = task_of([(1, 5), (2, 6)], Rule())
    assert best_in_order(task, 0, frame_of(found), revised=False) is None


def test_an_entity_ends_where_the_next_one_begins():
    task = task_of([(1, 9), (2, 3)], Rule())
    found = frame_of([(1, 7, None), (1, 8, None), (2, 1, None), (2, 2, None)], created=False)
    best = best_in_order(task, 0, found, revised=False)
    assert told(best) | {"seen": None} == {
        "slots": [0, 1],
        "numbers": [1, 3],
        "event": [8, 2],
        "created": None,
        "count": [1, 1],
        "seen": None,
    }


def test_many_rows_written_too_late_are_left_to_others():
    task = task_of([(1, 500)], Rule(created=True))
    late = [(1, n, 1_000) for n in range(100)]
    assert best_in_order(task, 0, frame_of([(1, 0, 0), *late]), revised=True) is None
    few = frame_of([(1, 0, 0), *late[:60]])
    assert best_in_order(task, 0, few, revised=True).numbers.tolist() == [0]
