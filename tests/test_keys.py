"""Entity keys: each distinct one once, and every row finds its own again."""

import datetime as dt
import decimal

import hypothesis.strategies as some
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from polars.testing import assert_frame_equal, assert_series_equal

from featkit.errors import KeyTypeError, TimestampError
from featkit.keys import EntityKeys, check
from featkit.schema import Entity, FeatureView
from featkit.writing import check_columns
from tests.examples import examples

NAMES = ["a", "b", "c", "d"]
# text in which any way of gluing parts together would run two keys into one
PARTS = ["", "|", "a", "a|", "|a", "a|b", "b", "\0", "a\0", ",", "null", "None", "🦜", "é", "é"]

text = some.one_of(some.none(), some.sampled_from(PARTS))
number = some.one_of(some.none(), some.integers(-2, 2), some.sampled_from([2**63 - 1, -(2**63)]))
moment = some.one_of(
    some.none(), some.sampled_from([dt.datetime(2024, 1, 1, h, tzinfo=dt.UTC) for h in (1, 2)])
)
KINDS = {
    "text": (text, pl.String()),
    "numbers": (number, pl.Int64()),
    "bytes": (some.one_of(some.none(), some.binary(max_size=2)), pl.Binary()),
    "flags": (some.one_of(some.none(), some.booleans()), pl.Boolean()),
    "moments": (moment, pl.Datetime("us", "UTC")),
}


@some.composite
def key_columns(draw):
    """Draw rows of one to four key columns of mixed types, with nulls and repetitions."""
    kinds = draw(some.lists(some.sampled_from(list(KINDS)), min_size=1, max_size=4))
    height = draw(some.integers(0, 25))
    columns = [
        pl.Series(
            name,
            draw(some.lists(KINDS[kind][0], min_size=height, max_size=height)),
            dtype=KINDS[kind][1],
        )
        for name, kind in zip(NAMES, kinds, strict=False)
    ]
    return pl.DataFrame(columns)


@given(columns=key_columns())
@examples(120)
def test_unique_and_positions_reproduce_the_input(columns):
    keys = EntityKeys.of(columns)
    known = columns.select(~pl.any_horizontal(pl.all().is_null())).to_series()
    assert_series_equal(keys.positions.is_not_null(), known, check_names=False)
    again = keys.unique.select(pl.all().gather(keys.positions))
    assert_frame_equal(again.filter(known), columns.filter(known))
    in_order = columns.filter(known).unique(maintain_order=True)
    assert_frame_equal(keys.unique, in_order)


@given(columns=key_columns(), size=some.one_of(some.none(), some.integers(1, 7)))
@examples(60)
def test_counts_and_chunks_add_up(columns, size):
    keys = EntityKeys.of(columns)
    rows = columns.height
    assert len(keys) == rows
    assert keys.null_rows == rows - columns.drop_nulls().height
    assert keys.rows_per_key.sum() == rows - keys.null_rows
    assert keys.rows_per_key.len() == keys.unique.height
    assert keys.one_to_one == (keys.positions.to_list() == list(range(rows)))
    chunks = list(keys.chunks(size))
    assert all(0 < chunk.height <= (size or rows) for chunk in chunks)
    assert all(chunk.height == size for chunk in chunks[:-1])
    if chunks:
        assert_frame_equal(pl.concat(chunks), keys.unique)
    else:
        assert keys.unique.is_empty()


def test_weights_count_rows_that_stand_for_several():
    keys = EntityKeys.of(pl.DataFrame({"a": [5, None, 6, 5]}))
    assert keys.counted(None).tolist() == [2, 1]
    assert keys.counted(pl.Series([10, 20, 30, 40])).tolist() == [50, 30]


def test_codes_of_many_columns_do_not_overflow():
    numbers = np.random.default_rng(0).integers(0, 70_000, size=(4, 70_000))
    columns = pl.DataFrame(dict(zip(NAMES, numbers, strict=True)))
    keys = EntityKeys.of(columns)
    assert keys.unique.height == columns.n_unique()
    assert_frame_equal(keys.unique.select(pl.all().gather(keys.positions)), columns)


@pytest.mark.slow
def test_more_than_a_million_distinct_keys():
    shuffled = pl.int_range(1_100_000, dtype=pl.Int64, eager=True).shuffle(seed=0)
    column = pl.concat([shuffled, shuffled.head(1000), pl.Series([None], dtype=pl.Int64)])
    keys = EntityKeys.of(pl.DataFrame({"a": column}))
    assert keys.unique.height == 1_100_000
    assert keys.null_rows == 1
    assert_series_equal(keys.unique["a"].gather(keys.positions), column, check_names=False)


