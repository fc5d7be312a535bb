"""Training sets through a SQL warehouse, whose SQL a DuckDB runs."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit.errors import AuthError, NotSupportedError, RequestRejected, UnknownNameError
from featkit.stores.base import open_store
from featkit.testing import described
from tests.fakes.databricks import CATALOG, SCHEMA, WAREHOUSES, DatabricksFake, workspace
from tests.stores.test_databricks import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2024, 5, 1, tzinfo=UTC)
TTL = {"balances": {"ttl": "2h"}}
FEATURES = ["balances:amount", "balances:note", "places:city"]


def _history() -> pl.DataFrame:
    draw = random.Random(7)
    moments = {(draw.randrange(5), draw.randrange(48)) for _ in range(60)}
    return pl.DataFrame(
        {
            "user_id": [key for key, _ in sorted(moments, key=str)],
            "at": [START + timedelta(minutes=30 * step) for _, step in sorted(moments, key=str)],
            "amount": [draw.choice([None, draw.random()]) for _ in moments],
            "note": [draw.choice([None, "a", 'ü`"']) for _ in moments],
        }
    ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))


BALANCES = described(_history(), name="balances", join_keys="user_id", timestamp="at", ttl="2h")
PLACES = described(
    pl.DataFrame({"user_id": [1, 2], "city": ["Oslo", None]}), name="places", join_keys="user_id"
)


@pytest.fixture
def spine() -> pl.DataFrame:
    draw = random.Random(11)
    steps = [draw.choice([None, *range(60)]) for _ in range(80)]
    return pl.DataFrame(
        {
            "user_id": [draw.choice([None, 0, 1, 2, 3, 4, 99]) for _ in steps],
            "when": [None if s is None else START + timedelta(minutes=25 * s) for s in steps],
        },
        {"user_id": pl.Int64(), "when": pl.Datetime("us", "UTC")},
    )


@pytest.fixture
def fake() -> DatabricksFake:
    return DatabricksFake([BALANCES, PLACES])


@pytest.fixture(params=[True, False], ids=["there", "here"])
def there(request: Any) -> bool:
    """Whether the warehouse joins."""
    return bool(request.param)


@pytest.fixture
def client(fake: DatabricksFake, there: bool) -> Iterator[featkit.FeatureStoreClient]:  # noqa: FBT001 - a fixture
    known: dict[str, Any] = {"views": TTL, "endpoint": None, "warehouse_id": "wh1"}
    with (
        workspace(fake) as url,
        featkit.connect(opened(url, pushdown=there, **known)) as client,
    ):
        yield client


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[featkit.FeatureStoreClient]:
    """The same rows as files, joined by featkit's own engines."""
    for view, rows in (BALANCES, PLACES):
        featkit.write_view(
            tmp_path,
            rows,
            name=view.name,
            join_keys="user_id",
            timestamp=view.timestamp,
            ttl=view.ttl,
        )
    with featkit.connect(f"parquet:{tmp_path}") as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strict": True},
        {"lookback": {"balances": "45m"}},
        {"lookback": {"balances": None}},
        {"known_by": {"balances": "20m"}},
        {"feature_timestamps": True},
    ],
    ids=str,
)
def test_training_sets_are_those_of_the_rows(
    client: Any, oracle: Any, spine: pl.DataFrame, options: dict[str, Any]
) -> None:
    found = client.get_historical_features(spine, FEATURES, at="when", **options)
    right = oracle.get_historical_features(spine, FEATURES, at="when", **options)
    assert_frame_equal(found.frame, right.frame)


@pytest.mark.parametrize("there", [True], indirect=True)
def test_the_spine_goes_with_the_statement_and_nothing_else_comes_back(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame
) -> None:
    client.get_historical_features(spine, ["balances:amount"], at="when")
    (sent,) = [each for each in fake.asked if each.path == "/api/2.0/sql/statements"]
    body = json.loads(sent.body)
    parameters = {each["name"]: (each["type"], each["value"]) for each in body["parameters"]}
    moments = spine.drop_nulls().unique()
    kind, text = parameters["spine"]
    assert (kind, len(json.loads(text))) == ("STRING", moments.height)
    assert parameters["since"][0] == "TIMESTAMP"
    (batches,) = fake.statements.values()
    assert sum(batch.num_rows for batch in batches) == moments.height


