"""Feast's `Value` messages, as its stores and its gRPC server hold them, to columns.

A `Value` holds one of many fields, and the number of the field tells the type; a message of no
bytes, or one that holds the field for it, is null. Scalars and lists of them, however deep, are
read by numpy and Arrow, all rows at once. What can hold anything (maps, structs, mixed lists) is
written out as the JSON that Feast's HTTP server would send, again all rows at once, one step for
each type that occurs at each depth, and goes the way of JSON from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from featkit.codecs import protobuf
from featkit.codecs.binary_columns import BinaryColumn
from featkit.codecs.protobuf import DELIMITED, VARINT
from featkit.dtypes import TIMESTAMP
from featkit.errors import ProtocolError
from featkit.stores.feast.scalars import FIXED, LISTS, SCALARS, TEXTS, quoted, text
from featkit.stores.feast.types import NUMBERS, decode_column

if TYPE_CHECKING:
    from collections.abc import Callable

    from featkit.codecs.binary_columns import Places
    from featkit.stores.feast.types import FeastType

_NAMES = {number: name for name, number in NUMBERS.items()}
_NULL = b"\x98\x01\x00"  # a Value whose field for null is set
_ALSO = {  # what older versions of Feast wrote them as
    "STRUCT": ["MAP"],
    **{name: ["STRING"] for name in TEXTS},
}
_ANY_LIST = (NUMBERS["VALUE_LIST"], NUMBERS["VALUE_SET"])
_KEYS = {  # of a map whose keys are no text
    1: "INT32",
    2: "INT64",
    3: "FLOAT",
    4: "DOUBLE",
    5: "BOOL",
    6: "UNIX_TIMESTAMP",
    7: "BYTES",
    8: "UUID",
    9: "TIME_UUID",
    10: "DECIMAL",
}
_WIRE_TYPES = np.full(max(NUMBERS.values()) + 2, -1)
for _name, _number in NUMBERS.items():
    _WIRE_TYPES[_number] = SCALARS[_name].wire_type if _name in SCALARS else DELIMITED
_WIRE_TYPES[NUMBERS["NULL"]] = VARINT


def decode(column: BinaryColumn, kind: FeastType, name: str) -> pl.Series:
    r"""Read a column of `Value` messages.

    Parameters
    ----------
    column
        The messages; null and empty ones are null.
    kind
        What the registry says they hold.
    name
        Name of the column, for the series and for messages.

    Returns
    -------
    polars.Series
        As many values, of ``kind.dtype``.

    Raises
    ------
    ProtocolError
        The messages are cut short, are no `Value`, or hold another type; it names the column.

    Examples
    --------
    >>> from featkit.stores.feast.types import named_type
    >>> messages = pa.array([b"\x20\x07", b"", b"\x20\x00"])
    >>> decode(BinaryColumn.of(messages), named_type("INT64"), "trips").to_list()
    [7, None, 0]
    """
    try:
        if (numbers := _numbers(column, kind)) is not None:
            return numbers.alias(name)
        _check_types(column, kind)
        if _is_plain(kind):
            return _plain(column, kind).alias(name)
        texts = json_texts(column).fill_null("null").str.join(",").item()
    except ProtocolError as error:
        raise ProtocolError(f"the column {name!r}: {error}") from error
    return decode_column(msgspec.Raw(f"[{texts}]".encode()), kind, name)


def _check_types(column: BinaryColumn, kind: FeastType) -> None:
    """Refuse what the registry does not announce; inside of lists it is found when it is read."""
    wanted = _numbers_of(kind)
    numbers, _ = _split(column)
    held = np.flatnonzero(np.bincount(numbers, minlength=1))
    for number in held[held > 0]:
        if wanted and number not in wanted:
            row = int(np.argmax(numbers == number))
            found = _NAMES.get(int(number), f"field {number}")
            msg = (
                f"it should be {' or '.join(_NAMES[each] for each in wanted)}, as the registry "
                f"says, and the store holds {found} (first in row {row} of this answer)"
            )
            raise ProtocolError(msg)


def _numbers_of(kind: FeastType) -> list[int]:
    """Find the fields that may hold a type; none: any."""
    if kind.inner is None:
        names = [kind.name, *_ALSO.get(kind.name, [])]
        return [NUMBERS[name] for name in names if name in NUMBERS]
    inner = [kind.inner.name, *_ALSO.get(kind.inner.name, [])]
    names = [f"{name}_{way}" for name in inner for way in ("LIST", "SET")]
    return [NUMBERS[name] for name in names if name in NUMBERS] + list(_ANY_LIST)


def _is_plain(kind: FeastType) -> bool:
    return kind.name in SCALARS if kind.inner is None else _is_plain(kind.inner)


def _split(column: BinaryColumn) -> tuple[Places, BinaryColumn]:
    """Read the numbers of the fields (0: null), and what is behind their tags."""
    empty = column.lengths <= 0
    tags = column.words(np.where(empty, 0, column.starts)).astype(np.int64)
    long = (tags & 0x80) > 0
    tags = np.where(long, (tags & 0x7F) | (tags >> 1 & 0x3F80), tags & 0x7F)
    size = 1 + long
    numbers = tags >> 3
    null = empty | (numbers == NUMBERS["NULL"])
    wire_types = _WIRE_TYPES[np.minimum(numbers, len(_WIRE_TYPES) - 1)]
    wrong = ((tags & 7) != wire_types) | (column.lengths < size)
    wrong |= (numbers == NUMBERS["NULL"]) & (column.lengths != len(_NULL))
    wrong &= ~empty
    if wrong.any():
        row = int(np.argmax(wrong))
        msg = f"what is in row {row} of this answer is no Value of Feast's"
        raise ProtocolError(msg)
    rest = BinaryColumn(
        column.data, column.starts + size, np.where(null, -1, column.lengths - size)
    )
    return np.where(null, 0, numbers), rest


def _each(
    column: BinaryColumn, read: Callable[[int, BinaryColumn], pl.Series], dtype: pl.DataType
) -> pl.Series:
    """Read each type that occurs among the messages by itself, and put the rows together."""
    numbers, payload = _split(column)
    held = np.flatnonzero(np.bincount(numbers, minlength=1))
    if len(held) == 1 and held[0]:
        return read(int(held[0]), payload)
    places = np.full(len(column), -1)
    parts, height = [pl.Series([], dtype=dtype)], 0
    for number in held[held > 0]:
        rows = np.flatnonzero(numbers == number)
        parts.append(read(int(number), payload.take(rows)))
        places[rows] = np.arange(height, height + len(rows))
        height += len(rows)
    taken = pl.Series(places)
    return pl.concat(parts).gather(taken.set(taken < 0, None))


def _numbers(column: BinaryColumn, kind: FeastType) -> pl.Series | None:
    """Read numbers of a fixed width, where there are nothing else; None: there is."""
    if kind.inner is not None or (width := FIXED.get(kind.name)) is None or not len(column):
        return None
    tag = NUMBERS[kind.name] << 3 | SCALARS[kind.name].wire_type
    if (column.lengths != 1 + width).any() or (column.data[column.starts] != tag).any():
        return None
    return SCALARS[kind.name].one(BinaryColumn(column.data, column.starts + 1, column.lengths - 1))


# -- scalars, and lists of them ------------------------------------------------------------------


def _plain(column: BinaryColumn, kind: FeastType) -> pl.Series:
    inner = kind.inner
    if inner is None:
        return _each(column, lambda _, payload: SCALARS[kind.name].one(payload), kind.dtype)

    def lists(number: int, payload: BinaryColumn) -> pl.Series:
        if number in _ANY_LIST:
            elements, counts = protobuf.repeated(protobuf.delimited(payload), 1)
            _check_types(elements, inner)
            return _listed(_plain(elements, inner), counts)
        return _listed(*SCALARS[inner.name].many(payload))

    return _each(column, lists, kind.dtype)


def _listed(values: pl.Series, counts: Places) -> pl.Series:
    offsets = pl.Series(np.concatenate([[0], np.cumsum(counts)]))
    listed = pa.LargeListArray.from_arrays(offsets.to_arrow(), values.to_arrow())
    return pl.Series(listed, dtype=pl.List(values.dtype))


def decode_times(column: BinaryColumn) -> pl.Series:
    """Read a column of `google.protobuf.Timestamp`; null where there is none, or 1970.

    Feast says 1970 where it knows no time. What is less than a microsecond is cut off.
    """
    if len(column) > 1 and _are_alike(column):
        return decode_times(column.take(np.zeros(1, np.int64))).new_from_index(0, len(column))
    whole, nanos = _whole_seconds(column) or _seconds(column)
    if (np.abs(whole) > _LAST_SECOND).any() or ((nanos < 0) | (nanos >= 10**9)).any():
        msg = "an event timestamp that is none: before year 1, after 9999, or with odd nanoseconds"
        raise ProtocolError(msg)
    times = pl.Series(whole * 10**6 + nanos // 1000)
    return times.set(times == 0, None).cast(TIMESTAMP)


def _are_alike(column: BinaryColumn) -> bool:
    """Tell whether all of some short messages are the same: rows were written together."""
    size = int(column.lengths[0])
    if not 0 < size <= _WORD or (column.lengths != size).any():
        return False
    words = column.words(column.starts) << np.uint64(8 * (_WORD - size))
    return bool((words == words[0]).all())


def _whole_seconds(column: BinaryColumn) -> tuple[Places, Places] | None:
    """Read messages that say seconds and nothing else; None: some do not."""
    if (column.lengths < _SHORTEST).any() or (column.data[column.starts] != _SECONDS).any():
        return None
    whole, ends = protobuf.varints_at(column.data, column.starts + 1, column.ends)
    if (ends != column.ends).any():
        return None
    return whole.view(np.int64), np.zeros(len(whole), np.int64)


def _seconds(column: BinaryColumn) -> tuple[Places, Places]:
    """Read seconds and nanoseconds; 0 where a message does not say them."""
    found = protobuf.fields(column, {1: VARINT, 2: VARINT})
    whole, nanos = (protobuf.varints(found[number]).view(np.int64) for number in (1, 2))
    return whole, nanos


_SECONDS = 1 << 3 | VARINT  # the tag
_SHORTEST = 2  # bytes of a message with seconds
_WORD = 8  # bytes
_LAST_SECOND = 253_402_300_799  # of the year 9999


# -- anything, as JSON ---------------------------------------------------------------------------


def json_texts(column: BinaryColumn) -> pl.Series:
    """Write each `Value` as the JSON that Feast's HTTP server sends for it; null stays null."""
    return _each(column, _json, pl.String())


