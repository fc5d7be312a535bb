r"""Google's `ReadRows`, the call by which Bigtable is read: questions written, answers to columns.

An answer is a stream of messages of chunks, each of which holds a cell or a part of one::

    ReadRowsResponse  1: CellChunk ...
                      2: row key       up to which rows were looked for, and not found
    CellChunk         1: row key       where a row begins
                      2: {1: family}   where another one than before
                      3: {1: column}   likewise
                      6: value         of a cell, or of a part of it
                      7: size          of the whole cell, where more parts of it follow
                      8: the row is begun anew, and what came of it is void
                      9: the row is complete

All chunks of an answer are read at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.codecs import protobuf
from featkit.codecs import protobuf_writing as writing
from featkit.codecs.binary_columns import BinaryColumn, padded
from featkit.codecs.protobuf import DELIMITED, VARINT
from featkit.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from featkit.codecs.binary_columns import Mask, Places

METHOD = "/google.bigtable.v2.Bigtable/ReadRows"

_RESPONSE = {1: DELIMITED, 2: DELIMITED, 3: DELIMITED}
_CHUNKS, _SCANNED = 1, 2
_KEY, _FAMILY, _COLUMN, _VALUE, _SIZE, _RESET, _COMMIT = 1, 2, 3, 6, 7, 8, 9
_CHUNK = {
    **dict.fromkeys((_KEY, _FAMILY, _COLUMN, 5, _VALUE), DELIMITED),
    **dict.fromkeys((4, _SIZE, _RESET, _COMMIT), VARINT),
}
_LONGEST_FILTER = 16_000  # bytes; the service takes 20 kB


# -- the question --------------------------------------------------------------------------------


def question(
    table: str, keys: pa.Array, family: str, columns: Sequence[str] | None, *, profile: str = ""
) -> bytes:
    """Write the request for the latest cells of some rows.

    Parameters
    ----------
    table
        Its whole name, ``projects/PROJECT/instances/INSTANCE/tables/TABLE``.
    keys
        The keys of the rows (large binary).
    family, columns
        Which columns; None, or where their names are too much for a request: all of the family.
    profile
        The application profile; empty: the default one.
    """
    wanted = writing.concatenated(writing.joined(b"\x0a", writing.delimited(keys)))
    filters = [writing.field(5, _pattern(family)), _number(12, 1)]
    pattern = b"|".join(map(_pattern, columns or ()))
    if 0 < len(pattern) <= _LONGEST_FILTER:
        filters.insert(1, writing.field(6, pattern))
    return _request(table, profile) + writing.field(2, wanted) + writing.field(3, _chain(filters))


def first_row(table: str, *, profile: str = "") -> bytes:
    """Write the request for one row, whichever is the first, without what is in it."""
    filters = [_number(11, 1), _number(13, 1)]
    return _request(table, profile) + writing.field(3, _chain(filters)) + _number(4, 1)


def _request(table: str, profile: str) -> bytes:
    named = writing.field(1, table.encode())
    return named + (writing.field(5, profile.encode()) if profile else b"")


def _chain(filters: Sequence[bytes]) -> bytes:
    return writing.field(1, b"".join(writing.field(1, each) for each in filters))


def _number(number: int, value: int) -> bytes:
    return protobuf.tag(number, VARINT) + bytes([value])


def _pattern(name: str) -> bytes:
    """Write a regular expression that matches a name alone."""
    return b"".join(
        bytes([byte]) if chr(byte).isalnum() and byte < 0x80 else b"\\x%02x" % byte  # noqa: PLR2004 - ASCII
        for byte in name.encode()
    )


# -- the answer ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of an answer.

    Attributes
    ----------
    keys
        Their keys (large binary).
    columns
        For each column that was asked for its values, null where a row has none.
    scanned
        The last key up to which rows were looked for, as far as the answer tells.
    """

    keys: pa.Array
    columns: list[BinaryColumn]
    scanned: bytes = b""


def read(body: bytes, family: str, columns: Sequence[str], *, broken: bool = False) -> Rows:
    """Read the messages of an answer, one after the other in `body`.

    Of several cells of a column the first counts, which is the latest.

    Parameters
    ----------
    body, family, columns
        The messages, and which columns are wanted of them.
    broken
        Whether the answer broke off; a row that had only begun to come is left out.

    Raises
    ------
    ProtocolError
        It is no such answer, or ends within a row.
    """
    whole = BinaryColumn(padded(body), np.array([0]), np.array([len(body)]))
    said = protobuf.elements(whole, _RESPONSE)
    found, row = _complete(protobuf.fields(said[_CHUNKS][0], _CHUNK), broken=broken)
    first = np.flatnonzero(np.diff(row, prepend=-1))
    keys = _keys(found[_KEY], row, first)
    begins, values = _cells(found, row)
    names = _names(found, row, first)
    held = []
    for name in columns:
        own = np.flatnonzero(names.of(family, name)[begins])[::-1]  # the first one is written last
        starts, lengths = np.zeros(len(first), np.int64), np.full(len(first), -1)
        rows = row[begins[own]]
        starts[rows], lengths[rows] = values.starts[own], np.maximum(values.lengths[own], 0)
        held.append(BinaryColumn(values.data, starts, lengths))
    ends = [keys[-1:], said[_SCANNED][0].to_arrow()[-1:]]
    scanned = max((key for each in ends for key in each.to_pylist()), default=b"")
    return Rows(keys, held, scanned)


