"""Audits of frames: right ones, and such as know the future in one way or another."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest

import featkit
from featkit.audits.checks import equal
from featkit.audits.telling import telling
from featkit.errors import InputError, KeyColumnError, LeakageError, TimestampError

from .conftest import DAY, HOUR

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


@pytest.mark.parametrize("known_by", ["created", {"hourly": "2h"}])
def test_values_that_were_not_written_yet_are_an_error(constructor, client, spine, known_by):
    report = audit(constructor, client, joined(client, spine), known_by=known_by)
    assert {finding.message for finding in report.findings if finding.check == "values"} == {
        "the value is that of a row whose event was past, but which was not known yet"
    }
    assert not report.ok


def test_the_row_of_the_very_moment_is_the_next_where_it_does_not_count(constructor, client, spine):
    sharp = spine.with_columns(pl.col("at") - HOUR / 2)
    frame = joined(client, sharp)
    report = audit(constructor, client, frame, strict=True)
    assert levels(report) >= {("visits", "error"), ("rate", "error")}
    assert "that of the next row" in report.findings[0].message
    assert audit(constructor, client, frame).ok


def test_naive_keys_mean_what_connect_says(tmp_path):
    rows = pl.DataFrame({"day": [DAY], "x": [1]})
    featkit.write_view(tmp_path, rows, name="days", join_keys="day")
    frame = pl.DataFrame({"day": [DAY.replace(tzinfo=None)] * 3, "at": [DAY] * 3, "x": [1] * 3})
    with featkit.connect(f"parquet:{tmp_path}", timezone="UTC") as client:
        assert frame.features.audit("days:x", at="at", store=client).findings == ()


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


random = np.random.default_rng(0)
number, class_ = random.normal(size=2000), random.integers(0, 4, 2000)
word = np.array(["a", "b", "c", "d"])[class_]


@pytest.mark.parametrize(
    ("feature", "label", "measure"),
    [
        (number, number > 1, "area under the curve"),
        (-number, np.exp(number), "correlation of ranks"),
        (number, number**2, "correlation ratio"),
        (word, class_ * 10 + 0.1 * number, "correlation ratio"),
        (class_ + 0.01 * number, word, "mutual information"),
        (word, class_, "mutual information"),
        (word, class_ > 1, "mutual information"),
        (np.where(class_ > 1, np.nan, number), class_ > 1, "mutual information"),
        ([dt.date(2024, 1, 1 + n) for n in class_], word, "mutual information"),
    ],
)
def test_whatever_tells_the_label_is_suspected(feature, label, measure):
    """Be it rising or not, of numbers or classes, or only by its nulls."""
    (found,) = telling("x", pl.Series(feature), pl.Series(label))
    assert (found.level, found.column) == ("warning", "x")
    assert f"alone it tells the label almost surely ({measure} " in found.message


@pytest.mark.parametrize(
    ("feature", "label"),
    [
        (number, random.normal(size=2000)),
        (number, number + random.normal(size=2000)),
        (word, random.permutation(word)),
        (np.where(random.random(2000) < 0.1, "a", word), word),
        ([f"id{n}" for n in range(2000)], word),
        (np.arange(2000), random.permutation(word)),
        (number, np.arange(2000) < 10),
        ([None] * 2000, word),
        (word, ["a"] * 2000),
        (word, [None] * 2000),
        ([[n] for n in range(2000)], word),
        (word[:10], word[:10]),
        ([], []),
    ],
    ids=repr,
)
def test_what_does_not_tell_the_label_is_not_suspected(feature, label):
    assert list(telling("x", pl.Series(feature), pl.Series(label))) == []


def test_without_features_all_columns_are_held_against_the_label(constructor, client):
    frame = constructor(
        {"at": [DAY] * 60, "y": [0, 1] * 30, "leak": ["no", "yes"] * 30, "z": [1, 1, 2] * 20}
    )
    report = featkit.features(frame).audit(at="at", label="y", store=client)
    assert [(each.check, each.column) for each in report.findings] == [("label", "leak")]
    assert report.checks[-1] == "2 columns alone against the label"


def test_columns_of_python_objects_do_not_hinder_it(client):
    frame = pd.DataFrame(
        {"at": DAY, "y": [0, 1] * 30, "odd": [1, "a"] * 30, "none": [object()] * 60}
    )
    report = featkit.features(frame).audit(at="at", label="y", store=client)
    assert report.ok
    assert report.checks[-1] == "0 columns alone against the label"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"strict": "no"}, "strict='no' is not an option; choose one of True, False"),
        ({"seed": -1}, "seed=-1 is not an option"),
        ({"sample": "all"}, "sample='all' is not an option"),
        ({"features": {"x": "hourly:visits", "y": "hourly:visits"}}, "for several columns"),
        ({"label_time": "x"}, "^label_time='x': the column is int64, not a timestamp"),
        ({"features": {"odd": "hourly:visits"}}, "^column 'odd': it mixes types .* be compared"),
    ],
)
def test_what_cannot_be_audited_is_told_by_its_option(client, options, match):
    frame = pd.DataFrame({"shop": [1, 2], "at": DAY, "x": 1, "y": 2, "odd": [1, "a"]})
    with pytest.raises(InputError, match=match):
        featkit.features(frame).audit(at="at", store=client, **options)


def test_lookback_is_the_age_that_values_may_have(client):
    frame = pl.DataFrame({"shop": [1], "at": [DAY + 10 * HOUR], "x": [DAY + 4 * HOUR]})
    asked = {"at": "at", "timestamps": {"x": "hourly"}, "sample": 0, "store": client}
    frame = frame.with_columns(visits=4)
    for lookback, found in (("5h", 1), ("6h", 0), ({"hourly": None}, 0)):
        report = featkit.features(frame).audit(["hourly:visits"], lookback=lookback, **asked)
        assert len(report.findings) == found


def test_whole_numbers_of_other_widths_are_compared_one_by_one():
    left = pl.Series([1, 2**63, None], dtype=pl.UInt64)
    right = pl.Series([1, -5, None], dtype=pl.Int64)
    assert equal(left, right, 0).tolist() == [True, False, True]
    assert equal(right, left, 0).tolist() == [True, False, True]
    assert equal(pl.Series([2**53]), pl.Series([2**53 + 1]), 1e-9).tolist() == [False]


@pytest.mark.parametrize("dtype", [pl.Float16, pl.Float32])
def test_a_shorter_float_of_the_same_number_is_the_same(dtype):
    right = pl.Series([0.1, 1 / 3, None, float("nan"), 2.5])
    left = right.cast(dtype)
    assert equal(left, right, 1e-9).all()
    assert equal(right, left, 1e-9).all()
    assert equal(left.reverse(), right, 1e-9).tolist() == [False, False, True, False, False]


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


def test_frame_in_which_nothing_can_be_found_is_refused(constructor, client, spine):
    """Else a pipeline whose frame came out empty would be told that all is well."""
    frame = joined(client, spine)
    timeless = frame.with_columns(pl.lit(None, frame["at"].dtype).alias("at"))
    for nothing, why in ((frame.clear(), "it has no rows"), (timeless, "no row has a moment in")):
        with pytest.raises(InputError, match=f"nothing to check in the frame: {why}"):
            audit(constructor, client, nothing)


def test_audit_that_checks_nothing_is_refused(client, spine):
    frame = joined(client, spine)
    with pytest.raises(InputError, match="nothing to check: name the features"):
        frame.features.audit(REFS, at="at", store=client, sample=0)
    assert frame.features.audit(REFS, at="at", label="label", store=client, sample=0).ok
