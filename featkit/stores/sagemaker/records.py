"""Records of feature groups: who they are of, and the texts of their features.

A value comes in an object of its own with its name, ten times as long as itself. Where all records
tell their features in one order, as those of a service do, the text is cut at what stands between
the values, which is the same in all records, and polars reads only the rest of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from featkit.codecs import json_columns
from featkit.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Positions: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

RECORD = pl.Struct(
    {
        "FeatureGroupName": pl.String(),
        "RecordIdentifierValueAsString": pl.String(),
        "ExpiresAt": pl.String(),
        "Record": pl.List(
            pl.Struct(
                {
                    "FeatureName": pl.String(),
                    "ValueAsString": pl.String(),
                    "ValueAsStringList": pl.List(pl.String()),
                }
            )
        ),
    }
)
_AT = "__featkit_row"
_LISTS = pl.List(pl.String())


class _Cells(Protocol):
    def texts(self, name: str, at: pl.Series, *, many: bool) -> pl.Series | None:
        """Return the texts of a feature for some records; None: no record has it."""


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Records of one feature group.

    Attributes
    ----------
    heads
        One row per record: ``FeatureGroupName``, ``RecordIdentifierValueAsString``, ``ExpiresAt``.
    """

    heads: pl.DataFrame
    _cells: _Cells

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Records:
        """Take records as `RECORD` has them."""
        return cls(rows.drop("Record"), _Told.of(rows))

    @classmethod
    def read(cls, text: bytes) -> Records:
        """Read a JSON array of records.

        Examples
        --------
        >>> own = b'{"FeatureName": "rating", "ValueAsString": "4.5"}'
        >>> found = Records.read(b'[{"RecordIdentifierValueAsString": "7", "Record": [%s]}]' % own)
        >>> found.heads["RecordIdentifierValueAsString"].to_list()
        ['7']
        >>> found.texts("rating", pl.Series([None, 0], dtype=pl.UInt32)).to_list()
        [None, '4.5']
        """
        return _cut(text) or cls.of(parsed(text))

    def texts(self, name: str, at: pl.Series, *, many: bool = False) -> pl.Series:
        """Return the texts of a feature for some records.

        Parameters
        ----------
        name
            The feature.
        at
            Which records (UInt32); a null is a null, as is a feature that a record does not have.
        many
            Whether each value is a list of texts.

        Raises
        ------
        ProtocolError
            A record has the feature twice, or a list in place of one value, or the reverse.
        """
        found = self._cells.texts(name, at, many=many)
        if found is None:
            return pl.repeat(None, len(at), dtype=_LISTS if many else pl.String(), eager=True)
        return found


