"""A clock that stands until it is moved."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from featkit.durations import parse_duration
from featkit.errors import TimestampError

if TYPE_CHECKING:
    from featkit.types import Duration


class FrozenClock:
    """A clock that stands still: what tests pass as ``featkit.connect(..., now=clock)``.

    Parameters
    ----------
    moment
        What it shows at first: an aware datetime, or ISO 8601 with a zone.

    Raises
    ------
    TimestampError
        The moment is naive, or cannot be read.

    Examples
    --------
    >>> clock = FrozenClock("2024-05-01T12:00:00Z")
    >>> clock.advance("3h")
    >>> clock().isoformat()
    '2024-05-01T15:00:00+00:00'
    """

    def __init__(self, moment: datetime | str) -> None:
        try:
            read = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        except ValueError as error:
            msg = f"{moment!r} is no ISO 8601 time, such as '2024-05-01T12:00:00Z'"
            raise TimestampError(msg) from error
        if read.tzinfo is None:
            msg = f"{moment!r} is naive; give it a zone, such as '2024-05-01T12:00:00Z'"
            raise TimestampError(msg)
        self._moment = read.astimezone(UTC)

    def __call__(self) -> datetime:
        """Tell the moment, aware (UTC)."""
        return self._moment

    def advance(self, duration: Duration) -> None:
        """Move the clock forward.

        Parameters
        ----------
        duration
            A timedelta, text such as ``"3h"``, or seconds.
        """
        self._moment += parse_duration(duration, what="the advance")

    def __repr__(self) -> str:
        return f"FrozenClock({self._moment.isoformat()!r})"
