"""Databricks' column types: how columns of them are read from JSON, and what they become."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from featkit.codecs import json_columns
from featkit.codecs.json_kinds import (
    ANYTHING,
    BOOLEANS,
    STRINGS,
    Floats,
    Integers,
    Kind,
    ListOf,
    MapOf,
    Plain,
)
from featkit.dtypes import TIMESTAMP
from featkit.errors import ProtocolError, TimestampError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY = len("2024-05-01")
_HAS_ZONE = r"(?:Z|[+-]\d\d:?\d\d)$"


@dataclass(frozen=True, slots=True)
class _Times:
    """Times as ISO 8601 writes them; one without a zone means one of `zone`."""

    zone: str | None
    dtype: pl.DataType = TIMESTAMP

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them."""
        words = json_columns.decode(text, pl.String(), name)
        naive = ~words.str.contains(_HAS_ZONE)
        if self.zone is None and naive.any():
            msg = (
                f"the times of {name!r} come without a zone, such as "
                f"{words.filter(naive)[0]!r}; say what they mean with featkit.connect(..., "
                "timezone='UTC')"
            )
            raise TimestampError(msg)
        text_ = pl.col(name)
        aware = text_.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
        # in one form: some lack the time of day, others the fraction of a second
        whole = pl.when(text_.str.len_chars() == _DAY).then(text_ + "T00:00:00").otherwise(text_)
        local = (whole.str.replace(" ", "T", literal=True) + "Z").str.to_datetime(
            "%+", time_unit="us", time_zone="UTC", strict=False
        )
        meant = local.dt.replace_time_zone(
            self.zone or "UTC", ambiguous="null", non_existent="null"
        )
        read = pl.when(naive).then(meant.dt.convert_time_zone("UTC")).otherwise(aware)
        return _complete(words.to_frame().select(read.alias(name)).to_series(), words, self.dtype)


@dataclass(frozen=True, slots=True)
class _Decimals:
    """Exact numbers, written as numbers or as text."""

    dtype: pl.DataType

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them."""
        words = json_columns.decode(text, None, name).str.strip_chars('"')
        return _complete(words.cast(self.dtype, strict=False), words, self.dtype)


def _complete(values: pl.Series, words: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return the values; raise `ProtocolError` where one could not be read."""
    if values.null_count() != words.null_count():
        odd = words.filter(values.is_null() & words.is_not_null())[0]
        msg = f"the column {words.name!r} should be {dtype}, but the reply holds {odd!r}"
        raise ProtocolError(msg)
    return values


_KINDS: dict[str, Kind] = {
    "boolean": BOOLEANS,
    "tinyint": Plain(pl.Int8(), pl.Int8()),
    "smallint": Plain(pl.Int16(), pl.Int16()),
    "int": Plain(pl.Int32(), pl.Int32()),
    "bigint": Plain(pl.Int64(), pl.Int64()),
    "float": Floats(pl.Float32()),
    "double": Floats(),
    "string": STRINGS,
    "binary": Plain(pl.Binary(), pl.String(), lambda text: text.str.decode("base64")),
    "date": Plain(pl.Date(), pl.String(), lambda text: text.str.to_date("%Y-%m-%d")),
}
_ALIASES = {"byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint"}
_TIMES = ("timestamp", "timestamp_ntz")
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_TEXTS = re.compile(r"(?:var)?char\(\d+\)")
_NESTED = re.compile(r"(array|map|struct)<(.*)>", re.IGNORECASE | re.DOTALL)


def kind_of(text: str, zone: str | None = None) -> Kind:
    """Find how columns of a type are read, by its SQL text; of a type not known, as JSON text.

    Parameters
    ----------
    text
        The type, as ``type_text`` has it.
    zone
        What naive timestamps mean; None: they are refused.

    Examples
    --------
    >>> kind_of("array<decimal(10,2)>").dtype
    List(Decimal(precision=10, scale=2))
    """
    name = text.strip().lower()
    name = _ALIASES.get(name, name)
    if name in _KINDS:
        return _KINDS[name]
    if name in _TIMES:
        return _Times(zone)
    if digits := _DECIMAL.fullmatch(name):
        return _Decimals(pl.Decimal(int(digits[1]), int(digits[2])))
    if _TEXTS.fullmatch(name):
        return STRINGS
    if nested := _NESTED.fullmatch(text.strip()):
        return _nested(nested[1].lower(), nested[2], zone)
    return ANYTHING


class Carried(enum.Enum):
    """How a column comes in the result of a statement."""

    AS_IT_IS = enum.auto()
    AS_JSON = enum.auto()
    AS_TEXT = enum.auto()


def carried(text: str) -> Carried:
    """Tell how a column of a type is to come: as JSON where a lookup reads JSON.

    Examples
    --------
    >>> carried("array<int>").name, carried("struct<a:int,t:timestamp>").name
    ('AS_IT_IS', 'AS_JSON')
    """
    is_nested = bool(_NESTED.fullmatch(text.strip()))
    if is_nested and (_has_text(kind_of(text)) or "timestamp_ntz" in text.lower()):
        return Carried.AS_JSON
    if kind_of(text) is not ANYTHING:
        return Carried.AS_IT_IS
    return Carried.AS_JSON if text.strip().lower() == "variant" else Carried.AS_TEXT


def _has_text(kind: Kind) -> bool:
    """Tell whether a part of the values is kept as the text of its JSON."""
    match kind:
        case ListOf():
            return _has_text(kind.inner)
        case MapOf():
            return _has_text(kind.value)
        case _:
            return kind is ANYTHING


def _nested(name: str, inside: str, zone: str | None) -> Kind:
    match name:
        case "array":
            return ListOf(kind_of(inside, zone))
        case "map":
            key, value = _parts(inside)
            keys = Integers() if kind_of(key).dtype.is_integer() else STRINGS
            return MapOf(keys, kind_of(value, zone))
        case _:
            return _struct(inside)


def _struct(inside: str) -> Kind:
    """Read the fields of a struct, where JSON holds each as it is."""
    fields = {}
    for part in _parts(inside):
        name, colon, text = part.partition(":")
        kind = kind_of(text)
        if not (colon and _as_is(kind)):
            return ANYTHING
        fields[name.strip().strip("`")] = kind.dtype
    return Plain(pl.Struct(fields), pl.Struct(fields))


def _as_is(kind: Kind) -> bool:
    """Tell whether JSON holds the values as they are, so that a struct of them is read at once."""
    match kind:
        case Plain():
            return kind.finish is None and kind.wire is not None
        case ListOf():
            return _as_is(kind.inner)
        case _:
            return isinstance(kind, Floats)


def _parts(text: str) -> Iterator[str]:
    """Split at the commas that are not within brackets."""
    depth, begin = 0, 0
    for place, character in enumerate(text):
        depth += (character in "<(") - (character in ">)")
        if character == "," and not depth:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]
