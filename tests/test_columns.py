"""Feature columns: values, event timestamps and statuses that stay together."""

import datetime as dt

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_series_equal

from featkit.columns import STATUS, FeatureColumns, Status

NOW = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
TICK = dt.timedelta(microseconds=1)


def statuses(*words):
    return pl.Series(list(words), dtype=STATUS)


def stamps(*times):
    return pl.Series(list(times), dtype=pl.Datetime("us", "UTC"))


@pytest.fixture
def columns():
    """Make two features that were written together and one without event timestamps."""
    shared, found = stamps(NOW, NOW - DAY, None), statuses("PRESENT", "PRESENT", "NOT_FOUND")
    return FeatureColumns(
        pl.DataFrame({"a": [1, 2, None], "b": ["x", None, None], "c": [1.5, None, None]}),
        {"a": found, "b": found, "c": statuses("PRESENT", "NULL", "NOT_FOUND")},
        {"a": shared, "b": shared},
    )


# -- shown ---------------------------------------------------------------------------------------


def test_they_show_as_a_table_and_what_is_known_of_it(columns):
    head, _, table = repr(columns).partition("\n")
    assert head == "<FeatureColumns: 3 rows; values: 5 PRESENT, 1 NULL, 3 NOT_FOUND>"
    assert table == str(columns.values)
    nothing = columns.gather(pl.Series([], dtype=pl.UInt32))
    assert repr(nothing).startswith("<FeatureColumns: 0 rows; values: none>")


def test_they_show_in_a_notebook_with_nothing_of_it_run():
    held = FeatureColumns(pl.DataFrame({"a": ["<b>"]}), {"a": statuses("PRESENT")})
    html = held._repr_html_()
    assert html.startswith("<p>1 row; values: 1 PRESENT</p>")
    assert "<b>" not in html


# -- judging -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (dt.timedelta(0), "PRESENT"),
        (DAY, "PRESENT"),
        (DAY + TICK, "EXPIRED"),
        (-TICK, "FUTURE"),
        (dt.timedelta(days=700_000), "EXPIRED"),
    ],
)
def test_age_decides_with_the_ttl_itself_still_fresh(age, expected):
    found = FeatureColumns(
        pl.DataFrame({"a": [1]}), {"a": statuses("PRESENT")}, {"a": stamps(NOW - age)}
    )
    assert found.judge(DAY, NOW).statuses["a"].to_list() == [expected]
    without_ttl = found.judge(None, NOW).statuses["a"].to_list()
    assert without_ttl == ["FUTURE" if expected == "FUTURE" else "PRESENT"]


@pytest.mark.parametrize("word", [each for each in Status if each is not Status.PRESENT])
def test_what_is_not_present_stays_what_it_is(word):
    found = FeatureColumns(
        pl.DataFrame({"a": [1, 1]}), {"a": statuses(word, word)}, {"a": stamps(NOW, NOW - 9 * DAY)}
    )
    assert found.judge(DAY, NOW).statuses["a"].to_list() == [word, word]


def test_null_that_is_called_present_is_null_at_any_age():
    found = FeatureColumns(
        pl.DataFrame({"a": [None, None, 1]}),
        {"a": statuses("PRESENT", "PRESENT", "PRESENT")},
        {"a": stamps(NOW, NOW - 9 * DAY, NOW)},
    )
    assert found.judge(DAY, NOW).statuses["a"].to_list() == ["NULL", "NULL", "PRESENT"]


def test_unknown_age_is_not_expired_by_guess():
    found = FeatureColumns(
        pl.DataFrame({"a": [1]}), {"a": statuses("PRESENT")}, {"a": stamps(None)}
    )
    assert found.judge(DAY, NOW).statuses["a"].to_list() == ["PRESENT"]


def test_judging_shares_what_was_shared(columns):
    judged = columns.judge(DAY, NOW)
    assert judged.statuses["a"].to_list() == ["PRESENT", "PRESENT", "NOT_FOUND"]
    assert judged.statuses["b"].to_list() == ["PRESENT", "NULL", "NOT_FOUND"]
    assert judged.timestamps["a"] is judged.timestamps["b"]
    assert columns.statuses["b"].to_list()[1] == "PRESENT"


def test_blanking_takes_the_values_of_one_status(columns):
    blank = columns.judge(DAY / 2, NOW).blank(Status.EXPIRED)
    assert blank.values["a"].to_list() == [1, None, None]
    assert blank.statuses["a"].to_list() == ["PRESENT", "EXPIRED", "NOT_FOUND"]
    assert blank.values.schema == columns.values.schema
    assert columns.values["a"].to_list() == [1, 2, None]


