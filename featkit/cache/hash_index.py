"""A hash table from 64-bit codes to rows, in numpy: kept between lookups, and probed all at once.

`pandas.Index.get_indexer` is as fast, but it cannot take more rows in, and a user of polars would
have to wait for pandas to be imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Codes = npt.NDArray[np.int64]
    Rows = npt.NDArray[np.int32]
    Slots = npt.NDArray[np.int64]

ABSENT = -1
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_SMALLEST = 6  # bits of the smallest table
_SPARSE = 4  # slots for each code at least, so that few collide: looking again costs most
_RUN = 64  # codes, below which it does not matter in which order they are asked for


class HashIndex:
    """Rows by code; a code that comes again takes the place of the one before.

    Examples
    --------
    >>> index = HashIndex()
    >>> index.put(np.array([7, 9, 7]))
    >>> index.find(np.array([9, 7, 8])).tolist()
    [1, 2, -1]
    """

    def __init__(self) -> None:
        self._bits = _SMALLEST
        self._slots = np.full(1 << self._bits, ABSENT, np.int32)
        self._codes = np.empty(0, np.int64)
        self._height = 0
        self._taken = 0

    @property
    def height(self) -> int:
        """How many rows were put, the replaced ones among them."""
        return self._height

    @property
    def live(self) -> int:
        """How many codes it knows."""
        return self._taken

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._slots.nbytes + self._codes.nbytes

    def copy(self) -> HashIndex:
        """Return another one that knows the same."""
        made = HashIndex()
        made._bits, made._slots = self._bits, self._slots.copy()
        made._codes = self._codes[: self._height].copy()
        made._height, made._taken = self._height, self._taken
        return made

    def find(self, codes: Codes) -> Rows:
        """Return the row of each code, -1 where there is none."""
        return self._probe(codes)[1]

    def run(self, codes: Codes) -> slice | None:
        """Return the rows of codes that are asked for in the order in which they were put.

        That is how a frame asks that is looked up once more. None: they are not, or are few.
        """
        if len(codes) < _RUN or self._taken != self._height:
            return None
        first = int(self._probe(codes[:1])[1][0])
        last = first + len(codes)
        if first == ABSENT or last > self._height or self._codes[last - 1] != codes[-1]:
            return None
        same = np.array_equal(self._codes[first:last], codes)
        return slice(first, last) if same else None

    def rows(self) -> Rows:
        """Return the rows that were not replaced, in order."""
        return np.sort(self._slots[self._slots != ABSENT])

    def put(self, codes: Codes) -> None:
        """Add a row for each code, after those that are there."""
        first, count, empty = self._height, len(codes), not self._taken
        self._remember(codes)
        rows = np.arange(first, first + count, dtype=np.int32)
        if empty:
            self._insert(rows)
            return
        slots, held = self._probe(codes)
        known = held != ABSENT
        # where a code is there twice the later row stays, as numpy assigns in order
        self._slots[slots[known]] = rows[known]
        self._insert(rows[~known])

    def _remember(self, codes: Codes) -> None:
        wanted = self._height + len(codes)
        if wanted > len(self._codes):
            grown = np.empty(max(wanted, 2 * self._height), np.int64)
            grown[: self._height] = self._codes[: self._height]
            self._codes = grown
        self._codes[self._height : wanted] = codes
        self._height = wanted
        bits = max(_SMALLEST, int(_SPARSE * (self._taken + len(codes)) - 1).bit_length())
        if bits > self._bits:
            rows = self.rows()
            self._bits, self._taken = bits, 0
            self._slots = np.full(1 << bits, ABSENT, np.int32)
            self._insert(rows)

    def _insert(self, rows: Rows) -> None:
        """Give each row a slot; rows whose codes are equal get one, and the last row has it."""
        slots, mask = self._home(self._codes[rows]), (1 << self._bits) - 1
        while len(rows):
            free = self._slots[slots] == ABSENT
            self._slots[slots[free]] = rows[free]
            holders = self._slots[slots]
            same = self._codes[holders] == self._codes[rows]
            self._taken += int((holders == rows).sum())
            rows, slots = rows[~same], (slots[~same] + 1) & mask

    def _probe(self, codes: Codes) -> tuple[Slots, Rows]:
        """Return for each code the slot where it is or would be, and its row."""
        slots, mask = self._home(codes), (1 << self._bits) - 1
        rows = self._slots.take(slots)
        todo = np.flatnonzero(self._others(rows, codes))
        while len(todo):
            nearby = (slots[todo] + 1) & mask
            held = self._slots.take(nearby)
            slots[todo], rows[todo] = nearby, held
            todo = todo[self._others(held, codes[todo])]
        return slots, rows

    def _others(self, rows: Rows, codes: Codes) -> npt.NDArray[Any]:
        """Tell which slots are taken by other codes."""
        if not self._height:
            return np.zeros(len(rows), bool)
        others: npt.NDArray[np.bool_] = self._codes.take(rows, mode="wrap") != codes
        others &= rows != ABSENT
        return others

    def _home(self, codes: Codes) -> Slots:
        mixed = codes.view(np.uint64) * _FIRST
        mixed ^= mixed >> np.uint64(32)
        mixed *= _SECOND
        mixed >>= np.uint64(64 - self._bits)
        slots: Slots = mixed.view(np.int64)
        return slots
