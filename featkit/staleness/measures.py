"""Counting a population: each entity's values by status, each entity's row by age."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import or_
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.columns import Status, once
from featkit.dtypes import TIMESTAMP
from featkit.staleness.ages import Ages, Thresholds, ages, true_count
from featkit.staleness.verdicts import VERDICTS, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from featkit.columns import FeatureColumns
    from featkit.schema import FeatureView
    from featkit.staleness.cadence import Cadence
    from featkit.staleness.lag import Lag
    from featkit.staleness.verdicts import Level, Verdict

TIME = "event_timestamp"
"""The column of an entity's event timestamp, beside its keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureStaleness:
    """What a report says of one feature.

    Each entity is counted once among `present`, `null`, `missing`, `expired`, `future`, `unknown`
    and `failed`, by the status that its value has at `now`.

    Attributes
    ----------
    feature
        Its name.
    n
        Entities looked at.
    present
        With a value within the ttl, or of known age where there is no ttl.
    null
        Whose latest value is a null, of whatever age.
    missing
        That the store does not know.
    expired
        With a value older than the ttl.
    future
        With a value whose event timestamp is later than now; never fresh.
    unknown
        With a value whose event timestamp is not given, or cannot be read; never fresh.
    failed
        For which the store failed.
    ages
        Of the rows that the store has, whether the value is null or not.
    ttl
        How long a value is good; None: without limit.
    verdict, reason
        What to think of it, and why.
    """

    feature: str
    n: int = 0
    present: int = 0
    null: int = 0
    missing: int = 0
    expired: int = 0
    future: int = 0
    unknown: int = 0
    failed: int = 0
    ages: Ages = field(default_factory=Ages)
    ttl: timedelta | None = None
    verdict: Verdict = "unknown"
    reason: str = ""

    @property
    def headroom(self) -> timedelta | None:
        """How long until the oldest row expires; negative where it has; None where unknown."""
        return None if self.ttl is None or self.ages.max is None else self.ttl - self.ages.max


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewStaleness:
    """What a report says of one feature view.

    Attributes
    ----------
    view, join_keys, ttl
        As the store describes the view.
    described
        Whether it could; where not, nothing else is known but the reason.
    level
        What its event timestamps describe.
    thresholds
        By what it was judged.
    n
        Entities looked at.
    population
        Which they are, in words.
    ages
        Row ages: how old each entity's row is. Where features have times of their own, the oldest
        of them counts.
    newest
        Event timestamp of the newest row of the whole view, aware (UTC); None where unknown.
    freshness
        View freshness: the age of that row.
    features
        The same for each feature.
    cadence
        The rhythm in which rows have arrived, and when the next are due; None where unknown.
    lag
        How far what is online is behind what is offline; None where it was not compared.
    notes
        What could not be found out, in words.
    verdict, reason
        What to think of it, and why.
    times : polars.DataFrame
        One row per entity: its keys, and its event timestamp, null where there is none.
    """

    view: str
    join_keys: tuple[str, ...] = ()
    ttl: timedelta | None = None
    level: Level = "none"
    thresholds: Thresholds = field(default_factory=Thresholds)
    n: int = 0
    population: str = ""
    ages: Ages = field(default_factory=Ages)
    newest: datetime | None = None
    freshness: timedelta | None = None
    features: tuple[FeatureStaleness, ...] = ()
    cadence: Cadence | None = None
    lag: Lag | None = None
    notes: tuple[str, ...] = ()
    verdict: Verdict = "unknown"
    reason: str = ""
    described: bool = True
    times: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False, compare=False)

    @property
    def headroom(self) -> timedelta | None:
        """How long until the oldest row expires; negative where it has; None where unknown."""
        return None if self.ttl is None or self.ages.max is None else self.ttl - self.ages.max

    @property
    def share_expired(self) -> float | None:
        """The share of expired values among all, entities times features; None: ages unknown.

        Examples
        --------
        >>> aged = Ages(rows=4, beyond_error=1)
        >>> seats = FeatureStaleness(feature="seats", n=4, expired=1)
        >>> ViewStaleness(view="aircraft", features=(seats,), ages=aged).share_expired
        0.25
        """
        values = self.total("n")
        return self.total("expired") / values if values and self.ages.known else None

    def total(self, count: str) -> int:
        """Sum one of the counts over the features, such as ``"expired"``."""
        return sum(getattr(feature, count) for feature in self.features)


def measure(
    view: FeatureView,
    keys: pl.DataFrame,
    columns: FeatureColumns,
    *,
    names: Mapping[str, str],
    level: Level,
    thresholds: Thresholds,
    now: datetime,
) -> ViewStaleness:
    """Count and judge the entities of one view.

    Parameters
    ----------
    view
        The view.
    keys
        One row per entity; one column per join key.
    columns
        The entities' latest values with their event timestamps, one row per row of `keys`.
    names
        By feature, the name that it has in `columns`.
    level
        What the event timestamps describe.
    thresholds
        By what to judge.
    now
        The moment to judge at, aware (UTC).
    """
    columns = _judged(columns, view.ttl, now)
    rows = _Rows(keys.height, level, thresholds, now)
    counted = once(_counts)
    features = []
    for name, column in names.items():
        statuses, times = columns.statuses[column], columns.timestamps.get(column)
        counts = counted(statuses, times)
        own = rows.take(times, _there(statuses) if counts["missing"] + counts["failed"] else None)
        verdict, reason = rows.judge(own, keys.height, counts["failed"])
        features.append(
            FeatureStaleness(
                feature=name, ages=own, ttl=view.ttl, verdict=verdict, reason=reason, **counts
            )
        )
    newest = rows.newest
    verdict, reason = rows.judge(rows.whole, keys.height, 0)
    for feature in features:  # those with times, or failures, of their own
        if VERDICTS.index(feature.verdict) > VERDICTS.index(verdict):
            verdict, reason = feature.verdict, f"{feature.feature}: {feature.reason}"
    return ViewStaleness(
        view=view.name,
        join_keys=view.join_keys,
        ttl=view.ttl,
        level=level,
        thresholds=thresholds,
        n=keys.height,
        ages=rows.whole,
        newest=newest,
        freshness=None if newest is None else now - newest,
        features=tuple(features),
        verdict=verdict,
        reason=reason,
        times=rows.times(keys),
    )


