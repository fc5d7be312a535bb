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

_SPARE = 2**17  # rows that may be kept in vain before they are dropped
_PACKED = 2**63  # what an entity and a time must fit in together
_NARROW = 0.25  # share of the spine's time, up to which a slot is found by where it can be


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
        Each once.
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
    if _in_order(codes, times):
        if (packed[1:] >= packed[:-1]).all():
            last, slots = spine.latest_rows(codes, packed)
            count = _with_ties_before(last, codes, times.event)
        else:  # sorted by their events, and known in another order
            found, inside = spine.slots_of(codes, packed)
            last, slots, count = _in_order_of_time(inside, found, times, len(spine))
    elif (within := _narrow(spine, times)) is not None:
        found, inside = spine.slots_within(codes, packed, within)
        last, slots, count = _in_order_of_time(inside, found, times, len(spine))
    else:
        last, slots, count = _of_any_order(*spine.first_slots(codes, packed), times)
    created = None if times.created is None else times.created[last]
    rows = frame[last if own is None else own[last]]
    return Best(slots, times.event[last], created, count, rows, seen)


def _in_order(codes: npt.NDArray[np.int64], times: Times) -> bool:
    """Tell whether rows are sorted, by entity and time, so that of several the last is the best.

    So it is in files that `featkit.write_view` wrote.
    """
    if not (codes[1:] >= codes[:-1]).all():
        return False
    event, created = times.event, times.created
    same = codes[1:] == codes[:-1]
    if (same & (event[1:] < event[:-1])).any():
        return False
    if created is None:
        return True
    same &= event[1:] == event[:-1]
    after = np.flatnonzero(same) + 1
    return bool((created[after] >= created[after - 1]).all())


def _with_ties_before(
    last: npt.NDArray[np.int64], codes: npt.NDArray[np.int64], event: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    """Count two for rows that share entity and event timestamp with the row before, else one."""
    before = np.maximum(last - 1, 0)
    ties = (event[before] == event[last]) & (codes[before] == codes[last]) & (last > 0)
    found: npt.NDArray[np.int32] = ties.astype(np.int32) + np.int32(1)
    return found


def _narrow(spine: Spine, times: Times) -> tuple[int, int] | None:
    """Return the time that rows in the order of time cover, where that is little; else None.

    So it is in exports, which are written day by day.
    """
    event, known = times.event, times.known
    if known is None or not (event[1:] >= event[:-1]).all():
        return None
    within = int(known.min()), int(known.max())
    return within if within[1] - within[0] <= spine.duration * _NARROW else None


def _in_order_of_time(
    index: npt.NDArray[np.int64], slots: npt.NDArray[np.int64], times: Times, height: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Find the best row of each slot among rows whose event timestamps ascend, by entity or all.

    That is the last one, unless others have its event timestamp and were written later.

    Parameters
    ----------
    index, slots
        The rows that have a slot, and their slots.
    times
        Of all rows.
    height
        How many slots there are.
    """
    place = np.empty(height, np.int64)  # only what is written is read
    place[slots] = index
    last = place[slots]
    wins = last == index
    same = (times.event[last] == times.event[index]) & ~wins
    best, own = index[wins], slots[wins]
    count = np.ones(len(best), np.int32)
    if same.any():
        tied = np.zeros(height, bool)
        tied[slots[same]] = True
        alike = np.flatnonzero(tied[slots] & (same | wins))
        alike = alike[np.argsort(slots[alike], kind="stable")]
        chosen, which, counts = _of_any_order(index[alike], slots[alike], times)
        place[which] = chosen
        best = place[own]
        count[tied[own]] = counts[np.searchsorted(which, own[tied[own]])]
    return best, own, count


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
        if not self._kept:
            return
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
        self._drop_losers()
        # brought to their rows as one number, since that is slow for large spines
        told = np.where(best >= 0, self._place[best] + 1, 0) << 2
        told |= self._seen[self._spine.codes].astype(np.int64) << 1
        told |= tied
        rows = np.zeros(self._spine.height, np.int64)
        rows[self._spine.rows] = told
        known, ties = (rows & 2).astype(bool), (rows & 1).astype(bool)
        kept = self._kept[0] if self._kept else none
        return Match(kept, (rows >> 2) - 1, known=known, tied=ties)

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
        event = _running_maximum(np.where(filled, self._event, NEVER), self._spine.codes, first)
        newest = filled & (self._event == event)  # slots whose row has the latest event so far
        best = np.maximum.accumulate(np.where(newest, slots, -1))
        best[best < first] = -1
        winner = self._latest_revision(best, newest, event)
        return winner, (winner >= 0) & self._ties(event, first)

    def _latest_revision(
        self,
        best: npt.NDArray[np.int64],
        newest: npt.NDArray[np.bool_],
        event: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Choose between rows of one event that became known at different slots.

        The latest created timestamp wins, then the row that is later in the source: `take` kept
        the places in its order.
        """
        held = np.flatnonzero(newest)
        if not len(held):
            return best
        again = np.zeros(len(held), bool)  # the same event of the same entity as the one before
        np.equal(event[held[1:]], event[held[:-1]], out=again[1:])
        again[1:] &= self._spine.codes[held[1:]] == self._spine.codes[held[:-1]]
        if not again.any():
            return best
        rows = np.flatnonzero(again | np.append(again[1:], False))
        created = self._event if self._created is None else self._created
        some = held[rows]
        order = np.lexsort((self._place[some], created[some]))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        group = np.cumsum(~again[rows])
        top = np.maximum.accumulate(group * len(order) + rank) % len(order)
        chosen = np.arange(len(best))
        chosen[some] = some[order[top]]
        return np.where(best >= 0, chosen[best], -1)

    def _ties(
        self, event: npt.NDArray[np.int64], first: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Tell where several known rows have the latest event timestamp.

        Revisions of one event become known at different slots; while they are the latest, the
        rows with that timestamp are counted from slot to slot.
        """
        alike = np.where((self._event == event) & (self._place >= 0), self._count, 0)
        changed = np.ones(len(event), bool)
        np.not_equal(event[1:], event[:-1], out=changed[1:])
        begin = np.maximum.accumulate(np.where(changed, np.arange(len(event)), 0))
        begin = np.maximum(begin, first)
        total = np.cumsum(alike)
        counted: npt.NDArray[np.bool_] = total - (total[begin] - alike[begin]) > 1
        return counted


def _running_maximum(
    values: npt.NDArray[np.int64], codes: npt.NDArray[np.int64], first: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Take the maximum so far within each entity; `NEVER` where there is none yet.

    Parameters
    ----------
    values
        By slot; `NEVER` for none.
    codes, first
        For each slot its entity, ascending, and the first slot of that.
    """
    there = values != NEVER
    if not there.any():
        return values
    lowest = int(values[there].min()) - 1
    width = int(values.max()) - lowest + 1
    if width * (int(codes[-1]) + 1) < _PACKED:
        small = np.where(there, values - lowest, 0)
        found: npt.NDArray[np.int64] = np.maximum.accumulate(codes * width + small)
        found -= codes * width
        return np.where(found > 0, found + lowest, NEVER)
    known, small = np.unique(values, return_inverse=True)  # with NEVER among them, or not
    found = np.maximum.accumulate(codes * len(known) + small) - codes * len(known)
    return np.where(_any_yet(there, first), known[found], NEVER)


def _any_yet(there: npt.NDArray[np.bool_], first: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell where an entity has had one by then."""
    latest = np.maximum.accumulate(np.where(there, np.arange(len(there)), -1))
    return latest >= first
