"""Who the entities of a feature table are and when its rows came, as a SQL warehouse tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.engines.listing import (
    TIME,
    TOTAL,
    Listed,
    arrivals_of,
    arrivals_query,
    entities_of,
    entities_query,
    until,
)
from featkit.stores.databricks.rows import shaped
from featkit.stores.databricks.statements import ANY_ZONE, DIALECT, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from featkit.calls import Flow
    from featkit.populations import Arrivals, EntityList, PopulationRead
    from featkit.schema import FeatureView
    from featkit.stores.databricks.statements import Warehouse


def entities(
    warehouse: Warehouse, read: PopulationRead, zone: str | None, *, naive: bool
) -> Flow[EntityList]:
    """Ask for the entities that have a row by now; where its times have no zone, by tomorrow."""
    view = read.view
    text = entities_query([_listed(view)], view.join_keys, DIALECT, read.sample)
    rows = yield from warehouse.rows(text, _now(view, read.now, naive=naive))
    dtypes: dict[str, pl.DataType | None] = {own.join_key: own.dtype for own in view.entities}
    return entities_of(shaped(rows, dtypes | {TOTAL: pl.Int64()}, (), zone))


def arrivals(
    warehouse: Warehouse, view: FeatureView, now: datetime, zone: str | None, *, naive: bool
) -> Flow[Arrivals]:
    """Ask when rows came."""
    text = arrivals_query([_listed(view)], DIALECT)
    rows = yield from warehouse.rows(text, _now(view, now, naive=naive))
    found = shaped(rows, {TIME: TIMESTAMP}, (), zone)
    return arrivals_of(found.filter(pl.col(TIME) <= pl.lit(now, TIMESTAMP)))


def _listed(view: FeatureView) -> Listed:
    quoted, time = DIALECT.quoted, view.timestamp
    return Listed(
        table=table_of(view),
        keys=tuple(map(quoted, view.join_keys)),
        time=quoted(time) if time else None,
        where=f"{quoted(time)} <= :now" if time else "",
    )


def _now(view: FeatureView, now: datetime, *, naive: bool) -> Mapping[str, tuple[str, str]]:
    """Write the moment that counts as now; what the warehouse compares it with may be off."""
    latest = now + ANY_ZONE if naive else now
    return {"now": ("TIMESTAMP", until(latest))} if view.timestamp else {}
