"""How a join will be done: what is read, what is left out, in how many parts; and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from featkit.engines.base import timestamp
from featkit.engines.threads import cores
from featkit.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.engines.base import JoinTask
    from featkit.types import Engine

_FEW = 16_384  # so many entities a scan tells from others faster than the join does
_SMALL = 500_000  # rows that are read as they are: to find out more would take as long
_SAMPLE = 16_384  # rows that are looked at, at each of some places, before keys are pushed down
_PLACES = (0.2, 0.5, 0.8)
_NEAR = 2_048  # rows that are read with those of an entity, where these lie together: a page
_RARE = 0.3  # share of rows of the spine's entities, up to which leaving out the others pays
_SKIPPED = 0.1  # share of rows outside the time of the spine, from which on leaving them out pays

# measured on the data of benchmarks/training_sets.py, in bytes
_SLOT = 60  # what a row of the spine takes while it is joined, besides rows kept
_HELD, _LATER = 6, 2  # rows kept for it meanwhile: with features read at once, and read later
_FOUND = 19  # what it takes once it is joined, besides the row that was found
_READER = 60_000_000  # what reading takes whatever is read
_BASE = 260_000_000  # a process that has loaded polars, numpy and pyarrow
_IN_FLIGHT = 2  # pieces that are read, matched or waiting at the same time
_PIECE = 500_000  # rows of a piece
_RUN, _SHORTEST = 2**19, 2**18  # rows that are matched at a time
_FEWEST = 4  # runs of a source, as long as they are not shorter than that
_MOST = 16  # buckets; each reads the source again, or its own part of a sorted one


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How one join is done.

    Attributes
    ----------
    engine
        Where it runs.
    by_key
        Whether rows of other entities are left out by the scan.
    earliest, latest
        Rows of other event timestamps are left out by the scan, in microseconds; None: no bound.
    buckets
        In how many parts the entities are joined, one after the other.
    later
        Whether features are read once it is known which rows are chosen, else with keys and times.
    run, threads
        How many rows at least are matched at a time, and how many times that at once.
    memory
        The limit that the user set, in bytes; None: none.
    rows, files, size
        How many rows the source has, in how many files, and the bytes of the columns that matter;
        -1 where that is not known.
    why
        Sentences that explain the choice.
    """

    engine: Literal["polars", "duckdb"] = "polars"
    by_key: bool = False
    earliest: int | None = None
    latest: int | None = None
    buckets: int = 1
    later: bool = False
    run: int = _RUN
    threads: int = 1
    memory: int | None = None
    rows: int = -1
    files: int = 0
    size: int = -1
    why: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name it in a word or two."""
        parts = [
            *["pushdown of keys"] * self.by_key,
            *["pushdown of times"] * (self.earliest is not None or self.latest is not None),
            *[f"{self.buckets} key buckets"] * (self.buckets > 1),
        ]
        return " + ".join(parts) or "full"

    def predicates(self, task: JoinTask) -> Iterator[pl.Expr]:
        """Say what the scan leaves out."""
        event = task.history.event
        if event is not None and self.earliest is not None:
            yield event >= timestamp(self.earliest)
        if event is not None and self.latest is not None:
            yield event <= timestamp(self.latest)
        if self.by_key or self.buckets > 1:
            yield from _key_predicates(task, listed=self.by_key)


def _key_predicates(task: JoinTask, *, listed: bool) -> Iterator[pl.Expr]:
    unique = task.spine.entities.unique
    for place, (key, column) in enumerate(zip(task.history.keys, unique, strict=True)):
        if column.dtype.is_float() or not len(column):  # -0.0 is 0.0 and yet not in a list of it
            continue
        if place == 0:  # sorted files are skipped by the range of their first key
            lowest, highest = (pl.lit(each, column.dtype) for each in (column.min(), column.max()))
            yield key.is_between(lowest, highest)
        if listed:
            yield key.is_in(column.unique().implode())


def kept_bytes(task: JoinTask) -> int:
    """Estimate what the answer of a join takes until the result is made of all answers."""
    return len(task.spine) * (_FOUND + 8 * len(task.kept()))


def choose(task: JoinTask, *, engine: Engine, memory: int | None, held: int = 0) -> Strategy:
    """Choose how to do a join, from the footers of the files and, where it matters, a sample.

    Parameters
    ----------
    task
        The join.
    engine
        What the user wants; ``"auto"`` leaves it open.
    memory
        The limit of the process's memory, in bytes; None: none.
    held
        How much of it the answers of joins before this one take.
    """
    return _Planner(task, engine, memory, held).strategy()


@dataclass
class _Planner:
    task: JoinTask
    engine: Engine
    memory: int | None
    held: int
    why: list[str] = field(default_factory=list)

    def strategy(self) -> Strategy:
        pieces = self.task.history.pieces
        rows = sum(piece.rows for piece in pieces) if pieces else -1
        size = sum(piece.size for piece in pieces) if pieces else -1
        by_key = self._by_key(rows)
        earliest, latest = self._time_range(rows)
        if not by_key and earliest is None and latest is None:
            self.why.append("every row is read once, front to back")
        if later := rows >= _SMALL and not by_key:
            self.why.append("keys and times first, then the features of the rows that are chosen")
        buckets = self._buckets(rows, size, _LATER if later else _HELD)
        return Strategy(
            engine=self._engine(),
            by_key=by_key,
            earliest=earliest,
            latest=latest,
            buckets=buckets,
            later=later,
            run=self._run(rows),
            threads=1 if self.memory else cores(),
            memory=self.memory,
            rows=rows,
            files=len(self.task.history.files),
            size=size,
            why=tuple(self.why),
        )

    def _by_key(self, rows: int) -> bool:
        entities = len(self.task.spine.entities)
        if rows < _SMALL or entities > _FEW or not self.task.history.keys:
            return False
        if self.task.history.in_order and entities * _NEAR <= rows:
            self.why.append(
                f"the rows are sorted by entity, and few of them are of the spine's {entities:,}; "
                "the others are left out while reading"
            )
            return True
        share = self._share(rows)
        found = f"of the rows sampled, {share:.1%} are of the spine's {entities:,} entities"
        if share > _RARE:
            self.why.append(f"{found}, too many for leaving out the others to pay")
            return False
        self.why.append(f"{found}; the others are left out while reading")
        return True

    def _share(self, rows: int) -> float:
        """Estimate the share of rows that are of the spine's entities, from a few places."""
        keys = self.task.history.scan.select(self.task.keys())
        places = [int(rows * place) for place in _PLACES]
        sampled = pl.collect_all([keys.slice(place, _SAMPLE) for place in places])
        codes = [self.task.spine.entities.codes(each) for each in sampled]
        return float(np.mean([(each >= 0).mean() for each in codes if len(each)]))

    def _time_range(self, rows: int) -> tuple[int | None, int | None]:
        """Bound the event timestamps where that lets whole pieces be skipped."""
        pieces, spine = self.task.history.pieces, self.task.spine
        if self.task.static or not len(spine) or not pieces or rows < _SMALL:
            return None, None
        latest = int(spine.at.max())
        oldest = self.task.oldest
        earliest = None if oldest is None else int(spine.at.min()) - oldest
        before = sum(
            piece.rows
            for piece in pieces
            if earliest is not None and piece.latest is not None and piece.latest < earliest
        )
        after = sum(
            piece.rows for piece in pieces if piece.earliest is not None and piece.earliest > latest
        )
        if before + after < _SKIPPED * rows:
            return None, None
        self.why.append(
            f"{before + after:,} of {rows:,} rows lie in row groups that are wholly before or "
            "after the time of the spine, and are skipped"
        )
        return (earliest if before else None), (latest if after else None)

    def _buckets(self, rows: int, size: int, kept: int) -> int:
        """Tell in how many parts the entities must be joined to stay within the limit."""
        if self.memory is None:
            return 1
        row = max(size // rows, 1) if rows > 0 else 8 * (len(self.task.features) + 3)
        slots = len(self.task.spine)
        fixed = _BASE + self.held + _READER + _IN_FLIGHT * min(_PIECE, max(rows, 1)) * row
        fixed += slots * (_FOUND + row)
        moving = slots * (_SLOT + kept * row)
        room = self.memory - fixed
        needed = fixed + moving
        buckets = _MOST if room <= 0 else min(_MOST, -(-moving // room))
        if buckets == 1:
            self.why.append(
                f"about {needed / 1e6:,.0f} MB are needed, the limit is {self.memory / 1e6:,.0f} MB"
            )
        else:
            self.why.append(
                f"at once it would take about {needed / 1e6:,.0f} MB, more than the limit of "
                f"{self.memory / 1e6:,.0f} MB, so the entities are joined in {buckets} buckets"
            )
        return int(buckets)

    def _run(self, rows: int) -> int:
        """Choose how many rows are matched at a time."""
        if self.task.history.in_order:  # there is nothing to sort
            return _SHORTEST
        return min(max(rows // _FEWEST, _SHORTEST), _RUN)

    def _engine(self) -> Literal["polars", "duckdb"]:
        if self.engine == "duckdb":
            _require_duckdb()
            self.why.append("DuckDB joins, as was asked for, and writes to disk what is too much")
            return "duckdb"
        return "polars"


def _require_duckdb() -> None:
    try:
        import duckdb  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("duckdb", "engine='duckdb'") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One join of a plan.

    Attributes
    ----------
    views
        The feature views that it serves; several share their files and their keys.
    strategy
        How it is done.
    """

    views: tuple[str, ...]
    strategy: Strategy

    def __str__(self) -> str:
        made = self.strategy
        shared = " (one join: same files, same keys)" if len(self.views) > 1 else ""
        source = ""
        if made.rows >= 0:
            files = f"{made.files:,} file{'s' * (made.files != 1)}"
            source = f"; {made.rows:,} rows in {files}, {made.size / 1e6:,.0f} MB to read"
        head = f"{', '.join(self.views)}{shared}: {made.name}, by {made.engine}{source}"
        return "\n".join([head, *(f"  - {reason}" for reason in made.why)])


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPlan:
    """What ``explain=True`` returns: how a training set would be joined, and why so.

    Attributes
    ----------
    steps
        The joins.
    joined_by
        The store that joins by itself, where there is nothing to plan; else empty.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> flights = featkit.demo.flights("polars").head(1000)
    >>> store.get_historical_features(
    ...     flights, ["carrier_history:flights_7d"], at="departs_at", explain=True
    ... )
    carrier_history: full, by polars; 5,548 rows in 1 file, 0 MB to read
      - every row is read once, front to back
    """

    steps: tuple[PlanStep, ...]
    joined_by: str = ""

    def __str__(self) -> str:
        if self.joined_by:
            return f"the store {self.joined_by!r} joins by itself"
        return "\n".join(map(str, self.steps))

    __repr__ = __str__
