"""Lakebase: feature tables as PostgreSQL holds them, looked up directly.

The one way that tells the event timestamp of each row. One query answers for any number of keys:
PostgreSQL finds the latest row of each, in the order asked, and sends each column as one JSON
array.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

import msgspec
import polars as pl

from featkit.calls import Call
from featkit.codecs.json_kinds import BOOLEANS
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.errors import (
    NotSupportedError,
    ProtocolError,
    RowMismatch,
    StoreUnavailable,
    UnknownNameError,
)
from featkit.flows import meant
from featkit.populations import EntityList, Sync
from featkit.queries import Login, PostgresQuery
from featkit.settings import Secret
from featkit.stores.databricks.types import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from featkit.calls import Flow
    from featkit.populations import PopulationRead
    from featkit.schema import Entity, Feature
    from featkit.stores.base import OnlineRead
    from featkit.stores.databricks.workspace import Workspace

_DATABASE = "/api/2.0/database"

_SQL_TYPES = {
    "tinyint": "smallint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "boolean": "boolean",
    "string": "text",
    "date": "date",
    "timestamp": "timestamptz",
    "timestamp_ntz": "timestamp",
}
_NUL = "\0"  # which PostgreSQL cannot hold, so that no row has it


class Instance(msgspec.Struct, frozen=True):
    """A database instance of the workspace."""

    name: str
    read_write_dns: str = ""
    read_only_dns: str | None = None
    state: str = ""


class Instances(msgspec.Struct, frozen=True):
    """All database instances."""

    database_instances: list[Instance] = []


class Credential(msgspec.Struct, frozen=True):
    """A password for an instance, good for an hour."""

    token: str

    def __repr__(self) -> str:
        return "<Credential>"


class Me(msgspec.Struct, frozen=True, rename="camel"):
    """Who the workspace takes the caller for."""

    user_name: str


class _Commit(msgspec.Struct, frozen=True):
    delta_commit_timestamp: datetime | None = None


class _LastSync(msgspec.Struct, frozen=True):
    sync_end_timestamp: datetime | None = None
    delta_table_sync_info: _Commit = _Commit()


class _SyncStatus(msgspec.Struct, frozen=True):
    detailed_state: str = ""
    message: str = ""
    last_sync: _LastSync | None = None


class SyncedTable(msgspec.Struct, frozen=True):
    """A table of PostgreSQL that follows a feature table."""

    name: str
    effective_logical_database_name: str | None = None
    logical_database_name: str | None = None
    data_synchronization_status: _SyncStatus = _SyncStatus()

    @property
    def sync(self) -> Sync:
        """When it was last brought up to date, and how far that goes."""
        status = self.data_synchronization_status
        last = status.last_sync or _LastSync()
        failed = "FAILED" in status.detailed_state
        return Sync(
            until=last.delta_table_sync_info.delta_commit_timestamp,
            finished=last.sync_end_timestamp,
            failed=(status.message or status.detailed_state) if failed else "",
        )

    @property
    def database(self) -> str:
        """The database that holds it; by default it has the catalog's name."""
        catalog = self.name.partition(".")[0]
        return self.effective_logical_database_name or self.logical_database_name or catalog

    @property
    def table(self) -> tuple[str, str]:
        """Its schema and its name there."""
        _, schema, name = self.name.split(".")
        return schema, name


