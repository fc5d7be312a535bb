"""Databricks: feature tables of Unity Catalog, looked up through serving endpoints.

Facts that shape this package (see ``docs/stores/databricks.md`` for what they stand on):

- A feature table is a table with a primary key; a time series column in it is the event timestamp.
- Endpoints answer by position, whether or not they repeat the keys; a key that they do not know is
  a row of nulls. The event timestamp is there only if the feature spec has it as a feature.
- Databricks knows no ttl; the settings do.
- A list of tables does not tell their keys; each table is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from featkit.calls import Call, HttpRequest
from featkit.capabilities import Capabilities
from featkit.errors import (
    SettingsError,
    UnknownNameError,
)
from featkit.flows import all_of, at_once, meant, parted, together
from featkit.stores.base import Store, not_supported
from featkit.stores.databricks import listing, warehouses
from featkit.stores.databricks.answers import Question
from featkit.stores.databricks.catalog import (
    CATALOG,
    Table,
    Tables,
    ViewOptions,
    missing_place,
    tags_of,
    view_of,
)
from featkit.stores.databricks.credentials import WorkspaceAuth, find, with_scheme
from featkit.stores.databricks.gaps import gaps
from featkit.stores.databricks.lakebase import Lakebase
from featkit.stores.databricks.lineage import neighbours, syncs
from featkit.stores.databricks.serving import Serving
from featkit.stores.databricks.statements import Warehouse
from featkit.stores.databricks.workspace import Workspace
from featkit.told import ToldViews

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from featkit.calls import Flow
    from featkit.columns import FeatureColumns
    from featkit.errors import FeatkitError
    from featkit.history import JoinRead
    from featkit.populations import Arrivals, EntityList, PopulationRead, Sync
    from featkit.schema import FeatureService, FeatureView
    from featkit.stores.base import Described, OnlineRead, Target

T = TypeVar("T")

_BATCH = 2000  # the limit is 16 MB; more keys a request would win little
_DOTS = 2  # in the full name of a table


class DatabricksStore(Store):
    """A Databricks workspace: a schema of Unity Catalog, and the endpoints that serve it."""

    scheme = "databricks"
    places = ("host", "profile")

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Options of `featkit.connect` for Databricks.

        Attributes
        ----------
        catalog, schema
            Where the feature tables are; a view in another schema goes by its full name.
        token
            Personal access token, or a callable that returns a token.
        client_id, client_secret
            Of a service principal, for OAuth.
        profile, config_file
            A profile of the configuration file, by default ``~/.databrickscfg``.
        endpoint
            The serving endpoint that answers lookups, unless a view has its own.
        timestamps
            Whether the endpoints' feature specs have the time series column as a feature, so that
            answers tell the time of each row.
        tags
            Whether descriptions have the tags of tables and columns: a request for each.
        lineage
            Whether descriptions tell what tables are made from and who uses their features: a
            request for each table and each feature.
        batch_size
            How many keys one request asks for.
        warehouse_id
            The SQL warehouse that reads the history of tables for training sets; without it, that
            of the variable DATABRICKS_WAREHOUSE_ID, or of the profile.
        pushdown
            Whether the warehouse joins training sets, where the spine is small enough to go with
            the statement; else the rows that can count are read and joined here.
        scan_source
            Whether the warehouse, or Lakebase, is asked who the entities of a table are, and the
            warehouse when its rows came, for `staleness`, `browse` and `parity` without entities.
            It reads the keys and times of all rows, which costs its time.
        lakebase
            The database instance that holds online tables; views without an endpoint are looked
            up there.
        views
            What Databricks does not tell of a view: ``endpoint``, ``ttl``, ``timestamp``,
            ``online_table``.
        ca
            File of certificates to trust.
        """

        catalog: str
        schema: str
        token: Any = None
        client_id: Any = None
        client_secret: Any = None
        profile: str | None = None
        config_file: str | None = None
        endpoint: str | None = None
        timestamps: bool = False
        tags: bool = False
        lineage: bool = False
        batch_size: int = _BATCH
        lakebase: str | None = None
        warehouse_id: str | None = None
        pushdown: bool = True
        scan_source: bool = False
        views: dict[str, ViewOptions] = {}
        ca: str | None = None

    def __init__(self, auth: WorkspaceAuth, options: Options, *, zone: str | None) -> None:
        self.auth: WorkspaceAuth = auth
        self.ca = options.ca
        self._endpoints = {options.endpoint, *(own.endpoint for own in options.views.values())}
        direct = options.lakebase is not None and self._endpoints == {None}
        self.capabilities = Capabilities(
            batch_size=options.batch_size,
            timestamp_level="row" if options.timestamps or direct else "none",
            tells_missing=direct,
            serves_future=True,
            history="joined" if options.warehouse_id else "none",
            history_options=frozenset({"known_by", "lookback", "strict", "feature_timestamps"}),
            lacking=gaps(
                warehouse=bool(options.warehouse_id),
                times=options.timestamps or direct,
                missing=direct,
                scans=options.scan_source,
            ),
        )
        self._workspace = Workspace(auth)
        self._serving = Serving(self._workspace)
        self._lakebase = options.lakebase and Lakebase(
            self._workspace, options.lakebase, options.ca
        )
        self._options = options
        told = {self._short(name): own for name, own in options.views.items()}
        self.told: ToldViews[ViewOptions] = ToldViews(self.scheme, told, ViewOptions())
        self._elsewhere = [name for name in told if "." in name]  # in schemas that are not listed
        self._zone = zone
        self._naive: set[str] = set()  # views whose times have no zone: their session decides

    @classmethod
    def open(cls, target: Target, options: Options, *, timezone: str | None) -> DatabricksStore:
        """Open ``databricks+https://HOST``, or ``databricks:PROFILE``."""
        transport = target.scheme.partition("+")[2]
        host, profile = None, options.profile
        if transport in {"http", "https"} and target.rest.startswith("//"):
            host = with_scheme(f"{transport}:{target.rest}")
        elif not transport and not target.rest.startswith("//"):
            profile = target.rest
        else:
            msg = (
                f"{target} is no workspace; write 'databricks+https://HOST' or 'databricks:PROFILE'"
            )
            raise SettingsError(msg)
        if options.batch_size < 1:
            msg = f"batch_size is at least 1, not {options.batch_size}"
            raise SettingsError(msg)
        given = {
            "token": options.token,
            "client_id": options.client_id,
            "client_secret": options.client_secret,
        }
        auth = find(host, given, profile=profile, config_file=options.config_file)
        kept = msgspec.structs.replace(
            options,
            **dict.fromkeys(given),  # the auth has them
            warehouse_id=options.warehouse_id or auth.warehouse[0] or None,
        )
        return cls(auth, kept, zone=timezone)

    @classmethod
    def target_of(cls, table: dict[str, Any]) -> str | None:
        """Make the target of the settings' ``host``, or ``profile``."""
        if "host" in table:
            return f"databricks+{with_scheme(table.pop('host'))}"
        return f"databricks:{table.pop('profile')}" if "profile" in table else None

    # -- what it holds

    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """List the feature tables of the schema: those with a primary key."""
        return (yield from all_of(self.describe()))

    def describe(self, names: Sequence[str] | None = None) -> Flow[Described]:
        """Describe views; of all in the schema, one that cannot be described leaves the others."""
        if names is not None:
            return (yield from super().describe(names))
        listed = yield from self._table_names()
        told = yield from at_once([self._of_table(name) for name in listed])
        views, failed = parted(listed, told)
        kept = [view for view in views if view is not None]
        self._compare([*(view.name for view in kept), *failed])
        return kept, failed

    def _of_table(self, name: str) -> Flow[FeatureView | None]:
        """Describe the view of a table; None: it has no primary key, so it is no feature table."""
        (table,) = yield from self._tables([name])
        if table.primary_key is None:
            return None
        (view,) = yield from self._described({name: table})
        return view

    def feature_view(self, name: str) -> Flow[FeatureView]:
        """Describe one view."""
        (view,) = yield from self._views([name])
        return view

    def feature_views(self, names: Sequence[str]) -> Flow[list[FeatureView]]:
        """Describe these views, and find the endpoints that serve them."""
        views = yield from self._views(names)
        yield from self._serving.locate(filter(None, map(self._endpoint, names)))
        if self._lakebase:
            direct = [name for name in names if self._endpoint(name) is None]
            yield from self._lakebase.locate(map(self._online_table, direct))
        return views

    def list_feature_services(self) -> Flow[list[FeatureService]]:
        """List the feature specs that endpoints serve."""
        return (yield from self._serving.services(self._short))

    def _views(self, names: Sequence[str]) -> Flow[list[FeatureView]]:
        try:
            tables: list[Table] = yield from self._tables(names)
        except UnknownNameError as error:
            unknown, near = yield from meant([*map(self._short, names)], self._table_names())
            msg = f"there is no feature view {unknown!r} in {self._place}; {near} ({error})"
            raise UnknownNameError(msg) from error
        for table in tables:
            if table.primary_key is None:
                msg = f"{table.full_name} has no primary key, so it is no feature table"
                raise UnknownNameError(msg)
        return (yield from self._described(dict(zip(names, tables, strict=True))))

    def _table_names(self) -> Flow[list[str]]:
        """List the tables of the schema, page by page, by their short names."""
        query = {"catalog_name": self._options.catalog, "schema_name": self._options.schema}
        names: list[str] = []
        more: dict[str, str] = {}
        while True:
            # 0: as many on a page as the server likes
            path = f"{CATALOG}/tables?{urlencode({**query, 'max_results': '0', **more})}"
            try:
                page: Tables = yield self._workspace.registered(path, Tables)
            except UnknownNameError as error:
                raise (yield from missing_place(self._workspace, error, **query)) from error
            names += [table.name for table in page.tables]
            if not page.next_page_token:
                self._compare(names)
                return names
            more = {"page_token": page.next_page_token}

    def _tables(self, names: Sequence[str]) -> Flow[list[Table]]:
        paths = [f"{CATALOG}/tables/{quote(self._full(name), safe='')}" for name in names]
        return (yield from together([self._workspace.registered(path, Table) for path in paths]))

    def _described(self, tables: Mapping[str, Table]) -> Flow[list[FeatureView]]:
        views = []
        for name, table in tables.items():
            tags = (yield from tags_of(self._workspace, table)) if self._options.tags else {}
            view = view_of(table, name, self._of_view(name), tags)
            naive = {column.name for column in table.columns if column.is_naive}
            if view.timestamp in naive or "timestamp_ntz" in {e.store_type for e in view.entities}:
                self._naive.add(name)
            if self._options.lineage:
                made_from, used_by = yield from neighbours(
                    self._workspace, table.full_name, view.feature_names
                )
                view = replace(view, made_from=made_from, used_by=used_by)
            views.append(view)
        return views

    # -- lookups

    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask the endpoint of the view, or Lakebase where it has none."""
        name = read.view.name
        endpoint = self._endpoint(name)
        if endpoint is None and self._lakebase:
            return self._lakebase.read(read, self._online_table(name), self._zone)
        if endpoint is None:
            msg = (
                f"no serving endpoint is known for the feature view {name!r}: name it with "
                "connect(..., endpoint='NAME'), or in the settings as `endpoint` in "
                f"[databricks.views.{name}]; check_health() lists the endpoints. Or name a "
                "database instance with lakebase='NAME'"
            )
            raise SettingsError(msg)
        question = Question(read, endpoint, self._zone)
        request = HttpRequest(
            url=self._serving.url(endpoint),
            method="POST",
            headers={"Content-Type": "application/json"},
            body=question.body(),
        )
        return Call(
            request,
            decode=question.answer,
            keys=read.keys.height,
            explain=self._workspace.explained,
        )

    def _endpoint(self, view: str) -> str | None:
        return self._of_view(view).endpoint or self._options.endpoint

    def _online_table(self, view: str) -> str:
        return self._of_view(view).online_table or self._full(view)

    # -- history

    def join_history(self, reads: Sequence[JoinRead]) -> Flow[list[pl.DataFrame]]:
        """Have the SQL warehouse join the history, or join here what can count of it."""
        warehouse = self._warehouse
        if warehouse is None:
            not_supported(self, "get_historical_features")
        there = self._options.pushdown
        return (yield from warehouse.join(reads, self._zone, there=there, naive=self._naive))

    @property
    def _warehouse(self) -> Warehouse | None:
        name = self._options.warehouse_id
        return Warehouse(self._workspace, name) if name else None

    def refuse_history(self, method: str) -> Flow[NoReturn]:
        """Say which SQL warehouses there are: without one there is no history."""
        known = yield from warehouses.which(self._workspace)
        not_supported(self, method, known)

    def name_entities(self, read: PopulationRead) -> Flow[EntityList]:
        """Have Lakebase or the warehouse name the entities, where they may be asked."""
        warehouse, name = self._warehouse, read.view.name
        if self._options.scan_source and self._lakebase and self._endpoint(name) is None:
            table = self._online_table(name)
            yield from self._lakebase.locate([table])
            named: EntityList = yield self._lakebase.name_entities(read, table, self._zone)
            return named
        if self._options.scan_source and warehouse:
            naive = name in self._naive
            return (yield from listing.entities(warehouse, read, self._zone, naive=naive))
        return (yield from super().name_entities(read))

    def read_arrivals(self, view: FeatureView, now: datetime) -> Flow[Arrivals] | None:
        """Have the warehouse tell when rows came, where it may be asked."""
        if not (self._options.scan_source and self._warehouse and view.timestamp):
            return None
        naive = view.name in self._naive
        return listing.arrivals(self._warehouse, view, now, self._zone, naive=naive)

    # -- health and age

    def read_syncs(self, views: Sequence[FeatureView]) -> Flow[dict[str, Sync | FeatkitError]]:
        """Ask when the online copies of the tables were renewed."""
        tables = {}
        for view in views:
            online = self._of_view(view.name).online_table
            if online is None and self._lakebase and self._endpoint(view.name) is None:
                online = view.source
            tables[view.name] = (view.source, online, next(iter(view.feature_names), ""))
        return (yield from syncs(self._workspace, tables))

    def checks(self) -> dict[str, Flow[str]]:
        """Look at the catalog, at the endpoints, and at what else is named."""
        checks = {
            "Unity Catalog": self._count_tables(),
            "serving endpoints": self._serving.ready(self._endpoints),
        }
        if self._options.warehouse_id:
            found = warehouses.state(self._workspace, self._options.warehouse_id)
            checks["SQL warehouse"] = found
        return checks | ({"Lakebase": self._lakebase.state()} if self._lakebase else {})

    def _count_tables(self) -> Flow[str]:
        names = yield from self._table_names()
        return f"{len(names)} tables in {self._place}"

    # -- names and requests

    @property
    def _place(self) -> str:
        return f"{self._options.catalog}.{self._options.schema}"

    def _of_view(self, name: str) -> ViewOptions:
        return self.told.of(self._short(name))

    def _compare(self, names: Iterable[str]) -> None:
        self.told.compare([*names, *self._elsewhere], f"in {self._place}")

    def _full(self, name: str) -> str:
        return name if name.count(".") == _DOTS else f"{self._place}.{name}"

    def _short(self, name: str) -> str:
        return name.removeprefix(f"{self._place}.")

    def __repr__(self) -> str:
        return f"<DatabricksStore {self.auth.host} {self._place}>"
