"""The point-in-time join as one query, for warehouses without an as-of join.

Rows of history are numbered in the order of their event timestamps, spine and history are put one
under the other, and a running maximum of those numbers finds the row that each moment sees. It is
plain SQL:92 with windows: each row of the table is looked at once, and no row of the spine is lost
or doubled. Times are compared as whole microseconds, so that no dialect's intervals take part.

The spine travels with the query, as the JSON of a list of lists of text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from featkit.history import AT, EVENT, ROW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from featkit.history import JoinRead

SPINE = "spine"
"""The parameter that holds the spine."""

_KEY, _NUMBER, _MOMENT, _SEES, _ASKS = (
    "featkit_key_",
    "featkit_number",
    "featkit_moment",
    "featkit_sees",
    "featkit_asks",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What differs between warehouses.

    Attributes
    ----------
    quoted
        Quotes an identifier.
    parameter
        Names a parameter, such as ``@name``.
    lines
        What stands behind FROM for the lines of the spine, each of them named ``line``; ``{spine}``
        is the parameter.
    part
        The text at a place of a line; ``{place}`` counts from 0.
    whole
        The type of 64-bit numbers.
    types
        How the text of a key becomes a value, by the dtype's class; ``{text}`` is the text.
    micros
        The microseconds of a time since 1970; ``{time}`` is the time.
    minute
        The minute that a time is in.
    digest
        A hash of ``{text}``, as text.
    """

    quoted: Callable[[str], str]
    parameter: Callable[[str], str]
    lines: str
    part: str
    whole: str
    types: Mapping[type[pl.DataType], str]
    micros: str
    minute: str
    digest: str = "MD5({text})"

    def takes(self, read: JoinRead) -> bool:
        """Tell whether it can hold all keys of the spine."""
        return all(self._cast(dtype) for dtype in self._keys(read).values())

    @staticmethod
    def _keys(read: JoinRead) -> dict[str, pl.DataType]:
        schema = read.spine.schema
        return {key: schema[key] for key in read.view.join_keys}

    def _cast(self, dtype: pl.DataType) -> str | None:
        if dtype.is_integer():
            return f"CAST({{text}} AS {self.whole})"
        return self.types.get(type(dtype))

    def value(self, place: int, dtype: pl.DataType) -> str:
        """Write the value at a place of a line."""
        cast = self._cast(dtype)
        assert cast is not None  # noqa: S101 - `takes` was asked
        return cast.format(text=self.part.format(place=place))


def spine_text(read: JoinRead) -> str:
    """Write the spine as its parameter: rows, keys and moments, all of them text.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from featkit.history import JoinRead, Rule
    >>> from featkit.schema import Entity, FeatureView
    >>> view = FeatureView(name="v", entities=(Entity("k", "k", pl.Int64()),), features=())
    >>> at = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    >>> spine = pl.DataFrame({ROW: [0], "k": [2**53 + 1], AT: [at]})
    >>> spine_text(JoinRead(view=view, features=(), spine=spine, rule=Rule()))
    '[["0","9007199254740993","1000000"]]'
    """
    columns = [pl.col(ROW).cast(pl.String)]
    columns += [_text(key, read.spine.schema[key]) for key in read.view.join_keys]
    columns.append(pl.col(AT).dt.epoch("us").cast(pl.String))
    lines = read.spine.select(pl.concat_list(columns).alias(""))
    whole = lines.select(pl.col("").implode()).select(pl.struct("").struct.json_encode())
    return str(whole.item())[len('{"":') : -1]


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return column.dt.epoch("us").cast(pl.String) if dtype == pl.Datetime else column.cast(pl.String)


