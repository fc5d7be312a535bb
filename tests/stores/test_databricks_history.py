"""Training sets through a SQL warehouse, whose SQL a DuckDB runs."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import re
import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit.errors import (
    AuthError,
    ClosedError,
    DeadlineExceeded,
    NotSupportedError,
    ProtocolError,
    RequestRejected,
    StoreUnavailable,
    TimestampError,
    UnknownNameError,
)
from featkit.stores.base import open_store
from featkit.stores.databricks.rows import shaped
from featkit.testing import described
from tests.fakes.databricks import CATALOG, SCHEMA, WAREHOUSES, DatabricksFake, workspace
from tests.faults.striking import strike, when
from tests.stores.test_databricks import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.wire import Answer, Asked

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


@pytest.mark.slow
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


def test_chunks_come_side_by_side_and_keep_their_order(
    fake: DatabricksFake, oracle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, asking, met = fake.storage, itertools.count(1), threading.Event()

    def meeting(asked: Asked) -> Answer:
        """Answer nobody before two have asked."""
        if next(asking) > 1:
            met.set()
        assert met.wait(timeout=10)
        return storage(asked)

    monkeypatch.setattr(fake, "storage", meeting)
    fake.expired_links = 5
    moments = [START + timedelta(minutes=5 * step) for step in range(280)]
    spine = pl.DataFrame({"user_id": [step % 5 for step in range(280)], "when": moments})
    options: dict[str, Any] = {"views": TTL, "endpoint": None, "warehouse_id": "wh1"}
    with workspace(fake) as url, featkit.connect(opened(url, **options)) as client:
        found = client.get_historical_features(spine, FEATURES, at="when")
    right = oracle.get_historical_features(spine, FEATURES, at="when")
    assert_frame_equal(found.frame, right.frame)
    assert max(map(len, fake.statements.values())) > 2 * 16  # chunks, of waves of 16


def test_views_are_joined_side_by_side_and_a_failure_cancels_the_others(
    fake: DatabricksFake, spine: pl.DataFrame
) -> None:
    fake.running = 10**6
    view, rows = PLACES
    fake.views = [BALANCES, (view, rows.drop("city"))]
    told = fake._told  # noqa: SLF001 - a fake: what fails has failed at once
    fake._told = lambda name: (  # type: ignore[method-assign] # noqa: SLF001
        {"statement_id": name, "status": fake.statements[name]}
        if isinstance(fake.statements[name], dict)
        else told(name)
    )
    options: dict[str, Any] = {"views": TTL, "endpoint": None, "warehouse_id": "wh1"}
    with workspace(fake) as url, featkit.connect(opened(url, **options)) as client:
        with pytest.raises(RequestRejected, match="FAILED: BAD_REQUEST"):
            client.get_historical_features(spine, FEATURES, at="when")
        ran = [name for name, own in fake.statements.items() if not isinstance(own, dict)]
        assert len(ran) == 1
        assert fake.cancelled == ran


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


@pytest.mark.parametrize(
    ("zone", "said"),
    [(None, r"'at' has times without a zone; .*timezone='UTC'"), ("Europe/Oslo", "02:30:00 came")],
)
def test_times_without_a_zone_are_never_guessed(zone: str | None, said: str) -> None:
    """In Oslo the clock showed 02:30 twice that night."""
    rows = pl.DataFrame({"user_id": [1], "at": [datetime(2024, 10, 27, 2, 30, tzinfo=UTC)]})
    view = described(rows.with_columns(a=1.5), name="v", join_keys="user_id", timestamp="at")
    spine = rows.with_columns(when=pl.col("at"))
    known = {"catalog": CATALOG, "schema": SCHEMA, "token": "dapi-canary", "warehouse_id": "wh1"}
    with workspace(DatabricksFake([view], naive=True)) as url:
        store = open_store(f"databricks+{url}", known, timezone=zone)
        with featkit.connect(store) as client, pytest.raises(TimestampError, match=said):
            client.get_historical_features(spine, ["v:a"], at="when")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_time_series_of_days_begins_with_each_day(zone: str) -> None:
    """A day is known from its midnight on, in the zone that is told."""
    days = [datetime(2024, 5, day, tzinfo=UTC) for day in (1, 2)]
    rows = pl.DataFrame({"user_id": [1, 1], "at": days, "a": [1.0, 2.0]})
    view = described(rows, name="v", join_keys="user_id", timestamp="at")
    midnight = datetime(2024, 5, 2, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    moments = [midnight - timedelta(seconds=1), midnight]
    spine = pl.DataFrame({"user_id": [1, 1], "when": moments})
    known = {"catalog": CATALOG, "schema": SCHEMA, "token": "dapi-canary", "warehouse_id": "wh1"}
    with workspace(DatabricksFake([view], days=True)) as url:
        store = open_store(f"databricks+{url}", known, timezone=zone)
        with featkit.connect(store) as client:
            made = client.get_historical_features(spine, ["v:a"], at="when").frame
    assert made["a"].to_list() == [1.0, 2.0]


@pytest.mark.parametrize("there", [True], indirect=True)
def test_where_there_is_no_moment_no_statement_is_made(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame
) -> None:
    for nothing in (spine.head(0), spine.with_columns(user_id=pl.lit(None, pl.Int64))):
        made = client.get_historical_features(nothing, FEATURES, at="when", feature_timestamps=True)
        assert made.frame.height == nothing.height
        assert made.frame["amount"].null_count() == nothing.height
    assert not fake.statements


@pytest.mark.parametrize("pushdown", [True, False])
@pytest.mark.parametrize(
    "keys",
    [
        pl.Series([2**63 - 1, -(2**63), 0]),
        pl.Series([True, False, None]),
        pl.Series([date(2024, 2, 29), date(1900, 1, 1), None]),
        pl.Series([0.1, 1e300, -5e-324]),
        pl.Series([START, START + timedelta(microseconds=1), None]),
        pl.Series(["007", "'); DROP TABLE `v`; -- \\", 'é"🦉`%s:until']),
    ],
    ids=["integers", "booleans", "days", "floats", "times", "texts"],
)
def test_keys_of_any_type_find_their_rows_and_no_others(keys: pl.Series, pushdown: bool) -> None:  # noqa: FBT001 - a parameter
    name = "k`; --"
    rows = pl.DataFrame({name: keys, "at": [START] * 3, "f`": [1, 2, 3]})
    view = described(rows.drop_nulls(name), name="v`", join_keys=name, timestamp="at")
    right = rows.select(pl.when(pl.col(name).is_not_null()).then("f`"))["f`"].to_list()
    options = {"warehouse_id": "wh1", "views": {}, "pushdown": pushdown}
    with (
        workspace(DatabricksFake([view])) as url,
        featkit.connect(opened(url, **options)) as client,
    ):
        spine = rows.select(name, when="at")
        made = client.get_historical_features(spine, ["v`:f`"], at="when").frame
    assert made["f`"].to_list() == right


def test_structs_have_the_json_of_lookups_and_not_what_arrow_makes_of_them() -> None:
    rows = pl.DataFrame(
        {
            "user_id": [1, 2],
            "at": [START, START],
            "place": [{"city": 'O,sl"o', "seen": START}, None],
            "many": [[{"seen": START}], []],
        }
    ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
    view = described(rows, name="v", join_keys="user_id", timestamp="at")
    with workspace(DatabricksFake([view])) as url:
        for pushdown in (True, False):
            options = {"warehouse_id": "wh1", "pushdown": pushdown, "views": {}}
            with featkit.connect(opened(url, **options)) as client:
                spine = rows.select("user_id", when="at")
                made = client.get_historical_features(spine, ["v:place", "v:many"], at="when").frame
            assert json.loads(made["place"][0])["city"] == 'O,sl"o'
            assert made["place"][1] is None
            assert [list(map(json.loads, own)) for own in made["many"]] == [
                [{"seen": json.loads(made["place"][0])["seen"]}],
                [],
            ]


@pytest.mark.parametrize("values", [[[1, 2], None, []], ["[1, 2]", None, "[]"]])
def test_nested_columns_may_come_as_json_as_well(values: list[Any]) -> None:
    marks = featkit.Feature("marks", pl.List(pl.Int32()), store_type="array<int>")
    found = shaped(pl.DataFrame({"marks": values}), {}, [marks], None)
    assert found["marks"].to_list() == [[1, 2], None, []]
    assert found.schema["marks"] == pl.List(pl.Int32())


def test_a_result_of_wider_numbers_is_not_cut() -> None:
    marks = featkit.Feature("marks", pl.Int64(), store_type="bigint")
    with pytest.raises(ProtocolError, match=r"'marks' came as float64 and cannot .* loss.*1\.5"):
        shaped(pl.DataFrame({"marks": [1.0, 1.5]}), {}, [marks], None)


def test_a_column_that_is_no_longer_of_its_type_is_named(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame
) -> None:
    client.get_feature_metadata("balances")
    view, rows = BALANCES
    changed = rows.with_columns(amount=pl.lit("x"))
    fake.views = [(view, changed), PLACES]
    with pytest.raises(ProtocolError, match="'amount' came as string and cannot become float64"):
        client.get_historical_features(spine, ["balances:amount"], at="when")


@pytest.mark.parametrize(
    ("state", "said"),
    [("CANCELED", "CANCELED: somebody cancelled it"), ("CLOSED", "CLOSED: its result was fetched")],
)
def test_what_became_of_a_statement_is_told(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame, state: str, said: str
) -> None:
    fake.ended = {"status": {"state": state}}
    with pytest.raises(RequestRejected, match=said):
        client.get_historical_features(spine, FEATURES, at="when")


def test_what_one_may_not_read_is_about_credentials(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame
) -> None:
    error = {"error_code": "BAD_REQUEST", "message": "[INSUFFICIENT_PERMISSIONS] no SELECT"}
    fake.ended = {"status": {"state": "FAILED", "error": error, "sql_state": "42501"}}
    with pytest.raises(AuthError, match="INSUFFICIENT_PERMISSIONS"):
        client.get_historical_features(spine, FEATURES, at="when")


@pytest.mark.parametrize(
    ("manifest", "said"),
    [(None, "not what its result is"), ({"truncated": True}, "cut the result .* short, at 0 rows")],
)
def test_a_result_of_which_nothing_is_known_is_not_taken_for_no_rows(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame, manifest: Any, said: str
) -> None:
    fake.ended = {"status": {"state": "SUCCEEDED"}, "manifest": manifest}
    with pytest.raises(ProtocolError, match=said):
        client.get_historical_features(spine, FEATURES, at="when")


def test_a_result_that_breaks_off_is_no_arrow_stream(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame
) -> None:
    fake.cut = 60
    with pytest.raises(ProtocolError, match="no Arrow stream") as caught:
        client.get_historical_features(spine, ["balances:note"], at="when")
    assert "signature" not in str(caught.value)


def test_storage_that_refuses_every_link_is_told_by_what_it_says(
    fake: DatabricksFake, client: Any, spine: pl.DataFrame
) -> None:
    fake.expired_links = 99
    with pytest.raises(
        StoreUnavailable, match=r"127\.0\.0\.1, refuses .* 403: '<Code>Acc"
    ) as caught:
        client.get_historical_features(spine, ["balances:note"], at="when")
    assert "signature" not in str(caught.value)


# -- what nobody waits for any more ends at the warehouse ------------------------------------------


def _cancelled(fake: DatabricksFake) -> bool:
    """Tell whether the statements are cancelled, once that has had its time."""
    ends = time.monotonic() + 30
    while len(fake.cancelled) < len(fake.statements) and time.monotonic() < ends:
        time.sleep(0.01)
    return bool(fake.statements) and set(fake.cancelled) == set(fake.statements)


def _running(fake: DatabricksFake) -> bool:
    """Tell whether it was asked what became of a statement, which the fake ran before."""
    return any("/sql/statements/" in each.path for each in list(fake.asked))


def test_a_statement_is_cancelled_where_its_time_is_up(fake: DatabricksFake) -> None:
    fake.running = 10**6
    spine = pl.DataFrame({"user_id": [1], "when": [START]})
    with workspace(fake) as url:
        options: dict[str, Any] = {"warehouse_id": "wh1", "views": {}}
        with featkit.connect(opened(url, **options), timeout="1.5s") as client:
            with pytest.raises(
                DeadlineExceeded, match=r"\(the statement was RUNNING; it is cancel"
            ):
                client.get_historical_features(spine, ["balances:amount"], at="when")
            assert _cancelled(fake)


def test_a_statement_is_cancelled_with_its_task(fake: DatabricksFake) -> None:
    fake.running = 10**6
    spine = pl.DataFrame({"user_id": [1], "when": [START]})

    async def ask(url: str) -> None:
        options: dict[str, Any] = {"warehouse_id": "wh1", "views": {}}
        async with featkit.connect_async(opened(url, **options)) as client:
            task = asyncio.create_task(
                client.get_historical_features(spine, ["balances:amount"], at="when")
            )
            while not _running(fake):  # noqa: ASYNC110 - it is another thread that runs it
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with workspace(fake) as url:
        asyncio.run(ask(url))
        assert _cancelled(fake)


def test_a_statement_is_cancelled_where_the_client_is_closed(fake: DatabricksFake) -> None:
    fake.running = 10**6
    spine = pl.DataFrame({"user_id": [1], "when": [START]})
    options: dict[str, Any] = {"warehouse_id": "wh1", "views": {}}
    with workspace(fake) as url, featkit.connect(opened(url, **options)) as client:
        with (
            pytest.raises((ClosedError, RequestRejected), match=r"client was closed|CANCELED"),
            when(lambda: _running(fake), client.close),
        ):
            client.get_historical_features(spine, ["balances:amount"], at="when")
        assert set(fake.cancelled) == set(fake.statements)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_statement_is_cancelled_by_ctrl_c(fake: DatabricksFake) -> None:
    fake.running = 10**6
    spine = pl.DataFrame({"user_id": [1], "when": [START]})

    with workspace(fake) as url:
        options: dict[str, Any] = {"warehouse_id": "wh1", "views": {}}
        with featkit.connect(opened(url, **options)) as client:
            with pytest.raises(KeyboardInterrupt), when(lambda: _running(fake), strike):
                client.get_historical_features(spine, ["balances:amount"], at="when")
            assert _cancelled(fake)


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
            pytest.raises(NotSupportedError, match=r"\(option\); .*warehouse_id='ID'\)$"),
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
