"""Where the replies of registries are kept: where the feature values are."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from featkit.cache.entities import UNUSABLE
from featkit.cache.opening import path_of
from featkit.cache.own_files import own_file, own_folder
from featkit.cache.redis import RedisContainer
from featkit.cache.sqlite import SqliteContainer
from featkit.forking import after_fork

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from featkit.cache.containers import Container
    from featkit.cache.entities import EntityCache
    from featkit.cache.http import Fetch, MetadataCache, OldReply
    from featkit.cache.opening import CacheOptions
    from featkit.calls import HttpReply, HttpRequest
    from featkit.transports.deadline import Deadline


class LazyMetadata:
    """A `MetadataCache` that is made when a registry is first asked: it imports much.

    Parameters
    ----------
    namespace, options
        As for `featkit.cache.opening.open_cache`.
    entities
        The cache of values, which is told of troubles, and is switched off together with this.
    """

    def __init__(self, namespace: str, options: CacheOptions, entities: EntityCache) -> None:
        self._namespace, self._options, self._entities = namespace, options, entities
        self._lock = threading.Lock()
        self._made: MetadataCache | None = None
        after_fork(self)

    def answer(self, request: HttpRequest, fetch: Fetch, deadline: Deadline) -> HttpReply:
        """Answer a request from what is kept, or fetch it."""
        return self._cache().answer(request, fetch, deadline)

    def old_replies(self) -> list[OldReply]:
        """Return, once, the replies past their time that were served since the last question."""
        return [] if self._made is None else self._made.old_replies()

    def __len__(self) -> int:
        return 0 if self._made is None else len(self._made)

    def clear(self) -> None:
        """Forget all replies."""
        if self._made is not None or self._entities.container is not None:
            self._cache().clear()

    def close(self) -> None:
        """Let go of files and connections."""
        if self._made is not None:
            self._made.close()

    def start_anew(self) -> None:
        """Make it usable in a forked process: the file is opened again."""
        self._lock, self._made = threading.Lock(), None

    def _cache(self) -> MetadataCache:
        from featkit.cache.http import MetadataCache  # noqa: PLC0415 - 0.3 s

        with self._lock:
            if self._made is None:
                told: Mapping[str, timedelta] = self._options.metadata_ttl  # type: ignore[assignment] # read
                patterns = dict(told)
                self._made = MetadataCache(
                    self._namespace,
                    self._backend(),
                    expire_after=patterns.pop("*", timedelta(minutes=5)),
                    urls_expire_after=patterns,
                    stale_if_error=self._options.span("stale_if_error"),
                )
            return self._made

    def _backend(self) -> Any:  # noqa: ANN401 - of requests-cache
        """Make the backend of requests-cache; None: in memory. Its serializer is JSON."""
        container = self._entities.container
        path = path_of(self._options.target)
        if path is not None and container is not None:
            return self._on_disk(metadata_path(path), own=self._options.target == "disk")
        if isinstance(container, RedisContainer):
            return _in_redis(container.connection)
        return None

    def _on_disk(self, path: Path, *, own: bool) -> Any:  # noqa: ANN401 - a backend
        """Open a file for its owner only; where that fails, replies are kept in memory."""
        from requests_cache.backends.sqlite import SQLiteCache  # noqa: PLC0415 - 0.3 s

        try:
            if own:
                own_folder(path.parent)
            own_file(path)
            return SQLiteCache(path, serializer="json", wal=True, busy_timeout=10_000)
        except Exception as error:  # noqa: BLE001 - whatever it is, metadata can be kept in memory
            told = f"the cache file {path} cannot be used: {error}; it is kept in memory only"
            self._entities.notice(UNUSABLE, told)
            return None


def metadata_path(path: Path) -> Path:
    """Tell where the replies are kept that belong to a cache file."""
    return path.with_name(f"{path.stem}-metadata.sqlite")


def _in_redis(connection: Any) -> Any:  # noqa: ANN401 - of redis-py, of requests-cache
    from requests_cache.backends.base import BaseCache  # noqa: PLC0415 - 0.3 s
    from requests_cache.backends.redis import RedisDict  # noqa: PLC0415 - an extra
    from requests_cache.serializers import json_serializer  # noqa: PLC0415 - 0.3 s

    class Replies(RedisDict):
        """A `RedisDict` that does not use what redis-py has deprecated."""

        def __setitem__(self, key: str, item: Any) -> None:  # noqa: ANN401 - of requests-cache
            lasting = (getattr(item, "expires_delta", None) or 0) + self.ttl_offset
            value = self.serialize(item)
            self.connection.set(self._bkey(key), value, ex=lasting if lasting > 0 else None)

    cache = BaseCache("featkit:metadata")
    cache.responses = Replies("featkit:metadata", connection=connection, serializer=json_serializer)
    return cache


def forget_all(container: Container) -> None:
    """Remove the replies of registries that are kept beside a container, whoever asked."""
    if isinstance(container, RedisContainer):
        names = list(container.connection.scan_iter("featkit:metadata:*"))
        if names:
            container.connection.delete(*names)
    elif isinstance(container, SqliteContainer):
        file = metadata_path(container.path)
        for suffix in ("", "-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
