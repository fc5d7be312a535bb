"""A store for tests: in memory, so plain that it is obviously right."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import polars as pl
from polars import selectors as cs

from featkit.calls import Call, LocalRead
from featkit.capabilities import Capabilities, Lack, Lacking, TimestampLevel
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.dtypes import TIMESTAMP, format_dtype
from featkit.durations import parse_duration
from featkit.errors import NameClashError, SettingsError, SourceError, TimestampError
from featkit.history import HistoryRows
from featkit.keys import spread
from featkit.populations import Arrivals, Population, PopulationRead, drawn
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.base import OnlineRead, Store, Target, find
from featkit.writing import check_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    import pandas as pd

    from featkit.calls import Flow
    from featkit.history import HistoryRead
    from featkit.schema import FeatureService
    from featkit.types import Duration

T = TypeVar("T")

_FOUND = "__featkit_found"


def described(
    frame: pl.DataFrame | pd.DataFrame,
    *,
    name: str,
    join_keys: str | Sequence[str],
    timestamp: str | None = None,
    created: str | None = None,
    ttl: Duration | None = None,
    description: str = "",
    owner: str = "",
    tags: Mapping[str, str] | None = None,
    features: Mapping[str, str] | None = None,
) -> tuple[FeatureView, pl.DataFrame]:
    """Describe a frame as a feature view; the options are those of `featkit.write_view`.

    Parameters
    ----------
    frame
        The rows, one per entity and event timestamp.
    name
        Name of the view.
    join_keys
        Columns that name the entity; several make a composite key.
    timestamp, created
        Columns of the event timestamps and of the moments of writing, aware.
    ttl
        How long a value is good after its event timestamp; None: without limit.
    description, owner, tags
        What people should know about the view.
    features
        Descriptions by feature name. Every column that has no other role is a feature.

    Returns
    -------
    view : FeatureView
        The description.
    rows : polars.DataFrame
        The rows with times in UTC, microseconds, and categories as text.

    Raises
    ------
    InputError
        A column is missing or has two roles, or the event timestamps are naive.

    Examples
    --------
    >>> view, rows = described(
    ...     pl.DataFrame({"shop": [1], "rating": [4.5]}), name="shops", join_keys="shop"
    ... )
    >>> view
    <FeatureView shops(shop): 1 feature>
    """
    rows = frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(pl.from_pandas(frame))
    rows = rows.with_columns(
        cs.datetime(time_zone="*").dt.convert_time_zone("UTC").cast(TIMESTAMP),
        (cs.categorical() | cs.enum()).cast(pl.String),
    )
    keys = [join_keys] if isinstance(join_keys, str) else join_keys
    times = [column for column in (timestamp, created) if column is not None]
    check_columns(rows.schema, keys, times, features or {})
    for column in times:
        if rows.schema[column] != TIMESTAMP:
            msg = (
                f"{column!r} is {format_dtype(rows.schema[column])}, not a timestamp with a zone; "
                "say what it means: .dt.replace_time_zone('UTC'), in pandas .dt.tz_localize('UTC')"
            )
            raise TimestampError(msg)
    view = FeatureView(
        name=name,
        entities=tuple(Entity(key, key, rows.schema[key]) for key in keys),
        features=tuple(
            Feature(column, dtype, (features or {}).get(column, ""))
            for column, dtype in rows.schema.items()
            if column not in keys and column not in times
        ),
        timestamp=timestamp,
        created=created,
        ttl=None if ttl is None else parse_duration(ttl, what="ttl"),
        description=description,
        owner=owner,
        tags=tags or {},
    )
    return view, rows


class MemoryStore(Store):
    """A feature store that is polars frames in memory: for tests, and to compare others with.

    Parameters
    ----------
    views
        Pairs of a view and its rows, as `described` makes them.
    services
        Feature services.
    batch_size
        How many entities one call may ask for; None: any number.
    timestamp_level
        ``"row"`` or ``"feature"``: answers have the event timestamps of their rows; ``"view"``:
        that of the view's newest row; ``"none"``: they have none.
    serves_future
        Whether a row later than now counts as the latest, as in a store that does not look at
        the time when it is read.
    now
        The clock of a frozen data set, aware; None: the present.
    offline
        By view, the rows of the offline store where they are not those that are served.
    lists
        Whether it lists its entities and has a history, as a remote online store has not.

    Raises
    ------
    NameClashError
        Two views have one name.

    Examples
    --------
    >>> import featkit
    >>> shops = pl.DataFrame({"shop": [1, 2], "rating": [4.5, 3.9]})
    >>> store = featkit.connect(MemoryStore([described(shops, name="shops", join_keys="shop")]))
    >>> store.get_online_features_batch("shops", [2, 7])
    [{'rating': 3.9}, {'rating': None}]
    """

    scheme = "memory"

    def __init__(
        self,
        views: Iterable[tuple[FeatureView, pl.DataFrame]] = (),
        *,
        services: Sequence[FeatureService] = (),
        batch_size: int | None = None,
        timestamp_level: TimestampLevel = "row",
        serves_future: bool = False,
        now: datetime | None = None,
        offline: Mapping[str, pl.DataFrame] | None = None,
        lists: bool = True,
    ) -> None:
        self.capabilities = Capabilities(
            batch_size=batch_size,
            timestamp_level=timestamp_level,
            serves_future=serves_future,
            local=True,
            history="rows" if lists else "none",
            lacking=_gaps(rows=timestamp_level == "row", lists=lists, offline=bool(offline)),
        )
        self._views = list(views)
        self._services = list(services)
        self._now = now
        self._offline = dict(offline or {})
        self._lists = lists
        names = [view.name for view, _ in self._views]
        if twice := {name for name in names if names.count(name) > 1}:
            msg = f"two views have the name {min(twice)!r}"
            raise NameClashError(msg)

    @classmethod
    def open(cls, target: Target, options: Any, *, timezone: str | None) -> NoReturn:  # noqa: ANN401, ARG003 - of the base class
        """Refuse: what is in memory has no place that a target could name."""
        msg = f"{target} names nothing; pass the store itself: featkit.connect(MemoryStore([...]))"
        raise SettingsError(msg)

    def clock(self) -> Flow[datetime | None]:
        """Tell the moment that the store was made with."""
        return self._now
        yield  # a flow that yields nothing

    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """List the views, in the order given."""
        return [view for view, _ in self._views]
        yield  # a flow that yields nothing

    def list_feature_services(self) -> Flow[list[FeatureService]]:
        """List the services, in the order given."""
        return list(self._services)
        yield  # a flow that yields nothing

    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Read the latest rows: by event timestamp, then created, then last in the frame."""
        what = f"feature view {read.view.name!r}"
        return Call(LocalRead(partial(self._latest, read), what), keys=read.keys.height)

    def sample_entities(self, view: FeatureView, count: int, now: datetime) -> Flow[pl.DataFrame]:
        """Name entities with a row at that moment, evenly spread in the order of their keys."""
        rows = self._rows(view, now).select(view.join_keys)
        return spread(rows.drop_nulls().unique().sort(view.join_keys), count)
        yield  # a flow that yields nothing

    def read_population(self, read: PopulationRead) -> Call[Population] | None:
        """Read the latest row of each entity, in the order of their keys."""
        if not self._lists:
            return None
        return self._local(read.view, partial(self._population, read))

    def read_arrivals(self, view: FeatureView, now: datetime) -> Call[Arrivals] | None:
        """Read the times of the offline rows that can be seen."""
        return self._local(view, partial(self._arrivals, view, now)) if self._lists else None

    def read_offline_times(self, read: OnlineRead) -> Flow[pl.Series]:
        """Read the event timestamps of the latest offline rows."""
        if not (self._lists or self._offline):
            return (yield from super().read_offline_times(read))
        times: pl.Series = yield self._local(read.view, partial(self._offline_times, read))
        return times

    def read_history(self, read: HistoryRead) -> Call[HistoryRows]:
        """Give the offline rows, in the order of the frame."""
        return self._local(read.view, partial(self._history, read.view))

    def _history(self, view: FeatureView) -> HistoryRows:
        view = find([view for view, _ in self._views], view.name, "feature view")
        rows = next(rows for own, rows in self._views if own is view)
        return HistoryRows(
            scan=self._offline.get(view.name, rows).lazy(),
            keys=tuple(pl.col(key) for key in view.join_keys),
            event=pl.col(view.timestamp) if view.timestamp else None,
            created=pl.col(view.created) if view.created else None,
            convert=lambda values, _: values,
            unreadable=lambda error: SourceError(f"{self!r}: {error}"),
            origin=(id(self), view.name),
        )

    def _local(self, view: FeatureView, run: Callable[[], T]) -> Call[T]:
        return Call(LocalRead(run, f"feature view {view.name!r}"))

    def _rows(self, view: FeatureView, now: datetime, *, offline: bool = False) -> pl.DataFrame:
        """Return the rows that are there at `now`, in the order in which the last one counts."""
        view = find([view for view, _ in self._views], view.name, "feature view")
        rows = next(rows for own, rows in self._views if own is view)
        rows = self._offline.get(view.name, rows) if offline else rows
        horizon = None if self.capabilities.serves_future and not offline else now
        if view.timestamp:
            event = pl.col(view.timestamp)
            rows = rows.filter(event.is_not_null() if horizon is None else event <= horizon)
        if view.created and horizon is not None:
            written = pl.col(view.created)
            rows = rows.filter(written.is_null() | (written <= horizon))
        for time in filter(None, (view.created, view.timestamp)):
            rows = rows.sort(time, maintain_order=True)
        return rows

    def _latest(self, read: OnlineRead) -> FeatureColumns:
        view, rows = read.view, self._rows(read.view, read.now)
        found = _joined(view, read.keys, rows)
        status = pl.when(_FOUND).then(pl.lit(Status.PRESENT)).otherwise(pl.lit(Status.NOT_FOUND))
        statuses = found.select(status.cast(STATUS)).to_series()
        names = [feature.name for feature in read.features]
        level = self.capabilities.timestamp_level
        timestamps: dict[str, pl.Series] = {}
        if view.timestamp and level != "none":
            times = found[view.timestamp]
            if level == "view":
                newest = pl.repeat(rows[view.timestamp].max(), len(times), dtype=TIMESTAMP)
                times = pl.select(newest).to_series().set(times.is_null(), None)
            timestamps = dict.fromkeys(names, times)
        return FeatureColumns(found.select(names), dict.fromkeys(names, statuses), timestamps)

    def _population(self, read: PopulationRead) -> Population:
        view, keys = read.view, list(read.view.join_keys)
        every = self._rows(view, read.now).select(keys).drop_nulls().unique().sort(keys)
        some = every if read.sample is None else drawn(every, keys, read.sample)
        columns = self._latest(OnlineRead(view, read.features, some, read.now))
        return Population(some, columns, every.height)

    def _arrivals(self, view: FeatureView, now: datetime) -> Arrivals:
        event = pl.col(view.timestamp or "")
        rows = self._rows(view, now, offline=True).filter(event <= now)
        seen = pl.max_horizontal(filter(None, (view.timestamp, view.created)))
        newest: Any = rows.select(event.max()).item()
        return Arrivals(rows.select(seen).to_series(), newest)

    def _offline_times(self, read: OnlineRead) -> pl.Series:
        rows = self._rows(read.view, read.now, offline=True)
        return _joined(read.view, read.keys, rows)[read.view.timestamp or ""]

    def __repr__(self) -> str:
        return f"<MemoryStore {', '.join(view.name for view, _ in self._views)}>"


def _joined(view: FeatureView, keys: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Give each key its last row."""
    last = rows.unique(view.join_keys, keep="last", maintain_order=True)
    found = last.with_columns(pl.lit(value=True).alias(_FOUND))
    return keys.join(found, on=view.join_keys, how="left", maintain_order="left")


def _gaps(*, rows: bool, lists: bool, offline: bool) -> Lacking:
    """Tell what a store in memory lacks, as it was made."""
    found = {
        "read_syncs": Lack.never("values are read where they are; nothing is synchronised"),
    }
    if not rows:
        found["row_timestamps"] = Lack.never("it was made with another timestamp_level")
    if not lists:
        why = Lack.never("it was made with lists=False")
        found |= {"get_historical_features": why, "read_population": why, "read_arrivals": why}
    if not (lists or offline):
        found["read_offline_times"] = Lack.never("it was made without offline rows")
    return found
