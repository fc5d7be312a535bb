"""The lookup flow: keys, calls, columns; the answer checked before anything is joined."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.calls import Call, LocalRead
from featkit.columns import FeatureColumns, KeyedColumn, Status
from featkit.errors import (
    FeatkitError,
    MissingEntitiesError,
    NotSupportedError,
    ProtocolError,
    RowMismatch,
)
from featkit.keys import EntityKeys, check, row_number
from featkit.online.answering import Answer, How, answered
from featkit.references import selected_anew
from featkit.stores.base import OnlineRead
from featkit.summary import LookupSummary, ViewSummary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from featkit.calls import Flow
    from featkit.keys import RowLabel
    from featkit.references import Selection, ViewSelection
    from featkit.stores.base import Store
    from featkit.types import Expired, OnError, OnMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupOptions:
    """How a lookup is done.

    Attributes
    ----------
    now
        The moment that counts as now, aware (UTC).
    timezone
        What naive timestamps among the keys mean; None: they are refused.
    expired
        Whether values past their ttl are kept or become null.
    on_missing
        What happens when the store does not know an entity; a warning is the caller's.
    on_error
        Whether a failed call fails the lookup or leaves nulls of status `ERROR`.
    how
        How the store and the cache are asked.
    """

    now: datetime
    timezone: str | None = None
    expired: Expired = "keep"
    on_missing: OnMissing = "null"
    on_error: OnError = "raise"
    how: How = field(default_factory=How)


@dataclass(frozen=True, eq=False)
class _Part:
    """The answer for one view, one row per distinct key, under the names of the result."""

    selection: ViewSelection
    keys: EntityKeys
    columns: FeatureColumns
    answer: Answer | None = None

    @property
    def positions(self) -> pl.Series | None:
        return None if self.keys.one_to_one else self.keys.positions

    def summary(self, rows: pl.Series | None) -> ViewSummary:
        counted: Counter[Status] = Counter()
        weights = self.keys.counted(rows)
        seen: dict[int, dict[Status, int]] = {}
        for statuses in self.columns.statuses.values():
            if id(statuses) not in seen:
                sums = np.bincount(statuses.to_physical().to_numpy(), weights, len(Status))
                seen[id(statuses)] = dict(zip(Status, sums.astype(int).tolist(), strict=True))
            counted.update(seen[id(statuses)])
        return ViewSummary(
            view=self.selection.view.name,
            rows=_total(rows, len(self.keys)),
            null_keys=_total(rows, len(self.keys)) - int(weights.sum()),
            unique=self.keys.unique.height,
            cached=self.answer.cached if self.answer else 0,
            fetched=self.answer.fetched if self.answer else 0,
            calls=self.answer.calls if self.answer else 0,
            statuses={status: count for status, count in counted.items() if count},
        )


@dataclass(frozen=True, eq=False)
class Lookup:
    """The answers of a lookup, kept per distinct key until they are wanted per row.

    Attributes
    ----------
    selection
        What was asked for.
    rows
        How many rows the frame has.
    parts
        One answer per view.
    summary
        What was done.
    """

    selection: Selection
    rows: int
    parts: tuple[_Part, ...]
    summary: LookupSummary

    def columns(self) -> FeatureColumns:
        """Return everything, one row per row of the frame."""
        parts = [
            part.columns if part.positions is None else part.columns.gather(part.positions)
            for part in self.parts
        ]
        if not self.selection.columns:
            return FeatureColumns.beside((), self.rows)
        beside = FeatureColumns.beside(parts, self.rows)
        return replace(beside, values=beside.values.select(self.selection.columns))

    def keyed(self, *, timestamps: bool = False, statuses: bool = False) -> Iterator[KeyedColumn]:
        """Give the columns that a frame gets, in the order asked for."""
        places = {name: part for part in self.parts for name in part.columns.values.columns}
        for name in self.selection.columns:
            part = places[name]
            for values in part.columns.one(name, timestamps=timestamps, statuses=statuses):
                yield KeyedColumn(values, part.positions)


def lookup(
    store: Store,
    selection: Selection,
    columns: pl.DataFrame,
    options: LookupOptions,
    *,
    row: RowLabel = row_number,
    weights: pl.Series | None = None,
    anew: bool = False,
) -> Flow[Lookup]:
    """Look up the selected features for each row of a frame.

    Parameters
    ----------
    store
        Whom to ask.
    selection
        What to ask for.
    columns
        The frame's key columns, named by the join keys.
    options
        How to do it.
    row
        How the user calls a row, for messages.
    weights
        How many rows of the frame each row of `columns` stands for; None: itself.
    anew
        Whether the store was just asked what its views are, so that no cache tells.

    Raises
    ------
    KeyTypeError, TimestampError
        A key cannot be used; nothing was asked.
    StoreError
        A call failed (and ``on_error="raise"``); what was fetched is in its ``partial``.
    MissingEntitiesError
        The store does not know an entity (and ``on_missing="raise"``).
    """
    keys = yield from _keys(selection, columns, options, row)
    reads = [
        OnlineRead(part.view, part.features, own.unique, options.now)
        for part, own in zip(selection.views, keys, strict=True)
    ]
    asked = [read for read in reads if read.features]
    answers = yield from answered(store, asked, options.how)
    told = iter(answers)
    parts = [
        _judged(part, own, next(told) if part.features else None, options)
        for part, own in zip(selection.views, keys, strict=True)
    ]
    failures = [error for answer in answers for error in answer.failures]
    if not anew and options.how.cache is not None and any(map(_is_unreadable, failures)):
        # what was kept of the views may describe others than there are by now
        newer = yield from selected_anew(store, selection)
        if newer is not None:
            again = lookup(store, newer, columns, options, row=row, weights=weights, anew=True)
            return (yield from again)
    views = tuple(part.summary(weights) for part in parts)
    summary = LookupSummary(views=views, rows=_total(weights, columns.height))
    result = Lookup(selection, columns.height, tuple(parts), summary)
    if failures and options.on_error == "raise":
        failures[0].partial = result.columns()
        raise failures[0]
    if options.on_missing == "raise":
        _refuse_missing(result, row)
    return result


def _keys(
    selection: Selection, columns: pl.DataFrame, options: LookupOptions, row: RowLabel
) -> Flow[list[EntityKeys]]:
    """Find the distinct keys of each view, all at once; views with the same keys share them."""
    checked = []
    for part in selection.views:
        if not part.view.online:
            msg = (
                f"feature view {part.view.name!r} is not served online; it can only be read for "
                "training sets"
            )
            raise NotSupportedError(msg)
        own = check(part.keys_of(columns), part.view, zone=options.timezone, row=row)
        checked.append(((part.key_columns, *own.schema.items()), own))
    shared = dict(checked)
    found = yield from _distinct(list(shared.values()))
    known = dict(zip(shared, found, strict=True))
    return [known[name] for name, _ in checked]


def _distinct(columns: list[pl.DataFrame]) -> Flow[list[EntityKeys]]:
    """Find the distinct keys, of several kinds at the same time: Arrow lets go of the GIL."""
    if len(columns) <= 1:
        return [_counted(own) for own in columns]
    found: list[EntityKeys] = yield [
        Call(LocalRead(partial(_counted, own), "the distinct keys")) for own in columns
    ]
    for keys in found:
        if isinstance(keys, FeatkitError):  # the time is up
            raise keys
    return found


def _counted(columns: pl.DataFrame) -> EntityKeys:
    keys = EntityKeys.of(columns)
    keys.counted(None)  # they remember it, for the summary
    return keys


def _judged(
    part: ViewSelection, keys: EntityKeys, answer: Answer | None, options: LookupOptions
) -> _Part:
    if answer is None:  # no feature is wanted
        return _Part(part, keys, FeatureColumns.unanswered(pl.Schema(), 0, Status.NOT_FOUND))
    columns = answer.marked(answer.columns.judge(part.view.ttl, options.now))
    if options.expired == "null":
        columns = columns.blank(Status.EXPIRED)
    return _Part(part, keys, columns.rename(part.names), answer)


def _is_unreadable(error: FeatkitError) -> bool:
    return isinstance(error, ProtocolError) and not isinstance(error, RowMismatch)


def _total(weights: pl.Series | None, rows: int) -> int:
    return rows if weights is None else int(weights.sum())


def _refuse_missing(result: Lookup, row: RowLabel) -> None:
    for part in result.parts:
        for statuses in part.columns.statuses.values():
            missing = (statuses == Status.NOT_FOUND).arg_true()
            if len(missing):
                first = part.keys.unique.row(missing[0])
                position = (part.keys.positions == missing[0]).arg_max() or 0
                msg = (
                    f"feature view {part.selection.view.name!r} does not know {len(missing):,} of "
                    f"{part.keys.unique.height:,} entities; the first is {_key(first)} "
                    f"({row(position)}); on_missing='null' leaves their features null"
                )
                error = MissingEntitiesError(msg)
                error.partial = result.columns()
                raise error


def _key(values: tuple[object, ...]) -> str:
    return repr(values[0]) if len(values) == 1 else repr(values)