class Lakebase:
    """A database instance with online tables.

    Parameters
    ----------
    workspace
        Whose it is.
    name
        The instance.
    ca
        File of certificates to trust.
    """

    def __init__(self, workspace: Workspace, name: str, ca: str | None) -> None:
        self._workspace = workspace
        self._name = name
        self._ca = ca
        self._server: str | None = None
        self._tables: dict[str, SyncedTable] = {}

    def locate(self, tables: Iterable[str]) -> Flow[None]:
        """Find the instance and where it holds these tables, by their full names.

        Raises
        ------
        UnknownNameError
            There is no such instance, or no such table in it.
        """
        if self._server is None:
            instance = yield from self._instance()
            self._server = instance.read_only_dns or instance.read_write_dns
        for name in tables:
            if name not in self._tables:
                path = f"{_DATABASE}/synced_tables/{quote(name, safe='')}"
                self._tables[name] = yield self._workspace.registered(path, SyncedTable)

    def _instance(self) -> Flow[Instance]:
        path = f"{_DATABASE}/instances"
        try:
            found: Instance = yield self._workspace.registered(
                f"{path}/{quote(self._name)}", Instance
            )
        except UnknownNameError as error:
            _, near = yield from meant([self._name], self._names())
            msg = f"there is no database instance {self._name!r}; {near} ({error})"
            raise UnknownNameError(msg) from error
        return found

    def _names(self) -> Flow[list[str]]:
        listed: Instances = yield self._workspace.get(f"{_DATABASE}/instances", Instances)
        return [each.name for each in listed.database_instances]

    def state(self) -> Flow[str]:
        """Tell whether the instance can be asked."""
        instance = yield from self._instance()
        if instance.state != "AVAILABLE":
            msg = f"the database instance {self._name!r} is {instance.state or 'in no known state'}"
            raise StoreUnavailable(msg)
        return f"{self._name} AVAILABLE"

    def read(self, read: OnlineRead, table: str, zone: str | None) -> Call[FeatureColumns]:
        """Ask for the latest rows of a table that was located."""
        synced = self._tables[table]
        question = LakebaseQuestion(read, synced, zone)
        query = PostgresQuery(
            server=self._server or "",
            database=synced.database,
            text=question.text(),
            parameters=(question.keys(),),
            login=self._login,
            ca=self._ca,
        )
        return Call(query, decode=question.answer, keys=read.keys.height)

    def name_entities(self, read: PopulationRead, table: str, zone: str | None) -> Call[EntityList]:
        """Ask who has a row in a table that was located."""
        synced = self._tables[table]
        question = KeysQuestion(read, synced, zone)
        query = PostgresQuery(
            server=self._server or "",
            database=synced.database,
            text=question.text(),
            parameters=question.parameters(),
            login=self._login,
            ca=self._ca,
        )
        return Call(query, decode=question.answer)

    def _login(self) -> Flow[Login]:
        """Log in as who the workspace takes us for, with a password for an hour."""
        me: Me = yield self._workspace.get("/api/2.0/preview/scim/v2/Me", Me)
        wanted = {"instance_names": [self._name], "request_id": str(uuid4())}
        made: Credential = yield self._workspace.post(
            f"{_DATABASE}/credentials", wanted, Credential
        )
        return Login(me.user_name, Secret(made.token))


@dataclass(frozen=True, slots=True)
class LakebaseQuestion:
    """What is asked of PostgreSQL, and how its answer is read.

    Attributes
    ----------
    read
        What is asked.
    table
        Where the rows are.
    zone
        What naive timestamps mean; None: they are refused.
    """

    read: OnlineRead
    table: SyncedTable
    zone: str | None

    def text(self) -> str:
        """Write the query: the keys are its one parameter, a JSON array of objects."""
        view = self.read.view
        columns = ", ".join(f"{_quoted(e.join_key)} {_sql_type(e)}" for e in view.entities)
        keys = [_quoted(key) for key in view.join_keys]
        matches = " AND ".join(f"held.{key} = asked.{key}" for key in keys)
        latest = (
            f" ORDER BY held.{_quoted(view.timestamp)} DESC NULLS LAST" if view.timestamp else ""
        )
        wanted = [f"found.{keys[0]} IS NOT NULL"]
        wanted += [_value(feature) for feature in self.read.features]
        wanted += [f"found.{_quoted(view.timestamp)}"] if view.timestamp else []
        answers = ", ".join(f"coalesce(json_agg({each} ORDER BY n), '[]')::text" for each in wanted)
        place = ".".join(map(_quoted, self.table.table))
        asked = f"ROWS FROM (json_to_recordset(%s) AS ({columns})) WITH ORDINALITY"
        held = f"SELECT * FROM {place} AS held WHERE {matches}{latest} LIMIT 1"  # noqa: S608 - names, quoted
        return (
            f"SELECT {answers} FROM {asked} AS asked({', '.join(keys)}, n) "  # noqa: S608 - as well
            f"LEFT JOIN LATERAL ({held}) AS found ON true"
        )

    def keys(self) -> str:
        """Write the keys as the query takes them."""
        keys = self.read.keys.with_columns(
            pl.when(~pl.col(pl.String).str.contains(_NUL, literal=True)).then(pl.col(pl.String))
        )
        return keys.write_json()

    def answer(self, row: tuple[str, ...] | None) -> FeatureColumns:
        """Read the columns, in the order of the keys."""
        view, features = self.read.view, self.read.features
        width = 1 + len(features) + bool(view.timestamp)
        if row is None or len(row) != width or None in row:
            msg = f"PostgreSQL answered with {row and len(row)} columns instead of {width}"
            raise ProtocolError(msg)
        texts = [text.encode() for text in row]
        here = self._long_enough(BOOLEANS.decode(texts[0], "found"))
        status = pl.when(here).then(pl.lit(Status.PRESENT)).otherwise(pl.lit(Status.NOT_FOUND))
        statuses = here.to_frame().select(status.cast(STATUS)).to_series()
        names = [feature.name for feature in features]
        values = pl.DataFrame(
            [
                self._long_enough(kind_of(feature.store_type, self.zone).decode(text, feature.name))
                for feature, text in zip(features, texts[1:], strict=False)
            ]
        )
        times = {}
        if view.timestamp:
            stamps = kind_of("timestamp", self.zone).decode(texts[-1], view.timestamp)
            times = dict.fromkeys(names, self._long_enough(stamps))
        return FeatureColumns(values, dict.fromkeys(names, statuses), times)

    def _long_enough(self, series: pl.Series) -> pl.Series:
        if len(series) != self.read.keys.height:
            msg = f"expected {self.read.keys.height} rows, got {len(series)}; nothing was joined"
            raise RowMismatch(msg)
        return series


