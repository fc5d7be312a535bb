"""Feast's offline server, over Arrow Flight: history joined to a spine, latest rows of a source.

As strict as the real one: what it wants to be told is mandatory, a source goes by the name in the
registry, and its columns by their own names, whatever the registry calls them. Rows come in no
order, and over some offline stores their times have no zone. Of a spine it loses the rows whose
entity has only rows that are too old or yet to come, as its default offline store does.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from pyarrow import flight

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from featkit.schema import FeatureView

_MANDATORY = {
    "pull_latest_from_table_or_query": (
        *("data_source_name", "join_key_columns", "feature_name_columns"),
        *("timestamp_field", "start_date", "end_date"),
    ),
    "get_historical_features": (
        *("project", "feature_view_names", "feature_refs"),
        *("full_feature_names", "name_aliases"),
    ),
}
_AT, _EVENT, _CREATED = "event_timestamp", "event of the row", "created of the row"


class OfflineFake(flight.FlightServerBase):
    """An offline server over the rows of views, each a source that is called ``VIEW_source``."""

    def __init__(self, views: Sequence[tuple[FeatureView, pl.DataFrame]], *, token: str) -> None:
        super().__init__("grpc://127.0.0.1:0", middleware={"auth": _Auth(token)})
        self.views = {view.name: (view, rows) for view, rows in views}
        self.sources = {f"{view.name}_source": rows for view, rows in views}
        self.asked: list[dict[str, Any]] = []
        self.naive = False
        self.token = token

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Answer as the server does; what it raises reaches the client as its text."""
        del context
        command = json.loads(descriptor.command)
        assert "api" in command, "api parameter is mandatory"
        sent = reader.read_all()
        if command["api"] not in _MANDATORY:
            raise NotImplementedError(f"Unknown read API: {command['api']}")
        for name in _MANDATORY[command["api"]]:
            assert name in command, f"{name} is a mandatory parameter"
        self.asked.append(command)
        if command["api"] == "get_historical_features":
            rows = self._joined(command, pl.DataFrame(sent))
        else:
            rows = self._latest(command)
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        writer.begin(table.schema)
        writer.write_table(table)

    def _joined(self, command: dict[str, Any], spine: pl.DataFrame) -> pl.DataFrame:
        (name,) = command["feature_view_names"]
        view, rows = self.views[name]
        wanted = [reference.removeprefix(f"{name}:") for reference in command["feature_refs"]]
        assert command["full_feature_names"]
        keys = list(view.join_keys)
        at = pl.lit(None, pl.Datetime("us", "UTC"))
        own = rows.select(
            *keys,
            (pl.col(view.timestamp) if view.timestamp else at).alias(_EVENT),
            (pl.col(view.created) if view.created else at).alias(_CREATED),
            *(pl.col(each).alias(f"{name}__{each}") for each in wanted),
        )
        both = spine.join(own, on=keys, how="inner")
        event, moment = pl.col(_EVENT), pl.col(_AT)
        seen = event.is_null() | (event <= moment)
        if view.ttl:
            seen &= moment - event <= view.ttl
        found = both.filter(seen).sort(_EVENT, _CREATED, nulls_last=False)
        found = found.unique(spine.columns, keep="last", maintain_order=True)
        strangers = spine.join(own, on=keys, how="anti")
        answer = pl.concat([found, strangers], how="diagonal").drop(_EVENT, _CREATED)
        return answer.sample(fraction=1, shuffle=True, seed=7)

    def _latest(self, command: dict[str, Any]) -> pl.DataFrame:
        if command["data_source_name"] not in self.sources:
            raise ValueError(f"Data source {command['data_source_name']} does not exist")
        event, created = command["timestamp_field"], command["created_timestamp_column"]
        times = [event, *([created] if created else [])]
        keys = command["join_key_columns"]
        rows = self.sources[command["data_source_name"]].select(
            *keys, *command["feature_name_columns"], *times
        )
        start, end = (datetime.fromisoformat(command[f"{name}_date"]) for name in ("start", "end"))
        assert start.tzinfo
        assert end.tzinfo
        rows = rows.filter(pl.col(event).is_between(start, end)).sort(times)
        rows = rows.unique(keys, keep="last", maintain_order=True) if keys else rows
        rows = rows.sample(fraction=1, shuffle=True, seed=7)
        if self.naive:
            rows = rows.with_columns(pl.col(times).dt.replace_time_zone(None))
        return rows


class _Auth(flight.ServerMiddlewareFactory):
    def __init__(self, token: str) -> None:
        self._token = token

    def start_call(self, info: Any, headers: dict[str, list[str]]) -> None:
        """Refuse a call without the token."""
        del info
        if headers.get("authorization") != [f"Bearer {self._token}"]:
            raise flight.FlightUnauthenticatedError("no valid token")


@contextmanager
def offline_server(
    views: Sequence[tuple[FeatureView, pl.DataFrame]], *, token: str
) -> Iterator[OfflineFake]:
    """Serve on loopback."""
    server = OfflineFake(views, token=token)
    try:
        yield server
    finally:
        server.shutdown()
