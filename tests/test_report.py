"""Reports: whatever is shown can be taken along, as a frame, as JSON and as a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl
import pytest
from lxml import html

import featkit
from featkit.report import Report

if TYPE_CHECKING:
    from pathlib import Path

SPINE = pl.DataFrame({"shop": [1, 2, 9], "at": datetime(2024, 5, 1, tzinfo=UTC), "visits": 10})
VISITS = ["shops:visits"]


@pytest.fixture(scope="module")
def reports(store_folder: Path, now: datetime) -> dict[str, Report]:
    """Make one of each kind."""
    with featkit.connect(f"parquet:{store_folder}", now=now, cache="memory") as store:
        featkit.features(SPINE).enrich(VISITS, prefix="{view}_", expired="null")
        assert store.last_summary is not None
        made = store.get_historical_features(SPINE, VISITS, at="at", full_feature_names=True)
        found = [
            store.last_summary,
            store.cache.stats(),
            store.check_health(),
            store.staleness(VISITS),
            store.parity(VISITS),
            made.report,
            featkit.features(SPINE).audit({"visits": "shops:visits"}, at="at"),
            featkit.features(SPINE).skew(SPINE.with_columns(visits=pl.col("visits") + 1)),
        ]
    return {type(each).__name__: each for each in found}


KINDS = [
    *("LookupSummary", "CacheStats", "HealthReport", "StalenessReport", "ParityReport"),
    *("TrainingReport", "AuditReport", "SkewReport"),
]
each_kind = pytest.mark.parametrize("kind", KINDS)


def test_all_kinds_are_tried(reports: dict[str, Report]) -> None:
    assert set(reports) == {kind.__name__ for kind in Report.__subclasses__()}
    assert set(KINDS) == set(reports)


@each_kind
def test_a_report_becomes_frames_that_say_the_same(reports: dict[str, Report], kind: str) -> None:
    rows = reports[kind].to_polars()
    frame = reports[kind].to_pandas()
    assert rows.height > 0
    assert pl.Null not in rows.schema.dtypes()
    assert list(frame.columns) == rows.columns
    assert list(frame.iloc[:, 0]) == rows.to_series(0).to_list()
    arrow = reports[kind].to_pandas(dtype_backend="pyarrow")
    assert all("pyarrow" in str(dtype) for dtype in arrow.dtypes)


@each_kind
def test_a_report_becomes_json(reports: dict[str, Report], kind: str, tmp_path: Path) -> None:
    text = reports[kind].to_json(tmp_path / "new" / "report.json")
    assert (tmp_path / "new" / "report.json").read_text("utf-8") == text
    assert text == reports[kind].to_json()
    content = json.loads(text)
    assert isinstance(content, dict)
    listed = [value for value in content.values() if isinstance(value, list)]
    assert any(len(value) == reports[kind].to_polars().height for value in listed)


@each_kind
def test_a_report_becomes_a_page(reports: dict[str, Report], kind: str, tmp_path: Path) -> None:
    text = reports[kind].to_html(tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text("utf-8") == text
    assert html.document_fromstring(text).findtext("head/title")
    shown = html.fragment_fromstring(reports[kind]._repr_html_(), create_parent=True)
    assert shown.find(".//table") is not None
    assert not shown.findall(".//script")


def test_a_place_that_cannot_be_written_is_named(
    reports: dict[str, Report], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(featkit.errors.InputError, match=r"file.* cannot be written"):
        reports["AuditReport"].to_json(tmp_path / "file" / "report.json")
