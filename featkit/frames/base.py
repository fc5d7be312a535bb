"""What is done with a frame of the user's, whatever its library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from itertools import compress
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from featkit.errors import KeyTypeError, TimestampError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from featkit.columns import KeyedColumn

_PLAIN: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    bytes: pl.Binary(),
    date: pl.Date(),
    float: pl.Float64(),
    int: pl.Int64(),
    str: pl.String(),
}
"""What values of these very types are, and not of types that inherit from them."""


class UserFrame(ABC):
    """A frame of the user's for the length of one call; the frame itself is never changed."""

    @property
    @abstractmethod
    def columns(self) -> Sequence[Hashable]:
        """The labels of its columns."""

    @property
    def key_levels(self) -> Sequence[Hashable]:
        """The names under which keys can be had besides the columns: those of the index."""
        return ()

    @abstractmethod
    def key_columns(self, labels: Mapping[str, Hashable]) -> pl.DataFrame:
        """Read key columns.

        Parameters
        ----------
        labels
            By join key, the label of the column.

        Returns
        -------
        polars.DataFrame
            One column per join key, named by it.
        """

    @property
    def weights(self) -> pl.Series | None:
        """How many rows of the frame each row of the key columns stands for; None: itself."""
        return None

    @abstractmethod
    def with_columns(self, columns: Iterable[KeyedColumn]) -> Any:  # noqa: ANN401 - a frame of the user's kind
        """Return a frame of the same kind with these columns after its own.

        Parameters
        ----------
        columns
            Their positions are as long as the key columns read before, in their order.
        """

    def pieces(self, rows: int) -> Iterator[tuple[UserFrame, int]]:
        """Cut the frame into frames of so many rows, each with its height; never into none.

        A plan cannot be cut, since its rows have no order.
        """
        raise NotImplementedError

    def to_arrow(self, made: Any) -> pa.Table:  # noqa: ANN401 - a frame of the user's kind
        """Make an Arrow table, to be written to a file, of what `with_columns` made of a piece.

        Raises
        ------
        InputError
            Parquet cannot hold a column of the frame.
        """
        raise NotImplementedError

    def row_label(self, position: int) -> str:
        """Call a row the way the user does."""
        return f"row {position}"


def is_column(values: object) -> bool:
    """Tell whether something is a column of values: a list, an array, a series."""
    if isinstance(values, (str, bytes, Mapping)) or hasattr(values, "columns"):
        return False
    if hasattr(values, "__array__"):
        return getattr(values, "ndim", 1) > 0  # numpy's numbers are no columns, though arrays
    return isinstance(values, Sequence)


def series_of(name: str, values: Any) -> pl.Series:  # noqa: ANN401 - whatever is a column
    """Make a polars series of a column; NaN and None are null, an UUID is its text.

    Parameters
    ----------
    name
        Name of the series.
    values
        A series of polars or pandas, an array, or a sequence of Python objects.

    Raises
    ------
    KeyTypeError
        The values have several types, or one that cannot be a key.
    TimestampError
        Some of the values are naive timestamps, others are not.
    """
    if isinstance(values, pl.Series):
        return values.alias(name)
    if (plain := _of_one_type(name, values)) is not None:
        return plain
    try:
        array = _array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _mixed(name, values) from error
    if not hasattr(values, "dtype") or values.dtype == np.dtype(object):
        _refuse_mixtures(name, array, values)
    if array.type == pa.uuid():
        text = pl.Series(name, array.storage).bin.encode("hex")
        return text.str.replace(r"(.{8})(.{4})(.{4})(.{4})(.{12})", "$1-$2-$3-$4-$5")
    return pl.Series(name, _in_known_zone(_viewed(array)))


def _of_one_type(name: str, values: Any) -> pl.Series | None:  # noqa: ANN401 - whatever is a column
    """Make a series where it is plain what the values are; None: Arrow is to find that out.

    Arrow takes longer, and imports pandas where it is installed, in a third of a second.
    """
    if type(values) is np.ndarray:  # and no masked one
        whole = values.ndim == 1 and values.dtype.kind in "iu" and values.dtype.isnative
        return pl.Series(name, values) if whole else None
    if not isinstance(values, (list, tuple, range)):
        return None
    kinds = set(map(type, values)) - {NoneType}
    dtype = _PLAIN.get(kinds.pop()) if len(kinds) == 1 else None
    if dtype is None:
        return None
    try:
        made = pl.Series(name, values, dtype=dtype)
    except (TypeError, ValueError):  # too large a number, or half of a surrogate pair
        return None
    return made.fill_nan(None) if dtype.is_float() else made


def _array(values: Any) -> pa.Array | pa.ChunkedArray:  # noqa: ANN401 - whatever is a column
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, np.dtype) and not dtype.isnative:  # as files of FITS and SAS have them
        values = np.asarray(values).astype(dtype.newbyteorder("="))
    try:
        return pa.array(values, from_pandas=True)
    except OverflowError:  # Arrow takes Python's whole numbers for signed ones, unless told
        return pa.array(values, pa.uint64(), from_pandas=True)


def _viewed(array: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Cast text to Arrow's views, which polars takes as they are; its own cast takes far longer."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        with suppress(pa.ArrowException):  # too much text for one piece, or an older pyarrow
            return array.cast(pa.string_view())
    return array


def _in_known_zone(array: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Give timestamps at an offset, such as +05:30, the zone UTC: polars knows zones by name."""
    if pa.types.is_timestamp(array.type) and (array.type.tz or "").startswith(("+", "-")):
        return array.cast(pa.timestamp(array.type.unit, "UTC"))
    return array


def _mixed(name: str, values: Any) -> KeyTypeError:  # noqa: ANN401 - whatever is a column
    found = sorted({type(value).__name__ for value in values if value is not None})
    match found:
        case ["int"]:
            why = "holds an int that does not fit into 64 bits"
        case ["str"]:
            why = "holds a str that is not Unicode: half of a surrogate pair"
        case _:
            why = f"mixes types or holds one that cannot be a key: {', '.join(found)}"
    return KeyTypeError(f"the key {name!r} {why}")


def _refuse_mixtures(name: str, array: pa.Array, values: Any) -> None:  # noqa: ANN401 - whatever is a column
    """Refuse Python objects of which Arrow has made one type though they mean different things.

    It takes a naive timestamp for UTC, a timestamp for its date, text for its bytes, and a float
    for a whole number where there are large ones.
    """
    present = compress(values, array.is_valid().to_pylist())
    if pa.types.is_timestamp(array.type):
        if len({getattr(value, "tzinfo", None) is None for value in present}) > 1:
            msg = f"the key {name!r} mixes naive timestamps and such with a zone; give all a zone"
            raise TimestampError(msg)
    elif pa.types.is_date(array.type):
        if any(isinstance(value, datetime) for value in present):
            raise _mixed(name, values)
    elif (pa.types.is_binary(array.type) and any(isinstance(value, str) for value in present)) or (
        pa.types.is_uint64(array.type) and any(isinstance(value, float) for value in present)
    ):
        raise _mixed(name, values)
