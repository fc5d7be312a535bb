"""Feast's value types: how a value looks in JSON, and what it becomes.

How it looks in protobuf is told by `featkit.stores.feast.scalars`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from featkit.codecs import json_columns
from featkit.dtypes import TIMESTAMP
from featkit.errors import ProtocolError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from featkit.schema import Entity, Feature

_NULL_SECONDS = -(2**63)  # what Feast sends for a null UNIX_TIMESTAMP


class Column(msgspec.Struct, rename="camel", frozen=True):
    """A column as the registry describes it."""

    name: str
    value_type: str | int = "INVALID"
    description: str = ""
    tags: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class FeastType:
    """A type of Feast's.

    Attributes
    ----------
    wire
        Dtype of what JSON holds; None: any JSON, kept as text.
    dtype
        Dtype of the values.
    finish
        From the one to the other; None: they are the same.
    name
        What Feast calls it; of a list nothing, since a set and lists of lists look the same.
    inner
        Of a list, the type of its values, where that is known.
    """

    wire: pl.DataType | None
    dtype: pl.DataType
    finish: Callable[[pl.Expr], pl.Expr] | None = None
    name: str = ""
    inner: FeastType | None = None


def seconds(values: pl.Expr) -> pl.Expr:
    """Turn seconds since 1970 into timestamps; what Feast writes for a null is null."""
    known = pl.when(values != _NULL_SECONDS).then(values)
    return (known * 1_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _zoned(values: pl.Expr) -> pl.Expr:
    return values.str.to_datetime("%+", time_unit="us", time_zone="UTC")


_PLAIN: dict[str, pl.DataType] = {
    "INT32": pl.Int32(),
    "INT64": pl.Int64(),
    "FLOAT": pl.Float32(),
    "DOUBLE": pl.Float64(),
    "BOOL": pl.Boolean(),
    "STRING": pl.String(),
    "UUID": pl.String(),
    "TIME_UUID": pl.String(),
    "DECIMAL": pl.String(),
    "JSON": pl.String(),
}
_FINISHED: dict[str, tuple[pl.DataType, pl.DataType, Callable[[pl.Expr], pl.Expr]]] = {
    "BYTES": (pl.String(), pl.Binary(), lambda values: values.str.decode("base64")),
    "UNIX_TIMESTAMP": (pl.Int64(), TIMESTAMP, seconds),
    "ZONED_TIMESTAMP": (pl.String(), TIMESTAMP, _zoned),
}
_TYPES = {
    **{name: FeastType(dtype, dtype, name=name) for name, dtype in _PLAIN.items()},
    **{name: FeastType(*known, name=name) for name, known in _FINISHED.items()},
}
_ALIASES = {
    "FLOAT32": "FLOAT",
    "FLOAT64": "DOUBLE",
    "30": "BYTES",  # the registry's JSON has numbers for the types that came last: PDF
    "31": "BYTES",  # and images
    "PDF_BYTES": "BYTES",
    "IMAGE_BYTES": "BYTES",
}
NUMBERS = {
    "BYTES": 1,
    "STRING": 2,
    "INT32": 3,
    "INT64": 4,
    "DOUBLE": 5,
    "FLOAT": 6,
    "BOOL": 7,
    "UNIX_TIMESTAMP": 8,
    "BYTES_LIST": 11,
    "STRING_LIST": 12,
    "INT32_LIST": 13,
    "INT64_LIST": 14,
    "DOUBLE_LIST": 15,
    "FLOAT_LIST": 16,
    "BOOL_LIST": 17,
    "UNIX_TIMESTAMP_LIST": 18,
    "NULL": 19,
    "MAP": 20,
    "MAP_LIST": 21,
    "BYTES_SET": 22,
    "STRING_SET": 23,
    "INT32_SET": 24,
    "INT64_SET": 25,
    "DOUBLE_SET": 26,
    "FLOAT_SET": 27,
    "BOOL_SET": 28,
    "UNIX_TIMESTAMP_SET": 29,
    "JSON": 32,
    "JSON_LIST": 33,
    "STRUCT": 34,
    "STRUCT_LIST": 35,
    "UUID": 36,
    "TIME_UUID": 37,
    "UUID_LIST": 38,
    "TIME_UUID_LIST": 39,
    "UUID_SET": 40,
    "TIME_UUID_SET": 41,
    "VALUE_LIST": 42,
    "VALUE_SET": 43,
    "DECIMAL": 44,
    "DECIMAL_LIST": 45,
    "DECIMAL_SET": 46,
    "SCALAR_MAP": 47,
    "ZONED_TIMESTAMP": 48,
}
"""Feast's names of what a `Value` can hold, and the number of the field that does."""

