"""How old rows are at one moment, and which ages are worth a warning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit.durations import format_duration
from featkit.errors import InputError
from featkit.freshness import is_fresh

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    import numpy.typing as npt

QUANTILES: Mapping[str, float] = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "max": 1.0}
_WARN_SHARE = 0.8  # of the ttl, at which a value has not much time left


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From which age on a value is worth a warning, or an error.

    Attributes
    ----------
    warn_after, error_after
        A value older than this; None: never. An age equal to it is good, as with the ttl.
    tolerate
        Which share of the entities, 0 to 1, may be older before the verdict says so.
    """

    warn_after: timedelta | None = None
    error_after: timedelta | None = None
    tolerate: float = 0.0

    @classmethod
    def of(
        cls,
        ttl: timedelta | None,
        *,
        warn_after: timedelta | None = None,
        error_after: timedelta | None = None,
        tolerate: float = 0.0,
    ) -> Thresholds:
        """Complete what was asked for with what follows from the ttl.

        Errors begin at the ttl, warnings at four fifths of the ttl or of `error_after`, whichever
        is shorter. Without any of the three nothing can be judged.

        Examples
        --------
        >>> from datetime import timedelta
        >>> made = Thresholds.of(timedelta(days=5))
        >>> str(made.warn_after), str(made.error_after)
        ('4 days, 0:00:00', '5 days, 0:00:00')
        """
        if not isinstance(tolerate, Real) or not 0 <= tolerate <= 1:
            msg = f"tolerate={tolerate!r} is no share; write a number from 0 to 1, such as 0.05"
            raise InputError(msg)
        if warn_after is not None and error_after is not None and warn_after > error_after:
            msg = (
                f"warn_after ({format_duration(warn_after)}) is later than error_after "
                f"({format_duration(error_after)}), so that nothing would ever warn"
            )
            raise InputError(msg)
        limits = [limit for limit in (ttl, error_after) if limit is not None]
        if warn_after is None and limits:
            warn_after = min(limits) * _WARN_SHARE
        error = ttl if error_after is None else error_after
        return cls(warn_after=warn_after, error_after=error, tolerate=tolerate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """How old some rows are.

    Attributes
    ----------
    rows
        How many there are.
    unknown, future
        How many of them have no event timestamp that can be read, and one that is later than now;
        the other figures leave them out, but for `beyond_warn` and `beyond_error`.
    beyond_warn, beyond_error
        How many are not fresh by each threshold; what lies in the future is fresh by none.
    newest, oldest
        Event timestamps, aware (UTC); None where there are none.
    p50, p90, p95, p99, max
        Quantiles of the ages: the smallest age that so many rows do not exceed.
    """

    rows: int = 0
    unknown: int = 0
    future: int = 0
    beyond_warn: int = 0
    beyond_error: int = 0
    newest: datetime | None = None
    oldest: datetime | None = None
    p50: timedelta | None = None
    p90: timedelta | None = None
    p95: timedelta | None = None
    p99: timedelta | None = None
    max: timedelta | None = None

    @property
    def known(self) -> int:
        """How many rows have an age."""
        return self.rows - self.unknown - self.future

    @property
    def min(self) -> timedelta | None:
        """The age of the newest row."""
        if self.newest is None or self.oldest is None or self.max is None:
            return None
        return self.max - (self.newest - self.oldest)


def ages(timestamps: pl.Series, thresholds: Thresholds, now: datetime) -> Ages:
    """Tell the ages of event timestamps (UTC, microseconds; null: unknown) at `now`.

    Examples
    --------
    >>> from datetime import UTC, datetime, timedelta
    >>> noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    >>> times = pl.Series([noon - timedelta(hours=h) for h in (1, 2, 3)])
    >>> str(ages(times, Thresholds(), noon).p50)
    '2:00:00'
    """
    unknown, future = timestamps.null_count(), timestamps > now
    ahead = true_count(future)
    past = timestamps.drop_nulls() if unknown else timestamps
    past = past.filter(past <= now) if ahead else past
    counted = Ages(
        rows=len(timestamps),
        unknown=unknown,
        future=ahead,
        beyond_warn=_beyond(timestamps, thresholds.warn_after, now),
        beyond_error=_beyond(timestamps, thresholds.error_after, now),
    )
    if not len(past):
        return counted
    # by rank, so that each quantile is the age of a row, exact to the microsecond
    ranks = {name: len(past) - int(np.ceil(share * len(past))) for name, share in QUANTILES.items()}
    places = sorted({*ranks.values(), len(past) - 1})
    found = _ranked(past.to_physical().to_numpy(), places)
    times = dict(zip(places, found.cast(timestamps.dtype).to_list(), strict=True))
    quantiles = {name: now - times[rank] for name, rank in ranks.items()}
    return replace(counted, newest=times[len(past) - 1], oldest=times[0], **quantiles)


def _ranked(numbers: npt.NDArray[Any], places: Sequence[int]) -> pl.Series:
    """Find the numbers that would be at these places, which ascend, if all were in order."""
    rest, found = numbers.copy(), []
    for place in reversed(places):  # one at a time, among ever fewer: far faster than all at once
        rest.partition(place)
        found.append(rest[place])
        rest = rest[:place]
    return pl.Series(found[::-1])


def _beyond(timestamps: pl.Series, limit: timedelta | None, now: datetime) -> int:
    return 0 if limit is None else true_count(~is_fresh(timestamps, limit, now))


def true_count(mask: pl.Series) -> int:
    """Count where a mask is true; null is not."""
    return int(mask.sum() or 0)
