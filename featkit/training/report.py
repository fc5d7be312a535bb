"""How a training set came to be: what was found for each row of the spine, and what was not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit import aligned
from featkit.html import element, joined, table
from featkit.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from featkit.history import Match, Rule
    from featkit.html import Markup

_PERIODS = 12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewReport:
    """What was found in one feature view.

    `hit`, `expired`, `future_only`, `unknown_entity`, `null_key_or_time` and `unexplained` add up
    to the rows of the spine.

    Attributes
    ----------
    view
        Name of the view.
    rule
        What counted as known, in words.
    hit
        Rows for which a row of the view was chosen.
    null_values
        By feature, the rows among them whose value is null in the source.
    expired
        Rows for which only rows older than the limit were known.
    future_only
        Rows whose entity has rows, none of them known at that moment.
    unknown_entity
        Rows whose entity has no row at all.
    null_key_or_time
        Rows without a key or a moment.
    unexplained
        Rows for which a store that joins by itself gave none, without saying why; where it does
        not tell event timestamps, also those for which it gave nothing but nulls.
    tied
        Rows for which several rows shared the latest event timestamp, so that the created
        timestamp or their order decided; None: the store does not tell.
    coverage
        For each period of the report, the share of its rows that are hits; None where it has no
        rows.
    notes
        What else there is to know.
    """

    view: str
    rule: str
    hit: int
    null_values: Mapping[str, int] = field(default_factory=dict)
    expired: int = 0
    future_only: int = 0
    unknown_entity: int = 0
    null_key_or_time: int = 0
    unexplained: int = 0
    tied: int | None = 0
    coverage: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def null_value(self) -> int:
        """Values that are null in the source, over all features."""
        return sum(self.null_values.values())

    @property
    def share(self) -> float:
        """The share of rows that are hits; 1 where there are no rows."""
        rows = self.hit + self.expired + self.future_only + self.unknown_entity
        rows += self.null_key_or_time + self.unexplained
        return self.hit / rows if rows else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport(Report):
    """What a training set was made of, view by view.

    Attributes
    ----------
    views
        One report per feature view.
    rows
        Rows of the spine.
    periods
        The edges of the periods of `ViewReport.coverage`: equal parts of the time that the spine
        covers.
    plan
        How the joins were done, in words.
    notes
        Where the store's own rules differ.
    seconds
        Wall time from the call to the answer.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> flights = featkit.demo.flights("polars").head(1000)
    >>> made = store.get_historical_features(flights, ["aircraft:seats"], at="departs_at")
    >>> made.report.views[0].hit, made.report.views[0].unknown_entity
    (830, 170)
    """

    _title = "Training set"

    views: tuple[ViewReport, ...]
    rows: int
    periods: tuple[datetime, ...] = ()
    plan: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        header, *lines = self._table()
        numbers = [name for name in header if name not in _TEXT]
        text = aligned.table(header, lines, numbers=numbers)
        return "\n".join([self._headline(), *text, *(f"note: {note}" for note in self._notes())])

    __repr__ = __str__

    def to_polars(self) -> pl.DataFrame:
        """Return one row per view: its counts, and ``coverage``, a list of a share per period."""
        schema = {
            "view": pl.String(),
            **dict.fromkeys(_COLUMNS.values(), pl.Int64()),
            "share": pl.Float64(),
            "coverage": pl.List(pl.Float64()),
        }
        rows = [[getattr(view, name) for name in schema] for view in self.views]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _body(self) -> Markup:
        header, *lines = self._table()
        numbers = [name for name in header if name not in _TEXT]
        rules = table(["view", "what counts"], [[view.view, view.rule] for view in self.views])
        listed = [element("li", note) for note in self._notes()]
        plan = [element("li", step) for step in self.plan]
        return joined(
            [
                table(header, lines, caption=self._headline(), numbers=numbers),
                element("p", self._legend(), attributes={"class": "quiet"}),
                rules,
                element("ul", *listed) if listed else None,
                element("details", element("summary", "plan"), element("ul", *plan))
                if plan
                else None,
            ]
        )

    def _headline(self) -> str:
        return f"training set of {self.rows:,} row{'s' * (self.rows != 1)}, {self.seconds:.2f} s"

    def _legend(self) -> str:
        if not self.periods:
            return ""
        first, last = self.periods[0], self.periods[-1]
        return (
            f"coverage: share of hits in {len(self.periods) - 1} equal periods "
            f"from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        )

    def _notes(self) -> list[str]:
        own = [f"{view.view}: {note}" for view in self.views for note in view.notes]
        return [*self.notes, *own]

    def _table(self) -> list[list[str]]:
        shown = [
            (name, attribute)
            for name, attribute in _COLUMNS.items()
            if attribute in _ALWAYS or any(getattr(view, attribute) for view in self.views)
        ]
        header = ["view", *(name for name, _ in shown), "coverage"]
        rows = [
            [
                view.view,
                *(_count(getattr(view, attribute)) for _, attribute in shown),
                _spark(view.coverage),
            ]
            for view in self.views
        ]
        return [header, *rows]


_TEXT = ("view", "coverage")
_COLUMNS = {
    "hit": "hit",
    "null value": "null_value",
    "expired": "expired",
    "future only": "future_only",
    "unknown entity": "unknown_entity",
    "null key or time": "null_key_or_time",
    "no row": "unexplained",
    "tied": "tied",
}
_ALWAYS = {"hit", "expired", "future_only", "unknown_entity"}


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _spark(coverage: Sequence[float | None]) -> str:
    """Draw shares as bars; a period without rows is a gap."""
    top = len(_BARS) - 1
    return "".join(" " if share is None else _BARS[round(share * top)] for share in coverage)


@dataclass(frozen=True, eq=False)
class Periods:
    """The time that a spine covers, in equal parts, and the part of each row.

    Attributes
    ----------
    edges
        Of the parts; empty where no row has a moment.
    parts
        For each row the number of its part; -1 where it has no moment.
    weights
        How many rows of the user's frame each row stands for; None: one.
    """

    edges: tuple[datetime, ...]
    parts: npt.NDArray[np.int64]
    weights: npt.NDArray[np.int64] | None

    @classmethod
    def of(
        cls,
        at: npt.NDArray[np.int64],
        usable: npt.NDArray[np.bool_],
        weights: npt.NDArray[np.int64] | None,
    ) -> Periods:
        """Cut the time between the first and the last moment, in microseconds."""
        if not usable.any():
            return cls((), np.full(len(at), -1), weights)
        moments = at if usable.all() else at[usable]
        first, last = int(moments.min()), int(moments.max())
        count = min(_PERIODS, last - first + 1)
        width = -(-(last - first + 1) // count)
        parts = np.where(usable, (at - first) // width, -1)
        count = -(-(last - first + 1) // width)
        ends = [first + width * n for n in range(count)] + [last]
        edges = tuple(_EPOCH + timedelta(microseconds=each) for each in ends)
        return cls(edges, parts, weights)

    def shares(self, hit: npt.NDArray[np.bool_]) -> tuple[float | None, ...]:
        """Tell for each part the share of its rows that are hits."""
        count = max(len(self.edges) - 1, 0)
        there = self.parts >= 0
        total = self._sums(there, count)
        hits = self._sums(there & hit, count)
        return tuple(
            float(each / whole) if whole else None for each, whole in zip(hits, total, strict=True)
        )

    def _sums(self, rows: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.float64]:
        weights = None if self.weights is None else self.weights[rows]
        return np.bincount(self.parts[rows], weights, count).astype(float)

    def total(self, rows: npt.NDArray[np.bool_]) -> int:
        """Count the rows of the user's frame among these."""
        return int(rows.sum() if self.weights is None else self.weights[rows].sum())


