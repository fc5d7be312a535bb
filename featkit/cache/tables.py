"""What is kept of one view in memory: families of features, each a frame with a hash index.

Features that came together are one family. A feature is in one family only, so that a lookup
probes as few indexes as there were kinds of questions; where a segment holds a part of a family,
the family is split, which copies no value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.cache.hash_index import ABSENT, HashIndex
from featkit.cache.segments import Segment, codes_of, is_exact, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from featkit.columns import FeatureColumns

    Longs = npt.NDArray[np.int64]
    Rows = npt.NDArray[np.int32]
    Hashing = Callable[[pl.DataFrame], Longs]

_DEAD = 0.3  # share of replaced rows from which on they are thrown out
_FEW = 1024  # rows, below which nothing is worth that
LONG_AGO = -(2**62)  # microseconds


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What a family knows of the keys of a question.

    Attributes
    ----------
    names
        Which features it tells.
    rows
        For each key its row; -1: none.
    at, end
        For each key when it was fetched and until when it is good, in microseconds since 1970;
        long ago where there is no row.
    segment
        Where the rows are; it does not change.
    run
        The rows, where they lie one after the other; None: they do not.
    """

    names: tuple[str, ...]
    rows: Rows
    at: Longs
    end: Longs
    segment: Segment
    run: slice | None = None

    def columns(self, places: Longs | None) -> FeatureColumns:
        """Return the values for the keys at these places, all of which have a row."""
        if places is not None:
            return self.segment.columns(self.rows[places], self.names)
        # a few rows that are a view of many would keep all of these in memory
        if self.run is not None and 2 * len(self.rows) >= self.segment.height:
            return self.segment.columns(self.run, self.names)
        return self.segment.columns(self.rows, self.names)