@pytest.mark.parametrize("there", [True], indirect=True)
def test_a_spine_that_is_too_large_stays_here(
    fake: DatabricksFake, client: Any, oracle: Any
) -> None:
    many = pl.int_range(250_000, eager=True)
    spine = pl.DataFrame(
        {"user_id": many % 5, "when": START + many.cast(pl.Duration("ms"))},
        {"user_id": pl.Int64(), "when": pl.Datetime("us", "UTC")},
    )
    found = client.get_historical_features(spine, ["balances:note"], at="when")
    right = oracle.get_historical_features(spine, ["balances:note"], at="when")
    assert_frame_equal(found.frame, right.frame)
    (sent,) = [each for each in fake.asked if each.path == "/api/2.0/sql/statements"]
    assert json.loads(sent.body)["statement"].startswith("SELECT `user_id`")


@pytest.mark.parametrize("there", [False], indirect=True)
def test_only_rows_that_can_count_are_asked_for(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame
) -> None:
    client.get_historical_features(spine, ["balances:amount"], at="when")
    (sent,) = [each for each in fake.asked if each.path == "/api/2.0/sql/statements"]
    body = json.loads(sent.body)
    assert body["statement"] == (
        "SELECT `user_id`, `at`, `amount` FROM `main`.`f`.`balances` "
        "WHERE `at` <= :until AND `at` >= :since"
    )
    used = spine.drop_nulls()["when"]
    first = (used.min() - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert {each["name"]: each["value"] for each in body["parameters"]}["since"] == first


def test_a_statement_that_runs_is_waited_for_and_expired_links_are_renewed(
    fake: DatabricksFake, client: Any, oracle: Any, spine: pl.DataFrame
) -> None:
    fake.running, fake.expired_links = 2, 1
    found = client.get_historical_features(spine, ["balances:note"], at="when")
    right = oracle.get_historical_features(spine, ["balances:note"], at="when")
    assert_frame_equal(found.frame, right.frame)


def test_a_failure_inside_a_200_is_an_error_with_a_name(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame
) -> None:
    view, rows = BALANCES
    fake.views = [(view, rows.drop("note")), PLACES]
    with pytest.raises(RequestRejected, match=r"(?s)FAILED: BAD_REQUEST: \[UNRES.*42703"):
        client.get_historical_features(spine, ["balances:note"], at="when")


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles", "UTC"])
def test_times_without_a_zone_are_those_of_the_one_that_is_told(
    tmp_path: Path, spine: pl.DataFrame, zone: str
) -> None:
    """Whatever the session of the warehouse takes them for: none is lost, and none too many."""
    view, rows = BALANCES
    local = rows.with_columns(pl.col("at").dt.convert_time_zone(zone).dt.replace_time_zone(None))
    utc = local.with_columns(pl.col("at").dt.replace_time_zone("UTC"))  # as the fake takes them off
    featkit.write_view(
        tmp_path, rows, name="balances", join_keys="user_id", timestamp="at", ttl=view.ttl
    )
    known = {"catalog": CATALOG, "schema": SCHEMA, "token": "dapi-canary", "views": TTL}
    with workspace(DatabricksFake([(view, utc)], naive=True)) as url:
        store = open_store(f"databricks+{url}", known | {"warehouse_id": "wh1"}, timezone=zone)
        with featkit.connect(store) as client, featkit.connect(f"parquet:{tmp_path}") as oracle:
            found, right = (
                each.get_historical_features(spine, ["balances:amount", "balances:note"], at="when")
                for each in (client, oracle)
            )
    assert_frame_equal(found.frame, right.frame)


def test_without_a_warehouse_it_says_what_to_do(fake: DatabricksFake, spine: pl.DataFrame) -> None:
    with (
        workspace(fake) as url,
        featkit.connect(opened(url, views=TTL)) as client,
        pytest.raises(NotSupportedError, match="warehouse_id='ID'"),
    ):
        client.get_historical_features(spine, FEATURES, at="when")


EVERY = "'wh1' (Shared), 'a1b2c3d4e5f60718' (Nightly jobs), '0918f6e5d4c3b2a1' (Finance)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("wh2", "there is no SQL warehouse 'wh2'; did you mean warehouse_id='wh1' (Shared)?"),
        ("Nightly job", "did you mean warehouse_id='a1b2c3d4e5f60718' (Nightly jobs)?"),
        ("zzzz", f"there are: {EVERY} ("),
    ],
)
def test_a_wrong_warehouse_gets_the_nearest(
    fake: DatabricksFake, spine: pl.DataFrame, given: str, said: str
) -> None:
    with (
        workspace(fake) as url,
        featkit.connect(opened(url, views=TTL, warehouse_id=given)) as client,
    ):
        with pytest.raises(UnknownNameError, match=re.escape(said)):
            client.get_historical_features(spine, FEATURES, at="when")
        assert said in client.check_health().reason


