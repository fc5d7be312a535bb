"""What the cache decides, without I/O or clock: what is a hit, what to ask, how long rows last."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from featkit.columns import FeatureColumns, Status
from featkit.durations import parse_duration
from featkit.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from featkit.calls import Flow
    from featkit.errors import FeatkitError
    from featkit.schema import Feature
    from featkit.stores.base import OnlineRead
    from featkit.types import Duration
    from featkit.waiting import Wait

    Longs = npt.NDArray[np.int64]

SECOND = 1_000_000  # in microseconds, as all times here
_SKEW = 60 * SECOND  # how far ahead the clock may be of who wrote a row
_JITTER = 0.1  # share of a row's life that is left off, so that not all end at once
_STEPS = 256
_NONE: Longs = np.empty(0, np.int64)
_PATTERNS = 4  # kinds of rows that are known in part, beyond which all of a row is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How long cached rows are good.

    Attributes
    ----------
    ttl
        How long a row is served without asking the store again; less where a value's own ttl ends
        earlier.
    missing_ttl
        The same for entities that the store does not know, and for values past their ttl.
    stale_while_revalidate
        How long after that a row is still served while it is fetched anew in the background.
    stale_if_error
        How long after that a row is served, with the status `STALE`, while the store is down.
    """

    ttl: Duration = timedelta(minutes=5)
    missing_ttl: Duration = timedelta(minutes=1)
    stale_while_revalidate: Duration = timedelta(0)
    stale_if_error: Duration = timedelta(hours=1)

    def __post_init__(self) -> None:
        for name in ("ttl", "missing_ttl", "stale_while_revalidate", "stale_if_error"):
            read = parse_duration(getattr(self, name), what=f"{name} of the cache")
            if read > _LONGEST:
                msg = f"{name} of the cache is longer than {_LONGEST.days // 365} years: {read}"
                raise SettingsError(msg)
            object.__setattr__(self, name, read)

    def span(self, name: str) -> timedelta:
        """Return one of the durations as it was read."""
        read: timedelta = getattr(self, name)
        return read

    def micros(self, name: str) -> int:
        """Return one of the durations in microseconds."""
        return self.span(name) // _MICROSECOND

    @property
    def longest(self) -> int:
        """How long after its end a row may still be wanted, in microseconds."""
        return max(self.micros("stale_while_revalidate"), self.micros("stale_if_error"))


_LONGEST = timedelta(days=365 * 100)


