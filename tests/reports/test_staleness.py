"""The staleness report: what it says, and what can be taken along."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit.errors import FeatkitError, InputError, StalenessError, UnknownNameError
from featkit.reports.rows import SCHEMAS
from featkit.testing import MemoryStore, described

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2024, 5, 1, tzinfo=UTC)


# -- verdicts ------------------------------------------------------------------------------------


def test_worst_view_decides(report):
    assert {view.view: view.verdict for view in report.views} == {
        "good": "pass",
        "late": "warn",
        "old": "error",
        "static": "unknown",
        "lost": "failed",
        "endless": "unknown",
    }
    assert report.verdict == "failed"


@pytest.mark.parametrize(
    ("fail_on", "failing"),
    [
        ("error", ["old", "lost"]),
        ("warn", ["late", "old", "lost"]),
        ("unknown", ["late", "old", "static", "lost", "endless"]),
    ],
)
def test_assert_fresh_names_what_fails_and_why(report, fail_on, failing):
    assert [view.view for view in report.failures(fail_on)] == failing
    with pytest.raises(StalenessError) as caught:
        report.assert_fresh(fail_on)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("is not fresh at 2024-05-01 12:00 UTC:")
    assert lines[1:] == [
        f"  {name}: {report[name].verdict}: {report[name].reason}" for name in failing
    ]
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, FeatkitError)


def only(*names, of):
    return featkit.StalenessReport(
        target=of.target, now=of.now, views=tuple(of[name] for name in names)
    )


def test_assert_fresh_lets_pass_and_warn_through(report):
    only("good", "late", "static", of=report).assert_fresh()
    only("good", of=report).assert_fresh("unknown")


@pytest.mark.parametrize("names", [["static"], ["static", "endless"], []])
def test_what_cannot_be_judged_is_not_called_fresh(report, names):
    with pytest.raises(StalenessError, match="cannot be judged"):
        only(*names, of=report).assert_fresh()


def test_options_that_are_none(report):
    with pytest.raises(InputError, match="fail_on='never' is not an option"):
        report.assert_fresh("never")
    with pytest.raises(InputError, match="by='row' is not an option"):
        report.to_polars(by="row")
    with pytest.raises(UnknownNameError, match="did you mean 'good'"):
        report["god"]


# -- the oldest ----------------------------------------------------------------------------------


def test_worst_lists_the_oldest_entities_of_all_views(report):
    oldest = report.worst(4)
    assert oldest.select("view", "entity", "age").rows() == [
        ("old", "2", 50 * HOUR),
        ("old", "1", 30 * HOUR),
        ("late", "1", 20 * HOUR),
        ("endless", "1", 8 * HOUR),
    ]
    assert oldest["ttl"].to_list() == [DAY, DAY, DAY, None]
    assert oldest["event_timestamp"][0] == NOON - 50 * HOUR
    assert report.worst(100).height == 11
    assert report.worst(0).height == 0


def test_entities_are_told_by_their_keys():
    frame = pl.DataFrame(
        {"a": ["x", "x"], "b": [1, 2], "c": [b"\0\xff", b"k"], "at": [NOON, NOON - HOUR], "v": 1}
    )
    view = described(frame, name="v", join_keys=["a", "b", "c"], timestamp="at")
    found = featkit.connect(MemoryStore([view]), now=NOON).staleness()
    assert found.worst()["entity"].to_list() == ["x,2,6b", "x,1,00ff"]
    assert found["v"].times.columns == ["a", "b", "c", "event_timestamp"]
    nobody = featkit.connect(MemoryStore([]), now=NOON).staleness()
    assert (nobody.worst().rows(), nobody.verdict) == ([], "unknown")
    assert nobody.worst().schema == found.worst().schema


# -- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["feature", "view"])
def test_frames_have_the_same_dtypes_whatever_was_found(report, by):
    full, empty = report.to_polars(by), only(of=report).to_polars(by)
    assert full.schema == empty.schema == pl.Schema(SCHEMAS[by])
    assert full.height == {"feature": 10, "view": 6}[by]
    pandas = report.to_pandas(by)
    assert isinstance(pandas, pd.DataFrame)
    assert list(pandas.columns) == full.columns
    assert str(pandas["n"].dtype) == "Int64"
    assert str(pandas["age_max"].dtype) == "timedelta64[us]"
    assert str(pandas["newest"].dtype) == "datetime64[us, UTC]"
    assert_frame_equal(pl.DataFrame(report.to_dicts(by), schema=full.schema), full)


def test_rows_tell_counts_ages_and_verdicts(report):
    row = report.to_polars().filter(view="old", feature="x").row(0, named=True)
    assert {name: row[name] for name in ("n", "present", "expired", "null", "missing")} == {
        "n": 3,
        "present": 1,
        "expired": 2,
        "null": 0,
        "missing": 0,
    }
    assert (row["age_p50"], row["age_max"], row["headroom"]) == (30 * HOUR, 50 * HOUR, -26 * HOUR)
    assert (row["ttl"], row["warn_after"], row["error_after"]) == (DAY, DAY * 0.8, DAY)
    whole = report.to_polars("view").filter(view="good").row(0, named=True)
    assert (whole["lag_compared"], whole["lag_behind"], whole["lag_max"]) == (4, 2, 2 * HOUR)
    assert (whole["share_expired"], whole["view_freshness"]) == (0.0, HOUR)
    assert (whole["cadence"], whole["overdue"]) == (None, None)  # too few arrivals
    static = report.to_polars("view").filter(view="static").row(0, named=True)
    assert (static["share_expired"], static["timestamp_level"]) == (None, "static")


# -- JSON ----------------------------------------------------------------------------------------


def test_json_holds_all_of_it_in_seconds_and_utc(report, tmp_path):
    path = tmp_path / "new" / "report.json"
    text = report.to_json(path)
    assert path.read_text("utf-8") == text
    read = json.loads(text)
    assert (read["target"], read["now"], read["verdict"]) == (
        report.target,
        "2024-05-01T12:00:00Z",
        "failed",
    )
    views = {view["view"]: view for view in read["views"]}
    assert list(views) == [view.view for view in report.views]
    old = views["old"]
    assert (old["age_max_seconds"], old["ttl_seconds"], old["newest"]) == (
        180_000.0,
        86_400.0,
        "2024-05-01T11:00:00Z",
    )
    assert old["join_keys"] == ["shop"]
    assert [feature["expired"] for feature in old["features"]] == [2, 2]
    assert views["endless"]["ttl_seconds"] is None
    assert views["lost"]["features"] == []


def test_json_of_harmful_names_is_json(evil):
    read = json.loads(evil.to_json())
    assert read["views"][0]["view"].startswith("<img src=x")


def test_a_place_that_cannot_be_written_is_told(report, tmp_path):
    (tmp_path / "file").write_text("", "utf-8")
    for write in (report.to_json, report.to_html, report.to_junit, report.record):
        with pytest.raises(InputError, match="cannot be written"):
            write(tmp_path / "file" / "report")


# -- text ----------------------------------------------------------------------------------------


def test_text_fits_in_words(report):
    lines = str(report).splitlines()
    assert lines[0].startswith("staleness of <MemoryStore good, late")
    assert lines[0].endswith("at 2024-05-01 12:00 UTC: failed")
    assert lines[1].split() == [
        *("view", "verdict", "entities", "newest", "p50", "p95", "oldest", "ttl", "expired"),
        *("arrives", "next", "due"),
    ]
    assert lines[4].split() == ["old", "error", "3", "1h", "1d6h", "2d2h", "2d2h", "1d", "66.7%"]
    assert "lost: the disk of lost is full" in lines
    assert "good: online against offline: 2 of 4 behind, by 2h at most" in lines
    assert repr(report) == str(report)


def test_nulls_stand_beside_the_share_that_expired(tmp_path):
    """They do not expire, so that the share alone contradicts the reason beside it."""
    ages = [1, 1, 50, 50]
    rows = {"k": range(4), "t": [NOW - age * HOUR for age in ages], "x": [1, None, None, 4]}
    frame = pl.DataFrame(rows)
    featkit.write_view(tmp_path, frame, name="v", join_keys="k", timestamp="t", ttl="1d")
    with featkit.connect(f"parquet:{tmp_path}", now=NOW) as client:
        report = client.staleness()
        header, cells = report.table()
        assert cells[header.index("expired")] == "25.0%, 50.0% null"
        assert report["v"].reason.startswith("2 of 4 entities older than 1d")
        header, cells = client.staleness(["v:*"], [0, 3]).table()
        assert cells[header.index("expired")] == "50.0%"
