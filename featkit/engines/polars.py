"""Point-in-time joins with polars and numpy: keys and times first, then the features chosen.

polars reads, decodes and filters. Each run of rows is matched with the slots of the spine at which
its rows become known, and of each slot only the best row so far is remembered. So the memory that
a join takes depends on the spine and on the features, not on the source, and no source is ever
sorted as a whole.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.engines.base import in_pieces, numbered, timestamp
from featkit.engines.features import HeldFeatures, LaterFeatures
from featkit.engines.memory import give_back
from featkit.engines.ordered import best_in_order
from featkit.engines.runs import Best, Run, best_of
from featkit.engines.threads import in_turn
from featkit.engines.ties import settle
from featkit.engines.winners import Winners
from featkit.failures import FAILURES
from featkit.history import Match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from featkit.engines.base import JoinTask
    from featkit.engines.plan import Strategy

_LATEST = np.iinfo(np.int64).max


def join(task: JoinTask, strategy: Strategy) -> Match:
    """Find for each row of a spine the row that was known then."""
    try:
        if strategy.buckets == 1:
            match = _joined(task, strategy)
        else:
            parts = task.spine.parts(strategy.buckets)
            match = _united(task, (_joined(replace(task, spine=part), strategy) for part in parts))
    except FAILURES as error:
        raise task.history.unreadable(error) from error
    if strategy.memory is not None:
        give_back()
    return match


def _joined(task: JoinTask, strategy: Strategy) -> Match:
    winners, features = _won(task, strategy)
    return _explained(task, strategy, winners.match(features.of, timed=not task.static))


_Won = tuple[Winners, "HeldFeatures | LaterFeatures"]


def _won(task: JoinTask, strategy: Strategy) -> _Won:
    """Find the rows that win; created timestamps that only decide ties are read if there are any.

    Where there are some among the first rows already, there will be more.
    """
    if strategy.later and task.created is not None and not (task.rule.created or task.static):
        undated = replace(task, history=replace(task.history, created=None))
        won = _competed(undated, strategy, unless_tied=True)
        if won is not None:
            settle(task, strategy, won[0])
            return won
    return _competed(task, strategy)  # type: ignore[return-value] # it does not mind ties


def _competed(task: JoinTask, strategy: Strategy, *, unless_tied: bool = False) -> _Won | None:
    created = task.created is not None
    revised = task.rule.created and created
    winners = Winners(task.spine, created=created, revised=revised)
    features: HeldFeatures | LaterFeatures
    if strategy.later:
        features = LaterFeatures(task, strategy)
    else:
        features = HeldFeatures(task, strategy, winners)
    pieces = in_pieces(features.scan(), rows=strategy.run)
    match = partial(_matched, task, revised=revised)
    for best, first, frame in in_turn(match, numbered(pieces), ahead=strategy.threads):
        if unless_tied and first == 0 and (best.count > 1).any():
            return None
        winners.take(best)
        features.take(best, first, frame)
    return winners, features


def _matched(
    task: JoinTask, piece: tuple[int, pl.DataFrame], *, revised: bool
) -> tuple[Best, int, pl.DataFrame]:
    first, frame = piece
    if (best := best_in_order(task, first, frame, revised=revised)) is not None:
        return best, first, frame
    codes, event, created = task.usable(frame)
    run = Run(
        numbers=np.arange(first, first + frame.height),
        codes=codes,
        event=event,
        created=created,
        known=None if task.static else task.rule.known_from(event, created),
    )
    return best_of(task.spine, run, revised=revised), first, frame


def _united(task: JoinTask, matches: Iterable[Match]) -> Match:
    """Put the answers for parts of a spine together as they come; each row is in one part."""
    positions = np.full(task.spine.height, -1)
    flags = np.zeros((3, task.spine.height), bool)
    kept: list[pl.DataFrame] = []
    height = 0
    for match in matches:
        found = match.positions >= 0
        positions[found] = match.positions[found] + height
        for place, own in enumerate((match.known, match.past, match.tied)):
            if own is not None:
                flags[place] |= own
        height += match.rows.height
        kept.append(match.rows)
        give_back()
    known, past, tied = flags
    return Match(pl.concat(kept), positions, known=known, past=past, tied=tied)


# -- rows that were left out by their time -------------------------------------------------------


def _explained(task: JoinTask, strategy: Strategy, match: Match) -> Match:
    """Tell why rows have no match, where rows were left out that would tell."""
    if strategy.earliest is None and strategy.latest is None:
        return match
    spine, event = task.spine, task.history.event
    missed = match.positions[spine.rows] < 0
    if not missed.any() or event is None:
        return match
    seen = np.zeros(len(spine.entities) + 1, bool)
    seen[spine.codes[match.known[spine.rows]]] = True  # type: ignore[index] # it is told here
    first_known = np.full(len(spine.entities) + 1, _LATEST)
    wanted = np.zeros(len(spine.entities) + 1, bool)
    wanted[spine.codes[missed]] = True
    if strategy.earliest is not None:
        for codes, known in _left_out(task, event < timestamp(strategy.earliest), wanted):
            seen[codes] = True
            np.minimum.at(first_known, codes, known)
    if strategy.latest is not None and not seen[:-1][wanted[:-1]].all():
        for codes, _ in _left_out(task, event > timestamp(strategy.latest), wanted):
            seen[codes] = True
    known_rows, past = np.zeros((2, spine.height), bool)
    known_rows[spine.rows] = seen[spine.codes]
    past[spine.rows] = first_known[spine.codes] <= spine.at
    return replace(match, known=known_rows, past=past)


def _left_out(
    task: JoinTask, predicate: pl.Expr, wanted: npt.NDArray[np.bool_]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Read keys and times of rows that were left out; of the entities that are wanted."""
    scan = task.history.scan.filter(predicate).select(*task.keys(), *task.times())
    for frame in in_pieces(scan):
        codes, event, created = task.usable(frame)
        own = wanted[codes] & (codes >= 0)
        known = task.rule.known_from(event, created)
        yield codes[own], known[own]