class Family:
    """Features that are known of the same keys."""

    def __init__(
        self,
        features: tuple[str, ...],
        pieces: Sequence[Segment] = (),
        index: HashIndex | None = None,
        *,
        hashing: Hashing | None = None,
    ) -> None:
        self.features = features
        self._hashing = hashing
        self._pieces = list(pieces)
        self._index = index or HashIndex()
        self._whole: Segment | None = None

    @property
    def segment(self) -> Segment:
        """All rows, the replaced ones among them."""
        if self._whole is None:
            self._whole = joined(self._pieces)
        return self._whole

    @property
    def live(self) -> int:
        """How many keys it knows."""
        return self._index.live

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._index.nbytes + sum(int(one.frame.estimated_size()) for one in self._pieces)

    def add(self, segment: Segment) -> None:
        """Take rows in; of a key's rows the one fetched last stays."""
        codes = self._codes(segment.key_frame)
        if self._pieces:
            segment, codes = self._later(segment, codes)
            if not segment.height:
                return
            segment = _cast(segment, self._pieces[0])
            self._pieces = [_cast(piece, segment) for piece in self._pieces]
            if segment.value_dtypes != self._pieces[0].value_dtypes:  # the store changed its mind
                self._pieces, self._index = [], HashIndex()
        self._index.put(codes)
        self._pieces.append(segment)
        while len(self._pieces) > 1 and self._pieces[-1].height * 2 >= self._pieces[-2].height:
            last = [self._pieces.pop(), self._pieces.pop()][::-1]
            self._pieces.append(joined(last).rechunked())
        self._whole = None
        dead = self._index.height - self._index.live
        if dead > _FEW and dead > _DEAD * self._index.height:
            self.keep(self.living())

    def _later(self, segment: Segment, codes: Longs) -> tuple[Segment, Longs]:
        """Leave out the rows that are known as they were later."""
        rows = self._index.find(codes)
        known = np.flatnonzero(rows != ABSENT)
        if not len(known):
            return segment, codes
        held = _gather(self.segment, "at", rows[known])
        older = segment.frame["at"].to_numpy()[known] < held
        if not older.any():
            return segment, codes
        mask = np.ones(len(codes), bool)
        mask[known[older]] = False
        return segment.rows(pl.Series(mask)), codes[mask]

    def living(self) -> Segment:
        """Return the rows that were not replaced."""
        if self._index.live == self.segment.height:
            return self.segment
        rows = pl.Series(self._index.rows().view(np.uint32))
        return replace(self.segment, frame=self.segment.frame[rows])

    def keep(self, segment: Segment) -> None:
        """Forget everything but these rows."""
        self._pieces, self._index = [segment], HashIndex()
        self._index.put(self._codes(segment.key_frame))
        self._whole = None

    def split(self, names: Sequence[str]) -> tuple[Family, Family]:
        """Return the family of these features and that of the others, of the same rows."""
        return self._with(names), self._with([n for n in self.features if n not in names])

    def _with(self, names: Sequence[str]) -> Family:
        pieces = [piece.only(names) for piece in self._pieces]
        return Family(tuple(names), pieces, self._index.copy(), hashing=self._hashing)

    def find(self, keys: pl.DataFrame, names: tuple[str, ...]) -> Hits:
        """Look for the rows of keys."""
        codes = self._codes(keys)
        exact = self._hashing is None and is_exact(keys)
        whole, run = self.segment, self._index.run(codes)
        if run is not None and (exact or _is_run(keys, whole, run)):
            rows = np.arange(run.start, run.stop, dtype=np.int32)
            at, end = (_numbers(whole.frame[name][run]) for name in ("at", "end"))
            return Hits(names, rows, at, end, whole, run)
        rows = self._index.find(codes)
        known = np.flatnonzero(rows != ABSENT)
        if len(known) and not exact:
            known = _verified(keys, whole, rows, known)
        if len(known) == len(rows):
            at, end = _gather(whole, "at", rows), _gather(whole, "end", rows)
            return Hits(names, rows, at, end, whole)
        found = rows[known]
        rows = np.full(len(codes), ABSENT, np.int32)
        at, end = np.full((2, len(codes)), LONG_AGO, np.int64)
        rows[known], at[known] = found, _gather(whole, "at", found)
        end[known] = _gather(whole, "end", found)
        return Hits(names, rows, at, end, whole)

    def _codes(self, keys: pl.DataFrame) -> Longs:
        return codes_of(keys) if self._hashing is None else self._hashing(keys)


