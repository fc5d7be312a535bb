"""Polars columns as pandas columns: the dtype is that of the schema, whatever the values."""

import datetime as dt
import decimal

import hypothesis.strategies as some
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given

from featkit.conversion import to_pandas
from featkit.errors import InputError
from tests.examples import examples

UTC = dt.UTC
NULLABLE = {
    pl.Int8(): pd.Int8Dtype(),
    pl.Int16(): pd.Int16Dtype(),
    pl.Int32(): pd.Int32Dtype(),
    pl.Int64(): pd.Int64Dtype(),
    pl.UInt8(): pd.UInt8Dtype(),
    pl.UInt16(): pd.UInt16Dtype(),
    pl.UInt32(): pd.UInt32Dtype(),
    pl.UInt64(): pd.UInt64Dtype(),
    pl.Float32(): np.dtype("float32"),
    pl.Float64(): np.dtype("float64"),
    pl.Boolean(): pd.BooleanDtype(),
    pl.String(): pd.StringDtype(na_value=np.nan),
    pl.Datetime("us", "UTC"): pd.DatetimeTZDtype("us", "UTC"),
    pl.Datetime("ns", "Europe/Paris"): pd.DatetimeTZDtype("ns", "Europe/Paris"),
    pl.Datetime("ms"): np.dtype("datetime64[ms]"),
    pl.Duration("us"): np.dtype("timedelta64[us]"),
    pl.Enum(["x", "y"]): pd.CategoricalDtype(["x", "y"]),
}
times = some.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001
VALUES = {
    pl.Int8(): some.integers(-128, 127),
    pl.Int16(): some.integers(-(2**15), 2**15 - 1),
    pl.Int32(): some.integers(-(2**31), 2**31 - 1),
    pl.Int64(): some.integers(-(2**63), 2**63 - 1),
    pl.UInt8(): some.integers(0, 255),
    pl.UInt16(): some.integers(0, 2**16 - 1),
    pl.UInt32(): some.integers(0, 2**32 - 1),
    pl.UInt64(): some.integers(0, 2**64 - 1),
    pl.Float32(): some.floats(width=32, allow_nan=False),
    pl.Float64(): some.floats(allow_nan=False),
    pl.Boolean(): some.booleans(),
    pl.String(): some.text(some.characters(exclude_categories=["Cs"]), max_size=4),
    pl.Datetime("us", "UTC"): times.map(lambda each: each.replace(tzinfo=UTC)),
    pl.Date(): some.dates(),
    pl.Duration("us"): some.timedeltas(dt.timedelta(-1000), dt.timedelta(1000)),
    pl.Binary(): some.binary(max_size=4),
    pl.List(pl.Int64()): some.lists(some.integers(-9, 9), max_size=3),
    pl.Decimal(38, 2): some.decimals(-(10**6), 10**6, places=2),
    pl.Enum(["x", "y"]): some.sampled_from(["x", "y"]),
}


def convert(values, dtype, backend="numpy_nullable"):
    column = pl.Series("c", values, dtype=dtype)
    return to_pandas([column], pd.RangeIndex(len(column)), dtype_backend=backend)["c"]


def known(series):
    return [None if gone else own for own, gone in zip(series, series.isna(), strict=True)]


@pytest.mark.parametrize(("dtype", "expected"), NULLABLE.items(), ids=str)
@pytest.mark.parametrize("height", [0, 1, 3])
def test_nulls_and_nothing_have_the_dtype_of_the_schema(dtype, expected, height):
    assert convert([None] * height, dtype).dtype == expected


@pytest.mark.parametrize("dtype", VALUES, ids=str)
@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_dtype_never_depends_on_values_which_come_through_exactly(dtype, backend):
    empty = convert([], dtype, backend).dtype

    @given(values=some.lists(some.one_of(some.none(), VALUES[dtype]), max_size=6))
    @examples(25)
    def check(values):
        made = convert(values, dtype, backend)
        assert made.dtype == empty
        assert known(made) == values

    check()


