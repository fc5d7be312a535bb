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
        Population stability index: below 0.1 alike, above 0.25 another population, by a common
        rule of thumb.
    distance
        Jensen-Shannon distance, from 0 (alike) to 1.
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
    own, other = _as_numbers(own), _as_numbers(other)
    if own.dtype.is_numeric() and other.dtype.is_numeric():
        return _of_numbers(own, other)
    return _of_categories(own, other)


def _as_numbers(column: pl.Series) -> pl.Series:
    """Take times for numbers: microseconds, or days."""
    match column.dtype:
        case pl.Datetime() | pl.Duration():
            return column.dt.cast_time_unit("us").to_physical()
        case pl.Date() | pl.Time():
            return column.to_physical()
        case _:
            return column


def _of_numbers(own: pl.Series, other: pl.Series) -> Drift:
    stats = _scipy_stats()
    one, two = (
        each.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy() for each in (own, other)
    )
    edges = np.unique(np.quantile(one, np.linspace(0, 1, _BINS + 1))) if len(one) else np.zeros(0)
    inner = edges[1:-1] if len(edges) > 2 else edges  # noqa: PLR2004 - two ends are no bin's edge
    before, after = (
        np.bincount(np.searchsorted(inner, each, side="right"), minlength=len(inner) + 1)
        for each in (one, two)
    )
    statistic, p_value = (0.0, 1.0)
    if len(one) and len(two):
        with np.errstate(divide="ignore"):  # of a single value each
            test = stats.ks_2samp(one, two, method="asymp")
        statistic, p_value = float(test.statistic), float(test.pvalue)
    outside = 0.0
    if len(one) and len(two):
        outside = float(((two < one.min()) | (two > one.max())).mean())
    return Drift(
        column=own.name,
        kind="numbers",
        **_shared(own.cast(pl.Float64).fill_nan(None), other.cast(pl.Float64).fill_nan(None)),
        psi=psi(before, after),
        distance=distance(before, after),
        statistic=statistic,
        p_value=p_value,
        outside=outside,
    )


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
        **_shared(own, other),
        psi=psi(*table),
        distance=distance(*table),
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


def _shared(own: pl.Series, other: pl.Series) -> dict[str, Any]:
    return {
        "rows": len(own),
        "other_rows": len(other),
        "nulls": own.null_count() / max(len(own), 1),
        "other_nulls": other.null_count() / max(len(other), 1),
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
