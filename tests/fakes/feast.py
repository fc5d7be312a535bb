"""A Feast feature server and its REST registry, as they speak, over feature views in memory.

As strict and as odd as the real ones: columns in an order of their own, 500 and a JSON string for
mistakes of the caller, 1970 for "no timestamp", no ttl applied, a closed connection after an error.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import polars as pl

from tests.fakes.wire import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.schema import FeatureService, FeatureView

PROJECT = "contract"
_PROJECT = {
    "spec": {"name": PROJECT},
    "meta": {"lastUpdatedTimestamp": "2024-05-01T00:00:00Z"},
}
NO_TIME = "1970-01-01T00:00:00Z"
DUMMY = "__dummy_id"
VALUE_TYPES = {
    pl.Int32(): "INT32",
    pl.Int64(): "INT64",
    pl.Float32(): "FLOAT",
    pl.Float64(): "DOUBLE",
    pl.Boolean(): "BOOL",
    pl.String(): "STRING",
    pl.Binary(): "BYTES",
    pl.Datetime("us", "UTC"): "UNIX_TIMESTAMP",
}


def value_type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.List):
        return VALUE_TYPES[pl.Series([], dtype=dtype.inner).dtype] + "_LIST"
    return VALUE_TYPES[dtype]


@dataclass
class FeastFake:
    """What the two servers know and saw.

    Attributes
    ----------
    views
        Each view with its rows, as they were materialised.
    token
        The bearer token that is asked for; None: any request will do.
    mapping
        What the registry calls columns of the sources that have other names there.
    requests
        The bodies of the lookups, as they came.
    """

    views: list[tuple[FeatureView, pl.DataFrame]]
    services: list[FeatureService] = field(default_factory=list)
    token: str | None = None
    mapping: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def rows(self, name: str) -> tuple[FeatureView, pl.DataFrame]:
        """Return a view and the latest row of each of its entities."""
        for view, frame in self.views:
            if view.name == name:
                times = [column for column in (view.timestamp, view.created) if column]
                last = frame.sort(*times, maintain_order=True) if times else frame
                return view, last.unique(view.join_keys, keep="last", maintain_order=True)
        raise Refused(
            404,
            _nested(
                "FeatureViewNotFoundException",
                f"Feature view {name} does not exist in project {PROJECT}",
            ),
        )

    def registry(self, path: str, query: dict[str, list[str]]) -> object:
        """Answer a request to the REST registry."""
        if path == "/health":
            return None
        if query.get("project") != [PROJECT] and "/projects/" not in path:
            return {path.rsplit("/", 1)[-1]: []} if "project" in query else _missing_project()
        what, _, name = path.removeprefix("/api/v1/").partition("/")
        listed: dict[str, list[Any]] = {
            "feature_views": [_item(view, self.mapping) for view, _ in self.views],
            "entities": [
                _entity(view, n) for view, _ in self.views for n in range(len(view.entities))
            ],
            "feature_services": [_service(service) for service in self.services],
            "projects": [_PROJECT],
        }
        if what not in listed:
            raise Refused(404, {"detail": "Not Found"})
        if not name:
            first, *words = what.split("_")
            return {first + "".join(map(str.title, words)): listed[what]}
        for item in listed[what]:
            if item["spec"]["name"] == unquote(name):
                return item
        kind = {"feature_views": "Feature view"}.get(what, what.removesuffix("s").title())
        detail = f"{kind} {unquote(name)} does not exist in project {PROJECT}"
        missing = {"status_code": 404, "detail": detail}
        raise Refused(404, missing | {"error_type": "FeastObjectNotFoundException"})

    def online(self, body: dict[str, Any]) -> object:
        """Answer a lookup."""
        self.requests.append(body)
        entities, refs = body.get("entities"), body.get("features")
        if not isinstance(entities, dict) or not all(
            isinstance(v, list) for v in entities.values()
        ):
            raise Refused(
                422,
                {
                    "detail": [
                        {
                            "type": "dict_type",
                            "loc": ["body", "entities"],
                            "msg": "Input should be a valid dictionary",
                        }
                    ]
                },
            )
        if not refs:
            raise Refused(500, "No features requested")
        if not body.get("full_feature_names"):
            raise Refused(500, "the fake answers with full feature names only")
        if len({len(values) for values in entities.values()}) != 1:
            raise Refused(500, "All entity rows must have the same columns.")
        if any(value is None for values in entities.values() for value in values):
            raise Refused(500, "attribute name must be string, not 'NoneType'")
        columns: dict[str, dict[str, list[Any]]] = {}
        for ref in sorted(refs, reverse=True):  # an order of its own
            name, _, feature = ref.partition(":")
            view, rows = self.rows(name)
            if feature not in view.feature_names:
                raise Refused(500, f"'Feature {feature} not found in projection {name}'")
            columns[f"{name}__{feature}"] = self._column(view, rows, feature, entities)
        keys = {key: _echo(values) for key, values in entities.items() if key != DUMMY}
        vectors = keys | columns
        return {"metadata": {"feature_names": list(vectors)}, "results": list(vectors.values())}

    def _column(
        self, view: FeatureView, rows: pl.DataFrame, feature: str, entities: dict[str, list[Any]]
    ) -> dict[str, list[Any]]:
        missing = [key for key in view.join_keys if key not in entities]
        if missing:
            raise Refused(500, f"'{missing[0]}'")
        held = {
            tuple(map(_json, key)): n
            for n, key in enumerate(rows.select(view.join_keys).iter_rows())
        }
        asked = [
            tuple(entities[key][n] for key in view.join_keys)
            for n in range(len(next(iter(entities.values()))))
        ]
        found = [held.get(key) for key in asked]
        values = [None if n is None else _json(rows[feature][n]) for n in found]
        times = [
            NO_TIME if n is None or not view.timestamp else _time(rows[view.timestamp][n])
            for n in found
        ]
        return {
            "values": values,
            "statuses": ["NOT_FOUND" if n is None else "PRESENT" for n in found],
            "event_timestamps": times,
        }


class Refused(Exception):  # noqa: N818 - what the server does
    """A request that is not answered."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


