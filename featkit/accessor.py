"""``.features``: the accessor on pandas and polars frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from featkit.audits.staleness import AuditOptions
from featkit.clients.connection import chosen_client
from featkit.clients.operations import EnrichOptions
from featkit.clients.staleness import frame_flow
from featkit.clients.twins import twin_of
from featkit.frame_audits import FrameAudits
from featkit.training.methods import asked_flow, given
from featkit.training.options import TrainingOptions

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from pathlib import Path
    from typing import Unpack

    import polars as pl

    from featkit.clients.connection import Client
    from featkit.clients.progress import ProgressOption
    from featkit.engines.plan import JoinPlan
    from featkit.reports.staleness import StalenessReport
    from featkit.training.methods import HistoryOptions
    from featkit.types import (
        DtypeBackend,
        Duration,
        Engine,
        Expired,
        Features,
        KnownBy,
        Now,
        OnError,
        OnMissing,
    )

FrameT = TypeVar("FrameT")

ACCESSOR = "features"
"""The name under which frames have it."""

VERBS = (
    *("enrich", "enrich_async", "training_set", "training_set_async"),
    *("staleness", "staleness_async", "audit", "audit_async", "skew"),
)
"""What can be done with a frame."""


class FeaturesAccessor(FrameAudits[FrameT]):
    """Features for one frame, which itself is never changed.

    Parameters
    ----------
    frame
        A `pandas.DataFrame`, `polars.DataFrame` or `polars.LazyFrame`.
    """

    def __init__(self, frame: FrameT) -> None:
        # nothing but the frame: an error here would break tab completion, and polars keeps the
        # accessor for as long as the frame lives
        self._frame = frame

    def enrich(
        self,
        features: Features,
        *,
        on: Mapping[str, Hashable] | Hashable | None = None,
        store: Client | None = None,
        timestamps: bool = False,
        statuses: bool = False,
        prefix: str | None = None,
        on_missing: OnMissing = "null",
        on_error: OnError = "raise",
        expired: Expired = "keep",
        max_age: Duration | None = None,
        progress: ProgressOption = None,
        refresh: bool = False,
        only_cached: bool = False,
        dtype_backend: DtypeBackend = "numpy_nullable",
    ) -> FrameT:
        """Look up the latest features of each row, and return the frame with them.

        Each distinct key is asked for once. Rows, their order, the index and the frame's own
        columns stay exactly as they are; a row whose key is null gets null features and is not
        asked for. Of a LazyFrame only the distinct keys are collected.

        Parameters
        ----------
        features
            References ``"view:feature"`` or ``"view:*"``, or names of feature services.
        on
            Column of the frame by join key, where the names differ; for a single join key the
            column alone. A level of a pandas index can be named, too.
        store
            The client; None: the one connected last.
        timestamps
            Add ``<feature>__event_timestamp`` (UTC, microseconds) after each feature.
        statuses
            Add ``<feature>__status`` after each feature: see `featkit.Status`.
        prefix
            Stands before the name of each new column; ``{view}`` in it becomes the view's name.
        on_missing
            What happens when the store does not know an entity: ``"null"`` leaves its features
            null, ``"warn"`` warns too, ``"raise"`` raises.
        on_error
            What happens when the store fails: ``"raise"``, or ``"null"`` for null features of
            status ``ERROR``.
        expired
            Whether values older than their view's ttl are kept (``"keep"``, what stores serve in
            production) or become null (``"null"``). One warning per view tells how many.
        max_age
            How long ago an answer from the cache may have been fetched; None: as long as the
            cache's ttl says.
        progress
            None: a bar where a person watches and it takes over two seconds; True or False; or
            a callable that is told the keys done, the keys in all and the stage.
        refresh
            Ask the store, whatever the cache holds.
        only_cached
            Do not ask the store; what is not in the cache is an error as `on_error` says. What is
            there past its time has the status ``STALE``, unless it is ``EXPIRED``.
        dtype_backend
            For pandas: ``"numpy_nullable"`` (Int64, boolean, str, float64 with NaN,
            datetime64[us, UTC]) or ``"pyarrow"``. Dtypes follow the schema, never the values.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or polars.LazyFrame
            A frame of the same kind with one column per feature after its own.

        Raises
        ------
        UnknownNameError
            There is no such view, feature or service.
        KeyColumnError
            The frame has no column for a join key.
        KeyTypeError, TimestampError
            A key cannot become the entity's type without loss, or is a naive timestamp.
        NameClashError
            A feature has the name of a column.
        StoreError
            The store failed; what was fetched is in the error's ``partial``.

        Examples
        --------
        >>> import featkit, polars as pl
        >>> store = featkit.connect("demo:flights")
        >>> flights = pl.DataFrame({"flight": [1545, 1714], "tailnum": ["N14228", None]})
        >>> flights.features.enrich(["aircraft:seats"])
        shape: (2, 3)
        ┌────────┬─────────┬───────┐
        │ flight ┆ tailnum ┆ seats │
        │ ---    ┆ ---     ┆ ---   │
        │ i64    ┆ str     ┆ i64   │
        ╞════════╪═════════╪═══════╡
        │ 1545   ┆ N14228  ┆ 149   │
        │ 1714   ┆ null    ┆ null  │
        └────────┴─────────┴───────┘
        """
        client = chosen_client(store)
        options = EnrichOptions(
            on=on,
            timestamps=timestamps,
            statuses=statuses,
            prefix=prefix,
            on_missing=on_missing,
            on_error=on_error,
            expired=expired,
            max_age=max_age,
            refresh=refresh,
            only_cached=only_cached,
            dtype_backend=dtype_backend,
        )
        flow = client.operations.enrich(self._frame, features, options)
        enriched: FrameT = client.run(flow, progress=progress)
        return enriched

    @twin_of(enrich)
    async def enrich_async(
        self,
        features: Features,
        *,
        store: Client | None = None,
        progress: ProgressOption = None,
        **options: Any,  # noqa: ANN401 - those of the twin
    ) -> FrameT:
        """Do what `enrich` does without blocking the event loop.

        Parameters, result and errors are those of `enrich`; either kind of client will do.

        Examples
        --------
        >>> import asyncio, featkit, polars as pl
        >>> store = featkit.connect_async("demo:flights")
        >>> flights = pl.DataFrame({"tailnum": ["N14228"]})
        >>> asyncio.run(flights.features.enrich_async(["aircraft:seats"])).to_dicts()
        [{'tailnum': 'N14228', 'seats': 149}]
        """
        client = chosen_client(store)
        flow = client.operations.enrich(self._frame, features, EnrichOptions(**options))
        enriched: FrameT = await client.arun(flow, progress=progress)
        return enriched

    @overload
    def training_set(
        self,
        features: Features,
        *,
        at: Hashable,
        sink: None = None,
        explain: Literal[False] = False,
        store: Client | None = None,
        **options: Unpack[HistoryOptions],
    ) -> FrameT: ...
    @overload
    def training_set(
        self,
        features: Features,
        *,
        at: Hashable,
        sink: str | Path,
        explain: Literal[False] = False,
        store: Client | None = None,
        **options: Unpack[HistoryOptions],
    ) -> pl.LazyFrame: ...
    @overload
    def training_set(
        self,
        features: Features,
        *,
        at: Hashable,
        sink: str | Path | None = None,
        explain: Literal[True],
        store: Client | None = None,
        **options: Unpack[HistoryOptions],
    ) -> JoinPlan: ...
    def training_set(
        self,
        features: Features,
        *,
        at: Hashable,
        on: Mapping[str, Hashable] | Hashable | None = None,
        lookback: Duration | Mapping[str, Duration | None] | None = None,
        known_by: KnownBy = "event",
        strict: bool = False,
        feature_timestamps: bool = False,
        full_feature_names: bool | None = None,
        engine: Engine = "auto",
        memory_limit: str | int | None = None,
        sink: str | Path | None = None,
        explain: bool = False,
        store: Client | None = None,
        progress: ProgressOption = None,
        dtype_backend: DtypeBackend = "numpy_nullable",
    ) -> Any:
        """Bring each row its features as they were known at its moment, and return the frame.

        The client's ``last_report`` tells what was found and what was not. Parameters, rules and
        errors are those of `FeatureStoreClient.get_historical_features`.

        Parameters
        ----------
        features, at, on, lookback, known_by, strict, feature_timestamps, full_feature_names
            As there.
        engine, memory_limit, sink, explain
            As there, too.
        store
            The client; None: the one connected last.
        progress, dtype_backend
            As for `enrich`.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or polars.LazyFrame
            A frame of the same kind with one column per feature after its own; with `sink` a
            LazyFrame of the file, whatever the kind; with `explain` the `JoinPlan` alone.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> flights = featkit.demo.flights("polars").select("carrier", "departs_at").tail(2)
        >>> known = flights.features.training_set(["carrier_history:flights_7d"], at="departs_at")
        >>> known["flights_7d"].to_list(), store.last_report.views[0].hit
        ([503, 503], 2)
        """
        client = chosen_client(store)
        options = TrainingOptions(
            at=at,
            on=on,
            lookback=lookback,
            known_by=known_by,
            strict=strict,
            feature_timestamps=feature_timestamps,
            full_feature_names=full_feature_names,
            engine=engine,
            memory_limit=memory_limit,
            sink=sink,
            dtype_backend=dtype_backend,
        )
        flow = asked_flow(client, self._frame, features, options, explain=explain)
        return given(client.run(flow, progress=progress))

    @overload
    async def training_set_async(
        self,
        features: Features,
        *,
        at: Hashable,
        sink: None = None,
        explain: Literal[False] = False,
        store: Client | None = None,
        **options: Unpack[HistoryOptions],
    ) -> FrameT: ...
    @overload
    async def training_set_async(
        self,
        features: Features,
        *,
        at: Hashable,
        sink: str | Path,
        explain: Literal[False] = False,
        store: Client | None = None,
        **options: Unpack[HistoryOptions],
    ) -> pl.LazyFrame: ...
    @overload
    async def training_set_async(
        self,
        features: Features,
        *,
        at: Hashable,
        sink: str | Path | None = None,
        explain: Literal[True],
        store: Client | None = None,
        **options: Unpack[HistoryOptions],
    ) -> JoinPlan: ...
    @twin_of(training_set)
    async def training_set_async(
        self,
        features: Features,
        *,
        explain: bool = False,
        store: Client | None = None,
        progress: ProgressOption = None,
        **options: Any,
    ) -> Any:
        """Do what `training_set` does without blocking the event loop.

        Parameters, result and errors are those of `training_set`; either kind of client will do.
        """
        client = chosen_client(store)
        asked = TrainingOptions(**options)
        flow = asked_flow(client, self._frame, features, asked, explain=explain)
        return given(await client.arun(flow, progress=progress))

    def staleness(
        self,
        features: Features | None = None,
        *,
        on: Mapping[str, Hashable] | Hashable | None = None,
        store: Client | None = None,
        sample: int | None = None,
        warn_after: Duration | Mapping[str, Duration] | None = None,
        error_after: Duration | Mapping[str, Duration] | None = None,
        tolerate: float = 0.0,
        now: Now = None,
        compare_offline: bool = False,
        refresh: bool = False,
        progress: ProgressOption = None,
    ) -> StalenessReport:
        """Report how old the features of the frame's entities are, and whether that is too old.

        Each entity counts once, however many rows it has; rows without a key are left out.

        Parameters
        ----------
        features
            As for `enrich`; None: all features of the views whose join keys the frame has.
        on
            Column of the frame by join key, as for `enrich`.
        store
            The client; None: the one connected last.
        sample, warn_after, error_after, tolerate, now, compare_offline, refresh
            As for `featkit.FeatureStoreClient.staleness`.
        progress
            Whether to show how far it is, as for `enrich`.

        Returns
        -------
        StalenessReport

        Examples
        --------
        >>> import featkit, polars as pl
        >>> store = featkit.connect("demo:flights")
        >>> flights = pl.DataFrame({"carrier": ["UA", "AA", "UA"]})
        >>> report = flights.features.staleness()
        >>> report["carrier_history"].n, report.verdict
        (2, 'pass')
        """
        client = chosen_client(store)
        options = AuditOptions(
            features,
            on=on,
            sample=sample,
            warn_after=warn_after,
            error_after=error_after,
            tolerate=tolerate,
            now=now,
            compare_offline=compare_offline,
            refresh=refresh,
        )
        return client.run(frame_flow(client, self._frame, options), progress=progress)

    @twin_of(staleness)
    async def staleness_async(
        self,
        *what: Any,  # noqa: ANN401 - those of the twin
        store: Client | None = None,
        progress: ProgressOption = None,
        **options: Any,  # noqa: ANN401 - those of the twin
    ) -> StalenessReport:
        """Do what `staleness` does without blocking the event loop."""
        client = chosen_client(store)
        flow = frame_flow(client, self._frame, AuditOptions(*what, **options))
        return await client.arun(flow, progress=progress)

    def __repr__(self) -> str:
        return f"<features of a {type(self._frame).__name__}: {', '.join(VERBS)}>"
