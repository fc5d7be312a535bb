"""`enrich` on every kind of frame: what comes is right, and what was there stays as it was."""

import datetime as dt
import decimal
import uuid
import warnings

import hypothesis.strategies as some
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from polars.io.plugins import register_io_source
from polars.testing import assert_frame_equal

import featkit
from featkit.errors import (
    InputError,
    KeyColumnError,
    KeyTypeError,
    NameClashError,
    TimestampError,
)
from tests.examples import examples

pytestmark = pytest.mark.usefixtures("store")

UTC = dt.UTC
naive = dt.datetime.fromisoformat
SHOP_FEATURES = ["visits", "rating", "title", "open", "tags", "opened", "rent", "logo", "seen"]
UUID = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def column(values, dtype):
    return pl.Series(values, dtype=dtype, strict=False)


# -- index, order, row count ---------------------------------------------------------------------

INDEXES = {
    "default": pd.RangeIndex(4),
    "range with a step": pd.RangeIndex(10, 2, -2),
    "text": pd.Index(list("abcd")),
    "duplicates": pd.Index(["a", "a", "b", "a"], name="label"),
    "named": pd.Index([3, 1, 2, 0], name="id"),
    "times": pd.date_range("2024-03-30", periods=4, tz="Europe/Paris"),
    "categories": pd.CategoricalIndex(["x", "y", "x", "y"], name="kind"),
    "multi": pd.MultiIndex.from_tuples([(1, "a"), (1, "a"), (2, "b"), (1, "c")], names=["n", None]),
    "missing labels": pd.Index([1.0, np.nan, np.nan, 2.0]),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES)
def test_pandas_index_stays_as_it_is(pandas_constructor, store, index):
    frame = pandas_constructor({"shop": [2, None, 9, 1], "note": ["w", "x", "y", None]})
    frame.index = index
    enriched = frame.features.enrich(["shops:visits"], store=store)
    pandas_constructor.assert_own_columns_kept(frame, enriched, added=["visits"])
    assert pandas_constructor.values(enriched, "visits") == [2**62 + 1, None, None, 10]


def test_frequency_of_a_time_index_stays():
    index = pd.date_range("2024-01-01", periods=2, freq="D", name="day")
    enriched = pd.DataFrame({"shop": [1, 2]}, index=index).features.enrich("shops:visits")
    assert enriched.index.freq == index.freq


def test_level_of_the_index_can_be_the_key(pandas_constructor):
    frame = pandas_constructor({"note": ["x", "y", "z"]})
    frame.index = pd.MultiIndex.from_arrays([[2, 1, 2], ["p", "q", "r"]], names=["shop", "part"])
    enriched = frame.features.enrich(["shops:visits"])
    pandas_constructor.assert_own_columns_kept(frame, enriched, added=["visits"])
    assert pandas_constructor.values(enriched, "visits") == [2**62 + 1, 10, 2**62 + 1]
    named = frame.features.enrich(["cities:people"], on={"city": "part"})
    assert pandas_constructor.values(named, "people") == [None] * 3


def test_column_comes_before_a_level_of_the_same_name():
    frame = pd.DataFrame({"shop": [1]}, index=pd.Index([2], name="shop"))
    assert frame.features.enrich("shops:visits")["visits"].tolist() == [10]


def test_ambiguous_level_of_the_index_is_refused():
    index = pd.MultiIndex.from_tuples([(1, 2)], names=["shop", "shop"])
    with pytest.raises(KeyColumnError, match="2 index levels 'shop'"):
        pd.DataFrame({"note": [1]}, index=index).features.enrich("shops:visits")


@given(
    shops=some.lists(some.one_of(some.none(), some.integers(-3, 30)), max_size=30),
    batch_size=some.one_of(some.none(), some.integers(1, 5)),
)
@examples(40)
def test_rows_and_their_order_stay_whatever_the_keys(
    constructor, scripted_store, shops, batch_size
):
    store = scripted_store(batch_size=batch_size)
    client = featkit.connect(store, now="2024-05-02T00:00:00Z")
    frame = constructor({"shop": column(shops, pl.Int64), "row": range(len(shops))})
    enriched = frame.features.enrich(["shops:visits"], store=client)
    constructor.assert_own_columns_kept(frame, enriched, added=["visits"])
    keys = pl.DataFrame({"shop": column(shops, pl.Int64)})
    assert constructor.values(enriched, "visits") == store.truth("visits", keys).to_list()
    asked = pl.concat([read.keys for read in store.reads]) if store.reads else keys.clear()
    assert sorted(asked["shop"]) == sorted({shop for shop in shops if shop is not None})


# -- null keys -----------------------------------------------------------------------------------


def test_null_keys_get_nulls_and_are_counted_but_never_sent(constructor, scripted_store):
    asked = scripted_store(scripted_store.view("shops", "shop", "visits", "sales"))
    client = featkit.connect(asked)
    frame = constructor({"shop": [1, None, 2, None, 1]})
    enriched = frame.features.enrich(["shops:*"])
    assert constructor.values(enriched, "sales")[1::2] == [None, None]
    assert [read.keys["shop"].to_list() for read in asked.reads] == [[1, 2]]
    (summary,) = client.last_summary.views
    assert (summary.rows, summary.null_keys, summary.unique) == (5, 2, 2)
    assert client.last_summary.statuses == {featkit.Status.PRESENT: 6}


@pytest.mark.parametrize(
    "missing", [None, np.nan, pd.NaT, pd.NA, float("nan"), decimal.Decimal("NaN")], ids=repr
)
def test_every_word_for_missing_is_a_null_key(store, missing):
    frame = pd.DataFrame({"shop": pd.Series([1, missing, 2], dtype=object)})
    enriched = frame.features.enrich(["shops:visits"], statuses=True)
    assert enriched["visits"].isna().tolist() == [False, True, False]
    assert enriched["visits__status"].isna().tolist() == [False, True, False]
    assert store.last_summary.views[0].null_keys == 1


