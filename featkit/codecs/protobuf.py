"""Protobuf's wire format, read for a whole column of messages at once.

A message is a sequence of fields: a tag, which is a varint of number and wire type, and a payload.
What is here reads the same field of all messages with numpy; how many steps that takes depends on
the shape of a message, never on how many there are.

=================  ===========================================================================
payload            read by
=================  ===========================================================================
varint             `varints`
eight, four bytes  `fixed`
length, bytes      `delimited`
packed numbers     `delimited`, then `packed_varints` or `packed_fixed`
repeated           `repeated`
a message          `fields`; `elements` where a field may be there several times
=================  ===========================================================================

All of them raise `ProtocolError` for what is cut short or is not that; what cannot be is never
taken for a zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from featkit.codecs.binary_columns import BinaryColumn, is_any, linked, words
from featkit.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from featkit.codecs.binary_columns import Bytes, Mask, Places, Words

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
"""The wire types."""

_CONTINUED = np.uint64(0x8080_8080_8080_8080)
LONGEST = 10
"""Bytes of a varint at the most."""


def tag(number: int, wire_type: int) -> bytes:
    """Return the tag of a field as it is written."""
    left, written = number << 3 | wire_type, bytearray()
    while left > 0x7F:  # noqa: PLR2004 - seven bits a byte
        written.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*written, left])


def varints(column: BinaryColumn) -> Words:
    """Read messages that are one varint each; a null reads as 0."""
    values, ends = varints_at(column.data, column.starts, column.ends)
    whole = (ends == column.ends) & (column.lengths != 0)
    _refuse_unless(whole | column.is_null(), "a varint of another length")
    return np.where(column.is_null(), np.uint64(0), values)


def varints_at(data: Bytes, starts: Places, limits: Places) -> tuple[Words, Places]:
    """Read a varint at each place of a buffer.

    Parameters
    ----------
    data
        The buffer, padded.
    starts
        Where each varint begins.
    limits
        Where its message ends; what begins there or later is not read.

    Returns
    -------
    tuple
        The numbers (0 where there was nothing to read), and where each varint ends.
    """
    there = starts < limits
    starts = np.where(there, starts, 0)
    first = words(data, starts)
    size = _size(first)
    values = _joined(first, size)
    if (wide := size > 8).any():  # noqa: PLR2004 - a word has eight bytes
        at = starts[wide] + 8
        more = words(data, at)
        longer = _size(more)
        _refuse_unless(longer <= LONGEST - 8, "a varint of more than ten bytes")
        values[wide] |= _joined(more, longer) << np.uint64(56)
        size[wide] = 8 + longer
    ends = np.where(there, starts + size, limits)
    _refuse_unless(ends <= np.maximum(limits, 0), "a varint that is cut short")
    return np.where(there, values, np.uint64(0)), ends


def _size(word: Words) -> Places:
    """Count the bytes of the varint that a word begins with; 9 where it is longer than the word."""
    last = ~word & _CONTINUED  # the highest bit of each byte that ends a varint
    below = (last & -last) - np.uint64(1)  # all bits below the lowest of these; else all
    return (np.bitwise_count(below).astype(np.int64) >> 3) + 1


def _joined(word: Words, size: Places) -> Words:
    """Put together the seven bits of each of the first bytes of a word."""
    kept = word & _MASKS[np.minimum(size, 8)]
    joined = kept & np.uint64(0x7F)
    for byte in range(1, int(min(size.max(initial=1), 8))):
        joined |= (kept >> np.uint64(byte)) & np.uint64(0x7F << 7 * byte)
    return joined


_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)


def fixed(column: BinaryColumn, width: int) -> Words:
    """Read messages of four or eight bytes as numbers; a null reads as 0."""
    _refuse_unless((column.lengths == width) | column.is_null(), f"not {width} bytes")
    values = column.words(np.where(column.is_null(), 0, column.starts))
    return values if width == 8 else values & np.uint64(0xFFFF_FFFF)  # noqa: PLR2004


def delimited(column: BinaryColumn) -> BinaryColumn:
    """Read messages that are a length and so many bytes; a null stays null."""
    lengths, starts = varints_at(column.data, column.starts, column.ends)
    known = ~column.is_null()
    exact = lengths == (column.ends - starts).astype(np.uint64)
    empty = column.lengths == 0  # not even a length
    _refuse_unless((exact & ~empty) | ~known, "bytes of another length than they say")
    return BinaryColumn(column.data, starts, np.where(known, lengths.astype(np.int64), -1))


def packed_varints(column: BinaryColumn) -> tuple[Words, Places]:
    """Read messages that are varints one after the other.

    Returns
    -------
    tuple
        All numbers, and for each message how many are its.
    """
    data, bounds = column.compact()
    last = np.flatnonzero(data[: bounds[-1]] < 0x80) + 1  # noqa: PLR2004 - the byte that ends one
    until = np.searchsorted(last, bounds, side="right")
    closed = np.concatenate([[0], last])[until]
    _refuse_unless(closed == bounds, "a varint that is cut short")
    starts = np.concatenate([[0], last[:-1]]) if len(last) else last
    values, _ = varints_at(data, starts, last)
    return values, np.diff(until)


def packed_fixed(column: BinaryColumn, width: int) -> tuple[Words, Places]:
    """Read messages that are numbers of `width` bytes, four or eight, one after the other.

    Returns
    -------
    tuple
        All numbers, and for each message how many are its.
    """
    counts, left = np.divmod(np.maximum(column.lengths, 0), width)
    _refuse_unless(left == 0, f"packed numbers that are no multiple of {width} bytes")
    data, bounds = column.compact()
    return data[: bounds[-1]].view(f"<u{width}").astype(np.uint64), counts


def repeated(column: BinaryColumn, number: int) -> tuple[BinaryColumn, Places]:
    """Read messages that have one field only, which is bytes, any number of times.

    Returns
    -------
    tuple
        All elements, and for each message how many are its.
    """
    if len(column) >= _MANY and (found := _in_turn(column, number)) is not None:
        return found
    parts, rows = elements(column, {number: DELIMITED})[number]
    return parts, np.bincount(rows, minlength=len(column))


_MANY = 100  # messages, for which a step from element to element is little work
_STEPS = 100  # elements of a message at the most


def _in_turn(column: BinaryColumn, number: int) -> tuple[BinaryColumn, Places] | None:
    """Go through all messages at the same time, an element a step; None: one has too many."""
    data, at, limits = column.data, column.starts.copy(), column.ends
    steps: list[tuple[Places, Places, Places]] = []
    counts = np.zeros(len(column), np.int64)
    rows = np.flatnonzero(column.lengths > 0)
    while len(rows):
        if len(steps) == _STEPS:
            return None
        _refuse_unless(
            data[at[rows]] == number << 3 | DELIMITED, "another field than it should have"
        )
        begin, end = _payloads(data, at[rows] + 1, np.full(len(rows), DELIMITED, np.int8))
        _refuse_unless(end <= limits[rows], "another field than it should have, or a part of one")
        steps.append((rows, begin, end - begin))
        at[rows] = end
        counts[rows] += 1
        rows = rows[end < limits[rows]]
    first = np.cumsum(counts) - counts
    starts, lengths = np.empty((2, counts.sum()), np.int64)
    for step, (rows, begin, length) in enumerate(steps):
        starts[first[rows] + step], lengths[first[rows] + step] = begin, length
    return BinaryColumn(data, starts, lengths), counts


def fields(column: BinaryColumn, wire_types: Mapping[int, int]) -> dict[int, BinaryColumn]:
    """Read messages by the number of each field, of which the last counts; null where is none.

    Parameters
    ----------
    column, wire_types
        As for `elements`.
    """
    if (ordered := _in_order(column, wire_types)) is not None:
        return ordered
    last = {}
    for number, (found, rows) in elements(column, wire_types).items():
        starts, lengths = np.zeros(len(column), np.int64), np.full(len(column), -1)
        starts[rows], lengths[rows] = found.starts, found.lengths
        last[number] = BinaryColumn(found.data, starts, lengths)
    return last


def _in_order(
    column: BinaryColumn, wire_types: Mapping[int, int]
) -> dict[int, BinaryColumn] | None:
    """Read messages as all writers write them: by number, each field once; None: they are not."""
    data, at, limits = column.data, column.starts.copy(), column.ends
    tags = np.where(at < limits, data[at], 0)
    nothing = np.zeros(len(column), np.int64), np.full(len(column), -1)
    found = {}
    for number, wire_type in sorted(wire_types.items()):
        starts, lengths = nothing
        own = np.flatnonzero(tags == (number << 3 | wire_type))
        if len(own):
            kinds = np.full(len(own), wire_type, np.int8)
            begin, end = _payloads(data, at[own] + 1, kinds)
            if (end > limits[own]).any():
                return None
            starts, lengths = starts.copy(), lengths.copy()
            starts[own], lengths[own], at[own] = begin, end - begin, end
            tags = np.where(at < limits, data[at], 0)
        found[number] = BinaryColumn(data, starts, lengths)
    return found if (at >= limits).all() else None


def elements(
    column: BinaryColumn, wire_types: Mapping[int, int]
) -> dict[int, tuple[BinaryColumn, Places]]:
    """Read messages into their fields, however many there are.

    Every byte that looks like a tag is taken for the beginning of a field, and the end of that
    field is computed; then those are kept that are reached from the beginning of a message, going
    from field to field in steps of 1, 2, 4, and so on.

    Parameters
    ----------
    column
        The messages; a null has no fields.
    wire_types
        The fields that they may have, by number (below 16), with the wire type.

    Returns
    -------
    dict
        For each number the payloads, as `varints` and `fixed` read them or the bytes themselves,
        and for each of them the row of its message, in ascending order.
    """
    data, bounds = column.compact()
    kinds = np.full(256, -1, np.int8)
    for number, wire_type in wire_types.items():
        kinds[number << 3 | wire_type] = wire_type
    begins = np.flatnonzero(is_any(data[: bounds[-1]], bytes(np.flatnonzero(kinds >= 0).tolist())))
    row = np.searchsorted(bounds, begins, side="right") - 1
    limits = bounds[row + 1]
    starts, ends = _payloads(data, begins + 1, kinds[data[begins]])
    place = np.full(bounds[-1] + 1, _NOTHING, np.int32)
    place[begins] = np.arange(len(begins))
    first = place[bounds[:-1][np.diff(bounds) > 0]]
    _refuse_unless(first >= 0, "another field than it should have")
    behind = np.where(ends < limits, place[np.minimum(ends, bounds[-1])], _NOTHING)
    behind[ends == limits] = _END
    real = linked(first, behind)
    _refuse_unless(behind[real] != _NOTHING, "another field than it should have, or a part of one")
    tags = np.where(real, data[begins], 0)
    found = {}
    for number, wire_type in wire_types.items():
        own = np.flatnonzero(tags == (number << 3 | wire_type))
        found[number] = BinaryColumn(data, starts[own], ends[own] - starts[own]), row[own]
    return found


_END, _NOTHING = -1, -2  # behind a field: the end of its message, or what is no field


def _payloads(data: Bytes, at: Places, kinds: npt.NDArray[np.int8]) -> tuple[Places, Places]:
    """Find where payloads begin and end; what is none ends beyond its limit."""
    is_bytes, widths, first = kinds == DELIMITED, _WIDTHS[kinds], data[at]
    starts = at + is_bytes
    ends = at + widths + np.where(is_bytes, first, 0)
    longer = np.flatnonzero((widths == 1) & (first > 0x7F))  # noqa: PLR2004 - seven bits a byte
    if len(longer):
        starts[longer], ends[longer] = _after_varints(data, at[longer], is_bytes[longer])
    return starts, ends


_WIDTHS = np.array([1, 8, 1, 0, 0, 4])  # of varints and lengths, one byte: most are no longer


def _after_varints(data: Bytes, at: Places, is_bytes: Mask) -> tuple[Places, Places]:
    """Find where payloads begin and end that are varints, or have one before them, of any size."""
    word = words(data, at)
    size = _size(word)
    more = _size(words(data, np.minimum(at + 8, len(data) - 8)))
    length = np.where(size <= 5, _joined(word, np.minimum(size, 5)), len(data))  # noqa: PLR2004 - 32 bits
    starts = np.where(is_bytes, at + size, at)
    of_varint = np.where(size > 8, 8 + more, size)  # noqa: PLR2004 - a word
    return starts, starts + np.where(is_bytes, length.astype(np.int64), of_varint)


def _refuse_unless(sound: Mask, what: str) -> None:
    if not sound.all():
        row = int(np.argmin(sound))
        msg = f"it is not protobuf as expected: {what} (at {row})"
        raise ProtocolError(msg)


def members(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    r"""Read one message of few fields, all of them bytes, field by field.

    Yields
    ------
    tuple
        The number of the field, and its bytes. Numbers among the fields are passed over.

    Examples
    --------
    >>> [(number, bytes(held)) for number, held in members(memoryview(b"\x0a\x02hi\x18\x01"))]
    [(1, b'hi')]
    """
    place = 0
    while place < len(message):
        written, place = _one_varint(message, place)
        number, wire_type = written >> 3, written & 7
        length, place = _one_varint(message, place)
        if wire_type == VARINT:
            continue
        if wire_type != DELIMITED or place + length > len(message):
            msg = f"it is not protobuf as expected: field {number} is cut short or no bytes"
            raise ProtocolError(msg)
        yield number, message[place : place + length]
        place += length


def _one_varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * LONGEST, 7):
        if place >= len(message):
            break
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:  # noqa: PLR2004 - the byte that ends a varint
            return value, place
    msg = "it is not protobuf as expected: a varint that is cut short"
    raise ProtocolError(msg)
