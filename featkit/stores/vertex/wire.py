"""Values of Vertex AI as protobuf writes them, a column at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from featkit.codecs.protobuf import (
    DELIMITED,
    FIXED64,
    VARINT,
    fields,
    fixed,
    packed_fixed,
    packed_varints,
    repeated,
    varints,
)
from featkit.dtypes import TIMESTAMP, format_dtype, instance
from featkit.errors import ProtocolError
from featkit.stores.vertex.values import within_years

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from featkit.codecs.binary_columns import BinaryColumn, Mask, Places, Words
    from featkit.schema import Feature

_BOOL, _DOUBLE, _INT64, _STRING, _BYTES, _METADATA, _STRUCT = 1, 2, 5, 6, 13, 14, 15
_BOOLS, _DOUBLES, _INTS, _STRINGS = 7, 8, 11, 12
_NAMES = {
    _BOOL: "boolValue",
    _DOUBLE: "doubleValue",
    _INT64: "int64Value",
    _STRING: "stringValue",
    _BYTES: "bytesValue",
    _STRUCT: "structValue",
    _BOOLS: "boolArrayValue",
    _DOUBLES: "doubleArrayValue",
    _INTS: "int64ArrayValue",
    _STRINGS: "stringArrayValue",
}
_TYPES = dict.fromkeys((*_NAMES, _METADATA), DELIMITED) | {
    _BOOL: VARINT,
    _DOUBLE: FIXED64,
    _INT64: VARINT,
}
_NUMBERS = {pl.Int64: _INT64, pl.Datetime: _INT64, pl.Date: _INT64, pl.Float64: _DOUBLE}
_NUMBERS |= {pl.Boolean: _BOOL, pl.String: _STRING, pl.Binary: _BYTES, pl.Struct: _STRUCT}
_ARRAYS = {_INT64: _INTS, _DOUBLE: _DOUBLES, _BOOL: _BOOLS, _STRING: _STRINGS}


class Cells:
    """A column of values, cut into what they may hold; a null cell, and an empty one, are null."""

    def __init__(self, cells: BinaryColumn) -> None:
        self._held = fields(cells, _TYPES)

    def values(self, feature: Feature) -> pl.Series:
        """Read the values, of one dtype."""
        return _values(self._held, feature.dtype or pl.String(), feature.name)

    @property
    def metadata(self) -> BinaryColumn:
        """What is said of each."""
        return self._held[_METADATA]


def names_of(column: BinaryColumn) -> tuple[npt.NDArray[np.int64], list[str | None]]:
    """Read texts that are few but often repeated: which of them each is, and the texts."""
    found = _text(column).dictionary_encode()
    codes = pl.Series(found.indices).fill_null(-1).to_numpy().astype(np.int64)
    return codes, found.dictionary.to_pylist()


def times_of() -> Callable[[BinaryColumn], pl.Series]:
    """Make what reads when values were generated; features with the same times share a series."""
    known: list[tuple[pa.Array, pl.Series]] = []

    def times(metadata: BinaryColumn) -> pl.Series:
        text = metadata.to_arrow()
        if not known or not text.equals(known[-1][0]):
            known.append((text, _times(metadata)))
        return known[-1][1]

    return times


def _times(metadata: BinaryColumn) -> pl.Series:
    generated = fields(metadata, {1: DELIMITED})[1]
    parts = fields(generated, {1: VARINT, 2: VARINT})
    micros = varints(parts[1]).view(np.int64) * 1_000_000 + varints(parts[2]).view(np.int64) // 1000
    return _masked(micros, ~generated.is_null()).cast(TIMESTAMP)


def _values(held: Mapping[int, BinaryColumn], dtype: pl.DataType, name: str) -> pl.Series:
    inner = instance(dtype.inner) if isinstance(dtype, pl.List) else dtype
    number = _NUMBERS[type(inner)]
    number = _ARRAYS[number] if isinstance(dtype, pl.List) else number
    for other, called in _NAMES.items():
        if other != number and not held[other].is_null().all():
            msg = f"{name!r} should be {format_dtype(dtype)}, but the online store sent {called!r}"
            raise ProtocolError(msg)
    column = held[number]
    if isinstance(dtype, pl.Struct):
        return _struct(column, dtype, name)
    made = _lists(column, inner) if isinstance(dtype, pl.List) else _plain(column, inner)
    return within_years(made.alias(name), name)


def _plain(column: BinaryColumn, dtype: pl.DataType) -> pl.Series:
    there = ~column.is_null()
    match dtype:
        case pl.Float64():
            return _masked(fixed(column, 8).view(np.float64), there)
        case pl.Boolean():
            return _masked(varints(column) != 0, there)
        case pl.String():
            return pl.Series(_text(column))
        case pl.Binary():
            return pl.Series(column.to_arrow(), dtype=pl.Binary)
        case _:
            return _whole(_masked(varints(column).view(np.int64), there), dtype)


def _whole(numbers: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Make of numbers what they mean: times are microseconds, dates days."""
    return numbers.cast(pl.Int32).cast(pl.Date) if dtype == pl.Date else numbers.cast(dtype)


