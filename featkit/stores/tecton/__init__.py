"""Tecton: online reads of feature services over its HTTP API.

Facts about the API (from the vendor's open-licence clients and its documentation) that shape this
package:

- What is asked for is a *feature service*: all its features, for all its join keys. A feature is
  named ``view.feature``, so that a service is read as the feature views that it serves.
- It lists no services, and tells no ttl: these come from the settings.
- Answers are rows of values of mixed types: int64 as text, structs as arrays in field order.
- A batch has one effective time per feature; only single lookups have one per entity.
- Rows do not repeat their keys: that rows are missing can be seen, another order cannot.
"""

from __future__ import annotations

import json
import re
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import polars as pl

from featkit.calls import Call, HttpRequest
from featkit.capabilities import Capabilities
from featkit.durations import parse_duration
from featkit.errors import (
    AuthError,
    FeatkitError,
    RequestRejected,
    SettingsError,
    UnknownNameError,
    ViewWarning,
)
from featkit.flows import all_of, parted
from featkit.online.gathering import Gathering
from featkit.populations import Sync
from featkit.readable import notices
from featkit.schema import Entity, Feature, FeatureRef, FeatureService, FeatureView
from featkit.stores.base import Store, find
from featkit.stores.tecton.answers import SERVICE, SERVICE_TYPE, WILDCARD, Question, split_name
from featkit.stores.tecton.credentials import credentials
from featkit.stores.tecton.gaps import GAPS, ROW_TIMES
from featkit.stores.tecton.messages import Ready, Service, decoded, explained, ready
from featkit.told import ToldViews
from featkit.warned import warn_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from featkit.calls import Flow, HttpReply
    from featkit.columns import FeatureColumns
    from featkit.stores.base import Described, OnlineRead, Target
    from featkit.stores.tecton.messages import Column, DataType

T = TypeVar("T")

_TIME = "effective_time"
_OF_PEOPLE = re.compile(r"/(app|api)(/.*)?$")  # what a browser, or another client, has behind it


