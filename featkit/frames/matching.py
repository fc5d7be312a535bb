"""Finding the rows of keys by their values, in some rows of a plan at a time."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import polars as pl

from featkit.cache.hash_index import HashIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    Hashing = Callable[[pl.DataFrame, int], pl.Series]


def _hashed(keys: pl.DataFrame, seed: int) -> pl.Series:
    return keys.to_series().hash(seed) if keys.width == 1 else keys.hash_rows(seed)


class KeyRows:
    """Distinct keys, and in which row each of them is.

    It is made once, and asked for some rows after the others, from several threads: a join by
    polars would look at all keys anew each time. Null is equal to null, NaN to NaN, -0.0 to 0.0,
    as in a grouping by polars.

    Parameters
    ----------
    keys
        One row per key, one column per part of it.
    hashing
        Makes 64-bit hashes of keys, with a seed.

    Examples
    --------
    >>> rows = KeyRows(pl.DataFrame({"shop": ["b", "a", None]}))
    >>> rows.find(pl.Series(["a", "c", None])).to_list()
    [1, None, 2]
    """

    def __init__(self, keys: pl.DataFrame, *, hashing: Hashing = _hashed) -> None:
        self._keys = keys.rechunk()  # from one piece rows are taken ten times as fast
        self._hashing = hashing
        for seed in count():  # the first that tells all keys apart, as nearly every one does
            self._seed, self._index = seed, HashIndex()
            self._index.put(self._codes(self._keys).to_numpy())
            if self._index.live == keys.height:
                break

    def _codes(self, keys: pl.DataFrame) -> pl.Series:
        return self._hashing(keys, self._seed).reinterpret(signed=True)

    def find(self, keys: pl.Series) -> pl.Series:
        """Return the row of each key (UInt32), null where there is none.

        Parameters
        ----------
        keys
            The keys; those of several parts as structs.
        """
        parts = keys.struct.unnest() if self._keys.width > 1 else keys.to_frame()
        found = pl.Series(self._index.find(self._codes(parts).to_numpy()))
        rows = found.cast(pl.UInt32, strict=False)  # -1, for none, becomes null
        for own, held in zip(parts.get_columns(), self._keys.get_columns(), strict=True):
            same = held.gather(rows).eq_missing(own)
            if not same.all():  # a hash can be that of another key
                rows = rows.set(~same, None)
        return rows.alias(keys.name)
