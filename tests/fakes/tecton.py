"""Tecton's HTTP API, as far as its open-licence clients speak it, over feature views in memory.

Strict where protobuf's JSON is: an unknown field, a number for an int64, a key too many or too few,
a batch beyond the limit are refused. Batches have one effective time per feature.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import polars as pl

from tests.faults.serving import Reply, Request, Server, read_request

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping

    from featkit.schema import FeatureView

WORKSPACE = "prod"
KEY = "canary-key-4711"
SERVICE_ACCOUNT = ("account-id", "account-secret-canary")
TOKEN_PATH = "/oauth2/token"
SLO = {
    "sloEligible": True,
    "sloServerTimeSeconds": 0.01,
    "serverTimeSeconds": 0.02,
    "storeMaxLatency": 0.003,
    "storeResponseSizeBytes": 204,
    "dynamodbResponseSizeBytes": 204,
}
CODES = {400: 3, 401: 16, 403: 7, 404: 5}
TYPES: dict[pl.DataType, str] = {
    pl.Int64(): "int64",
    pl.Float64(): "float64",
    pl.Float32(): "float32",
    pl.Boolean(): "boolean",
    pl.String(): "string",
    pl.Datetime("us", "UTC"): "timestamp",
}
OPTIONS = {
    "includeNames",
    "includeDataTypes",
    "includeEffectiveTimes",
    "includeSloInfo",
    "includeServingStatus",
    "includeFeatureDescriptions",
    "includeFeatureTags",
}
REQUEST_OPTIONS = {
    "readFromCache",
    "writeToCache",
    "ignoreExtraRequestContextFields",
    "latencyBudgetMs",
    "coerceNullCountsToZero",
}


class Refused(Exception):  # noqa: N818 - what the server does
    """A request that is not answered."""


@dataclass
class Column:
    """A key or a feature; a column that depends on nothing that is materialised has no time."""

    name: str
    type: dict[str, Any]
    described: dict[str, Any] = field(default_factory=dict)
    timed: bool = True


@dataclass
class Service:
    """A feature service.

    Attributes
    ----------
    rows
        By key, the values as JSON holds them, and the effective time of the row.
    """

    keys: list[Column]
    features: list[Column]
    rows: dict[tuple[Any, ...], tuple[list[Any], str | None]]
    context: list[Column] = field(default_factory=list)
    given: int | None = None  # of a wildcard service: how many keys a lookup gives

    @classmethod
    def of(cls, *views: tuple[FeatureView, pl.DataFrame]) -> Service:
        """Serve the latest rows of views that have the same entities."""
        keys = [Column(own.join_key, data_type(own.dtype)) for own in views[0][0].entities]
        features, rows = [], {}
        for view, _ in views:
            features += [
                Column(f"{view.name}.{own.name}", data_type(own.dtype), {}, bool(view.timestamp))
                for own in view.features
            ]
        for number, (view, frame) in enumerate(views):
            before = sum(len(view.features) for view, _ in views[:number])
            times = [column for column in (view.timestamp, view.created) if column]
            last = frame.sort(*times, maintain_order=True) if times else frame
            last = last.unique(view.join_keys, keep="last", maintain_order=True)
            for row in last.iter_rows(named=True):
                key = tuple(wire(row[name]) for name in view.join_keys)
                values, _ = rows.setdefault(key, ([None] * len(features), None))
                for place, name in enumerate(view.feature_names, before):
                    values[place] = wire(row[name])
                if view.timestamp:
                    rows[key] = values, wire(row[view.timestamp])
        return cls(keys, features, rows)


def data_type(dtype: pl.DataType) -> dict[str, Any]:
    if isinstance(dtype, pl.List):
        inner = pl.Series([], dtype=dtype.inner).dtype
        return {"type": "array", "elementType": data_type(inner)}
    return {"type": TYPES[dtype]}


def wire(value: Any) -> Any:
    """Write a value as the server does."""
    match value:
        case bool() | None | str():
            return value
        case int():
            return str(value)
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case list():
            return [wire(item) for item in value]
        case _:
            return value


class TectonFake(Server):
    """The server.

    Parameters
    ----------
    services
        By name.
    most
        How many rows a batch may have.
    watermark
        Up to when features are materialised: the effective time of batches.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        *,
        most: int = 100,
        watermark: str = "2024-05-01T12:00:00Z",
        key: str = KEY,
    ) -> None:
        super().__init__()
        self.services = dict(services)
        self.most = most
        self.watermark = watermark
        self.key = key
        self.tokens: list[str] = []  # those that are good; clear it to let them expire
        self.given: list[str] = []
        self.jobs = True  # whether the key may ask for ready times
        self.seen: list[tuple[str, dict[str, Any]]] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            writer.write(self.answer(request).encode())
            await writer.drain()

    def lookups(self, path: str = "") -> list[dict[str, Any]]:
        """Return the params of the lookups that came, all or those to one path."""
        return [params for own, params in self.seen if own.endswith(path) and own != "metadata"]

    def answer(self, request: Request) -> Reply:
        """Answer, or say what is wrong with the request."""
        try:
            return _json(200, self._answer(request))
        except Refused as refused:
            status, said = refused.args
            return _json(status, {"error": said, "message": said, "code": CODES[status]})

    def _answer(self, request: Request) -> object:
        _expect(request.method == "POST", 404, "Not Found")
        if request.path == TOKEN_PATH:
            return self._token(request)
        if request.headers.get("authorization") not in {f"Tecton-key {self.key}", *self.tokens}:
            raise Refused(401, "The API key is invalid")
        _expect(request.headers.get("content-type") == "application/json", 400, "not JSON")
        try:
            body = json.loads(request.body)
        except ValueError as error:
            raise Refused(400, f"Malformed JSON: {error}") from error
        if request.path == "/api/v1/jobs/get-latest-ready-time":
            return self._ready(body)
        path = request.path.removeprefix("/api/v1/feature-service/")
        answers = {
            "metadata": self._metadata,
            "get-features": self._single,
            "get-features-batch": self._batch,
            "query-features": self._query,
        }
        _expect(path in answers, 404, "Not Found")
        _only(body, {"params"})
        params = body["params"]
        self.seen.append((path, params))
        _expect(params.get("workspaceName") == WORKSPACE, 404, "Unable to find the workspace")
        _expect("featureServiceId" not in params, 400, "the fake knows services by name")
        name = params.get("featureServiceName")
        _expect(name in self.services, 404, f"Unable to query FeatureService `{name}`")
        return answers[path](params, self.services[name])

    def _token(self, request: Request) -> object:
        """Give out an access token to who knows the id and the secret."""
        pair = base64.b64encode(":".join(SERVICE_ACCOUNT).encode()).decode()
        _expect(request.headers.get("authorization") == f"Basic {pair}", 401, "invalid_client")
        form = parse_qs(request.body.decode())
        _expect(form.get("grant_type") == ["client_credentials"], 400, "unsupported_grant_type")
        self.tokens.append(f"Bearer token-canary-{len(self.given)}")
        self.given.append(self.tokens[-1])
        token = self.tokens[-1].removeprefix("Bearer ")
        return {"access_token": token, "token_type": "Bearer", "expires_in": 3600}

    def _ready(self, body: dict[str, Any]) -> object:
        _only(body, {"workspace", "feature_view", "feature_service"})
        _expect(self.jobs, 403, "Insufficient permissions")
        names = {own.name.split(".")[0] for each in self.services.values() for own in each.features}
        known = body.get("feature_view") in names or body.get("feature_service") in self.services
        _expect(body.get("workspace") == WORKSPACE and known, 404, "not found")
        return {"online_latest_ready_time": self.watermark, "offline_latest_ready_time": None}

    def _metadata(self, params: dict[str, Any], service: Service) -> object:
        _only(params, {"workspaceName", "featureServiceName"})

        def columns(items: Iterable[Column]) -> list[dict[str, Any]]:
            return [
                {"name": own.name, "dataType": own.type, "type": own.type["type"]} for own in items
            ]

        kind = "DEFAULT" if service.given is None else "WILDCARD"
        said = {"featureServiceType": kind, "inputJoinKeys": columns(service.keys[: service.given])}
        said["inputRequestContextKeys"] = columns(service.context)
        if service.given is not None:
            said["outputJoinKeys"] = columns(service.keys[service.given :])
        return said | {"featureValues": columns(service.features)}

    def _single(self, params: dict[str, Any], service: Service) -> object:
        _expect(service.given is None, 400, "a wildcard service is queried with query-features")
        values, time = self._row(params, service)
        said: dict[str, Any] = {"result": {"features": values or [None] * len(service.features)}}
        status = "MISSING_DATA" if values is None else "PRESENT"
        return said | self._described(params, service, time, status, [SLO])

    def _batch(self, params: dict[str, Any], service: Service) -> object:
        _expect(service.given is None, 400, "a wildcard service is queried with query-features")
        _expect("allowPartialResults" not in params, 400, "unknown field allowPartialResults")
        asked = params.get("requestData") or []
        _expect(bool(asked), 400, "requestData is empty")
        _expect(
            len(asked) <= self.most,
            400,
            f"Batch size of {len(asked)} exceeds the maximum of {self.most}",
        )
        shared = {name: own for name, own in params.items() if name != "requestData"}
        rows = [self._row(shared | row, service)[0] for row in asked]
        empty = [None] * len(service.features)
        said: dict[str, Any] = {"result": [{"features": values or empty} for values in rows]}
        statuses = ["MISSING_DATA" if values is None else "PRESENT" for values in rows]
        slo = [SLO] * len(rows)
        return said | self._described(params, service, self.watermark, statuses, slo)

    def _query(self, params: dict[str, Any], service: Service) -> object:
        _expect(service.given is not None, 400, "not a wildcard service")
        given = self._checked(params, service, service.keys[: service.given])
        found = [
            {"features": values, "joinKeys": list(key[service.given :])}
            for key, (values, _) in service.rows.items()
            if key[: service.given] == given
        ]
        described = self._described(params, service, self.watermark, None, [SLO])
        keys = [{"name": own.name, "dataType": own.type} for own in service.keys[service.given :]]
        described["metadata"]["joinKeys"] = keys
        return {"results": found} | described

    def _row(self, params: dict[str, Any], service: Service) -> tuple[list[Any] | None, str | None]:
        return service.rows.get(self._checked(params, service, service.keys), (None, None))

    def _checked(
        self, params: dict[str, Any], service: Service, keys: list[Column]
    ) -> tuple[Any, ...]:
        known = {"workspaceName", "featureServiceName", "joinKeyMap", "requestContextMap"}
        _only(params, known | {"metadataOptions", "requestOptions", "allowPartialResults"})
        _only(params.get("metadataOptions", {}), OPTIONS)
        _only(params.get("requestOptions", {}), REQUEST_OPTIONS)
        _checked_map(params.get("joinKeyMap", {}), keys, "join key")
        _checked_map(params.get("requestContextMap", {}), service.context, "request context key")
        return tuple(params["joinKeyMap"][own.name] for own in keys)

    def _described(
        self,
        params: dict[str, Any],
        service: Service,
        time: str | None,
        status: str | list[str] | None,
        slo: list[Any],
    ) -> dict[str, Any]:
        wanted = {name for name, on in params.get("metadataOptions", {}).items() if on}
        if not wanted:
            return {}
        features = []
        for own in service.features:
            said: dict[str, Any] = {}
            if "includeNames" in wanted:
                said["name"] = own.name
            if "includeEffectiveTimes" in wanted and time is not None and own.timed:
                said["effectiveTime"] = time
            if "includeDataTypes" in wanted:
                said["dataType"] = own.type
            if "includeServingStatus" in wanted and status is not None:
                said["status"] = status
            if "includeFeatureDescriptions" in wanted and "description" in own.described:
                said["description"] = own.described["description"]
            if "includeFeatureTags" in wanted and "tags" in own.described:
                said["tags"] = own.described["tags"]
            features.append(said)
        metadata: dict[str, Any] = {"features": features}
        if "includeSloInfo" in wanted:
            metadata["sloInfo"] = slo if isinstance(status, list) else slo[0]
        return {"metadata": metadata}


