"""Lookups in a real PostgreSQL, as Lakebase offers them."""

from __future__ import annotations

import asyncio
import time
import traceback
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg
import pytest

import featkit
from featkit.errors import (
    AuthError,
    DeadlineExceeded,
    ExpiredWarning,
    StoreUnavailable,
    UnknownNameError,
)
from featkit.stores.base import open_store
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views, described
from tests.fakes.databricks import CATALOG, SCHEMA, USER, DatabricksFake, workspace
from tests.programs.running import free_port, postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.schema import FeatureView
    from featkit.stores.base import Store

pytestmark = pytest.mark.slow
IMPATIENT = featkit.Retry(attempts=2, reconnect=timedelta(0))
PASSWORD = "superuser-canary"
TTLS = {"customers": {"ttl": "3h"}, "quiet": {"ttl": "1d"}}
COLUMN_TYPES = {
    pl.Int64(): "bigint",
    pl.Int32(): "integer",
    pl.Float64(): "double precision",
    pl.Boolean(): "boolean",
    pl.String(): "text",
    pl.Binary(): "bytea",
    pl.Datetime("us", "UTC"): "timestamptz",
    pl.List(pl.Float64()): "jsonb",
}


def quoted(name: str | None) -> str:
    return '"' + (name or "").replace('"', '""') + '"'


