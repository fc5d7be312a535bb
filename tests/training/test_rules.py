"""The rules of a training set, each on every kind of frame."""

import datetime as dt

import pandas as pd
import polars as pl
import pytest

import featkit
from featkit.errors import (
    InputError,
    KeyColumnError,
    KeyTypeError,
    NameClashError,
    TimestampError,
)

from .conftest import DAY, hours

US = pl.Datetime("us", "UTC")


@pytest.fixture
def two_rows(history):
    """One entity with a row at one o'clock and one at three."""
    history.write({"k": [1, 1], "t": hours(1, 3), "x": [10, 30]})
    return history


# -- 1. one row for each row of the spine --------------------------------------------------------


def test_rows_order_and_own_columns_stay(two_rows):
    spine = {
        "note": ["c", "a", "b", "a"],
        "k": [1, 2, 1, 1],
        "at": hours(4, 4, 2, 2),
        "y": [0.5, None, 1.5, 1.5],
    }
    made, frame = two_rows.join(spine)
    two_rows.constructor.assert_own_columns_kept(frame, made.frame, added=["x"])
    assert two_rows.constructor.values(made.frame, "x") == [30, None, 10, 10]
    assert made.report.rows == 4


def test_duplicates_stay(two_rows):
    assert two_rows.values({"k": [1] * 5, "at": hours(*[3] * 5)}) == [30] * 5


def test_index_of_pandas_stays(history, pandas_constructor):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    frame = pandas_constructor({"k": [1, 2], "at": hours(2, 2)}).set_index(pd.Index(["b", "a"]))
    client = featkit.connect(f"parquet:{history.folder}")
    made = client.get_historical_features(frame, "v:x", at="at").frame
    assert list(made.index) == ["b", "a"]
    assert pandas_constructor.values(made, "x") == [10, None]


def test_keys_that_look_alike_when_joined_are_told_apart(history):
    keys = {"a": [1, 11], "b": [11, 1]}
    history.write({**keys, "t": hours(1, 1), "x": [111, 1111]}, keys=["a", "b"])
    assert history.values({**keys, "at": hours(2, 2)}) == [111, 1111]
    texts = {"a": ["x_", "x"], "b": ["y", "_y"]}
    history.write({**texts, "t": hours(1, 1), "x": [1, 2]}, keys=["a", "b"], name="w")
    assert history.values({**texts, "at": hours(2, 2)}, "w:x") == [1, 2]


# -- 2. what is visible --------------------------------------------------------------------------


def test_row_of_the_very_moment_counts(two_rows):
    assert two_rows.values({"k": [1, 1], "at": hours(3, 2.999)}) == [30, 10]


def test_strict_leaves_the_very_moment_out(two_rows):
    spine = {"k": [1, 1, 1], "at": hours(1, 3, 3.001)}
    assert two_rows.values(spine, strict=True) == [None, 10, 30]


def test_row_as_old_as_the_ttl_counts(history):
    history.write({"k": [1], "t": hours(1), "x": [10]}, ttl="2h")
    just_past = DAY + dt.timedelta(hours=3, microseconds=1)
    spine = {"k": [1, 1], "at": pl.Series([DAY + dt.timedelta(hours=3), just_past], dtype=US)}
    made, _ = history.join(spine)
    assert history.constructor.values(made.frame, "x") == [10, None]
    assert (made.report.views[0].hit, made.report.views[0].expired) == (1, 1)


def test_no_ttl_is_no_limit(history):
    history.write({"k": [1], "t": [dt.datetime(1970, 1, 1, tzinfo=dt.UTC)], "x": [10]})
    assert history.values({"k": [1], "at": hours(0)}) == [10]


def test_ttl_of_zero_is_the_very_moment_only(history):
    history.write({"k": [1], "t": hours(1), "x": [10]}, ttl="0s")
    assert history.values({"k": [1, 1], "at": hours(1, 1.001)}) == [10, None]


