"""Feast over the wire, against a fake that is as strict and as odd as its servers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl
import pytest

import featkit
from featkit import Status
from featkit.calls import HttpReply
from featkit.errors import (
    AuthError,
    ExpiredWarning,
    NotSupportedError,
    ProtocolError,
    RequestRejected,
    RowMismatch,
    SettingsError,
    StoreError,
    UnknownNameError,
)
from featkit.schema import FeatureRef, FeatureService
from featkit.stores.base import open_store
from featkit.stores.feast.registry import Services, decode_metadata, service_of
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views, described
from tests.fakes.feast import PROJECT, FeastFake, served
from tests.fakes.feast_flight import OfflineFake, offline_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.staleness import ViewStaleness
    from featkit.stores.base import Store

DATA = Path(__file__).parents[1] / "data" / "feast"
TOKEN = "canary-token-4711"
SERVICE = FeatureService("model", (FeatureRef("customers", "visits"), FeatureRef("notes", "text")))


@pytest.fixture
def fake() -> FeastFake:
    return FeastFake(contract_views(), services=[SERVICE], token=TOKEN)


@pytest.fixture
def url(fake: FeastFake) -> Iterator[str]:
    with served(fake) as url:
        yield url


def opened(url: str, **options: Any) -> Store:
    known = {"registry_url": url, "project": PROJECT, "token": TOKEN}
    return open_store(f"feast+{url}", known | options)


@pytest.mark.slow
class TestFeast(StoreContract):
    secret = TOKEN

    @pytest.fixture
    def store(self, url: str) -> Store:
        return opened(url)

    @pytest.fixture(params=["aware", "naive"])
    def past(self, url: str, request: pytest.FixtureRequest) -> Iterator[Store]:
        with offline_server(contract_views(), token=TOKEN) as server:
            server.naive = request.param == "naive"
            yield opened(url, offline_url=f"grpc://127.0.0.1:{server.port}")


@pytest.fixture
def client(url: str) -> Iterator[featkit.FeatureStoreClient]:
    with featkit.connect(opened(url), now=CONTRACT_NOW) as client:
        yield client


def test_keys_are_sent_once_in_batches_without_nulls(
    fake: FeastFake, client: featkit.FeatureStoreClient
) -> None:
    keys = [*range(10_000, 16_001), None, 10_007, 10_007]
    client.lookup({"customer_id": keys}, ["customers:active"])
    sent = [body["entities"]["customer_id"] for body in fake.requests]
    assert sorted(len(batch) for batch in sent) == [3000, 3001]
    assert sorted(key for batch in sent for key in batch) == list(range(10_000, 16_001))


def test_services_are_read(client: featkit.FeatureStoreClient) -> None:
    assert client.list_feature_services() == [SERVICE]


@pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
def test_a_service_reads_a_view_under_two_sets_of_join_keys(
    fake: FeastFake, client: featkit.FeatureStoreClient
) -> None:
    visits = FeatureRef("customers", "visits")
    pair = FeatureService(
        "pair",
        (visits.under("first", customer_id="a"), visits.under("second", customer_id="b")),
    )
    fake.services.append(pair)
    assert pair in client.list_feature_services()
    found = client.lookup({"a": [1, 2], "b": [2, 404]}, "pair").values
    plain = client.lookup([1, 2, 404], [visits]).values["visits"]
    assert found.columns == ["first__visits", "second__visits"]
    assert found["first__visits"].to_list() == plain[:2].to_list()
    assert found["second__visits"].to_list() == plain[1:].to_list()


@pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
def test_a_wrong_token_is_said_so(url: str) -> None:
    with featkit.connect(opened(url, token="wrong")) as client:
        with pytest.raises(AuthError, match="Invalid or expired access token") as caught:
            client.list_feature_views()
        assert "wrong" not in str(caught.value).replace("is wrong", "")
        report = client.check_health()
    assert not report.healthy
    assert report.reachable
    assert not report.authorized


def test_a_token_from_a_callable_is_asked_again_once(url: str) -> None:
    tokens = [TOKEN, "expired"]
    with featkit.connect(opened(url, token=tokens.pop)) as client:
        assert client.get_feature_metadata("routes").name == "routes"


def test_an_unknown_project_is_found_by_the_health_check(url: str) -> None:
    with featkit.connect(opened(url, project="other")) as client:
        report = client.check_health()
    assert "registry" in report.reason


def test_a_view_that_is_not_online_is_refused_before_any_call(
    fake: FeastFake, client: featkit.FeatureStoreClient
) -> None:
    fake.views = [(replace(view, online=False), rows) for view, rows in fake.views]
    with pytest.raises(NotSupportedError, match="'customers' is not served online"):
        client.lookup([1], ["customers:visits"])
    assert fake.requests == []


@pytest.mark.parametrize("target", ["feast:localhost", "feast+ftp://localhost", "feast+http:x"])
def test_a_target_without_server_is_refused(target: str) -> None:
    with pytest.raises(SettingsError, match="feast\\+http://HOST"):
        open_store(target, {"registry_url": "http://127.0.0.1", "project": "p"})


def test_settings_name_the_server(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    (tmp_path / "featkit.toml").write_text(
        f'backend = "feast"\n[feast]\nserver_url = "{url}"\nregistry_url = "{url}"\n'
        f'project = "{PROJECT}"\ntimeout = "9s"\ntoken = {{ env = "FEAST_TOKEN" }}\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEAST_TOKEN", TOKEN)
    with featkit.connect(now=CONTRACT_NOW) as client:
        assert client.target == f"feast+{url}"
        assert client.lookup([1], ["customers:active"]).to_dicts() == [{"active": True}]


def test_a_recorded_service_with_renamed_keys_is_described() -> None:
    recorded = json.loads((DATA / "registry" / "feature_services_pair.json").read_text())
    body = json.dumps({"featureServices": [recorded["response"]["body"]]})
    told = decode_metadata(Services, HttpReply(200, {}, bytearray(body.encode())))
    (service,) = (service_of(item.spec) for item in told.feature_services)
    conv_rate = FeatureRef("driver_hourly_stats", "conv_rate")
    assert service.features == (
        conv_rate.under("first", driver_id="first_id"),
        conv_rate.under("second", driver_id="second_id"),
    )


# ---- answers that lie ----

Change = "Callable[[dict[str, Any]], object]"


def _named(body: dict[str, Any], name: str) -> dict[str, Any]:
    return body["results"][body["metadata"]["feature_names"].index(name)]


def _each(body: dict[str, Any], change: Callable[[list[Any]], list[Any]]) -> None:
    for vector in body["results"]:
        for part in vector:
            vector[part] = change(vector[part])


def _swap_rows_of_values(body: dict[str, Any]) -> None:
    _each(body, lambda column: column[::-1])


def _echo_another(body: dict[str, Any]) -> None:
    _named(body, "customer_id")["values"][0] = 404


def _echo_twice(body: dict[str, Any]) -> None:
    values = _named(body, "customer_id")["values"]
    values[0] = values[1]


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "first row dropped": lambda body: _each(body, lambda column: column[1:]),
    "last row dropped": lambda body: _each(body, lambda column: column[:-1]),
    "a row too many": lambda body: _each(body, lambda column: [*column, column[0]]),
    "a row twice": lambda body: _each(body, lambda column: [column[0], *column[:-1]]),
    "one column short": lambda body: _named(body, "customers__visits")["values"].pop(),
    "statuses short": lambda body: _named(body, "customers__visits")["statuses"].pop(),
    "times long": lambda body: _named(body, "customers__visits")["event_timestamps"].append("x"),
    "another entity echoed": _echo_another,
    "an entity echoed twice": _echo_twice,
    "an unknown status": lambda body: _named(body, "customers__visits").update(
        statuses=["MAYBE"] * 3
    ),
    "a null status": lambda body: _named(body, "customers__visits").update(statuses=[None] * 3),
    "a value marked missing": lambda body: _named(body, "customers__visits").update(
        statuses=["NOT_FOUND"] * 3
    ),
    "a feature renamed": lambda body: body["metadata"]["feature_names"].__setitem__(-1, "other"),
    "a feature twice": lambda body: body["metadata"]["feature_names"].__setitem__(
        -1, "customer_id"
    ),
    "a feature missing": lambda body: (
        body["results"].pop(),
        body["metadata"]["feature_names"].pop(),
    ),
    "a result without a name": lambda body: body["results"].append(body["results"][0]),
    "no metadata": lambda body: body.pop("metadata"),
    "no results": lambda body: body.pop("results"),
    "values of another type": lambda body: _named(body, "customers__visits").update(
        values=["1", "2", "3"]
    ),
    "a fraction for an integer": lambda body: _named(body, "customers__visits").update(
        values=[1.5, 2, 3]
    ),
    "beyond 64 bits": lambda body: _named(body, "customers__visits").update(values=[2**63, 2, 3]),
    "nested": lambda body: _named(body, "customers__visits").update(values=[[1], [2], [3]]),
    "wrapped": lambda body: _named(body, "customers__visits").update(values=[[1, 2, 3]]),
    "times without a name": lambda body: _named(body, "customers__visits").pop("event_timestamps"),
}


def lying(change: Callable[[dict[str, Any]], object], fake: FeastFake) -> httpx.Client:
    """Make a client whose lookups are answered by the fake, and then falsified."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            query = {key: [value] for key, value in request.url.params.items()}
            return httpx.Response(200, json=fake.registry(request.url.path, query))
        body = json.loads(json.dumps(fake.online(json.loads(request.content))))
        change(body)
        return httpx.Response(200, json=body)

    return httpx.Client(transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("name", LIES)
def test_no_lie_becomes_a_wrong_row(fake: FeastFake, name: str) -> None:
    with (
        lying(LIES[name], fake) as http,
        featkit.connect(opened("http://127.0.0.1:6566"), client=http, now=CONTRACT_NOW) as client,
        pytest.raises((RowMismatch, ProtocolError)) as caught,
    ):
        client.lookup([1, 8, 0], ["customers:visits", "customers:name"])
    assert isinstance(caught.value, StoreError)
    assert "get-online-features" in str(caught.value)


def test_rows_in_another_order_are_joined_by_the_echoed_key(fake: FeastFake) -> None:
    with (
        lying(_swap_rows_of_values, fake) as http,
        featkit.connect(opened("http://127.0.0.1:6566"), client=http, now=CONTRACT_NOW) as client,
    ):
        found = client.lookup([1, 8, 0], ["customers:name"])
    assert found.values["name"].to_list() == ["🦉 o'wl", "corrected", "zero"]


def test_an_unreadable_time_is_unknown_and_never_fresh(fake: FeastFake) -> None:
    def change(body: dict[str, Any]) -> None:
        times = ["yesterday", "2024-05-01T12:00:00Z", "0001-01-01T00:00:00Z"]
        _named(body, "customers__visits")["event_timestamps"] = times

    with (
        lying(change, fake) as http,
        featkit.connect(opened("http://127.0.0.1:6566"), client=http, now=CONTRACT_NOW) as client,
        pytest.warns(ExpiredWarning),
    ):
        found = client.lookup([1, 8, 0], ["customers:visits"])
    assert found.timestamps["visits"].to_list()[:2] == [None, CONTRACT_NOW]
    assert found.statuses["visits"].to_list()[1:] == [Status.PRESENT, Status.EXPIRED]


def test_redis_says_present_of_what_it_does_not_know(fake: FeastFake) -> None:
    def change(body: dict[str, Any]) -> None:
        vector = _named(body, "customers__visits")
        vector["statuses"] = ["PRESENT"] * 2

    with (
        lying(change, fake) as http,
        featkit.connect(opened("http://127.0.0.1:6566"), client=http, now=CONTRACT_NOW) as client,
    ):
        found = client.lookup([4, 404], ["customers:visits"])
    assert found.statuses["visits"].to_list() == [Status.NULL, Status.NOT_FOUND]


# ---- refusals ----


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (500, "'Feature nope not found'", RequestRejected, "Feast says: 'Feature nope not found'"),
        (
            404,
            json.dumps({"module": "m", "class": "FeatureViewNotFoundException", "message": "gone"}),
            UnknownNameError,
            "404: Feast says: gone",
        ),
        (422, {"detail": [{"msg": "bad", "loc": ["body"]}]}, RequestRejected, "bad at"),
        (403, {"detail": "not yours"}, AuthError, "not yours"),
        (400, {"error": "go says no", "status_code": 400}, RequestRejected, "go says no"),
        (500, {"detail": "x", "error_type": "FeastPermissionError"}, AuthError, "x"),
    ],
)
def test_a_refusal_is_told_in_feasts_words_and_not_tried_again(
    fake: FeastFake, status: int, body: object, error: type[Exception], words: str
) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            query = {key: [value] for key, value in request.url.params.items()}
            return httpx.Response(200, json=fake.registry(request.url.path, query))
        asked.append(request)
        return httpx.Response(status, json=body)

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        featkit.connect(opened("http://127.0.0.1:6566"), client=http) as client,
        pytest.raises(error, match=words),
    ):
        client.lookup([1], ["customers:visits"])
    assert len(asked) == 1


