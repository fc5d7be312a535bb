"""Audits of frames: right ones, and such as know the future in one way or another."""

import datetime as dt

import polars as pl
import pytest

import featkit
from featkit.errors import InputError, KeyColumnError, LeakageError, TimestampError

from .conftest import HOUR

REFS = ["hourly:visits", "hourly:rate"]


def remade(constructor, frame):
    """Make a polars frame one of another library."""
    return constructor({column.name: column for column in frame})


def audit(constructor, client, frame, features=REFS, **options):
    return remade(constructor, frame).features.audit(features, at="at", store=client, **options)


def levels(report):
    return {(finding.column, finding.level) for finding in report.findings}


def joined(client, spine, *, later=dt.timedelta(), **options):
    """Join features as they were known at the moments, or later than that."""
    moved = spine.with_columns(pl.col("at") + later)
    made = client.get_historical_features(moved, REFS, at="at", **options).frame
    return made.with_columns(pl.col("at") - later)


# -- right ones ----------------------------------------------------------------------------------


def test_right_training_set_has_no_errors(constructor, client, spine):
    right = joined(client, spine, feature_timestamps=True)
    report = audit(constructor, client, right)
    assert report.ok
    assert report.level == "warning"
    assert [finding.check for finding in report.findings] == ["availability"]
    assert (report.rows, report.sampled) == (300, 300)


def test_right_training_set_of_what_was_written_has_no_findings(constructor, client, spine):
    right = joined(client, spine, known_by="created")
    report = audit(constructor, client, right, known_by="created")
    assert report.findings == ()
    assert report.level is None
    assert "nothing found" in str(report)


