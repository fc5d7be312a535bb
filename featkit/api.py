"""The plain functions: connecting, the accessor without registration, one-line lookups."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, overload

from featkit.accessor import ACCESSOR, FeaturesAccessor
from featkit.clients.async_client import AsyncFeatureStoreClient
from featkit.clients.client import FeatureStoreClient
from featkit.clients.connection import default_client, open_client, set_default

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from os import PathLike

    import pandas as pd
    import polars as pl

    from featkit.cache.choosing import CacheChoice
    from featkit.clients.connection import Client
    from featkit.freshness import FeatureValue
    from featkit.stores.base import Store
    from featkit.transports.options import Limits, Retry
    from featkit.types import Duration, EntityId, Now


def connect(
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
    **options: Any,  # noqa: ANN401 - each store checks its own
) -> FeatureStoreClient:
    """Connect to a feature store; the client becomes the default of the accessor.

    Parameters
    ----------
    target
        Which store: ``"demo:flights"``; ``"parquet:PATH"`` with the folder of a
        ``feature_views.toml``, for which its path will do as well; ``"feast+http://HOST:6566"``,
        ``"tecton+https://HOST"``, ``"databricks+https://HOST"``,
        ``"vertex:PROJECT/LOCATION/ONLINE_STORE"``, ``"sagemaker:REGION"``, or what other
        distributions add. Also a `featkit.stores.base.Store` itself. None: as the settings say.
    timezone
        What naive timestamps mean, in keys and in the store's files, such as ``"UTC"``; None:
        they are refused.
    cache
        Where fetched values are kept for the next call: ``"memory"``; ``"disk"``, a file in the
        user's folder for caches; a path of such a file; ``"redis://HOST:PORT/DB"``; None: nowhere,
        and what registries say is not either. `featkit.CacheOptions` says more, such as for how
        long. ``"auto"`` is what the settings say, else memory for stores behind a server, and
        nothing for those on this machine.
    timeout
        How long one call may take in all; None: without limit, but for the patience of `limits`
        with each request to a server.
    wait
        How long a call waits for a server that cannot be reached, to ride out a restart; None:
        less than a second, as a person wants it. Never beyond `timeout`. With it a call also tries
        while `monitor_health` knows the store to be down. It is the ``reconnect`` of `retry`.
    now
        A fixed clock: an aware datetime, ISO 8601, or a callable that returns the moment; None:
        the store's own where its data set is frozen, else the present.
    retry
        How often a failed request is sent again; see `featkit.Retry`.
    limits
        Connections, waits and sizes; see `featkit.Limits`.
    client
        A synchronous client with httpx's API to send requests with; it is not closed.
    **options
        Options of the store.

    Returns
    -------
    FeatureStoreClient

    Raises
    ------
    SettingsError
        The target or an option is wrong, or there is neither a target nor a setting.

    Examples
    --------
    >>> import featkit
    >>> featkit.connect("demo:flights")
    <FeatureStoreClient demo:flights>
    """
    connected = open_client(
        FeatureStoreClient,
        target,
        timezone=timezone,
        cache=cache,
        timeout=timeout,
        wait=wait,
        now=now,
        retry=retry,
        limits=limits,
        client=client,
        options=options,
    )
    use(connected)
    return connected


def connect_async(
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
    **options: Any,  # noqa: ANN401 - each store checks its own
) -> AsyncFeatureStoreClient:
    """Connect to a feature store for asyncio; parameters and errors are those of `connect`.

    It is no coroutine: connecting does no I/O over a network.

    Examples
    --------
    >>> import featkit
    >>> featkit.connect_async("demo:flights")
    <AsyncFeatureStoreClient demo:flights>
    """
    connected = open_client(
        AsyncFeatureStoreClient,
        target,
        timezone=timezone,
        cache=cache,
        timeout=timeout,
        wait=wait,
        now=now,
        retry=retry,
        limits=limits,
        client=client,
        options=options,
    )
    use(connected)
    return connected


def use(client: Client) -> None:
    """Make a client the default of the accessor and of the plain functions.

    Once it is closed, the one that was the default before, and is open, is so again.

    Raises
    ------
    InputError
        It is no client.
    ClosedError
        It was closed.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> featkit.use(store)
    """
    set_default(client)
    register()


def register() -> None:
    """Put ``.features`` on the frames of the libraries that are imported already."""
    if polars := sys.modules.get("polars"):
        for kind, add in (
            (polars.DataFrame, polars.api.register_dataframe_namespace),
            (polars.LazyFrame, polars.api.register_lazyframe_namespace),
        ):
            if not hasattr(kind, ACCESSOR):
                add(ACCESSOR)(FeaturesAccessor)
    if (pandas := sys.modules.get("pandas")) and not hasattr(pandas.DataFrame, ACCESSOR):
        pandas.api.extensions.register_dataframe_accessor(ACCESSOR)(FeaturesAccessor)


@overload
def features(frame: pd.DataFrame) -> FeaturesAccessor[pd.DataFrame]: ...
@overload
def features(frame: pl.DataFrame) -> FeaturesAccessor[pl.DataFrame]: ...
@overload
def features(frame: pl.LazyFrame) -> FeaturesAccessor[pl.LazyFrame]: ...
def features(frame: Any) -> FeaturesAccessor[Any]:
    """Return the accessor of a frame: ``frame.features`` for type checkers, which know it not.

    Examples
    --------
    >>> import featkit, polars as pl
    >>> store = featkit.connect("demo:flights")
    >>> frame = pl.DataFrame({"tailnum": ["N14228"]})
    >>> featkit.features(frame).enrich(["aircraft:seats"]).to_dicts()
    [{'tailnum': 'N14228', 'seats': 149}]
    """
    return FeaturesAccessor(frame)


def feature_lookup(view: str, entity_id: EntityId, features: Sequence[str] = ()) -> dict[str, Any]:
    """Look up the latest features of one entity, on the default client.

    See Also
    --------
    FeatureStoreClient.get_online_features : the same on a client, described in full.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> featkit.feature_lookup("aircraft", "N14228", ["seats"])
    {'seats': 149}
    """
    client = default_client()
    return client.run(client.operations.get_online_features(view, entity_id, features))


def feature_lookup_batch(
    view: str, entity_ids: Sequence[EntityId | None], features: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Look up the latest features of many entities, on the default client.

    See Also
    --------
    FeatureStoreClient.get_online_features_batch : the same on a client, described in full.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> featkit.feature_lookup_batch("aircraft", ["N14228", "?"], ["seats"])
    [{'seats': 149}, {'seats': None}]
    """
    client = default_client()
    return client.run(client.operations.get_online_features_batch(view, entity_ids, features))


def get_feature(view: str, entity_id: EntityId, feature: str) -> FeatureValue:
    """Look up one feature of one entity with its event timestamp and ttl, on the default client.

    Parameters
    ----------
    view, feature
        Names of the view and of its feature.
    entity_id
        The entity's key; a tuple in the view's order, or a mapping, for a composite key.

    Returns
    -------
    FeatureValue
        Its ``is_stale()`` tells whether the value is past its ttl.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> featkit.get_feature("aircraft", "N14228", "seats")
    FeatureValue(value=149, timestamp=None, ttl=None)
    """
    client = default_client()
    return client.run(client.operations.get_feature(view, entity_id, feature))


def feature_timestamp(view: str, entity_id: EntityId) -> datetime | None:
    """Tell the event timestamp of an entity's latest features, on the default client.

    Returns
    -------
    datetime.datetime or None
        Aware (UTC); the newest where the features of the view differ; None where unknown.

    Examples
    --------
    >>> import featkit
    >>> store = featkit.connect("demo:flights")
    >>> featkit.feature_timestamp("carrier_history", "UA").isoformat()
    '2013-12-31T00:00:00+00:00'
    """
    client = default_client()
    return client.run(client.operations.feature_timestamp(view, entity_id))
