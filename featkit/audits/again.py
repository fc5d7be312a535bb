"""What a store tells of the rows of a frame that is audited: a sample of them, joined again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit.audits import checks
from featkit.audits.report import Finding
from featkit.calls import Call, LocalRead
from featkit.dtypes import TIMESTAMP
from featkit.durations import format_duration
from featkit.engines.base import CREATED
from featkit.engines.plan import Strategy
from featkit.errors import InputError
from featkit.failures import FAILURES
from featkit.history import HistoryRead, Rule
from featkit.training.joined import join_by_store
from featkit.training.options import TrainingOptions
from featkit.training.rows import join_rows, plan_rows
from featkit.training.spine import SpineColumns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.audits.columns import ColumnReader, FrameColumns
    from featkit.calls import Flow
    from featkit.history import HistoryRows
    from featkit.references import Selection, ViewSelection
    from featkit.stores.base import Store
    from featkit.training.rows import PlannedJoin
    from featkit.training.spine import Joined

_FAR = 253_370_764_800_000_000  # microseconds: the year 9999


class Again:
    """A sample of the rows, joined again: rightly, and in the ways that go wrong most."""

    def __init__(
        self, store: Store, selection: Selection, columns: FrameColumns, reader: ColumnReader
    ) -> None:
        self._store, self._selection, self._columns = store, selection, columns
        self._reader, self._options = reader, reader.options
        self.delays: list[str] = []
        usable = np.flatnonzero(columns.at.is_not_null().to_numpy())
        random = np.random.default_rng(self._options.seed)
        count = min(self._options.sample, len(usable))
        self.rows = np.sort(random.choice(usable, count, replace=False))

    def compared(self) -> Flow[list[Finding]]:
        """Join the sample and compare each feature."""
        findings: list[Finding] = []
        expected = yield from self._joined(self._options.known_by)
        others: dict[str, dict[str, pl.Series]] = {}
        if self._store.capabilities.history == "rows":
            others["next"] = yield from self._next()
            if self._options.known_by != "event":
                others["too early"] = yield from self._joined("event")
            far = pl.repeat(_FAR, self._columns.height, dtype=pl.Int64, eager=True).cast(TIMESTAMP)
            others["latest"] = yield from self._joined("event", at=far, ever=True)
            others["any age"] = yield from self._joined(self._options.known_by, ever=True)
        about = self._columns.about[self.rows]
        for reference, column in self._columns.features.items():
            found = (yield from self._reader.series(column))[self.rows]
            mistakes = {
                name: values[reference] for name, values in others.items() if reference in values
            }
            findings += checks.values(
                column,
                found,
                expected[reference],
                mistakes,
                tolerance=self._options.tolerance,
                about=about,
            )
        findings += yield from self._written_later(expected)
        return findings

    def _spine(self, at: pl.Series) -> SpineColumns:
        return SpineColumns(
            keys=self._columns.keys[self.rows]
            if self._columns.keys.width
            else pl.DataFrame(height=len(self.rows)),
            at=at[self.rows],
            weights=None,
            row=lambda place: self._reader.frame.row_label(int(self.rows[place])),
            zone=self._reader.zone,
        )

    def _rules(self, known_by: Any, *, ever: bool = False) -> dict[str, Rule]:  # noqa: ANN401 - as the option is
        made = replace(self._options, known_by=known_by).rules(self._selection)
        return {name: replace(rule, limit=None) if ever else rule for name, rule in made.items()}

    def _joined(
        self,
        known_by: Any,  # noqa: ANN401 - as the option is
        *,
        at: pl.Series | None = None,
        ever: bool = False,
    ) -> Flow[dict[str, pl.Series]]:
        spine = self._spine(self._columns.at if at is None else at)
        wanted = self._rules(known_by, ever=ever)
        options = TrainingOptions(at="at", known_by=known_by)
        if self._store.capabilities.history == "joined":
            joined = yield from join_by_store(self._store, self._selection, wanted, spine, options)
        else:
            planned = yield from plan_rows(self._store, self._selection, wanted, spine, options)
            joined = yield from join_rows(self._selection, planned, spine)
        return _by_reference(joined)

    def _next(self) -> Flow[dict[str, pl.Series]]:
        """Join the first row that does not count yet by its event; static views have none.

        It is the same join with time turned round.
        """
        spine = self._spine(turned(self._columns.at))
        wanted = dict.fromkeys(self._rules("event"), Rule(strict=not self._options.strict))
        options = TrainingOptions(at="at")
        planned = yield from plan_rows(self._store, self._selection, wanted, spine, options)
        timed = [
            _backwards(each, event)
            for each in planned
            if (event := each.task.history.event) is not None
        ]
        parts = tuple(part for each in timed for part, _, _ in each.members)
        joined = yield from join_rows(replace(self._selection, views=parts), timed, spine)
        return _by_reference(joined)

    def _written_later(self, expected: dict[str, pl.Series]) -> Flow[list[Finding]]:
        """Count the rows that would change if only what was written counted."""
        heeded = self._store.capabilities.history == "rows"
        timed = [part for part in self._selection.views if part.view.created]
        if not heeded or not timed or self._options.known_by != "event":
            return []
        written = yield from self._joined("created")
        findings = []
        for part in timed:
            changed = np.zeros(len(self.rows), bool)
            for feature in part.features:
                reference = f"{part.view.name}:{feature.name}"
                changed |= ~checks.equal(
                    expected[reference], written[reference], self._options.tolerance
                )
            delay = yield from self._delay(part)
            self.delays.append(f"{part.view.name}: {delay}")
            if changed.any():
                findings.append(
                    Finding(
                        check="availability",
                        level="warning",
                        column=part.view.name,
                        rows=int(changed.sum()),
                        examined=len(self.rows),
                        message=(
                            "other values would be joined if a row counted only once it was "
                            f"written (known_by='created'); {delay}"
                        ),
                        examples=self._columns.about[self.rows].filter(pl.Series(changed)).head(5),
                    )
                )
        return findings

    def _delay(self, part: ViewSelection) -> Flow[str]:
        """Tell how long after their events rows are written."""
        history: HistoryRows = yield self._store.read_history(HistoryRead(part.view, ()))
        if history.event is None or history.created is None:
            msg = f"feature view {part.view.name!r} lost its created timestamp meanwhile"
            raise InputError(msg)
        later = (history.created - history.event).alias(CREATED)
        scan = history.scan.select(later).select(
            pl.col(CREATED).quantile(0.5).alias("half"),
            pl.col(CREATED).quantile(0.99).alias("most"),
            pl.col(CREATED).max().alias("all"),
        )

        def read() -> pl.DataFrame:
            try:
                return scan.collect()
            except FAILURES as error:
                raise history.unreadable(error) from error

        what = f"delays of feature view {part.view.name!r}"
        half, most, last = (yield Call(LocalRead(read, what, threaded=True))).row(0)
        half, most, last = (
            "at once" if each is None else format_duration(each) for each in (half, most, last)
        )
        return (
            f"rows are written {half} after their event in the median, {most} at 99%, "
            f"{last} at most"
        )


def _by_reference(joined: Sequence[Joined]) -> dict[str, pl.Series]:
    return {
        f"{each.part.view.name}:{name}": values
        for each in joined
        for name, values in each.by_row().items()
    }


def _backwards(planned: PlannedJoin, event: pl.Expr) -> PlannedJoin:
    """Turn time round in a join of a history with these event timestamps."""
    back = (-event.dt.epoch("us")).cast(TIMESTAMP)
    history = replace(planned.task.history, event=back, created=None)
    task = replace(planned.task, history=history)
    return replace(planned, task=task, strategy=Strategy(by_key=planned.strategy.by_key))


def turned(at: pl.Series) -> pl.Series:
    """Turn time round: what came later comes earlier."""
    return (-at.to_physical()).cast(TIMESTAMP).alias(at.name)