@pytest.mark.parametrize("last", [5000, 4999, 2000, 0])
def test_keys_in_ascending_order_need_not_be_distinct(last):
    column = pl.Series("a", [*range(5000), last])
    keys = EntityKeys.of(column.to_frame())
    assert keys.unique["a"].to_list() == list(dict.fromkeys(column.to_list()))
    assert keys.positions.to_list() == [*range(5000), last]
    assert keys.rows_per_key.sum() == len(column)
    assert keys.rows_per_key.dtype == pl.UInt32


def test_chunked_columns_are_one_column():
    parts = [pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [2, 3, None]})]
    keys = EntityKeys.of(pl.concat(parts, rechunk=False))
    assert keys.unique["a"].to_list() == [1, 2, 3]
    assert keys.positions.to_list() == [0, 1, 1, 2, None]


# -- the types of keys ---------------------------------------------------------------------------


def cast(values, wanted, *, zone=None):
    view = FeatureView(name="v", entities=(Entity("k", "k", wanted),), features=())
    column = values if isinstance(values, pl.Series) else pl.Series(values)
    return check(pl.DataFrame({"k": column}), view, zone=zone)["k"]


INTEGERS = [
    pl.Int8(),
    pl.Int16(),
    pl.Int32(),
    pl.Int64(),
    pl.UInt8(),
    pl.UInt16(),
    pl.UInt32(),
    pl.UInt64(),
]


@given(
    values=some.lists(some.one_of(some.none(), some.floats(), some.integers(-300, 300).map(float))),
    wanted=some.sampled_from(INTEGERS),
)
@examples(120)
def test_floats_become_whole_numbers_exactly_or_not_at_all(values, wanted):
    column = pl.Series(values, dtype=pl.Float64)
    low, high = pl.select(wanted.min().alias("low"), wanted.max().alias("high")).row(0)
    present = [value for value in values if value is not None and value == value]  # noqa: PLR0124
    fits = [
        value.is_integer() and abs(value) < 2**53 and low <= int(value) <= high
        for value in present
        if np.isfinite(value)
    ]
    if all(fits) and len(fits) == len(present):
        made = cast(column, wanted)
        assert made.dtype == wanted
        expected = [None if value is None or value != value else int(value) for value in values]  # noqa: PLR0124
        assert made.to_list() == expected
    else:
        with pytest.raises(KeyTypeError, match=r"row \d+\) cannot become one without loss"):
            cast(column, wanted)


@given(
    values=some.lists(some.one_of(some.none(), some.integers(-(2**63), 2**63 - 1))),
    wanted=some.sampled_from([*INTEGERS, pl.Float64()]),
)
@examples(60)
def test_integers_become_other_numbers_exactly_or_not_at_all(values, wanted):
    column = pl.Series(values, dtype=pl.Int64)
    try:
        made = cast(column, wanted)
    except KeyTypeError as error:
        assert "without loss" in str(error)  # noqa: PT017
        assert any(value is not None for value in values)
    else:
        assert made.dtype == wanted
        assert [None if value is None else int(value) for value in made] == values


def test_loss_names_the_first_row_and_its_value():
    with pytest.raises(KeyTypeError, match=r"k.*of feature view 'v'.*2\.5 \(float64, row 1\)"):
        cast([1.0, 2.5, 3.5], pl.Int64())
    view = FeatureView(name="v", entities=(Entity("k", "k", pl.Int64()),), features=())
    frame = pl.DataFrame({"k": [2.5]})
    with pytest.raises(KeyTypeError, match="the row of Ann"):
        check(frame, view, zone=None, row=lambda _: "the row of Ann")


@pytest.mark.parametrize(("dtype", "power"), [(pl.Float16, 11), (pl.Float32, 24), (pl.Float64, 53)])
def test_a_float_that_stands_for_several_whole_numbers_is_none_of_them(dtype, power):
    last, next_one = pl.Series([2.0**power - 1], dtype=dtype), pl.Series([2**power + 1]).cast(dtype)
    assert cast(last, pl.Int64()).to_list() == [2**power - 1]
    assert next_one.to_list() == [2.0**power]  # what a column of ids with a null in it became
    with pytest.raises(KeyTypeError, match=rf"from 2\*\*{power} on a float\d+ stands for several"):
        cast(next_one, pl.Int64())


def test_infinity_is_no_large_number():
    with pytest.raises(
        KeyTypeError, match=r"inf \(float64, row 0\) cannot become one without loss;"
    ):
        cast([float("inf")], pl.Int64())


@pytest.mark.parametrize("dtype", [pl.Int128, pl.UInt128])
def test_whole_numbers_of_128_bits_are_keys_where_they_fit(dtype):
    assert cast(pl.Series([2**62, None], dtype=dtype), pl.Int64()).to_list() == [2**62, None]
    with pytest.raises(KeyTypeError, match="without loss"):
        cast(pl.Series([2**64], dtype=dtype), pl.Int64())
    with pytest.raises(KeyTypeError, match="is string, but the frame's column is"):
        cast(pl.Series([1], dtype=dtype), pl.String())


