"""One question per view, answered from the cache where it can, and from the store for the rest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.calls import Call, LocalRead
from featkit.columns import FeatureColumns, Status
from featkit.errors import (
    DeadlineExceeded,
    FeatkitError,
    IncompleteAnswer,
    NotCachedError,
    StoreUnavailable,
)
from featkit.online.asking import Keeper, ask, batches, checked
from featkit.online.caching import Found, Piece, Wishes, served_stale
from featkit.online.completion import left_out
from featkit.online.gathering import gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from featkit.calls import Flow
    from featkit.online.caching import Flight, LookupCache
    from featkit.stores.base import OnlineRead, Store

    Longs = npt.NDArray[np.int64]

_STALE_IF = (StoreUnavailable, DeadlineExceeded, IncompleteAnswer, NotCachedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How questions are answered.

    Attributes
    ----------
    ceilings
        By view, how many entities the store took at a time at the most; written to.
    cache
        What was fetched before; None: there is none, or it is not to be used.
    wishes
        What the caller wants of the cache.
    """

    ceilings: dict[str, int] = field(default_factory=dict)
    cache: LookupCache | None = None
    wishes: Wishes = field(default_factory=Wishes)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The answer to one question.

    Attributes
    ----------
    columns
        One row per key; nulls of status `ERROR` where a call failed.
    stale
        Which rows are served although they are past their time; None: none.
    failures
        What failed, and was not made up for by the cache.
    cached, fetched
        Keys that this question did not have to ask for, and those that it did.
    calls
        Calls to the store.
    """

    columns: FeatureColumns
    stale: pl.Series | None
    failures: tuple[FeatkitError, ...]
    cached: int
    fetched: int
    calls: int

    def marked(self, columns: FeatureColumns) -> FeatureColumns:
        """Mark the rows that are past their time among columns that were judged by their age."""
        return columns if self.stale is None else served_stale(columns, self.stale)


@dataclass(slots=True, eq=False)
class _Open:
    """A question, and what there is of its answer."""

    read: OnlineRead
    dtypes: dict[str, pl.DataType] = field(default_factory=dict)
    parts: list[tuple[Longs | None, FeatureColumns]] = field(default_factory=list)
    failed: list[tuple[FeatkitError, Longs]] = field(default_factory=list)
    spare: list[tuple[Longs, FeatureColumns]] = field(default_factory=list)
    cached: int = 0
    fetched: int = 0
    calls: int = 0

    def of(self, places: Longs | None) -> OnlineRead:
        """Return the question for some of its keys."""
        return self.read if places is None else replace(self.read, keys=_at(self.read.keys, places))

    def all_of(self, places: Longs | None) -> Longs:
        return np.arange(self.read.keys.height) if places is None else places

    def fail(self, places: Longs | None, known: FeatureColumns | None, error: FeatkitError) -> None:
        """Leave nulls for keys that cannot be had."""
        height = len(self.all_of(places))
        told = () if known is None else known.values.columns
        schema = {f.name: f.dtype or pl.Null() for f in self.read.features if f.name not in told}
        nothing = FeatureColumns.unanswered(pl.Schema(schema), height, Status.ERROR)
        self.parts.append((places, _beside(known, nothing)))
        self.failed.append((error, self.all_of(places)))

    def answer(self, cache: LookupCache | None) -> Answer:
        """Put the parts together, in the order of the keys."""
        names = [feature.name for feature in self.read.features]
        columns = self._joined(names)
        failures, stale = [error for error, _ in self.failed], None
        spared = np.empty(0, np.int64)
        if self.failed and self.spare:
            columns, spared = self._with_spare(columns, names)
            failures = [
                error
                for error, places in self.failed
                if not (isinstance(error, _STALE_IF) and np.isin(places, spared).all())
            ]
        if len(spared):
            mask = np.zeros(len(columns), bool)
            mask[spared] = True
            stale = pl.Series(mask)
            if cache is not None:
                cache.served_stale(self.read.view.name, len(spared))
        return Answer(columns, stale, tuple(failures), self.cached, self.fetched, self.calls)

    def _joined(self, names: list[str]) -> FeatureColumns:
        told = {f.name: f.dtype or self._untold(f.name) for f in self.read.features}
        parts = [(places, _cast(part, names, told)) for places, part in self.parts]
        if not parts:
            return FeatureColumns.unanswered(pl.Schema(told), 0, Status.NOT_FOUND)
        columns = FeatureColumns.concat([part for _, part in parts])
        if len(parts) == 1 and parts[0][0] is None:
            return columns
        order = np.concatenate([self.all_of(places) for places, _ in parts])
        if (order[1:] > order[:-1]).all():
            return columns
        back = np.empty(len(order), np.uint32)
        back[order] = np.arange(len(order), dtype=np.uint32)
        return columns.gather(pl.Series(back))

    def _untold(self, name: str) -> pl.DataType:
        """Find the dtype that a feature has here, where its view does not tell it."""
        found = [part.values.schema[name] for _, part in self.parts]
        seen = [dtype for dtype in found if dtype != pl.Null()]
        return self.dtypes.get(name) or next(iter(seen), pl.Null())

    def _with_spare(
        self, columns: FeatureColumns, names: list[str]
    ) -> tuple[FeatureColumns, Longs]:
        """Put what the cache still has in the place of what failed."""
        failed = [places for error, places in self.failed if isinstance(error, _STALE_IF)]
        places = np.concatenate([places for places, _ in self.spare])
        served = np.isin(places, np.concatenate(failed)) if failed else np.zeros(len(places), bool)
        told = dict(columns.values.schema)
        spare = FeatureColumns.concat([_cast(part, names, told) for _, part in self.spare])
        rows = np.arange(len(columns), dtype=np.uint32)
        rows[places[served]] = len(columns) + np.flatnonzero(served)
        return FeatureColumns.concat([columns, spare]).gather(pl.Series(rows)), places[served]


@dataclass(frozen=True, slots=True, eq=False)
class _Todo:
    """Keys of a question that have no answer yet, and why those who fetched them failed."""

    question: _Open
    places: Longs | None = None
    reason: FeatkitError | None = None


@dataclass(slots=True, eq=False)
class _Fetch:
    """Keys of a question that are asked for, in one or more calls."""

    question: _Open
    places: Longs | None
    known: FeatureColumns | None
    read: OnlineRead
    flight: Flight | None

    def take(self, asked: Sequence[tuple[OnlineRead, object]]) -> FeatkitError | None:
        """Take the answers, which are in the order of the keys; return the first failure."""
        parts: list[FeatureColumns] = []
        start = 0
        first: FeatkitError | None = None
        everything = self.question.all_of(self.places)
        for read, answer in asked:
            end = start + read.keys.height
            try:
                parts.append(checked(answer, read, self.question.dtypes))
            except IncompleteAnswer as error:
                parts.append(checked(error.partial, read, self.question.dtypes))
                gaps = left_out(parts[-1]).to_numpy()
                self.question.failed.append((error, everything[start:end][gaps]))
                first = first or error
            except FeatkitError as error:
                dtypes = self.question.dtypes
                schema = {f.name: f.dtype or dtypes.get(f.name, pl.Null()) for f in read.features}
                parts.append(
                    FeatureColumns.unanswered(pl.Schema(schema), end - start, Status.ERROR)
                )
                self.question.failed.append((error, everything[start:end]))
                first = first or error
            start = end
        dtypes = self.question.dtypes
        told = {f.name: f.dtype or dtypes.get(f.name, pl.Null()) for f in self.read.features}
        whole = FeatureColumns.concat([_cast(part, list(told), told) for part in parts])
        self.question.parts.append((self.places, _beside(self.known, whole)))
        self.question.fetched += len(everything)
        return first


def answered(store: Store, reads: Sequence[OnlineRead], how: How) -> Flow[list[Answer]]:
    """Answer questions about several views at the same time.

    Parameters
    ----------
    store
        Whom to ask what the cache does not know.
    reads
        The questions, each with all its keys; at least one feature each.
    how
        How.
    """
    questions = [_Open(read) for read in reads]
    todo = [_Todo(question) for question in questions if question.read.keys.height]
    while todo:
        found = yield from _looked_up(todo, how)
        todo = yield from _round(store, list(zip(todo, found, strict=True)), how)
    if how.cache is not None:
        for question in questions:
            how.cache.count(question.cached, question.fetched)
    return [question.answer(how.cache) for question in questions]


def _looked_up(todo: list[_Todo], how: How) -> Flow[list[Found]]:
    """Look into the cache, for all views at the same time."""
    reads = [own.question.of(own.places) for own in todo]
    if how.cache is None:
        return [Found.nothing(read) for read in reads]
    find = how.cache.find
    found = yield [
        Call(LocalRead(partial(find, read, how.wishes), f"the cache of {read.view.name!r}"))
        for read in reads
    ]
    return [
        Found.nothing(read) if isinstance(one, FeatkitError) else one  # the time is up
        for one, read in zip(found, reads, strict=True)
    ]


def _round(store: Store, found: list[tuple[_Todo, Found]], how: How) -> Flow[list[_Todo]]:
    """Take what the cache has, fetch what nobody else fetches, and wait for the others."""
    fetches: list[_Fetch] = []
    waiting: list[tuple[_Todo, Flight]] = []
    try:
        for own, one in found:
            _take_spare(own, one)
            for piece in one.pieces:
                _sort_out(own, piece, how, fetches, waiting, landed=one.landed)
        yield from _fetched(store, fetches, how)
    finally:
        for fetch in fetches:  # also where this call was given up: others go on by themselves
            if fetch.flight is not None:
                fetch.flight.land()
    for own, one in found:
        _refresh_later(store, own, one, how)
    return (yield from _waited(waiting))


def _fetched(store: Store, fetches: list[_Fetch], how: How) -> Flow[None]:
    """Ask for everything at once, and hand each question its answers."""
    keeper = None if how.cache is None else Keeper(how.cache.keep)
    reads = [read for fetch in fetches for read in batches(store, fetch.read, how.ceilings)]
    asked = iter((yield from ask(store, reads, how.ceilings, keeper)))
    for fetch in fetches:
        mine, rows = [], 0
        while rows < fetch.read.keys.height:
            mine.append(next(asked))
            rows += mine[-1][0].keys.height
        fetch.question.calls += len(mine)
        whole = gathered(mine)
        if keeper is not None and (rest := keeper.rest(whole)):
            yield rest
        failure = fetch.take(whole)
        if fetch.flight is not None:
            fetch.flight.land(failure)


def _take_spare(own: _Todo, found: Found) -> None:
    if found.spared is not None:
        places = found.spare if own.places is None else own.places[found.spare]
        own.question.spare.append((places, found.spared))


def _sort_out(
    own: _Todo,
    piece: Piece,
    how: How,
    fetches: list[_Fetch],
    waiting: list[tuple[_Todo, Flight]],
    *,
    landed: int,
) -> None:
    """Decide what becomes of some keys: answered, failed, asked for, or waited for."""
    question, places = own.question, _within(own.places, piece.places)
    if not piece.missing and piece.known is not None:
        question.parts.append((places, piece.known))
        question.cached += len(piece.known)
        return
    if own.reason is not None or how.wishes.only_cached:
        question.fail(places, piece.known, own.reason or _not_cached(question.read))
        return
    read = replace(question.of(places), features=piece.missing)
    if how.cache is None:
        fetches.append(_Fetch(question, places, piece.known, read, None))
        return
    mine, flight, others = how.cache.claim(read, how.wishes, landed)
    if flight is not None:
        known, asked = piece.known, read
        if others:
            chosen = np.flatnonzero(mine)
            known = None if known is None else known.gather(pl.Series(chosen.astype(np.uint32)))
            asked, here = replace(read, keys=_at(read.keys, chosen)), question.all_of(places)[mine]
        else:
            here = places  # type: ignore[assignment] # None: all
        fetches.append(_Fetch(question, here, known, asked, flight))
    for number, other in enumerate(others):
        # who waits looks for all of them again, once the last has landed
        left = question.all_of(places)[~mine] if number == len(others) - 1 else np.empty(0, int)
        waiting.append((_Todo(question, left), other))


def _refresh_later(store: Store, own: _Todo, found: Found, how: How) -> None:
    if how.cache is None or not len(found.ageing) or how.wishes.only_cached:
        return
    places = found.ageing if own.places is None else own.places[found.ageing]
    how.cache.later(partial(_fetched_anew, store, own.question.of(places), how, how.cache))


def _fetched_anew(store: Store, read: OnlineRead, how: How, cache: LookupCache) -> Flow[int]:
    """Fetch keys for the cache only; return how many came."""
    mine, flight, _ = cache.claim(read, how.wishes)
    if flight is None:
        return 0
    try:
        mine_only = replace(read, keys=_at(read.keys, np.flatnonzero(mine)))
        reads = batches(store, mine_only, how.ceilings)
        keeper = Keeper(cache.keep)
        asked = gathered((yield from ask(store, reads, how.ceilings, keeper)))
        if rest := keeper.rest(asked):
            yield rest
    finally:
        flight.land()
    return sum(one.keys.height for one, answer in asked if isinstance(answer, FeatureColumns))


def _waited(waiting: list[tuple[_Todo, Flight]]) -> Flow[list[_Todo]]:
    """Wait until others have fetched what is wanted here too."""
    if not waiting:
        return []
    outcomes = yield [Call(flight.waiting()) for _, flight in waiting]
    todo: list[_Todo] = []
    reason: FeatkitError | None = None
    for (own, flight), outcome in zip(waiting, outcomes, strict=True):
        failed = outcome if isinstance(outcome, FeatkitError) else flight.failure()
        reason = reason or failed
        if own.places is not None and len(own.places):
            todo.append(replace(own, reason=reason))
            reason = None
    return todo


def _at(keys: pl.DataFrame, places: Longs) -> pl.DataFrame:
    if not keys.width:  # an entityless view
        return pl.DataFrame(height=len(places))
    return keys[pl.Series(places.astype(np.uint32))]


def _within(outer: Longs | None, inner: Longs | None) -> Longs | None:
    if outer is None or inner is None:
        return inner if outer is None else outer
    return outer[inner]


def _not_cached(read: OnlineRead) -> NotCachedError:
    return NotCachedError(
        f"feature view {read.view.name!r}: some of the {read.keys.height:,} entities are not in "
        "the cache, and only_cached=True forbids to ask; on_error='null' leaves them null"
    )


def _beside(known: FeatureColumns | None, more: FeatureColumns) -> FeatureColumns:
    return more if known is None else FeatureColumns.beside([known, more], len(more))


def _cast(
    columns: FeatureColumns, names: list[str], dtypes: dict[str, pl.DataType]
) -> FeatureColumns:
    """Put columns in order, and give those whose dtype the view does not tell the one they have."""
    values = columns.values.select(names)
    if values.schema == pl.Schema({name: dtypes[name] for name in names}):
        return (
            columns if values.columns == columns.values.columns else replace(columns, values=values)
        )
    # not strict: an untold dtype may be another one than when the cache learnt it
    return replace(columns, values=values.cast(dtypes, strict=False))  # type: ignore[arg-type] # names