class _Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Tecton does not tell about a view."""

    ttl: str | None = None
    static: bool = False
    description: str = ""
    owner: str = ""
    tags: dict[str, str] = {}
    features: dict[str, str] = {}
    null_keys: tuple[str, ...] = ()


class TectonStore(Store):
    """A workspace of Tecton, as far as its feature services serve it."""

    scheme = "tecton"
    places = ("url",)
    chosen_by = "feature_services"

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """Options of `featkit.connect` for Tecton.

        Attributes
        ----------
        workspace
            The workspace.
        feature_services
            Names of the feature services to read; in text, separated by commas.
        api_key
            The key of a service account, or a callable that returns it.
        client_id, client_secret, token_url, scope
            Of a service account with OAuth, instead of a key: who it is, and the address where its
            tokens are given out.
        token
            Instead of both, an access token, or a callable that returns one.
        batch_size
            Entities per call, until the server says that they are too many.
        row_timestamps
            Whether entities are asked for one by one, since only then each has its own times.
        views
            What Tecton does not tell, by the name of the view: `ttl`, `static`, `description`,
            `owner`, `tags`, `features` (descriptions by name), and `null_keys`, join keys of the
            service that the view does not depend on.
        ca
            File of certificates to trust.
        """

        workspace: str
        feature_services: tuple[str, ...] | str
        api_key: Any = None
        client_id: str | None = None
        client_secret: Any = None
        token_url: str | None = None
        scope: str = ""
        token: Any = None
        batch_size: int = 5
        row_timestamps: bool = False
        views: dict[str, _Told] = {}
        ca: str | None = None

    def __init__(self, url: str, options: Options) -> None:
        listed = options.feature_services
        names = listed.split(",") if isinstance(listed, str) else listed
        self._names = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
        self._url = f"{_OF_PEOPLE.sub('', url).rstrip('/')}/api/v1"
        self._workspace = options.workspace
        self.told = ToldViews(self.scheme, options.views, _Told())
        self._single = options.row_timestamps
        self._context: dict[str, dict[str, DataType]] = {}  # nested request data of each service
        self.auth = credentials(
            api_key=options.api_key,
            client_id=options.client_id,
            client_secret=options.client_secret,
            token_url=options.token_url,
            scope=options.scope,
            token=options.token,
        )
        self.ca = options.ca
        if not self._names:
            msg = (
                "Tecton does not list its feature services: name those to read with "
                "feature_services=[...]"
            )
            raise SettingsError(msg)
        if options.batch_size < 1:
            msg = f"batch_size= is at least 1, not {options.batch_size}"
            raise SettingsError(msg)
        self.capabilities = Capabilities(
            batch_size=1 if options.row_timestamps else options.batch_size,
            timestamp_level="row" if options.row_timestamps else "feature",
            serves_future=True,
            lacking=GAPS if options.row_timestamps else {**GAPS, "row_timestamps": ROW_TIMES},
        )

    @classmethod
    def open(cls, target: Target, options: Options, *, timezone: str | None) -> TectonStore:  # noqa: ARG003 - Tecton's times have zones
        """Open ``tecton+https://HOST``."""
        transport = target.scheme.partition("+")[2]
        if transport not in {"http", "https"} or not target.rest.startswith("//"):
            msg = f"{target} is no Tecton cluster; write 'tecton+https://CLUSTER.tecton.ai'"
            raise SettingsError(msg)
        return cls(f"{transport}:{target.rest}", options)

    @classmethod
    def target_of(cls, table: dict[str, Any]) -> str | None:
        """Make the target of the settings' ``url``."""
        if "url" not in table:
            return None
        url = str(table.pop("url"))
        return f"tecton+{url if '://' in url else f'https://{url}'}"

    def batch_size(self, view: FeatureView) -> int | None:
        """Tell the size of a batch; a wildcard lookup asks for one entity."""
        return 1 if view.tags.get(SERVICE_TYPE) == WILDCARD else self.capabilities.batch_size

    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """List the views that the feature services serve.

        A view that several services serve is read from the first of them; from the others it is
        ``service.view``.
        """
        return self._compared(self._views((yield from self._described(self._names))))

    def feature_views(self, names: Sequence[str]) -> Flow[list[FeatureView]]:
        """Describe these views; that a service fails matters only if no other serves them."""
        return (yield from all_of(self.describe(names)))

    def describe(self, names: Sequence[str] | None = None) -> Flow[Described]:
        """Describe views; of a service that fails nobody knows the views, so it is told itself."""
        known, failed = yield from self._known()
        views = self._views(known)
        if not failed:
            self._compared(views)
        return (views, failed) if names is None else self._chosen(views, names, failed)

    def _chosen(
        self, views: list[FeatureView], names: Sequence[str], failed: dict[str, FeatkitError]
    ) -> Described:
        """Find views by name; one that is not there may be served by what fails."""
        found, lost = [], {}
        for name in names:
            try:
                found.append(find(views, name, "feature view"))
            except UnknownNameError as error:
                if not failed:
                    services = ", ".join(map(repr, self._names))
                    msg = f"{error} (looked for in what feature_services= names: {services})"
                    raise UnknownNameError(msg) from error
                lost[name] = next(iter(failed.values()))
        return found, lost

    def feature_view(self, name: str) -> Flow[FeatureView]:
        """Describe one view."""
        (view,) = yield from self.feature_views([name])
        return view

    def list_feature_services(self) -> Flow[list[FeatureService]]:
        """List the feature services of the settings, with their features.

        One that cannot be described is left out, with a warning.
        """
        services, failed = yield from self._known()
        for notice in notices(failed):
            warn_caller(notice, ViewWarning)
        views = self._views(services)
        return [
            FeatureService(
                name,
                tuple(
                    FeatureRef(view.name, feature.name)
                    for view in views
                    if view.tags[SERVICE] == name
                    for feature in view.features
                ),
                description=f"{service.feature_service_type.lower()} feature service",
            )
            for name, service in services.items()
        ]

    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask the feature service of the view; it always answers with all its features."""
        question = self._question(read)
        (body,) = question.bodies([read.keys])

        def answer(reply: HttpReply) -> FeatureColumns:
            return question.columns([question.heard(max(read.keys.height, 1), reply)])

        return self._asked(question, body, answer, read.keys.height)

    def read_together(self, reads: Sequence[OnlineRead]) -> list[Call[Any]]:
        """Ask several questions; what comes back is decoded some answers at a time."""
        calls: list[Call[Any]] = []
        for _, same in groupby(reads, key=lambda read: (id(read.view), read.features)):
            own = list(same)
            question = self._question(own[0])
            if len(own) == 1 or not own[0].keys.width:
                calls += map(self.read_online, own)
                continue
            gathering = Gathering(question.gathered)
            bodies = question.bodies([read.keys for read in own])
            calls += [
                self._asked(
                    question, body, partial(question.later, gathering, read), read.keys.height
                )
                for read, body in zip(own, bodies, strict=True)
            ]
        return calls

    def _question(self, read: OnlineRead) -> Question:
        told = self.told.of(read.view.name)
        return Question(
            read.view,
            read.features,
            self._workspace,
            told.null_keys,
            single=self._single,
            context=self._context.get(read.view.tags[SERVICE], {}),
        )

    def _asked(
        self, question: Question, body: bytes, decode: Callable[[HttpReply], T], keys: int
    ) -> Call[T]:
        return self._post(f"feature-service/{question.path}", body, decode, keys)

    def ready_time(self, **what: str) -> Flow[datetime | None]:
        """Tell up to when values are materialised online; None: never, or not at all.

        Parameters
        ----------
        **what
            ``feature_view="NAME"`` or ``feature_service="NAME"``.
        """
        said: Ready = yield self._ready(**what)
        return said.online

    def _ready(self, **what: str) -> Call[Ready]:
        body = json.dumps({"workspace": self._workspace, **what}).encode()
        return self._post("jobs/get-latest-ready-time", body, ready)

    def read_syncs(self, views: Sequence[FeatureView]) -> Flow[dict[str, Sync | FeatkitError]]:
        """Ask up to when each view is materialised online."""
        if not views:
            return {}
        told = yield [self._ready(feature_view=_own_name(view)) for view in views]
        return {
            view.name: ready if isinstance(ready, FeatkitError) else Sync(until=ready.online)
            for view, ready in zip(views, told, strict=True)
        }

    def checks(self) -> dict[str, Flow[str]]:
        """Ask each feature service for its schema."""
        heard: dict[str, Service] = {}
        return {f"feature service {name}": self._serves(name, heard) for name in self._names}

    def _serves(self, name: str, heard: dict[str, Service]) -> Flow[str]:
        services = yield from self._described([name])
        heard |= services
        if len(heard) == len(self._names):
            self._compared(self._views(heard))
        try:
            ready = yield from self.ready_time(feature_service=name)
            when = f"materialised up to {ready:%Y-%m-%d %H:%M:%S} UTC" if ready else "no ready time"
        except (AuthError, RequestRejected, UnknownNameError):  # keys that may read may not ask
            when = "this key may not ask up to when they are materialised"
        return f"{len(services[name].feature_values)} features, {when}"

    def _known(self) -> Flow[tuple[dict[str, Service], dict[str, FeatkitError]]]:
        """Ask for all schemas; raise where none is there, as the store fails as a whole then."""
        told = yield [self._metadata(name) for name in self._names]
        came, failed = parted(self._names, told)
        if not came:
            raise failed[self._names[0]]
        names = [name for name in self._names if name not in failed]
        return dict(zip(names, came, strict=True)), failed

    def _described(self, names: Sequence[str]) -> Flow[dict[str, Service]]:
        told = yield [self._metadata(name) for name in names]
        for service in told:
            if isinstance(service, FeatkitError):
                raise service
        return dict(zip(names, told, strict=True))

    def _metadata(self, service: str) -> Call[Service]:
        params = {"featureServiceName": service, "workspaceName": self._workspace}
        body = json.dumps({"params": params}).encode()
        return self._post("feature-service/metadata", body, partial(decoded, Service))

    def _post(
        self, path: str, body: bytes, decode: Callable[[HttpReply], T], keys: int = 0
    ) -> Call[T]:
        request = HttpRequest(
            url=f"{self._url}/{path}",
            method="POST",
            headers={"Content-Type": "application/json"},
            body=body,
            metadata=path.endswith("/metadata"),
        )
        explain = partial(explained, self._workspace)
        return Call(request, decode=decode, keys=keys, explain=explain)

    def _views(self, services: dict[str, Service]) -> list[FeatureView]:
        """Sort the features of services by their views; what is served twice gets a longer name."""
        views: dict[str, FeatureView] = {}
        for service, told in services.items():
            kinds = {key.name: key.known for key in told.input_request_context_keys}
            self._context[service] = {n: k for n, k in kinds.items() if k.kind.dtype.is_nested()}
            grouped: dict[str, list[Column]] = {}
            for column in told.feature_values:
                grouped.setdefault(split_name(column.name, service)[0], []).append(column)
            for name, columns in grouped.items():
                unique = f"{service}.{name}" if name in views else name
                views[unique] = self._view(unique, service, told, columns)
        return list(views.values())

    def _compared(self, views: list[FeatureView]) -> list[FeatureView]:
        """Compare what the settings tell with all views that there are."""
        names = [view.name for view in views]
        self.told.compare(names, "in the feature services", whole=False)
        return views

    def _view(
        self, name: str, service: str, told: Service, columns: Sequence[Column]
    ) -> FeatureView:
        also = self.told.of(name)
        wildcard = told.feature_service_type == WILDCARD
        keys = [key for key in told.input_join_keys if key.name not in also.null_keys]
        named = {split_name(column.name, service)[1]: column for column in columns}
        self.told.check(
            name, "null_keys", also.null_keys, [key.name for key in told.input_join_keys]
        )
        if wildcard:
            named = {key.name: key for key in told.output_join_keys} | named
        self.told.check(name, "features", also.features, named)
        return FeatureView(
            name=name,
            entities=tuple(
                Entity(
                    key.name,
                    key.name,
                    _key_dtype(key),
                    request_data=key in told.input_request_context_keys,
                    store_type=str(key.known),
                )
                for key in (*keys, *told.input_request_context_keys)
            ),
            features=tuple(
                Feature(
                    own,
                    pl.List(column.known.kind.dtype) if wildcard else column.known.kind.dtype,
                    also.features.get(own, ""),
                    store_type=str(column.known),
                )
                for own, column in named.items()
            ),
            timestamp=None if also.static else _TIME,
            ttl=None if also.ttl is None else parse_duration(also.ttl, what=f"ttl of {name}"),
            source=f"feature service {service}",
            offline=False,
            description=also.description,
            owner=also.owner,
            tags={**also.tags, SERVICE: service, SERVICE_TYPE: told.feature_service_type},
        )

    def __repr__(self) -> str:
        url = self._url.removesuffix("/api/v1")
        return f"<TectonStore {url} workspace {self._workspace!r}>"


def _own_name(view: FeatureView) -> str:
    """Return what Tecton calls a view that may be named by its service, too."""
    return view.name.removeprefix(f"{view.tags[SERVICE]}.")


def _key_dtype(key: Column) -> pl.DataType:
    """Return the dtype of a key; nested request data is handled as its JSON."""
    dtype = key.known.kind.dtype
    return pl.String() if dtype.is_nested() else dtype
