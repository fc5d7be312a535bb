"""A spine made ready to be searched: sorted once, whatever the sources look like."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

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
        codes = places[keys.positions.fill_null(0).to_numpy()]
        moments = at.to_physical().fill_null(0).to_numpy()
        if not whole:
            codes, moments = codes[usable], moments[usable]
        self._ticks = _Ticks(moments, max(len(self.entities), 1))
        packed = self._ticks.packed(codes, moments)
        order = np.argsort(packed)
        # to sort again and to unpack takes a tenth of the time of putting three columns in order
        self._packed = np.sort(packed)
        self.rows = order if whole else np.flatnonzero(usable)[order]
        counts = np.bincount(codes, minlength=len(self.entities))
        self.codes = np.repeat(np.arange(len(counts)), counts)
        self.at = self._ticks.moments(self.codes, self._packed)

    def __len__(self) -> int:
        return len(self.rows)

    def parts(self, count: int) -> list[Spine]:
        """Cut the spine into parts of about as many slots, each with entities of its own."""
        ends = [len(self) * n // count for n in range(1, count + 1)]
        edges = sorted(
            {
                0,
                *(
                    int(np.searchsorted(self.codes, self.codes[end - 1], "right"))
                    for end in ends
                    if end
                ),
            }
        )
        return [self._part(*pair) for pair in pairwise(edges)] or [self]

    def _part(self, begin: int, end: int) -> Spine:
        part = copy(self)
        first, last = int(self.codes[begin]), int(self.codes[end - 1])
        part.entities = Entities(self.entities.unique[first : last + 1])
        part.rows, part.at = self.rows[begin:end], self.at[begin:end]
        part.codes = self.codes[begin:end] - first
        part._packed = part._ticks.packed(part.codes, part.at)  # noqa: SLF001 - its own class
        for known in ("starts", "_ends", "duration"):
            part.__dict__.pop(known, None)
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

    def first_slots(
        self, codes: npt.NDArray[np.int64], packed: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Find the first slot of the entity at or after each moment.

        Parameters
        ----------
        codes, packed
            As for `pack`, and its result.

        Returns
        -------
        index
            Those that have such a slot, ordered by slot.
        slots
            The slots, ascending.
        """
        order = np.argsort(packed)  # neighbours are found much faster one after the other
        slots = np.searchsorted(self._packed, packed[order])
        inside = slots < len(self)
        slots[~inside] = 0
        inside &= self.codes[slots] == codes[order]
        return order[inside], slots[inside]

    def slots_of(
        self, codes: npt.NDArray[np.int64], packed: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Find the first slot at or after each moment, of moments that are nearly ascending.

        Parameters and result are those of `slots_within`.
        """
        slots = np.searchsorted(self._packed, packed)
        inside = np.flatnonzero(slots < self._ends[codes])
        return slots[inside], inside

    def slots_within(
        self,
        codes: npt.NDArray[np.int64],
        packed: npt.NDArray[np.uint64],
        within: tuple[int, int],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Find the first slot at or after each moment, of moments that lie close together.

        Few slots of an entity lie in so little time, so that a row's own is found in a step or
        two, without sorting.

        Parameters
        ----------
        codes, packed
            As for `pack`, and its result.
        within
            The earliest and the latest of the moments, in microseconds.

        Returns
        -------
        slots
            Of those that have one, in the order of the moments.
        index
            Which ones these are.
        """
        low, high = (self._first_of_each(moment) for moment in within)
        slots = _between(self._packed, packed, low[codes], high[codes])
        inside = np.flatnonzero(slots < self._ends[codes])
        return slots[inside], inside

    def _first_of_each(self, moment: int) -> npt.NDArray[np.int64]:
        """Find for each entity the first slot at or after a moment, as if it had one."""
        codes = np.arange(len(self.entities))
        wanted = self._ticks.packed(codes, np.full(len(codes), moment))
        found: npt.NDArray[np.int64] = np.searchsorted(self._packed, wanted)
        return np.minimum(found, self._ends)

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        """For each entity, the slot after its last."""
        found: npt.NDArray[np.int64] = np.searchsorted(
            self.codes, np.arange(len(self.entities)), side="right"
        )
        return found

    @cached_property
    def duration(self) -> int:
        """Tell how much time the moments cover, in microseconds."""
        return int(self.at.max() - self.at.min()) if len(self) else 0

    def latest_rows(
        self, codes: npt.NDArray[np.int64], packed: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Find among ascending moments of entities the last one at or before each slot.

        Parameters
        ----------
        codes, packed
            As for `pack`, and its result, ascending.

        Returns
        -------
        index
            The moments that are the last before some slot.
        slots
            The first such slot of each, ascending.
        """
        begin = np.searchsorted(self._packed, packed[0])
        end = np.searchsorted(self.codes, codes[-1], side="right")
        found = np.searchsorted(packed, self._packed[begin:end], side="right") - 1
        first = np.ones(len(found), bool)
        np.not_equal(found[1:], found[:-1], out=first[1:])
        slots = np.flatnonzero(first)
        found = found[slots]
        slots += begin
        own = codes[found] == self.codes[slots]
        return found[own], slots[own]


def _between(
    ascending: npt.NDArray[np.uint64],
    wanted: npt.NDArray[np.uint64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Find the first place with at least each number, where it lies from `low` to `high`."""
    found = low
    open_ = np.flatnonzero(low < high)
    low, high, wanted = low[open_], high[open_], wanted[open_]
    while len(open_):
        middle = (low + high) >> 1
        after = ascending[middle] < wanted
        low = np.where(after, middle + 1, low)
        high = np.where(after, high, middle)
        found[open_] = low
        left = low < high
        open_, low, high, wanted = open_[left], low[left], high[left], wanted[left]
    return found


class _Ticks:
    """Moments as small whole numbers, so that one number holds an entity and a moment."""

    def __init__(self, moments: npt.NDArray[np.int64], entities: int) -> None:
        self._first = int(moments.min()) if len(moments) else 0
        span = int(moments.max()) - self._first if len(moments) else 0
        self._width, self._known = span + 2, None
        if self._width * entities > _PACKED:  # then by their place among the moments that occur
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

    def moments(
        self, codes: npt.NDArray[np.int64], packed: npt.NDArray[np.uint64]
    ) -> npt.NDArray[np.int64]:
        """Unpack moments that are among those that were given first."""
        ticks = (packed - codes.view(np.uint64) * np.uint64(self._width)).view(np.int64)
        return ticks + self._first if self._known is None else self._known[ticks]


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
        numbers = values.cast(pl.Int64).fill_null(self.lowest).to_numpy()
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
        if not self._names:
            return np.zeros(keys.height, np.int64)
        if self._table is not None:
            return self._table.look_up(keys.to_series())
        runs = _runs(keys)
        distinct = keys if runs is None else keys[runs]
        found = distinct.select(map(without_sign_of_zero, distinct)).join(
            self._codes, on=self._names, how="left", maintain_order="left"
        )
        codes: npt.NDArray[np.int64] = found["code"].fill_null(-1).to_numpy()
        if runs is not None:
            codes = np.repeat(codes, np.diff(runs, append=keys.height))
        return codes


def without_sign_of_zero(key: pl.Series) -> pl.Series:
    """Make one key of 0.0 and -0.0, which are equal and yet not the same bits."""
    return key.set(key == 0, 0.0) if key.dtype.is_float() else key


def _runs(keys: pl.DataFrame) -> npt.NDArray[np.int64] | None:
    """Find where runs of equal keys begin, if that leaves few rows to look up; else None."""
    changes = keys.select(
        pl.any_horizontal(pl.all().ne_missing(pl.all().shift())).alias("change")
    ).to_series()
    if changes.sum() * 4 > keys.height:
        return None
    begin = changes.to_numpy().copy()
    begin[:1] = True
    return np.flatnonzero(begin)