_LIST = re.compile(r"(\w+)_(?:LIST|SET)")
_ARRAY = re.compile(r"(?:Array|Set)\((.+)\)")


def column_type(column: Column) -> FeastType:
    """Find the type of a column: its value type, and the tags that say more."""
    name = str(column.value_type)
    schema = column.tags.get("feast:struct_schema")
    if schema and name == "STRUCT":
        return _struct(schema, pl.Float64())  # protobuf's own struct: all numbers are doubles
    if schema and name == "STRUCT_LIST":
        return _list_of(_struct(schema, None), name)
    nested = column.tags.get("feast:nested_inner_type")
    return named_type(nested if nested and name in {"VALUE_LIST", "VALUE_SET"} else name)


def named_type(name: str | int) -> FeastType:
    """Find a type by its name; one that is not known keeps its JSON as text."""
    name = _ALIASES.get(str(name), str(name))
    if name in _TYPES:
        return _TYPES[name]
    if inner := _ARRAY.fullmatch(name) or _LIST.fullmatch(name):
        return _list_of(named_type(inner.group(1)), name)
    return _any(name)


def _any(name: str) -> FeastType:
    return FeastType(None, pl.String(), name=name)


def _list_of(inner: FeastType, name: str) -> FeastType:
    if inner.wire is None:
        return _any(name)
    finish = inner.finish
    return FeastType(
        pl.List(inner.wire),
        pl.List(inner.dtype),
        finish and (lambda values: values.list.eval(finish(pl.element()))),
        inner=inner,
    )


def _struct(schema: str, numbers: pl.DataType | None) -> FeastType:
    """Read a struct's schema; `numbers` is what its integers are on the wire, None: integers."""
    try:
        fields = {name: named_type(kind) for name, kind in json.loads(schema).items()}
    except (ValueError, AttributeError):
        return _any("STRUCT")
    if any(kind.wire is None or kind.wire != kind.dtype for kind in fields.values()):
        return _any("STRUCT")
    final = pl.Struct({name: kind.dtype for name, kind in fields.items()})
    wire = pl.Struct(
        {
            name: numbers if numbers and kind.dtype.is_integer() else kind.dtype
            for name, kind in fields.items()
        }
    )
    return FeastType(wire, final, lambda values: values.cast(final), name="STRUCT")


def type_of(item: Feature | Entity) -> FeastType:
    """Find the type of a feature or a key that the registry described."""
    return column_type(Column(item.name, item.store_type, tags=dict(item.tags)))


def decode_column(raw: msgspec.Raw, kind: FeastType, name: str) -> pl.Series:
    """Read a JSON array as a column of a type; raise `ProtocolError` where it is of another."""
    return finished(json_columns.decode(raw, kind.wire, name), kind, name)


def finished(decoded: pl.Series, kind: FeastType, name: str) -> pl.Series:
    """Make values of what JSON held; raise `ProtocolError` where that cannot be."""
    if kind.finish is None:
        return decoded
    try:
        return decoded.to_frame().select(kind.finish(pl.col(name)).cast(kind.dtype)).to_series()
    except pl.exceptions.PolarsError as error:
        msg = f"the column {name!r} cannot become {kind.dtype}: {reason_of(error)}"
        raise ProtocolError(msg) from error
