"""Statements of SQL on a warehouse: answers come as Arrow, from links that need no credentials."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pyarrow as pa

from featkit.asof import joined, period
from featkit.calls import Call, HttpRequest, LocalRead
from featkit.dtypes import TIMESTAMP
from featkit.engines.sql import SPINE, Dialect, join_query, spine_text
from featkit.errors import (
    AuthError,
    ProtocolError,
    RequestRejected,
    StoreUnavailable,
    UnknownNameError,
)
from featkit.history import EVENT, ROW
from featkit.stores.databricks import warehouses
from featkit.stores.databricks.refusals import named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from featkit.calls import Flow, HttpReply
    from featkit.history import JoinRead
    from featkit.schema import FeatureView
    from featkit.stores.databricks.workspace import Workspace

_STATEMENTS = "/api/2.0/sql/statements"
_ANY_ZONE = timedelta(days=1)  # more than a zone is off
_PAUSE = 0.5  # seconds between two looks at a statement that runs
_SPINE = 8_000_000  # characters of a spine that goes with a statement
_EXPIRED = frozenset({403, 404, 410})  # what storage says of a link whose time is over


class _Error(msgspec.Struct, frozen=True):
    error_code: str = ""
    message: str = ""


class _Status(msgspec.Struct, frozen=True):
    state: str
    error: _Error | None = None
    sql_state: str = ""


class _Link(msgspec.Struct, frozen=True):
    external_link: str
    http_headers: dict[str, str] | None = None


class _Result(msgspec.Struct, frozen=True):
    external_links: list[_Link] = []


class _Manifest(msgspec.Struct, frozen=True):
    total_chunk_count: int = 0
    total_row_count: int = 0
    truncated: bool = False


class Statement(msgspec.Struct, frozen=True):
    """A statement, and what is known of it."""

    statement_id: str
    status: _Status
    manifest: _Manifest | None = None
    result: _Result | None = None


class Warehouse:
    """A SQL warehouse.

    Parameters
    ----------
    workspace
        Whose it is.
    warehouse_id
        Its id.
    """

    def __init__(self, workspace: Workspace, warehouse_id: str) -> None:
        self._workspace = workspace
        self._id = warehouse_id

    def join(
        self, read: JoinRead, zone: str | None, *, there: bool = True, naive: bool = False
    ) -> Flow[pl.DataFrame]:
        """Join the history of a table to a spine.

        Parameters
        ----------
        read
            What is asked.
        zone
            What naive timestamps mean.
        there
            Whether the warehouse may join, if the spine is small enough to go with the statement;
            else the rows that can count are read, and joined here.
        naive
            Whether the table's times have no zone, so that its warehouse may not compare them.
        """
        if there and not naive and DIALECT.takes(read):
            spine = spine_text(read)
            if len(spine) <= _SPINE:
                return (yield from self._joined_there(read, zone, spine))
        text, parameters = history_query(read, around=_ANY_ZONE if naive else timedelta())
        rows = yield from self.rows(text, parameters)
        run = partial(_joined_here, read, rows, zone)
        what = f"history of {read.view.name}"
        found: pl.DataFrame = yield Call(LocalRead(run, what, threaded=True))
        return found

    def _joined_there(self, read: JoinRead, zone: str | None, spine: str) -> Flow[pl.DataFrame]:
        where, times = _period(read)
        names = [*read.view.join_keys, *(own.name for own in read.features)]
        names += [read.view.timestamp] if read.view.timestamp else []
        columns = {name: _quoted(name) for name in names}
        table = table_of(read.view)
        text = join_query(read, DIALECT, table=table, columns=columns, where=where)
        rows = yield from self.rows(text, {SPINE: ("STRING", spine), **times})
        dtypes: dict[str, pl.DataType | None] = {ROW: pl.Int64()}
        dtypes |= {own.name: own.dtype for own in read.features}
        dtypes |= {EVENT: TIMESTAMP} if read.view.timestamp else {}
        return shaped(rows, dtypes, zone)

    def rows(self, text: str, parameters: Mapping[str, tuple[str, str]]) -> Flow[pl.DataFrame]:
        """Run a query; its parameters are types and texts."""
        body = {
            "warehouse_id": self._id,
            "statement": text,
            "parameters": [
                {"name": name, "type": kind, "value": value}
                for name, (kind, value) in parameters.items()
            ],
            "disposition": "EXTERNAL_LINKS",
            "format": "ARROW_STREAM",
            "wait_timeout": "30s",
            "on_wait_timeout": "CONTINUE",
        }
        try:
            said: Statement = yield self._workspace.post(_STATEMENTS, body, Statement)
        except (AuthError, RequestRejected, UnknownNameError) as error:
            yield from warehouses.check(self._workspace, self._id, error)
            raise
        path = f"{_STATEMENTS}/{said.statement_id}"
        while said.status.state in {"PENDING", "RUNNING"}:
            yield Call(LocalRead(partial(time.sleep, _PAUSE), "a statement that runs"))
            said = yield self._workspace.get(path, Statement)
        if said.status.state != "SUCCEEDED":
            raise _failed(said.status)
        manifest = said.manifest or _Manifest()
        parts = []
        for chunk in range(manifest.total_chunk_count):
            known = said.result if chunk == 0 else None
            parts.append((yield from self._chunk(path, chunk, known)))
        frame = pl.concat(parts) if parts else pl.DataFrame()
        if manifest.truncated or frame.height != manifest.total_row_count:
            msg = f"expected {manifest.total_row_count} rows of a statement, got {frame.height}"
            raise ProtocolError(msg)
        return frame

    def _chunk(self, path: str, number: int, known: _Result | None) -> Flow[pl.DataFrame]:
        """Read one chunk; where its link has expired, by another one."""
        place = f"{path}/result/chunks/{number}"
        for result in (known, None):
            found = result or (yield self._workspace.get(place, _Result))
            link = next(iter(found.external_links), None)
            if link is None:
                msg = f"the workspace sent no link to chunk {number} of a result"
                raise ProtocolError(msg)
            request = HttpRequest(
                url=link.external_link, headers=link.http_headers or {}, answers=_EXPIRED
            )
            frame: pl.DataFrame | None = yield Call(request, decode=_arrow)
            if frame is not None:
                return frame
        msg = "the links to the result of a statement expired before they could be read"
        raise StoreUnavailable(msg)


def history_query(
    read: JoinRead, *, around: timedelta = timedelta()
) -> tuple[str, dict[str, tuple[str, str]]]:
    """Write the query for the rows of a view that can count, and its parameters.

    Parameters
    ----------
    read
        What is asked.
    around
        How much more is read before and after, since what the warehouse compares may be off.
    """
    view = read.view
    columns = [*view.join_keys, *([view.timestamp] if view.timestamp else [])]
    columns += [feature.name for feature in read.features]
    listed = ", ".join(map(_quoted, columns))
    text = f"SELECT {listed} FROM {table_of(view)}"  # noqa: S608 - names, quoted
    where, times = _period(read, around)
    return (f"{text} WHERE {where}" if where else text), times


def _period(
    read: JoinRead, around: timedelta = timedelta()
) -> tuple[str, dict[str, tuple[str, str]]]:
    """Write what rows must be to count, and its parameters."""
    if read.view.timestamp is None:
        return "", {}
    until, since = period(read, around)
    where, times = f"{_quoted(read.view.timestamp)} <= :until", {"until": ("TIMESTAMP", until)}
    if since is None:
        return where, times
    times["since"] = ("TIMESTAMP", since)
    return f"{where} AND {_quoted(read.view.timestamp)} >= :since", times


def table_of(view: FeatureView) -> str:
    """Write the table of a view, as it stands behind FROM."""
    return ".".join(map(_quoted, view.source.split(".")))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


DIALECT = Dialect(
    quoted=_quoted,
    parameter=lambda name: f":{name}",
    lines="(SELECT EXPLODE(FROM_JSON({spine}, 'ARRAY<ARRAY<STRING>>')) AS line) AS lines",
    part="line[{place}]",
    whole="BIGINT",
    types={
        pl.String: "{text}",
        pl.Boolean: "CAST({text} AS BOOLEAN)",
        pl.Float64: "CAST({text} AS DOUBLE)",
        pl.Date: "CAST({text} AS DATE)",
        pl.Datetime: "TIMESTAMP_MICROS(CAST({text} AS BIGINT))",
    },
    micros="UNIX_MICROS({time})",
    minute="DATE_TRUNC('MINUTE', {time})",
)


def _arrow(reply: HttpReply) -> pl.DataFrame | None:
    """Read a chunk; None where the link has expired."""
    if reply.status in _EXPIRED:
        return None
    try:
        table: Any = pa.ipc.open_stream(pa.py_buffer(reply.body)).read_all()
    except pa.ArrowException as error:
        msg = f"the result of a statement is no Arrow stream: {error}"
        raise ProtocolError(msg) from error
    return pl.DataFrame(pl.from_arrow(table))


def _failed(status: _Status) -> Exception:
    """Make the error of a statement that failed, though HTTP says that all is well."""
    error = status.error or _Error("", "it does not say why")
    state = f" (SQL state {status.sql_state})" if status.sql_state else ""
    said = f"the statement is {status.state}: {error.error_code}: {error.message}{state}"
    if status.state in {"CANCELED", "CLOSED"}:
        return RequestRejected(said)
    return named(error.error_code, said)


def _joined_here(read: JoinRead, rows: pl.DataFrame, zone: str | None) -> pl.DataFrame:
    """Bring rows to the dtypes of the view, and join them."""
    view = read.view
    dtypes: dict[str, pl.DataType | None]
    dtypes = {entity.join_key: entity.dtype for entity in view.entities}
    dtypes |= {feature.name: feature.dtype for feature in read.features}
    dtypes |= {view.timestamp: TIMESTAMP} if view.timestamp else {}
    return joined(read, shaped(rows, dtypes, zone))


def shaped(
    rows: pl.DataFrame, dtypes: Mapping[str, pl.DataType | None], zone: str | None
) -> pl.DataFrame:
    """Bring columns to their dtypes; naive times are those of a zone."""
    if not rows.width:  # no chunk came
        return pl.DataFrame(schema=dtypes)
    made = []
    for name, dtype in dtypes.items():
        column = pl.col(name)
        found = rows.schema.get(name)
        if isinstance(found, pl.Datetime) and found.time_zone is None:
            column = column.dt.replace_time_zone(zone or "UTC").dt.convert_time_zone("UTC")
        made.append(column.cast(dtype) if dtype is not None else column)
    return rows.select(made)
