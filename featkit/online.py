"""The lookup flow: keys, calls, columns; the answer checked before anything is joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit.calls import Call, LocalRead
from featkit.columns import STATUS, FeatureColumns, KeyedColumn, Status
from featkit.completion import completed
from featkit.dtypes import TIMESTAMP
from featkit.errors import (
    BatchTooLarge,
    FeatkitError,
    IncompleteAnswer,
    MissingEntitiesError,
    NotSupportedError,
    ProtocolError,
    RowMismatch,
    SlowAnswer,
)
from featkit.gathering import gathered
from featkit.keys import EntityKeys, check, row_number
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


_AT_ONCE = 8  # calls that run at the same time


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
    ceilings
        By view, how many entities the store took at a time at the most; learnt from refusals, and
        written to.
    """

    now: datetime
    timezone: str | None = None
    expired: Expired = "keep"
    on_missing: OnMissing = "null"
    on_error: OnError = "raise"
    ceilings: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Part:
    """The answer for one view, one row per distinct key, under the names of the result."""

    selection: ViewSelection
    keys: EntityKeys
    columns: FeatureColumns
    calls: int
    fetched: int

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
            cached=0,
            fetched=self.fetched,
            calls=self.calls,
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
        OnlineRead(part.view, part.features, chunk, options.now)
        for part, own in zip(selection.views, keys, strict=True)
        if part.features
        for chunk in own.chunks(_batch(store, part, options, own.unique.height))
    ]
    asked_for = yield from _ask(store, reads, options)
    calls = Counter(id(read.view) for read, _ in asked_for)
    answers = gathered(asked_for)
    failures: list[FeatkitError] = []
    parts = []
    for part, own in zip(selection.views, keys, strict=True):
        asked = [(read, answer) for read, answer in answers if read.view is part.view]
        dtypes = {feature.name: feature.dtype for feature in part.features if feature.dtype}
        usable = [_checked(answer, read, dtypes, failures) for read, answer in asked]
        told = pl.Schema(dtypes)
        chunks = [replace(chunk, values=chunk.values.cast(told)) for chunk in usable]
        parts.append(_judged(part, own, chunks, calls[id(part.view)], options))
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


