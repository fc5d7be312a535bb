"""Which slot of a Redis cluster each key is in, for whole columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from redis.crc import key_slot

if TYPE_CHECKING:
    from featkit.codecs.binary_columns import BinaryColumn, Places

_SLOTS = 2**14


def slots(keys: BinaryColumn) -> Places:
    """Return the slot of each key: CRC16 (XMODEM) of the key, or of what is between its braces.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from featkit.codecs.binary_columns import BinaryColumn
    >>> slots(BinaryColumn.of(pa.array([b"123456789"]))).tolist()
    [12739]
    """
    crc = np.zeros(len(keys), np.int64)
    braced = np.zeros(len(keys), np.bool_)
    for place in range(int(keys.lengths.max(initial=0))):
        rows = np.flatnonzero(keys.lengths > place)
        byte = keys.data[keys.starts[rows] + place]
        braced[rows] |= byte == ord("{")
        crc[rows] = (crc[rows] << 8 & 0xFFFF) ^ _TABLE[(crc[rows] >> 8) ^ byte]
    found = crc % _SLOTS
    # keys are numbers and names, of which few hold a brace by chance
    rows = np.flatnonzero(braced)
    found[rows] = [key_slot(key) for key in keys.take(rows).to_arrow().to_pylist()]
    return found


def _table() -> Places:
    crc = np.arange(256) << 8
    for _ in range(8):
        crc = (crc << 1 ^ np.where(crc & 0x8000, 0x1021, 0)) & 0xFFFF
    return crc


_TABLE = _table()
