"""Cases in which other tools are known to go wrong, or whose answer is known from their tests.

Named after where they are from: what pandas, polars and DuckDB document of their as-of joins, and
faults that were seen in other feature stores.
"""

import datetime as dt
import decimal

import pandas as pd
import polars as pl
import pytest

import featkit

from .conftest import DAY, hours

MS = dt.timedelta(milliseconds=1)
MIXED = {"d": pl.Duration("ms"), "e": pl.Enum(["a", "b"])}


def at_ms(*numbers):
    return pl.Series([DAY + each * MS for each in numbers], dtype=pl.Datetime("us", "UTC"))


@pytest.fixture
def quotes(history):
    """The quotes of the documentation of pandas.merge_asof."""
    tickers = ["GOOG", "MSFT", "MSFT", "MSFT", "GOOG", "AAPL", "GOOG", "MSFT"]
    bids = [720.50, 51.95, 51.97, 51.99, 720.50, 97.99, 720.50, 52.01]
    times = at_ms(23, 23, 30, 41, 48, 49, 72, 75)
    history.write({"ticker": tickers, "t": times, "bid": bids}, name="quotes", keys="ticker")
    return history


TRADES = {
    "at": at_ms(23, 38, 48, 48, 48),
    "ticker": ["MSFT", "MSFT", "GOOG", "GOOG", "AAPL"],
    "price": [51.95, 51.95, 720.77, 720.92, 98.0],
}


def test_pandas_merge_asof_trades_and_quotes(quotes):
    found = quotes.values(TRADES, "quotes:bid", "bid")
    assert found == [51.95, 51.97, 720.50, 720.50, None]


def test_pandas_merge_asof_with_tolerance(quotes):
    found = quotes.values(TRADES, "quotes:bid", "bid", lookback="2ms")
    assert found == [51.95, None, 720.50, 720.50, None]


def test_pandas_merge_asof_without_exact_matches(quotes):
    options = {"lookback": "10ms", "strict": True}
    found = quotes.values(TRADES, "quotes:bid", "bid", **options)
    assert found == [None, 51.97, None, None, None]


def test_pandas_agrees_where_it_can(quotes):
    ours = quotes.values(TRADES, "quotes:bid", "bid")
    left = pl.DataFrame(TRADES).to_pandas()
    right = pl.read_parquet(quotes.folder / "quotes" / "part-0.parquet").to_pandas()
    merged = pd.merge_asof(
        left.sort_values("at"), right.sort_values("t"), left_on="at", right_on="t", by="ticker"
    )
    assert [None if pd.isna(each) else each for each in merged["bid"]] == ours


def test_pandas_matches_null_to_null_and_featkit_does_not(history):
    history.write({"k": [None, "a"], "t": hours(1, 1), "x": [1, 2]})
    assert history.values({"k": [None, "a"], "at": hours(2, 2)}) == [None, 2]


def test_pandas_raises_for_null_times_and_units_and_featkit_does_not(history):
    history.write({"k": [1, 1], "t": hours(1, None), "x": [1, 2]})
    at = hours(2, None).cast(pl.Datetime("ms", "UTC"))
    assert history.values({"k": [1, 1], "at": at}) == [1, None]


def test_polars_join_asof_takes_an_older_row_of_unsorted_input(history):
    folder = history.folder
    folder.mkdir()
    rows = pl.DataFrame({"k": [1, 1, 1], "t": hours(3, 1, 2), "x": [30, 10, 20]})
    rows.write_parquet(folder / "v.parquet")
    (folder / "feature_views.toml").write_text(
        '[views.v]\nsource = "v.parquet"\njoin_keys = ["k"]\ntimestamp = "t"\n'
    )
    assert history.values({"k": [1, 1], "at": hours(3.5, 2.5)}) == [30, 20]


def test_polars_gdp_and_population(history):
    """The example of the documentation of polars.DataFrame.join_asof, backward."""
    years = [dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (2016, 2017, 2018, 2019, 2020)]
    gdp = [4164, 4411, 4566, 4696, 4827]
    history.write({"country": ["DE"] * 5, "t": years, "gdp": gdp}, keys="country")
    dates = [
        dt.datetime(2016, 3, 1, tzinfo=dt.UTC),
        dt.datetime(2018, 8, 1, tzinfo=dt.UTC),
        dt.datetime(2019, 1, 1, tzinfo=dt.UTC),
    ]
    spine = {"country": ["DE"] * 3, "at": pl.Series(dates)}
    assert history.values(spine, "v:gdp", "gdp") == [4164, 4566, 4696]


