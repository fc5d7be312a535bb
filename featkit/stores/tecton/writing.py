"""Join keys and request data as Tecton reads them: JSON, with whole numbers and times as text."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from featkit.dtypes import instance
from featkit.errors import KeyTypeError, NotSupportedError, nearest, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.stores.tecton.messages import DataType

    Write = Callable[[pl.Expr], pl.Expr]

_HELD: dict[str, pl.DataType] = {
    "int64": pl.String(),  # as it stands in the JSON, so that none is cut to a whole number
    "float32": pl.Float64(),
    "float64": pl.Float64(),
    "boolean": pl.Boolean(),
    "string": pl.String(),
    "timestamp": pl.String(),
}


def named(name: str, dtype: pl.DataType | None) -> pl.Expr:
    """Write ``"name": value`` of a column of plain values."""
    column = pl.col(name)
    match dtype:
        case pl.Boolean():
            value = column.cast(pl.String)
        case pl.Float32() | pl.Float64():
            value = _float(column)
        case pl.Datetime():
            value = _time(column)
        case dtype if dtype is not None and dtype.is_integer():
            value = _marked(column.cast(pl.String))
        case _:
            value = _text(column.cast(pl.String))
    return pl.lit(f"{json.dumps(name)}: ") + value


def nested(column: pl.Series, kind: DataType) -> pl.Series:
    """Write request data of a nested type, which is there as JSON, as JSON that Tecton reads.

    Parameters
    ----------
    column
        The JSON: structs are objects, maps are lists of objects of ``key`` and ``value``.
    kind
        The type that it has to have.

    Raises
    ------
    KeyTypeError
        It has not.
    NotSupportedError
        The type has a part of which it is not known how it is written.
    """
    name = column.name
    held = _held(kind)
    try:
        found = column.str.json_decode(infer_schema_length=None).dtype
        for path, field, fields in _unknown(found, kind, name):
            msg = (
                f"the request data {path!r} is {kind}, which has no field {field!r}; "
                f"{nearest(field, fields)}"
            )
            raise KeyTypeError(msg)
        typed = column.str.json_decode(held).to_frame()
        return typed.select(_written(kind)(pl.col(name))).to_series()
    except pl.exceptions.PolarsError as error:
        msg = (
            f"the request data {name!r} cannot become {kind}: {reason_of(error)}; a struct is a "
            "struct or a dict, a map a list of structs of 'key' and 'value', a time has a zone"
        )
        raise KeyTypeError(msg) from error


def _held(kind: DataType) -> pl.DataType:
    """Tell the dtype in which JSON is read."""
    match kind.shape:
        case "array", (inner,):
            return pl.List(_held(inner))
        case "struct", parts:
            names = [own.name for own in kind.fields]
            return pl.Struct(dict(zip(names, map(_held, parts), strict=True)))
        case "map", (key, value):
            return pl.List(pl.Struct({"key": _held(key), "value": _held(value)}))
        case _ if kind.type in _HELD:
            return _HELD[kind.type]
    msg = f"request data of the type {kind} is not known to this version"
    raise NotSupportedError(msg)


def _unknown(found: pl.DataType, kind: DataType, path: str) -> Iterator[tuple[str, str, list[str]]]:
    """Find fields that a struct does not have: where, which, and those that it has."""
    inner = instance(found.inner) if isinstance(found, pl.List) else found
    match kind.shape:
        case "array", (own,):
            yield from _unknown(inner, own, path)
        case "map", (key, value) if inner is not found and isinstance(inner, pl.Struct):
            parts = {"key": key, "value": value}
            yield from _within(inner, parts, path)
        case "struct", own if isinstance(inner, pl.Struct):
            names = [each.name for each in kind.fields]
            yield from _within(inner, dict(zip(names, own, strict=True)), path)


def _within(
    found: pl.Struct, parts: dict[str, DataType], path: str
) -> Iterator[tuple[str, str, list[str]]]:
    for field in found.fields:
        if field.name not in parts:
            yield path, field.name, list(parts)
        else:
            dtype = instance(field.dtype)
            yield from _unknown(dtype, parts[field.name], f"{path}.{field.name}")


def _written(kind: DataType) -> Write:
    """Make what writes values of a type; null is ``null``."""
    write: Write
    match kind.shape:
        case "array", (inner,):
            write = partial(_array, inner=_written(inner))
        case "struct", parts:
            names = [own.name for own in kind.fields]
            write = partial(_object, parts=dict(zip(names, map(_written, parts), strict=True)))
        case "map", (key, value):
            write = partial(_map, key=_name_of(key), value=_written(value))
        case _:
            write = _PLAIN[kind.type]
    return lambda values: (
        pl.when(values.is_not_null()).then(write(values)).otherwise(pl.lit("null"))
    )


def _name_of(kind: DataType) -> Write:
    """Make what writes the keys of a map, which are the names of a JSON object."""
    if kind.type not in {"int64", "string"}:
        msg = (
            f"request data that is a map with keys of the type {kind} is not known to this version"
        )
        raise NotSupportedError(msg)
    return _PLAIN[kind.type]


def _array(values: pl.Expr, inner: Write) -> pl.Expr:
    items = values.list.eval(inner(pl.element())).list.join(", ")
    return pl.concat_str(pl.lit("["), items, pl.lit("]"))


def _object(values: pl.Expr, parts: dict[str, Write]) -> pl.Expr:
    pairs = [
        pl.lit(f"{json.dumps(name)}: ") + write(values.struct.field(name))
        for name, write in parts.items()
    ]
    return pl.concat_str(pl.lit("{"), pl.concat_str(pairs, separator=", "), pl.lit("}"))


def _map(values: pl.Expr, key: Write, value: Write) -> pl.Expr:
    one = pl.element().struct
    pairs = values.list.eval(
        pl.concat_str(key(one.field("key")), pl.lit(": "), value(one.field("value")))
    )
    return pl.concat_str(pl.lit("{"), pairs.list.join(", "), pl.lit("}"))


def _text(values: pl.Expr) -> pl.Expr:
    held = pl.struct(values.alias("")).struct.json_encode()  # {"":"the text"}
    return held.str.slice(4).str.head(-1)


def _marked(values: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit('"'), values, pl.lit('"'))


def _whole(values: pl.Expr) -> pl.Expr:
    return _marked(values.cast(pl.Int64).cast(pl.String))


def _float(values: pl.Expr) -> pl.Expr:
    number = values.cast(pl.String)
    words = number.replace({"inf": "Infinity", "-inf": "-Infinity"})
    return pl.when(values.is_infinite()).then(_marked(words)).otherwise(number)


def _time(values: pl.Expr) -> pl.Expr:
    return _marked(values.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))


def _read_time(values: pl.Expr) -> pl.Expr:
    return _time(values.str.to_datetime("%+", time_unit="us", time_zone="UTC"))


_PLAIN: dict[str, Write] = {
    "int64": _whole,
    "float32": _float,
    "float64": _float,
    "boolean": lambda values: values.cast(pl.String),
    "string": _text,
    "timestamp": _read_time,
}
