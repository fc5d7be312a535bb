"""History from BigQuery: a query over REST, read in columns and joined here."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec
import polars as pl

from featkit.asof import joined, period
from featkit.calls import Call, HttpRequest, LocalRead
from featkit.dtypes import TIMESTAMP
from featkit.engines.sql import SPINE, Dialect, join_query, spine_text
from featkit.errors import ProtocolError, RowMismatch, StoreUnavailable
from featkit.history import EVENT, ROW
from featkit.stores.vertex.cells import cells_of, rows_of
from featkit.stores.vertex.registry import ENTITY_ID, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from featkit.calls import Flow, HttpReply
    from featkit.errors import FeatkitError
    from featkit.history import JoinRead
    from featkit.schema import Feature, FeatureView
    from featkit.stores.vertex.registry import Group, GroupFeature, GroupOfView

_PAGE = 50_000  # rows
_PATIENCE = 10_000  # milliseconds that one request waits for a query
_SOON, _PAUSE = 0.05, 0.5  # seconds between two such requests: first, at most
_SPINE = 8_000_000  # characters of a spine that goes with a query; BigQuery takes 10 MB in all


class _Job(msgspec.Struct, frozen=True, rename="camel"):
    job_id: str = ""
    location: str = ""


class _Page(msgspec.Struct, rename="camel"):
    job_complete: bool = False
    job_reference: _Job = _Job()
    rows: msgspec.Raw = msgspec.Raw(b"[]")
    page_token: str = ""
    total_rows: str | None = None  # there once a query has ended well
    errors: list[dict[str, Any]] = []


class BigQuery:
    """The queries of one project.

    Parameters
    ----------
    endpoint
        Where BigQuery is.
    project
        Who pays.
    explained
        Reads why it refuses.
    """

    def __init__(
        self, endpoint: str, project: str, explained: Callable[[Any], FeatkitError | None]
    ) -> None:
        project = f"{endpoint.rstrip('/')}/bigquery/v2/projects/{quote(project)}"
        self._base, self._jobs = f"{project}/queries", f"{project}/jobs"
        self._explained = explained

    def join(
        self, read: JoinRead, sources: Sequence[Source], *, there: bool = True
    ) -> Flow[pl.DataFrame]:
        """Join the history of a view to a spine: there, or here where the spine is too large.

        Where a view reads several tables, each is joined by its own times; what the answer tells
        as the event timestamp is then the latest of them.

        Parameters
        ----------
        read
            What is asked.
        sources
            The tables behind the view.
        there
            Whether BigQuery may join.
        """
        parts = []
        for source in sources:
            own = source.part(read)
            if own.features or source is sources[0]:
                parts.append((yield from self._joined(own, source, there=there)))
        names = [feature.name for feature in read.features]
        return together(parts, names) if len(parts) > 1 else parts[0]

    def _joined(self, read: JoinRead, source: Source, *, there: bool) -> Flow[pl.DataFrame]:
        if there and source.keys is not None and DIALECT.takes(read):
            spine = spine_text(read)
            if len(spine) <= _SPINE:
                return (yield from self._joined_there(read, source, spine))
        text, parameters = history_query(read, source)
        pages = yield from self.pages(text, parameters)
        shaped = partial(_shaped, read, pages)
        what = f"history of {read.view.name}"
        found: pl.DataFrame = yield Call(LocalRead(shaped, what, threaded=True))
        return found

    def _joined_there(self, read: JoinRead, source: Source, spine: str) -> Flow[pl.DataFrame]:
        where, times = period_of(read, source)
        columns = {
            key: _quoted(column)
            for key, column in zip(read.view.join_keys, source.keys or (), strict=True)
        }
        columns |= {own.name: source.expression(own) for own in read.features}
        if read.view.timestamp:
            columns[read.view.timestamp] = _quoted(read.view.timestamp)
        text = join_query(read, DIALECT, table=_quoted(source.table), columns=columns, where=where)
        parameters = {SPINE: ("STRING", spine), **times}
        pages = yield from self.pages(text, parameters)
        dtypes: dict[str, pl.DataType] = {ROW: pl.Int64()}
        dtypes |= {own.name: own.dtype or pl.String() for own in read.features}
        dtypes |= {EVENT: TIMESTAMP} if read.view.timestamp else {}
        what = f"history of {read.view.name}"
        run = partial(cells_of, pages, dtypes, read.view.name)
        found: pl.DataFrame = yield Call(LocalRead(run, what, threaded=True))
        return found

    def pages(self, text: str, parameters: Mapping[str, tuple[str, str]]) -> Flow[list[pl.Series]]:
        """Run a query; its parameters are types and texts. The rows come page by page."""
        body = {
            "query": text,
            "useLegacySql": False,
            "parameterMode": "NAMED",
            "queryParameters": [
                {
                    "name": name,
                    "parameterType": {"type": kind},
                    "parameterValue": {"value": value},
                }
                for name, (kind, value) in parameters.items()
            ],
            "formatOptions": {"useInt64Timestamp": True},
            "maxResults": _PAGE,
            "timeoutMs": _PATIENCE,
        }
        request = HttpRequest(
            url=self._base,
            method="POST",
            headers={"Content-Type": "application/json"},
            body=msgspec.json.encode(body),
        )
        said: _Page = yield self._call(request)
        query = {"maxResults": str(_PAGE), "timeoutMs": str(_PATIENCE)}
        query |= {
            "location": said.job_reference.location,
            "formatOptions.useInt64Timestamp": "true",
        }
        url = f"{self._base}/{quote(said.job_reference.job_id, safe='')}"
        if not said.job_complete:
            look = self._call(HttpRequest(url=f"{url}?{urlencode(query)}"))
            said = yield from self._ended(look, said.job_reference)
        if said.total_rows is None:
            reasons = [str(each.get("message")) for each in said.errors]
            msg = f"the query failed: {'; '.join(reasons) or 'BigQuery does not say why'}"
            raise StoreUnavailable(msg)
        total, pages = int(said.total_rows), [rows_of(said.rows)]
        while said.page_token:
            more = {**query, "pageToken": said.page_token}
            said = yield self._call(HttpRequest(url=f"{url}?{urlencode(more)}"))
            pages.append(rows_of(said.rows))
        if sum(map(len, pages)) != total:
            msg = f"expected {total} rows of a query, got {sum(map(len, pages))}"
            raise ProtocolError(msg)
        return pages

    def _ended(self, look: Call[_Page], job: _Job) -> Flow[_Page]:
        """Wait for a query; one that nobody waits for any more is cancelled."""
        place = f"{self._jobs}/{quote(job.job_id, safe='')}/cancel"
        url = f"{place}?{urlencode({'location': job.location})}"
        cancel = self._call(HttpRequest(url=url, method="POST"))
        pause = _SOON
        while True:
            rest = LocalRead(partial(time.sleep, pause), "a query that runs")
            yield Call(rest, undo=cancel)
            said: _Page = yield replace(look, undo=cancel)  # it waits at the server
            if said.job_complete:
                return said
            pause = min(2 * pause, _PAUSE)

    def _call(self, request: HttpRequest) -> Call[_Page]:
        return Call(request, decode=_page, explain=self._explained)


def _page(reply: HttpReply) -> _Page:
    return decode(_Page, reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A table behind a view.

    Attributes
    ----------
    uri
        ``bq://PROJECT.DATASET.TABLE``.
    keys
        The columns that hold the join keys, in their order; None: their types are not known, so
        that keys are compared here, as texts.
    timestamp
        The column of event timestamps; None: it has none.
    columns
        The columns that hold the features, by their names.
    """

    uri: str
    keys: tuple[str, ...] | None
    timestamp: str | None
    columns: Mapping[str, str]

    @property
    def table(self) -> str:
        """Its name as BigQuery has it."""
        return self.uri.removeprefix("bq://")

    def part(self, read: JoinRead) -> JoinRead:
        """Take of a question what this table answers."""
        own = tuple(feature for feature in read.features if feature.name in self.columns)
        view = replace(read.view, timestamp=self.timestamp)
        return replace(read, view=view, features=own)

    def expression(self, feature: Feature) -> str:
        """Write what makes a feature, as one text per cell: what is nested as JSON."""
        column = _quoted(self.columns[feature.name])
        nested = feature.dtype is not None and feature.dtype.is_nested()
        return f"TO_JSON_STRING({column})" if nested else column


