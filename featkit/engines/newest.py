"""The newest event timestamps that a store's history tells, entity by entity."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from featkit.calls import Call, LocalRead
from featkit.dtypes import TIMESTAMP
from featkit.engines.base import CREATED
from featkit.errors import NotSupportedError
from featkit.failures import FAILURES
from featkit.history import AT, EVENT, ROW, HistoryRead, JoinRead, Rule, places

if TYPE_CHECKING:
    from featkit.calls import Flow
    from featkit.history import HistoryRows
    from featkit.stores.base import OnlineRead, Store


def newest_times(store: Store, read: OnlineRead) -> Flow[pl.Series]:
    """Find the newest times up to now; see `featkit.stores.base.Store.read_offline_times`."""
    if store.capabilities.history == "joined":
        return (yield from _of_join(store, read))
    if store.capabilities.history == "rows":
        rows: HistoryRows = yield store.read_history(HistoryRead(read.view, ()))
        what = f"event timestamps of feature view {read.view.name!r}"
        found: pl.Series = yield Call(
            LocalRead(partial(_of_rows, rows, read), what, threaded=True), keys=read.keys.height
        )
        return found
    lack = store.capabilities.lack("read_offline_times")
    msg = f"the store {store.scheme!r} does not support compare_offline=True: {lack}"
    raise NotSupportedError(msg)


def _of_rows(rows: HistoryRows, read: OnlineRead) -> pl.Series:
    """Read keys and times alone: the latest row is the one whose event timestamp is latest."""
    if rows.event is None:
        return pl.repeat(None, read.keys.height, dtype=TIMESTAMP, eager=True)
    now = pl.lit(read.now, TIMESTAMP)
    keys = [key.alias(f"k{n}") for n, key in enumerate(rows.keys)]
    created = [] if rows.created is None else [rows.created.alias(CREATED)]
    scan = rows.scan.select(*keys, rows.event.alias(EVENT), *created).filter(pl.col(EVENT) <= now)
    if created:  # a row that is not said to be written later was there
        written = pl.col(CREATED)
        scan = scan.filter(written.is_null() | (written <= now))
    try:
        return latest(scan, read.keys)
    except FAILURES as error:
        raise rows.unreadable(error) from error


def latest(rows: pl.LazyFrame, asked: pl.DataFrame) -> pl.Series:
    """Find the latest time of each entity.

    Parameters
    ----------
    rows
        The keys as ``k0``, ``k1``, ..., and the column `featkit.history.EVENT`.
    asked
        One row per entity, in the dtypes of the rows' keys.

    Examples
    --------
    >>> rows = pl.LazyFrame({"k0": ["a", "b", "a"], EVENT: [1, 2, 3]})
    >>> latest(rows, pl.DataFrame({"shop": ["b", "c", "a"]})).to_list()
    [2, None, 3]
    """
    names = [f"k{n}" for n in range(asked.width)]
    named = asked.rename(dict(zip(asked.columns, names, strict=True)))
    if not names:
        newest = rows.select(pl.col(EVENT).max()).collect()[EVENT]
        return newest.new_from_index(0, asked.height)
    first = named["k0"]
    # the range lets a scan skip the row groups of sorted files
    lowest, highest = (pl.lit(end, first.dtype) for end in (first.min(), first.max()))
    near = rows.filter(pl.col("k0").is_between(lowest, highest))
    own = near.join(named.lazy(), on=names, how="semi").group_by(names).agg(pl.col(EVENT).max())
    return named.join(own.collect(), on=names, how="left", maintain_order="left")[EVENT]


def _of_join(store: Store, read: OnlineRead) -> Flow[pl.Series]:
    """Have the store join at now; of the row that it chooses only the time is wanted."""
    view, heeded = read.view, store.capabilities.history_options
    spine = pl.DataFrame(
        [
            pl.int_range(read.keys.height, eager=True).alias(ROW),
            *read.keys.get_columns(),
            pl.repeat(read.now, read.keys.height, dtype=TIMESTAMP, eager=True).alias(AT),
        ]
    )
    rule = Rule(created=view.created is not None and "known_by" in heeded)
    question = JoinRead(view=view, features=read.features[:1], spine=spine, rule=rule)
    (answer,) = yield from store.join_history([question])
    found = pl.Series(places(question, answer))
    if EVENT not in answer.columns:
        msg = f"the store {store.scheme!r} joins by itself, and does not tell the rows' times"
        raise NotSupportedError(msg)
    times = answer[EVENT].dt.convert_time_zone("UTC").cast(TIMESTAMP)
    return times.gather(found.set(found < 0, None))
