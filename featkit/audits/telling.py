"""How surely a column alone tells the label: who knows the answer has seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.audits.report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

_FEWEST = 20  # rows of a label, or of a group of values, below which they say nothing
_MOST = 50  # groups of values
_CLASSES = 20  # values of a label, up to which whole numbers are names of classes
_ENOUGH = {  # from which on a measure is suspicious; the last two lose some at the edges of groups
    "area under the curve": 0.99,
    "correlation of ranks": 0.99,
    "correlation ratio": 0.98,
    "mutual information": 0.95,
}


def telling(column: str, feature: pl.Series, label: pl.Series) -> Iterator[Finding]:
    """Suspect a feature that alone tells the label.

    By the area under the curve where the label has two values, by the correlation of ranks where
    it is a number. Both miss what neither rises nor falls, labels of several classes and features
    that are words; so the feature's values are grouped, null being a value as well, and it is
    seen how much the groups tell: of classes the mutual information, as a share of the label's
    entropy; of numbers the correlation ratio, the share of their variance, or of their ranks'.

    Parameters
    ----------
    column
        What the feature is called.
    feature, label
        Their values, row by row.
    """
    feature, label = _ordered(feature), _ordered(label)
    told = label.is_not_null()
    known = told & feature.is_not_null()
    measured = [
        *_by_rank(feature.filter(known), label.filter(known)),
        *_by_groups(feature.filter(told), label.filter(told)),
    ]
    for measure, strength in measured:
        if strength >= _ENOUGH[measure]:
            yield Finding(
                check="label",
                level="warning",
                column=column,
                rows=int(known.sum()),
                examined=len(feature),
                message=f"alone it tells the label almost surely ({measure} {strength:.3f})",
            )
            return


def _ordered(feature: pl.Series) -> pl.Series:
    """Make numbers of what has an order, in which not-a-number is null."""
    if feature.dtype.is_temporal():
        feature = feature.to_physical()
    if feature.dtype.is_numeric() or feature.dtype == pl.Boolean:
        return feature.cast(pl.Float64).fill_nan(None)
    return feature


def _by_rank(feature: pl.Series, label: pl.Series) -> Iterator[tuple[str, float]]:
    if not feature.dtype.is_numeric() or len(feature) < _FEWEST or feature.n_unique() == 1:
        return
    ranks = feature.rank()
    if label.n_unique() == 2:  # noqa: PLR2004 - yes and no
        positive = label == label.max()
        ones, zeros = int(positive.sum()), int((~positive).sum())
        if min(ones, zeros) >= _FEWEST:
            area = (float(ranks.filter(positive).sum()) - ones * (ones + 1) / 2) / (ones * zeros)
            yield "area under the curve", max(area, 1 - area)
    elif label.dtype.is_numeric():
        other = label.cast(pl.Float64).rank()
        correlation = pl.DataFrame({"a": ranks, "b": other}).select(pl.corr("a", "b")).item()
        yield "correlation of ranks", abs(correlation or 0.0)


def _by_groups(feature: pl.Series, label: pl.Series) -> Iterator[tuple[str, float]]:
    groups = _grouped(feature)
    if groups is None:
        return
    if label.dtype.is_numeric() and label.n_unique() > _CLASSES:
        numbers = label.cast(pl.Float64)
        yield "correlation ratio", max(_ratio(groups, each) for each in (numbers, numbers.rank()))
    elif not label.dtype.is_nested():
        classes = label.rank("dense").to_numpy().astype(np.int64) - 1
        if (np.bincount(classes) >= _FEWEST).sum() > 1:
            yield "mutual information", _share_of_entropy(groups, classes)


def _grouped(feature: pl.Series) -> npt.NDArray[np.int64] | None:
    """Give each value the number of its group, one for all that are rare; None: there is one."""
    if feature.dtype.is_nested() or feature.dtype in {pl.Binary, pl.Object}:
        return None
    if feature.dtype.is_numeric() and feature.n_unique() > _MOST:
        feature = _bins(feature)
    codes = feature.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    rare = np.bincount(codes) < _FEWEST
    codes = np.unique(np.where(rare[codes], -1, codes), return_inverse=True)[1]
    return codes if len(codes) and codes.max() else None


def _bins(numbers: pl.Series) -> pl.Series:
    """Cut numbers into bins with as many rows each."""
    there = numbers.drop_nulls().to_numpy()
    count = max(min(_MOST, len(there) // _FEWEST), 1)
    edges = np.unique(np.quantile(there, np.linspace(0, 1, count + 1)[1:-1], method="lower"))
    places = pl.Series(np.searchsorted(edges, numbers.fill_null(0).to_numpy(), "right"))
    return places.set(numbers.is_null(), None)


def _ratio(groups: npt.NDArray[np.int64], numbers: pl.Series) -> float:
    values = numbers.to_numpy()
    if not np.isfinite(values).all():
        return 0.0
    apart = values - values.mean()
    sums = np.bincount(groups, apart)
    between = (sums**2 / np.bincount(groups)).sum()
    return float(between / (apart**2).sum())


def _share_of_entropy(groups: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]) -> float:
    width = int(classes.max()) + 1
    entropies = [_entropy(each) for each in (groups, classes, groups * width + classes)]
    return float((entropies[0] + entropies[1] - entropies[2]) / entropies[1])


def _entropy(codes: npt.NDArray[np.int64]) -> float:
    shares = np.unique(codes, return_counts=True)[1] / len(codes)
    return float(-(shares * np.log(shares)).sum())