def source_of_group(
    group: Group, chosen: GroupOfView, features: Mapping[str, GroupFeature], *, typed: bool
) -> Source:
    """Describe the table of a feature group, as far as a view reads it.

    Parameters
    ----------
    group, chosen, features
        The group, what the view reads of it, and all its features by name.
    typed
        Whether the types of its keys are known.
    """
    names = chosen.feature_ids or list(features)
    keys = tuple(group.big_query.entity_id_columns or [ENTITY_ID])
    return Source(
        uri=group.big_query.big_query_source.input_uri,
        keys=keys if typed else None,
        timestamp=group.timestamp,
        columns={name: features[name].column for name in names},
    )


def source_of_table(uri: str, view: FeatureView, *, typed: bool) -> Source:
    """Describe the table of a view without feature groups."""
    columns = {name: name for name in view.feature_names}
    keys = view.join_keys if typed else None
    return Source(uri=uri, keys=keys, timestamp=view.timestamp, columns=columns)


def together(parts: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame:
    """Put what several tables answered side by side; the latest event timestamp is that of all."""
    parts = [part.sort(ROW) for part in parts]
    if any(not part[ROW].equals(parts[0][ROW]) for part in parts):
        msg = "the tables behind the view answered for different rows; nothing was joined"
        raise RowMismatch(msg)
    columns = {name: part[name] for part in parts for name in part.columns if name != EVENT}
    times = [part[EVENT].alias(str(n)) for n, part in enumerate(parts) if EVENT in part.columns]
    frame = pl.DataFrame([columns[name].alias(name) for name in (ROW, *names)])
    return frame.with_columns(pl.DataFrame(times).max_horizontal().alias(EVENT)) if times else frame


def period_of(read: JoinRead, source: Source) -> tuple[str, dict[str, tuple[str, str]]]:
    """Write what the rows of a table must be to count, and its parameters."""
    if source.timestamp is None:
        return "", {}
    until, since = period(read)
    times = {"until": ("TIMESTAMP", until)}
    where = f"{_quoted(source.timestamp)} <= @until"
    if since is None:
        return where, times
    times["since"] = ("TIMESTAMP", since)
    return f"{where} AND {_quoted(source.timestamp)} >= @since", times


def history_query(read: JoinRead, source: Source) -> tuple[str, dict[str, tuple[str, str]]]:
    """Write the query for the rows of a table that can count, and its parameters."""
    keys = source.keys or read.view.join_keys
    wanted = [_quoted(key) for key in keys]
    if source.timestamp:
        wanted.append(_quoted(source.timestamp))
    for own in read.features:
        made, name = source.expression(own), _quoted(own.name)
        wanted.append(made if made == name else f"{made} AS {name}")
    text = f"SELECT {', '.join(wanted)} FROM {_quoted(source.table)}"  # noqa: S608 - names, quoted
    where, times = period_of(read, source)
    return (f"{text} WHERE {where}" if where else text), times


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


DIALECT = Dialect(
    quoted=_quoted,
    parameter=lambda name: f"@{name}",
    lines="UNNEST(JSON_QUERY_ARRAY({spine})) AS line",
    part="JSON_VALUE(line, '$[{place}]')",
    whole="INT64",
    types={
        pl.String: "{text}",
        pl.Boolean: "CAST({text} AS BOOL)",
        pl.Float64: "CAST({text} AS FLOAT64)",
        pl.Date: "CAST({text} AS DATE)",
        pl.Datetime: "TIMESTAMP_MICROS(CAST({text} AS INT64))",
    },
    micros="UNIX_MICROS({time})",
    minute="TIMESTAMP_TRUNC({time}, MINUTE)",
    digest="TO_HEX(MD5({text}))",
)


def _shaped(read: JoinRead, pages: list[pl.Series]) -> pl.DataFrame:
    """Turn cells into columns of the view's dtypes, and join them."""
    view = read.view
    dtypes = {entity.join_key: entity.dtype or pl.String() for entity in view.entities}
    dtypes |= {view.timestamp: TIMESTAMP} if view.timestamp else {}
    dtypes |= {feature.name: feature.dtype or pl.String() for feature in read.features}
    return joined(read, cells_of(pages, dtypes, view.name))
