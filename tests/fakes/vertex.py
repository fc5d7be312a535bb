"""Vertex AI Feature Store and BigQuery's metadata as they speak, over feature views in memory.

JSON as protobuf's mapping has it: 64-bit integers as text, absent for default, NaN as a word.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import duckdb
import polars as pl
import sqlglot
from polars import selectors as cs

from tests.fakes.wire import Answer, Asked, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.schema import FeatureView

PROJECT, LOCATION, STORE, DATASET = "p", "us-central1", "fos", "lake"
PLACE = f"projects/{PROJECT}/locations/{LOCATION}"
PAGE_OF_ROWS = 7
PAGE = 2  # views; fewer than the tests have
BIGQUERY = {
    pl.Int64(): "INTEGER",
    pl.Float64(): "FLOAT",
    pl.Boolean(): "BOOLEAN",
    pl.String(): "STRING",
    pl.Binary(): "BYTES",
    pl.Date(): "DATE",
    pl.Datetime("us", "UTC"): "TIMESTAMP",
}
VALUE_TYPES = {
    "INTEGER": "INT64",
    "TIMESTAMP": "INT64",
    "DATE": "INT64",
    "FLOAT": "DOUBLE",
    "BOOLEAN": "BOOL",
    "STRING": "STRING",
    "BYTES": "BYTES",
    "RECORD": "STRUCT",
}


def refused(status: int, name: str, message: str) -> Answer:
    return Answer(status, {"error": {"code": status, "message": message, "status": name}})


def instance(dtype: Any) -> pl.DataType:
    return pl.Series([], dtype=dtype).dtype


def column(name: str, dtype: pl.DataType, description: str = "") -> dict[str, Any]:
    """Describe a column as BigQuery does."""
    repeated = isinstance(dtype, pl.List)
    inner = pl.Series([], dtype=dtype.inner).dtype if isinstance(dtype, pl.List) else dtype
    if isinstance(inner, pl.Struct):
        parts = [column(each.name, instance(each.dtype)) for each in inner.fields]
        return {"name": name, "type": "RECORD", "fields": parts}
    described: dict[str, Any] = {"name": name, "type": BIGQUERY[inner]}
    described |= {"mode": "REPEATED"} if repeated else {}
    return described | ({"description": description} if description else {})


@dataclass
class VertexFake:
    """What the online store and BigQuery know and saw.

    Attributes
    ----------
    views
        Each view with its rows.
    token
        The access token that is good; tokens that the token endpoint gives out are too.
    in_groups
        Whether views read feature groups; else tables of BigQuery.
    other_project
        The number of the project that the groups are in; empty where that is the views' own.
    lost
        Names of groups, of features and of tables that are not there any more.
    dedicated
        The domain of the store's own endpoint; empty where it has none.
    latency
        Seconds that each lookup takes.
    spans
        From when until when each lookup was answered.
    running
        How often a query is still running when it is looked at.
    two_tables
        Whether views in groups read two of them, with a table each: the last feature is in a table
        ``NAME_more``.
    answered
        How many rows the last query gave.
    cancelled
        The queries that were cancelled.
    refusing
        The reasons with which BigQuery refuses the next queries, by 403.
    most_keys
        How many keys a stream may ask for.
    streams
        How many keys each stream asked for.
    lie
        Changes the messages of a stream.
    breaks
        After how many messages the next streams break off, and with which status of gRPC.
    pause
        Seconds before each message of a stream.
    """

    views: list[tuple[FeatureView, pl.DataFrame]]
    token: str = "ya29-canary"
    in_groups: bool = True
    other_project: str = ""
    lost: set[str] = field(default_factory=set)
    dedicated: str = ""
    state: str = "STABLE"
    sync_error: str = ""
    latency: float = 0.0
    spans: list[tuple[float, float]] = field(default_factory=list)
    no_bigquery: bool = False
    running: int = 0
    two_tables: bool = False
    answered: int = 0
    cancelled: list[str] = field(default_factory=list)
    refusing: list[str] = field(default_factory=list)
    most_keys: int = 1000
    streams: list[int] = field(default_factory=list)
    lie: Callable[[Any], Any] = list
    breaks: list[tuple[int, str]] = field(default_factory=list)
    pause: float = 0.0
    _found: dict[str, pl.DataFrame] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    asked: list[Asked] = field(default_factory=list)
    keys: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        """Answer any request."""
        self.asked.append(asked)
        if asked.path == "/token":
            return self._give_token(asked)
        good = [f"Bearer {token}" for token in (self.token, *self.tokens)]
        if asked.headers.get("authorization") not in good:
            said = "Request had invalid authentication credentials."
            return refused(401, "UNAUTHENTICATED", said)
        if asked.parts[:2] == ["bigquery", "v2"]:
            return self._bigquery(asked)
        if asked.method == "POST":
            return self._fetch(asked)
        return self._admin(asked)

    def _give_token(self, asked: Asked) -> Answer:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return Answer(400, {"error": "unsupported_grant_type"})
        claims = json.loads(base64.urlsafe_b64decode(form["assertion"].split(".")[1] + "=="))
        if "cloud-platform" not in claims["scope"]:
            said = {"error": "invalid_scope", "error_description": "no such scope"}
            return Answer(400, said)
        self.tokens.append(f"ya29-canary-{len(self.tokens)}")
        body = {"access_token": self.tokens[-1], "expires_in": 3599, "token_type": "Bearer"}
        return Answer(body=body)

    # -- registry

    def _admin(self, asked: Asked) -> Answer:
        prefix = self._prefix(asked.path)
        if not asked.path.startswith(prefix):
            return refused(404, "NOT_FOUND", f"The resource {asked.path} was not found.")
        views = [view for view, _ in self.views]
        match asked.path.removeprefix(prefix).split("/"):
            case ["featureOnlineStores"]:
                return Answer(body={"featureOnlineStores": [{"name": f"{PLACE}/x/{STORE}"}]})
            case ["featureOnlineStores", name, *_] if name != STORE:
                return refused(404, "NOT_FOUND", f"FeatureOnlineStore {name} is not found.")
            case ["featureOnlineStores", _]:
                endpoint = {"publicEndpointDomainName": self.dedicated} if self.dedicated else {}
                body = {"name": f"{PLACE}/featureOnlineStores/{STORE}", "state": self.state}
                return Answer(body=body | {"dedicatedServingEndpoint": endpoint})
            case ["featureOnlineStores", _, "featureViews"]:
                start = int(asked.query.get("pageToken", "0"))
                listed = [self._view(view) for view in views[start : start + PAGE]]
                more = {"nextPageToken": str(start + PAGE)} if start + PAGE < len(views) else {}
                return Answer(body={"featureViews": listed, **more})
            case ["featureOnlineStores", _, "featureViews", name]:
                return Answer(body=self._view(self.named(name)[0]))
            case ["featureOnlineStores", _, "featureViews", name, "featureViewSyncs"]:
                return Answer(body=self._syncs(name))
            case ["featureGroups", name]:
                return Answer(body=self._group(name))
            case ["featureGroups", name, "features"]:
                return Answer(body=self._features(name))
        return refused(404, "NOT_FOUND", f"The resource {asked.path} was not found.")

    def _prefix(self, path: str) -> str:
        """Tell where what a path names is."""
        elsewhere = self.other_project if "/featureGroups/" in path else ""
        return f"/v1/{PLACE}/".replace(f"/{PROJECT}/", f"/{elsewhere or PROJECT}/", 1)

    def named(self, name: str) -> tuple[FeatureView, pl.DataFrame]:
        for view, rows in self.views:
            if view.name == name:
                return view, rows
        raise refused(404, "NOT_FOUND", f"FeatureView {name} is not found.")

    def _view(self, view: FeatureView) -> dict[str, Any]:
        described: dict[str, Any] = {
            "name": f"{PLACE}/featureOnlineStores/{STORE}/featureViews/{view.name}",
            "createTime": "2024-04-01T00:00:00Z",
            "syncConfig": {"cron": "0 * * * *"},
            **({"labels": dict(view.tags)} if view.tags else {}),
        }
        if self.in_groups:
            names = list(view.feature_names)
            parts = {f"{view.name}_group": names}
            if self.two_tables and len(names) > 1:
                parts = {f"{view.name}_group": names[:-1], f"{view.name}_more": names[-1:]}
            groups = [{"featureGroupId": own, "featureIds": ids} for own, ids in parts.items()]
            number = {"projectNumber": self.other_project} if self.other_project else {}
            return described | {"featureRegistrySource": {"featureGroups": groups, **number}}
        uri = f"bq://{PROJECT}.{DATASET}.{view.name}"
        source = {"uri": uri, "entityIdColumns": list(view.join_keys)}
        return described | {"bigQuerySource": source}

    def _group(self, name: str) -> dict[str, Any]:
        if name in self.lost:
            raise refused(404, "NOT_FOUND", f"FeatureGroup {name} is not found.")
        table = name.removesuffix("_group")
        view, _ = self.named(table.removesuffix("_more"))
        source: dict[str, Any] = {
            "bigQuerySource": {"inputUri": f"bq://{PROJECT}.{DATASET}.{table}"},
            "entityIdColumns": list(view.join_keys),
        }
        if view.timestamp:
            source["timeSeries"] = {"timestampColumn": view.timestamp}
        else:
            source["staticDataSource"] = True
        described = {"description": view.description} if view.description else {}
        return {"name": f"{PLACE}/featureGroups/{name}", "bigQuery": source, **described}

    def _features(self, name: str) -> dict[str, Any]:
        view, _ = self.named(name.removesuffix("_group").removesuffix("_more"))
        listed = []
        for feature in view.features:
            if feature.name in self.lost:
                continue
            field_ = column(feature.name, feature.dtype)
            kind = VALUE_TYPES[field_["type"]] + ("_ARRAY" if "mode" in field_ else "")
            described = {"description": feature.description} if feature.description else {}
            own = {"name": f"{PLACE}/featureGroups/{name}/features/{feature.name}"}
            listed.append(own | {"valueType": kind} | described)
        return {"features": listed}

    def _syncs(self, name: str) -> dict[str, Any]:
        self.named(name)
        end = {"startTime": "2024-05-01T11:00:00Z", "endTime": "2024-05-01T11:02:00Z"}
        status = {"code": 7, "message": self.sync_error} if self.sync_error else {}
        return {"featureViewSyncs": [{"name": "s1", "runTime": end, "finalStatus": status}]}

    def _bigquery(self, asked: Asked) -> Answer:
        if self.refusing and asked.method == "POST":
            reason = self.refusing.pop(0)
            error = {"code": 403, "message": "Slow down", "errors": [{"reason": reason}]}
            return Answer(403, {"error": error})
        if self.no_bigquery:
            said = "Access Denied: Permission bigquery.tables.get denied"
            return refused(403, "PERMISSION_DENIED", said)
        match asked.parts[2:]:
            case ["projects", "p", "queries"] if asked.method == "POST":
                return self._query(json.loads(asked.body))
            case ["projects", "p", "jobs", job, "cancel"] if job in self._found:
                self.cancelled.append(job)
                return Answer(body={"kind": "bigquery#jobCancelResponse"})
            case ["projects", "p", "queries", job] if job in self._found:
                return self._results(job, int(asked.query.get("pageToken", "0")))
            case ["projects", "p", "datasets", "lake", "tables", name]:
                if name in self.lost:
                    return refused(404, "NOT_FOUND", f"Not found: Table {PROJECT}:lake.{name}")
                view, _ = self.named(name.removesuffix("_more"))
                fields = [column(e.join_key, e.dtype, e.description) for e in view.entities]
                if view.timestamp:
                    fields.append(column(view.timestamp, pl.Datetime("us", "UTC")))
                fields += [column(f.name, f.dtype, f.description) for f in view.features]
                body = {"kind": "bigquery#table", "schema": {"fields": fields}}
                return Answer(body=body | {"description": view.description})
        return refused(404, "notFound", f"Not found: {asked.path}")

    def _query(self, body: dict[str, Any]) -> Answer:
        if body.get("useLegacySql", True) or not body["formatOptions"]["useInt64Timestamp"]:
            return refused(400, "INVALID_ARGUMENT", "the fake knows one dialect and one format")
        values = {
            own["name"]: (own["parameterType"]["type"], own["parameterValue"]["value"])
            for own in body.get("queryParameters", [])
        }
        job = f"job{next(self._numbers)}"
        try:
            self._found[job] = self._run(body["query"], values)
        except duckdb.Error as error:
            return refused(400, "INVALID_ARGUMENT", str(error))
        self.answered = self._found[job].height
        return self._results(job, 0)

    def _run(self, text: str, values: dict[str, tuple[str, str]]) -> pl.DataFrame:
        tree = sqlglot.parse_one(text, read="bigquery")
        for place in list(tree.find_all(sqlglot.exp.Parameter)):
            kind, value = values[place.name]
            moment = sqlglot.exp.Literal.string(value.removesuffix("Z"))
            place.replace(moment if kind == "STRING" else sqlglot.exp.cast(moment, "timestamp"))
        for each in list(tree.find_all(sqlglot.exp.JSONFormat)):
            each.replace(each.this)  # `cell` writes JSON as BigQuery does, and DuckDB does not
        ours = {own.alias for own in tree.find_all(sqlglot.exp.CTE)}
        with duckdb.connect() as database:  # without zones, which need an extension of DuckDB's
            for view, rows in self.views:
                naive = rows.with_columns(cs.datetime().dt.replace_time_zone(None))
                database.register(view.name, naive.to_arrow())
                database.register(f"{view.name}_more", naive.to_arrow())
            for each in list(tree.find_all(sqlglot.exp.Table)):
                if each.name in ours or not isinstance(each.this, sqlglot.exp.Identifier):
                    continue
                if (each.catalog, each.db) != (PROJECT, DATASET):
                    raise duckdb.Error(f"Not found: Table {each}")
                each.replace(sqlglot.exp.to_table(each.name))
            table = database.sql(tree.sql("duckdb", identify=True)).to_arrow_table()
            return pl.DataFrame(pl.from_arrow(table))

    def _results(self, job: str, start: int) -> Answer:
        found = self._found[job]
        told = {"projectId": PROJECT, "jobId": job, "location": "US"}
        if self.running:
            self.running -= 1
            return Answer(body={"jobReference": told, "jobComplete": False})
        rows = [
            {"f": [{"v": cell(value)} for value in row]}
            for row in found.slice(start, PAGE_OF_ROWS).iter_rows()
        ]
        more = start + PAGE_OF_ROWS
        body = {"jobReference": told, "jobComplete": True, "totalRows": str(found.height)}
        body |= {"pageToken": str(more)} if more < found.height else {}
        return Answer(body=body | ({"rows": rows} if rows else {}))

    # -- values

    def _fetch(self, asked: Asked) -> Answer:
        prefix = f"/v1/{PLACE}/featureOnlineStores/{STORE}/featureViews/"
        name, _, verb = asked.path.removeprefix(prefix).partition(":")
        if not asked.path.startswith(prefix) or verb != "fetchFeatureValues":
            return refused(404, "NOT_FOUND", f"The resource {asked.path} was not found.")
        if not asked.headers.get("content-type", "").startswith("application/json"):
            return refused(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")
        body = json.loads(asked.body)
        if unknown := set(body) - {"dataKey", "dataFormat"}:
            said = f'Invalid JSON payload received. Unknown name "{min(unknown)}"'
            return refused(400, "INVALID_ARGUMENT", said)
        if body.get("dataFormat", "KEY_VALUE") not in {"KEY_VALUE", 1}:
            return refused(400, "INVALID_ARGUMENT", "the fake answers with KEY_VALUE only")
        view, rows = self.named(name)
        self.keys.append(body["dataKey"])
        begun = time.monotonic()
        time.sleep(self.latency)
        self.spans.append((begun, time.monotonic()))
        return self.values_of(view, rows, self._parts(body["dataKey"]))

    @staticmethod
    def _parts(key: dict[str, Any]) -> list[str]:
        parts = key["compositeKey"]["parts"] if "compositeKey" in key else [key["key"]]
        if len(key) != 1 or not all(isinstance(part, str) for part in parts):
            raise refused(400, "INVALID_ARGUMENT", "Invalid value at 'data_key'")
        return parts

    def values_of(self, view: FeatureView, rows: pl.DataFrame, parts: list[str]) -> Answer:
        """Answer for an entity, whose ids are texts or whole numbers, as Google has it."""
        kinds = [rows.schema[key] for key in view.join_keys]
        assert all(kind_.is_integer() or kind_ == pl.String for kind_ in kinds)
        found = None
        if len(parts) == len(view.join_keys):
            for row in latest(view, rows).iter_rows(named=True):
                if [str(row[key]) for key in view.join_keys] == parts:
                    found = row
        if found is None:
            return refused(404, "NOT_FOUND", "Requested entity was not found.")
        made = found[view.timestamp] if view.timestamp else datetime(2024, 5, 1)  # noqa: DTZ001
        stamp = {"generateTime": made.replace(tzinfo=None).isoformat() + "Z"}
        features = [
            {"name": name, "value": value_of(found[name], rows.schema[name]) | {"metadata": stamp}}
            for name in reversed(view.feature_names)  # an order of its own
        ]
        return Answer(body={"keyValues": {"features": features}})


def latest(view: FeatureView, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the row of each entity that a synchronisation brings."""
    times = [name for name in (view.timestamp, view.created) if name]
    last = rows.sort(*times, maintain_order=True) if times else rows
    return last.unique(view.join_keys, keep="last", maintain_order=True)


