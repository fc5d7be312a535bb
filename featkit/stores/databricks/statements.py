"""Statements of SQL on a warehouse: answers come as Arrow, from links that need no credentials."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec
import polars as pl
import pyarrow as pa

from featkit.asof import period
from featkit.calls import Call, HttpRequest, LocalRead
from featkit.dtypes import TIMESTAMP
from featkit.engines.sql import SPINE, Dialect, join_query, spine_text
from featkit.errors import (
    AuthError,
    DeadlineExceeded,
    ProtocolError,
    RequestRejected,
    StoreUnavailable,
    UnknownNameError,
)
from featkit.flows import all_at_once
from featkit.history import EVENT, ROW
from featkit.stores.databricks import warehouses
from featkit.stores.databricks.refusals import named
from featkit.stores.databricks.rows import columns_of, joined_here, quoted, shaped

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from featkit.calls import Flow, HttpReply
    from featkit.history import JoinRead
    from featkit.schema import FeatureView
    from featkit.stores.databricks.workspace import Workspace

_STATEMENTS = "/api/2.0/sql/statements"
ANY_ZONE = timedelta(days=1)
"""More than a zone is off."""
_SOON, _PAUSE = 0.05, 0.5  # seconds between two looks at a statement that runs: first, at most
_WAVE = 16  # chunks side by side: so few that no link grows old before its turn
_STATEMENTS_AT_ONCE = 4  # each of which may have a spine of its own
_SPINE = 8_000_000  # characters of a spine that goes with a statement
_REFUSED = frozenset({403, 404, 410})  # what storage says of a link whose time is over
_SHOWN = 200  # characters of what it says
_MEANING = {
    "PENDING": "PENDING: a SQL warehouse that was asleep takes its time to start",
    "RUNNING": "RUNNING",
}
_NO_RIGHT = "42501"  # the state of SQL for what one may not do
_UNTOLD = {
    "CANCELED": "somebody cancelled it at the warehouse",
    "CLOSED": "its result was fetched already, or its time is over; ask again",
}


class _Error(msgspec.Struct, frozen=True):
    error_code: str = ""
    message: str = ""


class _Status(msgspec.Struct, frozen=True):
    state: str
    error: _Error | None = None
    sql_state: str = ""


class _Link(msgspec.Struct, frozen=True):
    external_link: str
    chunk_index: int | None = None
    http_headers: dict[str, str] | None = None

    def __repr__(self) -> str:
        return "<_Link>"  # which is signed: who has it may read


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
        self,
        reads: Sequence[JoinRead],
        zone: str | None,
        *,
        there: bool = True,
        naive: Collection[str] = (),
    ) -> Flow[list[pl.DataFrame]]:
        """Join the histories of tables to their spines.

        Parameters
        ----------
        reads
            What is asked.
        zone
            What naive timestamps mean.
        there
            Whether the warehouse may join, if the spine is small enough to go with the statement;
            else the rows that can count are read, and joined here.
        naive
            Views whose times have no zone, so that the warehouse may not compare them.
        """
        frames: list[pl.DataFrame] = []
        for first in range(0, len(reads), _STATEMENTS_AT_ONCE):
            some = reads[first : first + _STATEMENTS_AT_ONCE]
            spines = [
                _spine(read) if there and read.view.name not in naive else None for read in some
            ]
            pairs = zip(some, spines, strict=True)
            joins = [self._joined_there(read, zone, own) for read, own in pairs if own is not None]
            joined = iter((yield from all_at_once(joins)))
            for read, own in zip(some, spines, strict=True):
                if own is not None:
                    frames.append(next(joined))
                else:  # one by one, since all rows that can count are held meanwhile
                    apart = read.view.name in naive
                    frames.append((yield from self._joined_here(read, zone, naive=apart)))
        return frames

    def _joined_here(self, read: JoinRead, zone: str | None, *, naive: bool) -> Flow[pl.DataFrame]:
        text, parameters = history_query(read, around=ANY_ZONE if naive else timedelta())
        rows = yield from self.rows(text, parameters)
        run = partial(joined_here, read, rows, zone)
        what = f"history of {read.view.name}"
        found: pl.DataFrame = yield Call(LocalRead(run, what, threaded=True))
        return found

    def _joined_there(self, read: JoinRead, zone: str | None, spine: str) -> Flow[pl.DataFrame]:
        where, times = _period(read)
        table, columns = table_of(read.view), columns_of(read)
        text = join_query(read, DIALECT, table=table, columns=columns, where=where)
        rows = yield from self.rows(text, {SPINE: ("STRING", spine), **times})
        dtypes: dict[str, pl.DataType | None] = {ROW: pl.Int64()}
        dtypes |= {EVENT: TIMESTAMP} if read.view.timestamp else {}
        return shaped(rows, dtypes, read.features, zone)

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
            "wait_timeout": "0s",  # so that its id is known, should it have to be cancelled
        }
        try:
            said: Statement = yield self._workspace.post(_STATEMENTS, body, Statement)
        except (AuthError, RequestRejected, UnknownNameError) as error:
            yield from warehouses.check(self._workspace, self._id, error)
            raise
        path = f"{_STATEMENTS}/{quote(said.statement_id, safe='')}"
        said = yield from self._ended(path, said)
        if (manifest := said.manifest) is None:
            msg = "the workspace says that a statement SUCCEEDED, but not what its result is"
            raise ProtocolError(msg)
        parts: list[pl.DataFrame] = []
        for first in range(0, manifest.total_chunk_count, _WAVE):
            wave = range(first, min(first + _WAVE, manifest.total_chunk_count))
            chunks = [self._chunk(path, n, said.result if n == 0 else None) for n in wave]
            parts += yield from all_at_once(chunks)
        frame = pl.concat(parts) if parts else pl.DataFrame()
        if manifest.truncated:
            msg = f"the workspace cut the result of a statement short, at {frame.height:,} rows"
            raise ProtocolError(msg)
        if frame.height != manifest.total_row_count:
            msg = f"expected {manifest.total_row_count} rows of a statement, got {frame.height}"
            raise ProtocolError(msg)
        return frame

    def _ended(self, path: str, said: Statement) -> Flow[Statement]:
        """Wait for a statement; one that nobody waits for any more is cancelled."""
        cancel = self._workspace.post(f"{path}/cancel", {}, dict)
        pause = _SOON
        while said.status.state in {"PENDING", "RUNNING"}:
            rest = LocalRead(partial(time.sleep, pause), "a statement that runs")
            try:
                yield Call(rest, undo=cancel)
                said = yield replace(self._workspace.get(path, Statement), undo=cancel)
            except DeadlineExceeded as error:
                msg = f"{error} (the statement was {_MEANING[said.status.state]}; it is cancelled)"
                raise DeadlineExceeded(msg) from error
            pause = min(2 * pause, _PAUSE)
        if said.status.state != "SUCCEEDED":
            raise _failed(said.status)
        return said

    def _chunk(self, path: str, number: int, known: _Result | None) -> Flow[pl.DataFrame]:
        """Read one chunk; where its link has expired, by another one."""
        place = f"{path}/result/chunks/{number}"
        refusals: list[HttpReply] = []
        for result in (known, None):
            found = result or (yield self._workspace.get(place, _Result))
            links = found.external_links
            link = next((own for own in links if own.chunk_index in {None, number}), None)
            if link is None:
                msg = f"the workspace sent no link to chunk {number} of a result"
                raise ProtocolError(msg)
            request = HttpRequest(
                url=link.external_link, headers=link.http_headers or {}, answers=_REFUSED
            )
            frame: pl.DataFrame | None = yield Call(request, decode=partial(_arrow, refusals))
            if frame is not None:
                return frame
        host, reply = urlsplit(request.url).hostname, refusals[-1]
        msg = (
            f"the storage behind the workspace, {host}, refuses a new link to a result with "
            f"{reply.status}: {bytes(reply.body[:_SHOWN]).decode(errors='replace')!r}; may this "
            "machine reach it, and is its clock right?"
        )
        raise StoreUnavailable(msg)


def _spine(read: JoinRead) -> str | None:
    """Write the spine as it goes with a statement; None: it does not."""
    if not DIALECT.takes(read):
        return None
    spine = spine_text(read)
    return spine if len(spine) <= _SPINE else None


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
    named = {quoted(name): own for name, own in columns_of(read).items()}
    listed = ", ".join(own if own == name else f"{own} AS {name}" for name, own in named.items())
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
    where, times = f"{quoted(read.view.timestamp)} <= :until", {"until": ("TIMESTAMP", until)}
    if since is None:
        return where, times
    times["since"] = ("TIMESTAMP", since)
    return f"{where} AND {quoted(read.view.timestamp)} >= :since", times


def table_of(view: FeatureView) -> str:
    """Write the table of a view, as it stands behind FROM."""
    return ".".join(map(quoted, view.source.split(".")))


DIALECT = Dialect(
    quoted=quoted,
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


def _arrow(refusals: list[HttpReply], reply: HttpReply) -> pl.DataFrame | None:
    """Read a chunk; None: the link is refused, since its time may be over."""
    if reply.status in _REFUSED:
        refusals.append(reply)
        return None
    try:
        table: Any = pa.ipc.open_stream(pa.py_buffer(reply.body)).read_all()
    except (pa.ArrowException, OSError) as error:
        msg = f"the result of a statement is no Arrow stream: {error}"
        raise ProtocolError(msg) from error
    return pl.DataFrame(pl.from_arrow(table))


def _failed(status: _Status) -> Exception:
    """Make the error of a statement that failed, though HTTP says that all is well."""
    error = status.error or _Error()
    reason = ": ".join(filter(None, (error.error_code, error.message))) or _UNTOLD.get(
        status.state, "it does not say why"
    )
    state = f" (SQL state {status.sql_state})" if status.sql_state else ""
    said = f"the statement is {status.state}: {reason}{state}"
    if status.state in _UNTOLD:
        return RequestRejected(said)
    if status.sql_state == _NO_RIGHT:
        return AuthError(said)
    return named(error.error_code, said)
