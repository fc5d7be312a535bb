"""Two distributions of one column, compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit.errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

    import numpy.typing as npt

_BINS = 10
_MOST_VALUES = 50  # of a category; the rarer ones count as one


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far a column of one frame is from that of another.

    Attributes
    ----------
    column
        Its name.
    kind
        ``"numbers"`` or ``"categories"``.
    rows, other_rows
        Rows of the two frames.
    psi
        Population stability index, for which null is a value as well: below 0.1 alike, above 0.25
        another population, by a common rule of thumb.
    distance
        Jensen-Shannon distance, from 0 (alike) to 1, of the same.
    statistic, p_value
        Of the test of Kolmogorov and Smirnov for numbers, of chi-squared for categories: how
        likely such a difference is if both come from one population.
    nulls, other_nulls
        Shares of nulls.
    outside
        Share of the other frame's numbers beyond the range of this one's; None for categories.
    """

    column: str
    kind: str
    rows: int
    other_rows: int
    psi: float
    distance: float
    statistic: float
    p_value: float
    nulls: float
    other_nulls: float
    outside: float | None = None


def drift(own: pl.Series, other: pl.Series) -> Drift:
    """Compare two columns, the first of which is the reference.

    Raises
    ------
    MissingExtraError
        scipy, the extra ``audit``, is not installed.
    """
    own, other = _alike(own, other)
    if own.dtype.is_numeric() and other.dtype.is_numeric():
        return _of_numbers(
            own.cast(pl.Float64).fill_nan(None), other.cast(pl.Float64).fill_nan(None)
        )
    return _of_categories(own, other)


def _alike(own: pl.Series, other: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Take times for numbers, flags too where the other column has numbers, and null for either."""
    own, other = _as_numbers(own), _as_numbers(other)
    for one, two in ((own, other), (other, own)):
        if two.dtype.is_numeric() and one.dtype in {pl.Boolean, pl.Null}:
            return own.cast(pl.Float64), other.cast(pl.Float64)
    return own, other


def _as_numbers(column: pl.Series) -> pl.Series:
    """Take times for numbers: microseconds."""
    match column.dtype:
        case pl.Datetime() | pl.Duration():
            return column.dt.cast_time_unit("us").to_physical()
        case pl.Date():
            return column.cast(pl.Datetime("us")).to_physical()
        case pl.Time():
            return column.to_physical()
        case _:
            return column


def _of_numbers(own: pl.Series, other: pl.Series) -> Drift:
    stats = _scipy_stats()
    one, two = (each.drop_nulls().to_numpy() for each in (own, other))
    before, after = _histograms(one, two)
    statistic, p_value, outside = 0.0, 1.0, 0.0
    if len(one) and len(two):
        with np.errstate(divide="ignore", invalid="ignore"):  # of a single value each
            test = stats.ks_2samp(one, two, method="asymp")
        statistic = float(test.statistic)
        p_value = float(test.pvalue) if np.isfinite(test.pvalue) else 1.0
        outside = float(((two < one.min()) | (two > one.max())).mean())
    return Drift(
        column=own.name,
        kind="numbers",
        **_shared(own, other, before, after),
        statistic=statistic,
        p_value=p_value,
        outside=outside,
    )


def _histograms(
    one: npt.NDArray[np.float64], two: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count numbers in bins with as many of the first ones each; few values have a bin each."""
    values = np.unique(one)
    if len(values) <= _BINS:  # the bins between them are for numbers that the first ones lack
        places = [
            np.searchsorted(values, each, "left") + np.searchsorted(values, each, "right")
            for each in (one, two)
        ]
        size = 2 * len(values) + 1
    else:
        tenths = np.quantile(one, np.linspace(0, 1, _BINS + 1), method="lower")
        ends, times = np.unique(tenths, return_counts=True)
        often = ends[times > 1]  # has a bin of its own
        inner = np.unique([*ends[1:-1], *often, *np.nextafter(often, np.inf)])
        places = [np.searchsorted(inner, each, "right") for each in (one, two)]
        size = len(inner) + 1
    before, after = (np.bincount(each, minlength=size) for each in places)
    return before, after


def _of_categories(own: pl.Series, other: pl.Series) -> Drift:
    stats = _scipy_stats()
    counts = [_counted(each) for each in (own, other)]
    both = counts[0].join(counts[1], on="value", how="full", coalesce=True).fill_null(0)
    both = both.sort("count", descending=True)
    table = both.select("count", "count_right").to_numpy().T
    if table.shape[1] > _MOST_VALUES:
        rest = table[:, _MOST_VALUES:].sum(axis=1, keepdims=True)
        table = np.hstack([table[:, :_MOST_VALUES], rest])
    statistic, p_value = (0.0, 1.0)
    if table.shape[1] > 1 and table.sum(axis=1).all():
        test = stats.chi2_contingency(table)
        statistic, p_value = float(test.statistic), float(test.pvalue)
    return Drift(
        column=own.name,
        kind="categories",
        **_shared(own, other, *table),
        statistic=statistic,
        p_value=p_value,
    )


def _counted(column: pl.Series) -> pl.DataFrame:
    values = column.drop_nulls()
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        values = values.hash()
    return (
        values.cast(pl.String)
        .alias("value")
        .to_frame()
        .group_by("value")
        .agg(count=pl.len().cast(pl.Int64))
    )


def _shared(
    own: pl.Series,
    other: pl.Series,
    before: npt.NDArray[np.int64],
    after: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """Compare two histograms, in which null is a bin of its own."""
    nulls = own.null_count(), other.null_count()
    bins = [np.append(each, count) for each, count in zip((before, after), nulls, strict=True)]
    return {
        "rows": len(own),
        "other_rows": len(other),
        "psi": psi(*bins),
        "distance": distance(*bins),
        "nulls": nulls[0] / max(len(own), 1),
        "other_nulls": nulls[1] / max(len(other), 1),
    }


def psi(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> float:
    """Compute the population stability index of two histograms over the same bins.

    Examples
    --------
    >>> psi(np.array([50, 50]), np.array([50, 50]))
    0.0
    >>> round(psi(np.array([90, 10]), np.array([50, 50])), 3)
    0.879
    """
    if not before.sum() or not after.sum():
        return 0.0
    before, after = (each[(before > 0) | (after > 0)] for each in (before, after))
    # half a row in each empty bin, so that no share is zero
    p, q = (np.where(each > 0, each, 0.5) / each.sum() for each in (before, after))
    return float(((q - p) * np.log(q / p)).sum())


def distance(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> float:
    """Compute the Jensen-Shannon distance, base 2, of two histograms over the same bins."""
    if not before.sum() or not after.sum():
        return 0.0
    try:
        from scipy.spatial.distance import jensenshannon  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("audit", "comparing distributions") from error
    found = float(jensenshannon(before, after, base=2))
    return 0.0 if np.isnan(found) else found


def _scipy_stats() -> ModuleType:
    try:
        from scipy import stats  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError("audit", "comparing distributions") from error
    return stats
