"""The methods of both clients that assemble training sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, overload

from featkit.audits.parity import parity
from featkit.clients.session import Session
from featkit.clients.twins import twin_of
from featkit.engines.plan import JoinPlan
from featkit.training.flow import Request, assemble
from featkit.training.flow import explain as plan
from featkit.training.options import TrainingOptions

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from pathlib import Path
    from typing import Unpack

    import polars as pl

    from featkit.audits.parity import ParityReport
    from featkit.calls import Flow
    from featkit.clients.progress import ProgressOption
    from featkit.training.report import TrainingReport
    from featkit.training.result import TrainingSet
    from featkit.types import DtypeBackend, Duration, Engine, Features, Frame, Keys, KnownBy

FrameT = TypeVar("FrameT")


class HistoryOptions(TypedDict, total=False):
    """The options of `get_historical_features` that do not change what it returns."""

    on: Mapping[str, Hashable] | Hashable | None
    lookback: Duration | Mapping[str, Duration | None] | None
    known_by: KnownBy
    strict: bool
    feature_timestamps: bool
    full_feature_names: bool | None
    engine: Engine
    memory_limit: str | int | None
    dtype_backend: DtypeBackend
    progress: ProgressOption


def request_of(
    client: Historical, spine: object, features: Features, options: TrainingOptions
) -> Request:
    """Say what a client asks of the flow of a training set."""
    return Request(
        store=client.operations.store,
        target=client.target,
        timezone=client.operations.timezone,
        spine=spine,
        features=features,
        options=options,
        again=lambda: client.run(training_flow(client, spine, features, options.again())),
    )


def training_flow(
    client: Historical, spine: object, features: Features, options: TrainingOptions
) -> Flow[TrainingSet[Any]]:
    """Make the flow of a training set on a client."""
    made = yield from assemble(request_of(client, spine, features, options))
    client.last_report = made.report
    return made


def asked_flow(
    client: Historical,
    spine: object,
    features: Features,
    options: TrainingOptions,
    *,
    explain: bool,
) -> Flow[TrainingSet[Any] | JoinPlan]:
    """Make the flow of a training set, or only of its plan."""
    if explain:
        return (yield from plan(request_of(client, spine, features, options)))
    return (yield from training_flow(client, spine, features, options))


def given(made: TrainingSet[Any] | JoinPlan) -> Any:  # noqa: ANN401 - a frame of the user's kind
    """Take of a training set the frame; a plan is what was asked for."""
    return made if isinstance(made, JoinPlan) else made.frame


class Historical(Session):
    """A client that has made training sets, or will."""

    last_report: TrainingReport | None = None
    """How the last training set of this client came to be; None before the first."""


class HistoryMethods(Historical):
    """Training sets of the synchronous client."""

    @overload
    def get_historical_features(
        self,
        spine: FrameT,
        features: Features,
        *,
        at: Hashable,
        sink: None = None,
        explain: Literal[False] = False,
        **options: Unpack[HistoryOptions],
    ) -> TrainingSet[FrameT]: ...
    @overload
    def get_historical_features(
        self,
        spine: Frame,
        features: Features,
        *,
        at: Hashable,
        sink: str | Path,
        explain: Literal[False] = False,
        **options: Unpack[HistoryOptions],
    ) -> TrainingSet[pl.LazyFrame]: ...
    @overload
    def get_historical_features(
        self,
        spine: Frame,
        features: Features,
        *,
        at: Hashable,
        sink: str | Path | None = None,
        explain: Literal[True],
        **options: Unpack[HistoryOptions],
    ) -> JoinPlan: ...
    def get_historical_features(
        self,
        spine: Any,
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
        dtype_backend: DtypeBackend = "numpy_nullable",
        progress: ProgressOption = None,
    ) -> TrainingSet[Any] | JoinPlan:
        """Assemble a training set: for each row of the spine the features as they were known then.

        Each row of the spine stays, in its order, with its index and its own columns untouched. A
        row of history counts if its event timestamp is not later than the row's moment, nor older
        than the view's ttl (equal is young enough); among those the latest event timestamp wins,
        then the latest created timestamp, then the last row in the source. The whole row is
        chosen: a null in it is an answer. A null key or moment never matches.

        Parameters
        ----------
        spine
            A `pandas.DataFrame`, `polars.DataFrame` or `polars.LazyFrame` with the join keys and
            the moment of each row. Of a LazyFrame the distinct keys and moments are collected, and
            the features are joined to its plan by them.
        features
            References ``"view:feature"`` or ``"view:*"``, or names of feature services.
        at
            The column with the moment of each row: aware timestamps of any unit and zone; naive
            ones only where the client was told their zone.
        on
            Column of the spine by join key, where the names differ; for a single join key the
            column alone.
        lookback
            How old a row may be, instead of the views' ttls: for all views, or by view; None for a
            view means any age.
        known_by
            From when on a row counts: ``"event"``; ``"created"``, once it was written, as its
            created timestamp tells, where the newest revision then known wins; or by view a delay
            after the event, such as ``{"weather": "1h"}``.
        strict
            Whether a row of the very moment does not count.
        feature_timestamps
            Add ``<view>__event_timestamp`` (UTC, microseconds) for each view, after the features.
        full_feature_names
            Call the columns ``<view>__<feature>``.
        engine
            Where the joins run: ``"polars"``; ``"duckdb"`` (the extra ``duckdb``), which writes to
            disk what is too much for memory; or ``"auto"``, which is polars.
        memory_limit
            How much memory the process should take at most, in bytes or as text such as
            ``"700MB"``; the joins are cut to fit, as far as spine and result leave room.
        sink
            A ``.parquet`` file to write the result to, some rows at a time; it is never held in
            memory as a whole. Its folder is made where there is none.
        explain
            Only plan: say how the joins would be done, and why so.
        dtype_backend
            For pandas, as for `FeaturesAccessor.enrich`.
        progress
            None: a bar where a person watches and it takes over two seconds; True or False; or a
            callable.

        Returns
        -------
        TrainingSet, or JoinPlan with ``explain=True``
            The ``frame``, of the spine's kind, or with `sink` a LazyFrame of the file; the
            ``report``, what was found and what not; the ``manifest``; and ``reproduce()``.

        Raises
        ------
        UnknownNameError
            There is no such view, feature or service, or an option names another view.
        KeyColumnError
            The spine has no column for a join key, or none called `at`.
        KeyTypeError
            A key cannot become the entity's type without loss.
        TimestampError
            The moments are naive, or no timestamps.
        NameClashError
            A feature has the name of a column of the spine; ``full_feature_names=True`` helps.
        NotSupportedError
            The store has no history, or does not heed an option.
        StoreError
            The history cannot be read.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> flights = featkit.demo.flights("polars").select("carrier", "departs_at").tail(2)
        >>> made = store.get_historical_features(
        ...     flights, ["carrier_history:flights_7d"], at="departs_at"
        ... )
        >>> made.frame["flights_7d"].to_list(), made.report.views[0].hit
        ([503, 503], 2)
        """
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
        flow = asked_flow(self, spine, features, options, explain=explain)
        return self.run(flow, progress=progress)

    def parity(
        self,
        features: Features,
        entities: Keys | None = None,
        *,
        sample: int = 1000,
        tolerance: float = 1e-9,
    ) -> ParityReport:
        """Compare what the online and the offline store tell of the same entities, now.

        Parameters
        ----------
        features
            References or names of feature services.
        entities
            Keys, as for `lookup`; None: some of each view, where the store can list them.
        sample
            How many entities of each view are compared where none are given.
        tolerance
            How far numbers may be apart, as a share of the larger one.

        Returns
        -------
        ParityReport
            Counts for each feature, and entities that do not agree; it can be plotted.

        Raises
        ------
        NotSupportedError
            The store has no history, or cannot list entities and none are given.

        Examples
        --------
        >>> import featkit
        >>> featkit.connect("demo:flights").parity(["carrier_history:flights_7d"]).ok
        True
        """
        flow = parity(self.operations, features, entities, sample=sample, tolerance=tolerance)
        return self.run(flow)


class AsyncHistoryMethods(Historical):
    """Training sets of the client for asyncio."""

    @overload
    async def get_historical_features(
        self,
        spine: FrameT,
        features: Features,
        *,
        at: Hashable,
        sink: None = None,
        explain: Literal[False] = False,
        **options: Unpack[HistoryOptions],
    ) -> TrainingSet[FrameT]: ...
    @overload
    async def get_historical_features(
        self,
        spine: Frame,
        features: Features,
        *,
        at: Hashable,
        sink: str | Path,
        explain: Literal[False] = False,
        **options: Unpack[HistoryOptions],
    ) -> TrainingSet[pl.LazyFrame]: ...
    @overload
    async def get_historical_features(
        self,
        spine: Frame,
        features: Features,
        *,
        at: Hashable,
        sink: str | Path | None = None,
        explain: Literal[True],
        **options: Unpack[HistoryOptions],
    ) -> JoinPlan: ...
    @twin_of(HistoryMethods.get_historical_features)  # type: ignore[arg-type, misc] # overloaded
    async def get_historical_features(
        self,
        spine: Any,
        features: Features,
        *,
        explain: bool = False,
        progress: ProgressOption = None,
        **options: Any,
    ) -> TrainingSet[Any] | JoinPlan:
        """Assemble a training set: the features of each row as they were known then."""
        asked = TrainingOptions(**options)
        flow = asked_flow(self, spine, features, asked, explain=explain)
        return await self.arun(flow, progress=progress)

    async def parity(
        self,
        features: Features,
        entities: Keys | None = None,
        *,
        sample: int = 1000,
        tolerance: float = 1e-9,
    ) -> ParityReport:
        """Compare what the online and the offline store tell of the same entities, now."""
        flow = parity(self.operations, features, entities, sample=sample, tolerance=tolerance)
        return await self.arun(flow)
