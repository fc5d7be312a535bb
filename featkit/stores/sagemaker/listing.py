"""Who the entities of a feature group are and when its records came, as its offline store tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.failures import FAILURES
from featkit.history import HistoryRead
from featkit.populations import Arrivals, EntityList, drawn
from featkit.stores.sagemaker.history import DELETED, Files, history

if TYPE_CHECKING:
    from datetime import datetime

    from featkit.history import HistoryRows
    from featkit.populations import PopulationRead
    from featkit.schema import FeatureView

_EVENT, _CREATED, _GONE = "event", "created", "gone"


def entities(read: PopulationRead, separator: str | None, files: Files) -> EntityList:
    """Read who has a record by now that was not deleted since; keys and times alone are read."""
    view = read.view
    rows = history(HistoryRead(view, ()), separator, files, strict=False)
    names = [f"k{n}" for n in range(len(rows.keys))]
    there = _visible(rows, read.now).drop_nulls(names)
    last = there.group_by(names).agg(pl.col(_GONE).sort_by(_EVENT, _CREATED).last())
    found = _collected(rows, last).filter(~pl.col(_GONE)).select(names).sort(names)
    total = found.height
    found = found if read.sample is None else drawn(found, names, read.sample)
    return EntityList(found.rename(dict(zip(names, view.join_keys, strict=True))), total)


def arrivals(view: FeatureView, now: datetime, separator: str | None, files: Files) -> Arrivals:
    """Read when records came: the later of event time and time of writing."""
    rows = history(HistoryRead(view, ()), separator, files, strict=False)
    times = _visible(rows, now).select(_EVENT, seen=pl.max_horizontal(_EVENT, _CREATED))
    found = _collected(rows, times.drop_nulls(_EVENT))
    newest: Any = found[_EVENT].max()  # of a column of datetimes
    return Arrivals(found["seen"], newest)


def _visible(rows: HistoryRows, now: datetime) -> pl.LazyFrame:
    """Name the columns, and keep the rows of the past."""
    moment = pl.lit(now, TIMESTAMP)
    unknown = pl.lit(None, TIMESTAMP)
    deleted = DELETED in rows.scan.collect_schema()
    gone = pl.col(DELETED).fill_null(value=False) if deleted else pl.lit(value=False)
    named = rows.scan.select(
        *(key.alias(f"k{n}") for n, key in enumerate(rows.keys)),
        (unknown if rows.event is None else rows.event).alias(_EVENT),
        (unknown if rows.created is None else rows.created).alias(_CREATED),
        gone.alias(_GONE),
    )
    created = pl.col(_CREATED)
    visible = named.filter(created.is_null() | (created <= moment))
    return visible if rows.event is None else visible.filter(pl.col(_EVENT) <= moment)


def _collected(rows: HistoryRows, scan: pl.LazyFrame) -> pl.DataFrame:
    try:
        return scan.collect()
    except FAILURES as error:
        raise rows.unreadable(error) from error