def view_report(
    view: str,
    match: Match,
    positions: npt.NDArray[np.int64],
    *,
    rule: Rule,
    features: Sequence[str],
    usable: npt.NDArray[np.bool_],
    periods: Periods,
    notes: Sequence[str] = (),
) -> ViewReport:
    """Count what a join found.

    Parameters
    ----------
    view
        Name of the view.
    match
        What was found, whatever its age.
    positions
        As in the match, without rows that are too old.
    rule
        What counted.
    features
        The features of this view.
    usable
        Which rows of the spine have a key and a moment.
    periods
        The time that the spine covers.
    notes
        What else there is to know.
    """
    hit, chosen = positions >= 0, match.positions >= 0
    total = periods.total
    missed = usable & ~hit
    counts: dict[str, int] = {}
    if match.known is None:
        counts["unexplained"] = total(missed & ~chosen)
        counts["expired"] = total(missed & chosen)
    else:
        past = chosen if match.past is None else chosen | match.past
        counts["expired"] = total(missed & past)
        counts["future_only"] = total(missed & ~past & match.known)
        counts["unknown_entity"] = total(missed & ~past & ~match.known)
    weights = None if periods.weights is None else periods.weights[hit]
    uses = np.bincount(positions[hit], weights, minlength=match.rows.height)
    nulls = {name: int(uses[match.rows[name].is_null().to_numpy()].sum()) for name in features}
    return ViewReport(
        view=view,
        rule=rule.words(),
        hit=total(hit),
        null_values=nulls,
        null_key_or_time=total(~usable),
        tied=None if match.tied is None else total(match.tied & hit),
        coverage=periods.shares(hit),
        notes=tuple(notes),
        **counts,
    )
