"""The one rule of freshness: a value is fresh while ``now - event timestamp <= ttl``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, overload

from featkit.errors import TimestampError

if TYPE_CHECKING:
    import polars as pl


@overload
def is_fresh(timestamp: datetime, ttl: timedelta | None, now: datetime) -> bool: ...
@overload
def is_fresh(timestamp: pl.Series, ttl: timedelta | None, now: datetime) -> pl.Series: ...
def is_fresh(
    timestamp: datetime | pl.Series, ttl: timedelta | None, now: datetime
) -> bool | pl.Series:
    """Tell whether values with these event timestamps are fresh at `now`.

    An age equal to the ttl is fresh; without ttl everything is that is not in the future. A
    timestamp later than `now` is never fresh. Null timestamps answer null.

    Parameters
    ----------
    timestamp
        Event timestamp, aware; or a series of them.
    ttl
        How long a value is good.
    now
        The moment to judge at, aware.

    Examples
    --------
    >>> noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    >>> is_fresh(noon - timedelta(hours=3), timedelta(hours=3), noon)
    True
    """
    if ttl is None:
        return timestamp <= now
    try:
        oldest = now - ttl
    except OverflowError:  # a ttl that reaches back beyond the year 1
        oldest = datetime.min.replace(tzinfo=UTC)
    return (timestamp <= now) & (timestamp >= oldest)


@overload
def is_stale(timestamp: datetime | None, ttl: timedelta | None, now: datetime) -> bool: ...
@overload
def is_stale(timestamp: pl.Series, ttl: timedelta | None, now: datetime) -> pl.Series: ...
def is_stale(
    timestamp: datetime | pl.Series | None, ttl: timedelta | None, now: datetime
) -> bool | pl.Series:
    """Tell whether values with these event timestamps are stale at `now`: not shown to be fresh.

    What is not fresh is stale, and so is a value of unknown age (None, null) of which freshness was
    promised by a ttl.

    Parameters
    ----------
    timestamp, ttl, now
        As for `is_fresh`; also None.

    Examples
    --------
    >>> noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    >>> is_stale(noon - timedelta(hours=4), timedelta(hours=3), noon)
    True
    >>> is_stale(None, timedelta(hours=3), noon), is_stale(None, None, noon)
    (True, False)
    """
    if timestamp is None:
        return ttl is not None
    if isinstance(timestamp, datetime):
        return not is_fresh(timestamp, ttl, now)
    return ~is_fresh(timestamp, ttl, now).fill_null(ttl is None)


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """One feature value with its event timestamp and its view's ttl.

    Attributes
    ----------
    value
        The value as a Python object; None where there is none.
    timestamp
        Event timestamp, aware (UTC); None where unknown.
    ttl
        How long the value is good after its timestamp; None: without limit.

    Examples
    --------
    >>> noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    >>> value = FeatureValue(7.5, timestamp=noon, ttl=timedelta(hours=3))
    >>> value.is_stale(noon + timedelta(hours=3)), value.is_stale(noon + timedelta(hours=4))
    (False, True)
    """

    value: Any
    timestamp: datetime | None = None
    ttl: timedelta | None = None

    def is_stale(self, now: datetime | None = None) -> bool:
        """Tell whether the value is past its ttl at `now`.

        Parameters
        ----------
        now
            The moment to judge at, aware; None: the present.

        Returns
        -------
        bool
            False without ttl: nothing was promised. True also for a timestamp later than `now`,
            and where a ttl was promised but the timestamp is unknown: what cannot be shown to be
            fresh is not.

        Raises
        ------
        TimestampError
            `now` or the value's timestamp is naive.
        """
        moment = datetime.now(UTC) if now is None else now
        for name, time in (("now", moment), ("the value's timestamp", self.timestamp)):
            if time is not None and time.tzinfo is None:
                msg = f"{name} is naive ({time}); give it a zone: .replace(tzinfo=datetime.UTC)"
                raise TimestampError(msg)
        # in UTC: Python compares two times of one zone by the clock on the wall
        known = self.timestamp and self.timestamp.astimezone(UTC)
        return is_stale(known, self.ttl, moment.astimezone(UTC))
