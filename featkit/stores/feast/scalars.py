"""Feast's scalars: how each lies in protobuf, what becomes of it, and how JSON says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from featkit.codecs import protobuf
from featkit.codecs.protobuf import DELIMITED, FIXED32, FIXED64, VARINT
from featkit.errors import ProtocolError
from featkit.stores.feast.types import NUMBERS, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from featkit.codecs.binary_columns import BinaryColumn, Places, Words

TEXTS = ("UUID", "TIME_UUID", "DECIMAL", "JSON")
"""What is text with a meaning."""


@dataclass(frozen=True, slots=True)
class Number:
    """A scalar that is a number in protobuf: a varint, or of four or eight bytes."""

    wire_type: int
    values: Callable[[Words], pl.Series]
    json: Callable[[pl.Series], pl.Series]

    def one(self, payload: BinaryColumn) -> pl.Series:
        """Read one value of each message."""
        if self.wire_type == VARINT:
            return self.values(protobuf.varints(payload))
        return self.values(protobuf.fixed(payload, _WIDTH[self.wire_type]))

    bare = one

    def many(self, payload: BinaryColumn) -> tuple[pl.Series, Places]:
        """Read the values of each message, which is a list, and how many each has."""
        # they are packed: one field with all of them, and none where there are none
        packed = protobuf.fields(protobuf.delimited(payload), {1: DELIMITED})[1]
        if self.wire_type == VARINT:
            raw, counts = protobuf.packed_varints(packed)
        else:
            raw, counts = protobuf.packed_fixed(packed, _WIDTH[self.wire_type])
        return self.values(raw), counts


@dataclass(frozen=True, slots=True)
class Chunk:
    """A scalar that is so many bytes in protobuf."""

    values: Callable[[BinaryColumn], pl.Series]
    json: Callable[[pl.Series], pl.Series]
    wire_type: int = DELIMITED

    def one(self, payload: BinaryColumn) -> pl.Series:
        """Read one value of each message."""
        return self.values(protobuf.delimited(payload))

    def bare(self, payload: BinaryColumn) -> pl.Series:
        """Read one value of each message, which does not say once more how long it is."""
        return self.values(payload)

    def many(self, payload: BinaryColumn) -> tuple[pl.Series, Places]:
        """Read the values of each message, which is a list, and how many each has."""
        elements, counts = protobuf.repeated(protobuf.delimited(payload), 1)
        return self.values(elements), counts


_WIDTH = {FIXED64: 8, FIXED32: 4}
FIXED = {"DOUBLE": 8, "FLOAT": 4}
"""The scalars that are always of so many bytes."""


def _int64(raw: Words) -> pl.Series:
    return pl.Series(raw.view(np.int64))


def _int32(raw: Words) -> pl.Series:
    values = raw.view(np.int64)
    narrow = values.astype(np.int32)
    if (narrow != values).any():
        msg = "an INT32 that needs more than 32 bits"
        raise ProtocolError(msg)
    return pl.Series(narrow)


def _bool(raw: Words) -> pl.Series:
    if (raw > 1).any():
        msg = "a BOOL that is neither 0 nor 1"
        raise ProtocolError(msg)
    return pl.Series(raw.astype(np.bool_))


def _double(raw: Words) -> pl.Series:
    return pl.Series(raw.view(np.float64))


def _float(raw: Words) -> pl.Series:
    return pl.Series(raw.astype(np.uint32).view(np.float32))


def _unix(raw: Words) -> pl.Series:
    return _int64(raw).to_frame("s").select(seconds(pl.col("s"))).to_series()


def _bytes(raw: BinaryColumn) -> pl.Series:
    return pl.Series(raw.to_arrow(), dtype=pl.Binary())


def text(raw: BinaryColumn) -> pl.Series:
    """Read texts; raise `ProtocolError` where one is not UTF-8."""
    try:
        return pl.Series(raw.to_arrow().cast(pa.large_string()), dtype=pl.String())
    except pa.ArrowInvalid as error:
        msg = "a text that is not UTF-8"
        raise ProtocolError(msg) from error


def _zoned(raw: BinaryColumn) -> pl.Series:
    return _unix(protobuf.varints(protobuf.fields(raw, {1: VARINT, 2: DELIMITED})[1]))


def quoted(values: pl.Series) -> pl.Series:
    """Write JSON strings; polars writes objects, of which the rest is taken off."""
    written = values.alias("_").to_frame().select(pl.struct("_").struct.json_encode())
    return written.to_series().str.strip_prefix('{"_":').str.strip_suffix("}")


def _json_number(values: pl.Series) -> pl.Series:
    return values.cast(pl.String)


def _json_float(values: pl.Series) -> pl.Series:
    """Write numbers, and the words for what JSON has no number for."""
    value = pl.col("_")
    written = (
        pl.when(value.is_nan())
        .then(pl.lit('"NaN"'))
        .when(value.is_infinite())
        .then(pl.when(value > 0).then(pl.lit('"Infinity"')).otherwise(pl.lit('"-Infinity"')))
        .otherwise(value.cast(pl.String))
    )
    return values.cast(pl.Float64).alias("_").to_frame().select(written).to_series()


def _json_bytes(values: pl.Series) -> pl.Series:
    return quoted(values.bin.encode("base64"))


def _json_unix(values: pl.Series) -> pl.Series:
    return values.dt.epoch("s").cast(pl.String).fill_null("null")


def _json_zoned(values: pl.Series) -> pl.Series:
    return quoted(values.dt.to_string("iso:strict")).fill_null("null")


SCALARS: dict[str, Number | Chunk] = {
    "BYTES": Chunk(_bytes, _json_bytes),
    "STRING": Chunk(text, quoted),
    "INT32": Number(VARINT, _int32, _json_number),
    "INT64": Number(VARINT, _int64, _json_number),
    "DOUBLE": Number(FIXED64, _double, _json_float),
    "FLOAT": Number(FIXED32, _float, _json_float),
    "BOOL": Number(VARINT, _bool, _json_number),
    "UNIX_TIMESTAMP": Number(VARINT, _unix, _json_unix),
    "ZONED_TIMESTAMP": Chunk(_zoned, _json_zoned),
    **{name: Chunk(text, quoted) for name in TEXTS},
}
"""By the name of a type that is no list."""

LISTS = {
    f"{name}_{way}": name
    for name in SCALARS
    for way in ("LIST", "SET")
    if f"{name}_{way}" in NUMBERS
}
"""By the name of a list or set, the name of what it holds."""