# -- shaping -------------------------------------------------------------------------------------


def test_gathering_moves_everything_together_and_null_makes_nulls(columns):
    moved = columns.gather(pl.Series([1, None, 0, 1], dtype=pl.UInt32))
    assert moved.to_dicts()[0] == {"a": 2, "b": None, "c": None}
    assert moved.to_dicts()[1] == {"a": None, "b": None, "c": None}
    assert moved.statuses["a"].to_list() == ["PRESENT", None, "PRESENT", "PRESENT"]
    assert moved.timestamps["a"].to_list() == [NOW - DAY, None, NOW, NOW - DAY]
    assert moved.timestamps["a"] is moved.timestamps["b"]
    assert moved.statuses["a"] is moved.statuses["b"]
    assert len(moved) == 4


def test_renaming_renames_everything(columns):
    renamed = columns.rename({"a": "x", "b": "y", "c": "z"})
    assert renamed.values.columns == ["x", "y", "z"]
    assert list(renamed.statuses) == ["x", "y", "z"]
    assert list(renamed.timestamps) == ["x", "y"]


def test_concatenating_keeps_rows_in_order_and_fills_unknown_timestamps(columns):
    without = FeatureColumns(columns.values, columns.statuses)
    both = FeatureColumns.concat([columns, without])
    assert both.values["a"].to_list() == [1, 2, None] * 2
    assert both.timestamps["a"].to_list() == [NOW, NOW - DAY, None, None, None, None]
    assert "c" not in both.timestamps
    assert both.statuses["a"] is both.statuses["b"]
    assert FeatureColumns.concat([columns]) is columns


def test_beside_puts_columns_together(columns):
    other = columns.rename({"a": "d", "b": "e", "c": "f"})
    both = FeatureColumns.beside([columns, other], 3)
    assert both.values.columns == ["a", "b", "c", "d", "e", "f"]
    assert set(both.statuses) == set("abcdef")
    assert set(both.timestamps) == {"a", "b", "d", "e"}
    assert len(FeatureColumns.beside([], 5)) == 5


def test_unanswered_has_names_dtypes_and_one_status():
    schema = pl.Schema({"a": pl.Int8(), "b": pl.List(pl.String())})
    nothing = FeatureColumns.unanswered(schema, 2, Status.ERROR)
    assert nothing.values.schema == schema
    assert nothing.values.null_count().row(0) == (2, 2)
    assert nothing.statuses["b"].to_list() == ["ERROR", "ERROR"]


# -- handing out ---------------------------------------------------------------------------------


def test_to_polars_puts_timestamps_and_statuses_after_their_feature(columns):
    assert_frame_equal(columns.to_polars(), columns.values)
    frame = columns.to_polars(timestamps=True, statuses=True)
    assert frame.columns[:3] == ["a", "a__event_timestamp", "a__status"]
    assert_series_equal(frame["a__event_timestamp"], columns.timestamps["a"], check_names=False)
    assert frame["c__event_timestamp"].null_count() == 3
    assert frame["c__event_timestamp"].dtype == pl.Datetime("us", "UTC")
    assert frame["a__status"].dtype == STATUS


def test_to_pandas_has_a_range_index_and_the_dtypes_asked_for(columns):
    frame = columns.to_pandas(timestamps=True, statuses=True)
    assert isinstance(frame.index, pd.RangeIndex)
    assert frame["a"].tolist() == [1, 2, pd.NA]
    assert frame["a"].dtype == pd.Int64Dtype()
    assert frame["a__status"].dtype == pd.CategoricalDtype([each.value for each in Status])
    arrow = columns.to_pandas(dtype_backend="pyarrow")
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in arrow.dtypes)


def test_to_dicts_gives_one_dict_a_row(columns):
    assert columns.to_dicts()[0] == {"a": 1, "b": "x", "c": 1.5}
    assert FeatureColumns(pl.DataFrame(height=2), {}).to_dicts() == [{}, {}]
    assert FeatureColumns(pl.DataFrame(height=2), {}).to_pandas().shape == (2, 0)


def test_statuses_are_words_and_their_order_is_fixed():
    assert list(Status) == [
        "PRESENT",
        "NULL",
        "NOT_FOUND",
        "EXPIRED",
        "FUTURE",
        "STALE",
        "ERROR",
    ]
    assert statuses("PRESENT")[0] == Status.PRESENT
