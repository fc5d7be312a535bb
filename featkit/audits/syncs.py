"""When what a store serves was brought up to date, and what an audit learns from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from featkit.columns import STATUS, Status, once
from featkit.dtypes import TIMESTAMP
from featkit.durations import roughly
from featkit.errors import FeatkitError
from featkit.staleness.ages import ages
from featkit.staleness.verdicts import judge

if TYPE_CHECKING:
    from datetime import datetime

    from featkit.columns import FeatureColumns
    from featkit.populations import Sync
    from featkit.staleness import Thresholds, Verdict


def moment_of(sync: Sync | FeatkitError | None) -> datetime | None:
    """Tell how recent the rows are at the best; None: it is not known."""
    return None if sync is None or isinstance(sync, FeatkitError) else sync.moment


def dated(columns: FeatureColumns, moment: datetime) -> FeatureColumns:
    """Give values without times of their own the moment of the view, those that are there."""
    there = once(lambda statuses: statuses.is_in(_THERE))
    stamps = {}
    for name, statuses in columns.statuses.items():
        time = pl.when(there(statuses)).then(pl.lit(moment, dtype=TIMESTAMP))
        stamps[name] = statuses.to_frame().select(time.alias("time")).to_series()
    return replace(columns, timestamps=stamps)


_THERE = pl.Series([Status.PRESENT, Status.NULL], dtype=STATUS)


def judged(moment: datetime, thresholds: Thresholds, now: datetime) -> tuple[Verdict, str]:
    """Say what to think of a view as a whole, none of whose entities was looked at."""
    found = ages(pl.Series([moment], dtype=TIMESTAMP), thresholds, now)
    verdict, reason = judge(found, thresholds, level="view", n=1)
    return verdict, f"{reason} (by when it was brought up to date; no entity was looked at)"


def words(sync: Sync | FeatkitError | None, now: datetime) -> tuple[str, ...]:
    """Say it in a line, or in none."""
    if sync is None:
        return ()
    if isinstance(sync, FeatkitError):
        return (f"when it was brought up to date cannot be read: {sync}",)
    said = [f"its last synchronisation failed: {sync.failed}"] if sync.failed else []
    if sync.until:
        said.append(f"it has the rows of its source up to {_moment(sync.until, now)}")
    if sync.finished:
        said.append(f"it was brought up to date {_moment(sync.finished, now)}")
    return tuple(said)


def _moment(time: datetime, now: datetime) -> str:
    age = f"{roughly(now - time)} ago" if now >= time else "later than now"
    return f"{time:%Y-%m-%d %H:%M:%S} UTC ({age})"
