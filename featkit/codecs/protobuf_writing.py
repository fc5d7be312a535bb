"""Protobuf's wire format, written for a whole column at once; its twin `protobuf` reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from featkit.codecs.binary_columns import BinaryColumn, constant
from featkit.codecs.protobuf import DELIMITED, LONGEST, tag

if TYPE_CHECKING:
    import numpy.typing as npt

    from featkit.codecs.binary_columns import Bytes, Words


def field(number: int, payload: bytes) -> bytes:
    r"""Write one field that is bytes.

    Examples
    --------
    >>> field(1, b"hi")
    b'\n\x02hi'
    """
    return tag(number, DELIMITED) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def varints(values: Words) -> pa.Array:
    r"""Write each number as a varint, as an Arrow array (large binary).

    Examples
    --------
    >>> varints(np.array([5, 300], np.uint64)).to_pylist()
    [b'\x05', b'\xac\x02']
    """
    shifts = np.arange(0, 7 * LONGEST, 7, dtype=np.uint64)
    digits = values[:, None] >> shifts & np.uint64(0x7F)
    sizes = np.maximum(1, LONGEST - np.argmax(digits[:, ::-1] > 0, axis=1))
    sizes = np.where(values == 0, 1, sizes)
    places = np.arange(LONGEST)
    kept = places < sizes[:, None]
    more = places < sizes[:, None] - 1
    data = (digits | np.where(more, np.uint64(0x80), np.uint64(0)))[kept].astype(np.uint8)
    return _binaries(data, np.cumsum(np.concatenate([[0], sizes])))


def fixed(values: npt.NDArray[Any]) -> pa.Array:
    """Write each number in as many bytes as it has, as an Arrow array (large binary)."""
    little = values.astype(values.dtype.newbyteorder("<"))
    width = little.dtype.itemsize
    return _binaries(little.view(np.uint8), np.arange(0, len(values) * width + 1, width))


def delimited(values: pa.Array) -> pa.Array:
    """Write each value (large binary) with its length before it."""
    lengths = pl.Series(pc.binary_length(values)).to_numpy().astype(np.uint64)
    return joined(varints(lengths), values)


def tagged(number: int, values: pa.Array) -> pa.Array:
    r"""Write each value (large binary) as a field that is bytes.

    Examples
    --------
    >>> tagged(1, pa.array([b"hi"], pa.large_binary())).to_pylist()
    [b'\n\x02hi']
    """
    return joined(tag(number, DELIMITED), delimited(values))


def joined(*parts: pa.Array | bytes) -> pa.Array:
    """Write arrays (large binary), and bytes that are the same for all, one after the other."""
    each = [constant(part) if isinstance(part, bytes) else part for part in parts]
    return pc.binary_join_element_wise(*each, constant(b""))


def concatenated(values: pa.Array) -> bytes:
    """Return all values of an array (large binary) one after the other."""
    data, bounds = BinaryColumn.of(values).compact()
    return data[: bounds[-1]].tobytes()


def _binaries(data: Bytes, bounds: npt.NDArray[Any]) -> pa.Array:
    buffers = [None, pa.py_buffer(bounds.astype(np.int64)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(bounds) - 1, buffers)