@pytest.mark.parametrize("empty", [None, float("nan")], ids=repr)
def test_nan_is_null_in_polars_too(constructor, store, empty):
    frame = constructor({"shop": column([1.0, empty], pl.Float64)})
    enriched = frame.features.enrich(["shops:visits"])
    assert constructor.values(enriched, "visits") == [10, None]
    assert store.last_summary.views[0].null_keys == 1


def test_key_with_one_null_part_is_null(constructor, scripted_store):
    asked = scripted_store(scripted_store.view("cells", ["x", "y"], "height"))
    client = featkit.connect(asked)
    frame = constructor({"x": [1, 1, None, None, 2, 1], "y": [2, None, 2, None, 2, 2]})
    enriched = frame.features.enrich(["cells:height"])
    known = [value is not None for value in constructor.values(enriched, "height")]
    assert known == [True, False, False, False, True, True]
    assert [read.keys.rows() for read in asked.reads] == [[(1, 2), (2, 2)]]
    assert client.last_summary.views[0].null_keys == 3


def test_missing_text_is_a_null_key(constructor, store):
    frame = constructor({"city": ["Rome", None, "nan", "", "None"]})
    enriched = frame.features.enrich(["cities:people"])
    assert constructor.values(enriched, "people") == [0, None, None, 2, None]
    assert store.last_summary.views[0].null_keys == 1


# -- key types -----------------------------------------------------------------------------------


def test_odd_text_is_looked_up_as_it_is(constructor):
    cities = ["🦜", "nul\0l", "São Paulo", "a|b", "'; DROP", "../..", "x:y", "rome", "x" * 100_000]
    enriched = constructor({"city": cities}).features.enrich(["cities:people"])
    assert constructor.values(enriched, "people") == [7, 6, 3, 4, 8, 9, 5, None, None]


def test_separators_do_not_run_composite_keys_together(constructor):
    frame = constructor(
        {"origin": ["a", "a|b", "a", "", "b", "b|c"], "dest": ["b|c", "c", "b", "ab", "", "a"]}
    )
    enriched = frame.features.enrich(["routes:km"])
    assert constructor.values(enriched, "km") == [2, 3, 1, 5, 6, None]


@pytest.mark.parametrize(
    ("unit", "zone"),
    [("us", "UTC"), ("ns", "Europe/Paris"), ("ms", "America/New_York"), ("us", "Asia/Kolkata")],
)
def test_time_keys_of_any_unit_and_zone_name_the_same_moment(constructor, unit, zone):
    moments = pl.Series([naive("2024-03-31T00:30"), naive("2024-03-31T01:30"), None])
    local = moments.cast(pl.Datetime(unit)).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    frame = constructor({"moment": local})
    enriched = frame.features.enrich(["moments:count"])
    constructor.assert_own_columns_kept(frame, enriched, added=["count"])
    assert constructor.values(enriched, "count") == [1, 2, None]


@pytest.mark.parametrize("dtype", [None, object])
def test_time_keys_of_pandas_may_be_at_an_offset_that_no_zone_has(dtype):
    moment = pd.Timestamp("2024-03-31T06:15+05:45")
    frame = pd.DataFrame({"moment": pd.Series([moment, pd.NaT], dtype=dtype)})
    enriched = frame.features.enrich(["moments:count"])
    assert enriched["count"].fillna(0).tolist() == [1, 0]
    pd.testing.assert_frame_equal(enriched[["moment"]], frame)


def test_naive_time_keys_are_refused_with_the_way_out(constructor):
    frame = constructor({"moment": [naive("2024-03-31T00:30")]})
    with pytest.raises(TimestampError, match=r"'moment'.*naive.*timezone='UTC'"):
        frame.features.enrich(["moments:count"])


def test_naive_time_keys_mean_what_timezone_says(constructor, store_folder):
    frame = constructor({"moment": [naive("2024-03-31T01:30"), None]})
    paris = featkit.connect(f"parquet:{store_folder}", timezone="Europe/Paris")
    in_paris = frame.features.enrich(["moments:count"], store=paris)
    constructor.assert_own_columns_kept(frame, in_paris, added=["count"])
    assert constructor.values(in_paris, "count") == [1, None]
    utc = featkit.connect(f"parquet:{store_folder}", timezone="UTC")
    assert constructor.values(frame.features.enrich("moments:count", store=utc), "count") == [
        2,
        None,
    ]


@pytest.mark.parametrize("local", [naive("2024-03-31T02:30"), naive("2024-10-27T02:30")], ids=str)
def test_naive_times_that_daylight_saving_makes_unclear_are_refused(
    constructor, store_folder, local
):
    store = featkit.connect(f"parquet:{store_folder}", timezone="Europe/Paris")
    frame = constructor({"moment": [naive("2024-03-31T01:30"), local]})
    with pytest.raises(TimestampError, match=rf"{local}.*twice or never in Europe/Paris"):
        frame.features.enrich(["moments:count"], store=store)


def test_both_moments_of_a_repeated_hour_are_told_apart(constructor, tmp_path):
    zone = "Europe/Paris"
    moments = pl.Series([dt.datetime(2024, 10, 27, h, 30, tzinfo=UTC) for h in (0, 1)])
    featkit.write_view(
        tmp_path, pl.DataFrame({"moment": moments, "n": [1, 2]}), name="m", join_keys="moment"
    )
    frame = constructor({"moment": moments.dt.convert_time_zone(zone)[[1, 0]]})
    store = featkit.connect(f"parquet:{tmp_path}")
    assert constructor.values(frame.features.enrich("m:n", store=store), "n") == [2, 1]