@dataclass(frozen=True, slots=True)
class KeysQuestion:
    """The question who has a row in a table.

    Attributes
    ----------
    read
        What is asked.
    table
        Where the rows are.
    zone
        What naive timestamps mean; None: they are refused.
    """

    read: PopulationRead
    table: SyncedTable
    zone: str | None

    def text(self) -> str:
        """Write the query: each key as one JSON array, and how many entities there are."""
        view, place = self.read.view, ".".join(map(_quoted, self.table.table))
        keys = [_quoted(key) for key in view.join_keys]
        there = [f"{key} IS NOT NULL" for key in keys]
        there += [f"{_quoted(view.timestamp)} <= %s::timestamptz"] if view.timestamp else []
        listed = ", ".join(keys)
        digest = f"md5(concat_ws('|', {listed}))"
        some = "" if self.read.sample is None else f" LIMIT {self.read.sample}"
        distinct = f"SELECT DISTINCT {listed} FROM {place} WHERE {' AND '.join(there)}"  # noqa: S608 - names, quoted
        drawn = (
            f"SELECT {listed}, count(*) OVER () AS featkit_total, "  # noqa: S608 - as well
            f"row_number() OVER (ORDER BY {digest}) AS featkit_n "
            f"FROM ({distinct}) AS entities ORDER BY featkit_n{some}"
        )
        columns = ", ".join(
            f"coalesce(json_agg({key} ORDER BY featkit_n), '[]')::text" for key in keys
        )
        return f"SELECT {columns}, coalesce(max(featkit_total), 0)::text FROM ({drawn}) AS drawn"  # noqa: S608 - as well

    def parameters(self) -> tuple[str, ...]:
        """Write the moment that counts as now, where the table has times."""
        return (self.read.now.isoformat(),) if self.read.view.timestamp else ()

    def answer(self, row: tuple[str, ...] | None) -> EntityList:
        """Read the keys."""
        entities = self.read.view.entities
        if row is None or len(row) != 1 + len(entities) or None in row:
            msg = f"PostgreSQL answered with {row and len(row)} columns of keys"
            raise ProtocolError(msg)
        keys = pl.DataFrame(
            [
                kind_of(own.store_type, self.zone).decode(text.encode(), own.join_key)
                for own, text in zip(entities, row, strict=False)
            ]
        )
        return EntityList(keys, int(row[-1]))


def _quoted(name: str | None) -> str:
    """Quote an identifier; a percent sign would be taken for a parameter."""
    return '"' + (name or "").replace('"', '""').replace("%", "%%") + '"'


def _sql_type(entity: Entity) -> str:
    name = entity.store_type.strip().lower()
    if name not in _SQL_TYPES:
        msg = f"the join key {entity.join_key!r} is {name}, which Lakebase cannot be asked for"
        raise NotSupportedError(msg)
    return _SQL_TYPES[name]


def _value(feature: Feature) -> str:
    column = f"found.{_quoted(feature.name)}"
    if feature.store_type.strip().lower() == "binary":
        return f"translate(encode({column}, 'base64'), E'\\n', '')"
    return column