def _json(number: int, payload: BinaryColumn) -> pl.Series:
    name = _NAMES[number]
    if name in SCALARS:
        return SCALARS[name].json(SCALARS[name].one(payload))
    if name in LISTS:
        scalar = SCALARS[LISTS[name]]
        values, counts = scalar.many(payload)
        return _joined(scalar.json(values), counts, "[]")
    whole = protobuf.delimited(payload)
    if name in {"MAP", "STRUCT"}:
        return _json_maps(whole)
    if name == "SCALAR_MAP":
        return _json_scalar_maps(whole)
    elements, counts = protobuf.repeated(whole, 1)
    if name in {"MAP_LIST", "STRUCT_LIST"}:
        return _joined(_json_maps(elements), counts, "[]")
    return _joined(json_texts(elements).fill_null("null"), counts, "[]")


def _json_maps(maps: BinaryColumn) -> pl.Series:
    entries, counts = protobuf.repeated(maps, 1)
    found = protobuf.fields(entries, {1: DELIMITED, 2: DELIMITED})
    return _json_entries(quoted(text(found[1]).fill_null("")), found[2], counts)


def _json_scalar_maps(maps: BinaryColumn) -> pl.Series:
    entries, counts = protobuf.repeated(maps, 1)
    found = protobuf.fields(entries, {1: DELIMITED, 2: DELIMITED})
    wire_types = {number: SCALARS[name].wire_type for number, name in _KEYS.items()}
    said = protobuf.fields(found[1], wire_types)
    keys = pl.Series([None], dtype=pl.String()).new_from_index(0, len(entries))
    for number, name in _KEYS.items():
        rows = np.flatnonzero(~said[number].is_null())
        if len(rows):
            scalar = SCALARS[name]
            keys = keys.scatter(rows, scalar.json(scalar.bare(said[number].take(rows))))
    return _json_entries(quoted(keys.str.strip_chars('"')), found[2], counts)


def _json_entries(keys: pl.Series, values: BinaryColumn, counts: Places) -> pl.Series:
    return _joined(keys + ":" + json_texts(values).fill_null("null"), counts, "{}")


def _joined(texts: pl.Series, counts: Places, around: str) -> pl.Series:
    return around[0] + _listed(texts, counts).list.join(",") + around[1]
