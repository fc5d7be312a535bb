"""Feature columns as pandas columns: dtypes follow the schema, never the values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from featkit.types import DtypeBackend


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
        bytes) Arrow dtypes. ``"pyarrow"``: Arrow dtypes throughout.

    Returns
    -------
    pandas.DataFrame
        Owns its memory: writing to it changes nothing else.
    """
    convert = _arrow if dtype_backend == "pyarrow" else _nullable
    made = {column.name: pd.Series(convert(column), index=index, copy=False) for column in columns}
    return pd.DataFrame(made, index=index, copy=False)


def _nullable(column: pl.Series) -> object:
    match column.dtype:
        case dtype if dtype.is_integer():
            values = column.fill_null(0).to_numpy(writable=True)
            return pd.arrays.IntegerArray(values, _mask(column))
        case dtype if dtype.is_float():
            return column.to_numpy(writable=True)
        case pl.Boolean():
            values = column.fill_null(value=False).to_numpy(writable=True)
            return pd.arrays.BooleanArray(values, _mask(column))
        case pl.String():
            return pd.array(column.to_arrow(), dtype=pd.StringDtype(na_value=np.nan))
        case pl.Datetime(time_zone=zone):
            times = pd.Series(column.to_numpy(writable=True), copy=False)
            return times.dt.tz_localize("UTC").dt.tz_convert(zone).array if zone else times.array
        case pl.Duration():
            return column.to_numpy(writable=True)
        case pl.Enum(categories=categories):
            codes = column.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
            return pd.Categorical.from_codes(codes, categories=pd.Index(categories.to_list()))
        case _:
            return _arrow(column)


def _mask(column: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return column.is_null().to_numpy(writable=True)


def _arrow(column: pl.Series) -> object:
    if isinstance(column.dtype, pl.Enum):
        return _nullable(column)
    arrow = column.to_arrow()
    return pd.array(arrow, dtype=pd.ArrowDtype(arrow.type))