@pytest.mark.parametrize(
    ("key", "values", "entity", "found"),
    [
        ("shops.shop", ["1", "2"], "int64", "string"),
        ("shops.shop", [True, False], "int64", "bool"),
        ("shops.shop", [dt.date(2024, 1, 1)], "int64", "date"),
        ("shops.shop", [b"1"], "int64", "bytes"),
        ("shops.shop", [dt.datetime(2024, 1, 1, tzinfo=UTC)], "int64", "timestamp"),
        ("shops.shop", [naive("2024-01-01T00:00")], "int64", "naive timestamp"),
        ("cities.city", [1, 2], "string", "int64"),
        ("cities.city", [b"Rome"], "string", "bytes"),
        ("flags.flag", [1, 0], "bool", "int64"),
        ("flags.flag", ["true"], "bool", "string"),
        ("tokens.token", ["b"], "bytes", "string"),
        ("days.day", [dt.datetime(2024, 3, 31, tzinfo=UTC)], "date", "timestamp"),
        ("moments.moment", [dt.date(2024, 3, 31)], "timestamp", "date"),
        ("moments.moment", ["2024-03-31T00:30:00Z"], "timestamp", "string"),
        ("shops.shop", [[1]], "int64", "list"),
    ],
)
def test_key_of_another_type_is_refused_with_both_types(constructor, key, values, entity, found):
    view, _, key = key.partition(".")
    frame = constructor({key: values})
    with pytest.raises(KeyTypeError) as caught:
        frame.features.enrich([f"{view}:*"], prefix="x_")
    message = str(caught.value)
    assert f"the key {key!r} of feature view {view!r} is {entity}" in message
    assert f"is {found}" in message
    assert f"on={{{key!r}: <column>}}" in message


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64]
)
def test_whole_numbers_of_any_type_are_keys(constructor, dtype):
    frame = constructor({"shop": column([2, 1, 9], dtype)})
    enriched = frame.features.enrich(["shops:visits"])
    constructor.assert_own_columns_kept(frame, enriched, added=["visits"])
    assert constructor.values(enriched, "visits") == [2**62 + 1, 10, None]
    small = constructor({"small": column([2, 1, 9], dtype)}).features.enrich(["small:count"])
    assert constructor.values(small, "count") == [2, 1, None]


@pytest.mark.parametrize(
    ("view", "values", "dtype", "odd"),
    [
        ("shops:visits", [1.0, 2.5], pl.Float64, "2.5"),
        ("shops:visits", [1.0, float("inf")], pl.Float64, "inf"),
        ("shops:visits", [1.0, 2.0**53 + 2], pl.Float64, "9007199254740994.0"),
        ("shops:visits", [1.0, -(2.0**60)], pl.Float64, "from 2[*][*]53 on"),
        ("shops:visits", [1, 2**63], pl.UInt64, "9223372036854775808"),
        ("small:count", [1, 2**31], pl.Int64, "2147483648"),
        ("weights:count", [1, 2**53 + 1], pl.Int64, "9007199254740993"),
        ("prices:count", [decimal.Decimal("1.10"), decimal.Decimal("1.105")], None, "1.105"),
    ],
)
def test_key_that_would_lose_is_refused_with_its_row(constructor, view, values, dtype, odd):
    key = {"shops": "shop", "small": "small", "weights": "weight", "prices": "price"}
    name = key[view.partition(":")[0]]
    frame = constructor({name: pl.Series(values, dtype=dtype)})
    if constructor.is_pandas:
        frame.index = ["first", "second"]
    row = "row 'second'" if constructor.is_pandas else "row 1"
    row = rf"the row with {{'{name}': " if constructor.is_lazy else row
    with pytest.raises(KeyTypeError, match=rf"(?s)(?=.*{odd})(?=.*{row})"):
        frame.features.enrich([view])


def test_row_is_called_by_its_label_in_python():
    frame = pd.DataFrame({"shop": [1.0, 2.5]}, index=pd.Index([10, 20]))
    with pytest.raises(KeyTypeError, match=r"\(float64, row 20\)"):
        frame.features.enrich("shops:visits")
    frame.index = pd.MultiIndex.from_tuples([(1, "a"), (2, "b")])
    with pytest.raises(KeyTypeError, match=r"row \(2, 'b'\)"):
        frame.features.enrich("shops:visits")


def test_float_column_of_whole_ids_is_fine_to_the_last_exact_one(constructor, tmp_path):
    ids = [2**53 - 1, 2**53 - 2, 1 - 2**53]
    featkit.write_view(
        tmp_path, pl.DataFrame({"id": ids, "n": [1, 2, 3]}), name="v", join_keys="id"
    )
    frame = constructor({"id": column([*map(float, ids), None], pl.Float64)})
    enriched = frame.features.enrich("v:n", store=featkit.connect(f"parquet:{tmp_path}"))
    assert constructor.values(enriched, "n") == [1, 2, 3, None]


def test_large_ids_never_become_floats(constructor, tmp_path):
    ids = [2**53 + 1, 2**53, 2**63 - 1, -(2**63)]
    frame = pl.DataFrame({"id": ids, "same": ids})
    featkit.write_view(tmp_path, frame, name="ids", join_keys="id")
    own = constructor({"id": ids})
    enriched = own.features.enrich("ids:same", store=featkit.connect(f"parquet:{tmp_path}"))
    assert constructor.values(enriched, "same") == ids


@pytest.mark.parametrize(
    ("view", "key", "values", "expected"),
    [
        ("days", "day", [dt.date(2024, 3, 31), None, dt.date(1, 1, 1)], [1, None, None]),
        ("prices", "price", [decimal.Decimal("2.0"), None, decimal.Decimal(9)], [2, None, None]),
        ("tokens", "token", [b"", None, b"\x00a"], [3, None, 1]),
        ("flags", "flag", [False, None, True], [2, None, 1]),
        ("weights", "weight", [-0.0, None, 1.0], [0, None, 10]),
        ("people", "person", [str(UUID), None, "?"], [1, None, None]),
    ],
)
def test_keys_of_other_types_are_found(constructor, view, key, values, expected):
    frame = constructor({key: values})
    enriched = frame.features.enrich([f"{view}:count"])
    constructor.assert_own_columns_kept(frame, enriched, added=["count"])
    assert constructor.values(enriched, "count") == expected


