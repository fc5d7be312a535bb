"""Redis' protocol for many equal commands: written and read as columns.

A pipeline of HMGETs asks each hash for the same fields, so that its commands differ in the key
alone, and its replies are rows of as many values each. Arrow writes the commands, and numpy reads
the replies where they lie: one step per field, whatever the number of rows. What is no such row,
an error among them, is left to hiredis, which reads anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hiredis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featkit.codecs.binary_columns import PADDING, BinaryColumn, constant, linked, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.codecs.binary_columns import Bytes, Mask, Places, Words

_LINE = b"\r\n"
_NEWLINE = np.uint16(int.from_bytes(_LINE, "little"))
_RETURNS = np.uint64(0x0D0D_0D0D_0D0D_0D0D)
_ONES = np.uint64(0x0101_0101_0101_0101)
_HIGHS = np.uint64(0x8080_8080_8080_8080)
_MISSING = np.uint64(int.from_bytes(b"-1", "little"))
_SPARE = 16 * 1024  # bytes that there is always room for
_SAMPLE = 64 * 1024  # bytes that tell whether rows are of one length
_DIGITS = 7  # of a length that is read here; hiredis reads longer ones
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)


def commands(keys: pa.Array, fields: Sequence[bytes]) -> memoryview:
    """Write one HMGET for each key, all asking for the same fields.

    Examples
    --------
    >>> bytes(commands(pa.array([b"k"], pa.large_binary()), [b"f"])).split()
    [b'*3', b'$5', b'HMGET', b'$1', b'k', b'$1', b'f']
    """
    head = b"*%d\r\n$5\r\nHMGET\r\n$" % (2 + len(fields))
    tail = _LINE + b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in fields)
    column = BinaryColumn.of(keys)
    width = int(column.lengths[0]) if len(column) else 0
    if width and (column.lengths == width).all():
        return _alike(column, width, head + b"%d\r\n" % width, tail)
    lengths = pc.binary_length(keys).cast(pa.large_string()).cast(pa.large_binary())
    parts = [constant(head), lengths, constant(_LINE), keys, constant(tail), constant(b"")]
    written = pc.binary_join_element_wise(*parts)
    _, offsets, data = written.buffers()
    end = np.frombuffer(offsets, np.int64, len(written) + 1)[-1]
    return memoryview(data)[: int(end)]


def _alike(keys: BinaryColumn, width: int, head: bytes, tail: bytes) -> memoryview:
    """Write commands whose keys are of one length: copies of one, with the keys put in."""
    first = int(keys.starts[0])
    rows = keys.data[first : first + width * len(keys)].reshape(-1, width)
    written = np.empty((len(keys), len(head) + width + len(tail)), np.uint8)
    written[:] = np.frombuffer(head + bytes(width) + tail, np.uint8)
    written[:, len(head) : len(head) + width] = rows
    return written.reshape(-1).data


class Replies:
    """Replies to so many commands, as they arrive.

    Parameters
    ----------
    count
        How many replies are awaited.
    width
        How many values each has.
    """

    def __init__(self, count: int, width: int) -> None:
        self._count, self._width = count, width
        self._header = b"*%d\r\n" % width
        likely = count * (len(self._header) + 16 * width)
        self._data = np.empty(likely + _SPARE + PADDING, np.uint8)
        self._size = 0
        self._checked = 0
        self._begun = 0  # replies that have begun, as far as can be told without reading them
        self._counted = 0  # bytes in which they were counted
        self._expected: int | None = None  # bytes, where rows seem to be of one length

    @property
    def size(self) -> int:
        """How many bytes have arrived."""
        return self._size

    def room(self) -> memoryview:
        """Return where the next bytes go, room for some kilobytes at the least."""
        if len(self._data) - PADDING - self._size < _SPARE:
            more = np.empty(2 * len(self._data) + _SPARE, np.uint8)
            more[: self._size] = self._data[: self._size]
            self._data = more
        return self._data.data[self._size : len(self._data) - PADDING]

    def received(self, count: int) -> None:
        """Say that so many bytes were put there."""
        self._size += count

    def read(self, *, quiet: bool = False) -> list[BinaryColumn] | list[Any] | None:
        """Return what has arrived, once all of it has.

        Parameters
        ----------
        quiet
            Whether nothing has come for a while.

        Returns
        -------
        list or None
            The values, one column per field; else, where something else than rows came, all replies
            as hiredis reads them, errors in their places. None: there is more to come.

        Raises
        ------
        hiredis.ProtocolError
            It is no Redis that says this.
        """
        if self._tail() != _LINE or not (quiet or self._may_be_all()):
            return None
        rows = self._equal_rows()
        if rows is None:
            if self._replies() < self._count:
                return None
            rows = self._rows()
        if rows is None:
            return self._objects()
        data, places = self._data, zip(*rows, strict=True)
        return [BinaryColumn(data, starts, lengths) for starts, lengths in places]

    def _tail(self) -> bytes:
        return self._data[max(self._size - 2, 0) : self._size].tobytes()

    def _may_be_all(self) -> bool:
        """Tell whether it is worth a look: equal rows are read sooner than replies are counted."""
        if self._size <= _SAMPLE:
            return True
        if self._expected is None:
            sample = self._data[:_SAMPLE].tobytes()
            length = sample.find(self._header, 1)
            even = length > 0 and abs(_SAMPLE / length - sample.count(self._header)) <= 1
            self._expected = length * self._count if even else 0
        return self._size >= self._expected

    def _replies(self) -> int:
        """Count the replies that have begun; what only looks so is counted as well.

        Errors begin a line with a minus.
        """
        before = max(self._counted - len(self._header), 0)
        arrived = self._data[before : self._size].tobytes()
        self._begun += arrived.count(self._header) + arrived.count(b"\n-")
        self._begun += before == 0 and arrived[:1] == b"-"
        self._counted = self._size
        return self._begun

    def _equal_rows(self) -> tuple[list[Places], list[Places]] | None:
        """Find the values of rows that are all of one shape, as those of numbers are.

        Where each row has the same bytes around its values as the first, the second begins where
        the first ends, and so on.
        """
        size, odd = divmod(self._size, self._count)
        first = _Shape.of(self._data[:size].tobytes(), self._header, self._width)
        if odd or first is None:
            return None
        rows = self._data[: self._size].reshape(self._count, size)
        same = (rows == rows[0]).all(axis=0)  # of whole rows: that is faster than of their parts
        if not all(same[part].all() for part in first.around):
            return None
        begins = np.arange(0, self._size, size)
        lengths = [np.full(self._count, length) for length in first.lengths]
        return [begins + start for start in first.starts], lengths

    def _rows(self) -> tuple[list[Places], list[Places]] | None:
        """Find where the values of all rows lie."""
        begins = self._headers()
        if not len(begins) or begins[0]:
            return None
        starts, lengths = [], []
        at = begins + len(self._header)
        sound = np.ones(len(begins), np.bool_)
        for _ in range(self._width):
            start, length, at, whole = _bulk(self._data, self._size, at)
            sound &= whole
            starts.append(start)
            lengths.append(length)
        behind = np.searchsorted(begins, at)
        exact = sound & ((at == self._size) | (begins[np.minimum(behind, len(begins) - 1)] == at))
        behind = np.where(exact, np.where(at == self._size, -1, behind), -2)
        real = linked(np.array([0]), behind)
        if real.sum() != self._count or (behind[real] == -2).any():  # noqa: PLR2004 - not exact
            return None
        if not real.all():
            starts, lengths = ([part[real] for part in each] for each in (starts, lengths))
        return starts, lengths

    def _headers(self) -> Places:
        """Find what looks like the beginning of a row."""
        stars = np.flatnonzero(self._data[: self._size] == ord("*"))
        size = len(self._header)
        wanted = np.uint64(int.from_bytes(self._header[:8], "little"))
        begins: Places = stars[(words(self._data, stars) & _MASKS[min(size, 8)]) == wanted]
        return begins

    def check(self) -> None:
        """Have hiredis look at what has arrived, when no more does.

        Raises
        ------
        hiredis.ProtocolError
            It is no Redis that says this, so that the rest need not be waited for.
        """
        if self._size != self._checked:
            self._checked = self._size
            self._objects()

    def _objects(self) -> list[Any] | None:
        reader = hiredis.Reader()
        reader.feed(self._data[: self._size].tobytes())
        found: list[Any] = []
        while len(found) < self._count:
            reply = reader.gets()
            if reply is False:
                return None
            found.append(reply)
        return found


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where a row has its values, and what is around them."""

    starts: list[int]
    lengths: list[int]
    around: list[slice]

    @classmethod
    def of(cls, row: bytes, header: bytes, width: int) -> _Shape | None:
        """Read a row; None: it is none, or more than one."""
        starts, lengths, around, at = [], [], [], 0
        behind = len(header)
        for _ in range(width):
            line = row.find(_LINE, behind)
            digits = row[behind + 1 : line]
            begun = row[behind : behind + 1] == b"$" and line > 0
            if not begun or not (digits.isdigit() or digits == b"-1"):
                return None
            start, length = line + len(_LINE), int(digits)
            around.append(slice(at, start))
            starts.append(start)
            lengths.append(length)
            at = behind = start
            if length >= 0:
                at = start + length
                behind = at + len(_LINE)
                if row[at:behind] != _LINE:
                    return None
        around.append(slice(at, len(row)))
        return (
            cls(starts, lengths, around) if row.startswith(header) and behind == len(row) else None
        )


