"""Point-in-time joins with polars and numpy: each source is read once, front to back.

polars reads, decodes and filters. Each piece of the source is matched with the slots of the spine
at which its rows become known, and loses at once whatever a later row beats. So the memory that a
join takes depends on the spine and on the features, not on the source, and no source is ever
sorted as a whole.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import polars as pl

from featkit.engines.base import JoinTask, in_pieces
from featkit.engines.winners import Piece, Winners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.history import Match

FAILURES = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What reading rows with polars raises; it panics over some of the files that are corrupt."""

_AHEAD = 2  # pieces that are matched at the same time


def join(task: JoinTask) -> Match:
    """Find for each row of a spine the row that was known then."""
    winners = Winners(
        task.spine,
        created=task.history.created is not None,
        revised=task.rule.created and task.history.created is not None,
    )
    try:
        for piece in _matched(task, in_pieces(task.rows())):
            winners.take(piece)
        return winners.match(task.none())
    except FAILURES as error:
        raise task.history.unreadable(error) from error


def _matched(task: JoinTask, frames: Iterator[pl.DataFrame]) -> Iterator[Piece]:
    """Match pieces with the spine, the next ones in other threads meanwhile."""
    waiting: deque[Future[Piece]] = deque()
    with ThreadPoolExecutor(_AHEAD, thread_name_prefix="featkit-join") as pool:
        for frame in frames:
            waiting.append(pool.submit(_piece, task, frame))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _piece(task: JoinTask, frame: pl.DataFrame) -> Piece:
    codes, event, created = task.usable(frame)
    known = None if task.static else task.rule.known_from(event, created)
    index, slots = task.spine.slots(codes, known)
    return Piece(
        frame=frame.select(task.kept()),
        height=frame.height,
        index=index,
        slots=slots,
        event=event[index],
        created=None if created is None else created[index],
        entities=codes[codes >= 0],
    )
