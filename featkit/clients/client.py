"""The synchronous client: a thin driver of the operations, and twin of `async_client`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from featkit.clients.cache import ClientCache
from featkit.clients.operations import EnrichOptions
from featkit.clients.staleness import StalenessMethods
from featkit.errors import FeatkitError
from featkit.training.methods import HistoryMethods

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from featkit.clients.health import HealthListener, HealthMonitor, HealthReport
    from featkit.columns import FeatureColumns
    from featkit.schema import Entity, FeatureRef, FeatureService, FeatureView
    from featkit.types import Duration, EntityId, Features, Keys
    from featkit.widgets.browser import FeatureViewBrowser


class FeatureStoreClient(HistoryMethods, StalenessMethods):
    """A connected feature store; made by `featkit.connect`.

    It can be used from several threads, also while an event loop runs, and as a context manager
    that closes it. All its methods exist on `AsyncFeatureStoreClient` too, to be awaited.

    Attributes
    ----------
    target : str
        What it is connected to.
    last_summary : LookupSummary or None
        What its last lookup or enrich did.

    Examples
    --------
    >>> import featkit
    >>> with featkit.connect("demo:flights") as store:
    ...     store.get_online_features("aircraft", "N14228", ["seats", "manufacturer"])
    {'seats': 149, 'manufacturer': 'BOEING'}
    """

    @property
    def cache(self) -> ClientCache:
        """What is kept of what was fetched: its ``stats()``, ``info()``, ``clear()``, ``size``."""
        return ClientCache(self)

    def get_online_features(
        self, view: str, entity_id: EntityId, features: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Look up the latest features of one entity.

        Parameters
        ----------
        view
            Name of the feature view.
        entity_id
            The entity's key; a tuple in the view's order, or a mapping, for a composite key.
        features
            Names of features; none: all of the view.

        Returns
        -------
        dict
            Values by feature name, as Python objects; None where there is none.

        Raises
        ------
        UnknownNameError
            There is no such view or feature.
        KeyTypeError
            The key cannot become the entity's type without loss.
        StoreError
            The store failed.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> store.get_online_features("route_history", ("JFK", "LAX"), ["flights_30d"])
        {'flights_30d': 908}
        """
        return self.run(self.operations.get_online_features(view, entity_id, features))

    def get_online_features_batch(
        self, view: str, entity_ids: Sequence[EntityId | None], features: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Look up the latest features of many entities.

        Parameters
        ----------
        view
            Name of the feature view.
        entity_ids
            Keys, as `get_online_features` takes one; duplicates are asked for once.
        features
            Names of features; none: all of the view.

        Returns
        -------
        list of dict
            One per id, in order, duplicates kept. A null id has null features.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> store.get_online_features_batch("aircraft", ["N14228", "?", "N14228"], ["seats"])
        [{'seats': 149}, {'seats': None}, {'seats': 149}]
        """
        return self.run(self.operations.get_online_features_batch(view, entity_ids, features))

    def get_online_features_with_timestamps(
        self, view: str, entity_id: EntityId, features: Sequence[str] = ()
    ) -> tuple[dict[str, Any], dict[str, datetime | None]]:
        """Look up the latest features of one entity with their event timestamps.

        Parameters
        ----------
        view, entity_id, features
            As for `get_online_features`.

        Returns
        -------
        values : dict
            Values by feature name.
        timestamps : dict
            Event timestamps by feature name, aware (UTC); None where unknown.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> values, timestamps = store.get_online_features_with_timestamps(
        ...     "carrier_history", "UA", ["flights_7d"]
        ... )
        >>> timestamps["flights_7d"].isoformat()
        '2013-12-31T00:00:00+00:00'
        """
        return self.run(
            self.operations.get_online_features_with_timestamps(view, entity_id, features)
        )

    def lookup(
        self,
        keys: Keys,
        features: Features,
        *,
        max_age: Duration | None = None,
        refresh: bool = False,
        only_cached: bool = False,
    ) -> FeatureColumns:
        """Look up the latest features of many entities, as columns.

        Parameters
        ----------
        keys
            A pandas or polars frame, or a mapping of columns, with the join keys; for a single
            join key also a sequence of keys.
        features
            References ``"view:feature"`` or ``"view:*"``, or the name of a feature service.
        max_age, refresh, only_cached
            What is wanted of the cache, as for `featkit.accessor.FeaturesAccessor.enrich`.

        Returns
        -------
        FeatureColumns
            One row per row of `keys`, in order, duplicates kept, with event timestamps and
            statuses.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> store.lookup(["N14228"], ["aircraft:seats"]).to_dicts()
        [{'seats': 149}]
        """
        options = EnrichOptions(max_age=max_age, refresh=refresh, only_cached=only_cached)
        return self.run(self.operations.lookup(keys, features, options))

    def get_feature_metadata(self, view: str) -> FeatureView:
        """Describe a feature view.

        Examples
        --------
        >>> import featkit
        >>> featkit.connect("demo:flights").get_feature_metadata("aircraft").join_keys
        ('tailnum',)
        """
        return self.run(self.operations.get_feature_metadata(view))

    def list_feature_views(self) -> list[FeatureView]:
        """List all feature views.

        One that cannot be described, since its source is gone or may not be read, is left out,
        and a `featkit.errors.ViewWarning` says why.

        Examples
        --------
        >>> import featkit
        >>> [view.name for view in featkit.connect("demo:flights").list_feature_views()][:2]
        ['origin_weather', 'aircraft']
        """
        return self.run(self.operations.list_feature_views())

    def list_entities(self) -> list[Entity]:
        """List all entities.

        Examples
        --------
        >>> import featkit
        >>> [entity.name for entity in featkit.connect("demo:flights").list_entities()]
        ['carrier', 'dest', 'origin', 'tailnum']
        """
        return self.run(self.operations.list_entities())

    def list_feature_services(self) -> list[FeatureService]:
        """List all feature services.

        Examples
        --------
        >>> import featkit
        >>> [service.name for service in featkit.connect("demo:flights").list_feature_services()]
        ['delay_model']
        """
        return self.run(self.operations.list_feature_services())

    def search(self, text: str) -> list[FeatureRef]:
        """Find features by words in names, descriptions, tags, owners, keys and sources.

        Parameters
        ----------
        text
            Words; a feature is found when it, or its view, holds all of them.

        Returns
        -------
        list of FeatureRef
            Features whose own name matches first, then those whose description or tags do, then
            those whose view does. `enrich` takes them as they are.

        Examples
        --------
        >>> import featkit
        >>> featkit.connect("demo:flights").search("seats")[0]
        FeatureRef('aircraft:seats')
        """
        return self.run(self.operations.search(text))

    def check_health(self) -> HealthReport:
        """Ask every part of the store, and tell how it went; never raises for the store.

        Returns
        -------
        HealthReport
            What was asked, what was found or what is wrong, and how long it took.

        Examples
        --------
        >>> import featkit
        >>> featkit.connect("demo:flights").check_health().healthy
        True
        """
        return self._health()()

    def health_check(self) -> bool:
        """Tell whether the store can be used.

        Examples
        --------
        >>> import featkit
        >>> featkit.connect("demo:flights").health_check()
        True
        """
        return self.check_health().healthy

    def monitor_health(
        self, interval: Duration = 30, *, on_change: HealthListener | None = None
    ) -> HealthMonitor:
        """Check the store's health in the background, until the monitor is stopped or forgotten.

        While the monitor knows that the store is down, calls of this client fail at once.

        Parameters
        ----------
        interval
            Time between two checks.
        on_change
            Called with the report before (None at first) and the new one, whenever the store
            becomes healthy or ceases to be.

        Returns
        -------
        HealthMonitor
            With the ``status``, the ``history`` and the ``latency()``.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> with store.monitor_health("10s") as monitor:
        ...     monitor.wait(timeout=10)
        True
        """
        return self._monitored(interval, on_change)

    def browse(
        self,
        views: Sequence[str] = (),
        *,
        entities: Keys | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> FeatureViewBrowser:
        """Look around in what the store holds, and choose features to use in the next cell.

        In a notebook this is a widget; elsewhere the catalogue is printed.

        Parameters
        ----------
        views
            Names of the views to show; none: all that the store lists.
        entities
            Keys to sample values of, as `lookup` takes them: needed where the store names none.
        state
            The ``state`` of another browser, to begin where that was.

        Returns
        -------
        FeatureViewBrowser
            Its ``selected`` are the references of the ticked features, which `enrich` takes.

        Raises
        ------
        StoreError
            The store failed, and this client has no catalogue of it from before.

        Examples
        --------
        >>> import featkit
        >>> browser = featkit.connect("demo:flights").browse()
        demo:flights: 5 feature views, 27 features
        view             join keys     ttl     owner        features
        origin_weather   origin        3h      weather      temperature, dew_point, humidity, ...
        aircraft         tailnum       static  fleet        manufactured_year, manufacturer, ...
        carrier_history  carrier       7d      punctuality  mean_dep_delay_7d, mean_delay_7d, ...
        tail_history     tailnum       30d     fleet        flights_so_far, last_arr_delay, ...
        route_history    origin, dest  30d     network      mean_air_time_30d, ...
        """
        try:
            found = self.run(self._catalogued(views))
        except FeatkitError as error:
            return self._browser(error, entities, state)
        return self._browser(found, entities, state)

    def close(self) -> None:
        """Close the client; calls of other threads fail, and their queries are cancelled."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