@pytest.mark.parametrize(
    ("view", "values", "expected"),
    [
        ("people:count", [UUID, None], [1, None]),
        ("prices:count", [decimal.Decimal("1.1"), None], [1, None]),
        ("days:count", [dt.date(2024, 3, 31), pd.NaT], [1, None]),
        ("tokens:count", [b"b", np.nan], [2, None]),
        ("moments:count", [pd.Timestamp("2024-03-31T02:30+02:00"), pd.NaT], [1, None]),
        ("shops:visits", [np.int64(1), None], [10, None]),
        ("shops:visits", [decimal.Decimal("1.0"), None], [10, None]),
        ("cities:people", [np.str_("Oslo"), None], [1, None]),
    ],
)
def test_python_objects_in_pandas_are_keys(view, values, expected):
    frame = pd.DataFrame({"key": pd.Series(values, dtype=object)})
    enriched = frame.features.enrich([view], on="key")
    pd.testing.assert_frame_equal(enriched[["key"]], frame)
    added = enriched.iloc[:, 1]
    assert [None if pd.isna(value) else value for value in added] == expected


@pytest.mark.parametrize(
    ("view", "values", "match"),
    [
        ("shops:visits", [1, "2"], r"'key'.*int, str.*row 'q'"),
        ("shops:visits", [1, True], r"bool, int.*row 'q'"),
        ("shops:visits", [2**62 + 1, 2.0], r"float, int"),
        ("shops:visits", [2**70, 1], r"int"),
        ("shops:visits", [2**63, -1], r"int"),
        ("shops:visits", [2**63, 1.0], r"float, int"),
        ("shops:visits", [2**63, True], r"bool, int"),
        ("shops:visits", [1j, 2j], r"complex"),
        ("tokens:count", [b"b", "b"], r"bytes, str.*row 'q'"),
        ("days:count", [dt.date(2024, 3, 31), naive("2024-03-31T05:00")], r"date, datetime"),
        ("days:count", [naive("2024-03-31T05:00"), dt.date(2024, 3, 31)], r"date, datetime"),
        ("people:count", [UUID, str(UUID)], r"UUID, str"),
        ("cities:people", ["\ud800", "Rome"], r"str"),
        ("shops:visits", [object(), object()], r"object"),
    ],
)
def test_mixed_and_impossible_keys_are_refused_before_any_call(store, view, values, match):
    frame = pd.DataFrame({"key": pd.Series(values, dtype=object)})
    frame.index = ["p", "q"]
    with pytest.raises(KeyTypeError, match=match):
        frame.features.enrich([view], on="key")
    assert store.last_summary is None


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_large_unsigned_ids_with_a_gap_are_objects_in_pandas(tmp_path, missing):
    ids = [2**63 + 1, 2**64 - 1]
    view = pl.DataFrame({"id": pl.Series(ids, dtype=pl.UInt64), "n": [1, 2]})
    featkit.write_view(tmp_path, view, name="v", join_keys="id")
    frame = pd.DataFrame({"id": pd.Series([ids[1], missing, ids[0]], dtype=object)})
    with featkit.connect(f"parquet:{tmp_path}") as store:
        enriched = frame.features.enrich("v:n", store=store)
        assert store.get_online_features("v", ids[1]) == {"n": 2}
    assert enriched["n"].fillna(0).tolist() == [2, 0, 1]


@pytest.mark.parametrize("naive_first", [True, False])
def test_mixed_naive_and_aware_times_are_never_taken_for_utc(store_folder, naive_first):
    moments = [naive("2024-03-31T01:30"), dt.datetime(2024, 3, 31, 1, 30, tzinfo=UTC)]
    frame = pd.DataFrame({"moment": pd.Series(moments[:: 1 if naive_first else -1], dtype=object)})
    store = featkit.connect(f"parquet:{store_folder}", timezone="Europe/Paris")
    with pytest.raises(TimestampError, match="'moment' mixes naive"):
        frame.features.enrich(["moments:count"], store=store)


def test_aware_times_of_several_zones_in_one_column_are_fine():
    paris = dt.timezone(dt.timedelta(hours=2))
    moments = [
        dt.datetime(2024, 3, 31, 0, 30, tzinfo=UTC),
        dt.datetime(2024, 3, 31, 3, 30, tzinfo=paris),
    ]
    frame = pd.DataFrame({"moment": pd.Series(moments, dtype=object)})
    assert frame.features.enrich(["moments:count"])["count"].tolist() == [1, 2]


def test_numbers_of_the_other_byte_order_are_keys():
    frame = pd.DataFrame({"shop": np.array([1, 2], ">i4")})
    assert frame.features.enrich(["shops:visits"])["visits"].tolist() == [10, 2**62 + 1]


def test_sparse_and_other_extension_dtypes():
    frame = pd.DataFrame({"shop": pd.arrays.SparseArray([1, 2, 0])})
    enriched = frame.features.enrich(["shops:visits"])
    assert enriched["shop"].dtype == frame["shop"].dtype
    assert enriched["visits"].tolist() == [10, 2**62 + 1, pd.NA]
    periods = pd.DataFrame({"shop": pd.period_range("2024-01", periods=2, freq="M")})
    with pytest.raises(KeyTypeError, match=r"'shop'.*period"):
        periods.features.enrich(["shops:visits"])


# -- categories ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [pl.Categorical(), pl.Enum(["Atlantis", "Oslo", "Rome"])], ids=["categorical", "enum"]
)
def test_categories_are_looked_up_by_value_and_stay_categories(constructor, dtype):
    frame = constructor(
        {"city": pl.Series(["Oslo", None, "Atlantis", "Oslo", "Rome"], dtype=dtype)}
    )
    enriched = frame.features.enrich(["cities:people"])
    constructor.assert_own_columns_kept(frame, enriched, added=["people"])
    assert constructor.values(enriched, "people") == [1, None, None, 1, 0]


