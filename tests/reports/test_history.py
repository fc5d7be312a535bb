"""The record of audits: appended, read again, and never mistaken for something else."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit.errors import InputError
from featkit.reports.rows import SCHEMAS

DAY = timedelta(days=1)


def later(report, days):
    return replace(report, now=report.now + days * DAY)


def test_audits_are_appended_and_read_in_the_order_of_time(report, tmp_path):
    path = tmp_path / "new" / "audits.parquet"
    for days in (2, 0, 1):
        later(report, days).record(path)
    trend = featkit.StalenessReport.trend(path)
    assert trend.frame["at"].is_sorted()
    assert trend.frame["at"].n_unique() == 3
    assert trend.views.height == 18
    assert repr(trend) == (
        "<StalenessTrend: 3 audits of 6 views, 2024-05-01 12:00 to 2024-05-03 12:00 UTC>"
    )
    last = trend.views.filter(at=report.now + 2 * DAY)
    assert_frame_equal(
        last.select(*SCHEMAS["view"]), report.to_polars("view"), check_row_order=False
    )
    features = trend.frame.filter(pl.col("feature").is_not_null(), at=report.now)
    assert_frame_equal(features.select(*SCHEMAS["feature"]), report.to_polars())
    assert set(trend.frame["target"]) == {report.target}
    assert trend.to_polars().equals(trend.frame)
    assert len(trend.to_pandas()) == trend.frame.height
    assert [each.name for each in path.parent.iterdir() if each.suffix == ".parquet"] == [path.name]


def test_trend_is_asked_of_a_report_as_well(report, tmp_path):
    report.record(tmp_path / "audits.parquet")
    assert report.trend(tmp_path / "audits.parquet").views.height == 6


def test_writers_at_the_same_time_wait_for_each_other(report, tmp_path):
    path = tmp_path / "audits.parquet"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda days: later(report, days).record(path), range(16)))
    assert featkit.StalenessReport.trend(path).frame["at"].n_unique() == 16


def test_an_audit_of_nothing_leaves_a_file(report, tmp_path):
    replace(report, views=()).record(tmp_path / "audits.parquet")
    trend = featkit.StalenessReport.trend(tmp_path / "audits.parquet")
    assert (trend.frame.height, repr(trend)) == (0, "<StalenessTrend: no audits yet>")


def test_records_of_other_versions_are_read(report, tmp_path):
    path = tmp_path / "audits.parquet"
    report.record(path)
    frame = pl.read_parquet(path).drop("overdue", "age_p99").with_columns(novelty=1)
    frame.write_parquet(path)
    later(report, 1).record(path)
    trend = featkit.StalenessReport.trend(path)
    assert trend.frame["age_p99"].null_count() < trend.frame.height
    assert "novelty" not in trend.frame.columns


def test_what_is_no_record_is_left_alone(report, tmp_path):
    foreign, garbage = tmp_path / "foreign.parquet", tmp_path / "garbage.parquet"
    pl.DataFrame({"at": [1], "shop": [2]}).write_parquet(foreign)
    garbage.write_text("no parquet", "utf-8")
    wrong = tmp_path / "wrong.parquet"
    report.record(wrong)
    pl.read_parquet(wrong).with_columns(at=pl.lit("yesterday")).write_parquet(wrong)
    for path in (foreign, garbage, wrong):
        before = path.read_bytes()
        with pytest.raises(InputError, match="is no record of audits"):
            report.record(path)
        assert path.read_bytes() == before
    with pytest.raises(InputError, match=r"there is no .*absent\.parquet; report\.record"):
        featkit.StalenessReport.trend(tmp_path / "absent.parquet")
