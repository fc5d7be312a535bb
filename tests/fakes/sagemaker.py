"""SageMaker Feature Store, both of its APIs on one port, over feature groups in memory.

Requests are held to botocore's models of the services, to their limits (which botocore does not
check) and to the signature, which is made anew and compared.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

import botocore.session
import polars as pl
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.validate import ParamValidator

from tests.faults.serving import Reply, Request, Server, read_request

if TYPE_CHECKING:
    import asyncio

    from featkit.schema import FeatureView

KEY_ID, SECRET = "AKIACANARY", "canary-secret-4711"
REGION = "eu-west-1"
TYPES: dict[Any, str] = {pl.Int64(): "Integral", pl.Float64(): "Fractional"}
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=(\w+)"
)


class Refused(Exception):  # noqa: N818 - what the service does
    """A request that is not answered: status, type, message."""


@dataclass
class Group:
    """A feature group.

    Attributes
    ----------
    definitions
        Type and whether it is a list, by the name of the feature.
    records
        By identifier, the values as text, or lists of texts, of the features that are not null.
    """

    name: str
    identifier: str
    event_time: str
    definitions: dict[str, tuple[str, str | None]]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    ttl: timedelta | None = None
    description: str = ""
    online: bool = True
    offline: str | None = None
    table_format: str = "Glue"
    table: str = ""  # of the catalog, DATABASE.TABLE
    said: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, view: FeatureView, rows: pl.DataFrame, *, separator: str | None = None) -> Group:
        """Hold the latest rows of a view; a composite key is one text, a view has an event time."""
        times = [column for column in (view.timestamp, view.created) if column]
        last = rows.sort(*times, maintain_order=True) if times else rows
        last = last.unique(view.join_keys, keep="last", maintain_order=True)
        single = len(view.entities) == 1
        identifier = view.join_keys[0] if single else "identifier"
        event_time = view.timestamp or "written_at"
        kind = TYPES.get(view.entities[0].dtype, "String") if single else "String"
        definitions = {identifier: (kind, None), event_time: ("String", None)}
        definitions |= {own.name: _definition(own.dtype) for own in view.features}
        group = cls(view.name, identifier, event_time, definitions, ttl=view.ttl)
        group.description = view.description
        group.said = {own.name: (own.description, dict(own.tags)) for own in view.features}
        for row in last.iter_rows(named=True):
            parts = [row[key] for key in view.join_keys]
            one = text(parts[0]) if single else joined(parts, separator)
            held = {
                identifier: one,
                event_time: text(row.get(event_time, datetime(2024, 1, 1, tzinfo=UTC))),
            }
            held |= {own.name: text(row[own.name]) for own in view.features}
            group.records[one] = {name: own for name, own in held.items() if own is not None}
        return group

    def description_of(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "FeatureGroupArn": f"arn:aws:sagemaker:{REGION}:123456789012:feature-group/{self.name}",
            "FeatureGroupName": self.name,
            "RecordIdentifierFeatureName": self.identifier,
            "EventTimeFeatureName": self.event_time,
            "CreationTime": 1700000000.0,
            "OnlineStoreConfig": {"EnableOnlineStore": self.online},
            "FeatureGroupStatus": "Created",
        }
        if self.ttl:
            seconds = int(self.ttl.total_seconds())
            said["OnlineStoreConfig"]["TtlDuration"] = {"Unit": "Seconds", "Value": seconds}
        if self.description:
            said["Description"] = self.description
        if self.offline:
            place = {"S3Uri": self.offline, "ResolvedOutputS3Uri": f"{self.offline}/data"}
            said["OfflineStoreConfig"] = {
                "S3StorageConfig": place,
                "TableFormat": self.table_format,
            }
            if self.table:
                database, _, table = self.table.partition(".")
                catalog = {"Catalog": "AwsDataCatalog", "Database": database, "TableName": table}
                said["OfflineStoreConfig"]["DataCatalogConfig"] = catalog
        return said

    def defined(self) -> list[dict[str, str]]:
        return [
            {"FeatureName": name, "FeatureType": kind} | ({"CollectionType": many} if many else {})
            for name, (kind, many) in self.definitions.items()
        ]


def _definition(dtype: Any) -> tuple[str, str | None]:
    if isinstance(dtype, pl.List):
        return TYPES.get(pl.Series([], dtype=dtype.inner).dtype, "String"), "List"
    return TYPES.get(dtype, "String"), None


def text(value: Any) -> Any:
    """Write a value as records hold it."""
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case float() if math.isnan(value):
            return "NaN"
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case list():
            return [text(item) for item in value]
        case _:
            return str(value)


def joined(parts: list[Any], separator: str | None) -> str:
    if separator is not None:
        return separator.join(map(str, parts))
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


class SageMakerFake(Server):
    """The service.

    Parameters
    ----------
    groups
        The feature groups.

    Attributes
    ----------
    unprocessed
        Identifiers that a lookup leaves unprocessed so many times.
    failing
        Error codes by identifier.
    batches
        How many records each lookup asked for.
    """

    def __init__(self, *groups: Group, page: int = 100) -> None:
        super().__init__()
        self.groups = {group.name: group for group in groups}
        self.secrets = {KEY_ID: SECRET}
        self.page = page
        self.unprocessed: dict[str, int] = {}
        self.failing: dict[str, str] = {}
        self.denied: set[str] = set()
        self.batches: list[list[str]] = []
        self.called: list[str] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            writer.write(self.answer(request).encode())
            await writer.drain()

    def answer(self, request: Request) -> Reply:
        """Answer, or say what is wrong with the request."""
        try:
            return _json(200, self._answer(request))
        except Refused as refused:
            status, kind, message = refused.args
            reply = _json(status, {"__type": kind, "Message": message})
            return replace(reply, headers={**reply.headers, "x-amzn-errortype": kind})

    def _answer(self, request: Request) -> object:
        self._check_signature(request)
        body = json.loads(request.body or b"{}")
        target = request.headers.get("x-amz-target")
        if target is not None:
            _expect(
                request.headers.get("content-type") == "application/x-amz-json-1.1",
                "SerializationException",
            )
            service, _, operation = target.partition(".")
            _expect(service == "SageMaker", "UnknownOperationException")
            self._check(operation, "sagemaker", body)
            control = {
                "ListFeatureGroups": self._list,
                "DescribeFeatureGroup": self._describe,
                "Search": self._search,
            }
            return control[operation](body)
        service = "sagemaker-featurestore-runtime"
        if request.path == "/BatchGetRecord":
            _expect(request.method == "POST", "UnknownOperationException")
            self._check("BatchGetRecord", service, body)
            return self._batch(body)
        path = request.path.removeprefix("/FeatureGroup/")
        _expect(request.method == "GET" and path != request.path, "UnknownOperationException")
        query = parse_qs(request.target.partition("?")[2])
        asked: dict[str, Any] = {
            "FeatureGroupName": unquote(path),
            **{name: query[name][0] for name in query if name != "FeatureName"},
        }
        if "FeatureName" in query:
            asked["FeatureNames"] = query["FeatureName"]
        self._check("GetRecord", service, asked)
        return self._get(asked)

    def _check_signature(self, request: Request) -> None:
        found = _SIGNED.match(request.headers.get("authorization", ""))
        _expect(found is not None, "MissingAuthenticationToken", 403)
        assert found is not None
        key, region, service, signed, signature = found.groups()
        _expect(key in self.secrets, "UnrecognizedClientException", 403)
        _expect((service, region) == ("sagemaker", REGION), "InvalidSignatureException", 403)
        _expect(not self.denied & {"*"}, "ExpiredTokenException", 403)
        again = AWSRequest(
            method=request.method,
            url=f"http://{request.headers['host']}{request.target}",
            data=request.body,
            headers={name: request.headers[name] for name in signed.split(";")},
        )
        again.context["timestamp"] = request.headers["x-amz-date"]
        signer = SigV4Auth(Credentials(key, self.secrets[key]), service, region)
        wanted = signer.signature(
            signer.string_to_sign(again, signer.canonical_request(again)), again
        )
        _expect(wanted == signature, "SignatureDoesNotMatch", 403)

    def _check(self, operation: str, service: str, body: dict[str, Any]) -> None:
        """Hold a request to the model of the service, and to its limits."""
        self.called.append(operation)
        _expect(operation not in self.denied, "AccessDeniedException", 400)
        shape = _model(service).operation_model(operation).input_shape
        report = ParamValidator().validate(body, shape)
        _expect(not report.has_errors(), "ValidationError", 400, report.generate_report())
        for path, own, held in _walk(shape, body, operation):
            low, high = own.metadata.get("min", 0), own.metadata.get("max", math.inf)
            size = held if isinstance(held, int) else len(held)
            least = size >= low
            _expect(
                least, "ValidationError", 400, f"{path}: Member must have length at least {low}"
            )
            most = f"{path}: Member must have length less than or equal to {high}"
            _expect(size <= high, "ValidationError", 400, most)

    def _list(self, body: dict[str, Any]) -> object:
        names, start = sorted(self.groups), int(body.get("NextToken", "0"))
        size = min(self.page, body.get("MaxResults", 100))
        said: dict[str, Any] = {
            "FeatureGroupSummaries": [
                {"FeatureGroupName": name, "CreationTime": 1700000000.0}
                for name in names[start : start + size]
            ]
        }
        return said | ({"NextToken": str(start + size)} if start + size < len(names) else {})

    def _describe(self, body: dict[str, Any]) -> object:
        group = self._group(body["FeatureGroupName"], 400)
        start = int(body.get("NextToken", "0"))
        defined = group.defined()
        said = group.description_of() | {"FeatureDefinitions": defined[start : start + self.page]}
        more = start + self.page < len(defined)
        return said | ({"NextToken": str(start + self.page)} if more else {})

    def _search(self, body: dict[str, Any]) -> object:
        _expect(body["Resource"] == "FeatureMetadata", "ValidationException")
        filters = body.get("SearchExpression", {}).get("Filters", [])
        for own in filters:
            _expect(own["Name"] == "FeatureGroupName", "ValidationException")
        groups = {own["Value"] for own in filters} or set(self.groups)
        found = [
            {
                "FeatureMetadata": {
                    "FeatureGroupName": name,
                    "FeatureName": feature,
                    "FeatureType": "String",
                    "Description": words,
                    "Parameters": [{"Key": key, "Value": own} for key, own in tags.items()],
                }
            }
            for name in sorted(groups & set(self.groups))
            for feature, (words, tags) in self.groups[name].said.items()
        ]
        start, size = int(body.get("NextToken", "0")), min(self.page, body.get("MaxResults", 100))
        more = start + size < len(found)
        return {"Results": found[start : start + size]} | (
            {"NextToken": str(start + size)} if more else {}
        )

    def _group(self, name: str, status: int) -> Group:
        if name not in self.groups:
            raise Refused(status, "ResourceNotFound", f"Resource Not Found: {name}")
        return self.groups[name]

    def _get(self, asked: dict[str, Any]) -> object:
        group = self._group(asked["FeatureGroupName"], 404)
        record = self._record(group, asked["RecordIdentifierValueAsString"], asked)
        return {} if record is None else record

    def _batch(self, body: dict[str, Any]) -> object:
        asked = body["Identifiers"]
        ids = [one for own in asked for one in own["RecordIdentifiersValueAsString"]]
        self.batches.append(ids)
        _expect(len(ids) <= 100, "ValidationError", 400, "too many records: at most 100 a call")
        _expect(len(asked) <= 10, "ValidationError", 400, "too many feature groups: at most 10")
        records, errors, left = [], [], []
        for own in asked:
            name = own["FeatureGroupName"]
            ids = own["RecordIdentifiersValueAsString"]
            _expect(len(set(ids)) == len(ids), "ValidationError", 400, "duplicate identifiers")
            for one in ids:
                named = {"FeatureGroupName": name, "RecordIdentifierValueAsString": one}
                if name not in self.groups:
                    why = {"ErrorCode": "ResourceNotFound", "ErrorMessage": "Resource Not Found"}
                    errors.append(named | why)
                elif one in self.failing:
                    why = {"ErrorCode": self.failing[one], "ErrorMessage": "it failed"}
                    errors.append(named | why)
                elif self.unprocessed.get(one, 0) > 0:
                    self.unprocessed[one] -= 1
                    left.append(own | {"RecordIdentifiersValueAsString": [one]})
                elif found := self._record(self.groups[name], one, {**body, **own}):
                    records.append(named | found)
        records.reverse()  # an order of its own
        return {"Records": records, "Errors": errors, "UnprocessedIdentifiers": left}

    def _record(self, group: Group, one: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        for name in asked.get("FeatureNames", []):
            _expect(name in group.definitions, "ValidationError", 400, f"no feature {name}")
        held = group.records.get(one)
        if held is None:
            return None
        names = asked.get("FeatureNames", list(group.definitions))
        record = [
            {
                "FeatureName": name,
                "ValueAsStringList" if isinstance(own, list) else "ValueAsString": own,
            }
            for name, own in held.items()
            if name in names
        ]
        said: dict[str, Any] = {"Record": record}
        if group.ttl and asked.get("ExpirationTimeResponse") == "Enabled":
            at = datetime.fromisoformat(held[group.event_time])
            said["ExpiresAt"] = text(at + group.ttl)
        return said


def _walk(shape: Any, value: Any, path: str) -> Any:
    """Give every part of a value with its shape that may have limits."""
    if shape.type_name in {"string", "list", "integer"}:
        yield path, shape, value
    if shape.type_name == "structure":
        for name, own in shape.members.items():
            if name in value:
                yield from _walk(own, value[name], f"{path}.{name}")
    if shape.type_name == "list":
        for own in value:
            yield from _walk(shape.member, own, path)


def _expect(right: bool, kind: str, status: int = 400, message: str = "no") -> None:  # noqa: FBT001 - as assert has it
    if not right:
        raise Refused(status, kind, message)


def _json(status: int, content: object) -> Reply:
    headers = {"content-type": "application/json"}
    return Reply(status=status, headers=headers, body=json.dumps(content).encode())


def numbers(rows: int) -> Group:
    """Hold ten floats for each of so many users."""
    names = [f"f{n}" for n in range(10)]
    definitions = {"user_id": ("Integral", None), "at": ("String", None)}
    definitions |= dict.fromkeys(names, ("Fractional", None))
    group = Group("numbers", "user_id", "at", definitions)
    for key in range(rows):
        values = {name: str(key + n / 8) for n, name in enumerate(names)}
        at = {"user_id": str(key), "at": "2024-05-01T11:00:00Z"}
        group.records[str(key)] = at | values
    return group
