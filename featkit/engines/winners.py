"""The rows that win so far: sources are read once, in runs, and each slot keeps its best row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.engines.order import order_of
from featkit.engines.threads import even, in_slices
from featkit.history import EVENT, NEVER, Match

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from featkit.engines.runs import Best
    from featkit.engines.spine import Spine

_PACKED = 2**63  # what an entity and a time must fit in together


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
        self._number = np.full(slots, -1)  # of the row in the source
        self._count = np.zeros(slots, np.int32)  # rows of the latest event timestamp
        self._seen = np.zeros(len(spine.entities), bool)

    def take(self, best: Best) -> None:
        """Let the rows of a run compete; runs come in the order of the source."""
        self._seen |= best.seen
        slots, before = best.slots, self._event[best.slots]
        wins, equal = best.event > before, best.event == before
        if ties := bool(equal.any()):
            self._count[slots[equal]] += best.count[equal]
            if self._created is None or best.created is None:
                wins |= equal
            else:
                wins |= equal & (best.created >= self._created[slots])
        event, created, count, numbers = best.event, best.created, best.count, best.numbers
        if not wins.all():
            slots, event, count, equal = slots[wins], event[wins], count[wins], equal[wins]
            created = None if created is None else created[wins]
            numbers = numbers[wins]
        self._event[slots] = event
        if self._created is not None and created is not None:
            self._created[slots] = created
        if ties:
            slots_anew = ~equal
            self._count[slots[slots_anew]] = count[slots_anew]
        else:
            self._count[slots] = count
        self._number[slots] = numbers

    def numbers(self) -> npt.NDArray[np.int64]:
        """Tell the numbers of the rows that win so far, ascending."""
        return np.sort(self._number[self._number >= 0])

    def tied(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Tell the slots at which several rows have the event timestamp that wins, and that."""
        slots = np.flatnonzero(self._count > 1)
        return slots, self._event[slots]

    def choose(self, slots: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]) -> None:
        """Let at some slots other rows of the same event timestamps win."""
        self._number[slots] = numbers

    def match(
        self, features: Callable[[npt.NDArray[np.int64]], pl.DataFrame], *, timed: bool
    ) -> Match:
        """Find the row of each row of the spine: the best of those known at or before its slot.

        Parameters
        ----------
        features
            Gives those of the rows of the source that have these numbers, ascending.
        timed
            Whether the rows have event timestamps.
        """
        slots = np.flatnonzero(self._number >= 0)
        numbers = self._number[slots]
        if (order := order_of(numbers.view(np.uint64))) is not None:
            slots, numbers = slots[order], numbers[order]
        event = self._event[slots]
        self._number[slots] = np.arange(len(slots))  # from now on among these rows
        # brought to their rows as one number, since that is slow for large spines
        told = np.zeros(self._spine.height, np.int64)

        def tell(own: slice) -> None:
            best, tied = self._part(own).best()
            found = np.where(best >= 0, self._number[own][best] + 1, 0) << 2
            found |= self._seen[self._spine.codes[own]].astype(np.int64) << 1
            found |= tied
            told[self._spine.rows[own]] = found

        in_slices(tell, self._spine.edges())
        known, tied = np.empty((2, len(told)), bool)

        def read(own: slice) -> None:
            known[own] = told[own] & 2
            tied[own] = told[own] & 1
            told[own] >>= 2
            told[own] -= 1

        in_slices(read, even(len(told)))
        rows = features(numbers)
        if timed:
            rows = rows.select(pl.lit(pl.Series(EVENT, event)).cast(TIMESTAMP), pl.all())
        return Match(rows, told, known=known, tied=tied)

    def _part(self, own: slice) -> _Part:
        return _Part(
            codes=self._spine.codes[own],
            starts=self._spine.starts[own],
            event=self._event[own],
            created=None if self._created is None else self._created[own],
            number=self._number[own],
            count=self._count[own],
            revised=self._revised,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Part:
    """The slots of some entities, and the rows that are the best of those known first there.

    Attributes
    ----------
    codes, starts
        For each slot its entity, and whether it is the first of that.
    event, created, number, count
        As of `Winners`.
    revised
        Whether rows may become known in another order than that of their event timestamps.
    """

    codes: npt.NDArray[np.int64]
    starts: npt.NDArray[np.bool_]
    event: npt.NDArray[np.int64]
    created: npt.NDArray[np.int64] | None
    number: npt.NDArray[np.int64]
    count: npt.NDArray[np.int32]
    revised: bool

    def best(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Find for each slot the slot whose row is the best up to there, and whether it tied."""
        slots = np.arange(len(self.codes))
        filled = self.number >= 0
        first = np.maximum.accumulate(np.where(self.starts, slots, 0))
        if not self.revised:
            # rows known later have later event timestamps, so that the last slot has the best
            best = np.maximum.accumulate(np.where(filled, slots, -1))
            best[best < first] = -1
            return best, (best >= 0) & (self.count > 1)[best]
        event = _running_maximum(np.where(filled, self.event, NEVER), self.codes, first)
        newest = filled & (self.event == event)  # slots whose row has the latest event so far
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

        The latest created timestamp wins, then the row that is later in the source.
        """
        held = np.flatnonzero(newest)
        if not len(held):
            return best
        again = np.zeros(len(held), bool)  # the same event of the same entity as the one before
        np.equal(event[held[1:]], event[held[:-1]], out=again[1:])
        again[1:] &= self.codes[held[1:]] == self.codes[held[:-1]]
        if not again.any():
            return best
        rows = np.flatnonzero(again | np.append(again[1:], False))
        created = self.event if self.created is None else self.created
        some = held[rows]
        order = np.lexsort((self.number[some], created[some]))
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
        alike = np.where((self.event == event) & (self.number >= 0), self.count, 0)
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