def _judged(columns: FeatureColumns, ttl: timedelta | None, now: datetime) -> FeatureColumns:
    """Give each value its status at `now`; what the cache kept past its time is as old as it is."""
    back = once(
        lambda series: (
            series.set(series == Status.STALE, Status.PRESENT)
            if (series == Status.STALE).any()
            else series
        )
    )
    statuses = {name: back(series) for name, series in columns.statuses.items()}
    return replace(columns, statuses=statuses).judge(ttl, now)


def _counts(statuses: pl.Series, times: pl.Series | None) -> dict[str, int]:
    count = _tally(statuses)
    unknown = count[Status.PRESENT]
    if times is not None:
        some_lack = times.null_count() > 0
        unknown = true_count((statuses == Status.PRESENT) & times.is_null()) if some_lack else 0
    return {
        "n": len(statuses),
        "present": count[Status.PRESENT] - unknown,
        "null": count[Status.NULL],
        "missing": count[Status.NOT_FOUND],
        "expired": count[Status.EXPIRED],
        "future": count[Status.FUTURE],
        "unknown": unknown,
        "failed": count[Status.ERROR],
    }


def _tally(statuses: pl.Series) -> dict[Status, int]:
    """Count each status; once all are counted, nothing is left to look for."""
    codes = statuses.to_physical().to_numpy()
    count, left = dict.fromkeys(Status, 0), len(codes)
    for place, status in enumerate(Status):
        if left:
            count[status] = int(np.count_nonzero(codes == place))
            left -= count[status]
    return count


def _there(statuses: pl.Series) -> pl.Series:
    """Tell which entities the store has."""
    return (statuses != Status.NOT_FOUND) & (statuses != Status.ERROR)


class _Rows:
    """The rows of a population: which are there, and how old they are.

    Features that were written together share their times, which are then looked at once.
    """

    def __init__(self, n: int, level: Level, thresholds: Thresholds, now: datetime) -> None:
        self._n = n
        self._level = level
        self._thresholds = thresholds
        self._now = now
        self._known: list[tuple[pl.Series | None, pl.Series | None, Ages]] = []

    def take(self, times: pl.Series | None, there: pl.Series | None) -> Ages:
        """Tell the ages of the rows of one feature.

        Parameters
        ----------
        times
            The event timestamps; None: not given.
        there
            Which entities the store has; None: all.
        """
        for known_times, known_there, found in self._known:
            if known_times is times and _same(known_there, there):
                return found
        found = self._ages(times, there)
        self._known.append((times, there, found))
        return found

    def _ages(self, times: pl.Series | None, there: pl.Series | None) -> Ages:
        if times is None:
            rows = self._n if there is None else true_count(there)
            return Ages(rows=rows, unknown=rows)
        times = times if there is None else times.filter(there)
        return ages(times, self._thresholds, self._now)

    @cached_property
    def whole(self) -> Ages:
        """The ages of the entities' rows; the oldest of its times counts for an entity."""
        if len(self._known) == 1:
            return self._known[0][2]
        return self._ages(self._time, self._there) if self._known else Ages()

    @property
    def _there(self) -> pl.Series | None:
        """Which entities the store has."""
        masks = [there for _, there, _ in self._known]
        known = [there for there in masks if there is not None]
        return reduce(or_, known) if len(known) == len(masks) else None

    @cached_property
    def _time(self) -> pl.Series | None:
        """The time of each entity's row."""
        known = [times for times, _, _ in self._known if times is not None]
        distinct = list({id(times): times for times in known}.values())
        if len(distinct) <= 1:
            return distinct[0] if distinct else None
        frame = pl.DataFrame([times.alias(str(place)) for place, times in enumerate(distinct)])
        return frame.min_horizontal()

    @property
    def newest(self) -> datetime | None:
        """The newest event timestamp that is not later than now."""
        found = [known.newest for _, _, known in self._known if known.newest is not None]
        return max(found, default=None)

    def times(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Put the time of each entity beside its keys, null where there is none."""
        time = self._time
        if time is None:
            time = pl.repeat(None, keys.height, dtype=TIMESTAMP, eager=True)
        return keys.with_columns(time.alias(time_column(keys.columns)))

    def judge(self, found: Ages, n: int, failed: int) -> tuple[Verdict, str]:
        """Say what to think of rows of these ages."""
        if self._level == "view" and found.newest is not None:
            one = ages(pl.Series([found.newest]), self._thresholds, self._now)
            return judge(one, self._thresholds, level=self._level, n=n, failed=failed)
        return judge(found, self._thresholds, level=self._level, n=n, failed=failed)


def _same(one: pl.Series | None, other: pl.Series | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.equals(other)


def time_column(keys: Iterable[str]) -> str:
    """Name the column of event timestamps so that it is none of these join keys."""
    return TIME if TIME not in set(keys) else f"{TIME}__"