def test_lookback_replaces_the_ttl(history):
    history.write({"k": [1], "t": hours(1), "x": [10]}, ttl="2h")
    spine = {"k": [1, 1], "at": hours(2, 4)}
    assert history.values(spine) == [10, None]
    assert history.values(spine, lookback="30m") == [None, None]
    assert history.values(spine, lookback={"v": "3h"}) == [10, 10]
    assert history.values(spine, lookback={"v": None}) == [10, 10]


# -- 3. which row wins ---------------------------------------------------------------------------


def test_latest_event_wins_whatever_the_order_of_writing(history):
    history.write({"k": [1, 1], "t": hours(1, 2), "c": hours(9, 3), "x": [10, 20]}, created=True)
    assert history.values({"k": [1], "at": hours(10)}) == [20]


def test_of_equal_events_the_last_written_wins(history):
    rows = {"k": [1] * 3, "t": hours(1, 1, 1), "c": hours(2, 4, 3), "x": [10, 20, 30]}
    history.write(rows, created=True)
    made, _ = history.join({"k": [1], "at": hours(5)})
    assert history.constructor.values(made.frame, "x") == [20]
    assert made.report.views[0].tied == 1


def test_of_equal_rows_the_last_in_the_source_wins(history):
    history.write({"k": [1] * 4, "t": hours(1, 1, 1, 0), "x": [10, 20, 30, 0]})
    made, _ = history.join({"k": [1, 1], "at": hours(5, 0.5)})
    assert history.constructor.values(made.frame, "x") == [30, 0]
    assert made.report.views[0].tied == 1


def test_null_value_is_an_answer(history):
    history.write({"k": [1, 1], "t": hours(1, 2), "x": [10, None], "y": [1, 2]})
    made, _ = history.join({"k": [1], "at": hours(3)}, ["v:x", "v:y"])
    assert history.constructor.values(made.frame, "x") == [None]
    assert history.constructor.values(made.frame, "y") == [2]
    assert made.report.views[0].hit == 1
    assert made.report.views[0].null_values == {"x": 1, "y": 0}


# -- 4. nulls never match ------------------------------------------------------------------------


def test_null_keys_and_times_of_the_spine_stay_without_features(two_rows):
    made, _ = two_rows.join({"k": [None, 1, 1], "at": hours(4, None, 4)})
    assert two_rows.constructor.values(made.frame, "x") == [None, None, 30]
    assert made.report.views[0].null_key_or_time == 2


def test_null_keys_and_times_of_a_view_match_nothing(history):
    history.write({"k": [None, 1, 1], "t": hours(1, None, 1), "x": [0, 99, 10]})
    assert history.values({"k": [None, 1, 1], "at": hours(4, 4, None)}) == [None, 10, None]


def test_spine_of_nothing_but_nulls(two_rows):
    nulls = pl.Series([None, None], dtype=pl.Int64)
    made, _ = two_rows.join({"k": nulls, "at": hours(None, None)})
    assert two_rows.constructor.values(made.frame, "x") == [None, None]


# -- 5. from when on a row is known --------------------------------------------------------------


@pytest.fixture
def revised(history):
    """An event at one o'clock, written at two and corrected at four; another, written late."""
    history.write(
        {
            "k": [1, 1, 1],
            "t": hours(1, 1, 3),
            "c": hours(2, 4, 6),
            "x": [10, 11, 30],
        },
        created=True,
    )
    return history


def test_known_by_event_ignores_when_rows_were_written(revised):
    assert revised.values({"k": [1, 1], "at": hours(1, 3)}) == [11, 30]


def test_known_by_created_takes_the_revision_known_then(revised):
    spine = {"k": [1] * 5, "at": hours(1, 2, 4, 5, 6)}
    made, _ = revised.join(spine, known_by="created")
    assert revised.constructor.values(made.frame, "x") == [None, 10, 11, 11, 30]
    (view,) = made.report.views
    assert (view.future_only, view.tied) == (1, 2)


