"""From a target or the settings to a client, and the client that is the default."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from featkit import settings
from featkit.cache.choosing import choose
from featkit.clients.async_client import AsyncFeatureStoreClient
from featkit.clients.client import FeatureStoreClient
from featkit.durations import parse_duration
from featkit.errors import ClosedError, InputError, SettingsError, nearest
from featkit.moments import clock_of
from featkit.stores.base import Store, open_store, schemes, store_class
from featkit.transports.options import Limits, Retry, TransportOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from featkit.cache.choosing import CacheChoice
    from featkit.types import Duration, Now

ClientT = TypeVar("ClientT", FeatureStoreClient, AsyncFeatureStoreClient)
Client = FeatureStoreClient | AsyncFeatureStoreClient

_HEALTH = "health_check"
_TABLES = {"cache", _HEALTH}  # besides those of stores

_default: Client | None = None
_before: list[weakref.ref[Client]] = []  # those that were the default before, the last one last


def open_client(
    kind: type[ClientT],
    target: str | PathLike[str] | Store | None = None,
    *,
    timezone: str | None = None,
    cache: CacheChoice = "auto",
    timeout: Duration | None = None,
    wait: Duration | None = None,
    now: Now = None,
    retry: Retry | None = None,
    limits: Limits | None = None,
    client: Any = None,  # noqa: ANN401 - any client with httpx's API
    options: Mapping[str, Any] | None = None,
) -> ClientT:
    """Make a client; an argument beats the settings. See `featkit.connect`."""
    chosen = settings.load()
    _check_tables(chosen)
    zone = _zone(timezone or chosen.timezone)
    limit = chosen.timeout if timeout is None else timeout
    patience = chosen.wait if wait is None else wait
    if isinstance(target, Store):
        # two stores that look the same need not be the same
        store, named = target, str(target)
        given: dict[str, Any] = {"": target}
    else:
        named, table = _from_settings(_written(target), chosen)
        own = {name: table.pop(name, None) for name in ("timeout", "wait")}
        limit = own["timeout"] if limit is None else limit
        patience = own["wait"] if patience is None else patience
        given = {**table, **(options or {})}
        _refuse_credentials(named)
        store = open_store(named, given, timezone=zone)
    _refuse_other("retry", retry, Retry)
    _refuse_other("limits", limits, Limits)
    entities, metadata = choose(cache, chosen, store, named, {**given, "timezone": zone})
    reach = TransportOptions(
        auth=store.auth,
        ca=store.ca,
        client=client,
        retry=_patient(retry or Retry(), patience),
        limits=limits or Limits(),
        metadata=metadata,
    )
    return kind(
        store,
        named,
        timezone=zone,
        timeout=None if limit is None else parse_duration(limit, what="timeout"),
        now=clock_of(now or chosen.now),
        reach=reach,
        persistent=patience is not None,
        cache=entities,
        metadata=metadata,
        watched=_health_interval(chosen),
    )


def _written(target: object) -> str | None:
    """Return a target as text; a path can only be that of Parquet files."""
    if isinstance(target, PathLike):
        return f"parquet:{fspath(target)}"
    if target is None or isinstance(target, str):
        return target
    msg = f"a target is text such as 'demo:flights', a path or a Store, not {target!r}"
    raise SettingsError(msg)


def _refuse_credentials(target: str) -> None:
    """Refuse a user and a password in the address of a server: targets are shown."""
    scheme, _, rest = target.partition(":")
    if scheme.endswith(("+http", "+https")) and "@" in urlsplit(rest).netloc:
        msg = (
            f"a target holds no user and no password, since it is shown: write {scheme}://HOST, "
            "and pass credentials as options such as token="
        )
        raise SettingsError(msg)


def _refuse_other(name: str, found: object, fit: type) -> None:
    if not isinstance(found, fit | None):
        msg = f"{name}= takes a featkit.{fit.__name__}, not {found!r}"
        raise SettingsError(msg)


def _patient(retry: Retry, wait: Duration | None) -> Retry:
    return retry if wait is None else replace(retry, reconnect=parse_duration(wait, what="wait"))


def _check_tables(chosen: settings.Settings) -> None:
    """Refuse a table that nobody reads, whose settings would do nothing."""
    for name in chosen.tables.keys() - _TABLES:
        if name not in (known := schemes()):
            near = nearest(name, known | _TABLES)
            msg = (
                f"{chosen.origin}: nothing reads the table [{name}]; {near} - the table of a store "
                "of another package is read where that package is installed"
            )
            raise SettingsError(msg)


def _health_interval(chosen: settings.Settings) -> Duration | None:
    """Read how often the health of the store is checked from the beginning; None: not."""
    if _HEALTH not in chosen.tables:
        return None
    entries = dict(chosen.tables[_HEALTH])
    wanted = settings.take_enabled(entries, _HEALTH, chosen.origin)
    interval: Duration = entries.pop("interval", "30s")
    for name in entries:
        near = nearest(name, ["enabled", "interval"])
        msg = f"{chosen.origin}: [{_HEALTH}] has no entry {name!r}; {near}"
        raise SettingsError(msg)
    return interval if wanted else None


def _from_settings(target: str | None, chosen: settings.Settings) -> tuple[str, dict[str, Any]]:
    """Find the target, and what the settings say about its store."""
    named = target or chosen.target
    scheme = named.partition(":")[0].partition("+")[0] if named else chosen.backend
    table = dict(chosen.tables.get(scheme, {})) if scheme else {}
    if scheme and (table or not named):
        kind = store_class(scheme)
        place = kind.target_of(table)  # takes out what says where the store is
        named = named or place
        if not named:
            raise _without_place(kind, table, chosen)
    if not named:
        msg = (
            "no store to connect to: pass a target such as featkit.connect('demo:flights') or "
            f"featkit.connect('parquet:PATH'), or set target in featkit.toml or FEATKIT_TARGET "
            f"(the settings come from {chosen.origin})"
        )
        raise SettingsError(msg)
    return named, table


def _without_place(
    kind: type[Store], table: Mapping[str, Any], chosen: settings.Settings
) -> SettingsError:
    """Make the error of a backend of which the settings do not tell where it is."""
    msg = (
        f"backend = {kind.scheme!r} does not say where the store is: write it into the table "
        f"[{kind.scheme}] of featkit.toml, or pass a target to featkit.connect (the settings come "
        f"from {chosen.origin})"
    )
    if table and kind.places:
        wanted = " or ".join(map(repr, kind.places))
        msg = f"{msg}; the table has no {wanted}; {nearest(kind.places[0], table)}"
    return SettingsError(msg)


def set_default(client: Client) -> None:
    """Make a client the default of the accessor and of the plain functions."""
    global _default  # noqa: PLW0603 - the default is one for the process, as users expect
    if _checked(client).closed:
        msg = f"the client of {client.target} was closed, and cannot be used; connect anew"
        raise ClosedError(msg)
    if _default is not None:
        _before[:] = [weakref.ref(each) for each in [*_open_before(), _default]]
    _default = client


def default_client() -> Client:
    """Return the client that became the default last, of those that are open.

    The first time, where there is none, that of the settings. One that was closed is returned where
    nobody holds another, and says so itself when it is used: what was connected by hand must not
    quietly become what the settings say.
    """
    global _default  # noqa: PLW0603 - as above
    if _default is None:
        set_default(open_client(FeatureStoreClient))
    assert _default is not None  # noqa: S101 - set above
    if _default.closed and (others := _open_before()):
        _default = others[-1]
    return _default


def _open_before() -> list[Client]:
    """List those that were the default before and are open, the last one last."""
    return [client for each in _before if (client := each()) is not None and not client.closed]


@contextmanager
def no_default() -> Iterator[None]:
    """Forget the default client, and afterwards those that became it meanwhile.

    For tests, of which none is to use what another has connected.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> with no_default():
    ...     other = featkit.connect("demo:flights")
    ...     default_client() is other
    True
    >>> default_client() is store
    True
    """
    global _default
    kept, before = _default, _before[:]
    _default, _before[:] = None, []
    try:
        yield
    finally:
        _default, _before[:] = kept, before


def chosen_client(store: Client | None) -> Client:
    """Return the client that a call names with ``store=``, else the default one."""
    return default_client() if store is None else _checked(store)


def _checked(client: object) -> Client:
    if isinstance(client, (FeatureStoreClient, AsyncFeatureStoreClient)):
        return client
    msg = f"expected a client, as featkit.connect makes one, not {client!r}"
    raise InputError(msg)


def _zone(name: str | None) -> str | None:
    try:
        return name and ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"timezone={name!r} is no time zone; write a name such as 'UTC' or 'Europe/Paris'"
        raise SettingsError(msg) from error
