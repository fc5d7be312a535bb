"""Answers that leave entities out, as those of throttled stores do, and asking for the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from featkit.columns import FeatureColumns, Status
from featkit.errors import FeatkitError, IncompleteAnswer
from featkit.flows import made_once
from featkit.online.gathering import Later

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.calls import Flow
    from featkit.stores.base import OnlineRead, Store


def completed(
    store: Store, reads: Sequence[OnlineRead], answers: Sequence[object]
) -> Flow[list[object]]:
    """Ask again for the entities that answers leave out, until none can be had.

    A store raises `IncompleteAnswer` only with something in it, so that this ends; where it can
    answer nothing it raises another error, and the transport waits before it tries again.

    Parameters
    ----------
    store
        Whom to ask.
    reads, answers
        What was asked, and what came.
    """
    known = list(answers)
    while True:
        gaps = {
            place: answer
            for place, answer in enumerate(known)
            if isinstance(answer, IncompleteAnswer) and answer.again
        }
        if not gaps:
            return known
        rest = [
            replace(reads[place], keys=reads[place].keys.filter(left_out(gap.partial)))
            for place, gap in gaps.items()
        ]
        # without keys, which progress has counted already
        calls = [replace(call, keys=0) for call in store.read_together(rest)]
        more = yield from made_once(calls)
        for (place, gap), answer in zip(gaps.items(), more, strict=True):
            known[place] = _filled(gap, answer)


def left_out(partial: FeatureColumns) -> pl.Series:
    """Tell which rows the store did not answer for."""
    first, *_ = partial.statuses.values()
    return first == Status.ERROR


def _filled(gap: IncompleteAnswer, answer: object) -> object:
    """Put what came now into the gaps of what came before."""
    answer = answer.columns() if isinstance(answer, Later) else answer
    found = answer.partial if isinstance(answer, IncompleteAnswer) else answer
    if not isinstance(found, FeatureColumns):  # nothing came, and why is known
        failed = IncompleteAnswer(str(found))
        failed.partial = gap.partial
        failed.__cause__ = found if isinstance(found, FeatkitError) else None
        return failed
    missing = left_out(gap.partial)
    if len(found) != missing.sum():
        return answer  # which is refused as one of the wrong length
    own = pl.int_range(len(missing), dtype=pl.UInt32, eager=True)
    filled = (missing.cum_sum() - 1 + len(missing)).cast(pl.UInt32)
    whole = FeatureColumns.concat([gap.partial, found]).gather(filled.zip_with(missing, own))
    if not isinstance(answer, IncompleteAnswer):
        return whole
    answer.partial = whole
    return answer
