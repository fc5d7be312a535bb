"""Point-in-time joins in DuckDB, which writes to disk what is too much for memory.

DuckDB is given numbers only, the same as the other engine works with: for each row of the source
its entity, from when on it is known, and its rank among all rows; so that both give the same
answers. Its as-of join takes any of several equal rows, so that the best row known is worked out
first, as a running maximum of the ranks.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from featkit.engines.base import in_pieces
from featkit.errors import SourceError, reason_of
from featkit.failures import FAILURES
from featkit.history import NEVER, Match

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.engines.base import JoinTask
    from featkit.engines.plan import Strategy

_SHARE = 0.5  # of the memory limit that is DuckDB's own
_LEAST = 64_000_000  # bytes with which it still comes to an end; with 20 MB it gives up

_STEPS = """
create temp table ranked as
  select code, known, event, number, row_number() over (order by event, created, number) as rank
  from source;
create temp table steps as
  select code, known, max(best) as best
  from (
    select code, known, max(rank) over (
      partition by code order by known, rank rows between unbounded preceding and current row
    ) as best
    from ranked
  )
  group by code, known;
create temp table alike as
  select code, event, known, row_number() over (
    partition by code, event order by known, rank rows between unbounded preceding and current row
  ) as count
  from ranked;
create temp table chosen as
  select slots.slot, slots.code, slots.at, ranked.number, ranked.event
  from (
    select slots.slot, slots.code, slots.at, steps.best
    from slots asof left join steps on slots.code = steps.code and slots.at >= steps.known
  ) as slots
  left join ranked on ranked.rank = slots.best;