def join_query(
    read: JoinRead, dialect: Dialect, *, table: str, columns: Mapping[str, str], where: str
) -> str:
    """Write the query that joins the history of a view to the spine.

    Its columns are `ROW`, then the features, then, where the view has event timestamps, `EVENT` in
    microseconds.

    Parameters
    ----------
    read
        What is asked.
    dialect
        Of the warehouse.
    table
        Where the rows are, as it stands behind FROM.
    columns
        What makes the keys, the event timestamp and the features, by their names.
    where
        What the rows have to be to count at all; may be empty.
    """
    q = dialect.quoted
    keys = list(read.view.join_keys)
    names = [q(f"{_KEY}{n}") for n in range(len(keys))]
    held = ", ".join(f"{columns[key]} AS {name}" for key, name in zip(keys, names, strict=True))
    listed = ", ".join(names)
    wanted = [feature.name for feature in read.features]
    values = "".join(f", {columns[name]} AS {q(name)}" for name in wanted)
    time = columns[read.view.timestamp] if read.view.timestamp else None
    micros = dialect.micros.format(time=time) if time else "0"
    there = [f"{columns[key]} IS NOT NULL" for key in keys]
    there += [f"{time} IS NOT NULL"] if time else []
    there += [where] if where else []
    asked = [dialect.value(0, pl.Int64()) + f" AS {q(ROW)}"]
    asked += [
        f"{dialect.value(n, read.spine.schema[key])} AS {name}"
        for n, (key, name) in enumerate(zip(keys, names, strict=True), start=1)
    ]
    asked.append(f"{dialect.value(len(keys) + 1, pl.Int64())} AS {q(AT)}")
    lines = dialect.lines.format(spine=dialect.parameter(SPINE))
    same = _same("h", "m", names)
    later = read.rule.delay + read.rule.strict
    # what has no time was always there
    moment = f"{q(EVENT)} + {later}" if time else f"-{2**62} + {q(EVENT)}"
    return f"""\
WITH asked AS (SELECT {", ".join(asked)} FROM {lines}),
history AS (
  SELECT n.*, ROW_NUMBER() OVER ({_by(listed)}ORDER BY {q(EVENT)}) AS {q(_NUMBER)}
  FROM (SELECT {held}{"," if held else ""} {micros} AS {q(EVENT)}{values} FROM {table}\
{" WHERE " + " AND ".join(there) if there else ""}) AS n
  WHERE EXISTS (SELECT 1 FROM asked AS m{" WHERE " + _same("n", "m", names) if names else ""})
),
moments AS (
  SELECT {_comma(listed)}{q(ROW)}, {q(AT)} AS {q(_MOMENT)}, 1 AS {q(_ASKS)}, 0 AS {q(_NUMBER)}
  FROM asked
  UNION ALL
  SELECT {_comma(listed)}-1, {moment}, 0, {q(_NUMBER)} FROM history
),
seen AS (
  SELECT {_comma(listed)}{q(ROW)}, {q(_MOMENT)}, {q(_ASKS)}, MAX({q(_NUMBER)}) OVER (\
{_by(listed)}ORDER BY {q(_MOMENT)}, {q(_ASKS)} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW\
) AS {q(_SEES)}
  FROM moments
)
SELECT m.{q(ROW)}{"".join(f", h.{q(name)}" for name in wanted)}\
{f", h.{q(EVENT)}" if time else ""}
FROM seen AS m LEFT JOIN history AS h
ON h.{q(_NUMBER)} = m.{q(_SEES)}{" AND " + same if names else ""}{_fresh(read, q)}
WHERE m.{q(_ASKS)} = 1"""  # noqa: S608 - names, quoted


def _fresh(read: JoinRead, q: Callable[[str], str]) -> str:
    limit = read.rule.limit
    if limit is None or read.view.timestamp is None:
        return ""
    return f" AND m.{q(_MOMENT)} - h.{q(EVENT)} <= {limit}"


def _by(listed: str) -> str:
    return f"PARTITION BY {listed} " if listed else ""


def _comma(listed: str) -> str:
    return f"{listed}, " if listed else ""


def _same(one: str, other: str, names: list[str]) -> str:
    return " AND ".join(f"{one}.{name} = {other}.{name}" for name in names)
