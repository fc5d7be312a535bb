"""The flow of an audit: what the frame says of its times, and what joining again says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit import frames
from featkit.audits import checks
from featkit.audits.report import AuditReport, Finding, ordered
from featkit.audits.telling import telling
from featkit.calls import Call, LocalRead
from featkit.columns import TIMESTAMP_SUFFIX
from featkit.dtypes import TIMESTAMP
from featkit.durations import format_duration
from featkit.engines import polars
from featkit.engines.base import CREATED
from featkit.engines.plan import Strategy
from featkit.errors import InputError, KeyColumnError, KeyTypeError, TimestampError, nearest
from featkit.history import EVENT, Rule, rules
from featkit.references import select
from featkit.training.joined import join_by_store
from featkit.training.options import TrainingOptions
from featkit.training.rows import join_rows, plan_rows
from featkit.training.spine import AT_COLUMN, SpineColumns, check_moments, read_spine

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from featkit.audits.options import LeakageOptions
    from featkit.calls import Flow
    from featkit.frames import UserFrame
    from featkit.history import HistoryRows
    from featkit.references import Selection, ViewSelection
    from featkit.stores.base import Store
    from featkit.training.rows import PlannedJoin

_EVER = Rule()
_FAR = 253_370_764_800_000_000  # microseconds: the year 9999


def audit(
    store: Store,
    frame: Any,  # noqa: ANN401 - a frame of any library
    options: LeakageOptions,
    *,
    timezone: str | None,
) -> Flow[AuditReport]:
    """Audit a frame; see `featkit.FeaturesAccessor.audit`."""
    if isinstance(frame, pl.LazyFrame):
        frame = yield Call(LocalRead(frame.collect, "the frame", threaded=True))
    user = frames.adapt(frame)
    selection = yield from select(store, options.references)
    joined_again = bool(selection.views and options.sample) and store.capabilities.history != "none"
    reader = _Reader(user, options, timezone)
    columns = yield from reader.columns(selection)
    _refuse_nothing(columns, options, joined_again=joined_again)
    findings = list(_time_findings(columns, selection, options))
    done = [columns.said]
    if options.label is not None:
        label = yield from reader.series(options.label, "label")
        suspected = yield from reader.suspects(columns)
        for name, values in suspected.items():
            findings += telling(name, values, label)
        count = len(suspected)
        done.append(f"{count} column{'s' * (count != 1)} alone against the label")
    sampled = 0
    if joined_again:
        again = _Again(store, selection, columns, options)
        sampled = len(again.rows)
        findings += yield from again.compared(reader)
        done.append(f"{sampled:,} rows joined again")
        done += again.delays
    report = AuditReport(
        findings=ordered(findings), checks=tuple(done), rows=columns.height, sampled=sampled
    )
    report.raise_on(options.raise_on)
    return report


@dataclass(frozen=True, eq=False, kw_only=True)
class _Columns:
    """What was read of the frame.

    Attributes
    ----------
    keys, at, label_time
        Join keys, moments, and when the label was known.
    stamps
        By column of timestamps, these and the view or feature that they are of.
    features
        By reference, the column that holds the feature.
    about
        What identifies the rows.
    said
        What can be said of the check of times.
    """

    keys: pl.DataFrame
    at: pl.Series
    label_time: pl.Series | None
    stamps: dict[str, tuple[pl.Series, str]]
    features: dict[str, str]
    about: pl.DataFrame
    said: str

    @property
    def height(self) -> int:
        return len(self.at)


def _refuse_nothing(columns: _Columns, options: LeakageOptions, *, joined_again: bool) -> None:
    """Raise `InputError` where an audit would find nothing whatever the frame is."""
    if not (columns.stamps or joined_again) and options.label is None:
        msg = (
            "there is nothing to check: name the features that the frame holds, and how many rows "
            "are to be joined again, where the store has their history; the columns of their "
            "timestamps; or the label that is to be predicted"
        )
        raise InputError(msg)
    if columns.at.null_count() == columns.height:
        why = f"no row has a moment in {options.at!r}" if columns.height else "it has no rows"
        msg = f"there is nothing to check in the frame: {why}"
        raise InputError(msg)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads columns of the user's frame."""

    frame: UserFrame
    options: LeakageOptions
    zone: str | None

    def series(self, name: Hashable, option: str = "column") -> Flow[pl.Series]:
        """Read one column, which an option names."""
        frames.refuse_unknown(self.frame, name, option)
        read = partial(self.frame.key_columns, {str(name): name})
        try:
            found: pl.DataFrame = yield Call(LocalRead(read, f"the column {name!r}"))
        except KeyTypeError as error:
            told = str(error).replace(f"the key {str(name)!r}", "it").replace("a key", "compared")
            raise KeyTypeError(told) from error
        return found.to_series()

    def times(self, name: Hashable, option: str = "column") -> Flow[pl.Series]:
        """Read one column of timestamps, which an option names."""
        column = yield from self.series(name, option)
        row = self.frame.row_label
        return check_moments(column, name=name, zone=self.zone, row=row, option=option)

    def columns(self, selection: Selection) -> Flow[_Columns]:
        """Find and read all columns that take part."""
        options = self.options
        labels: dict[str, Hashable] = {}
        if selection.views:
            labels |= frames.key_labels(self.frame, selection, options.on)
        frames.refuse_unknown(self.frame, options.at, "at")
        read = partial(read_spine, self.frame, labels, options.at)
        found: pl.DataFrame = yield Call(LocalRead(read, "keys and moments of the frame"))
        at = check_moments(
            found[AT_COLUMN], name=options.at, zone=self.zone, row=self.frame.row_label
        )
        stamps = {}
        for name, of in self._stamp_columns().items():
            stamps[name] = (yield from self.times(name)), of
        label_time = None
        if options.label_time is not None:
            label_time = yield from self.times(options.label_time, "label_time")
        keys = found.drop(AT_COLUMN)
        about = pl.DataFrame(
            [pl.int_range(found.height, eager=True).alias("row"), *keys, at.alias("at")]
        )
        said = f"timestamps in {', '.join(stamps)}" if stamps else "no timestamps of features there"
        return _Columns(
            keys=keys,
            at=at,
            label_time=label_time,
            stamps=stamps,
            features=self._feature_columns(selection),
            about=about,
            said=said,
        )

    def suspects(self, columns: _Columns) -> Flow[dict[str, pl.Series]]:
        """Read what may tell the label: the features, or where none are named all there is."""
        options, found = self.options, {}
        names = list(columns.features.values())
        if not names:
            every = [name for name in self.frame.columns if isinstance(name, str)]
            names = [name for name in every if every.count(name) == 1]
        others = {options.label, options.label_time, options.at, *columns.stamps}
        for name in dict.fromkeys(names):
            if name in others:
                continue
            try:
                found[name] = yield from self.series(name)
            except (KeyTypeError, TimestampError):  # Python objects of several types
                if columns.features:
                    raise
        return found

    def _stamp_columns(self) -> dict[str, str]:
        """Find the columns with timestamps of features, and what each is of."""
        named = dict(self.options.timestamps)
        present = [name for name in self.frame.columns if isinstance(name, str)]
        for name in named:
            if name not in present:
                msg = f"timestamps= names {name!r}, which is no column; {nearest(name, present)}"
                raise KeyColumnError(msg)
        for name in present:
            if name.endswith(TIMESTAMP_SUFFIX):
                named.setdefault(name, name.removesuffix(TIMESTAMP_SUFFIX))
        return named

    def _feature_columns(self, selection: Selection) -> dict[str, str]:
        """Find the column of each feature: as named, else under its short or its full name."""
        present = set(self.frame.columns)
        found = {}
        for part in selection.views:
            for feature in part.features:
                reference = f"{part.view.name}:{feature.name}"
                tried = [f"{part.view.name}__{feature.name}", feature.name]
                if reference in self.options.named:
                    tried = [self.options.named[reference]]
                column = next((name for name in tried if name in present), None)
                if column is None:
                    msg = (
                        f"the frame has no column for {reference!r} (tried "
                        f"{', '.join(map(repr, tried))}); name it: "
                        f"features={{<column>: {reference!r}}}"
                    )
                    raise KeyColumnError(msg)
                found[reference] = column
        return found


