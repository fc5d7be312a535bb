"""Rows of one event timestamp, between which the created timestamp decides; it is read for them.

Most sources have few such rows or none, and created timestamps cost as much to read as event
timestamps. So the rows that win are found without, and only where several share the timestamp
that wins the source is read once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from featkit.engines.base import in_pieces, numbered
from featkit.engines.spine import Ticks

if TYPE_CHECKING:
    import numpy.typing as npt

    from featkit.engines.base import JoinTask
    from featkit.engines.plan import Strategy
    from featkit.engines.winners import Winners


def settle(task: JoinTask, strategy: Strategy, winners: Winners) -> None:
    """Let of tied rows the one win that was written last, and of several the last in the source.

    Parameters
    ----------
    task, strategy
        The join, with its created timestamps, and how it is done.
    winners
        What won without them; they are changed.
    """
    slots, event = winners.tied()
    if not len(slots):
        return
    codes = task.spine.codes[slots]
    ticks = Ticks(event, len(task.spine.entities))
    moments = ticks.packed(codes, event)  # they ascend, as the slots do
    of_tied = np.zeros(len(task.spine.entities) + 1, bool)  # the last one for -1
    of_tied[codes] = True
    found: list[tuple[npt.NDArray[np.int64], ...]] = []
    scan = task.rows(*strategy.predicates(task), valued=False)
    for first, frame in numbered(in_pieces(scan, rows=strategy.run)):
        own, times, created = task.usable(frame)
        rows = np.flatnonzero(of_tied[own])
        packed = ticks.packed(own[rows], times[rows])
        places = np.minimum(np.searchsorted(moments, packed), len(moments) - 1)
        same = (codes[places] == own[rows]) & (event[places] == times[rows])
        rows = rows[same]
        found.append((places[same], created[rows], rows + first))  # type: ignore[index] # it was read
    if not found:  # the files were written again, which is told once their features are read
        return
    places, created, numbers = map(np.concatenate, zip(*found, strict=True))
    order = np.lexsort((numbers, created, places))
    last = np.append(np.diff(places[order]) > 0, True)
    winners.choose(slots[places[order][last]], numbers[order][last])
