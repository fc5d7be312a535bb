"""The rows that win so far: sources are read once, in pieces, and each slot keeps its best row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.history import NEVER, Match

if TYPE_CHECKING:
    import numpy.typing as npt

    from featkit.engines.spine import Spine

_SPARE = 2**19  # rows that may be kept in vain before they are dropped


@dataclass(frozen=True, eq=False)
class Times:
    """The times of some rows of a source, in microseconds.

    Attributes
    ----------
    event, created
        Event and created timestamps; `created` is None where it does not decide.
    known
        From when on each row counts; None: always.
    """

    event: npt.NDArray[np.int64]
    created: npt.NDArray[np.int64] | None
    known: npt.NDArray[np.int64] | None

    def take(self, index: npt.NDArray[np.int64]) -> Times:
        """Return the times of these rows."""
        return Times(
            self.event[index],
            None if self.created is None else self.created[index],
            None if self.known is None else self.known[index],
        )


@dataclass(frozen=True, eq=False)
class Best:
    """The best row of each slot among the rows of a piece that are known first there.

    Attributes
    ----------
    slots
        Each once, ascending.
    event, created
        Of the best rows; `created` is None where it does not decide.
    count
        How many rows have that event timestamp, two for more.
    frame
        What is kept of the best rows.
    seen
        For each entity of the spine, whether it occurs in the piece.
    """

    slots: npt.NDArray[np.int64]
    event: npt.NDArray[np.int64]
    created: npt.NDArray[np.int64] | None
    count: npt.NDArray[np.int32]
    frame: pl.DataFrame
    seen: npt.NDArray[np.bool_]


def best_of(spine: Spine, codes: npt.NDArray[np.int64], times: Times, frame: pl.DataFrame) -> Best:
    """Find the best row of each slot: latest event, then latest created, then last.

    Parameters
    ----------
    spine
        Whose slots they are.
    codes
        For each row its entity; -1 where it is not in the spine.
    times
        The times of the rows.
    frame
        What is kept of the rows.
    """
    seen = np.zeros(len(spine.entities) + 1, bool)  # the last one for -1
    seen[codes] = True
    strangers, seen = bool(seen[-1]), seen[:-1]
    own = np.flatnonzero(codes >= 0) if strangers else None
    if own is not None:
        codes, times = codes[own], times.take(own)
    if not len(codes) or not len(spine):
        nothing = np.empty(0, np.int64)
        created = None if times.created is None else nothing
        return Best(nothing, nothing, created, nothing.astype(np.int32), frame.clear(), seen)
    packed = spine.pack(codes, times.known)
    ties = _ties_in_order(codes, packed, times)
    if ties is not None:
        last, slots = spine.latest_rows(codes, packed)
        count = 1 + ties[last].astype(np.int32)
    else:
        last, slots, count = _of_any_order(*spine.first_slots(codes, packed), times)
    created = None if times.created is None else times.created[last]
    rows = frame[last if own is None else own[last]]
    return Best(slots, times.event[last], created, count, rows, seen)


def _ties_in_order(
    codes: npt.NDArray[np.int64], packed: npt.NDArray[np.uint64], times: Times
) -> npt.NDArray[np.bool_] | None:
    """Tell which rows tie with the row before them, if the last of several is always the best.

    So it is in files that `featkit.write_view` wrote; else None.
    """
    if not (packed[1:] >= packed[:-1]).all():
        return None
    event, created = times.event, times.created
    same = codes[1:] == codes[:-1]
    ties = np.zeros(len(codes), bool)
    np.equal(event[1:], event[:-1], out=ties[1:])
    ties[1:] &= same
    if (same & (event[1:] < event[:-1])).any():
        return None
    if created is not None and (ties[1:] & (created[1:] < created[:-1])).any():
        return None
    return ties


def _of_any_order(
    index: npt.NDArray[np.int64], slots: npt.NDArray[np.int64], times: Times
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Find the best row of each slot, its slot, and how many share its event timestamp."""
    first = np.ones(len(slots), bool)
    np.not_equal(slots[1:], slots[:-1], out=first[1:])
    begin = np.flatnonzero(first)
    if len(begin) == len(slots):
        return index, slots, np.ones(len(slots), np.int32)
    sizes = np.diff(begin, append=len(slots))
    event = times.event[index]
    top = event == np.repeat(np.maximum.reduceat(event, begin), sizes)
    count = np.minimum(np.add.reduceat(top, begin, dtype=np.int32), 2)
    if times.created is not None:
        created = np.where(top, times.created[index], NEVER)
        top &= created == np.repeat(np.maximum.reduceat(created, begin), sizes)
    last = np.maximum.reduceat(np.where(top, index, -1), begin)
    return last, slots[begin], count


