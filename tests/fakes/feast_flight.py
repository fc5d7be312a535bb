"""Feast's offline server as far as audits ask it: the latest rows of a source, over Arrow Flight.

As strict as the real one: what it wants to be told is mandatory, a source goes by the name in the
registry, and its columns by their own names, whatever the registry calls them. Rows come in no
order, and over some offline stores their times have no zone.
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

_API = "pull_latest_from_table_or_query"
_MANDATORY = (
    *("data_source_name", "join_key_columns", "feature_name_columns"),
    *("timestamp_field", "start_date", "end_date"),
)


class OfflineFake(flight.FlightServerBase):
    """An offline server over the rows of views, each a source that is called ``VIEW_source``."""

    def __init__(self, views: Sequence[tuple[FeatureView, pl.DataFrame]], *, token: str) -> None:
        super().__init__("grpc://127.0.0.1:0", middleware={"auth": _Auth(token)})
        self.sources = {f"{view.name}_source": rows for view, rows in views}
        self.asked: list[dict[str, Any]] = []
        self.naive = False
        self.token = token

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Answer as the server does; what it raises reaches the client as its text."""
        del context
        command = json.loads(descriptor.command)
        assert "api" in command, "api parameter is mandatory"
        reader.read_all()
        if command["api"] != _API:
            raise NotImplementedError(f"Unknown read API: {command['api']}")
        for name in _MANDATORY:
            assert name in command, f"{name} is a mandatory parameter"
        self.asked.append(command)
        table = self._latest(command).to_arrow(compat_level=pl.CompatLevel.oldest())
        writer.begin(table.schema)
        writer.write_table(table)

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
