"""Two frames that should be alike: training and serving, last month and this one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import polars as pl

from featkit import aligned, figures, frames
from featkit.audits.drift import Drift, drift
from featkit.errors import InputError, KeyColumnError, nearest
from featkit.html import UNBROKEN, badge, element, joined, page, table
from featkit.replacing import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from featkit.html import Markup, Tone

SHIFTED, MOVED = 0.25, 0.1
"""Population stability indices from which on a column is another one, and is to be watched."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SkewReport:
    """How far the columns of two frames are apart, the farthest first.

    Attributes
    ----------
    columns
        One comparison per column.
    left_out
        Columns that only one of the frames has.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> flights = featkit.demo.flights("polars").select("origin", "distance")
    >>> report = flights.head(100_000).features.skew(flights.tail(100_000))
    >>> [each.column for each in report.columns if each.psi > 0.25]
    []
    """

    columns: tuple[Drift, ...]
    left_out: tuple[str, ...] = ()

    def __getitem__(self, column: str) -> Drift:
        """Return the comparison of one column."""
        for each in self.columns:
            if each.column == column:
                return each
        msg = f"{column!r} was not compared; {nearest(column, [c.column for c in self.columns])}"
        raise KeyColumnError(msg)

    def to_polars(self) -> pl.DataFrame:
        """Return one row per column, with all figures."""
        names = [each.name for each in fields(Drift)]
        rows = [[getattr(each, name) for name in names] for each in self.columns]
        schema = {
            name: pl.String
            if name in {"column", "kind"}
            else (pl.Int64 if name.endswith("rows") else pl.Float64)
            for name in names
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the population stability index of each column.

        Parameters
        ----------
        ax
            Where to draw; None: a new figure.
        """
        shown = self.columns[::-1]
        drawn = figures.axes(ax, height=1.2 + 0.35 * len(shown))
        drawn.barh(
            [figures.label(each.column) for each in shown],
            [each.psi for each in shown],
            color=figures.INKS[0],
        )
        for limit, dash in ((MOVED, ":"), (SHIFTED, "--")):
            drawn.axvline(limit, color=figures.INKS[1], linestyle=dash)
        drawn.set_xlabel(
            "population stability index\n(from 0.1 on: watch it; from 0.25 on: another population)"
        )
        return drawn

    def to_html(self, path: str | Path) -> None:
        """Write the report as a page of one file; one that is there is replaced."""
        title = "Skew"
        write_text(page(title, element("h1", title), self._body(), style=UNBROKEN), path)

    def _repr_html_(self) -> str:
        return str(self._body())

    def _body(self) -> Markup:
        header, *lines = self._table()
        marked = [
            [badge(*_verdict(each)), *line] for each, line in zip(self.columns, lines, strict=True)
        ]
        numbers = [name for name in header if name not in {"column", "kind"}]
        left = f"only in one of the frames: {', '.join(self.left_out)}" if self.left_out else None
        return joined(
            [
                table(["", *header], marked, caption=self._headline(), numbers=numbers),
                element("p", left) if left else None,
            ]
        )

    def _headline(self) -> str:
        shifted = sum(each.psi > SHIFTED for each in self.columns)
        return f"{len(self.columns)} columns compared, {shifted} of another population"

    def _table(self) -> list[list[str]]:
        header = ["column", "kind", "psi", "distance", "statistic", "p", "nulls", "other nulls"]
        header.append("outside")
        rows = [
            [
                each.column,
                each.kind,
                *(f"{value:.3f}" for value in (each.psi, each.distance, each.statistic)),
                f"{each.p_value:.2g}",
                f"{each.nulls:.1%}",
                f"{each.other_nulls:.1%}",
                "" if each.outside is None else f"{each.outside:.1%}",
            ]
            for each in self.columns
        ]
        return [header, *rows]

    def __str__(self) -> str:
        header, *lines = self._table()
        text = aligned.table(header, lines, numbers=header[2:])
        left = [f"only in one of the frames: {', '.join(self.left_out)}"] if self.left_out else []
        return "\n".join([self._headline(), *text, *left])

    __repr__ = __str__


def _verdict(each: Drift) -> tuple[str, Tone]:
    if each.psi > SHIFTED:
        return "another population", "bad"
    return ("watch it", "warn") if each.psi > MOVED else ("alike", "good")


def skew(own: object, other: object, columns: Sequence[str] | None = None) -> SkewReport:
    """Compare the columns that two frames share; see `featkit.FeaturesAccessor.skew`."""
    left, right = _rows(own), _rows(other)
    shared = [name for name in left.columns if name in right.columns]
    chosen = shared if columns is None else list(columns)
    for name in chosen:
        if name not in shared:
            msg = f"{name!r} is not in both frames; {nearest(name, shared)}"
            raise KeyColumnError(msg)
    if not chosen:
        msg = "the two frames have no column in common, so that there is nothing to compare"
        raise InputError(msg)
    drifts = [drift(left[name], right[name]) for name in chosen]
    only = [*left.columns, *right.columns]
    return SkewReport(
        columns=tuple(sorted(drifts, key=lambda each: -each.psi)),
        left_out=tuple(dict.fromkeys(name for name in only if name not in shared))
        if columns is None
        else (),
    )


def _rows(frame: object) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    user = frames.adapt(frame)
    names = [name for name in user.columns if isinstance(name, str)]
    return user.key_columns({name: name for name in names})
