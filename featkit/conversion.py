"""Feature columns as pandas columns: dtypes follow the schema, never the values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from featkit.dtypes import cast_exactly
from featkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from featkit.columns import KeyedColumn
    from featkit.types import DtypeBackend

_PIECE = 2**17  # rows whose values are taken at a time: so many positions stay in the CPU's cache


def to_pandas(
    columns: Iterable[pl.Series], index: pd.Index, *, dtype_backend: DtypeBackend
) -> pd.DataFrame:
    """Turn polars columns into a pandas frame.

    Parameters
    ----------
    columns
        The columns, consumed one by one, so that each can be let go before the next is made.
    index
        Index of the result, as long as each column.
    dtype_backend
        ``"numpy_nullable"``: integers and booleans become pandas' masked dtypes of the same
        width, floats numpy with NaN for null, text ``str``, times ``datetime64[us, zone]``, Enum
        categorical, and what pandas has no dtype of its own for (list, struct, decimal, date,
        bytes, integers of 128 bits as decimals) Arrow dtypes. ``"pyarrow"``: Arrow dtypes
        throughout.

    Returns
    -------
    pandas.DataFrame
        Owns its memory: writing to it changes nothing else.
    """
    return _frame(((column, _Rows(None)) for column in columns), index, dtype_backend)


def keyed_to_pandas(
    columns: Iterable[KeyedColumn], index: pd.Index, *, dtype_backend: DtypeBackend
) -> pd.DataFrame:
    """Turn columns with their values once per key into a pandas frame with a row per position.

    No column is held twice at full length. Parameters and result are those of `to_pandas`.
    """
    keyed = ((column.values, _Rows(column.positions)) for column in columns)
    return _frame(keyed, index, dtype_backend)


def _frame(
    columns: Iterable[tuple[pl.Series, _Rows]], index: pd.Index, dtype_backend: DtypeBackend
) -> pd.DataFrame:
    convert = _arrow if dtype_backend == "pyarrow" else _nullable
    made = {}
    for column, rows in columns:
        values = convert(rows.completed(_narrowed(column)), rows)
        made[column.name] = pd.Series(values, index=index, copy=False)
    return pd.DataFrame(made, index=index, copy=False)


def _narrowed(values: pl.Series) -> pl.Series:
    """Make 128-bit integers, which neither pandas nor Arrow has, decimals of 38 digits."""
    if not isinstance(values.dtype, pl.Int128 | pl.UInt128):
        return values
    try:
        return cast_exactly(values, pl.Decimal(38, 0))
    except ValueError as error:
        msg = f"the column {values.name!r} {error}, which is the most that pandas can hold"
        raise InputError(msg) from error


@dataclass(frozen=True, slots=True)
class _Rows:
    """For each row the position of its value, null where it has none; None: its own."""

    positions: pl.Series | None

    def completed(self, values: pl.Series) -> pl.Series:
        """Append a null for the rows that have no value."""
        if self.positions is None or not self.positions.null_count():
            return values
        return pl.concat([values, values.clear(1)], rechunk=True)

    def numpy(self, values: pl.Series) -> npt.NDArray[Any]:
        """Give each row its value, in memory of its own."""
        if self.positions is None:
            return values.to_numpy(writable=True)
        once = values.to_numpy()
        taken = np.empty(len(self.positions), once.dtype)
        for place, positions in self._pieces(values):
            out = taken[place : place + len(positions)]
            np.take(once, positions, out=out, mode="clip")  # the other modes copy
        return taken

    def arrow(self, values: pl.Series) -> pa.Array | pa.ChunkedArray:
        """Give each row its value, in Arrow's memory."""
        once = values.to_arrow()
        if self.positions is None:
            return once
        # in pieces, since the memory for text is taken by doubling it
        taken = [once.take(pa.array(positions)) for _, positions in self._pieces(values)]
        return pa.chunked_array(taken, type=once.type)

    def _pieces(self, values: pl.Series) -> Iterator[tuple[int, npt.NDArray[np.uint32]]]:
        assert self.positions is not None  # noqa: S101 - asked by whom calls
        last = len(values) - 1
        for place in range(0, len(self.positions), _PIECE):
            piece = self.positions.slice(place, _PIECE)
            yield place, piece.fill_null(last).to_numpy()


def _nullable(column: pl.Series, rows: _Rows) -> object:
    match column.dtype:
        case dtype if dtype.is_integer():
            values = rows.numpy(column.fill_null(0))
            return pd.arrays.IntegerArray(values, rows.numpy(column.is_null()))
        case dtype if dtype.is_float():
            return rows.numpy(column)
        case pl.Boolean():
            values = rows.numpy(column.fill_null(value=False))
            return pd.arrays.BooleanArray(values, rows.numpy(column.is_null()))
        case pl.String():
            return pd.array(rows.arrow(column), dtype=pd.StringDtype(na_value=np.nan))
        case pl.Datetime(time_zone=zone):
            times = rows.numpy(column)
            if zone is None:
                return times
            # whole numbers are taken for UTC as they are; localizing would copy them
            return pd.array(times.view(np.int64), dtype=_zoned(times, zone), copy=False)
        case pl.Duration():
            return rows.numpy(column)
        case pl.Enum(categories=categories):
            codes = rows.numpy(column.to_physical().cast(pl.Int64).fill_null(-1))
            return pd.Categorical.from_codes(codes, categories=pd.Index(categories.to_list()))
        case _:
            return _arrow(column, rows)


def _zoned(times: npt.NDArray[Any], zone: str) -> pd.DatetimeTZDtype:
    unit: Any = np.datetime_data(times.dtype)[0]
    return pd.DatetimeTZDtype(unit, zone)


def _arrow(column: pl.Series, rows: _Rows) -> object:
    if isinstance(column.dtype, pl.Enum):
        return _nullable(column, rows)
    arrow = rows.arrow(column)
    return pd.array(arrow, dtype=pd.ArrowDtype(arrow.type))
