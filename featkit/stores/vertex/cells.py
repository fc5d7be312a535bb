"""The cells in which BigQuery answers, as columns: each is a text, or null."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from featkit.dtypes import instance
from featkit.errors import ProtocolError, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import msgspec

_ROWS = pl.List(pl.Struct({"f": pl.List(pl.Struct({"v": pl.String()}))}))


def rows_of(raw: msgspec.Raw) -> pl.Series:
    """Read the rows of a page; their cells stay texts."""
    try:
        rows: pl.Series = pl.Series([bytes(raw).decode()]).str.json_decode(_ROWS).item()
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        msg = f"the rows of a query are not what BigQuery sends: {reason_of(error)}"
        raise ProtocolError(msg) from error
    return rows


def cells_of(
    pages: Sequence[pl.Series], dtypes: Mapping[str, pl.DataType], view: str
) -> pl.DataFrame:
    """Turn cells into columns of these dtypes."""
    cells = pl.concat(pages).struct.field("f").alias("cells").to_frame()
    if (cells["cells"].list.len() != len(dtypes)).any():
        msg = f"expected {len(dtypes)} cells in each row of a query"
        raise ProtocolError(msg)
    try:
        return cells.select(
            _cell(pl.col("cells").list.get(place).struct.field("v"), dtype).alias(name)
            for place, (name, dtype) in enumerate(dtypes.items())
        )
    except pl.exceptions.PolarsError as error:
        msg = f"the rows of a query cannot become the columns of {view!r}: {reason_of(error)}"
        raise ProtocolError(msg) from error


def _cell(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    match dtype:
        case pl.Datetime():
            return text.cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case pl.Boolean():
            return text.replace_strict({"true": True, "false": False}, return_dtype=pl.Boolean)
        case pl.List() | pl.Struct():
            return _nested(text.str.json_decode(_held(dtype)), dtype)
        case _:
            return _plain(text, dtype)


def _plain(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    match dtype:
        case pl.Date():
            return text.str.to_date("%Y-%m-%d")
        case pl.Binary():
            return text.str.decode("base64")
        case _:
            return text.cast(dtype)


def _held(dtype: pl.DataType) -> pl.DataType:
    """Tell the dtype in which JSON is read: large integers, and NaN, are texts among numbers."""
    match dtype:
        case pl.List():
            return pl.List(_held(instance(dtype.inner)))
        case pl.Struct():
            return pl.Struct({own.name: _held(instance(own.dtype)) for own in dtype.fields})
        case pl.Boolean():
            return dtype
        case _:
            return pl.String()


def _nested(held: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Turn what was read from JSON, where times are written out, into values."""
    match dtype:
        case pl.List():
            return held.list.eval(_nested(pl.element(), instance(dtype.inner)))
        case pl.Struct():
            parts = [
                _nested(held.struct.field(own.name), instance(own.dtype)).alias(own.name)
                for own in dtype.fields
            ]
            return pl.when(held.is_not_null()).then(pl.struct(parts))
        case pl.Datetime():
            return held.str.to_datetime("%+", time_unit="us", time_zone="UTC")
        case pl.Boolean():
            return held
        case _:
            return _plain(held, dtype)
