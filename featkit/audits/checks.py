"""Checks of columns: of times against moments, of values against what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.audits.report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    import numpy.typing as npt

_WORST = 5
_TELLING = 0.99  # area under the curve of one feature alone, from which on it tells too much
_FEWEST = 20  # rows of each label below which a curve says nothing


def times(
    column: str,
    stamps: pl.Series,
    *,
    at: pl.Series,
    label: pl.Series | None,
    ttl: timedelta | None,
    about: pl.DataFrame,
) -> Iterator[Finding]:
    """Compare the timestamps of a feature with the moments of the rows.

    Parameters
    ----------
    column
        What the timestamps are called.
    stamps, at, label
        Timestamps of the feature, moments, and when the label was known; UTC in microseconds.
    ttl
        How long a value is good; None: without limit.
    about
        What identifies the rows.
    """
    known = stamps.is_not_null() & at.is_not_null()
    examined = int(known.sum())
    lead = (stamps - at).alias("later by")
    future = known & (stamps > at)
    if future.any():
        yield Finding(
            check="times",
            level="error",
            column=column,
            rows=int(future.sum()),
            examined=examined,
            message="the feature is later than the moment of its row",
            examples=_worst(about, future, lead, stamps.alias(column)),
        )
    if label is not None:
        same = (known & (stamps == label)).fill_null(value=False)
        if same.any():
            yield Finding(
                check="times",
                level="warning",
                column=column,
                rows=int(same.sum()),
                examined=examined,
                message="the feature has the timestamp of the label, and may hold it",
                examples=_worst(about, same, lead, stamps.alias(column)),
            )
    if ttl is not None:
        age = (at - stamps).alias("age")
        old = (known & (age > ttl)).fill_null(value=False)
        if old.any():
            yield Finding(
                check="times",
                level="warning",
                column=column,
                rows=int(old.sum()),
                examined=examined,
                message="the value is older than its ttl, which a training set blanks",
                examples=_worst(about, old, age, stamps.alias(column)),
            )


def _worst(
    about: pl.DataFrame, rows: pl.Series, by: pl.Series, *columns: pl.Series
) -> pl.DataFrame:
    shown = about.with_columns(by, *columns)
    return shown.filter(rows).sort(by.name, descending=True, nulls_last=True).head(_WORST)


def equal(left: pl.Series, right: pl.Series, tolerance: float) -> npt.NDArray[np.bool_]:
    """Tell which values are the same; null is null, NaN is NaN, numbers may differ a little."""
    if left.dtype.is_numeric() and right.dtype.is_numeric():
        whole = left.dtype.is_integer() and right.dtype.is_integer()
        if not whole:
            one, two = (each.cast(pl.Float64).fill_nan(None) for each in (left, right))
            near = (one - two).abs() <= tolerance * pl.select(
                pl.max_horizontal(one.abs(), two.abs())
            ).to_series()
            same = near.fill_null(value=False) | (one == two).fill_null(value=False)
            same |= one.is_null() & two.is_null()
            return same.to_numpy()
    if left.dtype != right.dtype:
        try:
            left = left.cast(right.dtype)
        except pl.exceptions.PolarsError:
            return np.zeros(len(left), bool)
    return left.eq_missing(right).to_numpy()


_SAYINGS: Mapping[str, tuple[str, str]] = {
    "any age": ("warning", "the value is older than its ttl, which a training set blanks"),
    "next": ("error", "the value is that of the next row, which was not known yet"),
    "latest": ("error", "the value is that of the latest row, which was not known yet"),
    "missing": ("warning", "the value is null although one was known"),
    "other": ("warning", "the value is another one than the store had then"),
}


def values(
    column: str,
    found: pl.Series,
    expected: pl.Series,
    others: Mapping[str, pl.Series],
    *,
    tolerance: float,
    about: pl.DataFrame,
) -> Iterator[Finding]:
    """Compare the values of a sample with those that a join gives, and explain differences.

    Parameters
    ----------
    column
        The column of the frame.
    found, expected
        The values there, and what they should be.
    others
        What wrong joins give, by the name of the mistake, in the order in which to suspect them.
    tolerance
        How far numbers may be apart, as a share of the larger one.
    about
        What identifies the rows.
    """
    left = ~equal(found, expected, tolerance)
    shown = about.with_columns(found.alias("found"), expected.alias("expected"))
    for name, (level, message) in _SAYINGS.items():
        if name == "missing":
            hit = left & found.is_null().to_numpy()
        elif name == "other":
            hit = left
        elif name in others:
            hit = (
                left & equal(found, others[name], tolerance) & others[name].is_not_null().to_numpy()
            )
        else:
            continue
        if hit.any():
            yield Finding(
                check="values",
                level=level,  # type: ignore[arg-type] # one of the levels, as written above
                column=column,
                rows=int(hit.sum()),
                examined=len(found),
                message=message,
                examples=shown.filter(pl.Series(hit)).head(_WORST),
            )
        left &= ~hit


def telling(column: str, feature: pl.Series, label: pl.Series) -> Iterator[Finding]:
    """Suspect a feature that alone tells the label.

    By the area under the curve where the label has two values, else by the correlation of ranks.
    """
    both = feature.is_not_null() & label.is_not_null()
    if not feature.dtype.is_numeric() and feature.dtype != pl.Boolean:
        return
    values, outcome = feature.filter(both).cast(pl.Float64), label.filter(both)
    if not len(values) or values.n_unique() == 1:
        return
    ranks = values.rank()
    if outcome.n_unique() == 2:  # noqa: PLR2004 - yes and no
        positive = outcome == outcome.max()
        ones, zeros = int(positive.sum()), int((~positive).sum())
        if min(ones, zeros) < _FEWEST:
            return
        area = (float(ranks.filter(positive).sum()) - ones * (ones + 1) / 2) / (ones * zeros)
        strength, measure = max(area, 1 - area), "area under the curve"
    elif outcome.dtype.is_numeric() and len(values) >= _FEWEST:
        other = outcome.cast(pl.Float64).rank()
        correlation = pl.DataFrame({"a": ranks, "b": other}).select(pl.corr("a", "b")).item()
        strength, measure = abs(correlation or 0.0), "correlation of ranks"
    else:
        return
    if strength >= _TELLING:
        yield Finding(
            check="label",
            level="warning",
            column=column,
            rows=len(values),
            examined=len(feature),
            message=f"alone it tells the label almost surely ({measure} {strength:.3f})",
        )
