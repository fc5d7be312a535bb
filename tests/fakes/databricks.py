"""A Databricks workspace as it speaks, over feature views in memory.

As strict as the real one is documented to be, and as its own client expects it: one shape of
input, keys of the right type, 16 MB, tokens of three kinds, lists without constraints in pages.
"""

from __future__ import annotations

import base64
import itertools
import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow as pa
import sqlglot
from polars import selectors as cs

from tests.fakes.wire import Answer, Asked, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.schema import FeatureView

CATALOG, SCHEMA = "main", "f"
USER = "me@example.com"
LIMIT = 16 * 2**20
PAGE = 3  # tables; fewer than the tests have
WAREHOUSES = {"wh1": "Shared", "a1b2c3d4e5f60718": "Nightly jobs", "0918f6e5d4c3b2a1": "Finance"}
FEW = 2  # warehouses on a page
SHAPES = {"dataframe_split", "dataframe_records", "inputs", "instances"}
SQL_TYPES = {
    pl.Int8(): ("BYTE", "tinyint"),
    pl.Int16(): ("SHORT", "smallint"),
    pl.Int32(): ("INT", "int"),
    pl.Int64(): ("LONG", "bigint"),
    pl.Float32(): ("FLOAT", "float"),
    pl.Float64(): ("DOUBLE", "double"),
    pl.Boolean(): ("BOOLEAN", "boolean"),
    pl.String(): ("STRING", "string"),
    pl.Binary(): ("BINARY", "binary"),
    pl.Date(): ("DATE", "date"),
    pl.Datetime("us", "UTC"): ("TIMESTAMP", "timestamp"),
    pl.Datetime("us"): ("TIMESTAMP_NTZ", "timestamp_ntz"),
}


def sql_type(dtype: pl.DataType) -> tuple[str, str]:
    """Return a type's name and its text, as Unity Catalog has them."""
    if isinstance(dtype, pl.List):
        return "ARRAY", f"array<{sql_type(pl.Series([], dtype=dtype.inner).dtype)[1]}>"
    if isinstance(dtype, pl.Struct):
        fields = [
            f"{own.name}:{sql_type(pl.Series([], dtype=own.dtype).dtype)[1]}"
            for own in dtype.fields
        ]
        return "STRUCT", f"struct<{','.join(fields)}>"
    return SQL_TYPES[dtype]


def refused(status: int, code: str, message: str, **headers: str) -> Answer:
    return Answer(status, {"error_code": code, "message": message}, headers)


