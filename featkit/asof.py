"""The point-in-time join of a few columns that a store sent, by featkit's own rules."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.history import AT, EVENT, ROW

if TYPE_CHECKING:
    from featkit.history import JoinRead

_KNOWN = "featkit_known_from"


def period(read: JoinRead, around: timedelta = timedelta()) -> tuple[str, str | None]:
    """Tell between which moments rows can count, as ISO 8601: the last, and the first if any.

    Parameters
    ----------
    read
        The question.
    around
        How much the moments are moved apart.
    """
    last, first = read.spine[AT].max(), read.spine[AT].min()
    limit = timedelta(microseconds=read.rule.limit or 0)
    ends = pl.Series([last, first], dtype=TIMESTAMP)
    ends = ends + pl.Series([around, -around - limit], dtype=pl.Duration("us"))
    until, since = ends.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return until, since if read.rule.limit is not None else None


def joined(read: JoinRead, rows: pl.DataFrame) -> pl.DataFrame:
    """Join rows to the moments of a spine.

    Parameters
    ----------
    read
        The spine, and what counts as known.
    rows
        The rows of the view, in any order: the join keys in the entities' dtypes, the features,
        and, where the view has it, the column of event timestamps (UTC, microseconds).

    Returns
    -------
    polars.DataFrame
        One row per row of the spine, as `featkit.stores.base.Store.join_history` says.
    """
    keys, names = list(read.view.join_keys), [feature.name for feature in read.features]
    held = rows.drop_nulls(keys)
    if read.view.timestamp is None:
        latest = held.select(*keys, *names).unique(keys, keep="last", maintain_order=True)
        found = read.spine.join(latest, on=keys, how="left", maintain_order="left")
        return found.select(ROW, *names)
    event = pl.col(read.view.timestamp)
    late = read.rule.delay + read.rule.strict
    known = (
        held.drop_nulls(read.view.timestamp)
        .select(*keys, *names, event.alias(EVENT))
        .sort(EVENT, maintain_order=True)
        .with_columns((pl.col(EVENT) + timedelta(microseconds=late)).alias(_KNOWN))
        .unique([*keys, EVENT], keep="last", maintain_order=True)
    )
    # sorted by time as a whole, and so within each key, which polars does not check with `by`
    found = read.spine.sort(AT).join_asof(
        known,
        left_on=AT,
        right_on=_KNOWN,
        by=keys,
        strategy="backward",
        check_sortedness=False,
    )
    if read.rule.limit is not None:
        good = pl.col(AT) - pl.col(EVENT) <= timedelta(microseconds=read.rule.limit)
        found = found.with_columns(pl.when(good).then(pl.col(n)).alias(n) for n in (*names, EVENT))
    return found.sort(ROW).select(ROW, *names, EVENT)