@pytest.mark.parametrize(
    ("view", "values", "expected"),
    [
        ("shops:visits", [1, None, 1], [10, None, 10]),
        ("flags:count", [True, None, True], [1, None, 1]),
        ("weights:count", [0.5, None, 0.5], [5, None, 5]),
        ("moments:count", [*pd.to_datetime(["2024-03-31T00:30Z", None]), None], [1, None, None]),
    ],
)
def test_pandas_categories_of_other_types(view, values, expected):
    frame = pd.DataFrame({"key": pd.Categorical(values, ordered=True)})
    enriched = frame.features.enrich([view], on="key")
    pd.testing.assert_frame_equal(enriched[["key"]], frame)
    assert [None if pd.isna(value) else value for value in enriched.iloc[:, 1]] == expected


def test_unused_categories_are_not_asked_for(scripted_store):
    asked = scripted_store()
    featkit.connect(asked)
    shops = pd.Categorical([1, 1], categories=[1, 2, 3])
    pd.DataFrame({"shop": shops}).features.enrich("shops:visits")
    assert asked.reads[0].keys["shop"].to_list() == [1]


# -- dtypes --------------------------------------------------------------------------------------

NUMPY_NULLABLE = {
    "visits": pd.Int64Dtype(),
    "rating": np.dtype("float64"),
    "title": pd.StringDtype(na_value=np.nan),
    "open": pd.BooleanDtype(),
    "seen": pd.DatetimeTZDtype("us", "UTC"),
}
POLARS = {
    "visits": pl.Int64,
    "rating": pl.Float64,
    "title": pl.String,
    "open": pl.Boolean,
    "tags": pl.List(pl.String),
    "opened": pl.Date,
    "rent": pl.Decimal(38, 2),
    "logo": pl.Binary,
    "seen": pl.Datetime("us", "UTC"),
}


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_dtypes_follow_the_schema_never_the_values(constructor, backend):
    found = []
    for shops in ([1, 2], [1, 9], [3, 3], [9], [None], [], [1, None, 9]):
        frame = constructor({"shop": column(shops, pl.Int64)})
        enriched = frame.features.enrich(["shops:*"], dtype_backend=backend)
        dtypes = constructor.dtypes(enriched)
        found.append({name: dtypes[name] for name in SHOP_FEATURES})
    assert all(dtypes == found[0] for dtypes in found)
    if not constructor.is_pandas:
        assert found[0] == POLARS
    elif backend == "numpy_nullable":
        assert {name: found[0][name] for name in NUMPY_NULLABLE} == NUMPY_NULLABLE
    else:
        assert all(isinstance(dtype, pd.ArrowDtype) for dtype in found[0].values())


def test_values_come_through_exactly(constructor):
    frame = constructor({"shop": [1, 2, 3, 9]})
    enriched = frame.features.enrich(["shops:*"])
    noon, spring = dt.datetime(2024, 5, 1, 12, tzinfo=UTC), dt.datetime(2024, 3, 31, tzinfo=UTC)
    expected = {
        "visits": [10, 2**62 + 1, None, None],
        "title": ["one", "", None, None],
        "open": [True, False, None, None],
        "tags": [["new", "big"], [], None, None],
        "opened": [dt.date(2020, 2, 29), dt.date(2021, 1, 1), None, None],
        "rent": [decimal.Decimal("1.10"), decimal.Decimal("-2.00"), None, None],
        "logo": [b"\x00\xff", b"", None, None],
        "seen": [noon, spring, None, None],
    }
    assert {name: constructor.values(enriched, name) for name in expected} == expected


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_writing_to_the_result_works_and_never_reaches_the_input(pandas_constructor, backend):
    frame = pandas_constructor({"shop": [1, 2, 3]})
    before = frame.copy(deep=True)
    enriched = frame.features.enrich(
        ["shops:*"], timestamps=True, statuses=True, dtype_backend=backend
    )
    for name in enriched.columns[1:]:
        enriched.loc[0, name] = enriched.loc[2, name]
        assert (
            pandas_constructor.values(enriched, name)[0]
            == (pandas_constructor.values(enriched, name)[2])
        )
    enriched.loc[1, "shop"] = 77
    enriched["shop"] = 0
    pd.testing.assert_frame_equal(frame, before)


def test_writing_to_the_input_never_reaches_the_result(pandas_constructor):
    frame = pandas_constructor({"shop": [1, 2]})
    enriched = frame.features.enrich(["shops:visits"])
    frame.loc[0, "shop"] = 99
    assert pandas_constructor.values(enriched, "shop") == [1, 2]


def test_read_only_memory_of_the_caller_stays_untouched():
    shops = np.array([1, 2, 1])
    shops.flags.writeable = False
    frame = pd.DataFrame({"shop": shops}, copy=False)
    enriched = frame.features.enrich(["shops:visits"])
    enriched.loc[0, "shop"] = 5
    enriched.loc[0, "visits"] = 5
    assert shops.tolist() == [1, 2, 1]
    assert frame["shop"].tolist() == [1, 2, 1]


def test_own_columns_are_kept_to_the_bit(constructor):
    odd = np.array([0x7FF8000000000001, 0xFFF0000000000000, 1 << 63, 1], dtype="uint64")
    frame = constructor(
        {
            "shop": [1, 9, None, 2],
            "odd nan, -inf, -0.0, tiny": odd.view("float64"),
            "small": pl.Series([1, 2, 3, 4], dtype=pl.Int8),
            "text": ["", "nan", None, "x"],
            "when": pl.Series([naive("2024-03-31T01:30")] * 4, dtype=pl.Datetime("ns")),
            "lists": [[1], [], None, [2, None]],
            "span": [dt.timedelta(1), None, dt.timedelta(0), dt.timedelta(-1)],
        }
    )
    enriched = frame.features.enrich(["shops:visits"], timestamps=True, statuses=True)
    added = ["visits", "visits__event_timestamp", "visits__status"]
    constructor.assert_own_columns_kept(frame, enriched, added=added)


