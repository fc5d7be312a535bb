"""How far what is served online is behind what the offline store holds; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from featkit.durations import roughly

if TYPE_CHECKING:
    from datetime import timedelta

    import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Event timestamps online, compared with the newest offline, entity by entity.

    Attributes
    ----------
    compared
        Entities that have a time on both sides.
    behind, ahead
        How many of these are older online than offline, and newer.
    only_offline, only_online
        Entities that have a time on one side alone.
    p50, p95, max
        Quantiles of the lag, offline minus online; negative where online is ahead; None where
        nothing was compared.
    lags : polars.Series
        The lags of those compared (duration, microseconds), in no order.
    """

    compared: int = 0
    behind: int = 0
    ahead: int = 0
    only_offline: int = 0
    only_online: int = 0
    p50: timedelta | None = None
    p95: timedelta | None = None
    max: timedelta | None = None
    lags: pl.Series = field(repr=False, compare=False)

    def __str__(self) -> str:
        if self.max is None:
            return "nothing to compare"
        if not (self.behind or self.ahead):
            return f"online is up to date for {self.compared:,}"
        late = f"{self.behind:,} of {self.compared:,} behind"
        return f"{late}, by {roughly(self.max)} at most" if self.behind else f"{self.ahead:,} ahead"


def compare(online: pl.Series, offline: pl.Series) -> Lag:
    """Compare the event timestamps of the same entities (UTC, microseconds; null: none).

    Examples
    --------
    >>> from datetime import UTC, datetime, timedelta
    >>> import polars as pl
    >>> noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    >>> found = compare(pl.Series([noon, noon]), pl.Series([noon, noon + timedelta(hours=1)]))
    >>> str(found)
    '1 of 2 behind, by 1h at most'
    """
    lags = (offline - online).drop_nulls().rename("lag")
    here, there = online.is_not_null(), offline.is_not_null()
    counted: dict[str, Any] = {
        "compared": len(lags),
        "behind": _sum(lags.to_physical() > 0),
        "ahead": _sum(lags.to_physical() < 0),
        "only_offline": _sum(there & ~here),
        "only_online": _sum(here & ~there),
    }
    if not len(lags):
        return Lag(**counted, lags=lags)
    ordered = lags.sort()
    p50, p95 = (ordered[int(np.ceil(share * len(ordered))) - 1] for share in (0.5, 0.95))
    return Lag(**counted, p50=p50, p95=p95, max=ordered[-1], lags=lags)


def _sum(mask: pl.Series) -> int:
    return int(mask.sum() or 0)
