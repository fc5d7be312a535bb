"""Feast's offline server, over Arrow Flight: it joins the history of a view to a spine.

What it does not keep, or bends, is mended here or by the caller:

- Rows come back in another order, and some not at all: each has a number, by which they are found.
- A feature's column is named ``view__feature``, so that none is called like one of the spine.
- Whole numbers come back as floats where some are missing, times in other units.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from featkit.calls import Call, FlightRequest
from featkit.dtypes import TIMESTAMP
from featkit.engines.newest import latest
from featkit.errors import FeatkitError, ProtocolError, StoreUnavailable, reason_of
from featkit.history import EVENT, ROW
from featkit.stores.feast.types import type_of

if TYPE_CHECKING:
    import pyarrow as pa

    from featkit.calls import FlightReply
    from featkit.history import JoinRead
    from featkit.schema import Feature
    from featkit.stores.base import OnlineRead
    from featkit.stores.feast.registry import Source

_BEGINNING = "1970-01-01T00:00:00+00:00"

RULES = (
    "among rows of one event timestamp the latest created timestamp wins; else it does not count",
    "the ttl is that of the registry; a ttl of 0 means no limit",
    "whole numbers with gaps come as floats, exact up to 2**53; NaN cannot be told from null",
)
"""What a report says of the join."""


def question(read: JoinRead, *, location: str, project: str) -> Call[pl.DataFrame]:
    """Ask for the history of one view.

    Parameters
    ----------
    read
        What is asked.
    location
        Where the offline server is.
    project
        The Feast project.
    """
    view = read.view.name
    command = {
        "api": "get_historical_features",
        "project": project,
        "feature_view_names": [view],
        "feature_refs": [f"{view}:{feature.name}" for feature in read.features],
        "full_feature_names": True,
        "name_aliases": [None],
    }
    request = FlightRequest(
        location=location,
        command=json.dumps(command).encode(),
        table=_spine(read),
        what=f"get_historical_features of {view!r}",
    )
    return Call(request, decode=partial(_answer, read), keys=read.spine.height, explain=_explained)


def newest(read: OnlineRead, source: Source, *, location: str) -> Call[pl.Series]:
    """Ask for the newest event timestamps of some entities.

    A join does not tell of which time the rows are that it chose. So the server is asked for what
    it materialises: the latest row of each entity, of which keys and times are kept.

    Parameters
    ----------
    read
        The entities, and up to when rows count.
    source
        Where the rows of the view come from.
    location
        Where the offline server is.
    """
    columns = {own: column for column, own in source.field_mapping.items()}
    keys = [columns.get(key, key) for key in read.view.join_keys]
    event = columns.get(source.timestamp_field, source.timestamp_field)
    created = columns.get(source.created_timestamp_column, source.created_timestamp_column)
    (first, *_) = read.features  # without any, some offline stores send all columns
    command = {
        "api": "pull_latest_from_table_or_query",
        "data_source_name": source.name,
        "join_key_columns": keys,
        "feature_name_columns": [columns.get(first.name, first.name)],
        "timestamp_field": event,
        "created_timestamp_column": created or None,
        "start_date": _BEGINNING,
        "end_date": read.now.isoformat(),
    }
    request = FlightRequest(
        location=location,
        command=json.dumps(command).encode(),
        table=pl.DataFrame({"key": [0]}).to_arrow(),  # an exchange begins with some table
        what=f"the latest rows of {read.view.name!r}",
    )
    decode = partial(_times, read, [*keys, event])
    return Call(request, decode=decode, keys=read.keys.height, explain=_explained)


def _times(read: OnlineRead, names: list[str], reply: FlightReply) -> pl.Series:
    """Find the times of the entities asked for among those of all."""
    table: pa.Table = reply.table
    if missing := [name for name in names if name not in table.column_names]:
        msg = (
            f"the offline server answered without the column {missing[0]!r}, with "
            f"{sorted(table.column_names)}"
        )
        raise ProtocolError(msg)
    *keys, event = (pl.Series(table.column(name)) for name in names)
    try:
        held = [
            key.cast(entity.dtype or key.dtype).alias(f"k{n}")
            for n, (key, entity) in enumerate(zip(keys, read.view.entities, strict=True))
        ]
        return latest(pl.DataFrame([*held, _utc(event).alias(EVENT)]).lazy(), read.keys)
    except pl.exceptions.PolarsError as error:
        msg = (
            f"the latest rows of {read.view.name!r} are not of the view's types: {reason_of(error)}"
        )
        raise ProtocolError(msg) from error


def _utc(times: pl.Series) -> pl.Series:
    """Read times, which Feast sends in UTC whether they say so or not."""
    if not isinstance(times.dtype, pl.Datetime):
        return times.cast(TIMESTAMP)
    zoned = times if times.dtype.time_zone else times.dt.replace_time_zone("UTC")
    return zoned.dt.convert_time_zone("UTC").cast(TIMESTAMP)


def _explained(reply: FlightReply) -> FeatkitError | None:
    """Know what passes by itself: over DuckDB the server does one join at a time."""
    if "connection is busy" in reply.details:
        return StoreUnavailable(f"the server is busy with another join: {reply.details}")
    return None


def _spine(read: JoinRead) -> pa.Table:
    return read.spine.to_arrow(compat_level=pl.CompatLevel.oldest())


def _answer(read: JoinRead, reply: FlightReply) -> pl.DataFrame:
    """Find the columns that were asked for, in the dtypes that the registry tells."""
    table: pa.Table = reply.table
    columns = {name: place for place, name in enumerate(table.column_names)}
    names = [ROW, *(f"{read.view.name}__{feature.name}" for feature in read.features)]
    if missing := [name for name in names if name not in columns]:
        msg = (
            f"the offline server answered without the column {missing[0]!r}, with {sorted(columns)}"
        )
        raise ProtocolError(msg)
    row, *found = (pl.Series(table.column(columns[name])) for name in names)
    return pl.DataFrame(
        [
            row.alias(ROW),
            *(_fitted(each, feature) for each, feature in zip(found, read.features, strict=True)),
        ]
    )


def _fitted(values: pl.Series, feature: Feature) -> pl.Series:
    """Give values the form that they have online, where that is more than a cast."""
    kind, name = type_of(feature), feature.name
    try:
        if isinstance(kind.dtype, pl.Datetime) and isinstance(values.dtype, pl.Datetime):
            return _utc(values).cast(kind.dtype).alias(name)
        if kind.dtype == pl.String() and values.dtype.is_nested():
            text = pl.when(pl.col("_").is_not_null()).then(_json(values.dtype))
            return values.to_frame("_").select(text).to_series().alias(name)
    except pl.exceptions.PolarsError as error:
        msg = f"the history of {name!r} cannot become {kind.dtype}: {error}"
        raise ProtocolError(msg) from error
    return values.alias(name)


def _json(dtype: pl.DataType) -> pl.Expr:
    """Write what has no type of ours as its JSON."""
    if isinstance(dtype, pl.Struct):
        return pl.col("_").struct.json_encode()
    return pl.struct("_").struct.json_encode().str.strip_prefix('{"_":').str.strip_suffix("}")
