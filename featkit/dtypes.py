"""Names of dtypes, as feature definitions write them and catalogues show them."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from featkit.errors import reason_of

TIMESTAMP = pl.Datetime("us", "UTC")
"""The one kind of time inside featkit: aware, UTC, microseconds."""

_NAMED: dict[str, pl.DataType] = {
    "bool": pl.Boolean(),
    "int8": pl.Int8(),
    "int16": pl.Int16(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "uint8": pl.UInt8(),
    "uint16": pl.UInt16(),
    "uint32": pl.UInt32(),
    "uint64": pl.UInt64(),
    "float32": pl.Float32(),
    "float64": pl.Float64(),
    "string": pl.String(),
    "bytes": pl.Binary(),
    "date": pl.Date(),
    "time": pl.Time(),
    "timestamp": TIMESTAMP,
    "duration": pl.Duration("us"),
}
_NAMES = {dtype: name for name, dtype in _NAMED.items()}
_LIST = re.compile(r"list\[(.+)\]")


def parse_dtype(name: str) -> pl.DataType:
    """Read the name of a dtype.

    Parameters
    ----------
    name
        One of ``bool int8 ... int64 uint8 ... uint64 float32 float64 string bytes date time
        timestamp duration``, or ``list[NAME]``.

    Raises
    ------
    ValueError
        There is no such dtype.

    Examples
    --------
    >>> parse_dtype("list[float64]")
    List(Float64)
    """
    if name in _NAMED:
        return _NAMED[name]
    if inner := _LIST.fullmatch(name):
        return pl.List(parse_dtype(inner.group(1)))
    msg = f"{name!r} is not a dtype; there are: {', '.join(_NAMED)} and list[...] of these"
    raise ValueError(msg)


def instance(dtype: Any) -> pl.DataType:  # noqa: ANN401 - a class of dtypes, or one of these
    """Return a dtype as an instance: those within others may be classes.

    Examples
    --------
    >>> instance(pl.List(pl.Int64).inner), instance(pl.Int64)
    (Int64, Int64)
    """
    return pl.Series([], dtype=dtype).dtype


def format_dtype(dtype: pl.DataType | None) -> str:
    """Write a dtype by the name that `parse_dtype` reads, where it has one.

    Examples
    --------
    >>> format_dtype(pl.List(pl.Datetime("ns", "Europe/Paris")))
    'list[timestamp]'
    """
    match dtype:
        case None:
            return "unknown"
        case pl.List():
            return f"list[{format_dtype(instance(dtype.inner))}]"
        case pl.Datetime(time_zone=str()):
            return "timestamp"
        case pl.Datetime():
            return "naive timestamp"
        case pl.Decimal():
            return f"decimal({dtype.precision}, {dtype.scale})"
        case pl.Struct():
            return f"struct[{', '.join(field.name for field in dtype.fields)}]"
        case _:
            return _NAMES.get(dtype, str(dtype).lower())


def cast_exactly(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Cast values to a dtype; numbers stay the same numbers, but for a float made a shorter one.

    Raises
    ------
    ValueError
        They cannot become that; the message says so.

    Examples
    --------
    >>> cast_exactly(pl.Series([1.0, None]), pl.Int64()).to_list()
    [1, None]
    """
    if values.dtype == dtype:
        return values
    counted = values.dtype.is_numeric() and not (values.dtype.is_float() and dtype.is_float())
    try:
        made = values.cast(dtype)
        changed = values.filter(made.cast(values.dtype) != values) if counted else values.clear()
    except pl.exceptions.PolarsError as error:
        msg = f"cannot become {format_dtype(dtype)}: {reason_of(error)}"
        raise ValueError(msg) from error
    if len(changed):
        msg = f"cannot become {format_dtype(dtype)} without loss; the first is {changed[0]!r}"
        raise ValueError(msg)
    return made