def test_a_warehouse_that_one_may_not_use_is_told_from_those_that_one_may(
    fake: DatabricksFake, spine: pl.DataFrame
) -> None:
    fake.warehouses = {"wh1": "Shared"}
    given = "0918f6e5d4c3b2a1"
    with (
        workspace(fake) as url,
        featkit.connect(opened(url, views=TTL, warehouse_id=given)) as client,
    ):
        with pytest.raises(AuthError, match=r"not authorized.* they may use: 'wh1' \(Shared\)$"):
            client.get_historical_features(spine, FEATURES, at="when")
        fake.warehouses = {}
        with pytest.raises(AuthError, match=r"they may use: none$"):
            client.get_historical_features(spine, FEATURES, at="when")


def test_where_warehouses_may_not_be_listed_the_refusal_stands(
    fake: DatabricksFake, spine: pl.DataFrame
) -> None:
    fake.lists_warehouses = False
    with workspace(fake) as url:
        with (
            featkit.connect(opened(url, views=TTL, warehouse_id="wh2")) as client,
            pytest.raises(UnknownNameError, match=r"NOT_FOUND: SQL warehouse wh2 not found\)?$"),
        ):
            client.get_historical_features(spine, FEATURES, at="when")
        with (
            featkit.connect(opened(url, views=TTL)) as client,
            pytest.raises(NotSupportedError, match=r"warehouse_id='ID'\) \(never"),
        ):
            client.get_historical_features(spine, FEATURES, at="when")


@pytest.mark.parametrize(
    ("warehouses", "said"),
    [(WAREHOUSES, f"; there are: {EVERY}"), ({}, "; these credentials may use none")],
    ids=["some", "none"],
)
def test_who_names_no_warehouse_reads_which_there_are(
    fake: DatabricksFake, spine: pl.DataFrame, warehouses: dict[str, str], said: str
) -> None:
    fake.warehouses = warehouses
    with workspace(fake) as url, featkit.connect(opened(url, views=TTL)) as client:
        with pytest.raises(NotSupportedError, match=re.escape(said) + "$"):
            client.get_historical_features(spine, FEATURES, at="when")
        with pytest.raises(NotSupportedError, match=re.escape(said) + "$"):
            client.parity(FEATURES, spine.select("user_id"))


def test_the_health_check_looks_at_the_warehouse_and_does_not_start_it(
    fake: DatabricksFake,
) -> None:
    known: dict[str, Any] = {"views": TTL, "warehouse_id": "a1b2c3d4e5f60718"}
    with workspace(fake) as url, featkit.connect(opened(url, **known)) as client:
        assert "'a1b2c3d4e5f60718' (Nightly jobs) STOPPED" in str(client.check_health())
    assert "POST" not in {each.method for each in fake.asked}
