"""A connected store, its threads and its health: what both clients stand on."""

from __future__ import annotations

import weakref
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeVar

from featkit.clients.catalogued import catalogued
from featkit.clients.health import HealthMonitor
from featkit.clients.operations import Operations
from featkit.clients.progress import watched
from featkit.durations import parse_duration
from featkit.errors import (
    ClosedError,
    FeatkitError,
    InputError,
    SettingsWarning,
    StoreError,
    StoreUnavailable,
)
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, Transports, adrive, drive
from featkit.uncached import fresh
from featkit.warned import warn_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from featkit.cache.entities import EntityCache
    from featkit.cache.metadata import LazyMetadata
    from featkit.calls import Flow
    from featkit.capabilities import Capabilities
    from featkit.catalogue import Catalogue
    from featkit.clients.health import HealthListener, HealthReport
    from featkit.clients.progress import ProgressOption
    from featkit.stores.base import Store
    from featkit.summary import LookupSummary
    from featkit.transports.options import TransportOptions
    from featkit.types import Duration, Keys
    from featkit.widgets.browser import FeatureViewBrowser

T = TypeVar("T")


class Closable(Protocol):
    """What holds files or connections."""

    def close(self) -> None:
        """Let go of them."""


_PATIENCE = timedelta(minutes=1)  # for what nobody waits for


class Session:
    """A connected store, and the two ways to run a flow on it.

    Parameters
    ----------
    store
        The store.
    target
        What the user calls it.
    timezone
        What naive timestamps mean; None: they are refused.
    timeout
        How long one call of the user's may take; None: without limit.
    now
        The clock, aware; None: the store's where its data set is frozen, else the real one.
    reach
        How the store is reached; None: as usual.
    persistent
        Whether calls try also while the store is known to be down.
    cache, metadata
        Values and replies of registries that were fetched before; None: nothing is kept.
    watched
        How often the store's health is checked, from now on; None: not before somebody asks.
    """

    _maker: ClassVar[str] = "featkit.connect"
    """What makes clients of this kind."""

    def __init__(
        self,
        store: Store,
        target: str,
        *,
        timezone: str | None = None,
        timeout: timedelta | None = None,
        now: Callable[[], datetime] | None = None,
        reach: TransportOptions | None = None,
        persistent: bool = False,
        cache: EntityCache | None = None,
        metadata: LazyMetadata | None = None,
        watched: Duration | None = None,
    ) -> None:
        self.target = target
        self.operations = Operations(store, timezone=timezone, now=now, cache=cache)
        self.metadata = metadata
        self._timeout = timeout
        self._persistent = persistent
        self._transports = Transports(reach)
        self._closed = False
        self._monitor: HealthMonitor | None = None
        self._catalogue: Catalogue | None = None
        self._held = (self._transports, store, cache, metadata)
        if cache is not None:
            cache.run = partial(_in_background, self._transports)
        weakref.finalize(self, _release, *self._held)
        if watched is not None:
            self._monitored(watched)

    @property
    def last_summary(self) -> LookupSummary | None:
        """What the last lookup or enrich of this client did; None before the first."""
        return self.operations.last_summary

    @property
    def closed(self) -> bool:
        """Whether it was closed, and cannot be used any more."""
        return self._closed

    @property
    def monitor(self) -> HealthMonitor | None:
        """What checks the store's health in the background; None: nothing does."""
        return self._monitor

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do, and why it cannot do the rest (``.lacking``)."""
        return self.operations.store.capabilities

    def run(self, flow: Flow[T], *, progress: ProgressOption = False) -> T:
        """Run a flow to its end in this thread."""
        self._check_usable()
        with watched(progress) as watcher:
            wanted = self.operations.as_wished(flow)
            try:
                return drive(wanted, self._transports, Deadline(self._timeout), watcher)
            finally:
                self._warn()

    async def arun(self, flow: Flow[T], *, progress: ProgressOption = False) -> T:
        """Run a flow to its end in the running event loop."""
        self._check_usable()
        with watched(progress) as watcher:
            wanted = self.operations.as_wished(flow)
            try:
                return await adrive(wanted, self._transports, Deadline(self._timeout), watcher)
            finally:
                self._warn()

    def _warn(self) -> None:
        for notice in self.operations.store.told.notices():
            warn_caller(notice, SettingsWarning)

    def _close(self) -> None:
        self._closed = True
        if self._monitor is not None:
            self._monitor.stop()
        _release(*self._held)

    def _check_open(self) -> None:
        if self._closed:
            msg = (
                f"the client of {self.target} was closed; make another with "
                f"{self._maker}({self.target!r}), or name one that is open: with store=, or for "
                "all calls with featkit.use"
            )
            raise ClosedError(msg)

    def _health(self) -> Callable[[], HealthReport]:
        """Return what checks the health, also while the store is known to be down."""
        self._check_open()
        # without the client, so that a monitor does not keep it alive
        operations, target = self.operations, self.target
        transports, timeout = self._transports, self._timeout
        return lambda: drive(
            fresh(operations.check_health(target)), transports, Deadline(timeout), Silent()
        )

    def _monitored(
        self, interval: Duration, on_change: HealthListener | None = None
    ) -> HealthMonitor:
        every = parse_duration(interval, what="interval")
        if self._monitor is not None:
            self._monitor.stop()
        self._monitor = HealthMonitor(self._health(), every, on_change)
        return self._monitor

    def _catalogued(self, names: Sequence[str]) -> Flow[Catalogue]:
        self._catalogue = yield from catalogued(self, names)
        return self._catalogue

    def _browser(
        self,
        found: Catalogue | FeatkitError,
        entities: Keys | None,
        state: Mapping[str, Any] | None,
    ) -> FeatureViewBrowser:
        """Show a catalogue, or the one from before where the store just failed."""
        from featkit.widgets.browser import FeatureViewBrowser  # noqa: PLC0415 - ipywidgets is heavy

        if isinstance(found, FeatkitError):
            if self._catalogue is None or not isinstance(found, StoreError):
                raise found
            found = replace(self._catalogue, problem=str(found))
        return FeatureViewBrowser(found, self, entities=entities, state=state)

    def _check_usable(self) -> None:
        self._check_open()
        monitor = self._monitor
        if monitor is None or self._persistent:
            return
        if monitor.running and monitor.status == "down":
            reason = monitor.latest.reason if monitor.latest else ""
            msg = (
                f"{self.target} is known to be down ({reason}); it is checked again by itself: "
                "client.monitor.wait() waits for it, and connect(..., wait='60s') has calls wait"
            )
            raise StoreUnavailable(msg)

    def __reduce__(self) -> NoReturn:
        msg = (
            "a client holds connections, and can be neither pickled nor copied; connect anew where "
            f"it is to be used: {self._maker}({self.target!r})"
        )
        raise InputError(msg)

    def __repr__(self) -> str:
        state = " (closed)" if self._closed else ""
        return f"<{type(self).__name__} {self.target}{state}>"


def _release(transports: Transports, store: Store, *caches: Closable | None) -> None:
    transports.close()
    store.close()
    for cache in caches:
        if cache is not None:
            cache.close()


def _in_background(transports: Transports, flow: Flow[int]) -> int:
    """Fetch rows anew; where that fails, they stay as they are, and the next lookup asks."""
    with suppress(FeatkitError):
        return drive(flow, transports, Deadline(_PATIENCE), Silent())
    return 0