class Table:
    """What is kept of one view in memory.

    Parameters
    ----------
    hashing
        Makes the codes of keys, which several may share; None: as usual.
    """

    def __init__(self, hashing: Hashing | None = None) -> None:
        self.families: list[Family] = []
        self._gone: Segment | None = None
        self.gone_until = LONG_AGO  # when keys were taken away last
        self._hashing = hashing

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return sum(family.nbytes for family in self.families)

    @property
    def rows(self) -> int:
        """How many keys are known, at least in part."""
        return max((family.live for family in self.families), default=0)

    def add(self, segment: Segment) -> None:
        """Take rows in, or take rows out where the segment says that they are gone."""
        if not segment.features:
            self._gone = segment if self._gone is None else _newest([self._gone, segment])
            self.gone_until = max(self.gone_until, segment.fetched[1])
            for family in self.families:
                family.keep(self._remaining(family.living()))
            self.families = [family for family in self.families if family.live]
            return
        segment = self._remaining(segment)
        if not segment.height:
            return
        wanted = set(segment.features)
        for family in list(self.families):
            shared = [name for name in family.features if name in wanted]
            if not shared:
                continue
            own = family
            if len(shared) < len(family.features):
                place = self.families.index(family)
                own, rest = family.split(shared)
                self.families[place : place + 1] = [own, rest]
            own.add(segment.only(own.features))
            wanted -= set(own.features)
        if wanted:
            names = tuple(name for name in segment.features if name in wanted)
            left = Family(names, hashing=self._hashing)
            left.add(segment.only(left.features))
            self.families.append(left)

    def find(self, keys: pl.DataFrame, names: Sequence[str]) -> list[Hits]:
        """Look for keys in each family that knows one of these features."""
        found = []
        for family in self.families:
            shared = tuple(name for name in names if name in family.features)
            if shared:
                found.append(family.find(keys, shared))
        return found

    def expire(self, before: int) -> int:
        """Throw out what was good until `before` at the most; return of how many keys."""
        if self._gone is not None:  # nothing is older than that any more
            self._gone = self._gone.rows(self._gone.frame["end"] > before)
            self._gone = self._gone if self._gone.height else None
        return self.keep_only(lambda frame: frame["end"] > before)

    def keep_only(self, wanted: Callable[[pl.DataFrame], pl.Series]) -> int:
        """Throw out the rows that `wanted` does not mark; return of how many keys."""
        lost = 0
        for family in self.families:
            living = family.living()
            mask = wanted(living.frame)
            if not mask.all():
                lost = max(lost, int((~mask).sum()))
                family.keep(living.rows(mask))
        self.families = [family for family in self.families if family.live]
        return lost

    def segments(self) -> list[Segment]:
        """Return everything as segments, as few as there can be."""
        gone = [] if self._gone is None else [self._gone]
        return gone + [family.living() for family in self.families]

    def _remaining(self, segment: Segment) -> Segment:
        """Leave out the rows that are gone."""
        if self._gone is None or segment.fetched[0] > self.gone_until:
            return segment
        names = [f"k{number}" for number in range(segment.keys)]
        gone = self._gone.frame.select(*names, pl.col("at").alias("gone"))
        if not names:
            latest = gone["gone"].max()
            return segment.rows(segment.frame["at"] > latest)
        since = segment.frame.select(*names, "at").join(
            gone, on=names, how="left", maintain_order="left", nulls_equal=True
        )
        return segment.rows(since["gone"].is_null() | (since["at"] > since["gone"]))


def _newest(segments: Sequence[Segment]) -> Segment:
    """Put segments of gone keys together, each key once."""
    whole = joined(segments)
    names = [f"k{number}" for number in range(whole.keys)]
    frame = whole.frame.sort("at").unique(names or None, keep="last", maintain_order=True)
    return replace(whole, frame=frame)


def _is_run(keys: pl.DataFrame, whole: Segment, run: slice) -> bool:
    """Tell whether the rows have the keys that are asked for, not only their hashes."""
    held = [whole.frame[f"k{number}"][run] for number in range(whole.keys)]
    return all(
        (mine == theirs).all() for mine, theirs in zip(keys.get_columns(), held, strict=True)
    )


def _verified(keys: pl.DataFrame, whole: Segment, rows: Rows, known: Longs) -> Longs:
    """Keep the places where the row has the key that was asked for, not only its hash."""
    held = whole.key_frame[pl.Series(rows[known].view(np.uint32))]
    asked = keys if len(known) == keys.height else keys[pl.Series(known.astype(np.uint32))]
    same = np.ones(len(known), bool)
    for mine, theirs in zip(asked.get_columns(), held.get_columns(), strict=True):
        same &= (mine == theirs).to_numpy()
    return known[same]


def _gather(segment: Segment, column: str, rows: Rows) -> Longs:
    series = segment.frame[column]
    if series.n_chunks() == 1:  # then it is not copied
        return _numbers(series).take(rows)
    return _numbers(series[pl.Series(rows.view(np.uint32))])


def _numbers(series: pl.Series) -> Longs:
    found: Longs = series.to_numpy()
    return found


def _cast(segment: Segment, like: Segment) -> Segment:
    """Give columns that had nothing but nulls so far the dtypes that another segment knows."""
    dtypes = like.value_dtypes
    told = {
        name: dtypes[name] for name, dtype in segment.value_dtypes.items() if dtype == pl.Null()
    }
    return replace(segment, frame=segment.frame.cast(pl.Schema(told))) if told else segment