class Postgres:
    """A PostgreSQL on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        place = f"host=127.0.0.1 port={self.port} user=postgres password={PASSWORD}"
        return psycopg.connect(f"{place} dbname={database}", autocommit=True)

    def renewed(self, password: str) -> str:
        """Give the user another password, and say where the instance is."""
        if password:
            with self.connect() as own:
                own.execute(f"ALTER ROLE \"{USER}\" LOGIN PASSWORD '{password}'")
        return f"127.0.0.1:{self.port}"

    def load(self, view: FeatureView, rows: pl.DataFrame) -> None:
        """Make a table of all rows, like that of a time series: the latest is to be found."""
        if view.created:  # what Databricks has no column for decides which of two rows is the last
            rows = rows.sort(view.timestamp, view.created).unique(
                [*view.join_keys, view.timestamp], keep="last", maintain_order=True
            )
        names = [
            *view.join_keys,
            *([view.timestamp] if view.timestamp else []),
            *view.feature_names,
        ]
        key = ", ".join(
            quoted(name) for name in names[: len(view.join_keys) + bool(view.timestamp)]
        )
        columns = ", ".join(f"{quoted(name)} {COLUMN_TYPES[rows.schema[name]]}" for name in names)
        marks = ", ".join(["%s"] * len(names))
        with self.connect(CATALOG) as own:
            own.execute(f'DROP TABLE IF EXISTS {SCHEMA}."{view.name}"')
            own.execute(f'CREATE TABLE {SCHEMA}."{view.name}" ({columns}, PRIMARY KEY ({key}))')
            own.execute(f'GRANT SELECT ON {SCHEMA}."{view.name}" TO "{USER}"')
            for row in rows.select(names).iter_rows():
                if not any(isinstance(value, str) and "\0" in value for value in row):
                    values = [
                        psycopg.types.json.Jsonb(v) if isinstance(v, list) else v for v in row
                    ]
                    own.execute(f'INSERT INTO {SCHEMA}."{view.name}" VALUES ({marks})', values)  # noqa: S608 - our own names


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server(PASSWORD) as port:
        server = Postgres(port)
        with server.connect() as own:
            own.execute(f'CREATE ROLE "{USER}"')
            own.execute(f"CREATE DATABASE {CATALOG}")
        with server.connect(CATALOG) as own:
            own.execute(f'CREATE SCHEMA {SCHEMA}; GRANT USAGE ON SCHEMA {SCHEMA} TO "{USER}"')
        for view, rows in contract_views():
            server.load(view, rows)
        yield server


@pytest.fixture
def fake(postgres: Postgres) -> DatabricksFake:
    return DatabricksFake(contract_views(), lakebase=postgres.renewed)


@pytest.fixture
def url(fake: DatabricksFake) -> Iterator[str]:
    with workspace(fake) as url:
        yield url


def opened(url: str, **options: Any) -> Store:
    known = {"catalog": CATALOG, "schema": SCHEMA, "token": "dapi-canary", "lakebase": "os1"}
    return open_store(f"databricks+{url}", known | {"views": TTLS} | options)


class TestLakebase(StoreContract):
    secret = "canary"
    holds_nul = False

    @pytest.fixture
    def store(self, url: str) -> Store:
        return opened(url)


@pytest.fixture
def client(url: str) -> Iterator[featkit.FeatureStoreClient]:
    with featkit.connect(opened(url), now=CONTRACT_NOW, cache=None) as client:
        yield client


def test_each_row_has_its_own_time(client: featkit.FeatureStoreClient) -> None:
    with pytest.warns(ExpiredWarning):
        found = client.lookup([1, 3, 404], ["customers:visits"])
    assert found.timestamps["visits"].to_list()[0] == CONTRACT_NOW - timedelta(hours=1)
    assert found.statuses["visits"].to_list() == ["PRESENT", "EXPIRED", "NOT_FOUND"]


def test_one_query_answers_for_all_keys(url: str) -> None:
    with featkit.connect(opened(url, batch_size=20_000), now=CONTRACT_NOW) as client:
        keys = list(range(10_000, 20_000))
        found = client.lookup([*keys, 1], ["customers:active"])
        assert client.last_summary.calls == 1
    assert found.values["active"].to_list()[-2:] == [None, True]


def test_values_of_many_types_come_back(postgres: Postgres, fake: DatabricksFake, url: str) -> None:
    frame = pl.DataFrame(
        {"id": [1, 2], "raw": [b"\x00\xff" * 60, None], 'od"d %s': [1.5, float("-inf")]}
    )
    odd = described(frame, name="odd", join_keys="id")
    postgres.load(*odd)
    fake.views = [odd]
    with featkit.connect(opened(url)) as client:
        found = client.lookup([2, 1], "odd:*")
    assert (
        found.values.sort("raw", nulls_last=True).drop("id", strict=False).equals(frame.drop("id"))
    )


def test_the_password_is_asked_for_once_and_renewed_when_it_has_expired(
    postgres: Postgres, fake: DatabricksFake, client: featkit.FeatureStoreClient
) -> None:
    client.lookup([1, 2], ["customers:active"])
    client.lookup([1, 2], ["customers:active", "notes:number"][:1])
    assert len(fake.passwords) == 1
    postgres.renewed("another")  # the old one has expired; connections that are open go on
    client.lookup([1], ["customers:active"])
    assert len(fake.passwords) == 1
    with postgres.connect() as own:
        own.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [USER]
        )
    assert client.lookup([1], ["customers:active"]).to_dicts() == [{"active": True}]
    assert len(fake.passwords) == 2


def test_a_login_that_is_refused_is_told(
    fake: DatabricksFake, postgres: Postgres, url: str
) -> None:
    fake.lakebase = lambda _: f"127.0.0.1:{postgres.port}"  # no password ever becomes good
    with (
        featkit.connect(opened(url)) as client,
        pytest.raises(AuthError, match="password authentication failed") as caught,
    ):
        client.lookup([1], ["customers:active"])
    shown = "".join(traceback.format_exception(caught.value))
    assert [password for password in fake.passwords if password in shown] == []


def test_a_server_that_is_down_is_told(fake: DatabricksFake, url: str) -> None:
    fake.lakebase = lambda _: f"127.0.0.1:{free_port()}"
    with (
        featkit.connect(opened(url), retry=IMPATIENT) as client,
        pytest.raises(StoreUnavailable, match="no connection"),
    ):
        client.lookup([1], ["customers:active"])


def eventually(client: featkit.FeatureStoreClient) -> list[dict[str, Any]]:
    """Look up where the time is so short that a machine that is busy may need another try."""
    for _ in range(50):
        with suppress(DeadlineExceeded):
            return client.lookup([1], ["customers:active"]).to_dicts()
    pytest.fail("no lookup was done in its time, though nothing held it up")


def test_a_query_ends_with_its_time(postgres: Postgres, url: str) -> None:
    with (
        featkit.connect(opened(url), now=CONTRACT_NOW, timeout="700ms", cache=None) as client,
        postgres.connect(CATALOG) as own,
    ):
        assert eventually(client) == [{"active": True}]
        own.execute(f"BEGIN; LOCK TABLE {SCHEMA}.customers")
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.lookup([1], ["customers:active"])
        assert 0.7 <= time.monotonic() - started < 10  # where the lock alone would hold it for ever
        own.execute("ROLLBACK")
        assert eventually(client) == [{"active": True}]


def test_a_table_that_is_not_synced_or_gone_is_named(fake: DatabricksFake, url: str) -> None:
    options = {"views": {"routes": {"online_table": "main.f.rutes"}}}
    with (
        featkit.connect(opened(url, **options)) as client,
        pytest.raises(UnknownNameError, match=r"main\.f\.rutes"),
    ):
        client.lookup({"start_id": [1], "end_id": [2]}, ["routes:length_km"])
    fake.views = [described(pl.DataFrame({"k": [1], "v": [1]}), name="gone", join_keys="k")]
    with (
        featkit.connect(opened(url)) as client,
        pytest.raises(UnknownNameError, match=r'relation "f.gone" does not exist'),
    ):
        client.lookup([1], ["gone:v"])


def test_an_unknown_instance_gets_the_nearest(url: str) -> None:
    with featkit.connect(opened(url, lakebase="os")) as client:
        with pytest.raises(UnknownNameError, match="no database instance 'os'; did you mean 'os1'"):
            client.lookup([1], ["customers:active"])
        assert "no database instance 'os'" in client.check_health().reason


def test_async_clients_read_as_well(url: str) -> None:
    async def read() -> list[dict[str, Any]]:
        async with featkit.connect_async(opened(url), now=CONTRACT_NOW) as client:
            return (await client.lookup([1], ["customers:active"])).to_dicts()

    assert asyncio.run(read()) == [{"active": True}]
