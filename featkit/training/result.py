"""A training set: the frame, how it came to be, and what it was made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import polars as pl

from featkit import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from featkit.training.manifest import Manifest
    from featkit.training.report import TrainingReport

FrameT = TypeVar("FrameT")


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingSet(Generic[FrameT]):
    """What `get_historical_features` returns.

    Attributes
    ----------
    frame
        A frame of the spine's kind: its rows, index and columns as they were, and the features.
        Where the result went to a file, a LazyFrame that reads it.
    columns
        Names of the columns that came to those of the spine: the features, and their timestamps.
    report
        What was found for each view, and what was not.
    manifest
        What it was made of.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> flights = featkit.demo.flights("polars").head(3).select("carrier", "departs_at")
    >>> made = store.get_historical_features(
    ...     flights, ["carrier_history:mean_delay_7d"], at="departs_at"
    ... )
    >>> made.frame.columns
    ['carrier', 'departs_at', 'mean_delay_7d']
    >>> made.columns
    ('mean_delay_7d',)
    >>> made.reproduce().same
    True
    """

    frame: FrameT
    columns: tuple[str, ...]
    report: TrainingReport
    manifest: Manifest
    again: Callable[[], TrainingSet[FrameT]] = field(repr=False)

    def to_polars(self) -> pl.DataFrame:
        """Return the frame as a polars frame; an index of pandas becomes no column."""
        frame: Any = self.frame
        if isinstance(frame, pl.LazyFrame):
            return frame.collect()
        return frame if isinstance(frame, pl.DataFrame) else pl.from_pandas(frame)

    def to_pandas(self) -> pd.DataFrame:
        """Return the frame as a pandas frame, with the index that it has, else a fresh one."""
        frame: Any = self.frame
        if isinstance(frame, (pl.DataFrame, pl.LazyFrame)):
            import pandas as pd  # noqa: PLC0415 - half a second that users of polars do not pay

            from featkit.conversion import to_pandas  # noqa: PLC0415 - the same half second

            rows = frame.lazy().collect()
            return to_pandas(rows, pd.RangeIndex(rows.height), dtype_backend="numpy_nullable")
        made: pd.DataFrame = frame
        return made

    def reproduce(self) -> Reproduction[FrameT]:
        """Make the training set again from the same spine, and say what changed since.

        Where the result went to a file, the new one goes beside it, to ``<name>.again.parquet``.
        A plan must give its rows in the same order each time for values to be compared.

        Returns
        -------
        Reproduction
            What is different in the store, the spine and the versions, and whether the values
            are the same.
        """
        made = self.again()
        return Reproduction(
            training_set=made,
            changes=tuple(self.manifest.changes(made.manifest)),
            differing=_differing(self.frame, made.frame, self.columns),
        )

    def __repr__(self) -> str:
        return f"{self.report}"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


@dataclass(frozen=True, eq=False, kw_only=True)
class Reproduction(Generic[FrameT]):
    """A training set made again.

    Attributes
    ----------
    training_set
        The new one.
    changes
        What is different, in words.
    differing
        By column, how many rows have another value than before.
    """

    training_set: TrainingSet[FrameT]
    changes: tuple[str, ...]
    differing: dict[str, int]

    @property
    def same(self) -> bool:
        """Whether every value is as it was."""
        return not self.differing

    def __repr__(self) -> str:
        found = "every value is the same"
        if self.differing:
            listed = (f"{name}: {rows:,} rows" for name, rows in self.differing.items())
            found = f"values differ ({', '.join(listed)})"
        return "\n".join([found, *(self.changes or ("nothing changed in the store",))])


def _differing(before: object, after: object, columns: Sequence[str]) -> dict[str, int]:
    """Count for each column that was added the rows whose value is another one."""
    counts = {}
    for name in columns:
        left, right = _column(before, name), _column(after, name)
        if len(left) != len(right) or left.dtype != right.dtype:
            counts[name] = max(len(left), len(right))
        else:
            counts[name] = int(left.ne_missing(right).sum())
    return {name: count for name, count in counts.items() if count}


def _column(frame: object, name: str) -> pl.Series:
    if isinstance(frame, pl.LazyFrame):
        return frame.select(name).collect().to_series()
    return frames.adapt(frame).key_columns({name: name}).to_series()
