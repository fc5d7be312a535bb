"""Who the entities of a feature group are and when its records came, as its offline store tells."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from featkit.calls import Call, LocalRead
from featkit.dtypes import TIMESTAMP
from featkit.engines.base import FAILURES
from featkit.history import HistoryRead
from featkit.populations import Arrivals, EntityList, drawn
from featkit.stores.sagemaker.history import DELETED, Reader, history

if TYPE_CHECKING:
    from datetime import datetime

    from featkit.history import HistoryRows
    from featkit.populations import PopulationRead
    from featkit.schema import FeatureView

_EVENT, _CREATED, _GONE = "event", "created", "gone"


def entities(read: PopulationRead, reader: Reader, separator: str | None) -> Call[EntityList]:
    """Read who has a record by now that was not deleted since; keys and times alone are read."""
    run = partial(_entities, read, reader, separator)
    return Call(LocalRead(run, f"keys of feature view {read.view.name!r}", threaded=True))


def arrivals(
    view: FeatureView, now: datetime, reader: Reader, separator: str | None
) -> Call[Arrivals]:
    """Read when records came: the later of event time and time of writing."""
    run = partial(_arrivals, view, now, reader, separator)
    return Call(LocalRead(run, f"times of feature view {view.name!r}", threaded=True))


def _entities(read: PopulationRead, reader: Reader, separator: str | None) -> EntityList:
    view = read.view
    rows = history(HistoryRead(view, ()), view.source, reader, separator)
    names = [f"k{n}" for n in range(len(rows.keys))]
    there = _visible(rows, read.now).drop_nulls(names)
    last = there.group_by(names).agg(pl.col(_GONE).sort_by(_EVENT, _CREATED).last())
    found = _collected(rows, last).filter(~pl.col(_GONE)).select(names).sort(names)
    total = found.height
    found = found if read.sample is None else drawn(found, names, read.sample)
    return EntityList(found.rename(dict(zip(names, view.join_keys, strict=True))), total)


def _arrivals(view: FeatureView, now: datetime, reader: Reader, separator: str | None) -> Arrivals:
    rows = history(HistoryRead(view, ()), view.source, reader, separator)
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
    times = [pl.col(_CREATED)] + ([] if rows.event is None else [pl.col(_EVENT)])
    return named.filter(time.is_null() | (time <= moment) for time in times)


def _collected(rows: HistoryRows, scan: pl.LazyFrame) -> pl.DataFrame:
    try:
        return scan.collect()
    except FAILURES as error:
        raise rows.unreadable(error) from error