def test_late_correction_of_an_old_event_does_not_hide_a_newer_one(history):
    rows = {"k": [1, 1, 1], "t": hours(1, 3, 1), "c": hours(1, 3, 5), "x": [10, 30, 11]}
    history.write(rows, created=True)
    assert history.values({"k": [1], "at": hours(6)}, known_by="created") == [30]


def test_created_before_its_event_is_known_from_the_event_on(history):
    history.write({"k": [1], "t": hours(3), "c": hours(1), "x": [30]}, created=True)
    spine = {"k": [1, 1], "at": hours(2, 3)}
    assert history.values(spine, known_by="created") == [None, 30]


def test_row_without_created_counts_as_written_at_its_event(history):
    history.write({"k": [1], "t": hours(1), "c": hours(None), "x": [10]}, created=True)
    assert history.values({"k": [1], "at": hours(1)}, known_by="created") == [10]


def test_strict_with_created_leaves_out_the_moment_of_the_event_only(history):
    history.write({"k": [1, 2], "t": hours(1, 1), "c": hours(2, 1), "x": [10, 20]}, created=True)
    spine = {"k": [1, 2, 2], "at": hours(2, 1, 1.5)}
    made, _ = history.join(spine, known_by="created", strict=True)
    assert history.constructor.values(made.frame, "x") == [10, None, 20]
    assert "once it was written (created timestamp), with an event before" in (
        made.report.views[0].rule
    )


def test_delay_keeps_rows_back(two_rows):
    spine = {"k": [1] * 4, "at": hours(1, 2, 3, 4)}
    made, _ = two_rows.join(spine, known_by={"v": "1h"})
    assert two_rows.constructor.values(made.frame, "x") == [None, 10, 10, 30]


def test_age_counts_from_the_event_whatever_the_delay(history):
    history.write({"k": [1], "t": hours(1), "x": [10]}, ttl="2h")
    spine = {"k": [1, 1], "at": hours(3, 3.5)}
    assert history.values(spine, known_by={"v": "1h"}) == [10, None]


def test_view_without_created_says_so(two_rows):
    made, _ = two_rows.join({"k": [1], "at": hours(3)}, known_by="created")
    assert two_rows.constructor.values(made.frame, "x") == [30]
    assert "no created timestamp" in str(made.report)


def test_created_asked_of_a_view_that_has_none_is_refused(two_rows):
    with pytest.raises(InputError, match="no created timestamp; give a delay"):
        two_rows.join({"k": [1], "at": hours(3)}, known_by={"v": "created"})


# -- 6. times ------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_units_and_zones_do_not_matter(two_rows, unit, zone):
    at = hours(3, 2).dt.convert_time_zone(zone).cast(pl.Datetime(unit, zone))
    made, frame = two_rows.join({"k": [1, 1], "at": at})
    assert two_rows.constructor.values(made.frame, "x") == [30, 10]
    two_rows.constructor.assert_own_columns_kept(frame, made.frame, added=["x"])


def test_moments_of_pandas_may_be_at_an_offset_that_no_zone_has(tmp_path):
    view = pl.DataFrame({"k": [1, 1], "t": hours(1, 3), "x": [10, 30]})
    featkit.write_view(tmp_path, view, name="v", join_keys="k", timestamp="t")
    featkit.connect(f"parquet:{tmp_path}")
    offset = dt.timezone(dt.timedelta(hours=5, minutes=45))
    spine = pd.DataFrame({"k": [1, 1], "at": hours(3, 2).to_list()})
    spine["at"] = spine["at"].dt.tz_convert(offset)
    made = featkit.features(spine).training_set("v:x", at="at")
    assert made["x"].tolist() == [30, 10]
    pd.testing.assert_frame_equal(made[["k", "at"]], spine)


