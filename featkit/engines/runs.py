"""Runs of rows of a source: put in order by entity and time, and matched with the slots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from featkit.engines.order import ascend, order_of
from featkit.engines.spine import Ticks
from featkit.history import NEVER

if TYPE_CHECKING:
    import numpy.typing as npt

    from featkit.engines.spine import Spine

_FEW = (
    1.25  # rows to each row of the spine's entities, up to which leaving out the others costs more
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """Some consecutive rows of a source: what decides which of them is chosen.

    Attributes
    ----------
    numbers
        Of the rows, in the source.
    codes
        For each row its entity; -1 where it is not in the spine, or can never match.
    event, created
        Event and created timestamps, in microseconds; `created` is None where it does not decide.
    known
        From when on each row counts; None: always.
    """

    numbers: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    event: npt.NDArray[np.int64]
    created: npt.NDArray[np.int64] | None
    known: npt.NDArray[np.int64] | None

    def take(self, rows: npt.NDArray[np.int64]) -> Run:
        """Return some of the rows."""
        return Run(
            numbers=self.numbers[rows],
            codes=self.codes[rows],
            event=self.event[rows],
            created=None if self.created is None else self.created[rows],
            known=None if self.known is None else self.known[rows],
        )


_Found = tuple["npt.NDArray[np.int64]", "npt.NDArray[np.int64]", "npt.NDArray[np.int64]"]
"""Slots, their best rows, and the rows that come before these in their order, -1 for none."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Best:
    """The best row of each slot among the rows of a run that are known first there.

    Attributes
    ----------
    slots
        Each once, ascending.
    numbers, event, created
        Of the best rows; `created` is None where it does not decide.
    count
        How many of the rows known first there have that event timestamp, two for more.
    seen
        For each entity of the spine, whether it occurs in the run.
    """

    slots: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    event: npt.NDArray[np.int64]
    created: npt.NDArray[np.int64] | None
    count: npt.NDArray[np.int32]
    seen: npt.NDArray[np.bool_]


def best_of(spine: Spine, run: Run, *, revised: bool) -> Best:
    """Find the best row of each slot: latest event, then latest created, then last.

    Parameters
    ----------
    spine
        Whose slots they are.
    run
        The rows.
    revised
        Whether they may become known in another order than that of their event timestamps.
    """
    seen = np.zeros(len(spine.entities) + 1, bool)  # the last one for -1
    seen[run.codes] = True
    strangers, seen = bool(seen[-1]), seen[:-1]
    if strangers:
        run = _without_strangers(run, len(spine.entities))
    slots = rows = before = np.empty(0, np.int64)
    if len(run.codes) and len(spine):
        match = _revised if revised else _in_turn
        slots, rows, before = match(spine, run)
    tied = (before >= 0) & (run.event[before] == run.event[rows])
    tied &= run.codes[before] == run.codes[rows]
    return Best(
        slots=slots,
        numbers=run.numbers[rows],
        event=run.event[rows],
        created=None if run.created is None else run.created[rows],
        count=tied.astype(np.int32) + np.int32(1),
        seen=seen,
    )


def _without_strangers(run: Run, entities: int) -> Run:
    """Leave out rows that cannot match; a few are kept, as those of an entity after all others."""
    own = run.codes >= 0
    if np.count_nonzero(own) * _FEW < len(own):
        return run.take(np.flatnonzero(own))
    return replace(run, codes=np.where(own, run.codes, entities))


def _in_turn(spine: Spine, run: Run) -> _Found:
    """Find the best rows where rows become known in the order of their events: the last ones."""
    packed = spine.pack(run.codes, run.known)
    if run.known is None or spine.exact(run.known):
        order = order_of(packed, run.created)
    elif ascend(packed, run.known, *([] if run.created is None else [run.created])):
        order = None
    else:
        order = order_of(_packed(spine, run.codes, run.known), run.created)
    index, slots = _last_known(spine, run, packed, order)
    return slots, _of(order, index), _of(order, index - 1)


def _revised(spine: Spine, run: Run) -> _Found:
    """Find the best rows where one may become known after another of a later event.

    Each row has a rank by entity, event and created timestamp. In the order in which rows become
    known, the highest rank so far is that of the best one.
    """
    packed = spine.pack(run.codes, run.known)
    by_rank = order_of(_packed(spine, run.codes, run.event), run.created)
    by_known = order_of(packed)
    ranks = np.arange(len(packed))
    if by_rank is not None:
        ranks[by_rank] = np.arange(len(packed))
    highest = np.maximum.accumulate(ranks if by_known is None else ranks[by_known])
    index, slots = _last_known(spine, run, packed, by_known)
    best = highest[index]
    better = np.ones(len(best), bool)
    np.not_equal(best[1:], best[:-1], out=better[1:])
    slots, best = slots[better], best[better]
    before = _of(by_rank, best - 1)
    if run.known is not None:  # it counts only if it is known first at the same slot
        earlier = ~spine.starts[slots] & (run.known[before] <= spine.at[slots - 1])
        before = np.where(earlier, -1, before)
    return slots, _of(by_rank, best), before


def _packed(
    spine: Spine, codes: npt.NDArray[np.int64], moments: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """Pack entities and moments, none of them rounded."""
    return Ticks(moments, len(spine.entities)).packed(codes, moments)


def _last_known(
    spine: Spine, run: Run, packed: npt.NDArray[np.uint64], order: npt.NDArray[np.int64] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find the last row known at each slot, as its place in the order in which rows are known."""
    ascending = packed if order is None else np.sort(packed)
    known = run.known
    within = (NEVER, NEVER) if known is None else (int(known.min()), int(known.max()))
    ends = run.codes[_of(order, np.array([0, len(packed) - 1]))]
    index, slots = spine.last_before(ends, ascending, within)
    own = (index >= 0) & (run.codes[_of(order, index)] == spine.codes[slots])
    return (index, slots) if own.all() else (index[own], slots[own])


def _of(
    order: npt.NDArray[np.int64] | None, places: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Find the rows at these places in an order, -1 for none."""
    if order is None:
        return places
    return np.where(places >= 0, order[places], -1)