@pytest.mark.parametrize("found", ["ms", "us", "ns"])
@pytest.mark.parametrize("wanted", ["ms", "us", "ns"])
def test_durations_of_any_unit_are_the_same(found, wanted):
    hours = [dt.timedelta(hours=1), None, dt.timedelta(days=-1)]
    made = cast(pl.Series(hours, dtype=pl.Duration(found)), pl.Duration(wanted))
    assert made.to_list() == hours
    assert made.dtype == pl.Duration(wanted)


def test_a_duration_that_would_be_cut_is_refused():
    fine = pl.Series([1_000_001]).cast(pl.Duration("ns"))
    with pytest.raises(KeyTypeError, match="without loss"):
        cast(fine, pl.Duration("us"))


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_moments_between_microseconds_are_refused(zone):
    fine = pl.Series([0, None, 1_000, -1]).cast(pl.Datetime("ns", zone))
    with pytest.raises(TimestampError, match=r"'k'.* differ by nanoseconds \(row 3\).*round"):
        cast(fine, pl.Datetime("us", "UTC"), zone="UTC")
    assert cast(fine.head(3), pl.Datetime("us", "UTC"), zone="UTC").null_count() == 1


def test_unknown_type_takes_keys_as_they_are():
    for values in (["x"], [1], [b"x"], [1.5], [dt.date(2024, 1, 1)]):
        assert cast(values, None).to_list() == values
    assert cast(pl.Series(["x"], dtype=pl.Categorical), None).dtype == pl.String
    assert cast([None, None], None).null_count() == 2
    assert cast([float("nan"), 1.0], None).to_list() == [None, 1.0]
    with pytest.raises(KeyTypeError, match="a plain value, but the frame's column is list"):
        cast([[1]], None)
    with pytest.raises(TimestampError):
        cast([dt.datetime.fromisoformat("2024-01-01")], None)


def test_time_keys_are_utc_microseconds():
    zoned = pl.Series([dt.datetime(2024, 7, 1, 12)], dtype=pl.Datetime("ms")).dt.replace_time_zone(  # noqa: DTZ001
        "Europe/Paris"
    )
    wanted = pl.Datetime("us", "UTC")
    assert cast(zoned, wanted).dtype == wanted
    assert cast(zoned, wanted).to_list() == [dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC)]
    naive = zoned.dt.replace_time_zone(None)
    assert cast(naive, wanted, zone="Europe/Paris").to_list() == cast(zoned, wanted).to_list()
    with pytest.raises(TimestampError, match="timezone='UTC'"):
        cast(naive, wanted)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_naive_midnights_are_dates(unit):
    days = [dt.date(2024, 3, 31), None, dt.date(1969, 12, 31)]
    midnights = pl.Series(days).cast(pl.Datetime(unit))
    assert cast(midnights, pl.Date()).to_list() == days
    assert cast(midnights, pl.Date()).dtype == pl.Date
    later = midnights.dt.offset_by("1ms")
    with pytest.raises(KeyTypeError, match=r"is date, and .*\(naive timestamp, row 0\).* loss"):
        cast(later, pl.Date())
    with pytest.raises(KeyTypeError, match="is date, but the frame's column is timestamp"):
        cast(midnights.dt.replace_time_zone("UTC"), pl.Date())


@pytest.mark.parametrize("dtype", [pl.List(pl.Int64()), pl.Struct({"a": pl.Int64()}), pl.Int128()])
def test_types_that_cannot_be_keys_are_named(dtype):
    with pytest.raises(KeyTypeError, match="which cannot be a key; change it in the store"):
        cast(pl.Series([1]), dtype)
    with pytest.raises(KeyTypeError, match=r"'k' is .*, which cannot be a key; convert it first"):
        check_columns(pl.Schema({"k": dtype, "x": pl.Int64()}), ["k"], [], {})


@pytest.mark.parametrize("wanted", [pl.String(), pl.Int64(), pl.Boolean(), pl.Date(), pl.Binary()])
@pytest.mark.parametrize(
    "found", [pl.Null(), pl.Float64(), pl.String(), pl.Datetime("ns")], ids=str
)
def test_columns_without_a_key_fit_any_type(wanted, found):
    for height in (0, 3):
        made = cast(pl.Series([None] * height, dtype=found), wanted)
        assert (made.dtype, made.name) == (wanted, "k")
        assert made.null_count() == height


def test_decimals_keep_their_value():
    wanted = pl.Decimal(38, 2)
    made = cast([decimal.Decimal("1.5"), None], wanted)
    assert made.dtype == wanted
    assert made.to_list() == [decimal.Decimal("1.50"), None]
    with pytest.raises(KeyTypeError, match="without loss"):
        cast([decimal.Decimal("1.555")], wanted)
