"""History, point in time: the rules, what stores are asked, and what a join answers.

A feature row counts for a row of the spine iff it was known at that row's moment and is not too
old; among those the latest event timestamp wins, then the latest created timestamp, then the last
row in the source. The whole row is chosen: a null in it is an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit.durations import format_duration, parse_duration
from featkit.errors import InputError, ProtocolError, RowMismatch, UnknownNameError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    import numpy.typing as npt

    from featkit.errors import FeatkitError
    from featkit.schema import Feature, FeatureView
    from featkit.types import Duration


ROW = "featkit_row"
"""Of a spine that a store joins: the number of each row (Int64), which its answer repeats."""
AT = "event_timestamp"
"""Of such a spine: the moment of each row, UTC in microseconds."""
EVENT = "featkit_event_timestamp"
"""Of such a store's answer: the event timestamps of the rows that it chose, where it tells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What of one view counts as known at a moment; durations are in microseconds.

    Attributes
    ----------
    limit
        How old a row may be, equal included; None: any age. From `lookback`, else the view's ttl.
    delay
        How long after its event timestamp a row is known.
    created
        Whether a row is known only once it was written, by its created timestamp.
    strict
        Whether a row of the very moment does not count.
    static
        Whether there are no moments: each entity's last row counts.
    """

    limit: int | None = None
    delay: int = 0
    created: bool = False
    strict: bool = False
    static: bool = False

    def known_from(
        self, event: npt.NDArray[np.int64], created: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.int64]:
        """Tell from when on each row counts.

        Parameters
        ----------
        event
            Event timestamps.
        created
            Created timestamps, `NEVER` where there is none: such a row counts as written at its
            event.
        """
        later = self.delay + self.strict
        known = event + later if later else event
        if self.created and created is not None:
            return np.maximum(known, created)
        return known

    def expired(
        self, at: npt.NDArray[np.int64], event: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Tell which rows are too old at these moments."""
        if self.limit is None:
            return np.zeros(len(at), bool)
        return at - event > self.limit

    def words(self) -> str:
        """Say it in a line."""
        if self.static:
            return "the last row of the entity counts, whatever the moment"
        known = "as of its event timestamp"
        if self.created:
            known = "once it was written (created timestamp)"
        elif self.delay:
            known = (
                f"{format_duration(timedelta(microseconds=self.delay))} after its event timestamp"
            )
        when = "before" if self.strict else "up to"
        if self.strict and self.created:
            when = "with an event before"
        age = "of any age"
        if self.limit is not None:
            age = f"at most {format_duration(timedelta(microseconds=self.limit))} old"
        return f"a row counts {known}, {when} the moment of the spine row, {age}"


NEVER = np.iinfo(np.int64).min
"""Stands for a timestamp that is null."""
_MICROSECOND = timedelta(microseconds=1)
_LONGEST = 2**60  # microseconds: 36,000 years, beyond all that timestamps of Python reach