def test_duckdb_asof_takes_any_of_equal_rows_and_featkit_the_last(history):
    history.write({"k": [1] * 50, "t": hours(*[1] * 50), "x": range(50)})
    for engine in ("polars", "duckdb"):
        assert history.values({"k": [1], "at": hours(1)}, engine=engine) == [49]


def test_duckdb_prices_and_holdings(history):
    """The example of DuckDB's guide to as-of joins: prices of two tickers by the second."""
    tickers = ["APPL"] * 3 + ["GOOG"] * 3
    times = hours(*[second / 3600 for second in (1, 2, 3) * 2])
    history.write({"ticker": tickers, "t": times, "price": [1, 2, 3, 4, 5, 6]}, keys="ticker")
    spine = {
        "ticker": ["APPL", "APPL", "APPL", "GOOG", "GOOG", "GOOG"],
        "at": hours(*[second / 3600 for second in (0.5, 1.5, 2.5) * 2]),
    }
    assert history.values(spine, "v:price", "price") == [None, 1, 2, None, 4, 5]


# -- faults of other stores ----------------------------------------------------------------------


def test_feast_loses_rows_with_future_or_expired_rows_only(history):
    history.write({"k": [1, 2], "t": hours(9, 0), "x": [10, 20]}, ttl="1h")
    made, frame = history.join({"n": [0, 1, 2], "k": [1, 2, 3], "at": hours(5, 5, 5)})
    history.constructor.assert_own_columns_kept(frame, made.frame, added=["x"])
    (view,) = made.report.views
    assert (view.future_only, view.expired, view.unknown_entity) == (1, 1, 1)


def test_feast_collapses_rows_of_one_key_and_time(history):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    spine = {"k": [1, 1, 1], "at": hours(2, 2, 2), "order": [7, 8, 9]}
    made, _ = history.join(spine)
    assert history.constructor.values(made.frame, "order") == [7, 8, 9]
    assert history.constructor.values(made.frame, "x") == [10, 10, 10]


def test_feast_sql_concatenates_keys(history):
    keys = {"a": [1, 11], "b": [11, 1]}
    history.write({**keys, "t": hours(1, 1), "x": [1, 2]}, keys=["a", "b"])
    assert history.values({"a": [11, 1], "b": [1, 11], "at": hours(2, 2)}) == [2, 1]


def test_feast_sql_fans_out_ties_without_created(history):
    history.write({"k": [1, 1], "t": hours(1, 1), "x": [1, 2]})
    assert history.values({"k": [1], "at": hours(2)}) == [2]


def test_feast_leaks_values_that_were_created_later(history):
    rows = {"k": [1, 1], "t": hours(1, 1), "c": hours(1, 9), "x": [10, 11]}
    history.write(rows, created=True)
    assert history.values({"k": [1], "at": hours(5)}, known_by="created") == [10]


def test_feast_turns_whole_numbers_with_nulls_into_floats(history):
    big = 2**53 + 1
    history.write({"k": [1, 2], "t": hours(1, 1), "x": [big, None]})
    found = history.values({"k": [1, 2, 3], "at": hours(2, 2, 2)})
    assert found == [big, None, None]
    assert str(found[0]) == str(big)


def test_vertex_orders_all_views_by_the_time_of_the_spine(history):
    history.write({"k": [1, 1], "t": hours(1, 4), "x": [1, 4]})
    history.write({"k": [1, 1], "t": hours(2, 3), "y": [2, 3]}, name="w")
    made, _ = history.join({"k": [1, 1], "at": hours(3.5, 2.5)}, ["v:x", "w:y"])
    assert history.constructor.values(made.frame, "x") == [1, 1]
    assert history.constructor.values(made.frame, "y") == [3, 2]


def test_sagemaker_gives_one_row_per_record_and_not_per_event(history):
    history.write({"k": [1, 1], "t": hours(1, 3), "x": [1, 3]})
    assert history.values({"k": [1, 1, 1], "at": hours(2, 4, 2)}) == [1, 3, 1]


def test_tempo_drops_labels_without_time_and_matches_null_features(history):
    history.write({"k": [1, None], "t": hours(None, 1), "x": [1, 2]})
    assert history.values({"k": [1, 1, None], "at": hours(None, 2, 2)}) == [None, None, None]