def _bulk(data: Bytes, size: int, at: Places) -> tuple[Places, Places, Places, Mask]:
    """Read a value at each place: where it begins, its length or -1, what is behind, if it is one.

    Where it is none, the place behind is the end of everything.
    """
    inside = np.minimum(at, size)
    line = words(data, inside + 1)
    digits = _first_return(line)
    text = line & _MASKS[digits]
    missing = (digits == 2) & (text == _MISSING)  # noqa: PLR2004 - as many as "-1" has
    length, numeric = _number(text, digits)
    start = inside + 1 + digits + len(_LINE)
    end = np.where(missing, start - len(_LINE), start + length)
    whole = (data[inside] == ord("$")) & (numeric | missing) & (end + len(_LINE) <= size)
    end = np.where(whole, end, size)
    whole &= words(data, end).astype(np.uint16) == _NEWLINE
    length = np.where(missing, -1, length)
    return start, length, np.where(whole, end + len(_LINE), size + 1), whole


def _first_return(line: Words) -> Places:
    """Count the bytes before the first carriage return among eight; 8 where there is none."""
    other = line ^ _RETURNS
    found = (other - _ONES) & ~other & _HIGHS
    below = (found & -found) - np.uint64(1)
    return np.bitwise_count(below).astype(np.int64) >> 3


def _number(text: Words, digits: Places) -> tuple[Places, Mask]:
    """Read numbers of so many digits, one to seven, and tell where they are that."""
    number = np.zeros(len(text), np.int64)
    sound = (digits > 0) & (digits <= _DIGITS)
    for place in range(int(min(digits.max(initial=0), _DIGITS))):
        digit = ((text >> np.uint64(8 * place)) & np.uint64(0xFF)).astype(np.int64) - ord("0")
        own = digits > place
        number = np.where(own, number * 10 + digit, number)
        sound &= ~own | ((digit >= 0) & (digit <= 9))  # noqa: PLR2004 - the digits
    return np.where(sound, number, 0), sound
