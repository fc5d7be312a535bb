"""JSON whose rows are arrays or objects of several values, turned into columns of JSON.

Stores that answer row by row mix types within a row, which no columnar parser reads. The text is
cut at its commas and brackets instead, all at once, and put together anew column by column; a
`featkit.codecs.json_columns.decode` per column then reads it. No value becomes a Python object.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from featkit.codecs import json_columns
from featkit.codecs.binary_columns import is_any
from featkit.errors import ProtocolError, RowMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable

Positions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Depths = npt.NDArray[np.int32]

_COMMA, _COLON, _QUOTE, _BACKSLASH = b',:"\\'
_WITHIN = 2  # the depth of brackets within a row
_STEP = np.zeros(256, np.int8)  # what a byte does to the depth of brackets
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_MARKS = b'[]{},:"'  # what gives JSON its structure, and begins and ends strings


@dataclass(frozen=True)
class JsonRows:
    """An array of rows, each an array or an object, or null.

    Parameters
    ----------
    text
        Valid JSON without white space around it, as `msgspec.Raw` holds it.

    Examples
    --------
    >>> rows = JsonRows(b'[["a", 1], ["b,", [2]]]')
    >>> rows.columns(2)
    [b'["a","b,"]', b'[ 1, [2]]']
    """

    text: bytes

    def __post_init__(self) -> None:
        if self.text[:1] != b"[":
            msg = "it is no array of rows"
            raise ProtocolError(msg)

    @cached_property
    def _bytes(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.text, np.uint8)

    @cached_property
    def _marks(self) -> tuple[Positions, npt.NDArray[np.uint8], npt.NDArray[np.int8], Depths]:
        """Find the brackets, commas and colons outside of strings, their steps and depths."""
        places = np.flatnonzero(is_any(self._bytes, _MARKS))
        marks = self._bytes.take(places)
        quotes = marks == _QUOTE
        if quotes.any():
            own = quotes.copy()
            if _BACKSLASH in self.text:
                own[quotes] = ~self._escaped(places[quotes])
            outside = ~quotes & (np.cumsum(own, dtype=np.int32) % 2 == 0)
            places, marks = places[outside], marks[outside]
        steps = _STEP.take(marks)
        return places, marks, steps, np.cumsum(steps, dtype=np.int32)

    def _escaped(self, quotes: Positions) -> Flags:
        """Tell which quotes follow an odd number of backslashes."""
        data = self._bytes
        others = np.flatnonzero(data != _BACKSLASH)
        before = np.searchsorted(others, quotes) - 1
        last = np.where(before >= 0, others[before], -1)
        odd: Flags = (quotes - last - 1) % 2 == 1
        return odd

    @cached_property
    def _commas(self) -> Positions:
        """Find the commas between rows."""
        return self._at(1, _COMMA)

    def _at(self, depth: int, mark: int) -> Positions:
        """Find a mark at a depth of brackets."""
        places, marks, _, depths = self._marks
        found: Positions = places[(depths == depth) & (marks == mark)]
        return found

    @cached_property
    def _edges(self) -> tuple[Positions, Flags, Flags]:
        """Find what values lie between: brackets of rows that are not null, and commas in them.

        With which of these begin rows, and which end them.
        """
        places, marks, steps, depths = self._marks
        within, ends = depths == _WITHIN, (steps == -1) & (depths == 1)
        edges = np.flatnonzero((within & ((steps == 1) | (marks == _COMMA))) | ends)
        taken = steps.take(edges)
        return places.take(edges), taken == 1, taken == -1

    @cached_property
    def _brackets(self) -> tuple[Positions, Positions]:
        """Find where each row that is not null begins and ends."""
        edges, begins, ends = self._edges
        return edges[begins], edges[ends]

    @cached_property
    def height(self) -> int:
        """How many rows there are, null ones among them."""
        return len(self._commas) + 1 if self.text[1:-1].strip() else 0

    @cached_property
    def present(self) -> Flags:
        """Tell which rows are not null."""
        present = np.zeros(self.height, bool)
        present[np.searchsorted(self._commas, self._brackets[0])] = True
        if not present.all():
            starts = np.concatenate([[1], self._commas + 1])[~present]
            ends = np.concatenate([self._commas, [len(self.text) - 1]])[~present]
            rest = self._joined(starts, ends).replace(b"null", b"")
            if rest.strip(b"[], \t\r\n"):
                msg = "a row is neither null nor several values"
                raise ProtocolError(msg)
        return present

    @cached_property
    def _cells(self) -> tuple[Positions, Positions, Positions]:
        """Find where values begin and end, and how many each row that is not null has."""
        edges, begins, closed = self._edges
        opens, closes = self._brackets
        starts, ends = edges[~closed] + 1, edges[~begins]
        counts = np.flatnonzero(closed) - np.flatnonzero(begins)
        empty = counts == 1
        if empty.any():
            empty &= self._blank(opens + 1, closes)
        if empty.any():
            kept = ~np.repeat(empty, counts)
            starts, ends, counts = starts[kept], ends[kept], counts - empty
        return starts, ends, counts

    def _blank(self, starts: Positions, ends: Positions) -> Flags:
        """Tell which stretches of the text hold nothing but white space."""
        blank: Flags = starts == ends
        if not blank.all():
            ink = np.concatenate([[0], np.cumsum(self._bytes > ord(" "), dtype=np.int64)])
            blank = ink[starts] == ink[ends]
        return blank

    @property
    def lengths(self) -> Positions:
        """How many values each row has that is not null."""
        return self._cells[2]

    def columns(self, width: int) -> list[bytes]:
        """Return each column of the rows that are not null as a JSON array.

        Parameters
        ----------
        width
            How many values each of these rows has.

        Raises
        ------
        RowMismatch
            A row has more values, or fewer.
        """
        starts, ends, counts = self._cells
        if (counts != width).any():
            found = sorted(set(counts.tolist()))
            msg = f"expected {width} values in each row, got {found}; nothing was joined"
            raise RowMismatch(msg)
        if not width:
            return []
        return [
            self._joined(first, last)
            for first, last in zip(
                starts.reshape(-1, width).T, ends.reshape(-1, width).T, strict=True
            )
        ]

    def values(self) -> bytes:
        """Return the values of all rows, one after the other, as one JSON array."""
        starts, ends, _ = self._cells
        return self._joined(starts, ends)

    def items(self) -> tuple[bytes, bytes]:
        """Return the names and the values of rows that are objects, as two JSON arrays."""
        starts, ends, _ = self._cells
        return self._joined(starts, self._colons), self._joined(self._colons + 1, ends)

    @cached_property
    def _colons(self) -> Positions:
        """Find where the name of each value ends, in rows that are objects."""
        colons = self._at(_WITHIN, _COLON)
        if len(colons) != len(self._cells[0]):
            msg = "a row is no object"
            raise ProtocolError(msg)
        return colons

    def fields(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return values of rows that are objects by name, each as a JSON array, one per row.

        Parameters
        ----------
        names
            Which ones; what no row has is left out.

        Raises
        ------
        RowMismatch
            Some rows have the value and others have not, or have it twice, or are null.
        """
        found = {}
        for name, (rows, values) in self.sparse(names).items():
            if not np.array_equal(rows, np.arange(self.height)):
                msg = f"not every row has one value of {name!r}; nothing was joined"
                raise RowMismatch(msg)
            found[name] = values
        return found

    def sparse(self, names: Iterable[str]) -> dict[str, tuple[Positions, bytes]]:
        """Return values of rows that are objects by name, where a row has them.

        Parameters
        ----------
        names
            Which ones; what no row has is left out.

        Returns
        -------
        dict
            Which rows have the value, counted without null ones, and the values as a JSON array.
        """
        starts, ends, counts = self._cells
        heads = self._joined(starts, self._colons)
        width = int(counts[0]) if len(counts) else 0
        first = self._joined(starts[:width], self._colons[:width])
        # as most writers do, the names of the first row again and again
        same = heads[1:-1] == b",".join([first[1:-1]] * len(counts))
        known = json_columns.decode(first if same else heads, pl.String(), "names")
        repeats = np.arange(len(counts) if same else 1)[:, None] * width
        rows = np.repeat(np.arange(len(counts)), counts)
        found = {}
        for name in names:
            places = (np.flatnonzero(known == name) + repeats).ravel()
            if len(places):
                values = self._joined(self._colons[places] + 1, ends[places])
                found[name] = rows[places], values
        return found

    def _joined(self, starts: Positions, ends: Positions) -> bytes:
        """Put stretches of the text together as one JSON array."""
        if not len(starts):
            return b"[]"
        edges = np.empty((len(starts), 2), np.int64)
        # with the mark behind, which becomes a comma
        edges[:, 0], edges[:, 1] = starts, ends + 1
        buffers = [None, pa.py_buffer(edges), pa.py_buffer(self.text)]
        stretches = pa.Array.from_buffers(pa.large_binary(), edges.size - 1, buffers)
        own = pl.int_range(0, edges.size, 2, eager=True).to_arrow()  # not what is between them
        _, offsets, data = stretches.take(own).buffers()
        behind = np.frombuffer(offsets, np.int64)[1 : len(starts) + 1]
        joined = np.frombuffer(data, np.uint8, behind[-1]).copy()
        joined[behind - 1] = _COMMA
        joined[-1] = ord("]")
        return b"[" + bytes(joined)


def grouped(values: pl.Series, rows: JsonRows) -> pl.Series:
    """Put values that came one after the other back into lists, as many as each row had.

    Parameters
    ----------
    values
        The values of all rows.
    rows
        Where they came from; a null row is a null.
    """
    lengths = np.zeros(rows.height, np.int64)
    lengths[rows.present] = rows.lengths
    offsets = pl.Series(np.concatenate([[0], np.cumsum(lengths)]))
    lists = pa.LargeListArray.from_arrays(offsets.to_arrow(), values.to_arrow())
    made = pl.Series(values.name, lists, dtype=pl.List(values.dtype))
    return made if rows.present.all() else made.set(~pl.Series(rows.present), None)


def with_nulls(values: pl.Series, rows: JsonRows) -> pl.Series:
    """Put a null between the values for each row that was null."""
    if rows.present.all():
        return values
    places = np.cumsum(rows.present) - 1
    return values.gather(pl.Series(places).set(~pl.Series(rows.present), None).cast(pl.UInt32))
