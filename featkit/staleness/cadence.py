"""The rhythm in which the rows of a view arrive, learnt from its history; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from featkit.durations import roughly

if TYPE_CHECKING:
    from datetime import datetime

    import numpy.typing as npt
    import polars as pl

FEWEST = 4
"""Arrivals from which a rhythm can be told: three gaps, of which one may be odd."""

RECENT = 100
"""How many of the latest arrivals count, so that a rhythm that has changed is soon believed."""

_APART = 20  # times as long as the gap before it: where pauses begin and runs of rows end
_POWERS_APART = 4  # of two, at the least, where a gap is as long as that
_USUAL = 0.95  # of the gaps; a longer wait is out of the ordinary


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """In which rhythm rows arrive.

    Attributes
    ----------
    every
        The usual time from one arrival to the next: the median of the recent gaps.
    longest
        The longest gap that is still usual: 95 of 100 recent gaps are no longer.
    arrivals
        From how many arrivals it was learnt. Rows that come in one run, such as those of a nightly
        job, are one arrival.
    last
        The last arrival, aware (UTC).

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> last = datetime(2024, 5, 1, tzinfo=UTC)
    >>> day = timedelta(days=1)
    >>> cadence = Cadence(every=day, longest=day, arrivals=30, last=last)
    >>> cadence.next.isoformat(), cadence.is_overdue(last + 2 * day)
    ('2024-05-02T00:00:00+00:00', True)
    """

    every: timedelta
    longest: timedelta
    arrivals: int
    last: datetime

    @property
    def next(self) -> datetime:
        """When the next rows are expected, aware (UTC)."""
        return self.last + self.every

    def is_overdue(self, now: datetime) -> bool:
        """Tell whether the wait for the next rows is longer than is usual."""
        return now - self.last > self.longest

    def __str__(self) -> str:
        return f"every {roughly(self.every)}"


def learn(arrivals: pl.Series) -> Cadence | None:
    """Learn a rhythm.

    Parameters
    ----------
    arrivals
        When rows arrived (UTC, microseconds), none of them null, in any order.

    Returns
    -------
    Cadence or None
        None where there are fewer than four arrivals.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> import polars as pl
    >>> midnight = datetime(2024, 5, 1, tzinfo=UTC)
    >>> nights = pl.Series([midnight + timedelta(days=n) for n in range(10)])
    >>> str(learn(nights))
    'every 1d'
    """
    times = np.sort(arrivals.to_physical().to_numpy())
    later = times[1:] > times[:-1]
    if not later.all():  # rows that came together, once
        times = times[np.append(True, later)]
    runs = _runs(times)
    if len(runs) < FEWEST:
        return None
    gaps = np.sort(np.diff(runs[-RECENT - 1 :]))
    # by rank, so that a gap is one that was there
    every, longest = (gaps[int(np.ceil(share * len(gaps))) - 1] for share in (0.5, _USUAL))
    return Cadence(
        every=timedelta(microseconds=int(every)),
        longest=timedelta(microseconds=int(longest)),
        arrivals=len(gaps) + 1,
        last=arrivals.max(),  # type: ignore[arg-type] # a series of datetimes has a datetime for it
    )


def _runs(times: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Find the last row of each run of rows, where rows come in runs; else all are their own.

    The gaps within a run are far shorter than the pauses between two: among the gaps in order of
    length, there is one that is many times as long as the one before it.
    """
    gaps = np.diff(times)
    if len(gaps) < FEWEST or not _may_be_apart(gaps):
        return times
    ordered = np.sort(gaps)
    ratios = ordered[1:] / ordered[:-1]
    # where it begins, there must be enough pauses, and not just a row or two that came at once
    ratios[len(ratios) - FEWEST + 2 :] = 0
    place = int(ratios.argmax())
    if ratios[place] < _APART:
        return times
    ends = np.append(np.flatnonzero(gaps > ordered[place]), len(times) - 1)
    sizes = np.diff(ends, prepend=-1)
    # where most of them are one row, the rhythm has changed, and there are no runs
    return times[ends] if np.median(sizes) > 1 else times


def _may_be_apart(gaps: npt.NDArray[Any]) -> bool:
    """Tell whether a gap may be `_APART` times as long as all shorter ones, without an order.

    Then there are powers of two between them that no gap is near to.
    """
    powers = np.flatnonzero(np.bincount(np.frexp(gaps)[1]))
    return bool((np.diff(powers) >= _POWERS_APART).any())
