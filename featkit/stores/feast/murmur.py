"""MurmurHash3 of whole columns: how Feast names fields and rows in its stores.

After Austin Appleby's public-domain MurmurHash3, with a seed of 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from featkit.codecs.binary_columns import BinaryColumn, Places, Words

T = TypeVar("T", np.uint32, np.uint64)

_C1_32, _C2_32 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_BELOW = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)


def murmur3_32(column: BinaryColumn) -> npt.NDArray[np.uint32]:
    """Hash each value to 32 bits (x86 variant, unsigned)."""
    h = np.zeros(len(column), np.uint32)
    whole = column.lengths // 4
    for block in range(int(whole.max(initial=0))):
        rows = np.flatnonzero(whole > block)
        k = column.words(column.starts[rows] + 4 * block).astype(np.uint32)
        h[rows] = _rotated(h[rows] ^ _mixed_32(k), 13) * np.uint32(5) + np.uint32(0xE6546B64)
    rest = column.words(column.starts + 4 * whole) & _BELOW[column.lengths % 4]
    h ^= _mixed_32(rest.astype(np.uint32))
    h ^= column.lengths.astype(np.uint32)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def _mixed_32(k: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return _rotated(k * _C1_32, 15) * _C2_32


def murmur3_128(column: BinaryColumn) -> Words:
    """Hash each value to 128 bits (x64 variant), as rows of two words."""
    h1 = np.zeros(len(column), np.uint64)
    h2 = np.zeros(len(column), np.uint64)
    whole = column.lengths // 16
    for block in range(int(whole.max(initial=0))):
        rows = np.flatnonzero(whole > block)
        at = column.starts[rows] + 16 * block
        one, two = h1[rows] ^ _first(column.words(at)), h2[rows]
        one = (_rotated(one, 27) + two) * np.uint64(5) + np.uint64(0x52DCE729)
        two ^= _second(column.words(at + 8))
        h1[rows] = one
        h2[rows] = (_rotated(two, 31) + one) * np.uint64(5) + np.uint64(0x38495AB5)
    at, left = column.starts + 16 * whole, column.lengths % 16
    h2 ^= _second(column.words(at + 8) & _bytes_below(left - 8))
    h1 ^= _first(column.words(at) & _bytes_below(left))
    size = column.lengths.astype(np.uint64)
    h1, h2 = h1 ^ size, h2 ^ size
    h1 += h2
    h2 += h1
    h1, h2 = _finished(h1), _finished(h2)
    h1 += h2
    h2 += h1
    return np.column_stack([h1, h2])


def _first(k: Words) -> Words:
    return _rotated(k * _C1, 31) * _C2


def _second(k: Words) -> Words:
    return _rotated(k * _C2, 33) * _C1


def _bytes_below(count: Places) -> Words:
    return _BELOW[np.clip(count, 0, 8)]


def _rotated(values: npt.NDArray[T], by: int) -> npt.NDArray[T]:
    left: npt.NDArray[T] = np.left_shift(values, by, dtype=values.dtype)
    return left | np.right_shift(values, 8 * values.itemsize - by, dtype=values.dtype)


def _finished(h: Words) -> Words:
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))
