"""Two frames that should be alike: training and serving, last month and this one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import polars as pl

from featkit import aligned, figures, frames
from featkit.audits.drift import Drift, drift
from featkit.errors import InputError, KeyColumnError, KeyTypeError, TimestampError, nearest
from featkit.html import badge, element, joined, table
from featkit.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from featkit.html import Markup, Tone

SHIFTED, MOVED = 0.25, 0.1
"""Population stability indices from which on a column is another one, and is to be watched."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SkewReport(Report):
    """How far the columns of two frames are apart, the farthest first.

    Attributes
    ----------
    columns
        One comparison per column.
    left_out
        Columns that only one of the frames has.
    odd
        By column of both, why it was not compared.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> flights = featkit.demo.flights("polars").select("origin", "distance")
    >>> report = flights.head(100_000).features.skew(flights.tail(100_000))
    >>> [each.column for each in report.columns if each.psi > 0.25]
    []
    """

    _title = "Skew"

    columns: tuple[Drift, ...]
    left_out: tuple[str, ...] = ()
    odd: Mapping[str, str] = field(default_factory=dict)

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

    def _body(self) -> Markup:
        header, *lines = self._table()
        marked = [
            [badge(*_verdict(each)), *line] for each, line in zip(self.columns, lines, strict=True)
        ]
        numbers = [name for name in header if name not in {"column", "kind"}]
        shown = table(["", *header], marked, caption=self._headline(), numbers=numbers)
        return joined([shown, *(element("p", remark) for remark in self._remarks())])

    def _remarks(self) -> list[str]:
        said = [f"{name} was not compared: {why}" for name, why in self.odd.items()]
        if self.left_out:
            said.append(f"only in one of the frames: {', '.join(self.left_out)}")
        return said

    def _headline(self) -> str:
        shifted = sum(each.psi > SHIFTED for each in self.columns)
        count = len(self.columns)
        return f"{count} column{'s' * (count != 1)} compared, {shifted} of another population"

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
        return "\n".join([self._headline(), *text, *self._remarks()])

    __repr__ = __str__


def _verdict(each: Drift) -> tuple[str, Tone]:
    if each.psi > SHIFTED:
        return "another population", "bad"
    return ("watch it", "warn") if each.psi > MOVED else ("alike", "good")


def skew(own: object, other: object, columns: Sequence[str] | None = None) -> SkewReport:
    """Compare the columns that two frames share; see `featkit.FeaturesAccessor.skew`."""
    left, right = _Columns.of(own), _Columns.of(other)
    for which, side in (("frame", left), ("other frame", right)):
        if side.rows.width and not side.rows.height:
            msg = f"the {which} has no rows, so that nothing can be said of its columns"
            raise InputError(msg)
    shared = [name for name in left.names if name in right.names]
    odd = {name: why for name, why in {**right.odd, **left.odd}.items() if name in shared}
    chosen = [name for name in shared if name not in odd]
    if columns is not None:
        chosen = [columns] if isinstance(columns, str) else list(columns)
    for name in chosen:
        if name not in shared:
            msg = f"{name!r} is not in both frames; {nearest(name, shared)}"
            raise KeyColumnError(msg)
        if name in odd:
            msg = f"{name!r} cannot be compared: {odd[name]}"
            raise InputError(msg)
    if not chosen:
        msg = "the two frames have no column in common that can be compared"
        raise InputError(msg)
    drifts = [drift(left.rows[name], right.rows[name]) for name in chosen]
    whole = columns is None
    only = dict.fromkeys(name for name in [*left.names, *right.names] if name not in shared)
    return SkewReport(
        columns=tuple(sorted(drifts, key=lambda each: -each.psi)),
        left_out=tuple(only) if whole else (),
        odd=odd if whole else {},
    )


@dataclass(frozen=True, eq=False)
class _Columns:
    """The columns of a frame that can be read, and why others cannot."""

    rows: pl.DataFrame
    odd: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        return [*self.rows.columns, *self.odd]

    @classmethod
    def of(cls, frame: object) -> _Columns:
        if isinstance(frame, pl.LazyFrame):
            frame = frame.collect()
        user = frames.adapt(frame)
        names = [name for name in user.columns if isinstance(name, str)]
        found, odd = [], {}
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                odd[name] = "there are several columns of that name"
                continue
            try:
                column = user.key_columns({name: name}).to_series()
            except (KeyTypeError, TimestampError):
                odd[name] = "it holds Python objects of several types"
                continue
            if column.dtype == pl.Object:
                odd[name] = "it holds Python objects"
            else:
                found.append(column)
        return cls(pl.DataFrame(found), odd)
