"""Rows of tables as a SQL warehouse sends them, and how they become those of a view.

Arrow has most types as they are. What lookups read as JSON, since no column could hold it, comes as
the JSON that the warehouse writes, so that a training set has the same text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from featkit.asof import joined
from featkit.dtypes import TIMESTAMP, cast_exactly, format_dtype
from featkit.errors import ProtocolError, TimestampError
from featkit.stores.databricks.types import Carried, carried, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from featkit.history import JoinRead
    from featkit.schema import Feature


def quoted(name: str) -> str:
    """Quote an identifier."""
    return "`" + name.replace("`", "``") + "`"


_SELECTED = {
    Carried.AS_IT_IS: "{column}",
    Carried.AS_JSON: "TO_JSON({column})",
    Carried.AS_TEXT: "CAST({column} AS STRING)",
}


def columns_of(read: JoinRead) -> dict[str, str]:
    """Write what makes the keys, the event timestamp and the features, by their names."""
    view = read.view
    columns = {name: quoted(name) for name in (*view.join_keys, view.timestamp) if name}
    for feature in read.features:
        how = _SELECTED[carried(feature.store_type)]
        columns[feature.name] = how.format(column=quoted(feature.name))
    return columns


def joined_here(read: JoinRead, rows: pl.DataFrame, zone: str | None) -> pl.DataFrame:
    """Bring rows to the dtypes of the view, and join them."""
    view = read.view
    dtypes: dict[str, pl.DataType | None]
    dtypes = {entity.join_key: entity.dtype for entity in view.entities}
    dtypes |= {view.timestamp: TIMESTAMP} if view.timestamp else {}
    return joined(read, shaped(rows, dtypes, read.features, zone))


def shaped(
    rows: pl.DataFrame,
    dtypes: Mapping[str, pl.DataType | None],
    features: Sequence[Feature],
    zone: str | None,
) -> pl.DataFrame:
    """Bring columns to their dtypes.

    Parameters
    ----------
    rows
        What came; without columns where there was no row.
    dtypes
        The dtypes of columns that are no features, by their names.
    features
        The features.
    zone
        What naive times mean; None: they are refused.

    Raises
    ------
    ProtocolError
        A column is missing, or cannot be of its dtype.
    TimestampError
        A naive time means nothing, or two moments, in the zone.
    """
    if not rows.width:  # no chunk came
        return pl.DataFrame(schema={**dtypes, **{own.name: own.dtype for own in features}})
    wanted = [*dtypes, *(own.name for own in features)]
    if missing := [name for name in wanted if name not in rows.columns]:
        msg = f"the result of a statement has no column {missing[0]!r}"
        raise ProtocolError(msg)
    made = [_cast(rows[name], dtype, zone) for name, dtype in dtypes.items()]
    return pl.DataFrame([*made, *(_feature(rows[own.name], own, zone) for own in features)])


def _feature(column: pl.Series, feature: Feature, zone: str | None) -> pl.Series:
    # whether a warehouse sends lists, maps and structs as such or as JSON, nothing promises
    as_json = isinstance(feature.dtype, pl.List | pl.Struct) and column.dtype == pl.String
    if as_json or carried(feature.store_type) is Carried.AS_JSON:
        texts = column.cast(pl.String).fill_null("null")
        text = f"[{texts.str.join(',').item() or ''}]"
        return kind_of(feature.store_type, zone).decode(text.encode(), feature.name)
    return _cast(column, feature.dtype, zone)


def _cast(column: pl.Series, dtype: pl.DataType | None, zone: str | None) -> pl.Series:
    is_day = column.dtype == pl.Date and isinstance(dtype, pl.Datetime)
    if is_day or (isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None):
        column = _aware(column, zone)
    if dtype is None:
        return column
    try:
        return cast_exactly(column, dtype)
    except ValueError as error:
        msg = f"the column {column.name!r} came as {format_dtype(column.dtype)} and {error}"
        raise ProtocolError(msg) from error


def _aware(column: pl.Series, zone: str | None) -> pl.Series:
    """Read naive times as those of a zone."""
    if zone is None:
        msg = (
            f"the column {column.name!r} has times without a zone; say what they mean with "
            "featkit.connect(..., timezone='UTC')"
        )
        raise TimestampError(msg)
    local = column.cast(pl.Datetime("us"))
    made = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    unclear = (made.is_null() & column.is_not_null()).arg_true()
    if len(unclear):
        msg = (
            f"the column {column.name!r} has times without a zone, of which {column[unclear[0]]} "
            f"came twice or never in {zone}; is that the zone?"
        )
        raise TimestampError(msg)
    return made.dt.convert_time_zone("UTC")