def test_ibis_fans_duplicates_out(history):
    history.write({"k": [1, 1], "t": hours(1, 1), "x": [1, 2]}, ttl="5h")
    made, _ = history.join({"k": [1, 1], "at": hours(2, 2)})
    assert history.constructor.values(made.frame, "x") == [2, 2]


# -- files that do not agree ---------------------------------------------------------------------


def write_parts(folder, *frames):
    folder.mkdir()
    for place, frame in enumerate(frames):
        frame.write_parquet(folder / f"{place}.parquet")
    (folder / "feature_views.toml").write_text(
        '[views.v]\nsource = "*.parquet"\njoin_keys = ["k"]\ntimestamp = "t"\n'
    )


def test_column_that_a_file_lacks_is_null_there(history):
    whole = pl.DataFrame({"k": [1], "t": hours(1), "x": [10], "y": ["a"]})
    write_parts(history.folder, whole, pl.DataFrame({"k": [1], "t": hours(3), "x": [30]}))
    made, _ = history.join({"k": [1, 1], "at": hours(2, 4)}, ["v:x", "v:y"])
    assert history.constructor.values(made.frame, "x") == [10, 30]
    assert history.constructor.values(made.frame, "y") == ["a", None]


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_files_of_different_dtypes_are_refused(history, engine):
    one = pl.DataFrame({"k": [1], "t": hours(1), "x": [10]})
    write_parts(history.folder, one, one.cast({"x": pl.String}))
    with pytest.raises(featkit.errors.SourceError, match=r"'v': 'x' is int64 in .* and string in"):
        history.join({"k": [1], "at": hours(2)}, engine=engine)


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
@pytest.mark.parametrize(
    "values",
    [
        [dt.timedelta(days=1), None],
        [[dt.timedelta(microseconds=1)], None],
        [{"since": dt.timedelta(-1), "word": "a"}, None],
        pl.Series([[{"d": dt.timedelta(1), "e": "b"}], None], dtype=pl.List(pl.Struct(MIXED))),
        [decimal.Decimal("1.10"), None],
        [dt.time(1, 2, 3, 4), None],
        [dt.date(1, 1, 1), dt.date(9999, 12, 31)],
        [b"\0", None],
        [{"a": [1], "b": None}, {"a": None, "b": "x"}],
        pl.Series([2**64 - 1, 2**53 + 1], dtype=pl.UInt64),
        pl.Series([[1.5], None], dtype=pl.Array(pl.Float64, 1)),
    ],
    ids=repr,
)
def test_values_of_every_type_come_through_each_engine(tmp_path, engine, values):
    rows = pl.DataFrame({"k": [1, 2], "t": hours(1, 1), "x": values})
    featkit.write_view(tmp_path, rows, name="v", join_keys="k", timestamp="t")
    with featkit.connect(f"parquet:{tmp_path}") as client:
        spine = pl.DataFrame({"k": [2, 1], "at": hours(2, 2)})
        made = client.get_historical_features(spine, "v:x", at="at", engine=engine)
    assert made.frame["x"].to_list() == rows["x"].reverse().to_list()


def test_broken_file_is_refused(history):
    one = pl.DataFrame({"k": [1], "t": hours(1), "x": [10]})
    write_parts(history.folder, one)
    (history.folder / "1.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(featkit.errors.SourceError, match=r"'v'.*cannot be read"):
        history.join({"k": [1], "at": hours(2)})


def test_hive_folders_are_keys_and_features(history):
    for day in ("2024-05-01", "2024-05-02"):
        folder = history.folder / "v" / f"day={day}"
        folder.mkdir(parents=True)
        begin = 0 if day.endswith("01") else 24
        rows = pl.DataFrame(
            {"k": [1, 2], "t": hours(begin + 1, begin + 2), "x": [begin, begin + 9]}
        )
        rows.write_parquet(folder / "rows.parquet")
    (history.folder / "feature_views.toml").write_text(
        '[views.v]\nsource = "v/**/*.parquet"\njoin_keys = ["k"]\ntimestamp = "t"\n'
    )
    made, _ = history.join({"k": [1, 2, 1], "at": hours(20, 20, 30)}, ["v:x", "v:day"])
    assert history.constructor.values(made.frame, "x") == [0, 9, 24]
    days = [str(each)[:10] for each in history.constructor.values(made.frame, "day")]
    assert days == ["2024-05-01", "2024-05-01", "2024-05-02"]
