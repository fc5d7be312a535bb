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
    STRINGS,
    Floats,
    Integers,
    Kind,
    ListOf,
    MapOf,
    Objects,
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
class _Wholes:
    """Whole numbers; also as floats, which pandas makes of integers where one is missing."""

    dtype: pl.DataType

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them; NaN among floats is the one that was missing."""
        floats = _floats(text, name) if _LIKE_FLOATS.search(text) else None
        if floats is None:
            return json_columns.decode(text, self.dtype, name)
        # from 2**53 on a float stands for several whole numbers
        exact = (floats == floats.round()) & (floats.abs() < _MANY)
        return _complete(_where(exact, floats, self.dtype), floats, self.dtype)


@dataclass(frozen=True, slots=True)
class _Flags:
    """Truth values; also as 0 and 1, as numbers hold them where one is missing."""

    dtype: pl.DataType = pl.Boolean()  # noqa: RUF009 - dtypes do not change

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them; NaN among numbers is the one that was missing."""
        numbers = text.replace(b"true", b"1").replace(b"false", b"0")
        floats = _floats(numbers, name) if _LIKE_NUMBERS.search(text) else None
        if floats is None:
            return json_columns.decode(text, self.dtype, name)
        exact = (floats == 0) | (floats == 1)
        return _complete(_where(exact, floats, self.dtype), floats, self.dtype)


_LIKE_FLOATS = re.compile(rb'[.eE]|"NaN"')
_LIKE_NUMBERS = re.compile(rb'[0-9]|"NaN"')
_MANY = 2**53


def _floats(text: bytes, name: str) -> pl.Series | None:
    """Read an array of numbers, of which NaN is none; None: it holds something else."""
    found = json_columns.decode_together([text], [pl.Float64()])
    return None if found is None else found[0].fill_nan(None).alias(name)


def _where(exact: pl.Series, values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Cast the values that can be, and make the others null."""
    return values.set(~exact, None).cast(dtype, strict=False)


@dataclass(frozen=True, slots=True)
class _Decimals:
    """Exact numbers, written as numbers or as text; of more digits than the type has, none."""

    dtype: pl.Decimal

    def decode(self, text: bytes, name: str) -> pl.Series:
        """Read a JSON array of them."""
        words = json_columns.decode(text, None, name).str.strip_chars('"')
        exact = words.to_frame().select(_digits_behind(pl.col(name)) <= self.dtype.scale)
        made = words.cast(self.dtype, strict=False)
        return _complete(made.set(~exact.to_series(), None), words, self.dtype)


def _digits_behind(words: pl.Expr) -> pl.Expr:
    """Count the digits behind the point that a decimal needs; null where there is no number."""
    part = words.str.extract_groups(r"^[+-]?(?<whole>\d*)\.?(?<behind>\d*)(?:[eE](?<power>.*))?$")
    whole, behind = part.struct.field("whole"), part.struct.field("behind")
    power = part.struct.field("power").fill_null("0").str.to_integer(strict=False)
    digits = whole + behind
    kept = digits.str.strip_chars_end("0").str.len_chars()
    needed = kept.cast(pl.Int64) - whole.str.len_chars().cast(pl.Int64) - power
    return pl.when(kept == 0).then(0).otherwise(needed)


def _complete(values: pl.Series, words: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return the values; raise `ProtocolError` where one could not be read."""
    if values.null_count() != words.null_count():
        odd = words.filter(values.is_null() & words.is_not_null())[0]
        msg = f"the column {words.name!r} should be {dtype}, but the reply holds {odd!r}"
        raise ProtocolError(msg)
    return values


_KINDS: dict[str, Kind] = {
    "boolean": _Flags(),
    "tinyint": _Wholes(pl.Int8()),
    "smallint": _Wholes(pl.Int16()),
    "int": _Wholes(pl.Int32()),
    "bigint": _Wholes(pl.Int64()),
    "float": Floats(pl.Float32()),
    "double": Floats(),
    "string": STRINGS,
    "binary": Plain(pl.Binary(), pl.String(), lambda text: text.str.decode("base64")),
    "date": Plain(pl.Date(), pl.String(), lambda text: text.str.to_date("%Y-%m-%d")),
}
_ALIASES = {"byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint"}
_TIMES = ("timestamp", "timestamp_ntz")
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_TEXTS = re.compile(r"(?:string|(?:var)?char\(\d+\))(?: collate \w+)?")
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
    fields = []
    for part in _parts(inside):
        name, colon, text = part.partition(":")
        kind = kind_of(text)
        if not (colon and _as_is(kind)):
            return ANYTHING
        fields.append((name.strip().strip("`"), kind))
    return Objects(tuple(fields))


def _as_is(kind: Kind) -> bool:
    """Tell whether JSON holds the values as they are."""
    match kind:
        case ListOf():
            return _as_is(kind.inner)
        case _:
            return kind is STRINGS or isinstance(kind, _Wholes | _Flags | Floats | Objects)


def _parts(text: str) -> Iterator[str]:
    """Split at the commas that are not within brackets."""
    depth, begin = 0, 0
    for place, character in enumerate(text):
        depth += (character in "<(") - (character in ">)")
        if character == "," and not depth:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]
