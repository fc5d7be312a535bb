"""Which cache a client gets: an argument beats the settings, and a local store needs none."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from featkit.cache.metadata import LazyMetadata
from featkit.cache.opening import CacheOptions, CacheTarget, namespace_of, open_cache, options_of
from featkit.errors import SettingsError
from featkit.settings import Secret

if TYPE_CHECKING:
    from featkit.cache.entities import EntityCache
    from featkit.settings import Settings
    from featkit.stores.base import Store

CacheChoice: TypeAlias = "CacheTarget | CacheOptions | None"
"""What `featkit.connect` takes as ``cache``: a target, options, ``"auto"``, or None for none."""


def choose(
    cache: CacheChoice, chosen: Settings, store: Store, target: str, options: Mapping[str, Any]
) -> tuple[EntityCache | None, LazyMetadata | None]:
    """Make the caches of a client: of values, and of what registries say.

    Parameters
    ----------
    cache
        As the user gave it.
    chosen
        The settings.
    store, target, options
        The store, and how it was named: who shares all of it shares rows.

    Raises
    ------
    SettingsError
        There is no such cache.
    """
    wanted = _wanted(cache, chosen, local=store.capabilities.local)
    if wanted is None:
        return None, None
    namespace = namespace_of(_identity(store, target, options))
    entities = open_cache(wanted, namespace)
    return entities, LazyMetadata(namespace, wanted, entities)


def _wanted(cache: CacheChoice, chosen: Settings, *, local: bool) -> CacheOptions | None:
    if cache is None or isinstance(cache, CacheOptions):
        return cache
    if cache == "auto":
        read = options_of(chosen.tables.get("cache", {}), chosen.origin)
        return None if local else read
    if not isinstance(cache, (str, os.PathLike, MutableMapping, Secret)):
        msg = (
            "cache= must be 'memory', 'disk', a path, 'redis://...', featkit.CacheOptions or "
            f"None, not {type(cache).__name__}"
        )
        raise SettingsError(msg)
    told = dict(chosen.tables.get("cache", {}))
    for name in ("enabled", "backend", "url", "path"):
        told.pop(name, None)
    return CacheOptions(target=cache, **told)


def _identity(store: Store, target: str, options: Mapping[str, Any]) -> list[str]:
    """List what must be equal for two clients to share rows; it is hashed, secrets and all.

    Where it cannot be known who asks, nobody shares: the list has something that is never the same.
    """
    if store.cache_identity is not None:
        return [store.scheme, store.cache_identity]
    words = [store.scheme, target]
    for name, value in sorted(options.items()):
        told = _plain(value)
        if told is None:
            return [*words, uuid.uuid4().hex]
        words.append(f"{name}={told}")
    if store.auth is not None:
        identity = getattr(store.auth, "identity", None)
        words.append(identity if isinstance(identity, str) else uuid.uuid4().hex)
    return words


def _plain(value: object) -> str | None:
    match value:
        case Secret():
            return value.reveal()
        case None | str() | int() | float() | bool() | os.PathLike() | timedelta():
            return str(value)
        case Mapping():
            items = sorted(value.items(), key=lambda item: str(item[0]))
            return _plain([part for item in items for part in item])
        case list() | tuple():
            parts = [_plain(item) for item in value]
            return None if None in parts else repr(parts)
        case _:
            return None