class Winners:
    """The best row of each slot among those that are known first there.

    Parameters
    ----------
    spine
        Whose slots they are.
    created
        Whether created timestamps decide between rows of one event timestamp.
    revised
        Whether rows may become known in another order than that of their event timestamps.
    """

    def __init__(self, spine: Spine, *, created: bool, revised: bool) -> None:
        slots = len(spine)
        self._spine = spine
        self._revised = revised
        self._event = np.full(slots, NEVER)
        self._created = np.full(slots, NEVER) if created else None
        self._place = np.full(slots, -1)  # of the row among those kept
        self._count = np.zeros(slots, np.int32)  # rows of the latest event timestamp
        self._seen = np.zeros(len(spine.entities), bool)
        self._kept: list[pl.DataFrame] = []
        self._height = 0

    def take(self, best: Best) -> None:
        """Let the rows of a piece compete; pieces come in the order of the source."""
        self._seen |= best.seen
        slots, before = best.slots, self._event[best.slots]
        wins, equal = best.event > before, best.event == before
        if ties := bool(equal.any()):
            self._count[slots[equal]] += best.count[equal]
            if self._created is None or best.created is None:
                wins |= equal
            else:
                wins |= equal & (best.created >= self._created[slots])
        frame, event, created, count = best.frame, best.event, best.created, best.count
        if not wins.all():
            slots, event, count, equal = slots[wins], event[wins], count[wins], equal[wins]
            created = None if created is None else created[wins]
            frame = frame.filter(pl.Series(wins))
        self._event[slots] = event
        if self._created is not None and created is not None:
            self._created[slots] = created
        if ties:
            slots_anew = ~equal
            self._count[slots[slots_anew]] = count[slots_anew]
        else:
            self._count[slots] = count
        self._place[slots] = np.arange(self._height, self._height + len(slots))
        self._kept.append(frame)
        self._height += len(slots)
        if self._height > 2 * len(self._place) + _SPARE:
            self._drop_losers()

    def _drop_losers(self) -> None:
        winning = np.flatnonzero(self._place >= 0)
        self._kept = [pl.concat(self._kept)[self._place[winning]]]
        self._place[winning] = np.arange(len(winning))
        self._height = len(winning)

    def match(self, none: pl.DataFrame) -> Match:
        """Find the row of each row of the spine: the best of those known at or before its slot.

        Parameters
        ----------
        none
            The columns without rows, for a source that has none.
        """
        best, tied = self._best()
        rows = self._spine.rows
        positions = np.full(self._spine.height, -1)
        positions[rows] = np.where(best >= 0, self._place[best], -1)
        known, ties = np.zeros((2, self._spine.height), bool)
        known[rows] = self._seen[self._spine.codes]
        ties[rows] = tied
        kept = pl.concat(self._kept) if self._kept else none
        return Match(kept, positions, known=known, tied=ties)

    def _best(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Find for each slot the slot whose row is the best up to there, and whether it tied."""
        slots = np.arange(len(self._place))
        filled = self._place >= 0
        first = np.maximum.accumulate(np.where(self._spine.starts, slots, 0))
        if not self._revised:
            # rows known later have later event timestamps, so that the last slot has the best
            best = np.maximum.accumulate(np.where(filled, slots, -1))
            best[best < first] = -1
            return best, (best >= 0) & (self._count[best] > 1)
        # no two slots have the same row, and of equal rows the last one was kept
        newest = self._event if self._created is None else self._created
        order = np.lexsort((self._place, newest, self._event))
        rank = np.empty_like(order)
        rank[order] = slots
        rank[~filled] = -1
        best = _running_maximum(rank, self._spine.codes, len(order))
        winner = np.where(best >= 0, order[best], -1)
        return winner, (winner >= 0) & self._ties(winner, first)

    def _ties(
        self, winner: npt.NDArray[np.int64], first: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Tell where several known rows have the event timestamp of the winner.

        Revisions of one event become known at different slots; while they are the latest, the
        rows with that timestamp are counted from slot to slot.
        """
        event = np.where(winner >= 0, self._event[winner], NEVER)
        alike = np.where((self._event == event) & (self._place >= 0), self._count, 0)
        changed = np.ones(len(event), bool)
        changed[1:] = event[1:] != event[:-1]
        begin = np.maximum.accumulate(np.where(changed, np.arange(len(event)), 0))
        begin = np.maximum(begin, first)
        total = np.cumsum(alike)
        counted: npt.NDArray[np.bool_] = total - (total[begin] - alike[begin]) > 1
        return counted


def _running_maximum(
    rank: npt.NDArray[np.int64], codes: npt.NDArray[np.int64], height: int
) -> npt.NDArray[np.int64]:
    """Take the maximum so far within each entity; -1 before the first."""
    offset = codes * (height + 1)
    found: npt.NDArray[np.int64] = np.maximum.accumulate(offset + rank + 1) - offset - 1
    return found
