"""Ages: counted by the one rule of freshness, whatever the zones, the order and the units."""

import math
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis import given

from featkit.dtypes import TIMESTAMP
from featkit.errors import InputError
from featkit.freshness import FeatureValue, is_fresh, is_stale
from featkit.staleness import Ages, Thresholds, ages

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TICK, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
ZONES = [
    *("UTC", "Europe/Paris", "Europe/London", "America/New_York", "America/Sao_Paulo"),
    *("Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"),
    *("Pacific/Kiritimati", "Africa/Casablanca", "America/St_Johns"),
]

moments = some.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=some.sampled_from([*map(ZoneInfo, ZONES), timezone(-9 * HOUR)]),
)
limits = some.one_of(some.none(), some.timedeltas(timedelta(0), timedelta(days=40_000)))
thresholds = some.builds(
    lambda one, other: Thresholds(warn_after=one, error_after=other), limits, limits
)


def series(times):
    """Make the event timestamps of instants, whose zones do not matter."""
    return pl.Series([time and time.astimezone(UTC) for time in times], dtype=TIMESTAMP)


def by_hand(times, limits_, now):
    """Tell the ages one by one, in Python."""
    lengths = [time and now - time.astimezone(UTC) for time in times]
    past = sorted(length for length in lengths if length is not None and length >= timedelta(0))

    def beyond(limit):
        known = [length for length in lengths if length is not None]
        return limit is not None and sum(not timedelta(0) <= each <= limit for each in known)

    def rank(share):
        return past[math.ceil(share * len(past)) - 1] if past else None

    return Ages(
        rows=len(times),
        unknown=lengths.count(None),
        future=sum(length is not None and length < timedelta(0) for length in lengths),
        beyond_warn=int(beyond(limits_.warn_after)),
        beyond_error=int(beyond(limits_.error_after)),
        newest=now - past[0] if past else None,
        oldest=now - past[-1] if past else None,
        **{f"p{n}": rank(n / 100) for n in (50, 90, 95, 99)},
        max=rank(1.0),
    )


@given(times=some.lists(some.none() | moments, max_size=40), now=moments, limits_=thresholds)
def test_ages_are_those_counted_by_hand(times, now, limits_):
    now = now.astimezone(UTC)
    assert ages(series(times), limits_, now) == by_hand(times, limits_, now)


@given(times=some.lists(some.none() | moments, max_size=30), now=moments, data=some.data())
def test_order_of_rows_does_not_matter(times, now, data):
    mixed = data.draw(some.permutations(times))
    limits_ = Thresholds(warn_after=DAY, error_after=2 * DAY)
    now = now.astimezone(UTC)
    assert ages(series(mixed), limits_, now) == ages(series(times), limits_, now)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_zone_and_unit_in_which_a_time_is_written_do_not_matter(zone, unit):
    times = pl.Series([NOON - HOUR, NOON - DAY, NOON + HOUR], dtype=TIMESTAMP)
    written = times.dt.cast_time_unit(unit).dt.convert_time_zone(zone)
    back = written.dt.convert_time_zone("UTC").cast(TIMESTAMP)
    limits_ = Thresholds(error_after=HOUR)
    assert ages(back, limits_, NOON) == ages(times, limits_, NOON)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("month", [3, 4, 9, 10, 11])
def test_an_hour_is_an_hour_when_clocks_are_changed(zone, month):
    # every half hour of a month in which some clocks go forward or back, written by the local clock
    start = datetime(2024, month, 1, tzinfo=UTC)
    instants = [start + timedelta(minutes=30 * n) for n in range(31 * 48)]
    local = [instant.astimezone(ZoneInfo(zone)) for instant in instants]
    for one, later in zip(local, local[2:], strict=False):
        if one.utcoffset() == later.utcoffset() and not (one.fold or later.fold or one.hour == 7):
            continue  # an hour apart by any clock, as at seven each day
        assert not is_stale(one.astimezone(UTC), HOUR, later.astimezone(UTC))
        assert FeatureValue(1, one, HOUR - TICK).is_stale(later)
        assert not FeatureValue(1, one, HOUR).is_stale(later)
    now = instants[-1]
    found = ages(series(local), Thresholds(error_after=DAY), now)
    assert found.beyond_error == len(instants) - 49
    assert found.max == timedelta(minutes=30 * (len(instants) - 1))


