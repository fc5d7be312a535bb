"""What is done with a frame of the user's, whatever its library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from featkit.errors import KeyTypeError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


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

    @abstractmethod
    def with_columns(self, columns: Iterator[pl.Series]) -> Any:  # noqa: ANN401 - a frame of the user's kind
        """Return a frame of the same kind with these columns after its own.

        Parameters
        ----------
        columns
            As long as the key columns read before, in their order.
        """

    def row_label(self, position: int) -> str:
        """Call a row the way the user does."""
        return f"row {position}"


def is_column(values: object) -> bool:
    """Tell whether something is a column of values: a list, an array, a series."""
    if isinstance(values, (str, bytes, Mapping)) or hasattr(values, "columns"):
        return False
    return isinstance(values, Sequence) or hasattr(values, "__array__")


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
    """
    if isinstance(values, pl.Series):
        return values.alias(name)
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        found = sorted({type(value).__name__ for value in values if value is not None})
        msg = f"the key {name!r} mixes types or holds one that cannot be a key: {', '.join(found)}"
        raise KeyTypeError(msg) from error
    if array.type == pa.uuid():
        text = pl.Series(name, array.storage).bin.encode("hex")
        return text.str.replace(r"(.{8})(.{4})(.{4})(.{4})(.{12})", "$1-$2-$3-$4-$5")
    return pl.Series(name, array)
