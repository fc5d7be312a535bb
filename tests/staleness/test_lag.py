"""Online against offline: behind, ahead, or on one side alone."""

from datetime import UTC, datetime, timedelta

import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.staleness import compare

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def series(*times):
    return pl.Series(times, dtype=TIMESTAMP)


def test_entities_are_compared_one_by_one():
    online = series(NOON, NOON, NOON, None, NOON, None)
    offline = series(NOON, NOON + 2 * HOUR, NOON - HOUR, NOON, None, None)
    lag = compare(online, offline)
    assert (lag.compared, lag.behind, lag.ahead) == (3, 1, 1)
    assert (lag.only_offline, lag.only_online) == (1, 1)
    assert (lag.p50, lag.p95, lag.max) == (timedelta(0), 2 * HOUR, 2 * HOUR)
    assert sorted(lag.lags.to_list()) == [-HOUR, timedelta(0), 2 * HOUR]
    assert str(lag) == "1 of 3 behind, by 2h at most"


def test_nothing_to_compare():
    lag = compare(series(None, NOON), series(NOON, None))
    assert (lag.compared, lag.p50, lag.max) == (0, None, None)
    assert str(lag) == "nothing to compare"


def test_in_words():
    assert str(compare(series(NOON), series(NOON))) == "online is up to date for 1"
    assert str(compare(series(NOON), series(NOON - HOUR))) == "1 ahead"
