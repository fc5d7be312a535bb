"""History from BigQuery: a query over REST, read in columns and joined here."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec
import polars as pl

from featkit.asof import joined, period
from featkit.calls import Call, HttpRequest, LocalRead
from featkit.dtypes import TIMESTAMP
from featkit.errors import NotSupportedError, ProtocolError, StoreUnavailable
from featkit.stores.vertex.registry import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from featkit.calls import Flow, HttpReply
    from featkit.errors import FeatkitError
    from featkit.history import JoinRead

_PAGE = 50_000  # rows
_PATIENCE = 10_000  # milliseconds that one request waits for a query
# every cell is text, or null
_ROWS = pl.List(pl.Struct({"f": pl.List(pl.Struct({"v": pl.String()}))}))


class _Job(msgspec.Struct, frozen=True, rename="camel"):
    job_id: str = ""
    location: str = ""


class _Page(msgspec.Struct, rename="camel"):
    job_complete: bool = False
    job_reference: _Job = _Job()
    rows: msgspec.Raw = msgspec.Raw(b"[]")
    page_token: str = ""
    total_rows: str = "0"
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
        self._base = f"{endpoint.rstrip('/')}/bigquery/v2/projects/{quote(project)}/queries"
        self._explained = explained

    def join(self, read: JoinRead, columns: Mapping[str, str]) -> Flow[pl.DataFrame]:
        """Read the rows that can count, and join them here.

        Parameters
        ----------
        read
            What is asked.
        columns
            The columns of the source that hold the features, by their names.
        """
        text, parameters = history_query(read, columns)
        pages = yield from self.pages(text, parameters)
        shaped = partial(_shaped, read, pages)
        what = f"history of {read.view.name}"
        found: pl.DataFrame = yield Call(LocalRead(shaped, what, threaded=True))
        return found

    def pages(self, text: str, parameters: Mapping[str, str]) -> Flow[list[pl.Series]]:
        """Run a query; its parameters are timestamps. The rows come page by page."""
        body = {
            "query": text,
            "useLegacySql": False,
            "parameterMode": "NAMED",
            "queryParameters": [
                {
                    "name": name,
                    "parameterType": {"type": "TIMESTAMP"},
                    "parameterValue": {"value": value},
                }
                for name, value in parameters.items()
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
        while not said.job_complete:  # each request waits at the server
            said = yield self._call(HttpRequest(url=f"{url}?{urlencode(query)}"))
        if said.errors:
            msg = f"the query failed: {said.errors[0].get('message', 'BigQuery does not say why')}"
            raise StoreUnavailable(msg)
        total, pages = int(said.total_rows), [_rows(said.rows)]
        while said.page_token:
            more = {**query, "pageToken": said.page_token}
            said = yield self._call(HttpRequest(url=f"{url}?{urlencode(more)}"))
            pages.append(_rows(said.rows))
        if sum(map(len, pages)) != total:
            msg = f"expected {total} rows of a query, got {sum(map(len, pages))}"
            raise ProtocolError(msg)
        return pages

    def _call(self, request: HttpRequest) -> Call[_Page]:
        return Call(request, decode=_page, explain=self._explained)


def _page(reply: HttpReply) -> _Page:
    return decode(_Page, reply)


def history_query(read: JoinRead, columns: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Write the query for the rows of a view that can count, and its parameters."""
    view = read.view
    source = view.source.removeprefix("bq://")
    if "bq://" in source or not source:
        msg = (
            f"feature view {view.name!r} reads several tables, or none of BigQuery's; training "
            "sets are assembled from views of one table"
        )
        raise NotSupportedError(msg)
    dtypes = {entity.join_key: entity.dtype for entity in view.entities}
    wanted = [_selected(key, key, dtype) for key, dtype in dtypes.items()]
    if view.timestamp:
        wanted.append(_quoted(view.timestamp))
    wanted += [
        _selected(columns.get(feature.name, feature.name), feature.name, feature.dtype)
        for feature in read.features
    ]
    text = f"SELECT {', '.join(wanted)} FROM {_quoted(source)}"  # noqa: S608 - names, quoted
    if view.timestamp is None:
        return text, {}
    until, since = period(read)
    text += f" WHERE {_quoted(view.timestamp)} <= @until"
    if since is None:
        return text, {"until": until}
    return f"{text} AND {_quoted(view.timestamp)} >= @since", {"until": until, "since": since}


def _selected(column: str, name: str, dtype: pl.DataType | None) -> str:
    """Select a column as one text per cell: arrays as JSON."""
    if isinstance(dtype, pl.List):
        return f"TO_JSON_STRING({_quoted(column)}) AS {_quoted(name)}"
    return _quoted(column) + (f" AS {_quoted(name)}" if name != column else "")


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _rows(raw: msgspec.Raw) -> pl.Series:
    try:
        rows: pl.Series = pl.Series([bytes(raw).decode()]).str.json_decode(_ROWS).item()
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        msg = f"the rows of a query are not what BigQuery sends: {str(error).partition(chr(10))[0]}"
        raise ProtocolError(msg) from error
    return rows


def _shaped(read: JoinRead, pages: list[pl.Series]) -> pl.DataFrame:
    """Turn cells into columns of the view's dtypes, and join them."""
    view = read.view
    dtypes = {entity.join_key: entity.dtype or pl.String() for entity in view.entities}
    dtypes |= {view.timestamp: TIMESTAMP} if view.timestamp else {}
    dtypes |= {feature.name: feature.dtype or pl.String() for feature in read.features}
    cells = pl.concat(pages).struct.field("f").alias("cells").to_frame()
    if (cells["cells"].list.len() != len(dtypes)).any():
        msg = f"expected {len(dtypes)} cells in each row of a query"
        raise ProtocolError(msg)
    try:
        rows = cells.select(
            _cell(pl.col("cells").list.get(place).struct.field("v"), dtype).alias(name)
            for place, (name, dtype) in enumerate(dtypes.items())
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        msg = f"the rows of a query cannot become the columns of {view.name!r}: {reason}"
        raise ProtocolError(msg) from error
    return joined(read, rows)


def _cell(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    match dtype:
        case pl.Datetime():
            return text.cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case pl.Boolean():
            return text.replace_strict({"true": True, "false": False}, return_dtype=pl.Boolean)
        case pl.Date():
            return text.str.to_date("%Y-%m-%d")
        case pl.Binary():
            return text.str.decode("base64")
        case pl.List():
            return text.str.json_decode(dtype)
        case _:
            return text.cast(dtype)
