"""Databricks' types, by their SQL texts."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        (
            "array<struct<a:int,b:struct<ok:boolean,w:array<double>>>>",
            pl.List(
                pl.Struct(
                    {
                        "a": pl.Int32(),
                        "b": pl.Struct({"ok": pl.Boolean(), "w": pl.List(pl.Float64())}),
                    }
                )
            ),
            b'[[{"b": {"w": [0.5], "ok": true}, "more": [{}]}, null, {}], null, []]',
            [
                [{"a": None, "b": {"ok": True, "w": [0.5]}}, None, {"a": None, "b": None}],
                None,
                [],
            ],
        ),
        ("string collate UTF8_LCASE", pl.String(), b'["x"]', ["x"]),
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
    ("text", "column", "values"),
    [
        ("bigint", b"[3.0, null, -4.0]", [3, None, -4]),
        ("bigint", b'[3.0, "NaN", 1e3]', [3, None, 1000]),
        ("bigint", b"[9007199254740991.0]", [2**53 - 1]),
        ("bigint", b"[9007199254740993]", [2**53 + 1]),
        ("tinyint", b"[-128.0]", [-128]),
        ("array<int>", b"[[1.0, null], null]", [[1, None], None]),
        ("struct<a:int>", b'[{"a": 2.0}]', [{"a": 2}]),
        ("boolean", b"[1, 0, null]", [True, False, None]),
        ("boolean", b'[1.0, 0.0, "NaN"]', [True, False, None]),
        ("boolean", b"[true, 0]", [True, False]),
    ],
)
def test_numbers_that_pandas_makes_of_others_are_read_where_they_are_exact(text, column, values):
    kind = kind_of(text)
    found = kind.decode(column, "x")
    assert (found.to_list(), found.dtype) == (values, kind.dtype)


@pytest.mark.parametrize(
    ("text", "column", "odd"),
    [
        ("bigint", b"[1.0, 3.5]", "3.5"),
        ("bigint", b"[9007199254740992.0]", "9007199254740992"),  # or its successor
        ("bigint", b"[1.0, 9007199254740993]", "9007199254740992"),
        ("bigint", b"[-1e300]", "-1e"),
        ("bigint", b'[1.0, "Infinity"]', "holds inf"),
        ("bigint", b'["3.0"]', "3.0"),
        ("bigint", b"[1.0, true]", "not a whole number"),
        ("tinyint", b"[128.0]", "128"),
        ("boolean", b"[1, 2]", "2"),
        ("boolean", b"[0.5]", "0.5"),
        ("boolean", b'[1, "0"]', "something else"),
        ("struct<a:bigint>", b'[{"a": 1.5}]', "1.5"),
        ("struct<a:int>", b'[{"a": 2147483648}]', "beyond the range"),
        ("struct<a:bigint>", b'[{"a": true}]', "not a whole number"),
        ("struct<a:string>", b'[{"a": 1}]', "no string"),
        ("struct<a:int>", b'[{"a": 1, "a": 2}, {}]', "'a' twice"),
        ("decimal(10,2)", b'["1.239"]', "'1.239'"),
        ("decimal(10,2)", b"[1e-5]", "'1e-5'"),
        ("decimal(10,2)", b'["."]', "'.'"),
        ("array<decimal(4,0)>", b"[[1.5]]", "'1.5'"),
    ],
)
def test_values_that_would_change_are_refused_by_name(text, column, odd):
    with pytest.raises(ProtocolError, match=rf"'x(\.a)?' .*{odd}"):
        kind_of(text).decode(column, "x")


@given(
    st.lists(st.decimals(-(10**6), 10**6, places=4) | st.none(), min_size=1, max_size=5),
    st.sampled_from(["{}", "{:f}", "{:E}"]),
    st.integers(0, 4),
)
def test_decimals_are_exact_or_refused(values, form, scale):
    words = [value if value is None else form.format(value) for value in values]
    kind = kind_of(f"decimal(20,{scale})")
    text = json.dumps(words).encode()
    if all(value is None or value == round(value, scale) for value in values):
        assert kind.decode(text, "x").to_list() == values
    else:
        with pytest.raises(ProtocolError, match="'x' should be Decimal"):
            kind.decode(text, "x")


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