def _batch(store: Store, part: ViewSelection, options: LookupOptions, entities: int) -> int | None:
    sizes = [store.batch_size(part.view), options.ceilings.get(part.view.name)]
    if store.capabilities.one_by_one:
        sizes.append(max(1, -(-entities // _AT_ONCE)))
    return min((size for size in sizes if size is not None), default=None)


def _ask(
    store: Store, reads: list[OnlineRead], options: LookupOptions, *, alive: bool = True
) -> Flow[list[tuple[OnlineRead, object]]]:
    """Ask everything at once; what is too large for the store is asked again in halves.

    What is too slow as well, unless nothing got through twice: then the store is not slow but down.
    """
    if not reads:
        return []
    first = yield from store.perform(reads, store.read_together(reads))
    answers = yield from completed(store, reads, first)
    moves = not all(isinstance(answer, SlowAnswer) for answer in answers)
    if not (alive or moves) or not any(map(_too_large, reads, answers)):
        return list(zip(reads, answers, strict=True))
    halves: list[OnlineRead] = []
    for read, answer in zip(reads, answers, strict=True):
        if _too_large(read, answer):
            half = -(-read.keys.height // 2)
            if isinstance(answer, BatchTooLarge):  # what is slow now may be fast again
                options.ceilings[read.view.name] = half
            halves += [replace(read, keys=keys) for keys in read.keys.iter_slices(half)]
    smaller = iter((yield from _ask(store, halves, options, alive=moves)))
    asked: list[tuple[OnlineRead, object]] = []
    for read, answer in zip(reads, answers, strict=True):
        if not _too_large(read, answer):
            asked.append((read, answer))
            continue
        rows = 0
        while rows < read.keys.height:
            asked.append(next(smaller))
            rows += asked[-1][0].keys.height
    return asked


def _too_large(read: OnlineRead, answer: object) -> bool:
    return isinstance(answer, (BatchTooLarge, SlowAnswer)) and read.keys.height > 1


def _checked(
    answer: object,
    read: OnlineRead,
    dtypes: dict[str, pl.DataType],
    failures: list[FeatkitError],
) -> FeatureColumns:
    """Return the answer if it is one to this question; a failure becomes nulls of status ERROR.

    A dtype that the view does not tell is that of the first answer with values, which `dtypes`
    remembers.
    """
    schema = pl.Schema({item.name: dtypes.get(item.name, pl.Null()) for item in read.features})
    try:
        if isinstance(answer, FeatkitError):
            raise answer
        if not isinstance(answer, FeatureColumns):
            msg = (
                f"feature view {read.view.name!r}: the store answered with {type(answer).__name__}"
            )
            raise ProtocolError(msg)
        _check_answer(answer, read, schema)
    except IncompleteAnswer as error:
        failures.append(error)
        return _checked(error.partial, read, dtypes, failures)
    except FeatkitError as error:
        failures.append(error)
        return FeatureColumns.unanswered(schema, read.keys.height, Status.ERROR)
    found = answer.values.select(schema.names())
    dtypes |= {name: dtype for name, dtype in found.schema.items() if dtype != pl.Null()}
    return replace(answer, values=found)


def _check_answer(answer: FeatureColumns, read: OnlineRead, schema: pl.Schema) -> None:
    where = f"feature view {read.view.name!r}"
    if not _are_columns(answer):
        msg = f"{where}: the store answered with something else than polars columns"
        raise ProtocolError(msg)
    lengths = {len(series) for series in (*answer.statuses.values(), *answer.timestamps.values())}
    if {len(answer), *lengths} != {read.keys.height}:
        msg = (
            f"{where}: expected {read.keys.height} rows, got {sorted({len(answer), *lengths})}; "
            "nothing was joined"
        )
        raise RowMismatch(msg)
    if set(answer.values.columns) != set(schema) or set(answer.statuses) != set(schema):
        msg = (
            f"{where}: expected the features {sorted(schema)}, got {sorted(answer.values.columns)}"
        )
        raise ProtocolError(msg)
    sent = answer.values.schema  # made anew each time that it is asked for
    for feature in read.features:
        wanted, found = schema[feature.name], sent[feature.name]
        untold = feature.dtype is None and pl.Null() in {wanted, found}
        if found != wanted and not untold:
            msg = f"{where}: {feature.name!r} should be {wanted}, the store sent {found}"
            raise ProtocolError(msg)
    for name, statuses in answer.statuses.items():
        if statuses.dtype != STATUS or statuses.null_count():
            msg = f"{where}: expected a Status for each value of {name!r}, got {statuses.dtype}"
            raise ProtocolError(msg)
    for name, timestamps in answer.timestamps.items():
        if name not in schema or timestamps.dtype != TIMESTAMP:
            msg = f"{where}: {name!r} should have UTC timestamps, the store sent {timestamps.dtype}"
            raise ProtocolError(msg)


def _are_columns(answer: Any) -> bool:  # noqa: ANN401 - it may be anything inside
    """Tell whether the parts of an answer are what their annotations say."""
    named = (answer.statuses, answer.timestamps)
    return isinstance(answer.values, pl.DataFrame) and all(
        isinstance(columns, Mapping) and all(isinstance(one, pl.Series) for one in columns.values())
        for columns in named
    )


def _judged(
    part: ViewSelection,
    keys: EntityKeys,
    chunks: list[FeatureColumns],
    calls: int,
    options: LookupOptions,
) -> _Part:
    if chunks:
        columns = FeatureColumns.concat(chunks).judge(part.view.ttl, options.now)
    else:
        schema = pl.Schema({feature.name: feature.dtype or pl.Null() for feature in part.features})
        columns = FeatureColumns.unanswered(schema, 0, Status.NOT_FOUND)
    if options.expired == "null":
        columns = columns.blank(Status.EXPIRED)
    fetched = keys.unique.height if chunks else 0
    return _Part(part, keys, columns.rename(part.names), calls, fetched)


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