def cell(value: Any) -> str | None:
    """Write a cell as BigQuery does: as text."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case datetime():
            return str(pl.Series([value]).dt.epoch("us").item())
        case float():
            words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
            return words.get(str(value), str(value))
        case bytes():
            return base64.b64encode(value).decode()
        case list() | dict():
            return json.dumps(json_of(value), ensure_ascii=False)
        case _:
            return str(value)


def json_of(value: Any) -> Any:
    """Say a value as TO_JSON_STRING does: what JSON cannot hold exactly is text."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= 2**53 else str(value)
        case float():
            return value if math.isfinite(value) else cell(value)
        case datetime():
            return f"{value.replace(tzinfo=None).isoformat()}Z"
        case date():
            return value.isoformat()
        case list():
            return [json_of(item) for item in value]
        case dict():
            return {name: json_of(item) for name, item in value.items()}
        case _:
            return cell(value)


def value_of(value: Any, dtype: pl.DataType) -> dict[str, Any]:
    """Write a value as protobuf's JSON mapping does; a null is no field at all."""
    match value:
        case None:
            return {}
        case list() | pl.Series():
            inner = pl.Series([], dtype=dtype.inner).dtype if isinstance(dtype, pl.List) else dtype
            (name,) = value_of(value[0], inner) if len(value) else [f"{kind(inner)}Value"]
            items = [next(iter(value_of(item, inner).values())) for item in value]
            return {f"{name.removesuffix('Value')}ArrayValue": {"values": items} if items else {}}
        case dict():
            assert isinstance(dtype, pl.Struct)
            dtypes = {each.name: instance(each.dtype) for each in dtype.fields}
            held = [{"name": n, "value": value_of(v, dtypes[n])} for n, v in value.items()]
            return {"structValue": {"values": held[::-1]}}
        case bool():
            return {"boolValue": value}
        case int():
            return {"int64Value": str(value)}
        case float():
            words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
            return {"doubleValue": words.get(str(value), value)}
        case datetime():
            micros = pl.Series([value]).dt.epoch("us").item()
            return {"int64Value": str(micros)}
        case date():
            return {"int64Value": str(pl.Series([value]).to_physical().item())}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case _:
            return {"stringValue": value}


def kind(dtype: pl.DataType) -> str:
    return {"INT64": "int64", "DOUBLE": "double", "BOOL": "bool", "STRING": "string"}[
        VALUE_TYPES[BIGQUERY[dtype]]
    ]


@contextmanager
def google(fake: VertexFake) -> Iterator[str]:
    """Serve Vertex AI, BigQuery and the token endpoint, and give their one URL."""
    with served(fake.answer) as url:
        yield url