def parsed(text: bytes | memoryview) -> pl.DataFrame:
    """Read a JSON array of records, as `RECORD` has them."""
    return json_columns.decode(text, RECORD, "Records").struct.unnest()


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What polars read: cells by name, each with the number of its record."""

    cells: Mapping[tuple[object, ...], pl.DataFrame]
    height: int

    @classmethod
    def of(cls, rows: pl.DataFrame) -> _Told:
        cells = (
            rows.select("Record")
            .with_row_index(_AT)
            .explode("Record")
            .drop_nulls("Record")
            .unnest("Record")
        )
        return cls(cells.partition_by("FeatureName", as_dict=True), rows.height)

    def texts(self, name: str, at: pl.Series, *, many: bool) -> pl.Series | None:
        if (cells := self.cells.get((name,))) is None:
            return None
        if cells[_AT].is_duplicated().any():
            msg = f"a record of the answer has the feature {name!r} twice"
            raise ProtocolError(msg)
        own, other = ["ValueAsString", "ValueAsStringList"][:: -1 if many else 1]
        if cells[other].null_count() < cells.height:
            msg = f"{name!r} should be {'a list' if many else 'one value'}, and is not"
            raise ProtocolError(msg)
        if cells.height == self.height:
            return cells[own].gather(at)
        places = pl.repeat(None, self.height, dtype=pl.UInt32, eager=True)
        places = places.scatter(cells[_AT], pl.int_range(cells.height, dtype=pl.UInt32, eager=True))
        return cells[own].gather(places.gather(at))


# -- cutting ---------------------------------------------------------------------------------------

_QUOTE, _OPEN, _CLOSE, _END = b'"[]}'
_AS_BRACE = 0x20  # the bit that makes a closing bracket a closing brace
_QUOTES = 8  # that a cell has
_SOME = 32  # records, which tell the order of features
_CELL = re.compile(
    rb'"Record"\s*:\s*\[({\s*"FeatureName"\s*:\s*)"[^"]*"(\s*,\s*"ValueAsString"\s*:\s*)"[^"]*"}'
)
_NEXT = re.compile(rb'"}(\s*,\s*){\s*"FeatureName"')


class _Cell(msgspec.Struct, frozen=True, rename="pascal"):
    feature_name: str


@dataclass(frozen=True, slots=True, eq=False)
class _Stretches:
    """What was cut.

    Attributes
    ----------
    names
        The features, in the order in which each record tells them.
    present
        Which features a record has, by record and feature.
    every
        The texts by record and feature, and between each two what stands there.
    """

    names: Mapping[str, int]
    present: Flags
    every: pa.LargeStringArray

    def texts(self, name: str, at: pl.Series, *, many: bool) -> pl.Series | None:
        if (place := self.names.get(name)) is None:
            return None
        if many:
            msg = f"{name!r} should be a list, and is not"
            raise ProtocolError(msg)
        present = self.present[:, place]
        if not present.all():
            at = at.set(~pl.Series(present).gather(at), None)
        wanted = (at * len(self.names) + place) * 2
        return pl.Series(self.every.take(wanted.to_arrow()))  # copied: the text need not be kept


def _stretches(text: bytes, edges: Positions) -> pa.LargeStringArray:
    """Make an array of stretches of a text, and between each two of what lies there."""
    buffers = [None, pa.py_buffer(edges), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.large_string(), edges.size - 1, buffers)


def _cut(text: bytes) -> Records | None:
    """Cut records at what stands between their values; None: they are not of one pattern.

    Parameters
    ----------
    text
        Valid JSON, as `msgspec.Raw` holds it.
    """
    pattern = _CELL.search(text)
    if pattern is None or b"\\" in text or not _is_text(text):
        return None
    data = np.frombuffer(text, np.uint8)
    marks = np.flatnonzero((data | _AS_BRACE) == _END)
    is_close = data[marks] == _CLOSE
    opened, closed = np.flatnonzero(data == _OPEN)[1:], marks[is_close][:-1]  # not the outermost
    if len(opened) != len(closed) or (opened > closed).any() or (opened[1:] < closed[:-1]).any():
        return None
    names = _order(text, opened, closed)
    found = _Walk(text, data, marks[~is_close], opened, closed).along(names, pattern)
    if found is None:
        return None
    outside = np.stack([np.append(0, closed), np.append(opened + 1, len(text))], axis=1)
    rest = pl.Series(_stretches(text, outside)).gather_every(2).str.join().item().encode()
    quotes = np.count_nonzero(data == ord('"')) - rest.count(b'"')
    if quotes != _QUOTES * int(found.present.sum()):
        return None  # a value that is not what it seems to be
    rows = parsed(rest)
    if rows.height != len(opened) or not rows["Record"].list.len().eq_missing(0).all():
        return None  # the arrays were not all those of the records
    return Records(rows.drop("Record"), found)


def _is_text(text: bytes) -> bool:
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


def _order(text: bytes, opened: Positions, closed: Positions) -> list[str]:
    """Find an order of the features that some records agree on; none where they do not."""
    places = {*range(0, len(opened), len(opened) // _SOME + 1), int((closed - opened).argmax())}
    order: TopologicalSorter[str] = TopologicalSorter()
    try:
        cells = [_CELLS.decode(text[opened[place] : closed[place] + 1]) for place in places]
        for names in {tuple(cell.feature_name for cell in own) for own in cells}:  # mostly one
            for name, before in zip(names, [None, *names], strict=False):
                order.add(name, *([] if before is None else [before]))
        return list(order.static_order())
    except (msgspec.DecodeError, CycleError):
        return []


_CELLS = msgspec.json.Decoder(list[_Cell])


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """All records at once, from cell to cell.

    Attributes
    ----------
    text, data
        The text, and its bytes.
    braces
        Where objects end.
    opened, closed
        Where the cells of each record begin and end.
    """

    text: bytes
    data: npt.NDArray[np.uint8]
    braces: Positions
    opened: Positions
    closed: Positions

    def along(self, names: Sequence[str], pattern: re.Match[bytes]) -> _Stretches | None:
        """Find the values in this order; None: there is something else between them."""
        before, between = pattern.groups()
        following = _NEXT.search(self.text)
        after = following[1] if following else b","
        cell, last = (np.searchsorted(self.braces, own) for own in (self.opened, self.closed))
        at = self.opened + 1
        edges = np.empty((len(at), len(names), 2), np.int64)
        present = np.empty((len(at), len(names)), bool)
        for place, name in enumerate(names):
            head = b'%s"%s"%s"' % (before, name.encode(), between)
            here = (cell < last) & self._is(head, at)
            end = self.braces[np.minimum(cell, len(self.braces) - 1)]
            starts = np.where(here, at + len(head), np.minimum(at, self.closed))
            ends = np.where(here, end - 1, starts)
            cell = cell + here
            whole = (self.data[end - 1] == _QUOTE) & (ends >= starts)
            whole &= np.where(cell == last, end + 1 == self.closed, self._is(after, end + 1))
            if not whole[here].all():
                return None
            at = np.where(here, end + 1 + len(after), at)
            edges[:, place, 0], edges[:, place, 1], present[:, place] = starts, ends, here
        if (cell < last).any():
            return None
        places = {name: place for place, name in enumerate(names)}
        return _Stretches(places, present, _stretches(self.text, edges))

    def _is(self, wanted: bytes, at: Positions) -> Flags:
        """Tell where the text goes on with these bytes, which have no zeros."""
        count = len(self.text) - len(wanted) + 1
        windows = np.ndarray((count,), f"S{len(wanted)}", self.text, strides=(1,))
        found = windows[np.minimum(at, count - 1)]
        if found.tobytes() == wanted * len(at):  # the usual, at a tenth of the price
            return np.ones(len(at), bool)
        same: Flags = found == wanted
        return same