@dataclass
class DatabricksFake:
    """What the workspace knows and saw.

    Attributes
    ----------
    views
        Each view with its rows, as a feature table.
    token
        The personal access token.
    service
        Id and secret of a service principal.
    timestamps
        Whether the feature spec has the time series column as a feature.
    echo
        Whether endpoints repeat the keys.
    route_optimized
        Whether the endpoint has an address of its own.
    lakebase
        Told a new password, it says where the database instance ``os1`` is; None: there is none.
    naive
        Whether event timestamps have no zone; the session of the warehouse is in UTC.
    days
        Whether event timestamps are dates.
    running
        How often a statement is still running when it is looked at.
    expired_links
        How many links to results have expired when they are followed.
    ended
        What is told of a statement that has ended, in place of the truth.
    cut
        How many bytes each result lacks at its end.
    warehouses
        The SQL warehouses that the token may use, by id; ``wh1`` runs statements.
    lists_warehouses, lists_tables
        Whether the token may list them.
    online
        By the full name of an online table, the table that it follows.
    materialized
        The declarative features, and when they were computed.
    requests
        The lookups, as they came.
    tokens
        The tokens of OAuth that are good, the newest last; clear it to let them expire.
    """

    views: list[tuple[FeatureView, pl.DataFrame]]
    token: str = "dapi-canary"
    service: tuple[str, str] = ("svc", "service-canary")
    timestamps: bool = False
    echo: bool = True
    route_optimized: bool = False
    lakebase: Callable[[str], str] | None = None
    naive: bool = False
    days: bool = False
    running: int = 0
    expired_links: int = 0
    ended: dict[str, Any] = field(default_factory=dict)
    cut: int = 0
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    warehouses: dict[str, str] = field(default_factory=lambda: dict(WAREHOUSES))
    lists_warehouses: bool = True
    lists_tables: bool = True
    online: dict[str, str] = field(default_factory=dict)
    materialized: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    _left: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    statements: dict[str, Any] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    links: dict[str, bytes] = field(default_factory=dict)
    storage_url: str = ""
    passwords: list[str] = field(default_factory=list)
    endpoint_tokens: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, asked: Asked) -> Answer:
        """Answer any request."""
        self.asked.append(asked)
        match asked.method, asked.parts:
            case "GET", [".well-known", "databricks-config"]:
                return Answer(body={"oidc_endpoint": f"{self.url}/oidc", "workspace_id": "123"})
            case "GET", ["oidc", ".well-known", "oauth-authorization-server"]:
                return Answer(body={"token_endpoint": f"{self.url}/oidc/v1/token"})
            case "POST", ["oidc", "v1", "token"]:
                return self._give_token(asked)
            case "POST", ["serving-endpoints", name, "invocations"]:
                return self._invoke(asked, name)
        self._check_token(asked, [self.token, *self.tokens])
        return self._read(asked)

    def _read(self, asked: Asked) -> Answer:
        """Answer a request for metadata."""
        match asked.method, asked.parts:
            case "GET", ["api", "2.1", "unity-catalog", "tables"]:
                return self._tables(asked)
            case "GET", ["api", "2.1", "unity-catalog", "catalogs"]:
                return Answer(body={"catalogs": [{"name": CATALOG}, {"name": "samples"}]})
            case "GET", ["api", "2.1", "unity-catalog", "schemas"]:
                return self._schemas(asked)
            case "GET", ["api", "2.1", "unity-catalog", "tables", name]:
                return Answer(body=self._table(name))
            case "GET", [
                "api",
                "2.1",
                "unity-catalog",
                "entity-tag-assignments",
                kind,
                name,
                "tags",
            ]:
                return Answer(body=self._tags_of(kind, name))
            case "GET", ["api", "2.0", "serving-endpoints"]:
                return Answer(body={"endpoints": [self._endpoint("fs_ep")]})
            case "GET", ["api", "2.0", "serving-endpoints", name]:
                return Answer(body=self._endpoint(name))
            case "GET", ["api", "2.0", "feature-engineering", "feature-specs", name]:
                return self._spec(name)
            case _:
                return self._read_more(asked)

    def _read_more(self, asked: Asked) -> Answer:
        """Answer a request for what is made of tables, or for data."""
        match asked.method, asked.parts:
            case "GET", ["api", "2.0", "lineage-tracking", "table-lineage"]:
                return self._lineage(asked)
            case "GET", [
                "api",
                "2.0",
                "feature-store",
                "feature-tables",
                t,
                "features",
                f,
                "lineage",
            ]:
                return self._users(t, f)
            case "GET", ["api", "2.0", "feature-engineering", "materialized-features"]:
                return Answer(body={"materialized_features": self.materialized})
            case "GET", ["api", "2.0", "database", "synced_tables", name] if name in self.online:
                return Answer(body=synced(self._table(self.online[name])))
        if asked.parts[2:4] == ["sql", "statements"]:
            return self._sql(asked)
        if asked.parts[2:4] == ["sql", "warehouses"] and asked.method == "GET":
            return self._warehouses(asked)
        if asked.parts[2:3] == ["database"] and self.lakebase is not None:
            return self._database(asked, self.lakebase)
        if asked.path == "/api/2.0/preview/scim/v2/Me":
            return Answer(body={"id": "1", "userName": USER, "active": True})
        return refused(404, "ENDPOINT_NOT_FOUND", f"No API found for '{asked.method} {asked.path}'")

    # -- credentials

    def _give_token(self, asked: Asked) -> Answer:
        if asked.headers.get("content-type") != "application/x-www-form-urlencoded":
            return Answer(400, {"error": "invalid_request"})
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        kind = form.get("grant_type")
        if kind == "client_credentials":
            pair = base64.b64encode(":".join(self.service).encode()).decode()
            if asked.headers.get("authorization") != f"Basic {pair}":
                said = "Client authentication failed"
                return Answer(401, {"error": "invalid_client", "error_description": said})
            if form.get("scope") != "all-apis":
                return Answer(400, {"error": "invalid_scope"})
            return self._new_token(self.tokens, "oauth")
        if kind == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            if form.get("assertion") not in self.tokens:
                return Answer(400, {"error": "invalid_grant"})
            if json.loads(form["authorization_details"]) != [{"type": "unity_catalog_permission"}]:
                return Answer(400, {"error": "invalid_request"})
            return self._new_token(self.endpoint_tokens, "endpoint")
        return Answer(400, {"error": "unsupported_grant_type"})

    def _new_token(self, given: list[str], kind: str) -> Answer:
        given.append(f"{kind}-canary-{len(self.asked)}")
        body = {"access_token": given[-1], "token_type": "Bearer", "expires_in": 3600}
        return Answer(body=body)

    def _check_token(self, asked: Asked, good: list[str]) -> None:
        kind, _, token = asked.headers.get("authorization", "").partition(" ")
        if kind != "Bearer":
            raise refused(
                401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type"
            )
        if token not in good:
            raise Answer(403, {"error_code": 403, "message": "Invalid access token."})

    # -- Unity Catalog

    def _tables(self, asked: Asked) -> Answer:
        if {"catalog_name", "schema_name"} - set(asked.query):
            return refused(
                400, "INVALID_PARAMETER_VALUE", "catalog_name and schema_name are required"
            )
        if not self.lists_tables:
            return refused(403, "PERMISSION_DENIED", "User does not have USE SCHEMA.")
        if asked.query["catalog_name"] != CATALOG:
            name = asked.query["catalog_name"]
            return refused(404, "CATALOG_DOES_NOT_EXIST", f"Catalog '{name}' does not exist.")
        if asked.query["schema_name"] != SCHEMA:
            return refused(
                404,
                "SCHEMA_DOES_NOT_EXIST",
                f"Schema '{asked.query['schema_name']}' does not exist.",
            )
        names = [*(view.name for view, _ in self.views), "plain_table"]
        start = int(asked.query.get("page_token", "0"))
        listed = [self._table(f"{CATALOG}.{SCHEMA}.{name}") for name in names[start : start + PAGE]]
        for table in listed:
            table.pop("table_constraints", None)  # only a request for one table tells them
        more = {"next_page_token": str(start + PAGE)} if start + PAGE < len(names) else {}
        return Answer(body={"tables": listed, **more})

    def _schemas(self, asked: Asked) -> Answer:
        name = asked.query.get("catalog_name", "")
        if name != CATALOG:
            return refused(404, "CATALOG_DOES_NOT_EXIST", f"Catalog '{name}' does not exist.")
        names = [SCHEMA, "default", "information_schema"]
        listed = [{"name": own, "full_name": f"{CATALOG}.{own}"} for own in names]
        return Answer(body={"schemas": listed})

    def _table(self, full_name: str) -> dict[str, Any]:
        catalog, _, name = full_name.rpartition(".")
        common = {
            "full_name": full_name,
            "name": name,
            "catalog_name": CATALOG,
            "schema_name": SCHEMA,
            "table_type": "MANAGED",
            "data_source_format": "DELTA",
            "updated_at": 1763800000000,
        }
        if name == "plain_table":
            return common | {"columns": [{"name": "x", "type_name": "INT", "type_text": "int"}]}
        view = next((view for view, _ in self.views if view.name == name), None)
        if view is None or catalog != f"{CATALOG}.{SCHEMA}":
            raise refused(404, "TABLE_DOES_NOT_EXIST", f"Table '{full_name}' does not exist.")
        columns = {entity.join_key: (entity.dtype, entity.description) for entity in view.entities}
        if view.timestamp:
            time = pl.Date() if self.days else pl.Datetime("us", None if self.naive else "UTC")
            columns[view.timestamp] = (time, "")
        columns |= {each.name: (each.dtype, each.description) for each in view.features}
        keys = [*view.join_keys, *([view.timestamp] if view.timestamp else [])]
        key: dict[str, Any] = {"name": f"{name}_pk", "child_columns": keys}
        if view.timestamp:
            key["timeseries_columns"] = [view.timestamp]
        return common | {
            "comment": view.description,
            "owner": view.owner,
            "columns": [
                {
                    "name": column,
                    "type_name": sql_type(dtype)[0],
                    "type_text": sql_type(dtype)[1],
                    "position": place,
                    "nullable": column not in keys,
                    **({"comment": comment} if comment else {}),
                }
                for place, (column, (dtype, comment)) in enumerate(columns.items())
            ],
            "table_constraints": [{"primary_key_constraint": key}],
        }

    def _tags_of(self, kind: str, name: str) -> dict[str, Any]:
        if kind not in {"tables", "columns"} or name.count(".") != 2 + (kind == "columns"):
            raise refused(400, "INVALID_PARAMETER_VALUE", f"no {kind} {name}")
        found = self.tags.get(name.removeprefix(f"{CATALOG}.{SCHEMA}."), {})
        named = [{"entity_name": name, "tag_key": k, "tag_value": v} for k, v in found.items()]
        return {"tag_assignments": named} if named else {}

    def _lineage(self, asked: Asked) -> Answer:
        if asked.body or asked.query.get("include_entity_lineage") not in {"true", "false"}:
            return refused(400, "INVALID_PARAMETER_VALUE", "table_name goes into the query")
        table = self._table(asked.query["table_name"])
        source = {"name": f"raw_{table['name']}", "catalog_name": CATALOG, "schema_name": "raw"}
        wrote = [{"workspace_id": 123, "notebook_id": 456, "lineage_timestamp": "2024-05-01"}]
        up = [{"tableInfo": source, "notebookInfos": wrote}, {"jobInfos": [{"job_id": 7}]}]
        hidden = {"tableInfo": {"has_permission": False}}  # of what may not be seen
        return Answer(body={"upstreams": up, "downstreams": [hidden]})

    def _users(self, table: str, feature: str) -> Answer:
        described = self._table(table)
        if feature not in {column["name"] for column in described["columns"]}:
            return refused(404, "FEATURE_DOES_NOT_EXIST", f"Feature '{feature}' does not exist.")
        copies = [name for name, source in self.online.items() if source == table]
        body: dict[str, Any] = {
            "models": [{"name": f"{CATALOG}.{SCHEMA}.churn", "version": 3}],
            "feature_specs": [{"name": f"{CATALOG}.{SCHEMA}.spec"}],
        }
        online = [{"table_name": name, "feature_name": feature} for name in copies]
        return Answer(body=body | ({"online_features": online} if online else {}))

    # -- SQL

    def _sql(self, asked: Asked) -> Answer:
        match asked.method, asked.parts[4:]:
            case "POST", []:
                return self._execute(json.loads(asked.body))
            case "GET", [name] if name in self.statements:
                return Answer(body=self._told(name))
            case "POST", [name, "cancel"] if name in self.statements:
                self.cancelled.append(name)
                return Answer(body={})
            case "GET", [name, "result", "chunks", number] if name in self.statements:
                return Answer(body={"external_links": [self._link(name, int(number))]})
        return refused(404, "NOT_FOUND", f"The statement {asked.parts[-1]} was not found.")

    def _execute(self, body: dict[str, Any]) -> Answer:
        if (refusal := self._refused(body.get("warehouse_id"))) is not None:
            return refusal
        if (body.get("disposition"), body.get("format")) != ("EXTERNAL_LINKS", "ARROW_STREAM"):
            return refused(400, "INVALID_PARAMETER_VALUE", "INLINE supports JSON_ARRAY only")
        if (refusal := unpatient(body)) is not None:
            return refusal
        if not all(isinstance(own["value"], str) for own in body.get("parameters", [])):
            return refused(400, "INVALID_PARAMETER_VALUE", "values of parameters are strings")
        name = f"st{next(self._numbers)}"  # several may run at once
        try:
            table = self._run(body)
        except duckdb.Error as error:
            code, message = "BAD_REQUEST", f"[UNRESOLVED] {error}"
            failed = {"state": "FAILED", "sql_state": "42703"}
            failed["error"] = {"error_code": code, "message": message}
            self.statements[name] = failed
        else:
            self.statements[name] = table.to_batches(max_chunksize=7)
        self._left = self.running
        if body.get("wait_timeout") == "0s":
            return Answer(body={"statement_id": name, "status": {"state": "PENDING"}})
        return Answer(body=self._told(name))

    def _refused(self, warehouse: str | None) -> Answer | None:
        """Say why a warehouse runs no statement."""
        if not warehouse or not warehouse.isalnum():
            return refused(
                400, "INVALID_PARAMETER_VALUE", f"{warehouse} is not a valid endpoint id."
            )
        if warehouse not in WAREHOUSES:
            return refused(404, "NOT_FOUND", f"SQL warehouse {warehouse} not found")
        if warehouse not in self.warehouses:
            said = "You are not authorized to use or monitor this SQL Endpoint"
            return refused(403, "PERMISSION_DENIED", said)
        return None

    def _warehouses(self, asked: Asked) -> Answer:
        if not self.lists_warehouses:
            return refused(403, "PERMISSION_DENIED", "This token has no scope 'sql'.")
        known = [
            {"id": own, "name": name, "state": "RUNNING" if own == "wh1" else "STOPPED"}
            for own, name in self.warehouses.items()
        ]
        if names := asked.parts[4:]:
            if (refusal := self._refused(names[0])) is not None:
                return refusal
            return Answer(body=next(own for own in known if own["id"] == names[0]))
        if asked.query.keys() - {"page_token", "page_size"}:
            return refused(400, "INVALID_PARAMETER_VALUE", f"unknown parameters: {asked.query}")
        start = int(asked.query.get("page_token", "0"))
        listed = known[start : start + FEW]
        more = {"next_page_token": str(start + FEW)} if start + FEW < len(known) else {}
        return Answer(body=({"warehouses": listed} if listed else {}) | more)

    def _run(self, body: dict[str, Any]) -> pa.Table:
        text = body["statement"]
        values = {own["name"]: (own["type"], own["value"]) for own in body.get("parameters", [])}
        tree = filled(text, values)
        ours = {own.alias for own in tree.find_all(sqlglot.exp.CTE)}
        with duckdb.connect() as database:  # without zones, which need an extension of DuckDB's
            for view, rows in self.views:
                naive = rows.with_columns(cs.datetime().dt.replace_time_zone(None))
                if self.days and view.timestamp:
                    naive = naive.with_columns(pl.col(view.timestamp).dt.date())
                database.register(view.name, naive.to_arrow())
            for each in list(tree.find_all(sqlglot.exp.Table)):
                if each.name in ours:
                    continue
                if (each.catalog, each.db) != (CATALOG, SCHEMA):
                    raise duckdb.Error(f"no table {each}")
                each.replace(sqlglot.exp.to_table(each.name))
            table = database.sql(tree.sql("duckdb", identify=True)).to_arrow_table()
            found = pl.DataFrame(pl.from_arrow(table))
            zone = None if self.naive else "UTC"
            return found.with_columns(cs.datetime().dt.replace_time_zone(zone)).to_arrow()

    def _told(self, name: str) -> dict[str, Any]:
        if self._left > 0:
            self._left -= 1
            return {"statement_id": name, "status": {"state": "RUNNING"}}
        if self.ended:
            return {"statement_id": name, **self.ended}
        batches = self.statements[name]
        if name in self.cancelled:
            return {"statement_id": name, "status": {"state": "CANCELED"}}
        if isinstance(batches, dict):
            return {"statement_id": name, "status": batches}
        manifest = {
            "format": "ARROW_STREAM",
            "total_chunk_count": len(batches),
            "total_row_count": sum(batch.num_rows for batch in batches),
        }
        links = [self._link(name, 0)] if batches else []
        return {
            "statement_id": name,
            "status": {"state": "SUCCEEDED"},
            "manifest": manifest,
            "result": {"external_links": links},
        }

    def _link(self, name: str, number: int) -> dict[str, Any]:
        batch = self.statements[name][number]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        place = f"/{name}/{number}/{next(self._numbers)}"
        whole = sink.getvalue().to_pybytes()
        self.links[place] = whole[: len(whole) - self.cut]
        return {"chunk_index": number, "external_link": f"{self.storage_url}{place}?signature=x"}

    def storage(self, asked: Asked) -> Answer:
        """Answer as cloud storage does: a signed link goes without other credentials."""
        if "authorization" in asked.headers:
            return Answer(400, b"<Code>InvalidArgument</Code> Only one auth mechanism allowed")
        if self.expired_links > 0:
            self.expired_links -= 1
            return Answer(403, b"<Code>AccessDenied</Code> Request has expired")
        return Answer(
            body=self.links[asked.path], headers={"content-type": "application/octet-stream"}
        )

    # -- Lakebase

    def _database(self, asked: Asked, renewed: Callable[[str], str]) -> Answer:
        match asked.method, asked.parts[3:]:
            case "GET", ["instances"]:
                return Answer(body={"database_instances": [{"name": "os1", "state": "AVAILABLE"}]})
            case "GET", ["instances", "os1"]:
                place = renewed("")
                body = {"name": "os1", "read_write_dns": place, "state": "AVAILABLE"}
                return Answer(body=body)
            case "GET", ["synced_tables", name]:
                table = self._table(name)
                return Answer(body=synced(table))
            case "POST", ["credentials"]:
                body = json.loads(asked.body)
                if body.get("instance_names") != ["os1"] or not body.get("request_id"):
                    return refused(400, "INVALID_PARAMETER_VALUE", "instance_names, request_id")
                self.passwords.append(f"pg-canary-{uuid4().hex}")  # servers outlive a fake
                renewed(self.passwords[-1])
                expires = "2026-11-22T23:00:00Z"
                return Answer(body={"token": self.passwords[-1], "expiration_time": expires})
        return refused(404, "NOT_FOUND", f"Resource '{asked.parts[-1]}' not found")

    # -- serving

    def _endpoint(self, name: str) -> dict[str, Any]:
        if name != "fs_ep":
            raise refused(
                404, "RESOURCE_DOES_NOT_EXIST", f"Endpoint with name '{name}' does not exist."
            )
        plane = f"{self.url}/serving-endpoints/ro_dp/invocations"
        details = '[{"type":"unity_catalog_permission"}]'
        return {
            "name": name,
            "id": "e1",
            "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
            "route_optimized": self.route_optimized,
            "endpoint_url": plane if self.route_optimized else None,
            "data_plane_info": {
                "query_info": {"authorization_details": details, "endpoint_url": plane}
            },
            "config": {
                "served_entities": [
                    {"name": "fs-spec-1", "entity_name": f"{CATALOG}.{SCHEMA}.spec"}
                ]
            },
        }

    def _spec(self, name: str) -> Answer:
        if name != f"{CATALOG}.{SCHEMA}.spec":
            return refused(404, "RESOURCE_DOES_NOT_EXIST", f"no feature spec {name}")
        lookups = [
            {
                "feature_lookup": {
                    "table": f"{CATALOG}.{SCHEMA}.{view.name}",
                    "lookup_keys": list(view.join_keys),
                    "feature_names": list(view.feature_names),
                }
            }
            for view, _ in self.views
        ]
        return Answer(body={"name": name, "features": lookups})

    def _invoke(self, asked: Asked, name: str) -> Answer:
        optimized = self.route_optimized and name == "ro_dp"
        good = self.endpoint_tokens if optimized else [self.token, *self.tokens]
        self._check_token(asked, good)
        if name != "fs_ep" and not optimized:
            return refused(404, "RESOURCE_DOES_NOT_EXIST", "Endpoint not found")
        if len(asked.body) > LIMIT:
            return Answer(
                413,
                b"<html><h1>413 Request Entity Too Large</h1></html>",
                {"content-type": "text/html"},
            )
        if asked.headers.get("content-type") != "application/json":
            return refused(400, "BAD_REQUEST", "Unrecognized content type parameters")
        body = json.loads(asked.body)
        self.requests.append(body)
        if len(SHAPES & set(body)) != 1:
            return refused(400, "BAD_REQUEST", f"Exactly one of {sorted(SHAPES)} must be given")
        rows = records(body)
        return Answer(
            body={"outputs": self._outputs(rows)}, headers={"served-model-name": "fs-spec-1"}
        )

    def _outputs(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Join by the keys; the view is the one whose keys were sent."""
        given = list(rows[0]) if rows else []
        view, frame = next(
            (pair for pair in self.views if set(pair[0].join_keys) == set(given)), (None, None)
        )
        if view is None or frame is None:
            raise refused(400, "BAD_REQUEST", f"Missing features: {given}")
        last = frame
        if view.timestamp:
            last = frame.sort([c for c in (view.timestamp, view.created) if c], maintain_order=True)
        last = last.unique(view.join_keys, keep="last", maintain_order=True)
        names = [
            *(view.feature_names),
            *([view.timestamp] if view.timestamp and self.timestamps else []),
        ]
        held = {
            tuple(map(written, row[: len(view.join_keys)])): row
            for row in last.select(*view.join_keys, *names).iter_rows()
        }
        outputs = []
        for row in rows:
            key = tuple(row[name] for name in view.join_keys)
            for value, entity in zip(key, view.entities, strict=True):
                wanted = str if entity.dtype == pl.String() else int
                if type(value) is not wanted:
                    raise refused(
                        400, "BAD_REQUEST", f"Could not convert {value!r} to {entity.dtype}"
                    )
            values = held.get(key, (None,) * (len(key) + len(names)))[len(key) :]
            own = dict(zip(view.join_keys, key, strict=True)) if self.echo else {}
            outputs.append(own | dict(zip(names, map(written, values), strict=True)))
        return outputs


def filled(text: str, values: dict[str, tuple[str, str]]) -> sqlglot.Expression:
    """Read a statement, put its parameters in, and call what DuckDB calls otherwise by its name."""
    tree = sqlglot.parse_one(text, read="databricks")
    for place in list(tree.find_all(sqlglot.exp.Placeholder)):
        kind, value = values[place.name]
        moment = sqlglot.exp.Literal.string(value.removesuffix("Z"))
        place.replace(moment if kind == "STRING" else sqlglot.exp.cast(moment, "timestamp"))
    for literal in list(tree.find_all(sqlglot.exp.Literal)):
        if literal.this == "ARRAY<ARRAY<STRING>>":  # as DuckDB calls the same
            literal.replace(sqlglot.exp.Literal.string('[["VARCHAR"]]'))
    for own in list(tree.find_all(sqlglot.exp.Anonymous)):
        if own.name == "TIMESTAMP_MICROS":
            own.set("this", "MAKE_TIMESTAMP")
    return tree


def unpatient(body: dict[str, Any]) -> Answer | None:
    """Refuse what a statement may not be waited for."""
    wait = body.get("wait_timeout", "10s")
    if wait != "0s" and not (
        wait[-1] == "s" and wait[:-1].isdecimal() and 5 <= int(wait[:-1]) <= 50
    ):
        said = "wait_timeout must be 0s, or between 5s and 50s"
        return refused(400, "INVALID_PARAMETER_VALUE", said)
    if wait == "0s" and body.get("on_wait_timeout") == "CANCEL":
        said = "on_wait_timeout cannot be CANCEL where wait_timeout is 0s"
        return refused(400, "INVALID_PARAMETER_VALUE", said)
    return None


def synced(table: dict[str, Any]) -> dict[str, Any]:
    """Describe the online table of a feature table, which has the same name here."""
    key = table["table_constraints"][0]["primary_key_constraint"]
    times = key.get("timeseries_columns", [])
    last = {
        "sync_start_timestamp": "2024-05-01T10:58:00Z",
        "sync_end_timestamp": "2024-05-01T11:02:00Z",
        "delta_table_sync_info": {
            "delta_commit_version": 12,
            "delta_commit_timestamp": "2024-05-01T10:57:00Z",
        },
    }
    state = "SYNCED_TABLE_ONLINE_NO_PENDING_UPDATE"
    return {
        "name": table["full_name"],
        "effective_logical_database_name": CATALOG,
        "spec": {
            "source_table_full_name": table["full_name"],
            "primary_key_columns": [name for name in key["child_columns"] if name not in times],
            **({"timeseries_key": times[0]} if times else {}),
            "scheduling_policy": "TRIGGERED",
        },
        "data_synchronization_status": {"detailed_state": state, "last_sync": last},
    }


def records(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the rows of any shape of input."""
    if "dataframe_split" in body:
        split = body["dataframe_split"]
        if any(len(row) != len(split["columns"]) for row in split["data"]):
            raise refused(400, "BAD_REQUEST", "a row of dataframe_split has another width")
        return [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]
    if "inputs" in body:
        columns = body["inputs"]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return body.get("dataframe_records") or body["instances"]


def written(value: Any) -> Any:
    """Write a value as an endpoint does: times in ISO 8601, without a zone."""
    match value:
        case datetime():
            return value.replace(tzinfo=None).isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case float() if value != value:  # noqa: PLR0124 - NaN
            return "NaN"
        case float() if value in (float("inf"), float("-inf")):
            return "Infinity" if value > 0 else "-Infinity"
        case pl.Series() | list():
            return [written(item) for item in value]
        case _:
            return value


@contextmanager
def workspace(fake: DatabricksFake) -> Iterator[str]:
    """Serve a workspace, and give its URL."""
    with ExitStack() as stack:
        fake.url = stack.enter_context(served(fake.answer))
        fake.storage_url = stack.enter_context(served(fake.storage))
        yield fake.url