def _complete(
    found: dict[int, BinaryColumn], *, broken: bool
) -> tuple[dict[int, BinaryColumn], Places]:
    """Leave out rows that were begun anew; tell for each chunk the number of its row."""
    commits, resets = (protobuf.varints(found[number]) > 0 for number in (_COMMIT, _RESET))
    ends = commits | resets
    if broken:
        here = np.arange(np.flatnonzero(ends).max(initial=-1) + 1)
        found = {number: column.take(here) for number, column in found.items()}
        commits, resets, ends = commits[here], resets[here], ends[here]
    if len(ends) and not ends[-1]:
        msg = "Bigtable's answer ends within a row"
        raise ProtocolError(msg)
    attempt: Places = np.cumsum(ends) - ends
    good = commits[ends]
    kept = np.flatnonzero(good[attempt]) if len(good) else np.zeros(0, np.int64)
    row = (np.cumsum(good) - 1)[attempt[kept]]
    return {number: column.take(kept) for number, column in found.items()}, row


def _keys(column: BinaryColumn, row: Places, first: Places) -> pa.Array:
    keys = column.take(first).to_arrow()
    again = np.flatnonzero(~column.is_null())
    others = again[np.isin(again, first, invert=True)]
    if keys.null_count or not column.take(others).to_arrow().equals(keys.take(row[others])):
        msg = "Bigtable's answer has a row without a key, or with two"
        raise ProtocolError(msg)
    return keys


def _cells(found: dict[int, BinaryColumn], row: Places) -> tuple[Places, BinaryColumn]:
    """Put the parts of cells together; tell the chunk that each cell begins with, and its value."""
    values, sizes = found[_VALUE], protobuf.varints(found[_SIZE]).view(np.int64)
    more = sizes > 0
    if not more.any():
        return np.arange(len(values)), values
    goes_on = np.concatenate([[False], more[:-1]])
    data, bounds = values.compact()
    begins = np.flatnonzero(~goes_on)
    starts = bounds[begins]
    lengths = np.diff(np.append(starts, bounds[-1]))
    whole = (sizes[begins] == 0) | (sizes[begins] == lengths)
    if more[-1] or (goes_on & (np.diff(row, prepend=-1) > 0)).any() or not whole.all():
        msg = "Bigtable's answer has a cell whose parts are not all there"
        raise ProtocolError(msg)
    return begins, BinaryColumn(data, starts, lengths)


@dataclass(frozen=True, slots=True)
class _Names:
    """The family and the column of each chunk, as numbers, and what they are called."""

    families: Places
    columns: Places
    of_families: list[bytes]
    of_columns: list[bytes]

    def of(self, family: str, column: str) -> Mask:
        """Tell which chunks are of a column."""
        if family.encode() not in self.of_families or column.encode() not in self.of_columns:
            return np.zeros(len(self.columns), np.bool_)
        own: Mask = self.columns == self.of_columns.index(column.encode())
        own &= self.families == self.of_families.index(family.encode())
        return own


def _names(found: dict[int, BinaryColumn], row: Places, first: Places) -> _Names:
    families, of_families = _carried(found[_FAMILY], row, first)
    columns, of_columns = _carried(found[_COLUMN], row, first)
    if (~found[_FAMILY].is_null() & found[_COLUMN].is_null()).any():
        msg = "Bigtable's answer has a family without a column"
        raise ProtocolError(msg)
    return _Names(families, columns, of_families, of_columns)


def _carried(wrapped: BinaryColumn, row: Places, first: Places) -> tuple[Places, list[bytes]]:
    """Give each chunk the number of the last name that was told, and the names."""
    told = wrapped.to_arrow().dictionary_encode()
    numbers = pl.Series(told.indices).fill_null(-1).to_numpy()
    place = np.maximum.accumulate(np.where(numbers >= 0, np.arange(len(numbers)), -1))
    if (place < first[row]).any():
        msg = "Bigtable's answer has a row that does not tell its family and column"
        raise ProtocolError(msg)
    names = protobuf.fields(BinaryColumn.of(told.dictionary), {1: DELIMITED})[1]
    return numbers[place], [name or b"" for name in names.to_arrow().to_pylist()]