def test_ages_are_judged_by_the_ttl_of_the_registry(client: featkit.FeatureStoreClient) -> None:
    assert client.get_feature_metadata("customers").ttl == timedelta(hours=3)
    with pytest.warns(ExpiredWarning, match="1 of 2"):
        found = client.lookup([2, 3], ["customers:visits"])
    assert found.statuses["visits"].to_list() == [Status.PRESENT, Status.EXPIRED]


def test_keys_of_many_types_reach_the_server(fake: FeastFake) -> None:
    frame = pl.DataFrame({"at": [CONTRACT_NOW], "tag": [b"\x00\xff"], "x": [1]}).with_columns(
        pl.col("at").cast(pl.Datetime("us", "UTC"))
    )
    fake.views = [described(frame, name="odd", join_keys=["at", "tag"])]
    with (
        lying(lambda _: None, fake) as http,
        featkit.connect(opened("http://127.0.0.1:6566"), client=http) as client,
    ):
        client.lookup(frame.select("at", "tag"), ["odd:x"])
    assert fake.requests[0]["entities"] == {"at": [int(CONTRACT_NOW.timestamp())], "tag": ["AP8="]}


# -- the offline server in audits ------------------------------------------------------------------


@pytest.fixture
def offline() -> Iterator[OfflineFake]:
    with offline_server(contract_views(), token=TOKEN) as server:
        yield server