def microseconds(duration: timedelta) -> int:
    """Count the microseconds of a duration, at most as many as times can be apart."""
    return min(duration // _MICROSECOND, _LONGEST)


def rules(
    views: Sequence[FeatureView],
    *,
    lookback: Duration | Mapping[str, Duration | None] | None = None,
    known_by: str | Mapping[str, Duration] = "event",
    strict: bool = False,
) -> dict[str, Rule]:
    """Read the options of a training set; return the rule of each view, by its name.

    Raises
    ------
    UnknownNameError
        An option names a view that no feature is asked of.
    InputError
        `known_by` is none of its words, or asks for created timestamps that a view does not have.
    """
    names = [view.name for view in views]
    for option, value in (("lookback", lookback), ("known_by", known_by)):
        if isinstance(value, Mapping) and (
            unknown := [name for name in value if name not in names]
        ):
            msg = (
                f"{option} names {unknown[0]!r}, of which no feature is asked; "
                f"{nearest(str(unknown[0]), names)}"
            )
            raise UnknownNameError(msg)
    made = {}
    for view in views:
        created, delay = _known_by(view, known_by)
        limit = _limit(view, lookback)
        made[view.name] = Rule(
            limit=limit,
            delay=delay,
            created=created,
            strict=strict,
            static=view.timestamp is None,
        )
    return made


def _limit(
    view: FeatureView, lookback: Duration | Mapping[str, Duration | None] | None
) -> int | None:
    own = lookback.get(view.name, view.ttl) if isinstance(lookback, Mapping) else lookback
    if lookback is None:
        own = view.ttl
    if own is None or not view.timestamp:
        return None
    return microseconds(parse_duration(own, what=f"lookback of {view.name!r}"))


def _known_by(view: FeatureView, known_by: str | Mapping[str, Duration]) -> tuple[bool, int]:
    """Tell whether created timestamps count, and the delay in microseconds."""
    named = isinstance(known_by, Mapping)
    own = known_by.get(view.name, "event") if isinstance(known_by, Mapping) else known_by
    if own == "event":
        return False, 0
    if own == "created":
        if named and not view.created:
            msg = (
                f"known_by={{{view.name!r}: 'created'}}: the view has no created timestamp; give a "
                "delay after the event instead, such as '6h'"
            )
            raise InputError(msg)
        return True, 0
    if not named:
        msg = (
            f"known_by={own!r} is not an option; choose 'event', 'created' or a mapping from "
            "views to delays, such as {'VIEW': '6h'}"
        )
        raise InputError(msg)
    if not view.timestamp:
        msg = f"known_by={{{view.name!r}: {own!r}}}: the view is static and has no time to delay"
        raise InputError(msg)
    return False, microseconds(parse_duration(own, what=f"known_by of {view.name!r}"))


@dataclass(frozen=True, eq=False)
class Match:
    """What a join found for the rows of a spine, whatever its age.

    Attributes
    ----------
    rows
        The rows of the source that were chosen: `EVENT` where the source has event timestamps,
        and the features under their names.
    positions
        For each row of the spine the place of its row in `rows`; -1 where none was known then.
    known
        Whether the source has a row of the entity at all; None: it is not told.
    past
        Whether it has one that was known at that moment, however old; None: where one was chosen.
    tied
        Whether several rows shared the latest event timestamp; None: it is not told.
    """

    rows: pl.DataFrame
    positions: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_] | None = None
    past: npt.NDArray[np.bool_] | None = None
    tied: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class HistoryRead:
    """One question to a store that gives rows: all rows of a view, over all time.

    Attributes
    ----------
    view
        The feature view.
    features
        Which of its features will be read.
    """

    view: FeatureView
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFile:
    """A file that rows come from: its path, size in bytes, time of change (UTC) and rows."""

    path: str
    size: int
    modified: datetime
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPiece:
    """What is known of some consecutive rows without reading them, such as a row group.

    Attributes
    ----------
    rows, size
        How many there are, and how many bytes the columns that matter take.
    lowest, highest
        Range of the first join key; None: unknown.
    earliest, latest
        Range of the event timestamps, in microseconds since 1970; None: unknown.
    """

    rows: int
    size: int
    lowest: Any = None
    highest: Any = None
    earliest: int | None = None
    latest: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class HistoryRows:
    """All rows of a view, yet to be read.

    Attributes
    ----------
    scan
        The rows in the order of the source; features are columns of their own names.
    keys
        What makes the join keys of it, in the order of the view and in the entities' dtypes.
    event, created
        What makes the event timestamps and the created timestamps, UTC in microseconds; None:
        there are none.
    convert
        Gives values that were read the dtype that the view tells.
    unreadable
        Makes the error for what polars says when rows cannot be read.
    origin
        Equal for views whose rows, keys and times are the same, so that one join serves both.
    files
        Where the rows come from.
    pieces
        What is known of the rows, piece by piece, in their order; empty: nothing.
    in_order
        Whether the rows are sorted by keys, event and created timestamps, so that rows of an
        entity lie together, and of several with one event timestamp the last was written last.
    """

    scan: pl.LazyFrame
    keys: tuple[pl.Expr, ...]
    event: pl.Expr | None
    created: pl.Expr | None
    convert: Callable[[pl.Series, Feature], pl.Series]
    unreadable: Callable[[Exception], FeatkitError]
    origin: Hashable
    files: tuple[HistoryFile, ...] = ()
    pieces: tuple[HistoryPiece, ...] = ()
    in_order: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRead:
    """One question to a store that joins by itself: these features at these moments.

    Attributes
    ----------
    view
        The feature view.
    features
        Which of its features, at least one.
    spine
        Distinct moments of distinct entities, none of them null: the column `ROW` (Int64, from 0),
        one column per join key, named by it and in the entity's dtype, and `AT`.
    rule
        What counts as known at a moment.
    """

    view: FeatureView
    features: tuple[Feature, ...]
    spine: pl.DataFrame
    rule: Rule


def places(read: JoinRead, answer: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Find for each row of a spine the place of its row in a store's answer; -1: it is not there.

    Raises
    ------
    ProtocolError
        The answer lacks a column.
    RowMismatch
        It has rows that were not asked for, or several for one.
    """
    view, height = read.view.name, read.spine.height
    wanted = [ROW, *(feature.name for feature in read.features)]
    if missing := [name for name in wanted if name not in answer.columns]:
        msg = f"the history of feature view {view!r} came without the column {missing[0]!r}"
        raise ProtocolError(msg)
    rows = answer[ROW].cast(pl.Int64, strict=False)
    if rows.null_count() or (len(rows) and not 0 <= rows.min() <= rows.max() < height):  # type: ignore[operator] # whole numbers
        msg = f"the history of feature view {view!r} came with rows that were not asked for"
        raise RowMismatch(msg)
    if rows.n_unique() < len(rows):
        msg = f"the history of feature view {view!r} came with several answers for one row"
        raise RowMismatch(msg)
    found = np.full(height, -1)
    found[rows.to_numpy()] = np.arange(len(rows))
    return found
