"""The flow of an audit: what the frame says of its times, and what joining again says."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from featkit import frames
from featkit.audits import checks
from featkit.audits.again import Again
from featkit.audits.columns import ColumnReader
from featkit.audits.report import AuditReport, Finding, ordered
from featkit.audits.telling import telling
from featkit.calls import Call, LocalRead
from featkit.errors import InputError
from featkit.references import select

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.audits.columns import FrameColumns
    from featkit.audits.options import LeakageOptions
    from featkit.calls import Flow
    from featkit.references import Selection
    from featkit.stores.base import Store


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
    reader = ColumnReader(user, options, timezone)
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
        again = Again(store, selection, columns, reader)
        sampled = len(again.rows)
        findings += yield from again.compared()
        done.append(f"{sampled:,} rows joined again")
        done += again.delays
    report = AuditReport(
        findings=ordered(findings), checks=tuple(done), rows=columns.height, sampled=sampled
    )
    report.raise_on(options.raise_on)
    return report


def _refuse_nothing(columns: FrameColumns, options: LeakageOptions, *, joined_again: bool) -> None:
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


def _time_findings(
    columns: FrameColumns, selection: Selection, options: LeakageOptions
) -> Iterator[Finding]:
    limits = {name: rule.limit for name, rule in options.rules(selection).items()}
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