def audited(url: str, server: OfflineFake) -> ViewStaleness:
    store = opened(url, offline_url=f"grpc://127.0.0.1:{server.port}")
    with featkit.connect(store, now=CONTRACT_NOW) as client:
        report = client.staleness(["customers:visits"], [1, 2], compare_offline=True)
    return report["customers"]


def test_the_latest_rows_are_asked_for_as_feast_materialises_them(
    url: str, offline: OfflineFake
) -> None:
    assert str(audited(url, offline).lag) == "online is up to date for 2"
    assert offline.asked == [
        {
            "api": "pull_latest_from_table_or_query",
            "data_source_name": "customers_source",
            "join_key_columns": ["customer_id"],
            "feature_name_columns": ["visits"],
            "timestamp_field": "event_timestamp",
            "created_timestamp_column": "created_timestamp",
            "start_date": "1970-01-01T00:00:00+00:00",
            "end_date": "2024-05-01T12:00:00+00:00",
        }
    ]


def test_columns_go_by_the_names_that_they_have_in_the_source(
    fake: FeastFake, url: str, offline: OfflineFake
) -> None:
    fake.mapping = {"cust": "customer_id", "n": "visits", "ts": "event_timestamp"}
    others = {name: own for own, name in fake.mapping.items()}
    rows = offline.sources["customers_source"]
    offline.sources["customers_source"] = rows.rename(others)
    assert str(audited(url, offline).lag) == "online is up to date for 2"


def test_an_offline_server_that_refuses_leaves_the_view_judged(
    url: str, offline: OfflineFake
) -> None:
    del offline.sources["customers_source"]
    view = audited(url, offline)
    assert (view.verdict, view.lag) == ("warn", None)
    assert "offline times cannot be read" in view.notes[-1]
    assert "Data source customers_source does not exist" in view.notes[-1]


def test_who_names_no_offline_server_is_told_how(client: featkit.FeatureStoreClient) -> None:
    report = client.staleness(["customers:visits"], [1], compare_offline=True)
    (note,) = report["customers"].notes
    assert note == (
        "not compared with offline: event timestamps of the history come from Feast's offline "
        "server; say where it is with connect(..., offline_url='grpc://HOST:8815')"
    )
