"""Kinds of JSON values that stores send row by row: how a column of them is read.

A kind knows the dtype of its columns, and reads a JSON array of its values without a Python object
per value, however deep they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from featkit.codecs import json_columns
from featkit.codecs.json_rows import JsonRows, grouped, with_nulls
from featkit.dtypes import TIMESTAMP
from featkit.errors import ProtocolError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from featkit.codecs.json_rows import Positions


class Kind(Protocol):
    """A kind of values."""

    @property
    def dtype(self) -> pl.DataType:
        """The dtype of a column of them."""

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them; raise `ProtocolError` where it holds something else."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Values that are one JSON value each.

    Attributes
    ----------
    dtype
        Dtype of the column.
    wire
        Dtype of what JSON holds; None: any JSON, kept as text.
    finish
        From the one to the other; None: they are the same.
    """

    dtype: pl.DataType
    wire: pl.DataType | None
    finish: Callable[[pl.Series], pl.Series] | None = None

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them."""
        found = json_columns.decode(text, self.wire, name)
        if self.finish is None:
            return found
        try:
            return self.finish(found)
        except pl.exceptions.PolarsError as error:
            msg = f"the column {name!r} cannot become {self.dtype}: {reason_of(error)}"
            raise ProtocolError(msg) from error


def _instants(values: pl.Series) -> pl.Series:
    return values.str.to_datetime("%+", time_unit="us", time_zone="UTC")


STRINGS = Plain(pl.String(), pl.String())
BOOLEANS = Plain(pl.Boolean(), pl.Boolean())
ANYTHING = Plain(pl.String(), None)
INSTANTS = Plain(TIMESTAMP, pl.String(), _instants)
"""Times with a zone, as RFC 3339 writes them."""


@dataclass(frozen=True, slots=True)
class Integers:
    """64-bit integers, which JSON holds as text, since its readers take numbers for floats."""

    dtype: pl.DataType = pl.Int64()  # noqa: RUF009 - dtypes do not change

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them; numbers are fine as well, if all are."""
        return (_WORDS if b'"' in text else _NUMBERS).decode(text, name)


_NUMBERS = Plain(pl.Int64(), pl.Int64())
_WORDS = Plain(pl.Int64(), pl.String(), lambda values: values.cast(pl.Int64))


@dataclass(frozen=True, slots=True)
class Floats:
    """Floats, or the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"`` and ``"null"``."""

    dtype: pl.DataType = pl.Float64()  # noqa: RUF009 - dtypes do not change

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them."""
        return json_columns.decode(text.replace(b'"null"', b"null"), self.dtype, name)


@dataclass(frozen=True, slots=True)
class ListOf:
    """Arrays of values of one kind."""

    inner: Kind

    @property
    def dtype(self) -> pl.DataType:
        """A list."""
        return pl.List(self.inner.dtype)

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them."""
        rows = JsonRows(text)
        return grouped(self.inner.decode(rows.values(), name), rows)


@dataclass(frozen=True, slots=True)
class Fields:
    """Structs that JSON holds as arrays, in the order of their fields."""

    fields: tuple[tuple[str, Kind], ...]

    @property
    def dtype(self) -> pl.DataType:
        """A struct."""
        return pl.Struct({name: kind.dtype for name, kind in self.fields})

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them."""
        rows = JsonRows(text)
        columns = zip(self.fields, rows.columns(len(self.fields)), strict=True)
        read = pl.DataFrame([kind.decode(column, own) for (own, kind), column in columns])
        return with_nulls(read.to_struct(name), rows)


@dataclass(frozen=True, slots=True)
class Objects:
    """Structs that JSON holds as objects; a missing field is null, fields not known are left."""

    fields: tuple[tuple[str, Kind], ...]

    @property
    def dtype(self) -> pl.DataType:
        """A struct."""
        return pl.Struct({name: kind.dtype for name, kind in self.fields})

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them."""
        rows = JsonRows(text)
        there = rows.sparse(own for own, _ in self.fields)
        read = []
        for own, kind in self.fields:
            places, column = there.get(own, (_NOWHERE, b"[]"))
            values = kind.decode(column, f"{name}.{own}").alias(own)
            read.append(_scattered(values, places, len(rows.lengths), name))
        return with_nulls(pl.DataFrame(read).to_struct(name), rows)


_NOWHERE = np.array([], np.int64)


def _scattered(values: pl.Series, places: Positions, count: int, name: str) -> pl.Series:
    """Put values where they belong among so many rows; the others are null."""
    if len(places) == count and (places[1:] > places[:-1]).all():
        return values
    if len(np.unique(places)) < len(places):
        msg = f"an object of the column {name!r} has the field {values.name!r} twice"
        raise ProtocolError(msg)
    taken = np.full(count, -1)
    taken[places] = np.arange(len(places))
    found = pl.Series(taken)
    return values.gather(found.set(found < 0, None).cast(pl.UInt32))


@dataclass(frozen=True, slots=True)
class MapOf:
    """Objects whose names are data: a list of structs of ``key`` and ``value``, as Arrow has it."""

    key: Kind
    value: Kind

    @property
    def dtype(self) -> pl.DataType:
        """A list of structs."""
        return pl.List(pl.Struct({"key": self.key.dtype, "value": self.value.dtype}))

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them."""
        rows = JsonRows(text)
        names, values = rows.items()
        pairs = pl.DataFrame([self.key.decode(names, "key"), self.value.decode(values, "value")])
        return grouped(pairs.to_struct(name), rows)