def _text(column: BinaryColumn) -> pa.Array:
    try:
        return column.to_arrow().cast(pa.large_string())
    except pa.ArrowInvalid as error:
        msg = f"the online store sent a text that is none: {error}"
        raise ProtocolError(msg) from error


def _masked(numbers: npt.NDArray[np.generic], there: Mask) -> pl.Series:
    found = pl.Series(numbers)
    return found if there.all() else found.set(~pl.Series(there), None)


def _lists(column: BinaryColumn, inner: pl.DataType) -> pl.Series:
    """Read arrays; an empty one is an empty message."""
    there = ~column.is_null()
    items: pl.Series
    if inner == pl.String:
        texts, counts = repeated(column, 1)
        items = pl.Series(_text(texts), dtype=pl.String)
    else:
        packed = fields(column, {1: DELIMITED})[1]
        found, counts = _numbers(packed, inner)
        items = _whole(pl.Series(found), inner) if inner not in _AS_IS else pl.Series(found)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    lists = pa.LargeListArray.from_arrays(pl.Series(offsets).to_arrow(), items.to_arrow())
    return pl.Series(lists).set(~pl.Series(there), None).cast(pl.List(inner))


_AS_IS = (pl.Float64, pl.Boolean)


def _numbers(packed: BinaryColumn, inner: pl.DataType) -> tuple[npt.NDArray[np.generic], Places]:
    words: Words
    if inner == pl.Float64:
        words, counts = packed_fixed(packed, 8)
        return words.view(np.float64), counts
    words, counts = packed_varints(packed)
    return (words != 0 if inner == pl.Boolean else words.view(np.int64)), counts


def _struct(column: BinaryColumn, dtype: pl.Struct, name: str) -> pl.Series:
    """Read structs: lists of named values, of which each name is there once or not at all."""
    pairs, counts = repeated(column, 1)
    named = fields(pairs, {1: DELIMITED, 2: DELIMITED})
    owner = np.repeat(np.arange(len(column)), counts)
    names = pl.Series(_text(named[1]))
    known = {own.name for own in dtype.fields}
    if odd := set(names.drop_nulls()) - known:
        msg = f"{name!r} should have the fields {sorted(known)}, but was sent {sorted(odd)} as well"
        raise ProtocolError(msg)
    parts = []
    for own in dtype.fields:
        rows = (names == own.name).fill_null(value=False).arg_true().to_numpy()
        if len(np.unique(owner[rows])) != len(rows):
            msg = f"{name!r} was sent with its field {own.name!r} twice"
            raise ProtocolError(msg)
        place = np.full(len(column), -1)
        place[owner[rows]] = rows
        inner = instance(own.dtype)
        held = fields(named[2].at(place), _TYPES)
        parts.append(_values(held, inner, own.name))
    made = pl.DataFrame(parts).to_struct(name)
    there = pl.Series(~column.is_null())
    return made.to_frame().select(pl.when(there).then(pl.col(name)).alias(name)).to_series()
