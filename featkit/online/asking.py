"""Questions to the store, in batches that it bears; each answer is checked before it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from featkit.calls import Call, LocalRead
from featkit.columns import STATUS, FeatureColumns
from featkit.dtypes import TIMESTAMP
from featkit.errors import (
    BatchTooLarge,
    FeatkitError,
    IncompleteAnswer,
    ProtocolError,
    RowMismatch,
    SlowAnswer,
)
from featkit.online.completion import completed, left_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.calls import Flow
    from featkit.stores.base import OnlineRead, Store

_AT_ONCE = 8  # calls that run at the same time


@dataclass(slots=True)
class Keeper:
    """What becomes of an answer besides.

    Attributes
    ----------
    keep
        Keeps an answer that was checked; called in the worker that received it.
    kept
        The answers for which that was done.
    """

    keep: Callable[[OnlineRead, FeatureColumns], None]
    kept: list[FeatureColumns] = field(default_factory=list)

    def rest(self, asked: Sequence[tuple[OnlineRead, object]]) -> list[Call[None]]:
        """Make the calls that keep what was not kept: what came late, or left entities out."""
        calls: list[Call[None]] = []
        done = set(map(id, self.kept))
        for read, answer in asked:
            told = answer.partial if isinstance(answer, IncompleteAnswer) else answer
            if id(told) in done:
                continue
            try:
                found = checked(told, read, {})
            except FeatkitError:
                continue  # whoever asked refuses it
            rows = (~left_out(found)).arg_true()
            part = read if len(rows) == len(found) else replace(read, keys=read.keys[rows])
            run = partial(self.keep, part, found.gather(rows))
            calls.append(Call(LocalRead(run, f"the cache of {read.view.name!r}")))
        return calls


def batches(store: Store, read: OnlineRead, ceilings: Mapping[str, int]) -> list[OnlineRead]:
    """Cut a question into pieces that the store bears; no keys make no piece."""
    height = read.keys.height
    sizes = [store.batch_size(read.view), ceilings.get(read.view.name)]
    if store.capabilities.values is not None:
        sizes.append(max(1, store.capabilities.values // len(read.features)))
    if store.capabilities.one_by_one:
        sizes.append(max(1, -(-height // _AT_ONCE)))
    size = min((size for size in sizes if size is not None), default=height)
    if not height or size >= height:
        return [read] if height else []
    if store.capabilities.values is not None:  # the size is for speed, which calls alike tell best
        size = -(-height // -(-height // size))
    return [replace(read, keys=keys) for keys in read.keys.iter_slices(size)]


def ask(
    store: Store,
    reads: list[OnlineRead],
    ceilings: dict[str, int],
    keeper: Keeper | None = None,
    *,
    alive: bool = True,
) -> Flow[list[tuple[OnlineRead, object]]]:
    """Ask everything at once; what is too large for the store is asked again in halves.

    What is too slow as well, unless nothing got through twice: then the store is not slow but down.

    Parameters
    ----------
    store
        Whom to ask.
    reads
        The questions.
    ceilings
        By view, how many entities the store took at a time at the most; written to.
    keeper
        What becomes of an answer besides, as soon as it is there.

    Returns
    -------
    list of tuple
        The questions as they were asked in the end, with what came: unchecked.
    """
    if not reads:
        return []
    calls = map(partial(_kept, keeper), store.read_together(reads), reads)
    first = yield from store.perform(reads, list(calls))
    answers = yield from completed(store, reads, first)
    moves = not all(isinstance(answer, SlowAnswer) for answer in answers)
    if not (alive or moves) or not any(map(_too_large, reads, answers)):
        return list(zip(reads, answers, strict=True))
    halves: list[OnlineRead] = []
    for read, answer in zip(reads, answers, strict=True):
        if _too_large(read, answer):
            half = -(-read.keys.height // 2)
            if isinstance(answer, BatchTooLarge):  # what is slow now may be fast again
                ceilings[read.view.name] = half
            halves += [replace(read, keys=keys) for keys in read.keys.iter_slices(half)]
    smaller = iter((yield from ask(store, halves, ceilings, keeper, alive=moves)))
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


def _kept(keeper: Keeper | None, call: Call[Any], read: OnlineRead) -> Call[Any]:
    kind = read.view.name, tuple(feature.name for feature in read.features)
    decode = call.decode if keeper is None else partial(_decoded, call, read, keeper)
    return replace(call, decode=decode, kind=kind)


def _decoded(call: Call[Any], read: OnlineRead, keeper: Keeper, reply: object) -> object:
    """Decode a reply, and keep it if it answers the question; else whoever asked refuses it."""
    answer = call.decode(reply)
    try:
        found = checked(answer, read, {})
    except FeatkitError:
        return answer
    keeper.keep(read, found)
    keeper.kept.append(found)
    return found


def checked(answer: object, read: OnlineRead, dtypes: dict[str, pl.DataType]) -> FeatureColumns:
    """Return the answer if it is one to this question; else raise what is wrong.

    A dtype that the view does not tell is that of the first answer with values, which `dtypes`
    remembers.
    """
    told = {item.name: item.dtype or dtypes.get(item.name, pl.Null()) for item in read.features}
    schema = pl.Schema(told)
    if isinstance(answer, FeatkitError):
        raise answer
    if not isinstance(answer, FeatureColumns):
        msg = f"feature view {read.view.name!r}: the store answered with {type(answer).__name__}"
        raise ProtocolError(msg)
    _check(answer, read, schema)
    found = answer.values.select(schema.names())
    dtypes |= {name: dtype for name, dtype in found.schema.items() if dtype != pl.Null()}
    return replace(answer, values=found)


def _check(answer: FeatureColumns, read: OnlineRead, schema: pl.Schema) -> None:
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
