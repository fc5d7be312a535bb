"""Polars frames, eager and lazy."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import polars as pl

from featkit.errors import InputError
from featkit.frames.base import UserFrame
from featkit.frames.matching import KeyRows

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from featkit.columns import KeyedColumn

_COUNT = "__featkit_count"
_ROW = "__featkit_row"


def _spread(columns: Iterable[KeyedColumn]) -> list[pl.Series]:
    """Give each row its values; columns of the same keys at the same time."""
    made: list[pl.Series] = []
    for _, group in groupby(columns, key=lambda column: id(column.positions)):
        same = list(group)
        values = pl.DataFrame([column.values for column in same])
        if (positions := same[0].positions) is not None:
            values = values.rechunk()[positions]  # from one piece is ten times as fast
        made += values.get_columns()
    return made


def _rowwise(
    column: pl.Expr, function: Callable[[pl.Series], pl.Series], dtype: pl.DataType
) -> pl.Expr:
    """Apply a function to some rows at a time, of which each value depends on its row alone."""
    return column.map_batches(function, return_dtype=dtype, is_elementwise=True)


def _free(name: str, taken: Sequence[Hashable]) -> str:
    """Make a name that no column of the user's has."""
    return _free(f"{name}_", taken) if name in taken else name


def _to_arrow(frame: pl.DataFrame) -> pa.Table:
    if objects := [name for name, dtype in frame.schema.items() if dtype == pl.Object]:
        msg = f"the column {objects[0]!r} holds Python objects, which Parquet cannot; drop it"
        raise InputError(msg)
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


class EagerFrame(UserFrame):
    """A `polars.DataFrame`."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    @property
    def columns(self) -> Sequence[Hashable]:
        """The names of its columns."""
        return self._frame.columns

    def key_columns(self, labels: Mapping[str, Hashable]) -> pl.DataFrame:
        """Take the key columns."""
        if not labels:
            return pl.DataFrame(height=self._frame.height)
        # `select` would copy the columns of a frame that is in pieces
        return pl.DataFrame(
            [self._frame.get_column(str(label)).alias(key) for key, label in labels.items()]
        )

    def with_columns(self, columns: Iterable[KeyedColumn]) -> pl.DataFrame:
        """Put the columns beside the frame's own."""
        return self._frame.hstack(_spread(columns))

    def pieces(self, rows: int) -> Iterator[tuple[UserFrame, int]]:
        """Cut the frame into slices."""
        for piece in self._frame.iter_slices(rows) if self._frame.height else [self._frame]:
            yield EagerFrame(piece), piece.height

    def to_arrow(self, made: pl.DataFrame) -> pa.Table:
        """Make an Arrow table of a piece."""
        return _to_arrow(made)


class FileFrame(UserFrame):
    """A plan whose rows were written to an Arrow file, so that they have an order."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def _rows(self) -> pl.LazyFrame:
        return pl.scan_ipc(self._file, glob=False, hive_partitioning=False)

    @property
    def columns(self) -> Sequence[Hashable]:
        """The names of its columns."""
        return self._rows.collect_schema().names()

    def key_columns(self, labels: Mapping[str, Hashable]) -> pl.DataFrame:
        """Read the key columns."""
        if not labels:
            return pl.DataFrame(height=self._rows.select(pl.len()).collect().item())
        return self._rows.select(
            pl.col(str(own)).alias(key) for key, own in labels.items()
        ).collect()

    def with_columns(self, columns: Iterable[KeyedColumn]) -> pl.DataFrame:
        """Read the whole file, and put the columns beside its own."""
        return EagerFrame(self._rows.collect()).with_columns(columns)

    def pieces(self, rows: int) -> Iterator[tuple[UserFrame, int]]:
        """Read some rows at a time."""
        cut = False
        for piece in self._rows.collect_batches(chunk_size=rows, maintain_order=True):
            cut = True
            yield EagerFrame(piece), piece.height
        if not cut:
            yield EagerFrame(self._rows.collect()), 0

    def to_arrow(self, made: pl.DataFrame) -> pa.Table:
        """Make an Arrow table of a piece."""
        return _to_arrow(made)


class LazyFrame(UserFrame):
    """A `polars.LazyFrame`: only its keys are collected, and the plan finds its columns by them.

    By key and not by position, since a lazy frame may give its rows in another order each time.
    """

    def __init__(self, frame: pl.LazyFrame) -> None:
        self._frame = frame
        self._keys = pl.DataFrame()
        self._weights: pl.Series | None = None

    @property
    def columns(self) -> Sequence[Hashable]:
        """The names of its columns."""
        return self._frame.collect_schema().names()

    def key_columns(self, labels: Mapping[str, Hashable]) -> pl.DataFrame:
        """Collect the distinct combinations of the key columns."""
        if not labels:  # one row of features stands for all rows of the frame
            self._keys = pl.DataFrame(height=1)
            self._weights = self._frame.select(pl.len()).collect().to_series()
            return self._keys
        names = list(dict.fromkeys(map(str, labels.values())))
        count = pl.len().alias(_free(_COUNT, names))
        counted = self._frame.group_by(names, maintain_order=True).agg(count)
        *keys, self._weights = counted.collect().get_columns()
        self._keys = pl.DataFrame(keys)
        return self._keys.select(pl.col(str(label)).alias(key) for key, label in labels.items())

    @property
    def weights(self) -> pl.Series | None:
        """How many rows have each combination of the keys."""
        return self._weights

    def with_columns(self, columns: Iterable[KeyedColumn]) -> pl.LazyFrame:
        """Let the plan find the columns by the keys as they are.

        Row by row, so that polars need not hold all of them, and can do first what takes rows or
        columns away. Its join holds three times as much, and takes as many times as long.
        """
        added = _spread(columns)
        if not self._keys.width or not added:
            return self._frame.join(pl.LazyFrame(added), how="cross") if added else self._frame
        names = self._keys.columns
        keys = pl.col(names[0]) if len(names) == 1 else pl.struct(names)
        find = KeyRows(self._keys).find
        row = _free(_ROW, [*self.columns, *(own.name for own in added)])
        numbered = self._frame.with_columns(_rowwise(keys, find, pl.UInt32()).alias(row))
        values = [
            _rowwise(pl.col(row), own.rechunk().gather, own.dtype).alias(own.name) for own in added
        ]
        return numbered.with_columns(values).drop(row)

    def row_label(self, position: int) -> str:
        """Call a row by its keys: its place in the frame is not known."""
        return f"the row with {self._keys.row(position, named=True)}"
