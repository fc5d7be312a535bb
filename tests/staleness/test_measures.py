"""Counting: each entity once, each row by its age, whatever the store tells and keeps from us."""

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis import given

from featkit.columns import STATUS, FeatureColumns, Status
from featkit.dtypes import TIMESTAMP
from featkit.schema import Entity, Feature, FeatureView
from featkit.staleness import Thresholds, measure
from featkit.staleness.measures import time_column

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TTL = 3 * HOUR
COUNTS = ("present", "null", "missing", "expired", "future", "unknown", "failed")


def view_of(*features, ttl=TTL, key="shop"):
    return FeatureView(
        name="shops",
        entities=(Entity(key, key, pl.Int64()),),
        features=tuple(Feature(name, pl.Int64()) for name in features),
        timestamp="at",
        ttl=ttl,
    )


def look(columns, *, ttl=TTL, level="row", now=NOON, key="shop", tolerate=0.0):
    names = columns.values.columns
    view = view_of(*names, ttl=ttl, key=key)
    keys = pl.DataFrame({key: range(len(columns))}, schema={key: pl.Int64})
    return measure(
        view,
        keys,
        columns,
        names={name: name for name in names},
        level=level,
        thresholds=Thresholds.of(ttl, tolerate=tolerate),
        now=now,
    )


def columns_of(**features):
    """Make columns of ``(value, status, age)`` for each entity; age None: no timestamp."""
    values, statuses, timestamps = {}, {}, {}
    for name, rows in features.items():
        own, told, lengths = zip(*rows, strict=True) if rows else ((), (), ())
        values[name] = pl.Series(own, dtype=pl.Int64)
        statuses[name] = pl.Series(told, dtype=STATUS)
        times = [None if age is None else NOON - age for age in lengths]
        timestamps[name] = pl.Series(times, dtype=TIMESTAMP)
    return FeatureColumns(pl.DataFrame(values), statuses, timestamps)


PRESENT, NULL, LOST, ERROR = Status.PRESENT, Status.NULL, Status.NOT_FOUND, Status.ERROR
ONE_OF_EACH = [
    (1, PRESENT, HOUR),
    (2, PRESENT, TTL),
    (3, PRESENT, 4 * HOUR),
    (4, PRESENT, -HOUR),
    (5, PRESENT, None),
    (None, PRESENT, HOUR),
    (None, NULL, 9 * HOUR),
    (None, LOST, None),
    (7, Status.STALE, HOUR),
    (8, Status.STALE, 5 * HOUR),
    (9, Status.EXPIRED, None),
]


def test_each_entity_is_counted_once_by_what_its_value_is():
    found = look(columns_of(visits=ONE_OF_EACH))
    (visits,) = found.features
    counts = {name: getattr(visits, name) for name in COUNTS}
    assert counts == {
        "present": 3,
        "null": 2,
        "missing": 1,
        "expired": 3,
        "future": 1,
        "unknown": 1,
        "failed": 0,
    }
    assert visits.n == sum(counts.values()) == found.n == 11
    assert visits.headroom == found.headroom == TTL - 9 * HOUR


def test_ages_are_those_of_rows_whether_or_not_the_value_is_null():
    (visits,) = look(columns_of(visits=ONE_OF_EACH)).features
    assert (visits.ages.rows, visits.ages.unknown, visits.ages.future) == (10, 2, 1)
    assert (visits.ages.max, visits.ages.newest) == (9 * HOUR, NOON - HOUR)
    assert visits.ages.beyond_error == 4  # older than the ttl, and to come


def test_what_the_cache_kept_past_its_time_is_as_old_as_it_is():
    rows = [(1, Status.STALE, HOUR), (2, Status.STALE, 4 * HOUR)]
    (visits,) = look(columns_of(visits=rows)).features
    assert (visits.present, visits.expired) == (1, 1)


def test_features_may_have_times_of_their_own():
    found = look(
        columns_of(
            visits=[(1, PRESENT, HOUR), (1, PRESENT, 5 * HOUR)],
            rating=[(1, PRESENT, 2 * HOUR), (1, PRESENT, HOUR)],
        ),
        level="feature",
    )
    visits, rating = found.features
    assert (visits.ages.max, rating.ages.max) == (5 * HOUR, 2 * HOUR)
    assert (visits.verdict, rating.verdict, found.verdict) == ("error", "pass", "error")
    # a row is as old as the oldest of its features, the view as fresh as its newest
    assert found.times["event_timestamp"].to_list() == [NOON - 2 * HOUR, NOON - 5 * HOUR]
    assert (found.ages.p50, found.ages.max) == (2 * HOUR, 5 * HOUR)
    assert (found.newest, found.freshness) == (NOON - HOUR, HOUR)


