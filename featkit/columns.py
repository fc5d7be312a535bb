"""Feature values as columns, with the event timestamp and the status of every value."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from featkit.dtypes import TIMESTAMP
from featkit.freshness import is_fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    import pandas as pd

    from featkit.types import DtypeBackend

T = TypeVar("T")


class Status(StrEnum):
    """Why a value is what it is.

    `PRESENT` and fresh, `NULL` (the store holds a null), `NOT_FOUND` (the store does not know the
    entity), `EXPIRED` (older than the view's ttl), `FUTURE` (its event timestamp is later than
    now), `STALE` (served from the cache past its time because the store is down), `ERROR` (the
    store failed; only with ``on_error="null"``). A row whose key is null has no status.
    """

    PRESENT = "PRESENT"
    NULL = "NULL"
    NOT_FOUND = "NOT_FOUND"
    EXPIRED = "EXPIRED"
    FUTURE = "FUTURE"
    STALE = "STALE"
    ERROR = "ERROR"


STATUS = pl.Enum(Status)
"""The polars dtype of a column of statuses."""

TIMESTAMP_SUFFIX = "__event_timestamp"
STATUS_SUFFIX = "__status"


@dataclass(frozen=True, slots=True, eq=False)
class KeyedColumn:
    """A column for a frame, with its values held once per distinct key.

    Attributes
    ----------
    values
        The values, under the name of the column.
    positions
        For each row of the frame the position of its value, null where it has none (UInt32);
        None: each row has the value at its own position.
    """

    values: pl.Series
    positions: pl.Series | None


@dataclass(frozen=True, eq=False, repr=False)
class FeatureColumns:
    """Values of features, one row per entity asked for, in the order asked.

    Attributes
    ----------
    values
        One column per feature; dtypes follow the view's schema, whatever the values are.
    statuses
        By feature name, a series of `Status` as long as `values`; null where the key was null.
    timestamps
        By feature name, the event timestamps (UTC, microseconds) as a series as long as `values`;
        a feature whose event timestamps are unknown has none. Features that were written together
        share one series.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> store.lookup(["N14228", "nobody"], ["aircraft:seats"]).to_polars()
    shape: (2, 1)
    ┌───────┐
    │ seats │
    │ ---   │
    │ i64   │
    ╞═══════╡
    │ 149   │
    │ null  │
    └───────┘
    """

    values: pl.DataFrame
    statuses: Mapping[str, pl.Series]
    timestamps: Mapping[str, pl.Series] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.values.height

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._told()}>\n{self.values}"

    def _repr_html_(self) -> str:
        return f"<p>{self._told()}</p>{self.values._repr_html_()}"

    def _told(self) -> str:
        """Count the rows, and the values by status."""
        words = pl.concat([pl.Series(dtype=STATUS), *self.statuses.values()])
        counts = [f"{(words == each).sum():,} {each}" for each in Status if (words == each).any()]
        rows = f"{len(self):,} row{'s' * (len(self) != 1)}"
        return f"{rows}; values: {', '.join(counts) or 'none'}"

    def to_polars(self, *, timestamps: bool = False, statuses: bool = False) -> pl.DataFrame:
        """Return the values as a polars frame.

        Parameters
        ----------
        timestamps
            Add ``<feature>__event_timestamp`` after each feature; all null where unknown.
        statuses
            Add ``<feature>__status`` after each feature, a polars Enum.
        """
        columns = [
            column
            for name in self.values.columns
            for column in self.one(name, timestamps=timestamps, statuses=statuses)
        ]
        return pl.DataFrame(columns) if columns else self.values

    def one(self, name: str, *, timestamps: bool, statuses: bool) -> list[pl.Series]:
        """Return the columns of one feature: its values, and on request what is known of them."""
        columns = [self.values[name]]
        if timestamps:
            columns.append(self.stamps(name).alias(name + TIMESTAMP_SUFFIX))
        if statuses:
            columns.append(self.statuses[name].alias(name + STATUS_SUFFIX))
        return columns

    def stamps(self, name: str) -> pl.Series:
        """Return the event timestamps of one feature, all null where they are unknown."""
        known = self.timestamps.get(name)
        return pl.repeat(None, len(self), dtype=TIMESTAMP, eager=True) if known is None else known

    def to_pandas(
        self,
        *,
        timestamps: bool = False,
        statuses: bool = False,
        dtype_backend: DtypeBackend = "numpy_nullable",
    ) -> pd.DataFrame:
        """Return the values as a pandas frame with a fresh range index.

        Parameters
        ----------
        timestamps, statuses
            As for `to_polars`; a status column is a pandas categorical.
        dtype_backend
            ``"numpy_nullable"``: Int64, boolean, str, float64 with NaN, datetime64[us, UTC];
            ``"pyarrow"``: Arrow dtypes throughout.
        """
        import pandas as pd  # noqa: PLC0415 - half a second that users of polars do not pay

        from featkit.conversion import to_pandas  # noqa: PLC0415 - the same half second

        frame = self.to_polars(timestamps=timestamps, statuses=statuses)
        return to_pandas(frame, pd.RangeIndex(len(self)), dtype_backend=dtype_backend)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dict of Python values per row."""
        return self.values.to_dicts() if self.values.width else [{} for _ in range(len(self))]

    def gather(self, positions: pl.Series) -> FeatureColumns:
        """Return these rows, in this order; a null position makes a row of nulls."""
        gather = once(lambda series: series.gather(positions))
        return FeatureColumns(
            values=self.values.rechunk()[positions],  # from one piece is ten times as fast
            statuses={name: gather(series) for name, series in self.statuses.items()},
            timestamps={name: gather(series) for name, series in self.timestamps.items()},
        )

    def rename(self, names: Mapping[str, str]) -> FeatureColumns:
        """Return the same columns under other names."""
        return FeatureColumns(
            values=self.values.rename(dict(names)),
            statuses={names[name]: series for name, series in self.statuses.items()},
            timestamps={names[name]: series for name, series in self.timestamps.items()},
        )

    def judge(self, ttl: timedelta | None, now: datetime) -> FeatureColumns:
        """Return the same values with statuses as they stand at `now`.

        The status explains the value: a null that the store holds is `NULL` at any age; another
        value is `FUTURE` or `EXPIRED` by its event timestamp. What is not `PRESENT` stays.
        """

        def by_age(timestamps: pl.Series, statuses: pl.Series) -> pl.Series:
            judged = (
                pl.when(statuses != Status.PRESENT)
                .then(statuses)
                .when(timestamps > now)
                .then(pl.lit(Status.FUTURE, STATUS))
                .when(~is_fresh(timestamps, ttl, now))
                .then(pl.lit(Status.EXPIRED, STATUS))
                .otherwise(statuses)
            )
            return pl.select(judged.alias("status")).to_series()

        aged = once(by_age)
        statuses = {}
        for series in self.values:
            found = self.statuses[series.name]
            judged = found
            if series.name in self.timestamps:
                judged = aged(self.timestamps[series.name], found)
            if series.null_count():
                null = series.is_null() & (found == Status.PRESENT)
                judged = judged.set(null, Status.NULL)
            statuses[series.name] = judged
        return FeatureColumns(self.values, statuses, self.timestamps)

    def blank(self, status: Status) -> FeatureColumns:
        """Return the same columns with null for every value of this status."""
        columns = [series.set(self.statuses[series.name] == status, None) for series in self.values]
        return FeatureColumns(pl.DataFrame(columns), self.statuses, self.timestamps)

    @classmethod
    def unanswered(cls, schema: pl.Schema, height: int, status: Status) -> FeatureColumns:
        """Return nulls of these names and dtypes, all of one status."""
        nulls = [pl.repeat(None, height, dtype=t, eager=True).alias(n) for n, t in schema.items()]
        same = everywhere(status, height)
        return cls(pl.DataFrame(nulls), dict.fromkeys(schema, same))

    @classmethod
    def concat(cls, parts: Sequence[FeatureColumns]) -> FeatureColumns:
        """Return the rows of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        append = once(lambda *series: pl.concat(series))
        names = parts[0].values.columns
        known = [name for name in names if any(name in part.timestamps for part in parts)]
        return cls(
            values=pl.concat([part.values for part in parts]),
            statuses={name: append(*(part.statuses[name] for part in parts)) for name in names},
            timestamps={name: append(*(part.stamps(name) for part in parts)) for name in known},
        )

    @classmethod
    def beside(cls, parts: Sequence[FeatureColumns], height: int) -> FeatureColumns:
        """Return the columns of all parts beside each other; each part has `height` rows."""
        if not parts:
            return cls(pl.DataFrame(height=height), {})
        return cls(
            values=pl.concat([part.values for part in parts], how="horizontal"),
            statuses={name: s for part in parts for name, s in part.statuses.items()},
            timestamps={name: s for part in parts for name, s in part.timestamps.items()},
        )


def everywhere(status: Status, height: int) -> pl.Series:
    """Return a series of one status, as `polars.repeat` does, which starts an engine for it."""
    return pl.Series([status], dtype=STATUS).new_from_index(0, height)


def once(function: Callable[..., T]) -> Callable[..., T]:
    """Remember results by the identity of the series, so that shared series stay shared."""
    known: dict[tuple[int, ...], T] = {}

    def remembered(*series: pl.Series | None) -> T:
        key = tuple(map(id, series))
        if key not in known:
            known[key] = function(*series)
        return known[key]

    return remembered
