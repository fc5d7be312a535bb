"""Who the entities of a view are and when its rows came, as its tables in BigQuery tell."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from featkit.calls import Call, LocalRead
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
from featkit.stores.vertex.cells import cells_of
from featkit.stores.vertex.history import DIALECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from featkit.calls import Flow
    from featkit.populations import Arrivals, EntityList, PopulationRead
    from featkit.schema import FeatureView
    from featkit.stores.vertex.history import BigQuery, Source


def entities(
    bigquery: BigQuery, read: PopulationRead, sources: Sequence[Source]
) -> Flow[EntityList]:
    """Ask for the entities that have a row by now in any of the tables."""
    view = read.view
    text = entities_query(_tables(view, sources), view.join_keys, DIALECT, read.sample)
    dtypes = {entity.join_key: entity.dtype or pl.String() for entity in view.entities}
    found = yield from _asked(
        bigquery, view, text, _now(sources, read.now), dtypes | {TOTAL: pl.Int64()}
    )
    return entities_of(found)


def arrivals(
    bigquery: BigQuery, view: FeatureView, sources: Sequence[Source], now: datetime
) -> Flow[Arrivals]:
    """Ask when rows came, to any of the tables."""
    text = arrivals_query(_tables(view, sources), DIALECT)
    found = yield from _asked(bigquery, view, text, _now(sources, now), {TIME: TIMESTAMP})
    return arrivals_of(found)


def _tables(view: FeatureView, sources: Sequence[Source]) -> list[Listed]:
    quoted = DIALECT.quoted
    return [
        Listed(
            table=quoted(source.table),
            keys=tuple(map(quoted, source.keys or view.join_keys)),
            time=quoted(source.timestamp) if source.timestamp else None,
            where=f"{quoted(source.timestamp)} <= @now" if source.timestamp else "",
        )
        for source in sources
    ]


def _now(sources: Sequence[Source], now: datetime) -> Mapping[str, tuple[str, str]]:
    timed = any(source.timestamp for source in sources)
    return {"now": ("TIMESTAMP", until(now))} if timed else {}


def _asked(
    bigquery: BigQuery,
    view: FeatureView,
    text: str,
    parameters: Mapping[str, tuple[str, str]],
    dtypes: Mapping[str, pl.DataType],
) -> Flow[pl.DataFrame]:
    pages = yield from bigquery.pages(text, parameters)
    run = partial(cells_of, pages, dtypes, view.name)
    found: pl.DataFrame = yield Call(LocalRead(run, f"tables of {view.name}", threaded=True))
    return found
