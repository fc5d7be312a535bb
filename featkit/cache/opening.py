"""From what the user asks for to a cache: targets, options, and where files lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import platformdirs

from featkit.cache.entities import MOST_IN_MEMORY, MOST_STORED, EntityCache
from featkit.cache.redis import RedisContainer
from featkit.cache.segments import SCHEMA
from featkit.cache.sqlite import SqliteContainer
from featkit.cache.storages import StorageContainer
from featkit.durations import parse_duration
from featkit.errors import SettingsError, nearest
from featkit.online.caching import CachePolicy
from featkit.settings import Secret, take_enabled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from featkit.cache.containers import Container
    from featkit.types import Duration

CacheTarget: TypeAlias = "str | os.PathLike[str] | MutableMapping[str, bytes] | Secret"
"""``"memory"``, ``"disk"``, a path, ``"redis://..."``, or a storage of requests-cache."""

_WORDS = ("memory", "disk")
_REDIS = ("redis", "rediss", "unix")
_FILE = "features.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions(CachePolicy):
    """How fetched values are kept; pass it as ``featkit.connect(..., cache=CacheOptions(...))``.

    Durations are timedeltas, text such as ``"5m"``, or seconds.

    Attributes
    ----------
    target
        ``"memory"``; ``"disk"``, a file of the user's own; a path of such a file;
        ``"redis://HOST:PORT/DB"``; or a storage of requests-cache.
    ttl
        How long a row is served without asking the store again; less where a value's own ttl ends
        earlier.
    missing_ttl
        The same for entities that the store does not know, and for values past their ttl.
    stale_while_revalidate
        How long after that a row is still served while it is fetched anew in the background.
    stale_if_error
        How long after that a row is served, with the status `STALE`, while the store is down.
    metadata_ttl
        How long what a registry says is good where its server does not tell; or a mapping from
        patterns of URLs, such as ``{"*/feature_services*": "1h", "*": "5m"}``.
    most_in_memory, most_stored
        Bytes beyond which rows are thrown out: the longest unused, and the oldest.

    Examples
    --------
    >>> CacheOptions(target="memory", ttl="1h").ttl
    datetime.timedelta(seconds=3600)
    """

    target: CacheTarget = field(default="memory", repr=False)
    metadata_ttl: Duration | Mapping[str, Duration] = timedelta(minutes=5)
    most_in_memory: int = MOST_IN_MEMORY
    most_stored: int = MOST_STORED

    def __post_init__(self) -> None:
        CachePolicy.__post_init__(self)
        told = self.metadata_ttl
        patterns = told if isinstance(told, Mapping) else {"*": told}
        read = {
            pattern: parse_duration(duration, what="metadata_ttl of the cache")
            for pattern, duration in patterns.items()
        }
        object.__setattr__(self, "metadata_ttl", read)
        for name in ("most_in_memory", "most_stored"):
            size = getattr(self, name)
            if isinstance(size, str) and size.isdecimal():  # from a variable of the environment
                size = int(size)
                object.__setattr__(self, name, size)
            if not isinstance(size, int) or isinstance(size, bool) or size < 0:
                msg = f"{name} of the cache must be a whole number of bytes, not {size!r}"
                raise SettingsError(msg)


def namespace_of(parts: Iterable[str]) -> str:
    """Hash what must be equal for two clients to share rows, credentials among it."""
    words = [f"schema {SCHEMA}", *parts]
    return hashlib.blake2b("\0".join(words).encode(), digest_size=16).hexdigest()


def open_cache(options: CacheOptions, namespace: str) -> EntityCache:
    """Make a cache; files and servers are touched when it is first used.

    Raises
    ------
    SettingsError
        There is no such target.
    MissingExtraError
        It needs an extra that is not installed.
    """
    return EntityCache(
        namespace,
        options,
        container_of(options.target),
        most_in_memory=options.most_in_memory,
        most_stored=options.most_stored,
    )


def container_of(target: CacheTarget) -> Container | None:
    """Find the container that a target names; None: memory only."""
    if isinstance(target, MutableMapping):
        if hasattr(target, "connection") and type(target).__name__ == "RedisDict":
            return RedisContainer(target.connection, "the Redis that was passed")
        return StorageContainer(target)
    if isinstance(target, Secret):
        target = target.reveal()
    if not isinstance(target, (str, os.PathLike)):
        msg = (
            "a cache is 'memory', 'disk', a path, 'redis://...' or a storage of requests-cache, "
            f"not {type(target).__name__}"
        )
        raise SettingsError(msg)
    path = path_of(target)
    if path is not None:
        return SqliteContainer(path, own_folder=target == "disk")
    text = os.fspath(target)
    if text == "memory":
        return None
    if text.partition(":")[0] in _REDIS and "://" in text:
        return RedisContainer.at(text)
    shown = f"{urlsplit(text).scheme}://..." if "://" in text else text
    msg = (
        f"cache={shown!r} is no cache; {nearest(shown, [*_WORDS, 'redis://HOST:PORT/DB'])} - a "
        "file is named by a path with a folder or a suffix, such as './features.sqlite'"
    )
    raise SettingsError(msg)


def path_of(target: object) -> Path | None:
    """Return the file that a target names; None: it names none."""
    if target == "disk":
        return default_folder() / _FILE
    if not isinstance(target, (str, os.PathLike)):
        return None
    text = os.fspath(target)
    is_path = isinstance(target, os.PathLike) or os.sep in text or Path(text).suffix
    if "://" in text or not is_path:
        return None
    path = Path(text).expanduser()
    return path / _FILE if path.is_dir() else path


def default_folder() -> Path:
    """Return the folder of ``cache="disk"``: the user's own for caches."""
    return platformdirs.user_cache_path("featkit")


def options_of(table: Mapping[str, Any], origin: str) -> CacheOptions | None:
    """Read the table ``[cache]`` of the settings; None: the cache is switched off.

    Raises
    ------
    SettingsError
        An entry is unknown or wrong.
    """
    known = [
        *("enabled", "backend", "url", "path", "ttl", "missing_ttl", "stale_while_revalidate"),
        *("stale_if_error", "metadata_ttl", "most_in_memory", "most_stored"),
    ]
    if unknown := sorted(set(table) - set(known)):
        msg = f"{origin}: [cache] has no entry {unknown[0]!r}; {nearest(unknown[0], known)}"
        raise SettingsError(msg)
    entries = dict(table)
    if not take_enabled(entries, "cache", origin):
        return None
    return CacheOptions(target=_target_of(entries, origin), **entries)


def _target_of(entries: dict[str, Any], origin: str) -> CacheTarget:
    backend = entries.pop("backend", "memory")
    url, path = entries.pop("url", None), entries.pop("path", None)
    match backend:
        case "memory":
            return "memory"
        case "disk":
            return Path(path) if path else "disk"
        case "redis" if url:
            target: CacheTarget = url
            return target
        case "redis":
            msg = f"{origin}: backend = 'redis' of [cache] needs url = 'redis://HOST:PORT/DB'"
            raise SettingsError(msg)
        case _:
            near = nearest(str(backend), ["memory", "disk", "redis"])
            msg = f"{origin}: there is no cache backend {backend!r}; {near}"
            raise SettingsError(msg)
