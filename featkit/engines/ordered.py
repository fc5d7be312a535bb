"""Rows that lie in order by entity and time: their slots are found without sorting anything.

Rows of an entity lie together then: its number is looked up once for all of them, and the row of
a slot is searched among them alone. Whether rows are in order is looked at, never believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from featkit.engines.runs import Best
from featkit.history import EVENT, NEVER

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl

    from featkit.engines.base import JoinTask
    from featkit.engines.spine import Spine

_MANY = 4  # slots to each row, from which on to search the rows in the slots is faster
_BACK = 64  # rows not yet written at a slot that are stepped over one by one


def best_in_order(task: JoinTask, first: int, frame: pl.DataFrame, *, revised: bool) -> Best | None:
    """Find the best row of each slot, as `featkit.engines.runs.best_of` does for any rows.

    Parameters
    ----------
    task
        The join.
    first, frame
        Number of the first row, and the keys and times of the rows.
    revised
        Whether they may become known in another order than that of their event timestamps.

    Returns
    -------
    best
        None: the rows are not in order, or another way is faster.
    """
    if task.static or frame[EVENT].null_count():
        return None
    runs = task.spine.entities.runs(task.keys_of(frame))
    if runs is None:
        return None
    event, created = task.times_of(frame)
    if not _in_order(*runs, event, created):
        return None
    least = task.rule.known_from(event, None)  # no row is known earlier, and these ascend
    known = task.rule.known_from(event, created) if revised else least
    slots = _Slots.of(task.spine, *runs, least, known)
    if len(slots.numbers) > _MANY * frame.height:
        return None
    rows = slots.last_of(least)
    if revised and not slots.step_back(rows, known):
        return None
    slots, rows = slots.changed(rows)
    before = rows - 1  # a tie, if it is known first at the same slot
    tied = (before >= slots.begin) & (event[before] == event[rows]) & (known[before] > slots.before)
    seen = np.zeros(len(task.spine.entities) + 1, bool)  # the last one for -1
    seen[runs[1]] = True
    return Best(
        slots=slots.numbers,
        numbers=rows + first,
        event=event[rows],
        created=None if created is None else created[rows],
        count=tied.astype(np.int32) + np.int32(1),
        seen=seen[:-1],
    )


def _in_order(
    begins: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int64],
    event: npt.NDArray[np.int64],
    created: npt.NDArray[np.int64] | None,
) -> bool:
    """Tell whether each entity has one run of rows, and these are in order by their times."""
    own = codes[codes >= 0]
    if not (own[1:] > own[:-1]).all():
        return False
    earlier = event[1:] < event[:-1]
    earlier[begins[1:] - 1] = False
    if earlier.any():
        return False
    if created is None:
        return True
    alike = event[1:] == event[:-1]
    alike[begins[1:] - 1] = False
    before = np.flatnonzero(alike)
    return bool((created[before + 1] >= created[before]).all())


@dataclass(frozen=True, eq=False)
class _Slots:
    """Slots at which one of some rows may be the best one for the first time.

    Attributes
    ----------
    numbers
        Of the slots, ascending.
    at, before
        Their moments, and those of the slots before; of an entity's first slot `NEVER`.
    begin, last
        Of each slot the first and the last row of its entity.
    """

    numbers: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    begin: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        spine: Spine,
        begins: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int64],
        least: npt.NDArray[np.int64],
        known: npt.NDArray[np.int64],
    ) -> _Slots:
        """Find them.

        Parameters
        ----------
        spine
            Whose slots they are.
        begins, codes
            Of each run of rows the first one, and its entity; -1 for those of no slot.
        least, known
            For each row since when at the earliest it may be known, and since when it is.
        """
        lasts = np.append(begins[1:], len(known)) - 1
        latest = known[lasts] if known is least else np.maximum.reduceat(known, begins)
        numbers, run = _slots_of(spine, codes)
        begin, at = begins[run], spine.at[numbers]
        before = np.where(spine.starts[numbers], NEVER, spine.at[numbers - 1])
        some = at >= least[begin]
        some &= before < latest[run]  # else all rows were known at the slot before
        return cls(numbers, at, before, begin, lasts[run]).take(some)

    def take(self, some: npt.NDArray[np.bool_]) -> _Slots:
        """Return some of them."""
        return _Slots(
            self.numbers[some],
            self.at[some],
            self.before[some],
            self.begin[some],
            self.last[some],
        )

    def last_of(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Find the last row of each slot's entity whose time is not after the slot.

        The rows that are left to search are halved for all slots at once.
        """
        rows = self.begin.copy()
        longest = int((self.last - self.begin).max(initial=0))
        for power in reversed(range(longest.bit_length())):
            probe = np.minimum(rows + (1 << power), self.last)
            step = probe - rows
            step *= times[probe] <= self.at  # faster than to choose, which is hard to foresee
            rows += step
        return rows

    def step_back(self, rows: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> bool:
        """Step back from rows not yet known, even before the first of the entity.

        Returns
        -------
        done
            Whether few steps were enough.
        """
        late = np.flatnonzero(known[rows] > self.at)
        for _ in range(_BACK):
            rows[late] -= 1
            late = late[rows[late] >= self.begin[late]]
            late = late[known[rows[late]] > self.at[late]]
            if not len(late):
                return True
        return False

    def changed(self, rows: npt.NDArray[np.int64]) -> tuple[_Slots, npt.NDArray[np.int64]]:
        """Return those slots that have a row, and another one than the slot before."""
        found = rows >= self.begin
        slots, rows = self.take(found), rows[found]
        other = np.ones(len(rows), bool)
        np.not_equal(rows[1:], rows[:-1], out=other[1:])
        return slots.take(other), rows[other]


def _slots_of(
    spine: Spine, codes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find the slots of entities, which ascend among -1; and for each slot the place of its own."""
    places = np.flatnonzero(codes >= 0)
    if not len(places):
        return places, places
    lowest, highest = codes[places[0]], codes[places[-1]]
    begin = np.searchsorted(spine.codes, lowest, "left")
    end = np.searchsorted(spine.codes, highest, "right")
    place = np.full(highest - lowest + 1, -1)
    place[codes[places] - lowest] = places
    found = place[spine.codes[begin:end] - lowest]
    own = np.flatnonzero(found >= 0)
    return own + begin, found[own]
