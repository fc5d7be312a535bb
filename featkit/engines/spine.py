"""A spine made ready to be searched: sorted once, whatever the sources look like."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.engines.order import order_of
from featkit.engines.threads import at_once, even, in_slices

if TYPE_CHECKING:
    import numpy.typing as npt

    from featkit.keys import EntityKeys

_PACKED = 2**64  # what a key and a time must fit in together
_TABLE = 2**24  # whole numbers up to which their codes are looked up in a table


class Spine:
    """Moments of entities, sorted by entity and moment: its *slots*.

    Parameters
    ----------
    keys
        The entities of the rows; one that is null has no slot.
    at
        The moments, UTC in microseconds; a row whose moment is null has no slot.

    Attributes
    ----------
    rows
        For each slot, the number of its row.
    codes, at
        For each slot, the number of its entity among the distinct ones, and its moment.
    """

    def __init__(self, keys: EntityKeys, at: pl.Series) -> None:
        self.height = len(at)
        places, unique = _in_order(keys.unique)
        self.entities = Entities(unique)
        usable = (keys.positions.is_not_null() & at.is_not_null()).to_numpy()
        whole = bool(usable.all())
        positions = keys.positions.fill_null(0).to_numpy()
        moments = at.to_physical().fill_null(0).to_numpy()
        if not whole:
            positions, moments = positions[usable], moments[usable]
        self._ticks = Ticks(moments, len(self.entities))
        packed = np.empty(len(moments), np.uint64)

        def pack(own: slice) -> None:
            packed[own] = self._ticks.packed(places[positions[own]], moments[own])

        in_slices(pack, even(len(packed)))
        # to sort again takes a fraction of the time of putting columns in order
        order, ascending = at_once(partial(order_of, packed), partial(np.sort, packed))
        self._packed: npt.NDArray[np.uint64] = ascending
        self.rows = np.arange(len(packed)) if order is None else order
        if not whole:
            self.rows = np.flatnonzero(usable)[self.rows]
        self.codes, self.at = np.empty((2, len(packed)), np.int64)

        def unpack(own: slice) -> None:
            self.codes[own], self.at[own] = self._ticks.unpacked(self._packed[own])

        in_slices(unpack, even(len(packed)))

    def __len__(self) -> int:
        return len(self.rows)

    def parts(self, count: int) -> list[Spine]:
        """Cut the spine into parts of about as many slots, each with entities of its own."""
        edges = sorted({0, *(self._edge(len(self) * n // count) for n in range(1, count + 1))})
        return [self._part(*pair) for pair in pairwise(edges)] or [self]

    def _part(self, begin: int, end: int) -> Spine:
        part = copy(self)
        first, last = int(self.codes[begin]), int(self.codes[end - 1])
        part.entities = Entities(self.entities.unique[first : last + 1])
        part.rows, part.at = self.rows[begin:end], self.at[begin:end]
        part.codes = self.codes[begin:end] - first
        part._packed = part._ticks.packed(part.codes, part.at)  # noqa: SLF001 - its own class
        part.__dict__.pop("starts", None)
        return part

    @cached_property
    def starts(self) -> npt.NDArray[np.bool_]:
        """Whether a slot is the first of its entity."""
        first = np.ones(len(self), bool)
        np.not_equal(self.codes[1:], self.codes[:-1], out=first[1:])
        return first

    def pack(
        self, codes: npt.NDArray[np.int64], known: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.uint64]:
        """Make one number of each entity and moment, in the order of the slots.

        Parameters
        ----------
        codes
            Entities, none of them -1.
        known
            Moments in microseconds; None: before all moments.
        """
        return self._ticks.packed(codes, known)

    def exact(self, moments: npt.NDArray[np.int64]) -> bool:
        """Tell whether moments stay in their order when packed, as far as they can matter.

        Those before the first slot are alike to it, and so are those between two slots if there is
        no room for every moment.
        """
        return self._ticks.exact(moments)

    def edges(self) -> list[int]:
        """Cut the slots into parts of about one size, between entities; see `threads.in_slices`."""
        return [self._edge(place) for place in even(len(self))]

    def _edge(self, place: int) -> int:
        """Find the end of the entity that the slot before a place is of."""
        if not 0 < place < len(self):
            return place
        return int(np.searchsorted(self.codes, self.codes[place - 1], "right"))

    def last_before(
        self, codes: npt.NDArray[np.int64], packed: npt.NDArray[np.uint64], within: tuple[int, int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Find among ascending moments of entities the last one at or before each slot.

        Parameters
        ----------
        codes
            The lowest and the highest of the entities.
        packed
            As made by `pack`, ascending.
        within
            The earliest and the latest of the moments, in microseconds.

        Returns
        -------
        index
            The moments that are the last before some slot; maybe of an entity before the slot's.
        slots
            The first such slot of each, ascending.
        """
        slots = self._concerned(codes, within)
        if len(packed) < len(slots):
            index, slots = self._by_moment(packed)
        else:
            index = np.searchsorted(packed, self._packed[slots], side="right") - 1
        first = np.ones(len(index), bool)
        np.not_equal(index[1:], index[:-1], out=first[1:])
        if not first.all():
            index, slots = index[first], slots[first]
        return index, slots

    def _concerned(
        self, codes: npt.NDArray[np.int64], within: tuple[int, int]
    ) -> npt.NDArray[np.int64]:
        """Find the slots at which some of these moments may be the last ones for the first time."""
        begin = np.searchsorted(self.codes, codes[0], "left")
        end = np.searchsorted(self.codes, codes[1], "right")
        at = self.at[begin:end]
        concerned = at >= within[0]
        later = at[:-1] >= within[1]  # all were known at the slot before
        later &= ~self.starts[begin + 1 : end]
        concerned[1:] &= ~later
        slots: npt.NDArray[np.int64] = np.flatnonzero(concerned)
        slots += begin
        return slots

    def _by_moment(
        self, packed: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Find the slots the other way round, which is faster where they are many."""
        slots: npt.NDArray[np.int64] = np.searchsorted(self._packed, packed)
        last = np.ones(len(slots), bool)
        np.not_equal(slots[1:], slots[:-1], out=last[:-1])
        last &= slots < len(self)
        index: npt.NDArray[np.int64] = np.flatnonzero(last)
        return index, slots[index]


class Ticks:
    """Moments as small whole numbers, so that one number holds an entity and a moment."""

    def __init__(self, moments: npt.NDArray[np.int64], entities: int) -> None:
        self._first = int(moments.min()) if len(moments) else 0
        span = int(moments.max()) - self._first if len(moments) else 0
        self._width, self._known = span + 2, None
        if (
            self._width * (entities + 1) > _PACKED
        ):  # then by their place among the moments that occur
            self._known = np.unique(moments)
            self._width = len(self._known) + 1

    def packed(
        self, codes: npt.NDArray[np.int64], moments: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[np.uint64]:
        """Pack entities and moments; None: before all moments."""
        packed = codes.astype(np.uint64)
        packed *= np.uint64(self._width)
        if moments is None:
            return packed
        if self._known is not None:
            ticks = np.searchsorted(self._known, moments)
        else:
            ticks = np.clip(moments, self._first, self._first + self._width - 1)
            ticks -= self._first
        packed += ticks.view(np.uint64)
        return packed

    def exact(self, moments: npt.NDArray[np.int64]) -> bool:
        """Tell whether none of these is before the first moment or between two of them."""
        return self._known is None and (not len(moments) or int(moments.min()) >= self._first)

    def unpacked(
        self, packed: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Unpack entities, and moments that are among those that were given first."""
        codes = packed // np.uint64(self._width)
        ticks = (packed - codes * np.uint64(self._width)).view(np.int64)
        moments = ticks + self._first if self._known is None else self._known[ticks]
        return codes.view(np.int64), moments


def _in_order(unique: pl.DataFrame) -> tuple[npt.NDArray[np.int64], pl.DataFrame]:
    """Sort entities, as files are that are sorted; return the new place of each, too."""
    if not unique.height or not unique.width:
        return np.zeros(max(unique.height, 1), np.int64), unique
    order = unique.select(pl.arg_sort_by(*unique.columns)).to_series().to_numpy()
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places, unique[order]


@dataclass(frozen=True, slots=True)
class _Table:
    """The codes of whole numbers, by their distance from the lowest."""

    lowest: int
    codes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: pl.Series) -> _Table | None:
        """Make the table where it stays small; else None."""
        if not values.dtype.is_integer() or not len(values):
            return None
        lowest, highest = int(values.min()), int(values.max())  # type: ignore[arg-type] # whole numbers
        if highest - lowest > max(_TABLE, 4 * len(values)) or not -(2**62) < lowest < 2**62:
            return None
        codes = np.full(highest - lowest + 3, -1, np.int64)  # with one more at both ends
        codes[values.cast(pl.Int64).to_numpy() - (lowest - 1)] = np.arange(len(values))
        return cls(lowest - 1, codes)

    def look_up(self, values: pl.Series) -> npt.NDArray[np.int64]:
        """Find the code of each value, -1 where it has none."""
        if values.dtype == pl.UInt64:
            values = values.clip(upper_bound=2**63 - 1)
        whole = values.cast(pl.Int64)
        numbers = (whole.fill_null(self.lowest) if whole.null_count() else whole).to_numpy()
        highest = self.lowest + len(self.codes) - 1
        if len(numbers) and (numbers.min() < self.lowest or numbers.max() > highest):
            numbers = np.clip(numbers, self.lowest, highest)
        found: npt.NDArray[np.int64] = self.codes[numbers - self.lowest]
        return found


