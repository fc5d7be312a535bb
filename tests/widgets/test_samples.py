"""What a sample looks like, in numbers and words."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from featkit.columns import STATUS, FeatureColumns, Status
from featkit.widgets import samples
from tests.widgets.conftest import make_view

NOW = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)


def summary_of(values):
    """Summarise one feature."""
    height = len(values)
    present = pl.repeat(Status.PRESENT, height, dtype=STATUS, eager=True)
    found = FeatureColumns(values.alias("a").to_frame(), {"a": present})
    keys = pl.DataFrame({"shop": pl.int_range(height, eager=True)})
    whole = samples.summary(make_view("v", ["a"]), keys, found)
    return whole, whole["features"][0]


@pytest.mark.parametrize(
    ("values", "span", "bars"),
    [
        (pl.Series([1, 2, 3, 13]), "1 to 13", 12),
        (pl.Series([2.5, 2.5]), "always 2.5", 1),
        (pl.Series([float("nan"), None]), "no values", 0),
        (pl.Series([float("inf"), 1.0]), "1 to inf", 0),
        (
            pl.Series([2**62, -(2**62)]),
            "-4611686018427387904 to 4611686018427387904",
            12,
        ),
        (pl.Series([True, False, True]), "2 distinct", 2),
        (pl.Series(["x"] * 3), "always x", 1),
        (pl.Series([str(n) for n in range(20)]), "20 distinct", 6),
        (pl.Series([dt.date(2024, 1, 1), dt.date(2024, 2, 1)]), "2024-01-01 to 2024-02-01", 12),
        (
            pl.Series([NOW, NOW + dt.timedelta(hours=1)]),
            "2024-05-01 12:00Z to 2024-05-01 13:00Z",
            12,
        ),
        (pl.Series([dt.timedelta(hours=1), dt.timedelta(hours=2)]), "1:00:00 to 2:00:00", 12),
        (pl.Series([dt.time(1), dt.time(2)]), "01:00:00 to 02:00:00", 12),
        (pl.Series([Decimal("1.10"), Decimal("2.00")]), "1.10 to 2.00", 12),
        (pl.Series([[1, 2], [3]]), "2 values", 0),
        (pl.Series([{"a": 1}]), "1 value", 0),
        (pl.Series([b"\x00", b"\xff"]), "2 values", 0),
        (pl.Series([], dtype=pl.Int64), "no values", 0),
        (pl.Series([None, None], dtype=pl.Null), "no values", 0),
        (pl.Series(["x" * 100]), f"always {'x' * 59}…", 1),
    ],
    ids=str,
)
def test_every_dtype_has_a_summary(values, span, bars):
    whole, feature = summary_of(values)
    assert feature["range"] == span
    assert len(feature["bars"]) == bars
    assert len(whole["rows"]) == len(values[:8])
    if bars == 12:
        assert sum(n for _, n in feature["bars"]) == len(values)


def test_a_key_and_a_feature_may_share_a_name():
    present = pl.Series([Status.PRESENT], dtype=STATUS)
    found = FeatureColumns(pl.DataFrame({"shop": [7.5]}), {"shop": present})
    whole = samples.summary(make_view("v", ["shop"]), pl.DataFrame({"shop": [1]}), found)
    assert whole["header"] == ["shop", "shop"]
    assert whole["rows"] == [["1", "7.5"]]


def test_a_static_view_has_no_freshness():
    found = FeatureColumns(pl.DataFrame({"a": [1]}), {"a": pl.Series([Status.PRESENT])})
    assert samples.freshness(make_view("v", ["a"]), found, NOW) is None
    timed = make_view("v", ["a"], timestamp="at")
    assert samples.freshness(timed, found, NOW)["tone"] == "warn"
