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

    from featkit.audits.report import Level

_WORST = 5
_OLD = "the value is older than its ttl, which a training set blanks"


def times(
    column: str,
    stamps: pl.Series,
    *,
    at: pl.Series,
    label: pl.Series | None,
    limit: timedelta | None,
    about: pl.DataFrame,
) -> Iterator[Finding]:
    """Compare the timestamps of a feature with the moments of the rows.

    Parameters
    ----------
    column
        What the timestamps are called.
    stamps, at, label
        Timestamps of the feature, moments, and when the label was known; UTC in microseconds.
    limit
        How old a value may be; None: of any age.
    about
        What identifies the rows.
    """
    known = stamps.is_not_null() & at.is_not_null()
    lead, age = (stamps - at).alias("later by"), (at - stamps).alias("age")
    suspects: list[tuple[Level, pl.Series, pl.Series, str]] = [
        ("error", stamps > at, lead, "the feature is later than the moment of its row")
    ]
    if label is not None:
        message = "the feature has the timestamp of the label, and may hold it"
        suspects.append(("warning", stamps == label, lead, message))
    if limit is not None:
        suspects.append(("warning", age > limit, age, _OLD))
    for level, found, by, message in suspects:
        rows = (known & found).fill_null(value=False)
        if rows.any():
            yield Finding(
                check="times",
                level=level,
                column=column,
                rows=int(rows.sum()),
                examined=int(known.sum()),
                message=message,
                examples=_worst(about, rows, by, stamps.alias(column)),
            )


def _worst(
    about: pl.DataFrame, rows: pl.Series, by: pl.Series, *columns: pl.Series
) -> pl.DataFrame:
    shown = about.with_columns(by, *columns)
    return shown.filter(rows).sort(by.name, descending=True, nulls_last=True).head(_WORST)


def equal(left: pl.Series, right: pl.Series, tolerance: float) -> npt.NDArray[np.bool_]:
    """Tell which values are the same; null is null, NaN is NaN, numbers may differ a little.

    What was made a shorter float, to save memory, is compared with what the other would be as one.
    """
    if left.dtype.is_numeric() and right.dtype.is_numeric():
        if left.dtype.is_integer() and right.dtype.is_integer():
            left, right = left.cast(pl.Int128), right.cast(pl.Int128)
        else:
            kinds = {left.dtype, right.dtype}
            short = next((each for each in (pl.Float16, pl.Float32) if each in kinds), pl.Float64)
            one, two = (
                each.cast(short, strict=False).cast(pl.Float64).fill_nan(None)
                for each in (left, right)
            )
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


_SAYINGS: Mapping[str, tuple[Level, str]] = {
    "any age": ("warning", _OLD),
    "too early": (
        "error",
        "the value is that of a row whose event was past, but which was not known yet",
    ),
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
                level=level,
                column=column,
                rows=int(hit.sum()),
                examined=len(found),
                message=message,
                examples=shown.filter(pl.Series(hit)).head(_WORST),
            )
        left &= ~hit
