"""Training sets over stores that join by themselves: what they leave out is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.dtypes import TIMESTAMP, cast_exactly
from featkit.errors import NotSupportedError, ProtocolError
from featkit.history import AT, EVENT, ROW, JoinRead, Match, Rule, places
from featkit.keys import EntityKeys
from featkit.training.spine import Joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from featkit.calls import Flow
    from featkit.references import Selection, ViewSelection
    from featkit.stores.base import Store
    from featkit.training.options import TrainingOptions
    from featkit.training.spine import SpineColumns


def join_by_store(
    store: Store,
    selection: Selection,
    rules: dict[str, Rule],
    spine: SpineColumns,
    options: TrainingOptions,
) -> Flow[list[Joined]]:
    """Have the store join distinct moments of distinct entities, and bring them to their rows."""
    _refuse_options(store, options)
    moments = [_moments(part, spine) for part in selection.views]
    reads = [
        JoinRead(view=part.view, features=part.features, spine=distinct, rule=rules[part.view.name])
        for part, (distinct, _) in zip(selection.views, moments, strict=True)
    ]
    asked = [read for read in reads if read.spine.height]  # of nothing there is nothing to ask
    answered = iter((yield from store.join_history(asked)) if asked else ())
    answers = [next(answered) if read.spine.height else _nothing(read) for read in reads]
    return [
        _joined(read, part, answer, positions, spine)
        for read, part, answer, (_, positions) in zip(
            reads, selection.views, answers, moments, strict=True
        )
    ]


def _nothing(read: JoinRead) -> pl.DataFrame:
    """Return the answer to no moments."""
    schema: dict[str, pl.DataType | None] = {ROW: pl.Int64()}
    schema |= {feature.name: feature.dtype for feature in read.features}
    return pl.DataFrame(schema=schema | ({EVENT: TIMESTAMP} if read.view.timestamp else {}))


def _refuse_options(store: Store, options: TrainingOptions) -> None:
    asked = {
        "known_by": options.known_by != "event",
        "lookback": options.lookback is not None,
        "strict": options.strict,
        "feature_timestamps": options.feature_timestamps,
    }
    for name, wanted in asked.items():
        if wanted and name not in store.capabilities.history_options:
            msg = (
                f"the store {store.scheme!r} joins history by itself and does not heed {name}=; "
                "leave it out, or join over the files of the views with an embedded store "
                "(a feature_views.toml beside them)"
            )
            raise NotSupportedError(msg)


def _moments(
    part: ViewSelection, spine: SpineColumns
) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
    """Find the distinct moments of entities, and for each row of the spine which is its own."""
    keys, _ = spine.of(part)
    pairs = EntityKeys.of(pl.DataFrame({"code": keys.positions, AT: spine.at}))
    distinct = pl.DataFrame(
        [
            pl.int_range(pairs.unique.height, eager=True).alias(ROW),
            *keys.unique[pairs.unique["code"]].get_columns(),
            pairs.unique[AT],
        ]
    )
    return distinct, pairs.positions.cast(pl.Int64).fill_null(-1).to_numpy()


def _joined(
    read: JoinRead,
    part: ViewSelection,
    answer: pl.DataFrame,
    moments: npt.NDArray[np.int64],
    spine: SpineColumns,
) -> Joined:
    found = places(read, answer)
    there = _there(read, answer)
    found = np.where(there[found], found, -1) if len(there) else found
    positions = np.where(moments >= 0, found[moments] if len(found) else -1, -1)
    values = {feature.name: _value(read, answer, feature.name) for feature in part.features}
    rows = pl.DataFrame([series.alias(name) for name, series in values.items()])
    if EVENT in answer.columns:
        rows = rows.with_columns(answer[EVENT].dt.convert_time_zone("UTC").cast(TIMESTAMP))
    return Joined(
        part=part,
        rule=read.rule,
        match=Match(rows, positions),
        positions=positions,
        values=values,
        usable=spine.usable(part),
        notes=tuple(_notes(read, answer)),
    )


def _there(read: JoinRead, answer: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell which rows of an answer hold a row of the view, and not only stand for the spine's.

    Without an event timestamp, one that has nothing but nulls cannot be told from none.
    """
    told = [EVENT] if EVENT in answer.columns else [feature.name for feature in read.features]
    found: npt.NDArray[np.bool_] = (
        answer.select(pl.any_horizontal(pl.col(told).is_not_null())).to_series().to_numpy()
    )
    return found


def _value(read: JoinRead, answer: pl.DataFrame, name: str) -> pl.Series:
    wanted = read.view[name].dtype
    if wanted is None:
        return answer[name]
    try:
        return cast_exactly(answer[name], wanted)
    except ValueError as error:
        msg = f"the history of '{read.view.name}:{name}' {error}"
        raise ProtocolError(msg) from error


def _notes(read: JoinRead, answer: pl.DataFrame) -> Iterator[str]:
    if dropped := read.spine.height - answer.height:
        yield (
            f"the store left out {dropped:,} of {read.spine.height:,} distinct moments; they were "
            "put back, with nulls"
        )
    if EVENT not in answer.columns and (empty := int((~_there(read, answer)).sum())):
        yield (
            f"of {empty:,} of {read.spine.height:,} distinct moments the store gave nothing but "
            "nulls, which does not tell a row of nulls from none: they count as no row"
        )