"""
_ANSWER = """
select chosen.slot, chosen.number, coalesce(ties.count, 0) > 1 as tied
from chosen left join (
  select chosen.slot, max(alike.count) as count
  from chosen join alike
    on alike.code = chosen.code and alike.event = chosen.event and alike.known <= chosen.at
  group by chosen.slot
) as ties on ties.slot = chosen.slot
order by chosen.slot
"""


def join(task: JoinTask, strategy: Strategy) -> Match:
    """Find for each row of a spine the row that was known then."""
    import duckdb  # noqa: PLC0415 - an extra

    with (
        tempfile.TemporaryDirectory(prefix="featkit-duckdb-") as scratch,
        duckdb.connect(config=_config(strategy, scratch)) as connection,
    ):
        source = _Source(task)
        try:
            return _joined(connection, task, source)
        except duckdb.Error as error:
            if source.failure is not None:  # DuckDB's error only wraps it
                raise task.history.unreadable(source.failure) from source.failure
            msg = f"DuckDB could not join the history: {reason_of(error)}"
            raise SourceError(msg) from error
        except FAILURES as error:
            raise task.history.unreadable(error) from error


def _config(strategy: Strategy, scratch: str) -> dict[str, Any]:
    config: dict[str, Any] = {"temp_directory": scratch, "preserve_insertion_order": "false"}
    if strategy.memory is not None:
        config["memory_limit"] = f"{int(max(strategy.memory * _SHARE, _LEAST) / 1e6)}MB"
        config["threads"] = "2"  # each holds on to memory of its own
    return config


def _joined(connection: Any, task: JoinTask, source: _Source) -> Match:  # noqa: ANN401 - DuckDB is an extra
    spine = task.spine
    connection.register("source_rows", source.reader())
    connection.execute("create temp table source as select * from source_rows")
    connection.unregister("source_rows")
    slots = pl.DataFrame(
        {"slot": np.arange(len(spine)), "code": spine.codes, "at": spine.at},
        schema={"slot": pl.Int64, "code": pl.Int64, "at": pl.Int64},
    )
    connection.register("slot_rows", slots.to_arrow())
    connection.execute("create temp table slots as select * from slot_rows")
    for statement in _STEPS.split(";"):
        if statement.strip():
            connection.execute(statement)
    answer = pl.from_arrow(connection.sql(_ANSWER).to_arrow_table())
    assert isinstance(answer, pl.DataFrame)  # noqa: S101 - a table becomes a frame
    return _match(connection, task, source, answer)


def _match(connection: Any, task: JoinTask, source: _Source, answer: pl.DataFrame) -> Match:  # noqa: ANN401 - DuckDB is an extra
    spine = task.spine
    numbers = answer["number"]
    wanted = numbers.drop_nulls().unique().sort()
    connection.register("wanted", pl.DataFrame({"number": wanted}).to_arrow())
    kept = [f'"{name}"' for name in source.names]
    query = f"select {', '.join(kept)} from source join wanted using (number) order by number"  # noqa: S608 - names of our own
    rows = pl.from_arrow(connection.sql(query).to_arrow_table())
    assert isinstance(rows, pl.DataFrame)  # noqa: S101 - a table becomes a frame
    none = task.none()
    rows = rows.rename(dict(zip(source.names, task.kept(), strict=True))).cast(dict(none.schema))  # type: ignore[arg-type] # its own schema
    places = wanted.search_sorted(numbers.fill_null(-1)).to_numpy().astype(np.int64)
    places = np.where(numbers.is_not_null().to_numpy(), places, -1)
    positions = np.full(spine.height, -1)
    known, tied = np.zeros((2, spine.height), bool)
    positions[spine.rows] = places
    known[spine.rows] = source.seen[spine.codes]
    tied[spine.rows] = answer["tied"].to_numpy()
    return Match(rows, positions, known=known, tied=tied)


class _Source:
    """The rows of the spine's entities, as DuckDB is given them."""

    def __init__(self, task: JoinTask) -> None:
        self._task = task
        self.failure: Exception | None = None
        self.seen = np.zeros(len(task.spine.entities), bool)
        self.names = [f"f{n}" for n in range(len(task.kept()))]

    def reader(self) -> pa.RecordBatchReader:
        """Read the rows while DuckDB takes them."""
        schema = self._numbered(self._task.rows().collect_schema().to_frame(), 0).to_arrow().schema
        batches = (batch for table in self._tables() for batch in table.cast(schema).to_batches())
        return pa.RecordBatchReader.from_batches(schema, batches)

    def _tables(self) -> Iterator[pa.Table]:
        number = 0
        try:
            for frame in in_pieces(self._task.rows()):
                yield self._numbered(frame, number).to_arrow()
                number += frame.height
        except FAILURES as error:
            self.failure = error
            raise

    def _numbered(self, frame: pl.DataFrame, first: int) -> pl.DataFrame:
        codes, event, created = self._task.usable(frame)
        known = np.full(len(codes), NEVER)
        if not self._task.static:
            known = self._task.rule.known_from(event, created)
        own = codes >= 0
        self.seen[codes[own]] = True
        numbers = {
            "code": codes,
            "known": known,
            "event": event,
            "created": np.full(len(codes), NEVER) if created is None else created,
            "number": np.arange(first, first + len(codes)),
        }
        kept = frame.select(map(_held, frame.select(self._task.kept())))
        kept.columns = self.names
        return pl.DataFrame(numbers).hstack(kept).filter(pl.Series(own))


def _held(values: pl.Series) -> pl.Series:
    """Make whole numbers of durations, which DuckDB gives back as something polars cannot read."""
    return values.cast(_without_durations(values.dtype))


def _without_durations(dtype: pl.DataType) -> pl.DataType:
    match dtype:
        case pl.Duration():
            return pl.Int64()
        case pl.List():
            return pl.List(_without_durations(dtype.inner))  # type: ignore[arg-type] # of an instance
        case pl.Array():
            inner = _without_durations(dtype.inner)  # type: ignore[arg-type] # of an instance
            return pl.Array(inner, dtype.size)
        case pl.Struct(fields=fields):
            return pl.Struct({each.name: _without_durations(each.dtype) for each in fields})  # type: ignore[arg-type] # of an instance
        case _:
            return dtype