@pytest.mark.parametrize("unit", ["ms", "ns"])
def test_units_and_zones_of_files_do_not_matter(history, unit):
    t = hours(1, 3).dt.convert_time_zone("Europe/Paris").cast(pl.Datetime(unit, "Europe/Paris"))
    folder = history.folder
    folder.mkdir()
    pl.DataFrame({"k": [1, 1], "t": t, "x": [10, 30]}).write_parquet(folder / "v.parquet")
    (folder / "feature_views.toml").write_text(
        '[views.v]\nsource = "v.parquet"\njoin_keys = ["k"]\ntimestamp = "t"\n'
    )
    assert history.values({"k": [1, 1, 1], "at": hours(0.5, 2.9, 3)}) == [None, 10, 30]


def test_naive_moments_are_refused_with_the_fix(two_rows):
    naive = hours(3).dt.replace_time_zone(None)
    with pytest.raises(TimestampError, match=r"moments in 'at' are naive.*timezone='UTC'"):
        two_rows.join({"k": [1], "at": naive})


def test_naive_moments_are_read_in_the_zone_that_is_told(two_rows):
    naive = hours(3, 2).dt.convert_time_zone("Europe/Paris").dt.replace_time_zone(None)
    frame = two_rows.constructor({"k": [1, 1], "at": naive})
    client = featkit.connect(f"parquet:{two_rows.folder}", timezone="Europe/Paris")
    made = client.get_historical_features(frame, "v:x", at="at")
    assert two_rows.constructor.values(made.frame, "x") == [30, 10]
    two_rows.constructor.assert_own_columns_kept(frame, made.frame, added=["x"])


def test_moment_that_came_twice_is_refused(two_rows):
    twice = pl.Series([dt.datetime(2024, 10, 27, 2, 30)])  # noqa: DTZ001 - naive is the point
    frame = two_rows.constructor({"k": [1], "at": twice})
    client = featkit.connect(f"parquet:{two_rows.folder}", timezone="Europe/Paris")
    with pytest.raises(TimestampError, match="came twice or never in Europe/Paris"):
        client.get_historical_features(frame, "v:x", at="at")


def test_column_that_is_no_time_is_refused(two_rows):
    with pytest.raises(TimestampError, match=r"at='at': the column is int64, not a timestamp"):
        two_rows.join({"k": [1], "at": [5]})


@pytest.mark.parametrize(
    "at",
    [
        pl.Series([None, 10**17], dtype=pl.Datetime("ms", "UTC")),
        pl.Series([None, 2**62], dtype=pl.Datetime("us", "UTC")),
        pl.Series([None, -(2**63)], dtype=pl.Datetime("us", "UTC")),
    ],
    ids=["ms", "us", "earliest"],
)
def test_moment_that_no_calendar_holds_is_refused(two_rows, at):
    """It is in no pandas frame of numpy's dtypes, whose lowest number is null."""
    rows = pl.DataFrame({"k": [1, 1], "at": at})
    arrow = rows.to_arrow().to_pandas(types_mapper=pd.ArrowDtype)
    with featkit.connect(f"parquet:{two_rows.folder}") as client:
        for frame in (rows, rows.lazy(), arrow):
            with pytest.raises(TimestampError, match="in 'at' must lie in the years 1 to 9999"):
                client.get_historical_features(frame, "v:x", at="at")


def test_first_and_last_moment_of_the_calendar_are_taken(two_rows):
    ends = [dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)]
    assert two_rows.values({"k": [1, 1], "at": ends}) == [None, 30]


@pytest.mark.parametrize("odd", [DAY.replace(tzinfo=None), "noon"])
def test_moments_of_several_kinds_are_refused_by_the_name_of_their_column(two_rows, odd):
    frame = pd.DataFrame({"k": [1, 1], "at": pd.Series([DAY, odd], dtype=object)})
    with (
        featkit.connect(f"parquet:{two_rows.folder}") as client,
        pytest.raises(TimestampError, match=r"^column 'at': it mixes"),
    ):
        client.get_historical_features(frame, "v:x", at="at")


