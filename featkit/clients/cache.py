"""The cache as clients show it: ``store.cache``, once for each kind of client."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from featkit import frames, keys
from featkit.cache.statistics import CacheStats, ViewCacheInfo
from featkit.calls import Call, LocalRead
from featkit.durations import parse_duration
from featkit.errors import InputError
from featkit.online.caching import micros
from featkit.stores.base import OnlineRead

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from featkit.cache.entities import EntityCache
    from featkit.cache.metadata import LazyMetadata
    from featkit.calls import Flow
    from featkit.clients.operations import Operations
    from featkit.clients.session import Session
    from featkit.types import Duration, EntityId


class _Control:
    """What both kinds do, as flows.

    Parameters
    ----------
    session
        The client.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def _operations(self) -> Operations:
        return self._session.operations

    @property
    def _cache(self) -> EntityCache | None:
        return self._operations.cache

    @property
    def _metadata(self) -> LazyMetadata | None:
        return self._session.metadata

    def disabled(self) -> AbstractContextManager[None]:
        """Neither read nor write the cache inside a ``with`` block, in this thread or task.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights", cache="memory")
        >>> with store.cache.disabled():
        ...     store.get_online_features("aircraft", "N14228", ["seats"])
        {'seats': 149}
        >>> store.cache.size
        0
        """
        if self._cache is None:
            return nullcontext()
        return self._cache.disabled()

    def _stats(self) -> Flow[CacheStats]:
        cache, now = self._cache, (yield from self._operations.now())
        if cache is None:
            return CacheStats(target="no cache", ttl=None)
        held = 0 if self._metadata is None else len(self._metadata)
        stats: CacheStats = yield _here(lambda: replace(cache.stats(now), metadata=held))
        return stats

    def _info(self, view: str) -> Flow[ViewCacheInfo]:
        described = yield from self._operations.store.feature_view(view)
        cache, now = self._cache, (yield from self._operations.now())
        if cache is None:
            return ViewCacheInfo(view=described.name)
        info: ViewCacheInfo = yield _here(lambda: cache.info(now, described.name))
        return info

    def _clear(
        self,
        view: str | None,
        entities: list[EntityId] | None,
        older_than: Duration | None,
        expired: bool,  # noqa: FBT001 - of the methods below
    ) -> Flow[int]:
        if entities is not None and (view is None or older_than is not None or expired):
            msg = "entities= needs view= to tell whose they are, and goes with nothing else"
            raise InputError(msg)
        age = None if older_than is None else parse_duration(older_than, what="older_than")
        cache, now = self._cache, (yield from self._operations.now())
        if cache is None:
            return 0
        if entities is not None and view is not None:
            described = yield from self._operations.store.feature_view(view)
            frame = frames.of_entities(entities, described)
            labels = {key: key for key in described.join_keys}
            columns = yield _here(partial(frame.key_columns, labels))
            zone = self._operations.timezone
            checked = keys.check(columns, described, zone=zone, row=frame.row_label)
            unique = keys.EntityKeys.of(checked).unique
            read = OnlineRead(described, described.features, unique, now)
            known: int = yield _here(partial(cache.forget, read))
            return known
        limits = {
            "older_than": None if age is None else micros(_earlier(now, age)),
            "expired": micros(now) if expired else None,
        }
        if view is None and age is None and not expired and self._metadata is not None:
            yield _here(self._metadata.clear)
        gone: int = yield _here(partial(cache.clear, view, **limits))
        return gone


class ClientCache(_Control):
    """The cache of a client: ``store.cache``.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights", cache="memory")
    >>> _ = store.get_online_features("aircraft", "N14228")
    >>> _ = store.get_online_features("aircraft", "N14228", ["seats"])
    >>> store.cache.stats().hit_rate
    0.5
    """

    def stats(self) -> CacheStats:
        """Tell what the cache did since the client was connected, and what it holds.

        Examples
        --------
        >>> import featkit
        >>> featkit.connect("demo:flights").cache.stats().target
        'no cache'
        """
        return self._session.run(self._stats())

    def info(self, view: str) -> ViewCacheInfo:
        """Tell what the cache holds of one feature view.

        Raises
        ------
        UnknownNameError
            There is no such view.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights", cache="memory")
        >>> _ = store.get_online_features("aircraft", "N14228", ["seats"])
        >>> store.cache.info("aircraft").features
        {'seats': 1}
        """
        return self._session.run(self._info(view))

    def clear(
        self,
        view: str | None = None,
        *,
        entities: list[EntityId] | None = None,
        older_than: Duration | None = None,
        expired: bool = False,
    ) -> int:
        """Forget rows of this client's store; without arguments all, and its metadata.

        Parameters
        ----------
        view
            Of this feature view only.
        entities
            Of these entities of the view only; keys as `FeatureStoreClient.get_online_features`
            takes one.
        older_than
            Only what was fetched longer ago than this duration.
        expired
            Only what is past its time, and is kept in case the store fails.

        Returns
        -------
        int
            How many rows are gone.

        Raises
        ------
        InputError
            ``entities`` without ``view``, or with another condition.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights", cache="memory")
        >>> _ = store.get_online_features_batch("aircraft", ["N14228", "N24211"], ["seats"])
        >>> store.cache.clear("aircraft", entities=["N14228"]), store.cache.clear()
        (1, 1)
        """
        return self._session.run(self._clear(view, entities, older_than, expired))

    @property
    def size(self) -> int:
        """How many rows the cache holds, summed over the views."""
        return self.stats().rows

    def __repr__(self) -> str:
        return str(self.stats())

    def _repr_html_(self) -> str:
        return self.stats()._repr_html_()


class AsyncClientCache(_Control):
    """The cache of a client for asyncio: what `ClientCache` has, to be awaited.

    Examples
    --------
    >>> import asyncio, featkit
    >>> async def seats_twice():
    ...     store = featkit.connect_async("demo:flights", cache="memory")
    ...     for _ in range(2):
    ...         await store.get_online_features("aircraft", "N14228", ["seats"])
    ...     return (await store.cache.stats()).hits, await store.cache.size
    >>> asyncio.run(seats_twice())
    (1, 1)
    """

    async def stats(self) -> CacheStats:
        """Tell what the cache did since the client was connected, and what it holds."""
        return await self._session.arun(self._stats())

    async def info(self, view: str) -> ViewCacheInfo:
        """Tell what the cache holds of one feature view."""
        return await self._session.arun(self._info(view))

    async def clear(
        self,
        view: str | None = None,
        *,
        entities: list[EntityId] | None = None,
        older_than: Duration | None = None,
        expired: bool = False,
    ) -> int:
        """Forget rows of this client's store; without arguments all, and its metadata."""
        return await self._session.arun(self._clear(view, entities, older_than, expired))

    @property
    async def size(self) -> int:
        """How many rows the cache holds, summed over the views."""
        return (await self.stats()).rows

    def __repr__(self) -> str:
        return f"<cache of {self._session!r}>"


def _here(run: Callable[[], Any]) -> Call[Any]:
    return Call(LocalRead(run, "the cache"))


def _earlier(now: datetime, age: timedelta) -> datetime:
    try:
        return now - age
    except OverflowError:  # before the year 1
        return datetime.min.replace(tzinfo=UTC)
