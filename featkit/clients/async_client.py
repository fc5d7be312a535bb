"""The client for asyncio: the same methods as `featkit.clients.client`, to be awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from featkit.clients.cache import AsyncClientCache
from featkit.clients.operations import EnrichOptions
from featkit.clients.staleness import AsyncStalenessMethods
from featkit.errors import FeatkitError
from featkit.training.methods import AsyncHistoryMethods

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from featkit.clients.health import HealthListener, HealthMonitor, HealthReport
    from featkit.columns import FeatureColumns
    from featkit.schema import Entity, FeatureRef, FeatureService, FeatureView
    from featkit.types import Duration, EntityId, Features, Keys
    from featkit.widgets.browser import FeatureViewBrowser


class AsyncFeatureStoreClient(AsyncHistoryMethods, AsyncStalenessMethods):
    """A connected feature store for asyncio; made by `featkit.connect_async`.

    Its methods are those of `FeatureStoreClient`, where they are described, to be awaited. It may
    be used in several event loops.

    Examples
    --------
    >>> import asyncio, featkit
    >>> async def seats(tailnum):
    ...     async with featkit.connect_async("demo:flights") as store:
    ...         return await store.get_online_features("aircraft", tailnum, ["seats"])
    >>> asyncio.run(seats("N14228"))
    {'seats': 149}
    """

    _maker = "featkit.connect_async"

    @property
    def cache(self) -> AsyncClientCache:
        """What is kept of what was fetched: its ``stats()``, ``info()``, ``clear()``, ``size``."""
        return AsyncClientCache(self)

    async def get_online_features(
        self, view: str, entity_id: EntityId, features: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Look up the latest features of one entity."""
        return await self.arun(self.operations.get_online_features(view, entity_id, features))

    async def get_online_features_batch(
        self, view: str, entity_ids: Sequence[EntityId | None], features: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Look up the latest features of many entities."""
        return await self.arun(
            self.operations.get_online_features_batch(view, entity_ids, features)
        )

    async def get_online_features_with_timestamps(
        self, view: str, entity_id: EntityId, features: Sequence[str] = ()
    ) -> tuple[dict[str, Any], dict[str, datetime | None]]:
        """Look up the latest features of one entity with their event timestamps."""
        return await self.arun(
            self.operations.get_online_features_with_timestamps(view, entity_id, features)
        )

    async def lookup(
        self,
        keys: Keys,
        features: Features,
        *,
        max_age: Duration | None = None,
        refresh: bool = False,
        only_cached: bool = False,
    ) -> FeatureColumns:
        """Look up the latest features of many entities, as columns."""
        options = EnrichOptions(max_age=max_age, refresh=refresh, only_cached=only_cached)
        return await self.arun(self.operations.lookup(keys, features, options))

    async def get_feature_metadata(self, view: str) -> FeatureView:
        """Describe a feature view."""
        return await self.arun(self.operations.get_feature_metadata(view))

    async def list_feature_views(self) -> list[FeatureView]:
        """List all feature views."""
        return await self.arun(self.operations.list_feature_views())

    async def list_entities(self) -> list[Entity]:
        """List all entities."""
        return await self.arun(self.operations.list_entities())

    async def list_feature_services(self) -> list[FeatureService]:
        """List all feature services."""
        return await self.arun(self.operations.list_feature_services())

    async def search(self, text: str) -> list[FeatureRef]:
        """Find features by words in names, descriptions, tags, owners, keys and sources."""
        return await self.arun(self.operations.search(text))

    async def check_health(self) -> HealthReport:
        """Ask every part of the store, and tell how it went; never raises for the store."""
        return await self.arun(self.operations.check_health(self.target))

    async def health_check(self) -> bool:
        """Tell whether the store can be used."""
        return (await self.check_health()).healthy

    async def monitor_health(
        self, interval: Duration = 30, *, on_change: HealthListener | None = None
    ) -> HealthMonitor:
        """Check the store's health in the background, in a thread of its own."""
        return self._monitored(interval, on_change)

    async def browse(
        self,
        views: Sequence[str] = (),
        *,
        entities: Keys | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> FeatureViewBrowser:
        """Look around in what the store holds, and choose features to use in the next cell."""
        try:
            found = await self.arun(self._catalogued(views))
        except FeatkitError as error:
            return self._browser(error, entities, state)
        return self._browser(found, entities, state)

    async def close(self) -> None:
        """Close the client; calls of other tasks fail, and their queries are cancelled."""
        await asyncio.to_thread(self._close)  # which may have to wait for that

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
