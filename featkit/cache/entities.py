"""The cache of feature values: every view's rows in memory, and in a container where there is one.

Nothing in here fails a lookup: what goes wrong with the container becomes a notice, which the
caller gets as a warning, and the cache goes on in memory.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit.cache.containers import ContainerError
from featkit.cache.flights import Flight, Flights
from featkit.cache.segments import Segment, codes_of
from featkit.cache.statistics import CacheStats, ViewCacheInfo
from featkit.cache.views import CachedView
from featkit.dtypes import format_dtype
from featkit.forking import after_fork
from featkit.online.caching import Ages, decide, ends, micros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from featkit.cache.containers import Container
    from featkit.cache.tables import Hits
    from featkit.calls import Flow
    from featkit.columns import FeatureColumns
    from featkit.online.caching import CachePolicy, Found, Wishes
    from featkit.stores.base import OnlineRead

MOST_IN_MEMORY = 2**30  # bytes
MOST_STORED = 4 * 2**30  # bytes
UNUSABLE = "unusable"
"""The kind of trouble that is told once, whichever file it is seen at first."""

_AGAIN = 30.0  # seconds after which a container that failed is tried again
_TIDY = 16  # writes between two looks at the size of the container


class EntityCache:
    """Feature values that were fetched, for whoever asks again.

    Parameters
    ----------
    namespace
        Hash of what must be equal for two clients to share rows.
    policy
        How long rows are good.
    container
        Where rows outlive the process; None: they do not.
    most_in_memory, most_stored
        Bytes beyond which the longest unused, and the oldest, are thrown out.
    """

    def __init__(
        self,
        namespace: str,
        policy: CachePolicy,
        container: Container | None = None,
        *,
        most_in_memory: int = MOST_IN_MEMORY,
        most_stored: int = MOST_STORED,
    ) -> None:
        self.policy = policy
        self.run: Callable[[Flow[Any]], Any] | None = None
        self._namespace = namespace
        self.container = container
        self._limits = (most_in_memory, most_stored)
        self._views: dict[str, CachedView] = {}
        self._flights = Flights()
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._notices: dict[str, str] = {}
        self._noticed: set[str] = set()
        self._tried_again = 0.0  # when the container may be tried again
        self._writes = 0
        self._uses = 0
        self._refreshing = threading.Lock()
        self._off: ContextVar[bool] = ContextVar("featkit_cache_off", default=False)
        after_fork(self)

    # -- lookups: what `featkit.online.caching.LookupCache` asks for ------------------------------

    def find(self, read: OnlineRead, wishes: Wishes) -> Found:
        """Say what is known of the keys of a question."""
        view = self._view(read)
        landed = self._flights.landed(view.place)
        self._follow(view)
        return replace(self._look(view, read, wishes), landed=landed)

    def keep(self, read: OnlineRead, answer: FeatureColumns) -> None:
        """Keep an answer, which was checked."""
        view = self._view(read)
        end = ends(read, answer, self.policy, codes_of(read.keys))
        segment = Segment.of(read.keys, answer, at=view.since(micros(read.now)), end=end)
        self._write(view, segment, read.now)
        view.add(segment)
        self._make_room(view)

    def count(self, hits: int, misses: int) -> None:
        """Hear how many keys were answered from the cache, and how many were not."""
        with self._lock:
            self._counts.update(hits=hits, misses=misses)

    def claim(
        self, read: OnlineRead, wishes: Wishes, landed: int | None = None
    ) -> tuple[npt.NDArray[np.bool_], Flight | None, Sequence[Flight]]:
        """Say which keys the caller is to fetch, and who fetches, or just fetched, the others."""
        names = [feature.name for feature in read.features]
        view = self._view(read)
        mine, flight, others = self._flights.claim(view.place, names, codes_of(read.keys))
        if flight is None or landed in {None, self._flights.landed(view.place)}:
            return mine, flight, others
        # A flight landed after the caller had looked. What it brought is in memory by now, and what
        # is claimed here nobody else can bring any more: one more look tells.
        brought = mine & self._look(view, read, wishes).answered(len(mine))
        if not brought.any():
            return mine, flight, others
        mine &= ~brought
        if not mine.any():
            flight.land()
        return mine, flight if mine.any() else None, [*others, Flight.over()]

    def later(self, flow: Callable[[], Flow[int]]) -> None:
        """Run a flow that fetches rows anew in the background, unless one is running."""
        if self.run is None or not self._refreshing.acquire(blocking=False):
            return
        thread = threading.Thread(
            target=self._refresh, args=(self.run, flow), name="featkit-refresh", daemon=True
        )
        thread.start()

    def _refresh(self, run: Callable[[Flow[Any]], Any], flow: Callable[[], Flow[int]]) -> None:
        try:
            self._counts["refreshed"] += run(flow())
        finally:
            self._refreshing.release()

    def served_stale(self, view: str, keys: int) -> None:
        """Hear that so many keys of a view were served because the store is down."""
        with self._lock:
            self._counts["stale"] += keys
            self._notices[f"stale {view}"] = (
                f"{view}: the store is down; {keys:,} {'entities' if keys != 1 else 'entity'} came "
                "from the cache past their time, with the status STALE"
            )

    @property
    def switched_on(self) -> bool:
        """Whether it is to be used here, and not inside `disabled`."""
        return not self._off.get()

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Have this thread, or this task, neither read nor write the cache."""
        token = self._off.set(True)
        try:
            yield
        finally:
            self._off.reset(token)

    # -- looking at it, and clearing ------------------------------------------------------------

    def stats(self, now: datetime, view: str | None = None) -> CacheStats:
        """Tell what it did and what it holds."""
        stored = self._stored(view)
        places = {place: self._views[place] for place in list(self._views)}
        names = {kept.view for kept in places.values()} | {name for name, *_ in stored}
        infos = [
            self._info(name, [kept for kept in places.values() if kept.view == name], stored, now)
            for name in sorted(names)
            if view in {None, name}
        ]
        container = self.container
        return CacheStats(
            target="memory" if container is None else container.name.removeprefix("the "),
            ttl=self.policy.span("ttl"),
            views=tuple(info for info in infos if info.rows or info.segments),
            **{
                name: self._counts[name]
                for name in ("hits", "misses", "stale", "refreshed", "evicted")
            },
        )

    def info(self, now: datetime, view: str) -> ViewCacheInfo:
        """Tell what it holds of one view, reading what the container has of it."""
        self._all_views(view)
        for info in self.stats(now, view).views:
            return info
        return self._info(view, [], [], now)

    def clear(
        self, view: str | None = None, *, older_than: int | None = None, expired: int | None = None
    ) -> int:
        """Forget rows; return how many.

        Parameters
        ----------
        view
            Of this view only.
        older_than
            Only what was fetched before that moment, in microseconds since 1970.
        expired
            Only what was good until that moment at the most.
        """
        views = self._all_views(view)
        if older_than is None and expired is None:
            return self._forget(view, views)

        def wanted(frame: pl.DataFrame) -> pl.Series:
            mask = pl.repeat(value=True, n=frame.height, eager=True, dtype=pl.Boolean)
            if older_than is not None:
                mask &= frame["at"] >= older_than
            if expired is not None:
                mask &= frame["end"] > expired
            return mask

        lost = 0
        for kept in views:
            with self._tolerant():
                lost += kept.keep_only(self._usable(), wanted, self.policy.longest)
        return lost

    def forget(self, read: OnlineRead) -> int:
        """Forget the keys of a question, whatever is known of them; return how many were known."""
        if not read.keys.height:
            return 0
        view = self._view(read)
        self._follow(view)
        hits = view.find(read.keys, read.view.feature_names)
        known = max((int((one.rows >= 0).sum()) for one in hits), default=0)
        at = view.since(micros(read.now))
        # others may keep rows for longer than this client does
        last = max((int(one.end.max()) for one in hits), default=at)
        end = max(at + self.policy.micros("ttl"), last) + self.policy.longest
        segment = Segment.gone(read.keys, at=at, end=end)
        self._write(view, segment, read.now)
        view.add(segment)
        return known

    def notices(self) -> list[str]:
        """Return what the user should know, each thing once."""
        with self._lock:
            found, self._notices = list(self._notices.values()), {}
        return found

    def close(self) -> None:
        """Let go of files and connections."""
        if self.container is not None:
            self.container.close()

    def start_anew(self) -> None:
        """Make it usable in a forked process: nobody else is flying, and no lock is held."""
        self._lock, self._refreshing = threading.RLock(), threading.Lock()
        self._flights = Flights()
        for view in self._views.values():
            view.lock = threading.RLock()
        if self.container is not None:
            self.container.start_anew()

    # -- inside -----------------------------------------------------------------------------------

    def _look(self, view: CachedView, read: OnlineRead, wishes: Wishes) -> Found:
        """Look into what is in memory."""
        hits = view.find(read.keys, [feature.name for feature in read.features])
        longest = self.policy.micros("ttl")
        return decide(read, [_ages(one, longest) for one in hits], self.policy, wishes)

    def _place(self, read: OnlineRead) -> str:
        dtypes = [f"{name} {format_dtype(dtype)}" for name, dtype in read.keys.schema.items()]
        words = [self._namespace, read.view.name, read.view.schema_hash, *dtypes]
        if read.view.ttl is not None:  # of which it depends how long rows are good
            words.append(f"ttl {read.view.ttl}")
        return hashlib.blake2b("\n".join(words).encode(), digest_size=16).hexdigest()

    def _view(self, read: OnlineRead) -> CachedView:
        return self._kept(self._place(read), read.view.name)

    def _kept(self, place: str, name: str) -> CachedView:
        with self._lock:
            if place not in self._views:
                self._views[place] = CachedView(self._namespace, name, place)
            self._uses += 1
            self._views[place].used = self._uses
            return self._views[place]

    def _usable(self) -> Container | None:
        return None if time.monotonic() < self._tried_again else self.container

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Go on in memory where the container fails."""
        try:
            yield
        except ContainerError as error:
            if not error.mended:
                self._tried_again = time.monotonic() + _AGAIN
            known = "; the cache is kept in memory only" if not error.mended else ""
            self.notice("begun anew" if error.mended else UNUSABLE, f"{error}{known}")

    def notice(self, what: str, message: str) -> None:
        """Have the user told, once for each kind of trouble."""
        with self._lock:
            if what not in self._noticed:
                self._noticed.add(what)
                self._notices[what] = message

    def _follow(self, view: CachedView) -> None:
        container = self._usable()
        if container is None:
            return
        with self._tolerant():
            if damaged := view.follow(container):
                self.notice(
                    "damaged", f"{container.name}: {damaged} damaged segments were thrown away"
                )

    def _write(self, view: CachedView, segment: Segment, now: datetime) -> None:
        container = self._usable()
        if container is None:
            return
        with self._tolerant():
            view.write(container, [segment], self.policy.longest)
            before = micros(now) - self.policy.longest
            view.compact(container, before=before, slack=self.policy.longest)
            with self._lock:
                self._writes += 1
                tidy = self._writes % _TIDY == 1
            if tidy:
                # the earlier clock: neither rows of a data set that stands in the past are lost,
                # nor those of everybody else to somebody whose clock is ahead
                container.evict(self._limits[1], min(micros(now), int(time.time() * 1e6)))

    def _make_room(self, latest: CachedView) -> None:
        """Throw out the views that were not used for longest, and then the oldest rows."""
        with self._lock:
            total = sum(view.nbytes for view in self._views.values())
            if total <= self._limits[0]:
                return
            for place, view in sorted(self._views.items(), key=lambda item: item[1].used):
                if total <= self._limits[0] or view is latest:
                    break
                total -= view.nbytes
                self._counts["evicted"] += view.rows
                del self._views[place]
            while latest.nbytes > self._limits[0] and latest.rows:
                self._counts["evicted"] += latest.shrink()

    def _stored(self, view: str | None) -> list[tuple[str, str, int, int, int]]:
        """List the segments of the container: view, place, rows, size, when fetched."""
        container = self._usable()
        if container is None:
            return []
        with self._tolerant():
            return [
                (entry.view, entry.place, entry.rows, entry.size, entry.fetched)
                for entry in container.entries(self._namespace).values()
                if view in {None, entry.view}
            ]
        return []

    def _info(
        self,
        name: str,
        views: Sequence[CachedView],
        stored: Sequence[tuple[str, str, int, int, int]],
        now: datetime,
    ) -> ViewCacheInfo:
        features: Counter[str] = Counter()
        times: list[int] = []
        expired = 0
        for view in views:
            with view.lock:
                for family in view.table.families:
                    features.update(dict.fromkeys(family.features, family.live))
                    frame = family.living().frame
                    times += frame.select(pl.min("at"), pl.max("at").alias("last")).row(0)
                    expired = max(expired, int((frame["end"] <= micros(now)).sum()))
        mine = [segment for segment in stored if segment[0] == name]
        loaded = {view.place for view in views if view.rows}
        elsewhere = sum(rows for _, place, rows, *_ in mine if place not in loaded)
        times += [fetched for _, place, _, _, fetched in mine if place not in loaded]
        return ViewCacheInfo(
            view=name,
            rows=sum(view.rows for view in views) + elsewhere,
            features=dict(features),
            expired=expired,
            oldest=_moment(min(times, default=None)),
            newest=_moment(max(times, default=None)),
            memory_bytes=sum(view.nbytes for view in views),
            stored_bytes=sum(size for _, _, _, size, _ in mine),
            segments=len(mine),
        )

    def _all_views(self, name: str | None) -> list[CachedView]:
        """Return the views that there are rows of, with what the container has of them."""
        for stored, place, *_ in self._stored(name):
            self._kept(place, stored)
        views = [view for view in list(self._views.values()) if name in {None, view.view}]
        for view in views:
            self._follow(view)
        return views

    def _forget(self, name: str | None, views: Sequence[CachedView]) -> int:
        lost = sum(view.rows for view in views)
        with self._lock:
            for view in views:
                self._views.pop(view.place, None)
        container = self._usable()
        if container is not None:
            with self._tolerant():
                entries = container.entries(self._namespace)
                container.remove([n for n, entry in entries.items() if name in {None, entry.view}])
                container.compact()
        return lost


def _ages(hits: Hits, longest: int) -> Ages:
    """Tell how old rows are; who wrote them may have thought them good for longer."""
    return Ages(hits.names, hits.at, np.minimum(hits.end, hits.at + longest), hits.columns)


def _moment(at: int | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at / 1e6, tz=UTC)
