"""Statements of SQL on a warehouse: answers come as Arrow, from links that need no credentials."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pyarrow as pa

from featkit.asof import joined, period
from featkit.calls import Call, HttpRequest, LocalRead
from featkit.dtypes import TIMESTAMP
from featkit.errors import ProtocolError, RequestRejected, StoreUnavailable
from featkit.stores.databricks.refusals import named

if TYPE_CHECKING:
    from featkit.calls import Flow, HttpReply
    from featkit.history import JoinRead
    from featkit.stores.databricks.workspace import Workspace

_STATEMENTS = "/api/2.0/sql/statements"
_PAUSE = 0.5  # seconds between two looks at a statement that runs
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

    def join(self, read: JoinRead, zone: str | None) -> Flow[pl.DataFrame]:
        """Read the rows that can count, and join them here."""
        text, parameters = history_query(read)
        rows = yield from self.rows(text, parameters)
        shaped = partial(_shaped, read, rows, zone)
        what = f"history of {read.view.name}"
        found: pl.DataFrame = yield Call(LocalRead(shaped, what, threaded=True))
        return found

    def rows(self, text: str, parameters: dict[str, str]) -> Flow[pl.DataFrame]:
        """Run a query; its parameters are timestamps."""
        body = {
            "warehouse_id": self._id,
            "statement": text,
            "parameters": [
                {"name": name, "type": "TIMESTAMP", "value": value}
                for name, value in parameters.items()
            ],
            "disposition": "EXTERNAL_LINKS",
            "format": "ARROW_STREAM",
            "wait_timeout": "30s",
            "on_wait_timeout": "CONTINUE",
        }
        said: Statement = yield self._workspace.post(_STATEMENTS, body, Statement)
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


def history_query(read: JoinRead) -> tuple[str, dict[str, str]]:
    """Write the query for the rows of a view that can count, and its parameters."""
    view = read.view
    columns = [*view.join_keys, *([view.timestamp] if view.timestamp else [])]
    columns += [feature.name for feature in read.features]
    listed = ", ".join(map(_quoted, columns))
    place = ".".join(map(_quoted, view.source.split(".")))
    text = f"SELECT {listed} FROM {place}"  # noqa: S608 - names, quoted
    if view.timestamp is None:
        return text, {}
    until, since = period(read)
    text += f" WHERE {_quoted(view.timestamp)} <= :until"
    if since is None:
        return text, {"until": until}
    return f"{text} AND {_quoted(view.timestamp)} >= :since", {"until": until, "since": since}


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


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


def _shaped(read: JoinRead, rows: pl.DataFrame, zone: str | None) -> pl.DataFrame:
    """Bring rows to the dtypes of the view, and join them."""
    view = read.view
    dtypes = {entity.join_key: entity.dtype for entity in view.entities}
    dtypes |= {feature.name: feature.dtype for feature in read.features}
    dtypes |= {view.timestamp: TIMESTAMP} if view.timestamp else {}
    made = []
    for name, dtype in dtypes.items():
        column = pl.col(str(name))
        found = rows.schema.get(str(name))
        if isinstance(found, pl.Datetime) and found.time_zone is None:
            column = column.dt.replace_time_zone(zone or "UTC").dt.convert_time_zone("UTC")
        made.append(column.cast(dtype) if dtype is not None else column)
    return joined(read, rows.select(made) if rows.width else pl.DataFrame(schema=dtypes))
