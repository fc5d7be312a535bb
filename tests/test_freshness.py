"""Fresh means: now - timestamp <= ttl, and not in the future."""

import os
import time
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis import given

from featkit.errors import TimestampError
from featkit.freshness import FeatureValue, is_fresh

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TTL = timedelta(hours=3)
TICK = timedelta(microseconds=1)

aware = some.datetimes(
    datetime(1900, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=some.sampled_from([UTC, ZoneInfo("Europe/Paris"), timezone(timedelta(hours=-9))]),
)
ttls = some.one_of(some.none(), some.timedeltas(timedelta(0), timedelta(days=400_000)))


@pytest.mark.parametrize(
    ("age", "fresh"),
    [
        (timedelta(0), True),
        (TTL - TICK, True),
        (TTL, True),
        (TTL + TICK, False),
        (-TICK, False),
        (timedelta(days=-365), False),
    ],
)
def test_ttl_itself_is_fresh_and_the_future_never(age, fresh):
    assert is_fresh(NOON - age, TTL, NOON) is fresh
    assert is_fresh(pl.Series([NOON - age]), TTL, NOON).to_list() == [fresh]
    assert FeatureValue(1, NOON - age, TTL).is_stale(NOON) is not fresh


@given(timestamp=aware, now=aware, ttl=ttls)
def test_rule_holds_for_any_moments_zones_and_ttls(timestamp, now, ttl):
    # in UTC, since Python subtracts the wall clocks of two datetimes of one zone
    age = now.astimezone(UTC) - timestamp.astimezone(UTC)
    expected = timedelta(0) <= age and (ttl is None or age <= ttl)
    stamp, moment = timestamp.astimezone(UTC), now.astimezone(UTC)
    assert is_fresh(stamp, ttl, moment) is expected
    series = pl.Series([stamp, None], dtype=pl.Datetime("us", "UTC"))
    assert is_fresh(series, ttl, moment).to_list() == [expected, None]
    assert FeatureValue(1, timestamp, ttl).is_stale(now) is not expected


def test_ttl_beyond_the_calendar_keeps_everything_fresh():
    assert is_fresh(datetime(1, 1, 1, tzinfo=UTC), timedelta.max, NOON)
    assert is_fresh(pl.Series([datetime(1, 1, 1, tzinfo=UTC)]), timedelta.max, NOON).to_list() == [
        True
    ]


def test_hour_that_daylight_saving_repeats_counts_twice():
    paris = ZoneInfo("Europe/Paris")
    first = datetime(2024, 10, 27, 2, 30, tzinfo=paris)
    second = first.replace(fold=1)
    assert second.astimezone(UTC) - first.astimezone(UTC) == timedelta(hours=1)
    assert FeatureValue(1, first, timedelta(minutes=59)).is_stale(second)
    assert not FeatureValue(1, first, timedelta(minutes=60)).is_stale(second)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the process's zone cannot be set here")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"])
def test_answers_are_the_same_in_any_zone_of_the_process(monkeypatch, zone):
    monkeypatch.setitem(os.environ, "TZ", zone)
    time.tzset()
    try:
        assert not FeatureValue(1, NOON - TTL, TTL).is_stale(NOON)
        assert FeatureValue(1, NOON - TTL - TICK, TTL).is_stale(NOON)
        assert not FeatureValue(1, datetime.now(UTC), timedelta(minutes=1)).is_stale()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_present_is_the_default_now():
    assert FeatureValue(1, datetime.now(UTC) - timedelta(days=1), TTL).is_stale()
    assert not FeatureValue(1, datetime.now(UTC), TTL).is_stale()


@pytest.mark.parametrize(("ttl", "stale"), [(None, False), (TTL, True)])
def test_unknown_age_is_stale_where_freshness_was_promised(ttl, stale):
    assert FeatureValue(1, None, ttl).is_stale(NOON) is stale


def test_without_ttl_only_the_future_is_stale():
    assert not FeatureValue(1, datetime(1970, 1, 1, tzinfo=UTC)).is_stale(NOON)
    assert FeatureValue(1, NOON + TICK).is_stale(NOON)


def test_naive_times_are_refused():
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(TimestampError, match=r"now is naive.*tzinfo=datetime\.UTC"):
        FeatureValue(1, NOON, TTL).is_stale(naive)
    with pytest.raises(TimestampError, match="the value's timestamp is naive"):
        FeatureValue(1, naive, TTL).is_stale(NOON)
