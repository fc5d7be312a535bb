"""Columns of byte strings that lie scattered in one buffer, as wires deliver them.

A reply is one buffer; its values are slices of it. Nothing here makes an object per value: what is
read is gathered by numpy at all places at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy.typing as npt

    Bytes: TypeAlias = npt.NDArray[np.uint8]
    Places: TypeAlias = npt.NDArray[np.int64]
    Mask: TypeAlias = npt.NDArray[np.bool_]
    Words: TypeAlias = npt.NDArray[np.uint64]

PADDING = 16
"""Bytes behind the last one that may be read without meaning anything."""

_INLINE = 12  # bytes that a view of Arrow's holds in itself


@dataclass(frozen=True, slots=True, eq=False)
class BinaryColumn:
    """Byte strings, and nulls, as slices of one buffer.

    Attributes
    ----------
    data
        The buffer, with `PADDING` bytes behind the last slice.
    starts
        Where each value begins.
    lengths
        How long each value is; -1: null.

    Examples
    --------
    >>> column = BinaryColumn.of(pa.array([b"wind", None, b""]))
    >>> column.lengths.tolist(), column.to_arrow().to_pylist()
    ([4, -1, 0], [b'wind', None, b''])
    """

    data: Bytes
    starts: Places
    lengths: Places

    @classmethod
    def of(cls, array: pa.Array | pa.ChunkedArray) -> BinaryColumn:
        """Read an Arrow array of binary values."""
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        wide = array.cast(pa.large_binary())
        _, offsets, data = wide.buffers()
        bounds = np.frombuffer(offsets, np.int64, len(wide) + 1, wide.offset * 8)
        lengths = np.diff(bounds)
        if wide.null_count:
            lengths[pl.Series(wide.is_null()).to_numpy()] = -1
        return cls(padded(data or b""), bounds[:-1], lengths)

    @classmethod
    def whole(cls, data: bytes) -> BinaryColumn:
        """Take a buffer as the one value."""
        return cls(padded(data), np.zeros(1, np.int64), np.array([len(data)]))

    @classmethod
    def concat(cls, columns: Sequence[BinaryColumn]) -> BinaryColumn:
        """Put columns one below the other, with a buffer that holds those of all."""
        firsts = np.cumsum([0, *(len(own.data) for own in columns[:-1])])
        starts = [own.starts + first for own, first in zip(columns, firsts, strict=True)]
        return cls(
            np.concatenate([own.data for own in columns]),
            np.concatenate(starts),
            np.concatenate([own.lengths for own in columns]),
        )

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> Places:
        """Where each value ends; meaningless for nulls."""
        return self.starts + self.lengths

    def is_null(self) -> Mask:
        """Tell which values are null."""
        return self.lengths < 0

    def take(self, rows: Places | Mask) -> BinaryColumn:
        """Return these rows."""
        return BinaryColumn(self.data, self.starts[rows], self.lengths[rows])

    def at(self, rows: Places) -> BinaryColumn:
        """Return these rows; null where the number is negative."""
        if not len(self):
            return BinaryColumn(self.data, np.zeros_like(rows), np.full_like(rows, -1))
        taken = self.take(np.maximum(rows, 0))
        return BinaryColumn(self.data, taken.starts, np.where(rows < 0, -1, taken.lengths))

    def words(self, at: Places) -> Words:
        """Read the eight bytes at each place as a little-endian number."""
        return words(self.data, at)

    def to_arrow(self) -> pa.Array:
        """Return an Arrow array of its own (large binary), without the rest of the buffer."""
        valid = self.lengths >= 0
        mask = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
        views = _views(self)
        buffers = [mask, pa.py_buffer(views), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.binary_view(), len(self), buffers).cast(pa.large_binary())

    def compact(self) -> tuple[Bytes, Places]:
        """Return the bytes of all values one after the other, padded, and where each begins.

        The second array has one more place, the end of the last value.
        """
        if len(self) and (self.lengths >= 0).all() and (self.starts[1:] == self.ends[:-1]).all():
            first = self.starts[0]
            return self.data[first:], np.append(self.starts, self.ends[-1]) - first
        array = self.to_arrow()
        _, offsets, data = array.buffers()
        bounds = np.frombuffer(offsets, np.int64, len(array) + 1)
        return padded(data or b""), bounds


def binaries(values: Sequence[bytes | None]) -> pa.Array:
    """Make an Arrow array (large binary) of a few byte strings.

    Not by `pyarrow.array`, nor by `pyarrow.scalar`, which import pandas where it is installed, in a
    third of a second.

    Examples
    --------
    >>> binaries([b"wind", b""]).to_pylist()
    [b'wind', b'']
    """
    return pl.Series(values, dtype=pl.Binary()).to_arrow(compat_level=pl.CompatLevel.oldest())


def constant(value: bytes) -> pa.Scalar:
    """Make bytes an Arrow scalar (large binary), to be joined to each value of an array."""
    return binaries([value])[0]


def is_any(data: Bytes, wanted: bytes) -> Mask:
    """Tell which bytes are one of a few.

    They are compared with each: to look them up in a table, numpy makes eight bytes of every one.

    Examples
    --------
    >>> is_any(np.frombuffer(b"[1,2]", np.uint8), b"[]").tolist()
    [True, False, False, False, True]
    """
    found = np.zeros(len(data), np.bool_)
    for one in wanted:
        found |= data == one
    return found


def words(data: Bytes, at: Places) -> Words:
    """Read the eight bytes at each place of a padded buffer as a little-endian number."""
    # of a type without alignment, since numpy would copy an unaligned array of numbers first
    window = np.ndarray((len(data) - 7,), "V8", data, strides=(1,))
    return window[at].view("<u8")


def linked(first: Places, behind: Places) -> Mask:
    """Tell which parts of a buffer are reached, going from part to part.

    Where parts follow each other without a gap, and anything may look like one, those are real that
    are reached from a beginning. They are found in steps of 1, 2, 4, and so on.

    Parameters
    ----------
    first
        The parts to begin with.
    behind
        For each part the one behind it, which is a later one; negative: there is none.

    Examples
    --------
    >>> linked(np.array([0]), np.array([2, -1, 3, -1])).tolist()
    [True, False, True, True]
    """
    ends = behind < 0
    if len(first) == ends.sum() and (ends | (behind == np.arange(1, len(behind) + 1))).all():
        return np.ones(len(behind), np.bool_)  # nothing only looked like a part
    real = np.zeros(len(behind) + 1, np.bool_)  # the last place stands for all ends
    real[first] = True
    jump = np.append(np.where(ends, len(behind), behind), len(behind))
    while (jump[:-1] < len(behind)).any():
        real[jump[real]] = True
        jump = jump[jump]
    return real[:-1]


def padded(data: Any) -> Bytes:  # noqa: ANN401 - whatever has a buffer
    """Copy a buffer, with `PADDING` bytes behind."""
    found = np.frombuffer(data, np.uint8)
    room = np.zeros(len(found) + PADDING, np.uint8)
    room[: len(found)] = found
    return room


def _views(column: BinaryColumn) -> Bytes:
    """Write Arrow's views: length, then the bytes themselves, or four of them and the place."""
    lengths = np.maximum(column.lengths, 0)
    starts = np.where(lengths, column.starts, 0)
    first = column.words(starts)
    views = np.empty((len(column), 2), "<u8")
    short = lengths <= _INLINE
    # the low half of the first word is the length, the high half the first four bytes
    kept = np.where(short, _mask(lengths, 4), np.uint64(0xFFFF_FFFF))
    views[:, 0] = lengths.astype(np.uint64) | ((first & kept) << np.uint64(32))
    rest = column.words(starts + 4) & _mask(lengths - 4, 8)
    views[:, 1] = np.where(short, rest, starts.astype(np.uint64) << np.uint64(32))
    return views.view(np.uint8).ravel()


def _mask(lengths: Places, most: int) -> Words:
    """Return a mask for the lowest bytes of a word: so many, between none and `most`."""
    return _MASKS[np.clip(lengths, 0, most)]


_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
