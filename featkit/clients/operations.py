"""Every method of the clients, as a flow: written once for sync and async."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from featkit import frames
from featkit.calls import Call, LocalRead
from featkit.choices import one_of, yes_or_no
from featkit.clients.health import HealthCheck, HealthReport
from featkit.columns import FeatureColumns, Status
from featkit.durations import format_duration, parse_duration
from featkit.errors import (
    AuthError,
    CacheWarning,
    DeadlineExceeded,
    DefinitionError,
    ExpiredWarning,
    FeatkitError,
    InputError,
    MissingWarning,
    ProtocolError,
    SourceError,
    StoreUnavailable,
)
from featkit.freshness import FeatureValue
from featkit.online.answering import How
from featkit.online.caching import Wishes
from featkit.online.lookup import LookupOptions, lookup
from featkit.readable import readable
from featkit.references import known, refuse_taken, select, suspect
from featkit.schema import FeatureRef
from featkit.uncached import fresh
from featkit.warned import warn_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    import polars as pl

    from featkit.cache.entities import EntityCache
    from featkit.calls import Flow
    from featkit.clients.health import Problem
    from featkit.frames import UserFrame
    from featkit.online.lookup import Lookup
    from featkit.references import Selection
    from featkit.schema import Entity, FeatureService, FeatureView
    from featkit.stores.base import Store
    from featkit.summary import LookupSummary
    from featkit.types import (
        DtypeBackend,
        Duration,
        EntityId,
        Expired,
        Features,
        Keys,
        OnError,
        OnMissing,
    )


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrichOptions:
    """The options of `enrich`, as the accessor documents them."""

    on: Mapping[str, Hashable] | Hashable | None = None
    timestamps: bool = False
    statuses: bool = False
    prefix: str | None = None
    on_missing: OnMissing = "null"
    on_error: OnError = "raise"
    expired: Expired = "keep"
    max_age: Duration | None = None
    refresh: bool = False
    only_cached: bool = False
    dtype_backend: DtypeBackend = "numpy_nullable"

    def __post_init__(self) -> None:
        one_of("on_missing", self.on_missing, ("null", "warn", "raise"))
        one_of("on_error", self.on_error, ("raise", "null"))
        one_of("expired", self.expired, ("keep", "null"))
        one_of("dtype_backend", self.dtype_backend, ("numpy_nullable", "pyarrow"))
        yes_or_no(
            timestamps=self.timestamps,
            statuses=self.statuses,
            refresh=self.refresh,
            only_cached=self.only_cached,
        )
        if self.max_age is not None:
            parse_duration(self.max_age, what="max_age")
        if self.only_cached and self.refresh:
            msg = "only_cached=True forbids what refresh=True wants; leave one of them out"
            raise InputError(msg)

    @property
    def wishes(self) -> Wishes:
        """What is wanted of the cache."""
        age = None if self.max_age is None else parse_duration(self.max_age, what="max_age")
        return Wishes(max_age=age, refresh=self.refresh, only_cached=self.only_cached)


class Operations:
    """What the clients do, on one store, without the I/O.

    Parameters
    ----------
    store
        The store.
    timezone
        What naive timestamps mean; None: they are refused.
    now
        The clock, aware; None: the store's where its data set is frozen, else the present.
    cache
        What was fetched before; None: nothing is kept.
    """

    def __init__(
        self,
        store: Store,
        *,
        timezone: str | None,
        now: Callable[[], datetime] | None,
        cache: EntityCache | None = None,
    ) -> None:
        self.store = store
        self.cache = cache
        self.last_summary: LookupSummary | None = None
        self.timezone = timezone
        self._ceilings: dict[str, int] = {}
        self._now = now

    def now(self) -> Flow[datetime]:
        """Tell the moment that counts as now, in UTC."""
        moment = self._now() if self._now else (yield from self.store.clock())
        return (moment or datetime.now(UTC)).astimezone(UTC)

    def get_online_features(
        self, view: str, entity_id: EntityId, features: Sequence[str]
    ) -> Flow[dict[str, Any]]:
        """See `featkit.FeatureStoreClient.get_online_features`."""
        columns = yield from self._of_entities(view, [entity_id], features)
        return columns.to_dicts()[0]

    def get_online_features_batch(
        self, view: str, entity_ids: Sequence[EntityId | None], features: Sequence[str]
    ) -> Flow[list[dict[str, Any]]]:
        """See `featkit.FeatureStoreClient.get_online_features_batch`."""
        columns = yield from self._of_entities(view, entity_ids, features)
        return columns.to_dicts()

    def get_online_features_with_timestamps(
        self, view: str, entity_id: EntityId, features: Sequence[str]
    ) -> Flow[tuple[dict[str, Any], dict[str, datetime | None]]]:
        """See `featkit.FeatureStoreClient.get_online_features_with_timestamps`."""
        columns = yield from self._of_entities(view, [entity_id], features)
        values = columns.to_dicts()[0]
        known = {name: series.item() for name, series in columns.timestamps.items()}
        return values, {name: known.get(name) for name in values}

    def get_feature(self, view: str, entity_id: EntityId, feature: str) -> Flow[FeatureValue]:
        """See `featkit.get_feature`."""
        values, timestamps = yield from self.get_online_features_with_timestamps(
            view, entity_id, [feature]
        )
        described = yield from self.store.feature_view(view)
        return FeatureValue(values[feature], timestamps[feature], described.ttl)

    def feature_timestamp(self, view: str, entity_id: EntityId) -> Flow[datetime | None]:
        """See `featkit.feature_timestamp`."""
        _, timestamps = yield from self.get_online_features_with_timestamps(view, entity_id, ())
        return max((time for time in timestamps.values() if time is not None), default=None)

    def as_wished(self, flow: Flow[T]) -> Flow[T]:
        """Run a flow without the cache of metadata inside `store.cache.disabled()`."""
        off = self.cache is not None and not self.cache.switched_on
        return fresh(flow) if off else flow

    def lookup(
        self, keys: Keys, features: Features, options: EnrichOptions | None = None
    ) -> Flow[FeatureColumns]:
        """See `featkit.FeatureStoreClient.lookup`."""
        selection = yield from select(self.store, features)
        frame = frames.of_keys(keys, selection.join_keys)
        columns = yield from self._key_columns(frame, selection, None)
        wanted = options or EnrichOptions()
        return (yield from self._lookup(selection, columns, wanted, frame)).columns()

    def enrich(self, own: object, features: Features, options: EnrichOptions) -> Flow[Any]:
        """See `featkit.accessor.FeaturesAccessor.enrich`."""
        frame = frames.adapt(own, dtype_backend=options.dtype_backend)
        selection = yield from select(self.store, features, prefix=options.prefix)
        suffixes = {"timestamps": bool(options.timestamps), "statuses": bool(options.statuses)}
        refuse_taken(selection.added(**suffixes), frame.columns)
        keys = self._key_columns(frame, selection, options.on)
        # handed on, not kept: they may be a copy, and are not needed for what takes most memory
        found = yield from self._lookup(selection, (yield from keys), options, frame)
        assign = partial(frame.with_columns, found.keyed(**suffixes))
        try:
            return (yield Call(LocalRead(assign, "the enriched frame")))
        except FeatkitError as error:
            error.partial = found.columns()
            raise

    def get_feature_metadata(self, view: str) -> Flow[FeatureView]:
        """See `featkit.FeatureStoreClient.get_feature_metadata`."""
        described = yield from known(self.store, lambda: self.store.feature_view(view))
        yield from suspect(self.store, [view])
        return described

    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """See `featkit.FeatureStoreClient.list_feature_views`."""
        return (yield from readable(self.store))

    def list_entities(self) -> Flow[list[Entity]]:
        """See `featkit.FeatureStoreClient.list_entities`."""
        return (yield from self.store.list_entities())

    def list_feature_services(self) -> Flow[list[FeatureService]]:
        """See `featkit.FeatureStoreClient.list_feature_services`."""
        return (yield from self.store.list_feature_services())

    def check_health(self, target: str) -> Flow[HealthReport]:
        """See `featkit.FeatureStoreClient.check_health`."""
        checks = []
        for name, flow in self.store.checks().items():
            started = time.perf_counter()
            found, reason = "", ""
            problem: Problem = ""
            try:
                found = yield from flow
            except FeatkitError as error:
                problem, reason = _problem(error), str(error)
            checks.append(
                HealthCheck(
                    name=name,
                    seconds=time.perf_counter() - started,
                    found=found,
                    problem=problem,
                    reason=reason,
                )
            )
        if wrong := self.store.told.wrong:
            checks.append(HealthCheck(name="settings", seconds=0, found=f"but {'; '.join(wrong)}"))
        return HealthReport(target=target, at=datetime.now(UTC), checks=tuple(checks))

    def search(self, text: str) -> Flow[list[FeatureRef]]:
        """See `featkit.FeatureStoreClient.search`."""
        words = text.casefold().split()
        views = yield from readable(self.store)
        found = [
            (rank, FeatureRef(view.name, feature.name))
            for view in views
            for feature in view.features
            if (rank := _rank(words, view, feature.name, feature.description, feature.tags))
            is not None
        ]
        return [ref for _, ref in sorted(found, key=lambda pair: pair[0])]

    def _of_entities(
        self, view: str, entities: Sequence[EntityId | None], features: Sequence[str]
    ) -> Flow[FeatureColumns]:
        names = [features] if isinstance(features, str) else list(features)
        if not all(isinstance(name, str) for name in (view, *names)):
            msg = (
                "a view and its features are named by text, in the order view, entities, features, "
                f"not {view!r} and {features!r}; for a frame there is frame.features.enrich()"
            )
            raise InputError(msg)
        if any(":" in name for name in (view, *names)):
            msg = (
                f"views and features are named by themselves here, without colons: {view!r}, and "
                f"features={names}; references such as 'view:feature' are for lookup() and enrich()"
            )
            raise InputError(msg)
        selection = yield from select(
            self.store, [FeatureRef(view, name) for name in names or ["*"]]
        )
        frame = frames.of_entities(entities, selection.views[0].view)
        columns = yield from self._key_columns(frame, selection, None)
        return (yield from self._lookup(selection, columns, EnrichOptions(), frame)).columns()

    def _key_columns(
        self, frame: UserFrame, selection: Selection, on: Mapping[str, Hashable] | Hashable | None
    ) -> Flow[pl.DataFrame]:
        labels = frames.key_labels(frame, selection, on)
        read = partial(frame.key_columns, labels)
        columns: pl.DataFrame = yield Call(LocalRead(read, "the keys of the frame"))
        return columns

    def _lookup(
        self, selection: Selection, columns: pl.DataFrame, options: EnrichOptions, frame: UserFrame
    ) -> Flow[Lookup]:
        started = time.perf_counter()
        try:
            found = yield from self.look(selection, columns, options, frame)
        finally:
            for notice in self.cache.notices() if self.cache is not None else ():
                warn_caller(notice, CacheWarning)
        seconds = time.perf_counter() - started
        found = replace(found, summary=replace(found.summary, seconds=seconds))
        self.last_summary = found.summary
        _warn(found, options)
        return found

    def look(
        self,
        selection: Selection,
        columns: pl.DataFrame,
        options: EnrichOptions,
        frame: UserFrame,
        *,
        now: datetime | None = None,
    ) -> Flow[Lookup]:
        """Look keys up for featkit's own use: the user hears of it neither now nor later."""
        lookup_options = LookupOptions(
            now=now or (yield from self.now()),
            timezone=self.timezone,
            expired=options.expired,
            on_missing=options.on_missing,
            on_error=options.on_error,
            how=How(
                ceilings=self._ceilings,
                cache=self.cache if self.cache is not None and self.cache.switched_on else None,
                wishes=options.wishes,
            ),
        )
        return (
            yield from lookup(
                self.store,
                selection,
                columns,
                lookup_options,
                row=frame.row_label,
                weights=frame.weights,
            )
        )


