"""Feast: online reads from its feature server, metadata from its REST registry.

Facts about the servers (seen with Feast 0.67) that shape this package:

- The server does not enforce a view's ttl; the client judges by event timestamp and ttl.
- Columns come in any order, named by ``metadata.feature_names``; join keys are echoed.
- 1970-01-01 stands for "no timestamp"; Redis answers PRESENT, null and 1970 for an unknown key.
- Mistakes of the caller are answered with 500 and a JSON string; these are not tried again.
- One null key fails a whole batch; nulls are never sent.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from featkit.auth.tokens import Bearer, bearer_of
from featkit.calls import Call, HttpRequest, LocalRead
from featkit.capabilities import Capabilities
from featkit.errors import MissingExtraError, NotSupportedError, SettingsError
from featkit.schema import Entity
from featkit.stores.base import Store, find
from featkit.stores.feast import history, registry_file
from featkit.stores.feast.gaps import GAPS
from featkit.stores.feast.over_grpc import GrpcServer
from featkit.stores.feast.over_http import HttpServer
from featkit.stores.feast.refusals import explained
from featkit.stores.feast.registry import (
    DUMMY_ENTITY,
    Entities,
    Project,
    Services,
    Source,
    Views,
    decode_metadata,
    service_of,
    view_of,
)
from featkit.stores.feast.types import named_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from featkit.calls import Flow
    from featkit.columns import FeatureColumns
    from featkit.history import JoinRead
    from featkit.schema import FeatureService, FeatureView
    from featkit.stores.base import OnlineRead, Target


_TRANSPORTS = ("http", "https", "grpc", "grpcs")
_DIRECT = {
    "redis": "featkit.stores.feast.redis:RedisStore",
    "rediss": "featkit.stores.feast.redis:RedisStore",
    "dynamodb": "featkit.stores.feast.dynamodb:DynamoStore",
    "bigtable": "featkit.stores.feast.bigtable:BigtableStore",
}
"""What reads an online store itself, by the transport of its targets."""

_BATCH, _VALUES = 4000, 40_000  # the server gets no faster above, and a lost reply costs more


class FeastStore(Store):
    """A Feast feature server with its registry."""

    scheme = "feast"
    places = ("server_url", "online_url")
    capabilities = Capabilities(
        batch_size=_BATCH,
        values=_VALUES,
        serves_future=True,
        history="joined",
        history_rules=history.RULES,
        lacking=GAPS,
    )

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Options of `featkit.connect` for Feast.

        Attributes
        ----------
        project
            The Feast project.
        registry_url
            The REST registry, or the Feast UI, which serves the same.
        registry
            Instead of it the path of the registry file.
        offline_url
            The offline server, ``grpc://HOST:8815`` or ``grpc+tls://HOST:PORT``; for training
            sets, and for audits that compare with it.
        token
            Bearer token for the servers, or a callable that returns one.
        ca
            File of certificates to trust.
        username, password
            For direct reads from Redis; the password may be a callable that returns it.
        sentinel
            Name of the master, where the hosts are Redis sentinels.
        cluster
            Whether the hosts are nodes of a Redis cluster.
        versioned
            Whether Feast's ``enable_online_feature_view_versioning`` is set.
        verify
            Whether direct reads are compared with the feature server before the first ones.
        server_url
            The feature server to compare with.
        profile, access_key_id, secret_access_key, session_token
            For direct reads from DynamoDB; without them credentials are looked for where all of
            Amazon's tools look.
        table_template
            Feast's ``table_name_template`` for DynamoDB.
        credentials_file
            For direct reads from Bigtable: the key of a service account; without it Google's
            application default credentials.
        app_profile
            Of Bigtable's application profiles the one to read with, where it is not the default.
        endpoint_url
            Address of DynamoDB or Bigtable, where it is not the usual.
        """

        project: str
        registry_url: str | None = None
        registry: str | None = None
        offline_url: str | None = None
        token: Any = None
        ca: str | None = None
        username: str | None = None
        password: Any = None
        sentinel: str | None = None
        cluster: bool = False
        versioned: bool = False
        verify: bool = False
        server_url: str | None = None
        profile: str | None = None
        access_key_id: str | None = None
        secret_access_key: Any = None
        session_token: Any = None
        table_template: str = "{project}.{table_name}"
        credentials_file: str | None = None
        app_profile: str = ""
        endpoint_url: str | None = None

    def __init__(self, server: HttpServer | GrpcServer, options: Options) -> None:
        self._server = server
        if (options.registry_url is None) == (options.registry is None):
            msg = (
                "name the registry of Feast, one of two: registry_url='http://HOST:6572', or "
                "registry= with the path of its file"
            )
            raise SettingsError(msg)
        self._registry = (options.registry_url or "").rstrip("/") + "/api/v1"
        self._registry_file = options.registry
        self._project = options.project
        self._offline = options.offline_url
        self.auth = _bearer(options.token)
        self.ca = options.ca

    @classmethod
    def open(cls, target: Target, options: Options, *, timezone: str | None) -> FeastStore:
        """Open a feature server, or the online store of `_DIRECT` that the target names.

        A server is ``feast+http://HOST:PORT``, ``feast+grpc://HOST:PORT``, or either over TLS.
        """
        transport = target.scheme.partition("+")[2]
        if transport in _DIRECT:
            kind: type[FeastStore] = resolve_name(_DIRECT[transport])
            return kind.open(target, options, timezone=timezone)
        address = target.rest.removeprefix("//").rstrip("/")
        if transport not in _TRANSPORTS or not target.rest.startswith("//") or not address:
            msg = (
                f"{target} is no Feast server; write 'feast+http://HOST:6566', 'feast+https://...' "
                "or 'feast+grpc://HOST:50051'"
            )
            raise SettingsError(msg)
        if transport in {"http", "https"}:
            return cls(HttpServer(f"{transport}://{address}"), options)
        if find_spec("grpc") is None:
            raise MissingExtraError("grpc", f"{target}")
        return cls(GrpcServer(address, tls=transport == "grpcs"), options)

    @classmethod
    def target_of(cls, table: dict[str, Any]) -> str | None:
        """Make the target of the settings' ``online_url``, or else of their ``server_url``."""
        if "online_url" in table:
            return f"feast+{table.pop('online_url')}"
        return f"feast+{table.pop('server_url')}" if "server_url" in table else None

    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """List the views of all kinds, on-demand ones among them."""
        found: Views = yield self._registered("feature_views", Views)
        known = {item.spec.name: item for item in found.feature_views}
        return [view_of(item, known) for item in found.feature_views]

    def feature_views(self, names: Sequence[str]) -> Flow[list[FeatureView]]:
        """Describe these views.

        From the list of all: the registry fails over single views with types that it does not
        know, and says nothing there of the keys that an on-demand view needs.
        """
        views = yield from self.list_feature_views()
        kind = f"feature view in the Feast project {self._project!r}:"
        return [find(views, name, kind) for name in names]

    def feature_view(self, name: str) -> Flow[FeatureView]:
        """Describe one view."""
        (view,) = yield from self.feature_views([name])
        return view

    def list_entities(self) -> Flow[list[Entity]]:
        """List the entities."""
        found: Entities = yield self._registered("entities", Entities)
        return [
            Entity(
                spec.name,
                spec.join_key or spec.name,
                named_type(spec.value_type).dtype,
                spec.description,
                store_type=str(spec.value_type),
                tags=spec.tags,
            )
            for spec in (item.spec for item in found.entities)
            if spec.name != DUMMY_ENTITY
        ]

    def list_feature_services(self) -> Flow[list[FeatureService]]:
        """List the feature services."""
        found: Services = yield self._registered("feature_services", Services)
        return [service_of(item.spec) for item in found.feature_services]

    def _registered(self, what: str, kind: type[msgspec.Struct]) -> Call[Any]:
        if self._registry_file is not None:
            what = what.partition("/")[0]
            read = partial(registry_file.read, self._registry_file, self._project, what, kind)
            return Call(LocalRead(read, f"the registry {self._registry_file}"))
        url = f"{self._registry}/{what}?project={quote(self._project, safe='')}"
        request = HttpRequest(url=url, metadata=True)
        return Call(request, decode=partial(decode_metadata, kind), explain=explained)

    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask the feature server."""
        return self._server.read(read)

    def join_history(self, reads: Sequence[JoinRead]) -> Flow[list[pl.DataFrame]]:
        """Have the offline server join each view to its spine."""
        location = self._offline_server("training sets")
        answers = []
        for read in reads:  # one by one: over DuckDB the server cannot do two joins at once
            call = history.question(read, location=location, project=self._project)
            answers.append((yield call))
        return answers

    def read_offline_times(self, read: OnlineRead) -> Flow[pl.Series]:
        """Have the offline server find the latest rows; its joins do not tell their times."""
        if self.capabilities.history == "none":
            return (yield from super().read_offline_times(read))
        location = self._offline_server("event timestamps of the history")
        found: Views = yield self._registered("feature_views", Views)
        specs = {item.spec.name: item.spec for item in found.feature_views}
        source = specs[read.view.name].batch_source or Source()
        times: pl.Series = yield history.newest(read, source, location=location)
        return times

    def _offline_server(self, what: str) -> str:
        """Tell where the offline server is; raise where nobody said so."""
        if self._offline is None:
            msg = (
                f"{what} come from Feast's offline server; say where it is with "
                "connect(..., offline_url='grpc://HOST:8815')"
            )
            raise NotSupportedError(msg)
        return self._offline

    def checks(self) -> dict[str, Flow[str]]:
        """Ask the feature server and the registry, and look whether the project exists."""
        return {"feature server": self._answers(), "registry": self._knows_project()}

    def _answers(self) -> Flow[str]:
        said: str = yield self._server.health()
        return said

    def _knows_project(self) -> Flow[str]:
        project: Project = yield self._registered(
            f"projects/{quote(self._project, safe='')}", Project
        )
        views = yield from self.list_feature_views()
        changed = project.meta.last_updated_timestamp
        return f"{len(views)} feature views, project last changed {changed:%Y-%m-%d %H:%M:%S} UTC"

    def __repr__(self) -> str:
        return f"<FeastStore {self._server} project {self._project!r}>"


def _bearer(token: object) -> Bearer | None:
    return token if token is None or isinstance(token, Bearer) else bearer_of(token)
