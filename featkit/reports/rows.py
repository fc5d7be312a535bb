"""A staleness report as rows: for frames, for JSON, for the file that keeps audits."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from featkit.dtypes import TIMESTAMP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from featkit.reports.staleness import StalenessReport
    from featkit.staleness import Ages, FeatureStaleness, ViewStaleness

By = Literal["feature", "view"]
COUNTS = ("present", "null", "missing", "expired", "future", "unknown", "failed")

_LENGTH = pl.Duration("us")
_AGES: dict[str, pl.DataType] = {
    **{f"age_{name}": _LENGTH for name in ("p50", "p90", "p95", "p99", "max")},
    "newest": TIMESTAMP,
    "oldest": TIMESTAMP,
    "ttl": _LENGTH,
    "headroom": _LENGTH,
}
_JUDGED: dict[str, pl.DataType] = {
    "verdict": pl.String(),
    "reason": pl.String(),
    "timestamp_level": pl.String(),
    "warn_after": _LENGTH,
    "error_after": _LENGTH,
}
_COUNTED: dict[str, pl.DataType] = {name: pl.Int64() for name in ("n", *COUNTS)}
SCHEMAS: Mapping[By, dict[str, pl.DataType]] = {
    "feature": {"view": pl.String(), "feature": pl.String(), **_JUDGED, **_COUNTED, **_AGES},
    "view": {
        "view": pl.String(),
        **_JUDGED,
        "population": pl.String(),
        **_COUNTED,
        "share_expired": pl.Float64(),
        **_AGES,
        "view_newest": TIMESTAMP,
        "view_freshness": _LENGTH,
        "cadence": _LENGTH,
        "next_expected": TIMESTAMP,
        "overdue": pl.Boolean(),
        "lag_compared": pl.Int64(),
        "lag_behind": pl.Int64(),
        "lag_p50": _LENGTH,
        "lag_p95": _LENGTH,
        "lag_max": _LENGTH,
        "notes": pl.List(pl.String()),
    },
}
"""By what a row is about: its columns, whose dtypes are the same whatever was found."""


def rows_of(report: StalenessReport, by: By) -> list[dict[str, Any]]:
    """Turn a report into rows: one per feature, or one per view."""
    if by == "view":
        return [view_row(view, report.now) for view in report.views]
    return [feature_row(view, feature) for view in report.views for feature in view.features]


def frame_of(report: StalenessReport, by: By) -> pl.DataFrame:
    """Turn a report into a frame."""
    return pl.DataFrame(rows_of(report, by), schema=SCHEMAS[by], orient="row")


def feature_row(view: ViewStaleness, feature: FeatureStaleness) -> dict[str, Any]:
    """Tell everything that is known of a feature."""
    return {
        "view": view.view,
        "feature": feature.feature,
        **_judged(view, feature),
        "n": feature.n,
        **{name: getattr(feature, name) for name in COUNTS},
        **_aged(feature.ages),
        "ttl": feature.ttl,
        "headroom": feature.headroom,
    }


def view_row(view: ViewStaleness, now: datetime) -> dict[str, Any]:
    """Tell everything that is known of a view."""
    cadence, lag = view.cadence, view.lag
    return {
        "view": view.view,
        **_judged(view, view),
        "population": view.population,
        "n": view.n,
        **{name: view.total(name) for name in COUNTS},
        "share_expired": view.share_expired,
        **_aged(view.ages),
        "ttl": view.ttl,
        "headroom": view.headroom,
        "view_newest": view.newest,
        "view_freshness": view.freshness,
        "cadence": cadence and cadence.every,
        "next_expected": cadence and cadence.next,
        "overdue": cadence and cadence.is_overdue(now),
        "lag_compared": lag and lag.compared,
        "lag_behind": lag and lag.behind,
        "lag_p50": lag and lag.p50,
        "lag_p95": lag and lag.p95,
        "lag_max": lag and lag.max,
        "notes": list(view.notes),
    }


def _judged(view: ViewStaleness, part: ViewStaleness | FeatureStaleness) -> dict[str, Any]:
    return {
        "verdict": part.verdict,
        "reason": part.reason,
        "timestamp_level": view.level,
        "warn_after": view.thresholds.warn_after,
        "error_after": view.thresholds.error_after,
    }


def _aged(ages: Ages) -> dict[str, Any]:
    quantiles = {f"age_{name}": getattr(ages, name) for name in ("p50", "p90", "p95", "p99", "max")}
    return {**quantiles, "newest": ages.newest, "oldest": ages.oldest}


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a row into what JSON can hold: durations in seconds, and their names say so.

    Examples
    --------
    >>> plain({"ttl": timedelta(hours=3), "n": 4})
    {'ttl_seconds': 10800.0, 'n': 4}
    """
    lengths = {name for schema in SCHEMAS.values() for name in schema if schema[name] == _LENGTH}
    made: dict[str, Any] = {}
    for name, value in row.items():
        key = f"{name}_seconds" if name in lengths else name
        if isinstance(value, timedelta):
            made[key] = value.total_seconds()
        elif isinstance(value, datetime):
            made[key] = value.isoformat().replace("+00:00", "Z")
        else:
            made[key] = value
    return made