@pytest.mark.parametrize("dtype", [*NULLABLE, pl.Date(), pl.List(pl.Int8())], ids=str)
def test_arrow_dtypes_on_request(dtype):
    made = convert([None], dtype, "pyarrow").dtype
    assert isinstance(made, pd.CategoricalDtype if dtype == pl.Enum else pd.ArrowDtype)


def test_what_pandas_has_no_dtype_for_is_arrow():
    nested = pl.Struct({"x": pl.Int64(), "y": pl.String()})
    for dtype in (
        pl.List(pl.Int64()),
        nested,
        pl.Decimal(10, 2),
        pl.Date(),
        pl.Binary(),
        pl.Time(),
    ):
        assert isinstance(convert([], dtype).dtype, pd.ArrowDtype)


@pytest.mark.parametrize("dtype", [pl.Int128(), pl.UInt128()], ids=str)
@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_integers_of_128_bits_are_decimals(dtype, backend):
    largest = 10**38 - 1
    made = convert([largest, None], dtype, backend)
    assert made.dtype == pd.ArrowDtype(pa.decimal128(38, 0))
    assert known(made) == [decimal.Decimal(largest), None]
    with pytest.raises(InputError, match=r"'c' cannot become decimal\(38, 0\).*most that pandas"):
        convert([largest + 1], dtype, backend)


def test_large_integers_beside_nulls_stay_integers():
    assert known(convert([2**63 - 1, None, -(2**63)], pl.Int64)) == [2**63 - 1, None, -(2**63)]
    assert known(convert([2**64 - 1, None], pl.UInt64)) == [2**64 - 1, None]


def test_nan_and_null_of_floats_are_both_missing():
    made = convert([1.5, float("nan"), None, float("inf"), -0.0], pl.Float64)
    assert made.isna().tolist() == [False, True, True, False, False]
    assert np.signbit(made.iloc[4])


@pytest.mark.parametrize("dtype", [each for each in VALUES if each != pl.List], ids=str)
@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_result_can_be_written_to_and_reaches_nothing_else(dtype, backend):
    value = {
        pl.Boolean: True,
        pl.String: "x",
        pl.Enum: "x",
        pl.Binary: b"x",
        pl.Date: dt.date(2024, 1, 1),
        pl.Datetime: dt.datetime(2024, 1, 1, tzinfo=UTC),
        pl.Duration: dt.timedelta(1),
        pl.Decimal: decimal.Decimal("1.00"),
    }.get(dtype.base_type(), 1)
    column = pl.Series("c", [value, value], dtype=dtype)
    frame = to_pandas([column], pd.RangeIndex(2), dtype_backend=backend)
    frame.loc[0, "c"] = None
    frame.loc[1, "c"] = value
    assert known(frame["c"]) == [None, value]
    assert column.to_list() == [value, value]


def test_index_is_the_one_given_and_columns_are_consumed_one_by_one():
    consumed = []

    def columns():
        for name in "ab":
            consumed.append(name)
            yield pl.Series(name, [1, 2])

    index = pd.Index(["p", "p"], name="row")
    frame = to_pandas(columns(), index, dtype_backend="numpy_nullable")
    pd.testing.assert_index_equal(frame.index, index)
    assert frame.columns.tolist() == consumed == ["a", "b"]
    assert to_pandas([], index, dtype_backend="pyarrow").shape == (2, 0)


def test_wall_clock_of_a_zone_survives_daylight_saving():
    hours = [dt.datetime(2024, 10, 27, h, 30, tzinfo=UTC) for h in (0, 1)]
    column = pl.Series("c", hours).dt.convert_time_zone("Europe/Paris")
    made = to_pandas([column], pd.RangeIndex(2), dtype_backend="numpy_nullable")["c"]
    assert made.dt.hour.tolist() == [2, 2]
    assert made.dt.tz_convert("UTC").tolist() == [pd.Timestamp(each) for each in hours]