def test_several_columns_of_moments_are_refused(two_rows):
    frame = pd.DataFrame({"k": [1], "at": [DAY], "then": [DAY]}).set_axis(["k", "at", "at"], axis=1)
    with (
        featkit.connect(f"parquet:{two_rows.folder}") as client,
        pytest.raises(KeyColumnError, match=r"^at='at': the frame has 2 columns of that name"),
    ):
        client.get_historical_features(frame, "v:x", at="at")


# -- 7. keys -------------------------------------------------------------------------------------


def test_keys_are_cast_without_loss(history):
    history.write({"k": pl.Series([1, 2], dtype=pl.Int32), "t": hours(1, 1), "x": [10, 20]})
    assert history.values({"k": [2, 3], "at": hours(2, 2)}) == [20, None]
    with pytest.raises(KeyTypeError, match=r"1099511627776 .*cannot become one without loss"):
        history.join({"k": [2, 2**40], "at": hours(2, 2)})


def test_key_of_another_type_is_refused_naming_both(two_rows):
    with pytest.raises(KeyTypeError, match=r"'k' of feature view 'v' is int64.*is string"):
        two_rows.join({"k": ["1"], "at": hours(3)})


@pytest.mark.parametrize(
    "keys",
    [
        pl.Series(["a", "", "ä"]),
        pl.Series([True, False, True]),
        pl.Series([dt.date(2024, 1, 1), dt.date(1900, 1, 1), dt.date(2100, 1, 1)]),
        pl.Series([b"\x00", b"", b"\xff"]),
        pl.Series([-0.0, 0.5, 1e300]),
        pl.Series([-(2**63), 2**63 - 1, 0]),
        pl.Series([0, 2**64 - 1, 5], dtype=pl.UInt64),
        hours(1, 2, 3),
    ],
    ids=["text", "bool", "date", "bytes", "float", "int64", "uint64", "time"],
)
def test_keys_of_every_type(history, keys):
    history.write({"k": keys, "t": hours(1, 1, 1), "x": [1, 2, 3]})
    last = [1, 2, 3] if keys.n_unique() == 3 else [3, 2, 3]
    assert history.values({"k": keys, "at": hours(2, 2, 2)}) == last


def test_zero_has_no_sign(history):
    history.write({"k": [0.0, -0.0], "t": hours(1, 2), "x": [1, 2]})
    made, _ = history.join({"k": [-0.0, 0.0], "at": hours(1, 2)})
    assert history.constructor.values(made.frame, "x") == [1, 2]


# -- 8. names ------------------------------------------------------------------------------------


def test_feature_named_like_a_column_of_the_spine_is_refused(two_rows):
    with pytest.raises(NameClashError, match=r"'v:x' and a column .* 'x'; full_feature_names=True"):
        two_rows.join({"k": [1], "at": hours(3), "x": [0]})


def test_full_names_resolve_a_clash(two_rows):
    spine = {"k": [1], "at": hours(3), "x": [0]}
    assert two_rows.values(spine, column="v__x", full_feature_names=True) == [30]


def test_two_features_of_one_name_are_refused_with_the_fix(two_rows):
    two_rows.write({"k": [1], "t": hours(1), "x": [7]}, name="w")
    with pytest.raises(NameClashError, match=r"'v:x' and 'w:x'.*full_feature_names=True"):
        two_rows.join({"k": [1], "at": hours(3)}, ["v:x", "w:x"])
    spine = {"k": [1], "at": hours(3)}
    both = ["v:x", "w:x"]
    assert two_rows.values(spine, both, "w__x", full_feature_names=True) == [7]


def test_timestamp_column_that_is_taken_is_refused(two_rows):
    spine = {"k": [1], "at": hours(3), "v__event_timestamp": [0]}
    with pytest.raises(NameClashError, match="'v__event_timestamp'"):
        two_rows.join(spine, feature_timestamps=True)


# -- 9. timestamps and report --------------------------------------------------------------------


