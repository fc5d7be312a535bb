"""Vertex AI Feature Store: online stores over REST, described by feature groups and BigQuery.

Facts that shape this package (see ``docs/stores/vertex.md`` for what they stand on):

- An online store answers for one entity a request. 404 says that it does not know the entity.
- A value comes with the time at which it was generated; how long it is good, nobody tells.
- 64-bit integers are text, times are integers of microseconds: BigQuery tells which they are.
- The types of keys are those of the BigQuery source; online they are all text.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from featkit.auth.google import GoogleAuth
from featkit.auth.tokens import bearer_of
from featkit.calls import Call, GrpcRequest, HttpRequest, HttpRequests
from featkit.capabilities import Capabilities
from featkit.errors import (
    FeatkitError,
    NotSupportedError,
    SettingsError,
    StoreUnavailable,
    UnknownNameError,
    nearest,
)
from featkit.flows import all_of, meant, parted, together
from featkit.online.gathering import Gathering
from featkit.stores.base import Store
from featkit.stores.vertex import listing, silence
from featkit.stores.vertex.api import Api
from featkit.stores.vertex.description import described
from featkit.stores.vertex.gaps import gaps
from featkit.stores.vertex.history import BigQuery, Source
from featkit.stores.vertex.refusals import refused
from featkit.stores.vertex.registry import (
    OnlineStore,
    OnlineStores,
    Syncs,
    View,
    ViewOptions,
    Views,
)
from featkit.stores.vertex.streams import METHOD, Heard, Stream
from featkit.stores.vertex.values import UNKNOWN, Answers, body_of, features_of, keys_of
from featkit.told import ToldViews

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import polars as pl

    from featkit.auth.tokens import Bearer
    from featkit.calls import Flow, GrpcReply
    from featkit.columns import FeatureColumns
    from featkit.history import JoinRead
    from featkit.populations import Arrivals, EntityList, PopulationRead, Sync
    from featkit.schema import FeatureView
    from featkit.stores.base import Described, OnlineRead, Target

T = TypeVar("T")

_BATCH = (
    50  # entities of one call, each a request: what a failure costs, and how often progress is told
)
_STREAMED = 500  # entities of a stream: its limit is not documented
_ADDRESS = re.compile(r"https?://[^/]")
_RESOURCE = ["projects", "locations", "featureOnlineStores"]
_SYNCS = 5  # of a view that are asked for: the newest may still be under way


class VertexStore(Store):
    """An online store of a Google Cloud project."""

    scheme = "vertex"
    places = ("project", "location", "online_store")
    capabilities = Capabilities(
        batch_size=_BATCH,
        one_by_one=True,
        serves_future=True,
        history="joined",
        history_options=frozenset({"known_by", "lookback", "strict", "feature_timestamps"}),
        lacking=gaps(scans=False),
    )

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Options of `featkit.connect` for Vertex AI.

        Attributes
        ----------
        credentials_file
            The key of a service account; without it, and without `token`, the application default
            credentials.
        token
            An access token, or a callable that returns one.
        bigquery
            Whether BigQuery is asked for the types of columns. Without it, keys are texts and
            times are integers.
        pushdown
            Whether BigQuery joins training sets, where the spine is small enough to go with the
            query; else the rows that can count are read and joined here.
        scan_source
            Whether BigQuery is asked who the entities of a view are, and when its rows came, for
            `staleness`, `browse` and `parity` without entities. Google bills these queries by the
            columns that they read: keys and times, of all rows.
        views
            What Vertex AI does not tell of a view: ``ttl``, ``timestamp``.
        grpc
            Whether lookups are streams over gRPC, which answer for many entities at once; it needs
            the extra ``grpc``, and a version of the API that Google calls v1beta1.
        batch_size
            How many entities one stream asks for; None: 500.
        api_endpoint, grpc_endpoint, bigquery_endpoint
            Other addresses than Google's public ones, with their scheme.
        ca
            File of certificates to trust.
        """

        credentials_file: str | None = None
        token: Any = None
        bigquery: bool = True
        pushdown: bool = True
        scan_source: bool = False
        views: dict[str, ViewOptions] = {}
        api_endpoint: str | None = None
        grpc: bool = False
        grpc_endpoint: str | None = None
        batch_size: int | None = None
        bigquery_endpoint: str = "https://bigquery.googleapis.com"
        ca: str | None = None

    def __init__(self, project: str, location: str, store: str, options: Options) -> None:
        _check(options)
        self.auth = _auth(options)
        self.ca = options.ca
        self.capabilities = replace(self.capabilities, lacking=gaps(scans=options.scan_source))
        if options.grpc:
            self.capabilities = replace(
                self.capabilities, batch_size=options.batch_size or _STREAMED, one_by_one=False
            )
        self._project, self._location, self._name = project, location, store
        self._options = msgspec.structs.replace(options, token=None)  # the auth has it
        self.told = ToldViews(self.scheme, options.views, ViewOptions())
        regional = f"https://{location}-aiplatform.googleapis.com"
        self._api = Api((options.api_endpoint or regional).rstrip("/"), _origin(self.auth))
        self._place = f"projects/{project}/locations/{location}"
        self._store = f"{self._place}/featureOnlineStores/{store}"
        self._sources: dict[str, list[Source]] = {}  # the tables behind each view
        self._serving: str | None = None  # where values are read; a store does not move

    @classmethod
    def open(cls, target: Target, options: Options, *, timezone: str | None) -> VertexStore:  # noqa: ARG003 - Google's times have zones
        """Open ``vertex:PROJECT/LOCATION/ONLINE_STORE``."""
        parts = target.rest.split("/")
        if parts[::2] == _RESOURCE:  # as Google names it
            parts = parts[1::2]
        if target.scheme != cls.scheme or len(parts) != 3 or not all(parts):  # noqa: PLR2004 - as the target has
            msg = f"{target} is no online store; write 'vertex:PROJECT/LOCATION/ONLINE_STORE'"
            raise SettingsError(msg)
        project, location, store = parts
        return cls(project, location, store, options)

    @classmethod
    def target_of(cls, table: dict[str, Any]) -> str | None:
        """Make the target of the settings' ``project``, ``location`` and ``online_store``."""
        if not any(name in table for name in cls.places):
            return None
        if missing := [name for name in cls.places if name not in table]:
            near = nearest(missing[0], table.keys() - set(cls.places))
            msg = (
                f"the settings of vertex lack {missing[0]!r}, which it takes beside "
                f"{' and '.join(name for name in cls.places if name != missing[0])}; {near}"
            )
            raise SettingsError(msg)
        return "vertex:" + "/".join(str(table.pop(name)) for name in cls.places)

    # -- what it holds

    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """List the feature views of the online store."""
        views = yield from self._views()
        return (yield from all_of(self._each(views)))

    def feature_view(self, name: str) -> Flow[FeatureView]:
        """Describe one view."""
        (view,) = yield from all_of(self._each((yield from self._named([name]))))
        return view

    def feature_views(self, names: Sequence[str]) -> Flow[list[FeatureView]]:
        """Describe these views, and find where their values are read."""
        views = yield from self._named(names)
        if self._serving is None:
            yield from self._locate()
        return (yield from all_of(self._each(views)))

    def describe(self, names: Sequence[str] | None = None) -> Flow[Described]:
        """Describe views, each by its own groups and tables; what is wrong with one stays there."""
        if self._serving is None:
            yield from self._locate()
        views = yield from (self._views() if names is None else self._named(names))
        return (yield from self._each(views))

    def _named(self, names: Sequence[str]) -> Flow[list[View]]:
        calls = [
            self._api.get(f"{self._store}/featureViews/{quote(name, safe='')}", View)
            for name in names
        ]
        try:
            return (yield from together(calls))
        except UnknownNameError as error:
            unknown, near = yield from meant(names, self._known())
            msg = f"there is no feature view {unknown!r} in {self._name}; {near} ({error})"
            raise UnknownNameError(msg) from error

    def _known(self) -> Flow[list[str]]:
        return [view.id for view in (yield from self._views())]

    def _views(self) -> Flow[list[View]]:
        try:
            pages = yield from self._api.pages(f"{self._store}/featureViews", Views)
        except UnknownNameError as error:
            raise (yield from self._unknown_store(error)) from error
        views = [view for page in pages for view in page.feature_views]
        self.told.compare([view.id for view in views], f"in {self._name}")
        return views

    def _each(self, views: Sequence[View]) -> Flow[Described]:
        """Describe views as far as they can be, and remember the tables behind them."""
        found, sources = yield from described(
            self._api, self._place, views, self._options, self.told
        )
        self._sources |= sources
        return parted(found, found.values())

    # -- lookups

    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask for each entity by itself, or for all with a stream."""
        if self._options.grpc:
            return self._streamed(read)
        return self._fetched(read, Answers(read).columns)

    def read_together(self, reads: Sequence[OnlineRead]) -> list[Call[Any]]:
        """Ask several questions; what comes back is decoded some answers at a time."""
        calls: list[Call[Any]] = []
        for _, same in groupby(reads, key=lambda read: (id(read.view), read.features)):
            if self._options.grpc:
                streams = Gathering(Stream.gathered)
                calls += [self._streamed(read, streams) for read in same]
                continue
            gathering = Gathering(Answers.gathered)
            calls += [self._fetched(read, partial(Answers(read).later, gathering)) for read in same]
        return calls

    def perform(self, reads: Sequence[OnlineRead], calls: Sequence[Call[Any]]) -> Flow[list[Any]]:
        """Make the calls; a view of which nothing is known may be gone itself."""
        if self._options.grpc:  # where the stream says so
            return (yield from super().perform(reads, calls))
        noting, known = silence.heard(reads, calls)
        came = yield from super().perform(reads, noting)
        return (yield from silence.checked(reads, came, known, lambda name: self._named([name])))

    def _fetched(self, read: OnlineRead, decode: Callable[[Any], T]) -> Call[T]:
        base = self._serving or self._api.url
        view = f"{self._store}/featureViews/{quote(read.view.name, safe='')}"
        one = HttpRequest(
            url=f"{base}/v1/{view}:fetchFeatureValues",
            method="POST",
            headers={"Content-Type": "application/json"},
            answers=frozenset({UNKNOWN}),
        )
        requests = tuple(replace(one, body=body_of(parts)) for parts in keys_of(read))
        return Call(
            HttpRequests(requests=requests, read=features_of),
            decode=decode,
            keys=read.keys.height,
            explain=self._api.explained,
        )

    def _streamed(self, read: OnlineRead, gathering: Gathering[Heard] | None = None) -> Call[Any]:
        place = self._options.grpc_endpoint or self._serving or self._api.url
        scheme, _, host = place.partition("://")
        stream = Stream(read, f"{self._store}/featureViews/{read.view.name}")
        request = GrpcRequest(
            address=host if ":" in host else f"{host}:443",
            method=METHOD,
            body=stream.body(),
            headers={"x-goog-request-params": f"feature_view={quote(stream.view, safe='')}"},
            tls=scheme == "https",
            streams=True,
        )
        return Call(
            request,
            decode=partial(stream.later, gathering) if gathering else stream.columns,
            keys=read.keys.height,
            explain=partial(self._broken_or_refused, stream),
        )

    def _broken_or_refused(self, stream: Stream, reply: GrpcReply) -> FeatkitError | None:
        return stream.rescued(reply) if reply.broke else refused(reply, self._api.credentials)

    def _locate(self) -> Flow[None]:
        """Find where values are read: some stores have an address of their own."""
        store = yield from self._online_store()
        own = store.dedicated_serving_endpoint.public_endpoint_domain_name
        self._serving = self._api.url if not own or self._options.api_endpoint else f"https://{own}"

    def _online_store(self) -> Flow[OnlineStore]:
        try:
            found: OnlineStore = yield self._api.get(self._store, OnlineStore)
        except UnknownNameError as error:
            raise (yield from self._unknown_store(error)) from error
        return found

    def _unknown_store(self, error: UnknownNameError) -> Flow[UnknownNameError]:
        path = f"{self._place}/featureOnlineStores"
        try:
            listed: OnlineStores = yield self._api.get(path, OnlineStores)
        except UnknownNameError as unknown:
            msg = f"there is no {self._place} with online stores: check the target ({unknown})"
            return UnknownNameError(msg)
        names = [store.name.rpartition("/")[2] for store in listed.feature_online_stores]
        near = nearest(self._name, names)
        msg = f"there is no online store {self._name!r} in {self._place}; {near} ({error})"
        return UnknownNameError(msg)

    # -- history

    def join_history(self, reads: Sequence[JoinRead]) -> Flow[list[pl.DataFrame]]:
        """Have BigQuery join the history, or join here what can count of it."""
        there = self._options.pushdown
        frames = []
        for read in reads:
            sources = self._tables(read.view)
            frames.append((yield from self._bigquery.join(read, sources, there=there)))
        return frames

    def name_entities(self, read: PopulationRead) -> Flow[EntityList]:
        """Have BigQuery name the entities, where it may be asked."""
        if not self._options.scan_source:
            return (yield from super().name_entities(read))
        return (yield from listing.entities(self._bigquery, read, self._tables(read.view)))

    def read_arrivals(self, view: FeatureView, now: datetime) -> Flow[Arrivals] | None:
        """Have BigQuery tell when rows came, where it may be asked."""
        asked = self._options.scan_source and view.timestamp
        return self._arrivals(view, now) if asked else None

    def _arrivals(self, view: FeatureView, now: datetime) -> Flow[Arrivals]:
        return (yield from listing.arrivals(self._bigquery, view, self._tables(view), now))

    @property
    def _bigquery(self) -> BigQuery:
        return BigQuery(self._options.bigquery_endpoint, self._project, self._api.explained)

    def _tables(self, view: FeatureView) -> list[Source]:
        """Tell the tables behind a view."""
        sources = self._sources.get(view.name, [])
        if not all(source.uri.startswith("bq://") for source in sources) or not sources:
            msg = f"feature view {view.name!r} has no table in BigQuery to read history from"
            raise NotSupportedError(msg)
        return sources

    # -- health

    def checks(self) -> dict[str, Flow[str]]:
        """Look at the online store, and at when its views were last brought up to date."""
        return {"online store": self._state(), "synchronisations": self._synchronised()}

    def _state(self) -> Flow[str]:
        store = yield from self._online_store()
        if store.state != "STABLE":
            msg = f"the online store {self._name!r} is {store.state or 'in no known state'}"
            raise StoreUnavailable(msg)
        return f"{self._name} STABLE"

    def _synchronised(self) -> Flow[str]:
        names = [view.id for view in (yield from self._views())]
        said = []
        for name, syncs in zip(names, (yield from self._last(names)), strict=True):
            if isinstance(syncs, FeatkitError):
                raise syncs
            sync = syncs.last
            if sync.failed:
                msg = f"the last synchronisation of {name!r} failed: {sync.failed}"
                raise StoreUnavailable(msg)
            under_way = "under way" if syncs.feature_view_syncs else "never"
            done = f"{sync.finished:%Y-%m-%dT%H:%M:%SZ}" if sync.finished else under_way
            said.append(f"{name} {done}")
        return ", ".join(said) or "no feature views"

    def read_syncs(self, views: Sequence[FeatureView]) -> Flow[dict[str, Sync | FeatkitError]]:
        """Ask when each view was last brought up to date from BigQuery."""
        names = [view.name for view in views]
        found = yield from self._last(names)
        return {
            name: syncs if isinstance(syncs, FeatkitError) else syncs.last
            for name, syncs in zip(names, found, strict=True)
        }

    def _last(self, views: Sequence[str]) -> Flow[list[Syncs | FeatkitError]]:
        """Ask for the newest synchronisations of views: the last may be under way."""
        query = urlencode({"pageSize": _SYNCS, "orderBy": "create_time desc"})
        place = f"{self._store}/featureViews"
        calls = [
            self._api.call(f"v1/{place}/{quote(name, safe='')}/featureViewSyncs?{query}", Syncs)
            for name in views
        ]
        return (yield calls) if calls else []

    def __repr__(self) -> str:
        return f"<VertexStore {self._project}/{self._location}/{self._name}>"


def _origin(auth: Bearer | GoogleAuth) -> str:
    """Tell where credentials come from, as it reads in an error."""
    return auth.origin if isinstance(auth, GoogleAuth) else "those that were passed as token"


def _check(options: VertexStore.Options) -> None:
    """Refuse options that lead nowhere."""
    for name in ("api_endpoint", "grpc_endpoint", "bigquery_endpoint"):
        address = getattr(options, name)
        if address is not None and not _ADDRESS.match(address):
            msg = f"{name}={address!r} is no address; write it with its scheme: https://HOST"
            raise SettingsError(msg)
    if options.batch_size is not None and options.batch_size < 1:
        msg = f"batch_size= is at least 1, not {options.batch_size}"
        raise SettingsError(msg)


def _auth(options: VertexStore.Options) -> Bearer | GoogleAuth:
    if options.token is None:
        return GoogleAuth(options.credentials_file)
    return bearer_of(options.token)