# -- empty, single, all null, nothing asked ------------------------------------------------------


@pytest.mark.parametrize("shops", [[], [None, None], [float("nan")]], ids=["empty", "null", "nan"])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.String, pl.Null, pl.Date], ids=str)
def test_no_key_no_call_and_the_schema_of_a_full_frame(constructor, scripted_store, shops, dtype):
    view = scripted_store.view("shops", "shop", "visits", timestamp="at", ttl=dt.timedelta(1))
    asked = scripted_store(view)
    client = featkit.connect(asked)
    extras = {"timestamps": True, "statuses": True}
    full = constructor({"shop": [1, 2]}).features.enrich(["shops:visits"], **extras)
    asked.reads.clear()
    shops = [None if dtype != pl.Float64 and shop != shop else shop for shop in shops]  # noqa: PLR0124 - NaN
    frame = constructor({"shop": pl.Series(shops, dtype=dtype)})
    enriched = frame.features.enrich(["shops:visits"], **extras)
    expected, found = constructor.dtypes(full), constructor.dtypes(enriched)
    assert list(found) == list(expected)
    assert {**found, "shop": None} == {**expected, "shop": None}
    constructor.assert_own_columns_kept(frame, enriched, added=list(expected)[1:])
    assert constructor.values(enriched, "visits") == [None] * len(shops)
    assert asked.reads == []
    assert client.last_summary.calls == 0


def test_empty_frame_with_naive_times_is_still_empty(constructor):
    frame = constructor({"moment": pl.Series([], dtype=pl.Datetime("us"))})
    assert constructor.values(frame.features.enrich(["moments:count"]), "count") == []


def test_one_row(constructor):
    frame = constructor({"shop": [1]})
    assert constructor.values(frame.features.enrich(["shops:visits"]), "visits") == [10]


@pytest.mark.parametrize("columns", [{"note": [1, 2]}, {"shop": [1, 2]}, {}], ids=str)
def test_no_features_no_columns_no_calls(constructor, scripted_store, columns):
    asked = scripted_store()
    featkit.connect(asked)
    frame = constructor(columns)
    enriched = frame.features.enrich([])
    constructor.assert_own_columns_kept(frame, enriched, added=[])
    assert asked.reads == []


# -- labels --------------------------------------------------------------------------------------


def test_duplicate_labels_besides_the_key_are_fine():
    frame = pd.DataFrame([[1, 2, 3]], columns=["shop", "same", "same"])
    enriched = frame.features.enrich(["shops:visits"])
    assert enriched.columns.tolist() == ["shop", "same", "same", "visits"]
    assert enriched.iloc[0].tolist() == [1, 2, 3, 10]


def test_duplicate_labels_of_the_key_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["shop", "shop"])
    with pytest.raises(KeyColumnError, match=r"2 columns 'shop'.*on=\{'shop': <column>\}"):
        frame.features.enrich(["shops:visits"])


@pytest.mark.parametrize("label", [0, 1.5, ("a", "b"), dt.date(2024, 1, 1), True], ids=repr)
def test_labels_that_are_no_text_can_hold_the_key(label):
    frame = pd.DataFrame([[1], [2]], columns=pd.Index([label], tupleize_cols=False))
    for on in (label, {"shop": label}):
        enriched = frame.features.enrich(["shops:visits"], on=on)
        assert enriched.columns.tolist() == [label, "visits"]
        assert enriched["visits"].tolist() == [10, 2**62 + 1]


def test_names_of_the_column_axis_stay():
    frame = pd.DataFrame([[1]], columns=pd.Index(["shop"], name="axis"))
    assert frame.features.enrich(["shops:visits"]).columns.name == "axis"


@pytest.mark.parametrize(
    ("labels", "on"),
    [
        ([("shop", ""), ("a", "b")], None),
        ([("a", "shop"), ("a", "b")], {"shop": ("a", "shop")}),
        ([(1, 0), (2, 0)], {"shop": (1, 0)}),
        ([(1, ""), (2, 0)], {"shop": 1}),
        ([("shop", "", ""), ("a", "b", "c")], None),
    ],
)
def test_multiindex_columns(labels, on):
    columns = pd.MultiIndex.from_tuples(labels).set_names(list("uvw")[: len(labels[0])])
    frame = pd.DataFrame([[1, 5], [2, 6]], columns=columns)
    enriched = frame.features.enrich(["shops:visits"], on=on)
    assert enriched.columns.tolist() == [*labels, ("visits", *[""] * (len(labels[0]) - 1))]
    assert enriched.columns.names == columns.names
    assert enriched.iloc[:, :2].to_numpy().tolist() == frame.to_numpy().tolist()
    assert enriched["visits"].tolist() == [10, 2**62 + 1]


def test_feature_with_the_name_of_a_column_is_refused_with_the_way_out(constructor):
    frame = constructor({"shop": [1], "visits": [5]})
    with pytest.raises(NameClashError, match=r"'visits' already.*prefix="):
        frame.features.enrich(["shops:visits"])
    with pytest.raises(NameClashError, match="'title__status'"):
        constructor({"shop": [1], "title__status": [0]}).features.enrich(
            "shops:title", statuses=True
        )


def test_multiindex_column_clashes_by_its_first_level():
    frame = pd.DataFrame(
        [[1, 5]], columns=pd.MultiIndex.from_tuples([("shop", ""), ("visits", "")])
    )
    with pytest.raises(NameClashError, match="'visits'"):
        frame.features.enrich(["shops:visits"])


@pytest.mark.parametrize(
    ("prefix", "expected"), [("x_", "x_visits"), ("{view}__", "shops__visits"), ("", "visits")]
)
def test_prefix_stands_before_what_is_added(constructor, prefix, expected):
    frame = constructor({"shop": [1]})
    enriched = frame.features.enrich(
        ["shops:visits"], prefix=prefix, timestamps=True, statuses=True
    )
    added = [expected, f"{expected}__event_timestamp", f"{expected}__status"]
    assert constructor.names(enriched) == ["shop", *added]


