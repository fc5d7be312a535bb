"""The rhythm of arrivals: learnt where there is one, and not made up where there is none."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from featkit.dtypes import TIMESTAMP
from featkit.staleness import learn

START = datetime(2024, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def series(times):
    return pl.Series(times, dtype=TIMESTAMP)


@pytest.mark.parametrize("every", [timedelta(seconds=1), HOUR, DAY, 7 * DAY])
def test_regular_arrivals(every):
    times = [START + n * every for n in range(20)]
    cadence = learn(series(times))
    assert (cadence.every, cadence.longest, cadence.arrivals) == (every, every, 20)
    assert (cadence.last, cadence.next) == (times[-1], times[-1] + every)
    assert not cadence.is_overdue(cadence.next)
    assert cadence.is_overdue(cadence.next + HOUR)


def test_order_and_repetition_do_not_matter():
    times = [START + n * DAY for n in range(20)] * 3
    mixed = random.Random(1).sample(times, len(times))
    assert learn(series(mixed)) == learn(series(times[:20]))


def test_rows_of_a_nightly_run_are_one_arrival():
    dice = random.Random(2)
    nights = [START + n * DAY for n in range(30)]
    times = [
        night + timedelta(seconds=dice.uniform(0, 1200)) for night in nights for _ in range(50)
    ]
    cadence = learn(series(times))
    assert cadence.arrivals == 30
    assert abs(cadence.every - DAY) < timedelta(minutes=10)


def test_a_job_at_local_midnight_is_daily_though_clocks_change():
    zone = ZoneInfo("Europe/Paris")
    times = [datetime(2024, 3, day, tzinfo=zone).astimezone(UTC) for day in range(20, 32)]
    cadence = learn(series([*times, datetime(2024, 4, 1, tzinfo=zone).astimezone(UTC)]))
    assert cadence.every == DAY


def test_working_days_with_week_ends_are_daily():
    days = [START + n * DAY for n in range(60)]
    cadence = learn(series([day for day in days if day.weekday() < 5]))
    assert (cadence.every, cadence.longest) == (DAY, 3 * DAY)
    friday = next(day for day in days if day.weekday() == 4)
    assert learn(series([day for day in days if day.weekday() < 5])).last >= friday


def test_a_rhythm_that_has_changed_is_believed():
    daily = [START + n * DAY for n in range(200)]
    hourly = [daily[-1] + n * HOUR for n in range(1, 150)]
    assert learn(series(daily + hourly)).every == HOUR


def test_one_missing_arrival_does_not_hide_the_rhythm():
    times = [START + n * HOUR for n in range(50) if n != 25]
    assert learn(series(times)).every == HOUR


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_arrivals_have_no_rhythm(count):
    assert learn(series([START + n * DAY for n in range(count)])) is None
    assert learn(series([START + n * DAY for n in range(count)] * 10)) is None


def test_a_few_rows_at_once_do_not_make_runs():
    times = [START, START + timedelta(seconds=1), *(START + n * DAY for n in range(1, 6))]
    assert learn(series(times)).every == DAY


@pytest.mark.parametrize("within", [1, 3, 7, 8, 15, 16, 1_000_003, 2**40 - 1])
@pytest.mark.parametrize(("times_as_long", "arrivals"), [(20, 10), (19, 50)])
def test_pauses_are_twenty_times_as_long_as_gaps_within_runs(within, times_as_long, arrivals):
    steps = ([within] * 4 + [times_as_long * within]) * 10
    times = pl.Series([0, *steps[:-1]]).cum_sum().cast(TIMESTAMP)
    assert learn(times).arrivals == arrivals
