"""Databricks' types, by their SQL texts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from featkit.dtypes import TIMESTAMP
from featkit.errors import ProtocolError, TimestampError
from featkit.stores.databricks.types import kind_of

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "dtype", "column", "values"),
    [
        ("boolean", pl.Boolean(), b"[true, null]", [True, None]),
        ("tinyint", pl.Int8(), b"[-128, null]", [-128, None]),
        ("BIGINT", pl.Int64(), b"[9007199254740993]", [9007199254740993]),
        ("float", pl.Float32(), b"[0.5, 2]", [0.5, 2.0]),
        ("double", pl.Float64(), b'[0.1, "Infinity"]', [0.1, float("inf")]),
        ("decimal(10,2)", pl.Decimal(10, 2), b'[1.50, "2.25", null]', ["1.50", "2.25", None]),
        ("varchar(20)", pl.String(), b'["x"]', ["x"]),
        ("binary", pl.Binary(), b'["AP8="]', [b"\x00\xff"]),
        ("date", pl.Date(), b'["2024-02-29"]', [date(2024, 2, 29)]),
        ("timestamp", TIMESTAMP, b'["2024-05-01T14:00:00+02:00"]', [NOON]),
        ("timestamp", TIMESTAMP, b'["2024-05-01 14:00:00", null]', [NOON, None]),
        ("timestamp_ntz", TIMESTAMP, b'["2024-05-01T14:00:00.000000"]', [NOON]),
        (
            "timestamp",
            TIMESTAMP,
            (
                b'["2024-05-01T14:00:00", "2024-05-01T14:00:00.5", "2024-05-01 14:00:00.000001",'
                b' "2024-05-01T12:00:00Z", "2024-05-01"]'
            ),
            [
                NOON,
                NOON + timedelta(seconds=0.5),
                NOON + timedelta(microseconds=1),
                NOON,
                NOON - timedelta(hours=14),
            ],
        ),
        ("array<double>", pl.List(pl.Float64()), b"[[1, 2.5], [], null]", [[1.0, 2.5], [], None]),
        ("array<timestamp>", pl.List(TIMESTAMP), b'[["2024-05-01T12:00:00Z"]]', [[NOON]]),
        (
            "struct<a:int,b:array<string>>",
            pl.Struct({"a": pl.Int32(), "b": pl.List(pl.String())}),
            b'[{"a": 1, "b": ["x"]}]',
            [{"a": 1, "b": ["x"]}],
        ),
        (
            "map<string,int>",
            pl.List(pl.Struct({"key": pl.String(), "value": pl.Int32()})),
            b'[{"x": 1}, {}]',
            [[{"key": "x", "value": 1}], []],
        ),
        ("variant", pl.String(), b'[{"x": [1]}, null]', ['{"x": [1]}', None]),
    ],
)
def test_values_are_of_their_types(text, dtype, column, values):
    kind = kind_of(text, "Europe/Paris")
    assert kind.dtype == dtype
    found = kind.decode(column, "x")
    assert found.dtype == dtype
    if isinstance(dtype, pl.Decimal):
        values = [value and Decimal(value) for value in values]
    assert found.to_list() == values


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("timestamp", b'["yesterday"]'),
        ("timestamp", b"[1714564800]"),
        ("date", b'["2024-02-30"]'),
        ("decimal(4,1)", b'["many"]'),
        ("decimal(4,1)", b"[123456.7]"),
        ("binary", b'["?"]'),
        ("int", b"[2147483648]"),
        ("array<int>", b"[1]"),
    ],
)
def test_what_is_of_another_type_is_refused(text, column):
    with pytest.raises(ProtocolError, match=r"'x'|neither"):
        kind_of(text, "UTC").decode(column, "x")


def test_naive_times_need_a_zone():
    with pytest.raises(TimestampError, match="timezone="):
        kind_of("array<timestamp>").decode(b'[["2024-05-01T12:00:00"]]', "x")