def test_two_views_with_one_feature_name_need_a_prefix(constructor):
    frame = constructor({"flag": [True], "weight": [0.5]})
    with pytest.raises(NameClashError, match=r"'flags:count' and 'weights:count'.*\{view\}__"):
        frame.features.enrich(["flags:count", "weights:count"])
    enriched = frame.features.enrich(["flags:count", "weights:count"], prefix="{view}__")
    assert constructor.values(enriched, "flags__count") == [1]
    assert constructor.values(enriched, "weights__count") == [5]


# -- what else a frame carries -------------------------------------------------------------------


def test_attrs_are_copied():
    frame = pd.DataFrame({"shop": [1]})
    frame.attrs = {"origin": ["a"], "table": pd.DataFrame({"x": [1]}), "array": np.array([1, 2])}
    enriched = frame.features.enrich(["shops:visits"])
    assert enriched.attrs["origin"] == ["a"]
    enriched.attrs["origin"].append("b")
    assert frame.attrs["origin"] == ["a"]


def test_flags_stay():
    frame = pd.DataFrame({"shop": [1]}).set_flags(allows_duplicate_labels=False)
    assert frame.features.enrich(["shops:visits"]).flags.allows_duplicate_labels is False


class Survey(pd.DataFrame):
    """A pandas subclass with metadata of its own, as pandas documents it."""

    _metadata = ("place",)

    @property
    def _constructor(self):
        return Survey


def test_pandas_subclass_and_its_metadata_stay():
    frame = Survey({"shop": [1]})
    frame.place = "here"
    enriched = frame.features.enrich(["shops:visits"])
    assert type(enriched) is Survey
    assert enriched.place == "here"


