"""What counts as now, as people write it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from featkit.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from featkit.types import Now


def clock_of(now: Now) -> Callable[[], datetime] | None:
    """Make a clock of what a user calls now.

    Parameters
    ----------
    now
        An aware datetime, ISO 8601, or a clock; None: none.

    Raises
    ------
    SettingsError
        It cannot be read, or is naive.

    Examples
    --------
    >>> clock_of("2014-01-01T00:00:00Z")()
    datetime.datetime(2014, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if now is None or callable(now):
        return now
    try:
        moment = datetime.fromisoformat(now) if isinstance(now, str) else now
    except ValueError as error:
        msg = f"now={now!r} is no ISO 8601 time, such as '2014-01-01T00:00:00Z'"
        raise SettingsError(msg) from error
    if moment.tzinfo is None:
        msg = f"now={now!r} is naive; give it a zone, such as '2014-01-01T00:00:00Z'"
        raise SettingsError(msg)
    return lambda: moment