def micros(moment: datetime) -> int:
    """Return an aware moment as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, eq=False)
class Ages:
    """What the cache knows of one family of features for the keys of a question.

    Attributes
    ----------
    names
        The features.
    at, end
        For each key when it was fetched and until when it is good, in microseconds since 1970;
        long ago where nothing is known.
    columns
        Returns the values of keys at given places, all of which are known; None: of all keys.
    """

    names: tuple[str, ...]
    at: Longs
    end: Longs
    columns: Callable[[Longs | None], FeatureColumns]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some keys of a question that are answered in the same way.

    Attributes
    ----------
    places
        Where they are among the keys; None: all of them.
    known
        What the cache answers: all features, some, or none.
    missing
        The features to ask the store for.
    """

    places: Longs | None
    known: FeatureColumns | None
    missing: tuple[Feature, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the cache has to say to a question.

    Attributes
    ----------
    pieces
        Each key is in one of them.
    ageing
        Places of the keys to fetch anew in the background.
    spare, spared
        Places of keys that are served if the store is down, and their columns.
    landed
        How many flights of the view had landed before the cache was looked into.
    """

    pieces: tuple[Piece, ...]
    ageing: Longs = field(default_factory=lambda: _NONE)
    spare: Longs = field(default_factory=lambda: _NONE)
    spared: FeatureColumns | None = None
    landed: int = 0

    @classmethod
    def nothing(cls, read: OnlineRead) -> Found:
        """Say that everything must be asked."""
        return cls((Piece(None, None, read.features),))

    def answered(self, height: int) -> npt.NDArray[np.bool_]:
        """Tell for each of so many keys whether the cache answers it in full."""
        mask = np.zeros(height, bool)
        for piece in self.pieces:
            if not piece.missing:
                mask[slice(None) if piece.places is None else piece.places] = True
        return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a caller wants of the cache.

    Attributes
    ----------
    max_age
        How long ago a row may have been fetched; None: as long as it is good.
    refresh
        Whether everything is fetched anew.
    only_cached
        Whether the store must not be asked.
    """

    max_age: timedelta | None = None
    refresh: bool = False
    only_cached: bool = False


def decide(read: OnlineRead, ages: Sequence[Ages], policy: CachePolicy, wishes: Wishes) -> Found:
    """Decide which keys are answered from the cache, and what to ask for the others.

    Parameters
    ----------
    read
        The question; its `now` is the present.
    ages
        What is known, one item a family; a feature is in one family at the most.
    policy, wishes
        How long rows are good, and what the caller wants.
    """
    now, height = micros(read.now), read.keys.height
    told = {name for own in ages for name in own.names}
    unknown = [item for item in read.features if item.name not in told]
    if not unknown and height and all(_is_fresh(own, now, wishes) for own in ages):
        columns = _beside(read, [own.columns(None) for own in ages], None)
        return Found((Piece(None, columns, ()),))
    hits = [_is_hit(own, now, policy, wishes) for own in ages]
    pattern = np.full(height, 1 if unknown else 0, np.int64)  # a bit for each family, unless known
    for number, hit in enumerate(hits, start=1):
        pattern |= (~hit).astype(np.int64) << number
    kinds = [int(pattern[0])] if height and (pattern == pattern[0]).all() else _kinds(pattern)
    whole = (2 << len(ages)) - 1
    if len(kinds) > _PATTERNS:
        pattern[pattern != 0] = whole
        kinds = _kinds(pattern)
    pieces = []
    for kind in kinds:
        places = None if len(kinds) == 1 else np.flatnonzero(pattern == kind)
        known = [own for number, own in enumerate(ages, start=1) if not kind >> number & 1]
        names = {name for own in known for name in own.names}
        missing = tuple(item for item in read.features if item.name not in names)
        columns = _beside(read, [own.columns(places) for own in known], places)
        pieces.append(Piece(places, columns, missing))
    spare, spared = _spare(read, ages, pattern != 0, now, policy) if not unknown else (_NONE, None)
    good = np.ones(height, bool)
    for own in ages:
        good &= own.end > now
    return Found(tuple(pieces), np.flatnonzero(~good & (pattern == 0)), spare, spared)


def _is_fresh(own: Ages, now: int, wishes: Wishes) -> bool:
    """Tell whether all keys are hits that need not be fetched anew soon, as is mostly so."""
    if wishes.refresh or own.end.min() <= now or own.at.max() > now + _SKEW:
        return False
    return wishes.max_age is None or own.at.min() >= now - wishes.max_age // _MICROSECOND


def _kinds(pattern: Longs) -> list[int]:
    found: list[int] = np.unique(pattern).tolist()
    return found


def _is_hit(own: Ages, now: int, policy: CachePolicy, wishes: Wishes) -> npt.NDArray[np.bool_]:
    if wishes.refresh:
        return np.zeros(len(own.at), bool)
    hit = (own.end + policy.micros("stale_while_revalidate") > now) & (own.at <= now + _SKEW)
    if wishes.max_age is not None:
        hit &= own.at >= now - wishes.max_age // _MICROSECOND
    return hit


def _spare(
    read: OnlineRead,
    ages: Sequence[Ages],
    missed: npt.NDArray[np.bool_],
    now: int,
    policy: CachePolicy,
) -> tuple[Longs, FeatureColumns | None]:
    """Find the rows that are served only if the store is down."""
    usable = missed.copy()
    for own in ages:
        usable &= (own.end + policy.longest > now) & (own.at <= now + _SKEW)
    places = np.flatnonzero(usable)
    if not len(places):
        return _NONE, None
    return places, _beside(read, [own.columns(places) for own in ages], places)


def _beside(
    read: OnlineRead, parts: Sequence[FeatureColumns], places: Longs | None
) -> FeatureColumns | None:
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    return FeatureColumns.beside(parts, read.keys.height if places is None else len(places))


def ends(read: OnlineRead, answer: FeatureColumns, policy: CachePolicy, codes: Longs) -> pl.Series:
    """Tell until when each row of an answer is good, in microseconds since 1970.

    Parameters
    ----------
    read
        The question; the answer is taken to be of its `now`.
    answer
        As the store told it.
    policy
        How long rows are good.
    codes
        A number for each key, from which the jitter is taken.
    """
    now = micros(read.now)
    life = np.full(len(answer), policy.micros("ttl"), np.int64)
    brief = min(policy.micros("missing_ttl"), policy.micros("ttl"))
    if read.view.ttl is not None and answer.timestamps:
        oldest = _lowest(list(answer.timestamps.values()))
        left = oldest + read.view.ttl // _MICROSECOND - now
        life = np.clip(left, brief, life)
    missing = np.ones(len(answer), bool)
    for statuses in {id(series): series for series in answer.statuses.values()}.values():
        missing &= (statuses == Status.NOT_FOUND).to_numpy()
    life[missing] = brief
    steps = ((codes ^ (codes >> 17)) & (_STEPS - 1)).astype(np.int64)
    return pl.Series(now + life - (life * _JITTER).astype(np.int64) * steps // _STEPS)


def _lowest(times: Sequence[pl.Series]) -> Longs:
    """Return the oldest event timestamp of each row; far ahead where none is known."""
    distinct = list({id(series): series for series in times}.values())
    lowest = pl.select(pl.min_horizontal(distinct)).to_series() if distinct[1:] else distinct[0]
    found: Longs = lowest.to_physical().fill_null(2**61).clip(-(2**60), 2**61).to_numpy()
    return found


def served_stale(columns: FeatureColumns, stale: pl.Series) -> FeatureColumns:
    """Mark rows that are served because the store is down; what is judged old stays so."""
    old = (Status.EXPIRED, Status.FUTURE)
    statuses = {
        name: series.set(stale & ~series.cast(pl.String).is_in(old), Status.STALE)
        for name, series in columns.statuses.items()
    }
    return FeatureColumns(columns.values, statuses, columns.timestamps)


class Flight(Protocol):
    """Keys that one caller is fetching, for which others wait."""

    def waiting(self) -> Wait:
        """Return what to yield in order to wait until it has landed."""

    def failure(self) -> FeatkitError | None:
        """Tell why it brought nothing; None: it did, or who waits should try for himself."""

    def land(self, failure: FeatkitError | None = None) -> None:
        """Let those who wait go on."""


class LookupCache(Protocol):
    """What the lookup flow knows of the cache: work that may block, to be done by a driver."""

    @property
    def policy(self) -> CachePolicy:
        """How long rows are good."""

    def find(self, read: OnlineRead, wishes: Wishes) -> Found:
        """Say what is known of the keys of a question."""

    def keep(self, read: OnlineRead, answer: FeatureColumns) -> None:
        """Keep an answer, which was checked; never fails."""

    def count(self, hits: int, misses: int) -> None:
        """Hear how many keys were answered from the cache, and how many were not."""

    def claim(
        self, read: OnlineRead, wishes: Wishes, landed: int | None = None
    ) -> tuple[npt.NDArray[np.bool_], Flight | None, Sequence[Flight]]:
        """Say which keys the caller is to fetch, and who fetches, or just fetched, the others.

        Parameters
        ----------
        read
            The question.
        wishes
            What the caller wants of the cache.
        landed
            `Found.landed` of when the keys were found missing; None: the cache was not looked into.
        """

    def later(self, flow: Callable[[], Flow[int]]) -> None:
        """Run a flow that fetches rows anew in the background, unless one is running."""

    def served_stale(self, view: str, keys: int) -> None:
        """Hear that so many keys of a view were served because the store is down."""