def test_sample_is_the_same_for_the_same_seed(client, spine):
    leaky = joined(client, spine, later=HOUR)
    first, second, third = (
        leaky.features.audit(REFS, at="at", store=client, sample=20, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first.sampled == 20
    assert first.findings[0].examples.equals(second.findings[0].examples)
    assert not first.findings[0].examples.equals(third.findings[0].examples)


# -- times ---------------------------------------------------------------------------------------


def test_feature_of_the_future_is_an_error_with_the_worst_first(constructor, client, spine):
    leaky = spine.with_columns(
        hourly__event_timestamp=pl.col("at")
        + pl.when(pl.col("shop") == 7).then(2 * HOUR).otherwise(HOUR * -1)
    )
    report = audit(constructor, client, leaky, ())
    (finding,) = report.findings
    assert (finding.level, finding.column) == ("error", "hourly__event_timestamp")
    assert (finding.rows, finding.examined, finding.share) == (10, 300, 10 / 300)
    assert finding.examples["later by"].to_list() == [2 * HOUR] * 5
    assert finding.message == "the feature is later than the moment of its row"


def test_feature_of_the_very_moment_is_fine(constructor, client, spine):
    fine = spine.with_columns(known_at="at")
    assert audit(constructor, client, fine, (), timestamps={"known_at": "hourly"}).findings == ()


def test_feature_with_the_timestamp_of_the_label_is_suspected(constructor, client, spine):
    suspect = spine.with_columns(
        known=pl.col("at") + HOUR, hourly__event_timestamp=pl.col("at") + HOUR
    )
    report = audit(constructor, client, suspect, (), label_time="known")
    assert {finding.message for finding in report.findings} == {
        "the feature is later than the moment of its row",
        "the feature has the timestamp of the label, and may hold it",
    }


def test_value_beyond_its_ttl_is_a_warning(constructor, client, spine):
    old = joined(client, spine).with_columns(hourly__event_timestamp=pl.col("at") - 7 * HOUR)
    report = audit(constructor, client, old, sample=0)
    assert levels(report) == {("hourly__event_timestamp", "warning")}
    assert "older than its ttl" in report.findings[0].message


# -- values --------------------------------------------------------------------------------------


def test_values_of_the_next_row_are_an_error(constructor, client, spine):
    report = audit(constructor, client, joined(client, spine, later=HOUR))
    assert not report.ok
    assert {("visits", "error"), ("rate", "error")} <= levels(report)
    assert "the next row, which was not known yet" in report.findings[0].message
    assert report.findings[0].examples.columns == ["row", "shop", "at", "found", "expected"]


def test_latest_values_are_an_error(constructor, client, spine):
    frame = spine.features.enrich(REFS, store=client, expired="keep").with_columns()
    report = audit(constructor, client, frame)
    assert {("visits", "error"), ("rate", "error")} <= levels(report)
    assert any("latest row" in finding.message for finding in report.findings)


def test_values_beyond_their_ttl_are_a_warning(constructor, client, spine):
    late = spine.with_columns(pl.col("at") + 50 * HOUR)
    report = audit(constructor, client, joined(client, late, lookback={"hourly": None}))
    assert ("visits", "warning") in levels(report)
    assert any("older than its ttl" in finding.message for finding in report.findings)


def test_lost_values_and_invented_ones_are_told_apart(constructor, client, spine):
    right = joined(client, spine)
    wrong = right.with_columns(
        visits=pl.when(pl.int_range(pl.len()) < 10).then(None).otherwise("visits"),
        rate=pl.when(pl.int_range(pl.len()) < 20).then(-1.0).otherwise("rate"),
    )
    found = {
        (finding.column, finding.rows): finding.message
        for finding in audit(constructor, client, wrong).findings
        if finding.check == "values"
    }
    assert found == {
        ("visits", 10): "the value is null although one was known",
        ("rate", 20): "the value is another one than the store had then",
    }


def test_foreign_names_are_mapped(constructor, client, spine):
    foreign = joined(client, spine).rename({"visits": "n", "shop": "id"})
    report = audit(constructor, client, foreign, {"n": "hourly:visits"}, on={"shop": "id"})
    assert report.ok
    assert report.sampled == 300


def test_full_names_are_found(constructor, client, spine):
    full = joined(client, spine, full_feature_names=True)
    assert audit(constructor, client, full).ok


def test_a_tiny_difference_is_none(client, spine):
    right = joined(client, spine)
    rounded = right.with_columns(pl.col("rate") * (1 + 1e-12))
    report = rounded.features.audit(REFS, at="at", store=client, known_by="event")
    assert report.ok
    strict = rounded.features.audit(REFS, at="at", store=client, tolerance=0)
    assert ("rate", "warning") in levels(strict)


def test_availability_counts_what_would_change(client, spine):
    report = joined(client, spine).features.audit(REFS, at="at", store=client)
    (finding,) = report.findings
    assert (finding.check, finding.column, finding.rows) == ("availability", "hourly", 300)
    assert "rows are written 2h after their event in the median" in finding.message


# -- labels --------------------------------------------------------------------------------------


def test_feature_that_tells_the_label_is_suspected(constructor, client, spine):
    frame = joined(client, spine).with_columns(n=pl.col("label") * 10 + pl.col("shop") / 100)
    report = frame.pipe(remade_by(constructor)).features.audit(
        {"n": "hourly:visits"}, at="at", label="label", store=client, sample=0
    )
    (finding,) = report.findings
    assert finding.check == "label"
    assert "area under the curve 1.000" in finding.message


def test_feature_that_goes_with_a_numeric_label_is_suspected(client, spine):
    frame = joined(client, spine).with_columns(label=pl.col("visits") * 2.0)
    report = frame.features.audit(REFS, at="at", label="label", store=client, sample=0)
    assert [finding.column for finding in report.findings] == ["visits"]
    assert "correlation of ranks 1.000" in report.findings[0].message


def remade_by(constructor):
    return lambda frame: remade(constructor, frame)


# -- what comes of it ----------------------------------------------------------------------------


def test_raise_on_raises_with_the_report(client, spine):
    leaky = joined(client, spine, later=HOUR)
    with pytest.raises(LeakageError, match="the next row") as caught:
        leaky.features.audit(REFS, at="at", store=client, raise_on="error")
    assert not caught.value.partial.ok
    right = joined(client, spine)
    assert right.features.audit(REFS, at="at", store=client, raise_on="error").ok
    with pytest.raises(LeakageError, match="known_by='created'"):
        right.features.audit(REFS, at="at", store=client, raise_on="warning")


def test_report_as_page_escapes_what_it_shows(client, spine, tmp_path):
    leaky = joined(client, spine, later=HOUR).rename({"visits": "<b>&n"})
    report = leaky.features.audit({"<b>&n": "hourly:visits"}, at="at", store=client)
    report.to_html(tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text()
    assert "<b>&n" not in page
    assert "&lt;b&gt;&amp;n" in page
    assert "color-scheme: light dark" in page
    assert "&lt;b&gt;" in report._repr_html_()


def test_findings_as_a_frame(client, spine):
    report = joined(client, spine, later=HOUR).features.audit(REFS, at="at", store=client)
    rows = report.to_polars()
    assert rows.height == len(report.findings)
    assert rows["level"][0] == "error"


@pytest.mark.anyio
async def test_audit_async_equals_audit(history_folder, spine):
    client = featkit.connect_async(f"parquet:{history_folder}")
    report = await spine.with_columns(visits=0, rate=0.0).features.audit_async(
        REFS, at="at", store=client
    )
    again = spine.with_columns(visits=0, rate=0.0).features.audit(REFS, at="at", store=client)
    assert str(report) == str(again)


# -- bad input -----------------------------------------------------------------------------------


def test_frame_without_the_feature_is_refused(constructor, client, spine):
    with pytest.raises(KeyColumnError, match=r"no column for 'hourly:visits'.*features=\{<column>"):
        audit(constructor, client, spine)


def test_frame_without_the_moments_is_refused(constructor, client, spine):
    with pytest.raises(KeyColumnError, match="at='when': the frame has no such column"):
        remade(constructor, spine).features.audit((), at="when", store=client)


def test_naive_moments_are_refused(constructor, client, spine):
    naive = spine.with_columns(pl.col("at").dt.replace_time_zone(None))
    with pytest.raises(TimestampError, match="naive"):
        audit(constructor, client, naive, ())


def test_column_of_timestamps_that_is_none_is_refused(client, spine):
    with pytest.raises(KeyColumnError, match=r"timestamps= names 'nope'"):
        spine.features.audit((), at="at", store=client, timestamps={"nope": "hourly"})


@pytest.mark.parametrize("options", [{"raise_on": "fatal"}, {"sample": -1}, {"tolerance": -1}])
def test_wrong_options_are_refused(client, spine, options):
    with pytest.raises(InputError):
        spine.features.audit((), at="at", store=client, **options)


def test_empty_frame_is_fine(constructor, client, spine):
    empty = joined(client, spine).clear()
    report = audit(constructor, client, empty)
    assert (report.rows, report.sampled, report.findings) == (0, 0, ())