def _expect(right: bool, status: int, said: str) -> None:  # noqa: FBT001 - as assert has it
    if not right:
        raise Refused(status, said)


def _only(body: Any, known: set[str]) -> None:
    _expect(isinstance(body, dict), 400, "Expect message object")
    for name in body:
        _expect(name in known, 400, f"Cannot find field: {name}")


def _checked_map(told: dict[str, Any], columns: list[Column], what: str) -> None:
    for own in columns:
        _expect(own.name in told, 400, f"Missing required {what}: {own.name}")
        value, kind = told[own.name], own.type["type"]
        if kind in NESTED:
            right = value is None or _is_nested(own.type, value)
            _expect(right, 400, f"{what} {own.name} should be {kind}: {value!r}")
            continue
        number = kind.startswith("float")
        allowed = value is None and not number
        _expect(_is(kind, value) or allowed, 400, f"{what} {own.name} should be {kind}: {value!r}")
    names = {own.name for own in columns}
    for name in told:
        _expect(name in names, 400, f"Unexpected {what}: {name}")


NESTED = {"array", "struct", "map"}


def _is_nested(kind: dict[str, Any], value: Any) -> bool:
    """Tell whether a value is of a type; within another one it may be null."""
    if value is None:
        return True
    match kind["type"]:
        case "array":
            return isinstance(value, list) and all(
                _is_nested(kind["elementType"], v) for v in value
            )
        case "struct":
            fields = {own["name"]: own["dataType"] for own in kind["fields"]}
            if not isinstance(value, dict) or set(value) != set(fields):
                return False
            return all(_is_nested(own, value[name]) for name, own in fields.items())
        case "map":
            return isinstance(value, dict) and all(
                _is(kind["keyType"]["type"], name) and _is_nested(kind["valueType"], own)
                for name, own in value.items()
            )
        case plain:
            return _is(plain, value)


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "timestamp":
            return isinstance(value, str) and _TIME.fullmatch(value) is not None
        case "int64":
            whole = isinstance(value, str) and _WHOLE.fullmatch(value) is not None
            return whole and -(2**63) <= int(value) < 2**63
        case "float32" | "float64":
            number = isinstance(value, float | int) and not isinstance(value, bool)
            return number or value in {"NaN", "Infinity", "-Infinity"}
    raise AssertionError(kind)


_WHOLE = re.compile(r"-?[0-9]+")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?Z")


def _json(status: int, content: object) -> Reply:
    headers = {"content-type": "application/json"}
    return Reply(status=status, headers=headers, body=json.dumps(content).encode())


def numbers(rows: int) -> Service:
    """Serve ten floats for each of so many users."""
    features = [Column(f"user.f{n}", {"type": "float64"}) for n in range(10)]
    values = {(str(key),): ([key + n / 8 for n in range(10)], None) for key in range(rows)}
    return Service([Column("user_id", {"type": "int64"})], features, values)