@contextmanager
def served(fake: FeastFake) -> Iterator[str]:
    """Serve a fake, both servers on one port, and give its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # header and body in one write

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._answer(lambda: fake.registry(parts.path, parse_qs(parts.query)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if urlsplit(self.path).path != "/get-online-features":
                self._answer(lambda: (_ for _ in ()).throw(Refused(404, {"detail": "Not Found"})))
            self._answer(lambda: fake.online(json.loads(body)))

        def _answer(self, make: Any) -> None:
            status, body = 200, None
            try:
                if (
                    fake.token is not None
                    and self.headers["authorization"] != f"Bearer {fake.token}"
                ):
                    raise Refused(401, {"detail": "Invalid or expired access token"})  # noqa: TRY301
                body = make()
            except Refused as refused:
                status, body = refused.status, refused.body
                self.close_connection = True  # and Feast does not say so
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url


def _json(value: Any) -> Any:
    """Write a value as Feast's servers do."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return int(value.timestamp())
        case float() if value != value:  # noqa: PLR0124 - NaN
            return "NaN"
        case float() if value in (float("inf"), float("-inf")):
            return "Infinity" if value > 0 else "-Infinity"
        case pl.Series() | list():
            return [_json(item) for item in value]
        case _:
            return value


def _time(moment: datetime | None) -> str:
    if moment is None:
        return NO_TIME
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _echo(values: list[Any]) -> dict[str, list[Any]]:
    return {
        "values": values,
        "statuses": ["PRESENT"] * len(values),
        "event_timestamps": [NO_TIME] * len(values),
    }


def _nested(kind: str, message: str) -> str:
    return json.dumps({"module": "feast.errors", "class": kind, "message": message})


def _missing_project() -> object:
    raise Refused(
        422, {"detail": [{"type": "missing", "loc": ["query", "project"], "msg": "Field required"}]}
    )


def _columns(items: Any) -> list[dict[str, Any]]:
    return [
        {"name": item.name, "valueType": value_type(item.dtype)}
        | ({"description": item.description} if item.description else {})
        | ({"tags": dict(item.tags)} if item.tags else {})
        for item in items
    ]


def _item(view: FeatureView, mapping: dict[str, str]) -> dict[str, Any]:
    ttl = view.ttl.total_seconds() if view.ttl else 0
    source: dict[str, Any] = {"name": f"{view.name}_source"}
    if mapping:
        source["fieldMapping"] = mapping
    if view.timestamp:
        source["timestampField"] = view.timestamp
    if view.created:
        source["createdTimestampColumn"] = view.created
    spec = {
        "name": view.name,
        "entities": [entity.name for entity in view.entities] or ["__dummy"],
        "features": _columns(view.features),
        "ttl": f"{ttl:g}s",
        "batchSource": source,
        "online": view.online,
        "entityColumns": [
            {"name": entity.join_key, "valueType": value_type(entity.dtype)}
            for entity in view.entities
        ]
        or [{"name": DUMMY, "valueType": "STRING"}],
        "description": view.description,
        "owner": view.owner,
        "tags": dict(view.tags),
    }
    return {"type": "featureView", "spec": {key: value for key, value in spec.items() if value}}


def _entity(view: FeatureView, place: int) -> dict[str, Any]:
    entity = view.entities[place]
    return {
        "spec": {
            "name": entity.name,
            "joinKey": entity.join_key,
            "valueType": value_type(entity.dtype),
        }
    }


def _service(service: FeatureService) -> dict[str, Any]:
    return {
        "spec": {
            "name": service.name,
            "features": [
                {
                    "featureViewName": ref.view,
                    "featureColumns": [{"name": ref.feature}],
                    **({"featureViewNameAlias": ref.alias} if ref.alias else {}),
                    **({"joinKeyMap": dict(ref.keys)} if ref.keys else {}),
                }
                for ref in service.features
            ],
            "description": service.description,
        }
    }