class Entities:
    """The distinct entities of a spine, by which rows of sources are told apart.

    Parameters
    ----------
    unique
        One row per entity, one column per join key; no nulls.
    """

    def __init__(self, unique: pl.DataFrame) -> None:
        self.unique = unique
        self._names = [f"k{n}" for n in range(unique.width)]
        self._table = _Table.of(unique.to_series()) if unique.width == 1 else None
        self._codes = pl.DataFrame(
            [column.alias(name) for column, name in zip(unique, self._names, strict=True)]
        ).select(
            pl.all(),
            pl.int_range(pl.len(), dtype=pl.Int64).alias("code"),
        )

    def __len__(self) -> int:
        return self.unique.height

    def codes(self, keys: pl.DataFrame) -> npt.NDArray[np.int64]:
        """Tell the numbers of the entities of rows; -1 for those that are not among these.

        Parameters
        ----------
        keys
            The columns ``k0``, ``k1``, ..., in the dtypes of the entities.
        """
        if self._table is not None or (runs := self.runs(keys)) is None:
            return self._look_up(keys)
        begins, codes = runs
        return np.repeat(codes, np.diff(begins, append=keys.height))

    def runs(
        self, keys: pl.DataFrame
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """Find where runs of equal keys begin, and the number of each one's entity, as `codes`.

        None where that leaves not much less to look up than all rows.
        """
        begins = _runs(keys) if self._names and keys.height else None
        return None if begins is None else (begins, self._look_up(keys[begins]))

    def _look_up(self, keys: pl.DataFrame) -> npt.NDArray[np.int64]:
        if not self._names:
            return np.zeros(keys.height, np.int64)
        if self._table is not None:
            return self._table.look_up(keys.to_series())
        found = keys.select(map(without_sign_of_zero, keys)).join(
            self._codes, on=self._names, how="left", maintain_order="left"
        )
        codes: npt.NDArray[np.int64] = found["code"].fill_null(-1).to_numpy()
        return codes


def without_sign_of_zero(key: pl.Series) -> pl.Series:
    """Make one key of 0.0 and -0.0, which are equal and yet not the same bits."""
    return key.set(key == 0, 0.0) if key.dtype.is_float() else key


def _runs(keys: pl.DataFrame) -> npt.NDArray[np.int64] | None:
    """Find where runs of equal keys begin, if they are at most half as many as the rows."""
    first = keys.to_series()
    begin = np.ones(keys.height, bool)
    if keys.width == 1 and first.dtype.is_integer() and not first.null_count():
        numbers = first.to_numpy()
        np.not_equal(numbers[1:], numbers[:-1], out=begin[1:])
    else:
        before = pl.all().shift()
        changes = keys.select(pl.any_horizontal(pl.all().ne_missing(before)).alias("change"))
        begin[1:] = changes.to_series().to_numpy()[1:]
    return np.flatnonzero(begin) if 2 * np.count_nonzero(begin) <= keys.height else None