def test_many_features_do_not_fragment_the_frame(constructor, scripted_store):
    features = [f"f{n}" for n in range(150)]
    asked = scripted_store(scripted_store.view("wide", "shop", *features, timestamp="at"))
    featkit.connect(asked)
    frame = constructor({"shop": [2, 7, 1]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enriched = frame.features.enrich(["wide:*"], timestamps=True, statuses=True)
        if constructor.is_pandas:
            enriched["one more"] = 1  # pandas complains here, once a frame is in many pieces
    assert len(constructor.names(enriched)) >= 1 + 3 * 150
    truth = asked.truth("f149", asked.reads[0].keys).to_list()
    assert constructor.values(enriched, "f149") == truth


def test_features_of_several_views_come_in_the_order_asked(constructor):
    frame = constructor({"city": ["Oslo", None, "?"], "shop": [1, 1, None]})
    enriched = frame.features.enrich(["shops:title", "cities:people", "shops:visits"])
    assert constructor.names(enriched) == ["city", "shop", "title", "people", "visits"]
    assert constructor.values(enriched, "title") == ["one", "one", None]
    assert constructor.values(enriched, "people") == [1, None, None]


# -- lazy frames ---------------------------------------------------------------------------------


def test_lazy_result_is_lazy_and_only_keys_are_collected():
    source = pl.DataFrame({"shop": [1, 1, None], "big": ["x", "y", "z"]})
    read = []

    def scan(columns, *_):
        read.append(columns)
        yield source.select(columns or source.columns)

    lazy = register_io_source(scan, schema=source.schema)
    enriched = lazy.features.enrich(["shops:visits"])
    assert isinstance(enriched, pl.LazyFrame)
    assert {tuple(columns) for columns in read} == {("shop",)}
    assert enriched.collect().rows() == [(1, "x", 10), (1, "y", 10), (None, "z", None)]


def test_lazy_frame_that_fails_beyond_its_keys_fails_only_when_collected():
    def fail(_):
        raise RuntimeError("computed")

    lazy = pl.LazyFrame({"shop": [1, 2]}).with_columns(
        costly=pl.col("shop").map_elements(fail, return_dtype=pl.Int64)
    )
    enriched = lazy.features.enrich(["shops:visits"])
    with pytest.raises((RuntimeError, pl.exceptions.ComputeError), match="computed"):
        enriched.collect()


def test_lazy_frame_may_yield_its_rows_in_another_order_each_time():
    shops = pl.Series([1, 2, None, 9, 1, 2], dtype=pl.Int64)
    turns = iter(range(6))

    def turn(frame):
        return frame.gather((pl.int_range(6, eager=True) + next(turns)) % 6)

    lazy = pl.LazyFrame({"shop": shops, "row": range(6)}).map_batches(turn)
    enriched = lazy.features.enrich(["shops:visits"])
    truth = {1: 10, 2: 2**62 + 1}
    orders = set()
    for _ in range(3):
        rows = enriched.collect().rows()
        assert all(visits == truth.get(shop) for shop, _, visits in rows)
        orders.add(tuple(row for _, row, _ in rows))
    assert len(orders) == 3


def test_what_the_user_takes_away_of_a_lazy_result_is_not_even_read():
    source = pl.DataFrame({"shop": [1, 2, 9, 1], "row": range(4), "big": ["x"] * 4})
    asked = []

    def scan(columns, predicate, rows, _):
        asked.append((columns, None if predicate is None else str(predicate), rows))
        found = source.head(rows) if rows is not None else source
        found = found if predicate is None else found.filter(predicate)
        yield found.select(columns or source.columns)

    lazy = register_io_source(scan, schema=source.schema)
    enriched = lazy.features.enrich(["shops:visits", "shops:title"])
    asked.clear()
    assert enriched.filter(pl.col("row") > 0).collect().height == 3
    assert enriched.head(2).collect().height == 2
    assert enriched.select("visits").collect()["visits"].to_list() == [10, 2**62 + 1, None, 10]
    assert enriched.filter(pl.col("visits") == 10).collect()["row"].to_list() == [0, 3]
    (_, predicate, _), (_, _, rows), (columns, _, _), (_, later, _) = asked
    assert predicate is not None
    assert "row" in predicate
    assert rows == 2
    assert columns == ["shop"]
    assert later is None


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_lazy_result_in_many_pieces_keeps_the_order_of_rows(engine, tmp_path):
    shops = pl.Series([1, 2, None, 9, 2], dtype=pl.Int64)
    source = pl.concat([pl.DataFrame({"shop": shops})] * 50_000).with_row_index()
    enriched = source.lazy().features.enrich(["shops:visits", "shops:title"])
    expected = source.features.enrich(["shops:visits", "shops:title"])
    assert_frame_equal(enriched.collect(engine=engine), expected)
    enriched.sink_parquet(tmp_path / "made.parquet", engine=engine)
    assert_frame_equal(pl.read_parquet(tmp_path / "made.parquet"), expected)


def test_lazy_composite_keys_with_nulls():
    lazy = pl.LazyFrame(
        {"origin": ["a", None, "a", None, "a"], "dest": ["b", "b", None, None, "b"]}
    )
    enriched = lazy.features.enrich(["routes:km"]).collect()
    assert enriched["km"].to_list() == [1, None, None, None, 1]


@pytest.mark.parametrize("name", ["__featkit_row", "__featkit_count"])
def test_no_column_of_a_lazy_frame_is_taken_for_one_of_ours(name):
    frame = pl.LazyFrame({"shop": [2, 1, 2], name: [1, 2, 9]})
    by_key = frame.features.enrich("shops:visits", on={"shop": name}).collect()
    assert by_key.drop("visits").equals(frame.collect())
    assert by_key["visits"].to_list() == [10, 2**62 + 1, None]
    beside = frame.features.enrich("shops:visits").collect()
    assert beside.drop("visits").equals(frame.collect())


def test_lazy_key_used_twice():
    lazy = pl.LazyFrame({"place": ["a", "b"], "other": ["b", "a"]})
    same = lazy.features.enrich(["routes:km"], on={"origin": "place", "dest": "place"})
    assert same.collect()["km"].to_list() == [None, None]
    crossed = lazy.features.enrich(["routes:km"], on={"origin": "place", "dest": "other"})
    assert crossed.collect()["km"].to_list() == [1, 4]


def test_enriching_twice_is_enriching_with_both(constructor):
    frame = constructor({"shop": [2, 9, 1]})
    once = frame.features.enrich(["shops:visits", "shops:title"])
    twice = frame.features.enrich(["shops:visits"]).features.enrich(["shops:title"])
    assert constructor.names(twice) == constructor.names(once)
    for name in ("visits", "title"):
        assert constructor.values(twice, name) == constructor.values(once, name)


# -- which column holds the key ------------------------------------------------------------------


def test_on_names_the_columns_that_hold_the_keys(constructor):
    frame = constructor({"from": ["a", "b"], "to": ["b", "a"]})
    enriched = frame.features.enrich(["routes:km"], on={"origin": "from", "dest": "to"})
    constructor.assert_own_columns_kept(frame, enriched, added=["km"])
    assert constructor.values(enriched, "km") == [1, 4]
    shop = constructor({"id": [1]}).features.enrich(["shops:visits"], on="id")
    assert constructor.values(shop, "visits") == [10]


@pytest.mark.parametrize(
    ("features", "on", "match"),
    [
        (["shops:visits"], None, r"no column 'shop'.*'shops'.*did you mean 'shops'.*on=\{'shop'"),
        (["shops:visits"], "id", r"no column 'id' for the join key 'shop'"),
        (["shops:visits"], {"shp": "a"}, r"'shp', which is no join key.*did you mean 'shop'"),
        (["routes:km"], "a", r"join keys origin, dest; map each"),
        (["routes:km"], {"origin": "a"}, r"no column 'dest'"),
        (["shops:visits"], ["a"], r"no column \['a'\]"),
    ],
)
def test_key_column_that_is_missing_is_named_with_the_nearest(constructor, features, on, match):
    with pytest.raises(KeyColumnError, match=match):
        constructor({"shops": [1], "a": [2]}).features.enrich(features, on=on)


@pytest.mark.parametrize("option", ["timestamps", "statuses", "refresh", "only_cached"])
@pytest.mark.parametrize("value", ["no", None, 3])
def test_what_is_neither_yes_nor_no_is_refused(constructor, option, value):
    frame = constructor({"shop": [1]})
    with pytest.raises(InputError, match=rf"{option}={value!r} is not an option; choose one of"):
        frame.features.enrich("shops:visits", **{option: value})


def test_a_yes_of_numpy_is_a_yes(constructor):
    frame = constructor({"shop": [1]})
    enriched = frame.features.enrich("shops:visits", statuses=np.True_, timestamps=np.False_)
    assert constructor.names(enriched) == ["shop", "visits", "visits__status"]


def test_prefix_that_is_no_text_is_refused(constructor):
    with pytest.raises(InputError, match="prefix=5 is no text"):
        constructor({"shop": [1]}).features.enrich("shops:visits", prefix=5)


@pytest.mark.parametrize("on", [pl.col("shop"), pl.Series([1]), pd.Series([1]), np.array([1])])
def test_values_are_no_name_of_a_column(constructor, on):
    frame = constructor({"shop": [1]})
    for named in (on, {"shop": on}):
        with pytest.raises(KeyColumnError, match="on= takes the name of a column, not a"):
            frame.features.enrich("shops:visits", on=named)


def test_columns_without_text_for_a_name_are_listed_as_they_are():
    frame = pd.DataFrame([range(9)])
    with pytest.raises(KeyColumnError, match=r"there are: 0, 1, 2, 3, 4, 5, 6, 7, \.{3} - name"):
        frame.features.enrich("shops:visits")


@pytest.mark.parametrize(
    "frame", [[1], {"shop": [1]}, pl.Series([1]), pd.Series([1]), None, np.array([1])], ids=type
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(InputError, match=r"expected a pandas.DataFrame, polars.DataFrame"):
        featkit.features(frame).enrich(["shops:visits"])
