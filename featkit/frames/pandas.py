"""Pandas frames."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pyarrow as pa

from featkit.conversion import keyed_to_pandas
from featkit.errors import InputError, KeyColumnError, KeyTypeError
from featkit.frames.base import UserFrame, series_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from featkit.columns import KeyedColumn
    from featkit.types import DtypeBackend


class PandasFrame(UserFrame):
    """A `pandas.DataFrame`; its index, also a MultiIndex, stays as it is."""

    def __init__(self, frame: pd.DataFrame, dtype_backend: DtypeBackend) -> None:
        self._frame = frame
        self._dtype_backend = dtype_backend

    @property
    def columns(self) -> Sequence[Hashable]:
        """The labels of its columns; a label of a MultiIndex is its first level if that is all."""
        labels = self._frame.columns
        return [_flat(label) for label in labels] if labels.nlevels > 1 else list(labels)

    @property
    def key_levels(self) -> Sequence[Hashable]:
        """The names of the levels of its index."""
        return [name for name in self._frame.index.names if name is not None]

    def key_columns(self, labels: Mapping[str, Hashable]) -> pl.DataFrame:
        """Read the key columns, or levels of the index."""
        if not labels:
            return pl.DataFrame(height=len(self._frame))
        return pl.DataFrame([self._series(key, label) for key, label in labels.items()])

    def _series(self, key: str, label: Hashable) -> pl.Series:
        index = self._frame.index
        places = [place for place, own in enumerate(self.columns) if own == label]
        levels = [level for level, own in enumerate(index.names) if own == label]
        if len(found := places or levels) > 1:
            msg = (
                f"the frame has {len(found)} {'columns' if places else 'index levels'} {label!r}, "
                f"so that it cannot be told which holds the join key {key!r}; rename one, or name "
                f"another: on={{{key!r}: <column>}}"
            )
            raise KeyColumnError(msg)
        if places:
            values = self._frame.iloc[:, places[0]]
        else:
            values = index.get_level_values(levels[0]).to_series()
        if isinstance(values.dtype, pd.SparseDtype):
            values = values.astype(values.dtype.subtype)
        try:
            return series_of(key, values)
        except KeyTypeError as error:
            kinds = values.map(type, na_action="ignore")
            odd = (kinds.notna() & (kinds != kinds.dropna().iloc[0])).to_numpy()
            where = f" (first at {self.row_label(int(odd.argmax()))})" if odd.any() else ""
            msg = f"column {label!r}: {error}{where}"
            raise KeyTypeError(msg) from error

    def with_columns(self, columns: Iterable[KeyedColumn]) -> pd.DataFrame:
        """Put the columns beside the frame's own, whose memory is shared until somebody writes."""
        frame = self._frame
        right = keyed_to_pandas(columns, frame.index, dtype_backend=self._dtype_backend)
        if (levels := frame.columns.nlevels) > 1:
            padding = ("",) * (levels - 1)
            right.columns = pd.MultiIndex.from_tuples([(name, *padding) for name in right.columns])
        right.columns = right.columns.set_names(frame.columns.names)
        joined: Any = pd.concat([frame, right], axis=1)
        result: pd.DataFrame = joined.__finalize__(frame)  # attrs, flags, a subclass's own
        return result

    def pieces(self, rows: int) -> Iterator[tuple[UserFrame, int]]:
        """Cut the frame into slices."""
        for begin in range(0, max(len(self._frame), 1), rows):
            piece = self._frame.iloc[begin : begin + rows]
            yield PandasFrame(piece, self._dtype_backend), len(piece)

    def to_arrow(self, made: pd.DataFrame) -> pa.Table:
        """Make an Arrow table of a piece; the index becomes columns unless it only counts."""
        own = len(self.columns)
        named = made.set_axis([str(_flat(label)) for label in made.columns], axis=1)
        schema = self._schema
        for field in pa.Schema.from_pandas(named.iloc[:, own:], preserve_index=False):
            schema = schema.append(field)
        if len(set(schema.names)) < len(schema):
            msg = f"in a file each column has a name of its own, but there are {schema.names}"
            raise InputError(msg)
        table = pa.Table.from_pandas(named, schema=schema, preserve_index=not self._only_counts)
        return _readable(table)

    @property
    def _only_counts(self) -> bool:
        index = self._frame.index
        counts = isinstance(index, pd.RangeIndex) and (index.start, index.step) == (0, 1)
        return counts and index.name is None

    @cached_property
    def _schema(self) -> pa.Schema:
        """The types of the frame's own columns, for which objects in all of its rows count."""
        named = self._frame.set_axis([str(label) for label in self.columns], axis=1)
        try:
            return pa.Schema.from_pandas(named, preserve_index=not self._only_counts)
        except (pa.ArrowException, TypeError, ValueError) as error:
            msg = f"the pandas frame has columns that Parquet cannot hold: {error.args[0]}"
            raise InputError(msg) from error

    def row_label(self, position: int) -> str:
        """Call a row by its label in the index."""
        (label,) = self._frame.index[[position]].to_list()  # as Python has it, not numpy
        return f"row {label!r}"


def _flat(label: Hashable) -> Hashable:
    """Call a column of a MultiIndex by its first level where the other levels are empty."""
    if isinstance(label, tuple) and all(part == "" for part in label[1:]):
        first: Hashable = label[0]
        return first
    return label


def _readable(table: pa.Table) -> pa.Table:
    """Leave out dtypes of which pandas writes names into files that it cannot read itself."""
    metadata = dict(table.schema.metadata)
    told = json.loads(metadata[b"pandas"])
    for column in told["columns"]:
        try:
            pd.api.types.pandas_dtype(column["numpy_type"])
        except TypeError:
            column["numpy_type"] = "object"
    return table.replace_schema_metadata({**metadata, b"pandas": json.dumps(told)})