@pytest.mark.parametrize("limit", [timedelta(0), TICK, HOUR, 365 * DAY])
def test_an_age_equal_to_the_limit_is_good_and_a_microsecond_more_is_not(limit):
    times = series([NOON - limit, NOON - limit - TICK, NOON + TICK])
    found = ages(times, Thresholds(warn_after=limit, error_after=limit), NOON)
    assert (found.beyond_warn, found.beyond_error, found.future) == (2, 2, 1)
    assert is_fresh(times, limit, NOON).to_list() == [True, False, False]
    assert is_stale(times, limit, NOON).to_list() == [False, True, True]


@given(time=some.none() | moments, ttl=limits, now=moments)
def test_one_rule_for_values_series_and_feature_values(time, ttl, now):
    stamp, moment = time and time.astimezone(UTC), now.astimezone(UTC)
    stale = is_stale(stamp, ttl, moment)
    assert is_stale(series([time]), ttl, moment).to_list() == [stale]
    assert FeatureValue(1, time, ttl).is_stale(now) is stale


def test_quantiles_are_ages_of_rows():
    times = series([NOON - n * HOUR for n in range(1, 101)])
    found = ages(times, Thresholds(), NOON)
    assert [found.p50, found.p90, found.p95, found.p99, found.max] == [
        n * HOUR for n in (50, 90, 95, 99, 100)
    ]
    assert (found.newest, found.oldest) == (NOON - HOUR, NOON - 100 * HOUR)
    assert (found.min, found.known) == (HOUR, 100)


def test_times_before_1970_and_after_2262_have_ages():
    long_ago, far_off = datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    found = ages(series([long_ago, far_off]), Thresholds(error_after=DAY), NOON)
    assert (found.max, found.future, found.beyond_error) == (NOON - long_ago, 1, 2)


@pytest.mark.parametrize("times", [[], [None, None], [NOON + HOUR]])
def test_without_a_time_in_the_past_there_is_no_age(times):
    found = ages(series(times), Thresholds(error_after=DAY), NOON)
    assert (found.newest, found.oldest, found.p50, found.max, found.min) == (None,) * 5
    assert (found.rows, found.known) == (len(times), 0)


# -- thresholds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({}, (None, None)),
        ({"ttl": 10 * HOUR}, (8 * HOUR, 10 * HOUR)),
        ({"ttl": 10 * HOUR, "warn_after": HOUR}, (HOUR, 10 * HOUR)),
        ({"ttl": 10 * HOUR, "error_after": 5 * HOUR}, (4 * HOUR, 5 * HOUR)),
        ({"ttl": 10 * HOUR, "error_after": 20 * HOUR}, (8 * HOUR, 20 * HOUR)),
        ({"warn_after": HOUR}, (HOUR, None)),
        ({"error_after": 5 * HOUR}, (4 * HOUR, 5 * HOUR)),
        ({"ttl": timedelta(0)}, (timedelta(0), timedelta(0))),
    ],
)
def test_thresholds_follow_from_the_ttl(given_, expected):
    made = Thresholds.of(given_.pop("ttl", None), **given_)
    assert (made.warn_after, made.error_after) == expected


def test_thresholds_without_meaning_are_refused():
    with pytest.raises(InputError, match=r"warn_after \(2h\) is later than error_after \(1h\)"):
        Thresholds.of(None, warn_after=2 * HOUR, error_after=HOUR)
    for share in (-0.1, 1.1, float("nan"), "10%", None):
        with pytest.raises(InputError, match="is no share"):
            Thresholds.of(None, tolerate=share)