def test_row_age_is_told_apart_from_view_freshness():
    found = look(columns_of(visits=[(1, PRESENT, HOUR), (2, PRESENT, 30 * HOUR)]))
    assert (found.freshness, found.ages.max, found.verdict) == (HOUR, 30 * HOUR, "error")


def test_a_time_to_come_does_not_make_a_view_fresh():
    found = look(columns_of(visits=[(1, PRESENT, -HOUR), (2, PRESENT, 2 * HOUR)]))
    assert (found.newest, found.freshness) == (NOON - 2 * HOUR, 2 * HOUR)
    assert found.verdict == "error"
    only = look(columns_of(visits=[(1, PRESENT, -HOUR)]))
    assert (only.newest, only.freshness, only.verdict) == (None, None, "error")


@pytest.mark.parametrize("level", ["row", "feature", "view", "none", "static"])
def test_without_timestamps_nothing_is_known(level):
    columns = columns_of(visits=[(1, PRESENT, None), (None, PRESENT, None), (None, LOST, None)])
    columns = FeatureColumns(columns.values, columns.statuses)
    found = look(columns, level=level)
    (visits,) = found.features
    assert found.verdict == visits.verdict == "unknown"
    assert (visits.unknown, visits.null, visits.missing, visits.present) == (1, 1, 1, 0)
    assert found.ages.known == 0
    assert found.share_expired is None
    assert found.times["event_timestamp"].null_count() == 3


def test_times_of_a_view_as_a_whole_judge_the_view():
    rows = [(1, PRESENT, 2 * HOUR), (2, PRESENT, 2 * HOUR)]
    found = look(columns_of(visits=rows), level="view")
    assert (found.verdict, found.reason) == (
        "pass",
        "the view as a whole is 2h old, within 2h24m",
    )


def test_failures_are_counted_and_not_taken_for_missing():
    found = look(columns_of(visits=[(1, PRESENT, HOUR), (None, ERROR, None)]))
    (visits,) = found.features
    assert (visits.failed, visits.missing, found.verdict) == (1, 0, "failed")
    assert found.reason == "visits: the store failed for 1 of 2 entities"


def test_nobody_to_look_at():
    found = look(columns_of(visits=[]))
    assert (found.verdict, found.reason) == ("unknown", "there are no entities to look at")
    assert (found.n, found.share_expired, found.headroom) == (0, None, None)


def test_strangers_alone():
    found = look(columns_of(visits=[(None, LOST, None)] * 3))
    assert (found.verdict, found.reason) == ("unknown", "the store has none of 3 entities")


def test_a_view_without_ttl_has_ages_and_no_verdict():
    found = look(columns_of(visits=[(1, PRESENT, 5 * HOUR)]), ttl=None)
    (visits,) = found.features
    assert (visits.present, visits.expired, found.ages.max) == (1, 0, 5 * HOUR)
    assert (found.verdict, found.headroom) == ("unknown", None)
    assert "cannot be judged" in found.reason


def test_a_join_key_may_be_called_as_the_times_are():
    found = look(columns_of(visits=[(1, PRESENT, HOUR)]), key="event_timestamp")
    assert found.times.columns == ["event_timestamp", "event_timestamp__"]
    assert time_column(["event_timestamp"]) == "event_timestamp__"


@given(
    rows=some.lists(
        some.tuples(
            some.none() | some.integers(0, 9),
            some.sampled_from([PRESENT, LOST, Status.STALE, ERROR]),
            some.none() | some.timedeltas(timedelta(-2), timedelta(2)),
        ),
        max_size=30,
    ),
    data=some.data(),
)
def test_order_of_entities_does_not_matter(rows, data):
    # what is not there has no value
    rows = [(None if told in {LOST, ERROR} else value, told, age) for value, told, age in rows]
    mixed = data.draw(some.permutations(rows))
    one, other = look(columns_of(visits=rows)), look(columns_of(visits=mixed))
    assert one == other
    (visits,) = one.features
    assert sum(getattr(visits, name) for name in COUNTS) == len(rows)