def test_feature_timestamps_tell_which_row_was_chosen(two_rows):
    made, frame = two_rows.join({"k": [1, 1, 2], "at": hours(4, 2, 2)}, feature_timestamps=True)
    added = ["x", "v__event_timestamp"]
    two_rows.constructor.assert_own_columns_kept(frame, made.frame, added=added)
    stamps = two_rows.constructor.values(made.frame, "v__event_timestamp")
    assert [None if each is None else pd.Timestamp(each) for each in stamps] == [
        pd.Timestamp(DAY + dt.timedelta(hours=3)),
        pd.Timestamp(DAY + dt.timedelta(hours=1)),
        None,
    ]


def test_report_counts_every_row_once(history):
    history.write(
        {"k": [1, 1, 2, 3, 4, 4], "t": hours(1, 2, 9, 1, 1, 1), "x": [None, 5, 1, 1, 1, None]},
        ttl="3h",
    )
    spine = {"k": [1, 1, 2, 3, 4, 9, None, 1], "at": hours(1, 2, 3, 9, 2, 2, 2, None)}
    made, _ = history.join(spine)
    (view,) = made.report.views
    assert view.hit == 3
    assert view.null_values == {"x": 2}
    assert view.future_only == 1
    assert view.expired == 1
    assert view.unknown_entity == 1
    assert view.null_key_or_time == 2
    assert view.tied == 1
    assert made.report.rows == 8


# -- 10. whatever the files look like ------------------------------------------------------------


def test_files_unsorted_and_many(history):
    folder = history.folder / "v"
    folder.mkdir(parents=True)
    rows = pl.DataFrame(
        {"k": [2, 1, 1, 2, 1], "t": hours(1, 3, 1, 3, 2), "x": [21, 13, 11, 23, 12]}
    )
    for place in range(rows.height):
        rows[place].write_parquet(folder / f"{place}.parquet")
    rows.clear().write_parquet(folder / "empty.parquet")
    (history.folder / "feature_views.toml").write_text(
        '[views.v]\nsource = "v/*.parquet"\njoin_keys = ["k"]\ntimestamp = "t"\n'
    )
    spine = {"k": [1, 1, 2, 2], "at": hours(2.5, 9, 2.5, 9)}
    assert history.values(spine) == [12, 13, 21, 23]


def test_empty_view(history):
    rows = {"k": pl.Series([], dtype=pl.Int64), "t": hours(), "x": pl.Series([], dtype=pl.Int64)}
    history.write(rows)
    made, frame = history.join({"k": [1, 2], "at": hours(1, 2)}, feature_timestamps=True)
    added = ["x", "v__event_timestamp"]
    history.constructor.assert_own_columns_kept(frame, made.frame, added=added)
    assert history.constructor.values(made.frame, "x") == [None, None]
    assert made.report.views[0].unknown_entity == 2


def test_empty_spine(two_rows):
    spine = {"k": pl.Series([], dtype=pl.Int64), "at": hours()}
    made, frame = two_rows.join(spine)
    two_rows.constructor.assert_own_columns_kept(frame, made.frame, added=["x"])
    assert made.report.rows == 0
    full, _ = two_rows.join({"k": [1], "at": hours(3)})
    assert (
        two_rows.constructor.dtypes(made.frame)["x"] == two_rows.constructor.dtypes(full.frame)["x"]
    )


def test_static_view_is_joined_as_such_and_said(history):
    history.write({"k": [1, 1, 2], "x": [1, 2, 3]}, timestamp=None)
    made, _ = history.join({"k": [1, 2, 3], "at": hours(0, 1, 2)}, feature_timestamps=True)
    assert history.constructor.values(made.frame, "x") == [2, 3, None]
    assert "v: static" in str(made.report)
    assert made.report.views[0].rule == "the last row of the entity counts, whatever the moment"
    assert "v__event_timestamp" not in history.constructor.names(made.frame)