def _problem(error: FeatkitError) -> Problem:
    match error:
        case AuthError():
            return "unauthorized"
        case StoreUnavailable() | DeadlineExceeded() | SourceError():
            return "unreachable"
        case ProtocolError() | DefinitionError():
            return "unreadable"
        case _:
            return "refused"


def _rank(
    words: list[str], view: FeatureView, name: str, description: str, tags: Mapping[str, str]
) -> int | None:
    """Rank a feature among the hits of a search, the best first; None: no hit."""
    own = f"{name}".casefold()
    about = " ".join([own, description, *tags, *tags.values()]).casefold()
    around = [view.name, view.description, view.owner, view.source, *view.join_keys]
    whole = " ".join([about, *around, *view.tags, *view.tags.values()]).casefold()
    for rank, text in enumerate((own, about, whole)):
        if all(word in text for word in words):
            return rank
    return None


def _warn(found: Lookup, options: EnrichOptions) -> None:
    for part in found.summary.views:
        total = sum(part.statuses.values())
        if expired := part.statuses.get(Status.EXPIRED, 0):
            view = next(own.view for own in found.selection.views if own.view.name == part.view)
            ttl = "none" if view.ttl is None else format_duration(view.ttl)
            kept = (
                "became null"
                if options.expired == "null"
                else "were kept; expired='null' blanks them"
            )
            message = (
                f"{part.view}: {expired:,} of {total:,} values are older than their ttl ({ttl}) "
                f"and {kept}"
            )
            warn_caller(message, ExpiredWarning)
        if options.on_missing == "warn" and (missing := part.statuses.get(Status.NOT_FOUND, 0)):
            message = (
                f"{part.view}: the store does not know the entities of {missing:,} of "
                f"{total:,} values"
            )
            warn_caller(message, MissingWarning)
