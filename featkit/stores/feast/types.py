"""Feast's value types: how a value looks in JSON, and what it becomes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from featkit import json_columns
from featkit.dtypes import TIMESTAMP
from featkit.errors import ProtocolError

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
    """

    wire: pl.DataType | None
    dtype: pl.DataType
    finish: Callable[[pl.Expr], pl.Expr] | None = None


def _seconds(values: pl.Expr) -> pl.Expr:
    known = pl.when(values != _NULL_SECONDS).then(values)
    return (known * 1_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _zoned(values: pl.Expr) -> pl.Expr:
    return values.str.to_datetime("%+", time_unit="us", time_zone="UTC")


_TEXT = FeastType(pl.String(), pl.String())
_ANY = FeastType(None, pl.String())
_TYPES = {
    "INT32": FeastType(pl.Int32(), pl.Int32()),
    "INT64": FeastType(pl.Int64(), pl.Int64()),
    "FLOAT": FeastType(pl.Float32(), pl.Float32()),
    "DOUBLE": FeastType(pl.Float64(), pl.Float64()),
    "BOOL": FeastType(pl.Boolean(), pl.Boolean()),
    "STRING": _TEXT,
    "BYTES": FeastType(pl.String(), pl.Binary(), lambda values: values.str.decode("base64")),
    "UNIX_TIMESTAMP": FeastType(pl.Int64(), TIMESTAMP, _seconds),
    "ZONED_TIMESTAMP": FeastType(pl.String(), TIMESTAMP, _zoned),
    "UUID": _TEXT,
    "TIME_UUID": _TEXT,
    "DECIMAL": _TEXT,
    "JSON": _TEXT,
}
_ALIASES = {
    "FLOAT32": "FLOAT",
    "FLOAT64": "DOUBLE",
    "30": "BYTES",  # the registry's JSON has numbers for the types that came last: PDF
    "31": "BYTES",  # and images
    "PDF_BYTES": "BYTES",
    "IMAGE_BYTES": "BYTES",
}
_LIST = re.compile(r"(\w+)_(?:LIST|SET)")
_ARRAY = re.compile(r"(?:Array|Set)\((.+)\)")


def column_type(column: Column) -> FeastType:
    """Find the type of a column: its value type, and the tags that say more."""
    name = str(column.value_type)
    schema = column.tags.get("feast:struct_schema")
    if schema and name == "STRUCT":
        return _struct(schema, pl.Float64())  # protobuf's own struct: all numbers are doubles
    if schema and name == "STRUCT_LIST":
        return _list_of(_struct(schema, None))
    nested = column.tags.get("feast:nested_inner_type")
    return named_type(nested if nested and name in {"VALUE_LIST", "VALUE_SET"} else name)


def named_type(name: str | int) -> FeastType:
    """Find a type by its name; one that is not known keeps its JSON as text."""
    name = _ALIASES.get(str(name), str(name))
    if name in _TYPES:
        return _TYPES[name]
    if inner := _ARRAY.fullmatch(name) or _LIST.fullmatch(name):
        return _list_of(named_type(inner.group(1)))
    return _ANY


def _list_of(inner: FeastType) -> FeastType:
    if inner.wire is None:
        return _ANY
    finish = inner.finish
    return FeastType(
        pl.List(inner.wire),
        pl.List(inner.dtype),
        finish and (lambda values: values.list.eval(finish(pl.element()))),
    )


def _struct(schema: str, numbers: pl.DataType | None) -> FeastType:
    """Read a struct's schema; `numbers` is what its integers are on the wire, None: integers."""
    try:
        fields = {name: named_type(kind) for name, kind in json.loads(schema).items()}
    except (ValueError, AttributeError):
        return _ANY
    if any(kind.wire is None or kind.wire != kind.dtype for kind in fields.values()):
        return _ANY
    final = pl.Struct({name: kind.dtype for name, kind in fields.items()})
    wire = pl.Struct(
        {
            name: numbers if numbers and kind.dtype.is_integer() else kind.dtype
            for name, kind in fields.items()
        }
    )
    return FeastType(wire, final, lambda values: values.cast(final))


def type_of(item: Feature | Entity) -> FeastType:
    """Find the type of a feature or a key that the registry described."""
    return column_type(Column(item.name, item.store_type, tags=dict(item.tags)))


def decode_column(raw: msgspec.Raw, kind: FeastType, name: str) -> pl.Series:
    """Read a JSON array as a column of a type; raise `ProtocolError` where it is of another."""
    decoded = json_columns.decode(raw, kind.wire, name)
    if kind.finish is None:
        return decoded
    try:
        return decoded.to_frame().select(kind.finish(pl.col(name)).cast(kind.dtype)).to_series()
    except pl.exceptions.PolarsError as error:
        msg = f"the column {name!r} cannot become {kind.dtype}: {str(error).partition(chr(10))[0]}"
        raise ProtocolError(msg) from error
