"""Pandas frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl

from featkit.conversion import keyed_to_pandas
from featkit.errors import KeyColumnError, KeyTypeError
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
