"""Queries to warehouses that list: who the entities of tables are, and when their rows came.

Both read the columns of keys and times alone, and send little back: one row per entity, or per
minute in which rows came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.populations import Arrivals, EntityList

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from featkit.engines.sql import Dialect

TOTAL, TIME = "featkit_total", "featkit_time"
"""The columns of the answers that are no keys: how many entities there are, and when rows came."""

_MOMENT = "featkit_moment"
MINUTES = 100_000
"""How many minutes with arrivals are told at the most, the newest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A table to list.

    Attributes
    ----------
    table
        As it stands behind FROM.
    keys
        What makes the join keys, in their order.
    time
        What makes the event timestamp; None: the table has none.
    where
        What rows have to be to count; may be empty.
    """

    table: str
    keys: tuple[str, ...]
    time: str | None
    where: str = ""

    def condition(self, *wanted: str) -> str:
        """Write what rows have to be."""
        every = [*wanted, *([self.where] if self.where else [])]
        return f" WHERE {' AND '.join(every)}" if every else ""


def entities_query(
    tables: Sequence[Listed], keys: Sequence[str], dialect: Dialect, sample: int | None
) -> str:
    """Write the query for the entities of tables: the keys by their names, and `TOTAL`.

    Parameters
    ----------
    tables
        Whose entities; those of several are put together.
    keys
        The join keys.
    dialect
        Of the warehouse.
    sample
        How many at the most, by a hash of their keys, the same ones each time; None: all.
    """
    names = [dialect.quoted(key) for key in keys]
    parts = []
    for own in tables:
        pairs = zip(own.keys, names, strict=True)
        listed = ", ".join(f"{made} AS {name}" for made, name in pairs)
        there = own.condition(*(f"{made} IS NOT NULL" for made in own.keys))
        parts.append(f"SELECT DISTINCT {listed} FROM {own.table}{there}")  # noqa: S608 - names, quoted
    every = parts[0]
    if len(parts) > 1:
        each = " UNION ALL ".join(parts)
        every = f"SELECT DISTINCT {', '.join(names)} FROM ({each}) AS several"  # noqa: S608 - as well
    total = dialect.quoted(TOTAL)
    text = f"SELECT {', '.join(names)}, COUNT(*) OVER () AS {total} FROM ({every}) AS entities"  # noqa: S608 - as well
    if sample is None:
        return text
    # a key cannot end where another begins, but that two share a hash would do no harm
    whole = ", '|', ".join(f"CAST({name} AS STRING)" for name in names)
    return f"{text} ORDER BY {dialect.digest.format(text=f'CONCAT({whole})')} LIMIT {sample}"


def arrivals_query(tables: Sequence[Listed], dialect: Dialect) -> str:
    """Write the query for when rows came: of each minute the last one, the newest minutes first.

    A rhythm is learnt from it to the minute; the last arrival is exact.
    """
    moment = dialect.quoted(_MOMENT)
    parts = [
        f"SELECT {own.time} AS {moment} FROM {own.table}{own.condition(f'{own.time} IS NOT NULL')}"  # noqa: S608 - names, quoted
        for own in tables
        if own.time
    ]
    minute = dialect.minute.format(time=moment)
    return (
        f"SELECT MAX({moment}) AS {dialect.quoted(TIME)} "  # noqa: S608 - as well
        f"FROM ({' UNION ALL '.join(parts)}) AS moments "
        f"GROUP BY {minute} ORDER BY MAX({moment}) DESC LIMIT {MINUTES}"
    )


def until(now: datetime) -> str:
    """Write the moment that counts as now, as a parameter of a query."""
    return str(pl.Series([now], dtype=TIMESTAMP).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").item())


def entities_of(found: pl.DataFrame) -> EntityList:
    """Read the answer to `entities_query`."""
    return EntityList(found.drop(TOTAL), found[TOTAL][0] if found.height else 0)


def arrivals_of(found: pl.DataFrame) -> Arrivals:
    """Read the answer to `arrivals_query`."""
    newest: Any = found[TIME].max()  # of a column of datetimes
    return Arrivals(found[TIME], newest)
