"""Training sets from BigQuery, whose SQL a DuckDB runs."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit.errors import DeadlineExceeded, RequestRejected, StoreUnavailable
from featkit.testing import described
from tests.fakes.vertex import VertexFake, google
from tests.fakes.wire import Answer, Asked, served
from tests.stores.test_databricks_history import (
    BALANCES,
    FEATURES,
    PLACES,
    oracle,
    spine,
    there,
)
from tests.stores.test_vertex import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["oracle", "spine", "there"]  # fixtures
VIEWS = {"balances": {"ttl": "2h", "timestamp": "at"}}


@pytest.fixture
def fake() -> VertexFake:
    return VertexFake([BALANCES, PLACES])


@pytest.fixture
def client(fake: VertexFake, there: bool) -> Iterator[featkit.FeatureStoreClient]:  # noqa: FBT001 - a fixture
    options = {"views": VIEWS, "pushdown": there}
    with google(fake) as url, featkit.connect(opened(url, **options)) as client:
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
@pytest.mark.parametrize("in_groups", [True, False])
def test_training_sets_are_those_of_the_rows(  # noqa: PLR0917 - fixtures and parameters
    fake: VertexFake,
    client: Any,
    oracle: Any,
    spine: pl.DataFrame,
    options: dict[str, Any],
    in_groups: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    fake.in_groups = in_groups
    found = client.get_historical_features(spine, FEATURES, at="when", **options)
    right = oracle.get_historical_features(spine, FEATURES, at="when", **options)
    assert_frame_equal(found.frame, right.frame)


def test_nested_values_are_exact(there: bool) -> None:  # noqa: FBT001 - a fixture
    day, moment = date(2024, 5, 1), datetime(2024, 5, 1, 12, 0, 0, 450_001, tzinfo=UTC)
    values = {
        "ints": [[2**53 + 1, -(2**63), 1], [], None],
        "floats": [[0.1, math.inf, -math.inf, 1e-300], [], None],
        "texts": [["", 'ü`"', "null"], [], None],
        "flags": [[True, False], [], None],
        "bytes": [[b"\x00\xff", b""], [], None],
        "days": [[day], [], None],
        "moments": [[moment], [], None],
        "record": [
            {"n": 2**53 + 1, "x": math.inf, "b": b"\xff", "at": moment, "in": {"t": "a"}},
            {"n": None, "x": None, "b": None, "at": None, "in": None},
            None,
        ],
    }
    time_ = pl.Datetime("us", "UTC")
    inner = pl.Struct({"t": pl.String()})
    record = {"n": pl.Int64(), "x": pl.Float64(), "b": pl.Binary(), "at": time_, "in": inner}
    schema = {
        "ints": pl.List(pl.Int64()),
        "bytes": pl.List(pl.Binary()),
        "moments": pl.List(time_),
        "record": pl.Struct(record),
    }
    rows = pl.DataFrame(values, schema_overrides=schema, strict=False)
    rows = rows.with_columns(k=pl.int_range(3, dtype=pl.Int64), at=pl.lit(moment, time_))
    fake = VertexFake([described(rows, name="deep", join_keys="k", timestamp="at")])
    spine = pl.DataFrame({"k": [0, 1, 2, 7], "when": [moment] * 4}).cast({"when": time_})
    with google(fake) as url, featkit.connect(opened(url, pushdown=there, views={})) as client:
        found = client.get_historical_features(spine, ["deep:*"], at="when").frame
    right = spine.join(rows.drop("at"), on="k", how="left", maintain_order="left")
    assert_frame_equal(found, right, check_column_order=False)


@pytest.mark.parametrize("there", [True], indirect=True)
def test_the_spine_goes_with_the_query_and_nothing_else_comes_back(
    fake: VertexFake, client: Any, spine: pl.DataFrame
) -> None:
    client.get_historical_features(spine, ["balances:amount"], at="when")
    (sent,) = [each for each in fake.asked if each.path.endswith("/queries")]
    spines = [
        json.loads(each["parameterValue"]["value"])
        for each in json.loads(sent.body)["queryParameters"]
        if each["parameterType"]["type"] == "STRING"
    ]
    moments = spine.drop_nulls().unique()
    assert [len(own) for own in spines] == [moments.height]
    assert fake.answered == moments.height


@pytest.mark.parametrize("there", [False], indirect=True)
def test_names_are_quoted_and_times_are_parameters(
    fake: VertexFake,
    client: Any,
    spine: pl.DataFrame,
) -> None:
    client.get_historical_features(spine, ["balances:amount"], at="when")
    (sent,) = [each for each in fake.asked if each.path.endswith("/queries")]
    body = json.loads(sent.body)
    assert body["query"] == (
        "SELECT `user_id`, `at`, `amount` FROM `p.lake.balances` "
        "WHERE `at` <= @until AND `at` >= @since"
    )
    assert [each["name"] for each in body["queryParameters"]] == ["until", "since"]


def test_a_query_that_runs_is_waited_for(
    fake: VertexFake,
    client: Any,
    oracle: Any,
    spine: pl.DataFrame,
) -> None:
    fake.running = 3
    found = client.get_historical_features(spine, ["balances:note"], at="when")
    right = oracle.get_historical_features(spine, ["balances:note"], at="when")
    assert_frame_equal(found.frame, right.frame)


def test_a_query_with_a_warning_went_well_and_one_without_a_count_did_not(
    fake: VertexFake, spine: pl.DataFrame
) -> None:
    warned = {"errors": [{"reason": "invalid", "message": "a partition was skipped"}]}

    def answers(change: Callable[[dict[str, Any]], object]) -> Any:
        said = fake.answer

        def answer(asked: Asked) -> Answer:
            reply = said(asked)
            if asked.path.endswith("/queries"):
                change(reply.body)
            return reply

        with served(answer) as url, featkit.connect(opened(url, views=VIEWS)) as client:
            return client.get_historical_features(spine, ["balances:note"], at="when").frame

    assert answers(lambda body: body.update(warned)).height == spine.height
    with pytest.raises(StoreUnavailable, match="the query failed: a partition was skipped"):
        answers(lambda body: (body.update(warned), body.pop("totalRows")))


def test_a_query_is_cancelled_where_its_time_is_up(fake: VertexFake, spine: pl.DataFrame) -> None:
    fake.running = 10**6
    with google(fake) as url, featkit.connect(opened(url, views=VIEWS), timeout="1.5s") as client:
        with pytest.raises(DeadlineExceeded):
            client.get_historical_features(spine, ["balances:note"], at="when")
        ends = time.monotonic() + 30
        while not fake.cancelled and time.monotonic() < ends:
            time.sleep(0.01)
    assert fake.cancelled == ["job0"]
    assert 10**6 - fake.running < 10  # it was not asked again and again


def test_bigquery_that_has_too_much_to_do_is_asked_again(
    fake: VertexFake, client: Any, spine: pl.DataFrame
) -> None:
    client.get_feature_metadata("balances")
    fake.refusing = ["rateLimitExceeded", "jobRateLimitExceeded", "jobBackendError"]
    found = client.get_historical_features(spine, ["balances:note"], at="when")
    assert found.frame.height == spine.height
    fake.refusing = ["quotaExceeded"]
    with pytest.raises(RequestRejected, match="403: Google says: quotaExceeded: Slow down"):
        client.get_historical_features(spine, ["balances:note"], at="when")


def test_a_query_that_bigquery_refuses_is_told(
    fake: VertexFake,
    client: Any,
    spine: pl.DataFrame,
) -> None:
    client.get_feature_metadata("balances")
    view, rows = BALANCES
    fake.views = [(view, rows.drop("note")), PLACES]
    with pytest.raises(RequestRejected, match="Google says: INVALID_ARGUMENT: Binder Error"):
        client.get_historical_features(spine, ["balances:note"], at="when")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"lookback": {"balances": "45m"}}, {"feature_timestamps": True}], ids=str
)
def test_a_view_of_several_tables_is_joined_table_by_table(
    fake: VertexFake, client: Any, oracle: Any, spine: pl.DataFrame, options: dict[str, Any]
) -> None:
    fake.two_tables = True
    found = client.get_historical_features(spine, FEATURES, at="when", **options)
    right = oracle.get_historical_features(spine, FEATURES, at="when", **options)
    assert_frame_equal(found.frame, right.frame)
    sent = [each.body for each in fake.asked if each.path.endswith("/queries")]
    assert len([body for body in sent if b"balances_more" in body]) == 1
    assert client.get_feature_metadata("balances").source.count("bq://") == 2
