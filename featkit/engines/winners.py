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
class Piece:
    """Some rows of a source that are known at slots of a spine.

    Attributes
    ----------
    frame
        What of them is kept.
    height
        How many rows were read for it.
    index, slots
        Rows of the frame, and the first slot at which each is known.
    event, created
        Of these rows, in microseconds; `created` is None where it does not decide.
    entities
        The codes of all entities that occur in the piece.
    """

    frame: pl.DataFrame
    height: int
    index: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    event: npt.NDArray[np.int64]
    created: npt.NDArray[np.int64] | None
    entities: npt.NDArray[np.int64]


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
        self._number = np.full(slots, -1)  # of the row in the source: the last one wins
        self._place = np.full(slots, -1)  # of the row among those kept
        self._count = np.zeros(slots, np.int32)  # rows of the latest event timestamp
        self._seen = np.zeros(max(len(spine.entities), 1), bool)
        self._kept: list[pl.DataFrame] = []
        self._height = self._read = 0

    def take(self, piece: Piece) -> None:
        """Let the rows of a piece compete; pieces come in the order of the source."""
        self._seen[piece.entities] = True
        slots, event, index, created = piece.slots, piece.event, piece.index, piece.created
        before = self._event[slots]
        if not (hopeful := event >= before).all():
            slots, event, index, before = (each[hopeful] for each in (slots, event, index, before))
            created = None if created is None else created[hopeful]
        np.maximum.at(self._event, slots, event)
        if not (latest := event == self._event[slots]).all():
            slots, event, index, before = (each[latest] for each in (slots, event, index, before))
            created = None if created is None else created[latest]
        self._reset(slots[event > before])
        np.add.at(self._count, slots, 1)
        if created is not None and self._created is not None:
            np.maximum.at(self._created, slots, created)
            newest = created == self._created[slots]
            slots, index = slots[newest], index[newest]
        number = self._read + index
        np.maximum.at(self._number, slots, number)
        if not (last := number == self._number[slots]).all():
            slots, index = slots[last], index[last]
        self._place[slots] = np.arange(self._height, self._height + len(slots))
        self._kept.append(piece.frame[index])
        self._height += len(slots)
        self._read += piece.height
        if self._height > 2 * len(self._place) + _SPARE:
            self._drop_losers()

    def _reset(self, slots: npt.NDArray[np.int64]) -> None:
        """Forget what decided among rows of an event timestamp that is no longer the latest."""
        self._count[slots] = 0
        self._number[slots] = -1
        if self._created is not None:
            self._created[slots] = NEVER

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
        found = best >= 0
        place = np.where(found, self._place[best], -1)
        rows = self._spine.rows
        positions = np.full(self._spine.height, -1)
        positions[rows] = place
        known, ties = np.zeros((2, self._spine.height), bool)
        known[rows] = self._seen[self._spine.codes]
        ties[rows] = found & tied
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
            return best, self._count[best] > 1
        newest = self._event if self._created is None else self._created
        order = np.lexsort((self._number, newest, self._event))
        rank = np.empty_like(order)
        rank[order] = slots
        rank[~filled] = -1
        best = _running_maximum(rank, self._spine.codes, len(order))
        winner = np.where(best >= 0, order[best], -1)
        return winner, self._ties(winner, first)

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
    rank: npt.NDArray[np.int64], codes: npt.NDArray[np.uint32], height: int
) -> npt.NDArray[np.int64]:
    """Take the maximum so far within each entity; -1 before the first."""
    offset = codes.astype(np.int64) * (height + 1)
    found: npt.NDArray[np.int64] = np.maximum.accumulate(offset + rank + 1) - offset - 1
    return found
