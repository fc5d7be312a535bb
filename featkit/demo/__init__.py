"""The flights that left New York City in 2013: a spine to enrich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

from featkit.api import register
from featkit.choices import one_of
from featkit.stores.demo import flights as _flights

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

__all__ = ["flights"]


@overload
def flights(library: Literal["pandas"] = "pandas") -> pd.DataFrame: ...
@overload
def flights(library: Literal["polars"]) -> pl.DataFrame: ...
def flights(library: Literal["pandas", "polars"] = "pandas") -> pd.DataFrame | pl.DataFrame:
    """Return the 336,776 flights of 2013, in the order of the data set, with ``.features``.

    Parameters
    ----------
    library
        Which kind of frame.

    Returns
    -------
    pandas.DataFrame or polars.DataFrame
        One row per flight: ``carrier``, ``flight``, ``tailnum`` (null where unknown), ``origin``,
        ``dest``, ``departs_at`` (scheduled departure, UTC, microseconds), schedule, distance in
        miles, and what became of it: delays and air time in minutes, ``arrived_at`` (UTC).

    Raises
    ------
    MissingExtraError
        The data set, the extra ``demo``, is not installed.
    InputError
        There is no such kind of frame.

    Examples
    --------
    >>> flights("polars").select("carrier", "flight", "tailnum", "departs_at").row(0)[:3]
    ('UA', 1545, 'N14228')
    """
    one_of("library", library, ("pandas", "polars"))
    frame = _flights()
    if library == "polars":
        register()
        return frame
    import pandas as pd  # noqa: PLC0415 - half a second that users of polars do not pay

    from featkit.conversion import to_pandas  # noqa: PLC0415 - the same half second

    register()  # pandas may not have been there when the store was connected
    return to_pandas(frame, pd.RangeIndex(frame.height), dtype_backend="numpy_nullable")
