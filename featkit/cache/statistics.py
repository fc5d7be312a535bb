"""What the cache did and holds, in numbers, as text and as static HTML."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import polars as pl

from featkit import aligned, html
from featkit.dtypes import TIMESTAMP
from featkit.durations import format_duration
from featkit.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

_UNITS = ("B", "kB", "MB", "GB")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewCacheInfo:
    """What the cache holds of one feature view.

    Attributes
    ----------
    view
        Name of the view.
    rows
        Entities of which something is kept.
    features
        By name of a feature, of how many entities it is kept; empty where the rows are in the
        container only.
    expired
        Rows that are past their time and kept in case the store fails.
    oldest, newest
        When the oldest and the newest row was fetched, aware (UTC); None where there are none.
    memory_bytes, stored_bytes
        Size in memory, and in the container.
    segments
        Pieces in the container.
    """

    view: str
    rows: int = 0
    features: Mapping[str, int] = field(default_factory=dict)
    expired: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    memory_bytes: int = 0
    stored_bytes: int = 0
    segments: int = 0

    def __str__(self) -> str:
        return _text(_facts(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html.facts(_facts(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats(Report):
    """What the cache of a client did since it was connected, and what it holds.

    Attributes
    ----------
    target
        Where rows are kept: ``"memory"``, or what the container is called.
    ttl
        How long a row is served without asking the store again.
    hits, misses
        Distinct keys that were answered from the cache, and those that were not, or in part only.
    stale
        Keys that were served because the store was down.
    refreshed
        Keys that were fetched anew in the background.
    evicted
        Rows thrown out to make room.
    metadata
        Replies kept of the registry.
    views
        What is held of each view.
    """

    _title = "Cache"

    target: str
    ttl: timedelta | None
    hits: int = 0
    misses: int = 0
    stale: int = 0
    refreshed: int = 0
    evicted: int = 0
    metadata: int = 0
    views: tuple[ViewCacheInfo, ...] = ()

    @property
    def hit_rate(self) -> float:
        """Share of the keys that were answered from the cache; 0 before the first."""
        return self.hits / max(self.hits + self.misses, 1)

    @property
    def rows(self) -> int:
        """Entities of which something is kept, summed over the views."""
        return sum(view.rows for view in self.views)

    @property
    def memory_bytes(self) -> int:
        """Size in memory."""
        return sum(view.memory_bytes for view in self.views)

    @property
    def stored_bytes(self) -> int:
        """Size in the container."""
        return sum(view.stored_bytes for view in self.views)

    def __str__(self) -> str:
        header, *lines = self._table()
        text = aligned.table(header, lines, numbers=header[1:]) if lines else []
        return "\n".join([self._headline(), self._counts(), *text])

    __repr__ = __str__

    def to_polars(self) -> pl.DataFrame:
        """Return one row per view: what is held of it; times are aware (UTC), sizes in bytes."""
        names = [each.name for each in fields(ViewCacheInfo) if each.name != "features"]
        schema = {
            name: TIMESTAMP if name in {"oldest", "newest"} else pl.Int64() for name in names
        } | {"view": pl.String()}
        rows = [[getattr(view, name) for name in names] for view in self.views]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _content(self) -> dict[str, object]:
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        lasting = told.pop("ttl")
        seconds = None if lasting is None else lasting.total_seconds()
        return {**told, "ttl_seconds": seconds, "hit_rate": self.hit_rate}

    def _body(self) -> html.Markup:
        header, *lines = self._table()
        caption = html.joined([self._headline(), html.element("br"), self._counts()])
        return html.table(header, lines, caption=caption, numbers=header[1:])

    def _headline(self) -> str:
        lasting = "" if self.ttl is None else f", ttl {format_duration(self.ttl)}"
        size = size_text(self.memory_bytes)
        stored = f" and {size_text(self.stored_bytes)} stored" if self.stored_bytes else ""
        return f"{self.target}{lasting}: {self.rows:,} rows, {size} in memory{stored}"

    def _counts(self) -> str:
        asked = self.hits + self.misses
        counts = [f"{self.hits:,} of {asked:,} keys from the cache ({self.hit_rate:.0%})"]
        for number, what in (
            (self.stale, "served stale"),
            (self.refreshed, "refreshed in the background"),
            (self.evicted, f"row{'s' * (self.evicted != 1)} evicted"),
            (self.metadata, f"repl{'y' if self.metadata == 1 else 'ies'} of registries"),
        ):
            counts += [f"{number:,} {what}"] if number else []
        return "; ".join(counts)

    def _table(self) -> list[list[str]]:
        table = [["view", "rows", "expired", "oldest", "memory", "stored", "segments"]]
        for view in self.views:
            sizes = [size_text(view.memory_bytes), size_text(view.stored_bytes)]
            numbers = [f"{view.rows:,}", f"{view.expired:,}", _time(view.oldest)]
            table.append([view.view, *numbers, *sizes, f"{view.segments:,}"])
        return table


def size_text(count: float) -> str:
    """Write a number of bytes as people read it.

    Examples
    --------
    >>> size_text(92_300_000)
    '92.3 MB'
    """
    for unit in _UNITS[:-1]:
        if count < 1000:  # noqa: PLR2004 - the next unit
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def _facts(info: ViewCacheInfo) -> dict[str, str]:
    features = ", ".join(f"{name} ({count:,})" for name, count in info.features.items())
    return {
        "view": info.view,
        "rows": f"{info.rows:,}, {info.expired:,} of them expired",
        "features": features or "in the container only",
        "fetched": f"{_time(info.oldest)} to {_time(info.newest)}",
        "memory": size_text(info.memory_bytes),
        "stored": f"{size_text(info.stored_bytes)} in {info.segments:,} segments",
    }


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _text(facts: dict[str, str]) -> str:
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {fact}" for name, fact in facts.items())
