"""Durations as people write them: ``"7d"``, ``"1h30m"``, ``"250ms"``."""

from __future__ import annotations

import re
from datetime import timedelta

from featkit.errors import DurationError

_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|us|[wdhms])\s*")


def parse_duration(value: timedelta | str | float, *, what: str = "duration") -> timedelta:
    """Read a duration.

    Parameters
    ----------
    value
        A `datetime.timedelta`, a number of seconds, or text of numbers with the units
        ``w d h m s ms us``, largest first: ``"7d"``, ``"1h30m"``.
    what
        What the duration is, for the message of the error.

    Returns
    -------
    datetime.timedelta
        Never negative.

    Raises
    ------
    DurationError
        The value cannot be read, or is negative.

    Examples
    --------
    >>> parse_duration("1d12h")
    datetime.timedelta(days=1, seconds=43200)
    """
    found: timedelta | None = None
    if isinstance(value, timedelta):
        found = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found = _seconds(value)
    elif isinstance(value, str):
        found = _text(value.strip().lower())
    if found is None or found < timedelta(0):
        msg = (
            f"{what} {value!r} cannot be read; write a timedelta, seconds as a number, or text "
            "such as '7d', '1h30m', '45s', '250ms' (units: w d h m s ms us)"
        )
        raise DurationError(msg)
    return found


def _seconds(value: float) -> timedelta | None:
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError):  # beyond 2.7 million years, or NaN
        return None


def _text(text: str) -> timedelta | None:
    parts = list(_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        return None
    units = [part.group(2) for part in parts]
    if units != sorted(set(units), key=list(_UNITS).index):
        return None
    try:
        return sum((float(part.group(1)) * _UNITS[part.group(2)] for part in parts), timedelta())
    except OverflowError:
        return None


def format_duration(duration: timedelta) -> str:
    """Write a duration the way `parse_duration` reads it, exact to the microsecond.

    Examples
    --------
    >>> format_duration(timedelta(days=1, hours=12))
    '1d12h'
    """
    left, words = duration, []
    for unit, size in list(_UNITS.items())[1:]:
        count, left = divmod(left, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words) or "0s"


def roughly(duration: timedelta) -> str:
    """Write a duration by its two largest units, as people say it; a negative one with a minus.

    Examples
    --------
    >>> roughly(timedelta(days=3, hours=4, minutes=5)), roughly(timedelta(seconds=-90.5))
    ('3d4h', '-1m30s')
    """
    if duration < timedelta(0):
        return f"-{roughly(-duration)}"
    sizes = list(_UNITS.values())[1:]
    place = next((n for n, size in enumerate(sizes) if duration >= size), len(sizes) - 1)
    step = sizes[min(place + 1, len(sizes) - 1)]
    return format_duration(duration - duration % step)
