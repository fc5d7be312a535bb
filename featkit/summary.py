"""What a lookup did, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featkit import aligned, html
from featkit.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from featkit.columns import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewSummary:
    """What a lookup did for one feature view.

    Attributes
    ----------
    view
        Name of the view.
    rows
        Rows of the frame.
    null_keys
        Rows whose key is null; they were not asked for.
    unique
        Distinct keys among the others.
    cached, fetched
        How many of the distinct keys came from the cache, and from the store.
    calls
        Calls to the store.
    statuses
        Values of the frame (rows times features) by status, without the rows whose key is null.
    """

    view: str
    rows: int
    null_keys: int
    unique: int
    cached: int
    fetched: int
    calls: int
    statuses: Mapping[Status, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupSummary(Report):
    """What a lookup did.

    Attributes
    ----------
    views
        One summary per feature view.
    rows
        Rows of the frame.
    seconds
        Wall time from the call to the answer.
    """

    _title = "Lookup"

    views: tuple[ViewSummary, ...]
    rows: int
    seconds: float = 0.0

    @property
    def keys(self) -> int:
        """Rows with a key, summed over the views."""
        return sum(view.rows - view.null_keys for view in self.views)

    @property
    def unique(self) -> int:
        """Distinct keys, summed over the views."""
        return sum(view.unique for view in self.views)

    @property
    def cached(self) -> int:
        """Distinct keys answered from the cache."""
        return sum(view.cached for view in self.views)

    @property
    def fetched(self) -> int:
        """Distinct keys answered by the store."""
        return sum(view.fetched for view in self.views)

    @property
    def calls(self) -> int:
        """Calls to the store."""
        return sum(view.calls for view in self.views)

    @property
    def statuses(self) -> Mapping[Status, int]:
        """Values of the frame by status, summed over the views."""
        total: Counter[Status] = Counter()
        for view in self.views:
            total.update(view.statuses)
        return dict(total)

    def __str__(self) -> str:
        header, *lines = self._table()
        return "\n".join([self._headline(), *aligned.table(header, lines, numbers=header[1:])])

    __repr__ = __str__

    def to_polars(self) -> pl.DataFrame:
        """Return one row per view: its counts, and the values with each status that occurs."""
        import polars as pl  # noqa: PLC0415 - heavy

        counts = ("rows", "null_keys", "unique", "cached", "fetched", "calls")
        statuses = sorted(self.statuses)
        schema = {"view": pl.String()} | dict.fromkeys([*counts, *map(str, statuses)], pl.Int64())
        rows = [
            [
                view.view,
                *(getattr(view, name) for name in counts),
                *(view.statuses.get(status, 0) for status in statuses),
            ]
            for view in self.views
        ]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _body(self) -> html.Markup:
        header, *lines = self._table()
        return html.table(header, lines, caption=self._headline(), numbers=header[1:])

    def _headline(self) -> str:
        return (
            f"{self.rows:,} row{'s' * (self.rows != 1)}, {self.unique:,} distinct "
            f"key{'s' * (self.unique != 1)}: {self.cached:,} cached, "
            f"{self.fetched:,} fetched in {self.calls:,} call{'s' * (self.calls != 1)}, "
            f"{self.seconds:.2f} s"
        )

    def _table(self) -> list[list[str]]:
        seen = [status for status in sorted(self.statuses) if self.statuses[status]]
        table = [["view", "null keys", "distinct", *seen]]
        table += [
            [
                view.view,
                f"{view.null_keys:,}",
                f"{view.unique:,}",
                *(f"{view.statuses.get(status, 0):,}" for status in seen),
            ]
            for view in self.views
        ]
        return table
