"""What a sample of a view's values looks like: bars, ranges, nulls, ages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from featkit.columns import Status
from featkit.durations import format_duration
from featkit.freshness import is_fresh

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from featkit.columns import FeatureColumns
    from featkit.schema import FeatureView

_BINS = 12
_WORDS = 6  # most frequent values that have a bar
_ROWS = 8  # rows that are shown as they are
_TEXT = 60  # characters of a value


def summary(view: FeatureView, keys: pl.DataFrame, found: FeatureColumns) -> dict[str, Any]:
    """Summarise the values of some entities.

    Parameters
    ----------
    view
        The view.
    keys
        The entities, one column per join key.
    found
        Their values.

    Returns
    -------
    dict
        What JSON can hold, for the pane that shows it.
    """
    height = keys.height
    columns = [*keys.head(_ROWS), *found.values.head(_ROWS)]
    return {
        "state": "there",
        "words": f"Sample of {height:,} {'entity' if height == 1 else 'entities'}",
        "features": [_column(found, name) for name in found.values.columns],
        "header": [*view.join_keys, *found.values.columns],
        "rows": list(map(list, zip(*map(_texts, columns), strict=True))),
    }


def freshness(view: FeatureView, found: FeatureColumns, now: datetime) -> dict[str, str] | None:
    """Judge the newest event timestamp of a sample against the view's ttl; None: static."""
    if not view.timestamp:
        return None
    stamps = [series.max() for series in found.timestamps.values()]
    newest: datetime | None = max((stamp for stamp in stamps if stamp is not None), default=None)  # type: ignore[assignment]
    if newest is None:
        return _verdict("warn", "No event timestamp is known for this sample.")
    told = f"newest of the sample {newest:%Y-%m-%d %H:%M} UTC"
    if newest > now:
        return _verdict("warn", f"In the future: {told}, after the store's now")
    age = _short(now - newest)
    if view.ttl is None:
        return _verdict("good", f"{age} old: {told}; there is no ttl to compare with")
    ttl = format_duration(view.ttl)
    if is_fresh(newest, view.ttl, now):
        return _verdict("good", f"Fresh: {told}, {age} old, ttl {ttl}")
    return _verdict("bad", f"Stale: {told}, {age} old, ttl {ttl}")


def _verdict(tone: str, words: str) -> dict[str, str]:
    return {"tone": tone, "sign": {"good": "✓", "warn": "!", "bad": "✗"}[tone], "words": words}


def _short(age: timedelta) -> str:
    """Write an age by its two largest units."""
    whole = age - (age % type(age)(seconds=1))
    days, rest = divmod(whole, type(age)(days=1))
    if days:
        return format_duration(type(age)(days=days, hours=rest // type(age)(hours=1)))
    return format_duration(whole)


def _column(found: FeatureColumns, name: str) -> dict[str, Any]:
    values, statuses = found.values[name], found.statuses[name]
    height = max(1, len(values))
    missing = int((statuses == Status.NOT_FOUND).sum())
    nulls = values.null_count() - missing
    told = [f"{nulls / height:.0%} null"] if nulls or not missing else []
    told += [f"{missing / height:.0%} not found"] * bool(missing)
    there = values.drop_nulls()
    if there.dtype.is_float():
        there = there.drop_nans()
    bars, span = _bars(there)
    share = (nulls + missing) / height
    return {
        "name": name,
        "bars": bars,
        "range": span,
        "nulls": {"share": share, "words": ", ".join(told)},
    }


def _bars(values: pl.Series) -> tuple[list[tuple[str, int]], str]:
    """Count values: numbers and times in bins, others by what they are; and tell their range."""
    if values.is_empty():
        return [], "no values"
    if values.dtype.is_numeric() or values.dtype.is_temporal():
        return _bins(values)
    if values.dtype.is_nested() or values.dtype in {pl.Binary, pl.Object}:
        return [], f"{len(values):,} value{'s' * (len(values) != 1)}"
    counted = values.alias("value").value_counts(sort=True, name="count")
    first = counted.sort("count", "value", descending=[True, False]).head(_WORDS)
    bars = [(_text(value), count) for value, count in first.iter_rows()]
    return bars, f"{counted.height:,} distinct" if len(bars) > 1 else f"always {bars[0][0]}"


def _bins(values: pl.Series) -> tuple[list[tuple[str, int]], str]:
    low, high = _text(values.min()), _text(values.max())
    if low == high:
        return [(low, len(values))], f"always {low}"
    timed = values.dtype.is_temporal()
    numbers = (values.to_physical() if timed else values).cast(pl.Float64)
    finite = numbers.filter(numbers.is_finite())
    if finite.n_unique() <= 1:
        return [], f"{low} to {high}"
    counted = finite.hist(bin_count=_BINS)
    ends = counted["breakpoint"].cast(values.dtype) if timed else counted["breakpoint"]
    bars = [(f"up to {_text(end)}", n) for end, n in zip(ends, counted["count"], strict=True)]
    return bars, f"{low} to {high}"


def _texts(values: pl.Series) -> list[str | None]:
    return [None if value is None else _text(value) for value in values]


def _text(value: Any) -> str:  # noqa: ANN401 - a value of any feature
    if isinstance(value, float):
        text = f"{value:,.4g}"
    elif hasattr(value, "isoformat"):
        text = (
            value.isoformat(" ", "minutes")
            if hasattr(value, "hour") and hasattr(value, "year")
            else value.isoformat()
        )
        text = text.replace("+00:00", "Z")
    elif isinstance(value, pl.Series):
        text = str(value.to_list())
    else:
        text = str(value)
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"