def _time_findings(
    columns: _Columns, selection: Selection, options: LeakageOptions
) -> Iterator[Finding]:
    limits = {name: rule.limit for name, rule in _rules(selection, options).items()}
    views = {column: reference.partition(":")[0] for reference, column in columns.features.items()}
    for name, (stamps, of) in columns.stamps.items():
        view = of.partition(":")[0]
        limit = limits.get(view, limits.get(views.get(view, "")))
        yield from checks.times(
            name,
            stamps,
            at=columns.at,
            label=columns.label_time,
            limit=None if limit is None else timedelta(microseconds=limit),
            about=columns.about,
        )


def _rules(selection: Selection, options: LeakageOptions) -> dict[str, Rule]:
    return rules(
        [part.view for part in selection.views],
        lookback=options.lookback,
        known_by=options.known_by,
        strict=options.strict,
    )


class _Again:
    """A sample of the rows, joined again: rightly, and in the ways that go wrong most."""

    def __init__(
        self, store: Store, selection: Selection, columns: _Columns, options: LeakageOptions
    ) -> None:
        self._store, self._selection, self._columns = store, selection, columns
        self._options = options
        self.delays: list[str] = []
        usable = np.flatnonzero(columns.at.is_not_null().to_numpy())
        random = np.random.default_rng(options.seed)
        count = min(options.sample, len(usable))
        self.rows = np.sort(random.choice(usable, count, replace=False))

    def compared(self, reader: _Reader) -> Flow[list[Finding]]:
        """Join the sample and compare each feature."""
        findings: list[Finding] = []
        expected = yield from self._joined(self._options.known_by, self._columns.at)
        others: dict[str, dict[str, pl.Series]] = {}
        if self._store.capabilities.history == "rows":
            others["next"] = yield from self._next()
            far = pl.repeat(_FAR, self._columns.height, dtype=pl.Int64, eager=True).cast(TIMESTAMP)
            others["latest"] = yield from self._joined("event", far, ever=True)
            others["any age"] = yield from self._joined(self._options.known_by, None, ever=True)
        about = self._columns.about[self.rows]
        for reference, column in self._columns.features.items():
            found = (yield from reader.series(column))[self.rows]
            mistakes = {name: values[reference] for name, values in others.items()}
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
            row=lambda place: f"row {self.rows[place]}",
            zone=None,
        )

    def _rules(self, known_by: Any, *, ever: bool = False) -> dict[str, Rule]:  # noqa: ANN401 - as the option is
        made = _rules(self._selection, replace(self._options, known_by=known_by))
        return {name: replace(rule, limit=None) if ever else rule for name, rule in made.items()}

    def _joined(
        self,
        known_by: Any,  # noqa: ANN401 - as the option is
        at: pl.Series | None,
        *,
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
        found = {}
        for each in joined:
            places = pl.Series(each.positions).set(pl.Series(each.positions < 0), None)
            for name, values in each.values.items():
                found[f"{each.part.view.name}:{name}"] = values.gather(places)
        return found

    def _next(self) -> Flow[dict[str, pl.Series]]:
        """Join the first row after each moment: the same join with time turned round."""
        spine = self._spine(turned(self._columns.at))
        wanted = {name: replace(_EVER, strict=True) for name in self._rules("event")}
        options = TrainingOptions(at="at")
        planned = yield from plan_rows(self._store, self._selection, wanted, spine, options)
        found: dict[str, pl.Series] = {}
        for each in planned:
            yield from self._next_of(each, found)
        return found

    def _next_of(self, planned: PlannedJoin, found: dict[str, pl.Series]) -> Flow[None]:
        history = planned.task.history
        if history.event is None:  # static: there is no next
            for part, _, _ in planned.members:
                for feature in part.features:
                    none = pl.repeat(None, len(self.rows), dtype=feature.dtype, eager=True)
                    found[f"{part.view.name}:{feature.name}"] = none
            return
        back = -history.event.dt.epoch("us")
        task = replace(
            planned.task, history=replace(history, event=back.cast(TIMESTAMP), created=None)
        )
        strategy = Strategy(by_key=planned.strategy.by_key)
        run = LocalRead(partial(polars.join, task, strategy), "the next rows", threaded=True)
        match = yield Call(run)
        places = pl.Series(match.positions).set(pl.Series(match.positions < 0), None)
        for part, _, own in planned.members:
            for feature in part.features:
                values = own.convert(match.rows[feature.name], feature)
                found[f"{part.view.name}:{feature.name}"] = values.gather(places)

    def _written_later(self, expected: dict[str, pl.Series]) -> Flow[list[Finding]]:
        """Count the rows that would change if only what was written counted."""
        heeded = self._store.capabilities.history == "rows"
        timed = [part for part in self._selection.views if part.view.created]
        if not heeded or not timed or self._options.known_by != "event":
            return []
        written = yield from self._joined("created", None)
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
        spine = self._spine(self._columns.at)
        wanted = self._rules("event")
        one = replace(self._selection, views=(part,))
        planned = yield from plan_rows(self._store, one, wanted, spine, TrainingOptions(at="at"))
        history: HistoryRows = planned[0].task.history
        if history.event is None or history.created is None:
            msg = f"feature view {part.view.name!r} lost its created timestamp meanwhile"
            raise InputError(msg)
        later = (history.created - history.event).alias(CREATED)
        scan = history.scan.select(later).select(
            pl.col(CREATED).quantile(0.5).alias("half"),
            pl.col(CREATED).quantile(0.99).alias("most"),
            pl.col(CREATED).max().alias("all"),
        )
        half, most, last = (yield Call(LocalRead(scan.collect, EVENT, threaded=True))).row(0)
        half, most, last = (
            "at once" if each is None else format_duration(each) for each in (half, most, last)
        )
        return (
            f"rows are written {half} after their event in the median, {most} at 99%, "
            f"{last} at most"
        )


def turned(at: pl.Series) -> pl.Series:
    """Turn time round: what came later comes earlier."""
    return (-at.to_physical()).cast(TIMESTAMP).alias(at.name)
