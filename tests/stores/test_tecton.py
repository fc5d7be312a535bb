"""Tecton over the wire, against a fake that is as strict as its protocol."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit import Retry, Status
from featkit.calls import HttpReply
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    ExpiredWarning,
    FeatkitError,
    KeyColumnError,
    KeyTypeError,
    NotSupportedError,
    ProtocolError,
    RequestRejected,
    RowMismatch,
    SettingsError,
    SettingsWarning,
    StoreUnavailable,
    ThrottledError,
    UnknownNameError,
    ViewWarning,
)
from featkit.schema import FeatureRef
from featkit.stores.base import open_store
from featkit.stores.tecton import TectonStore
from featkit.stores.tecton.messages import explained
from featkit.testing import CONTRACT_NOW, StoreContract, contract_keys, contract_views, described
from tests.fakes.tecton import (
    KEY,
    SERVICE_ACCOUNT,
    TOKEN_PATH,
    WORKSPACE,
    Column,
    Service,
    TectonFake,
    data_type,
)
from tests.fakes.wire import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.stores.base import Store

VIEWS = contract_views()
TOLD = {
    view.name: {
        "ttl": f"{view.ttl.total_seconds():g}s" if view.ttl else None,
        "static": view.timestamp is None,
        "description": view.description,
    }
    for view, _ in VIEWS
}
STRING, INT, FLOAT = ({"type": name} for name in ("string", "int64", "float64"))
SOON = Retry(attempts=3, base=timedelta(milliseconds=1))
RECORDED = json.loads((Path(__file__).parents[1] / "data/tecton/client.json").read_text("utf-8"))


@pytest.fixture
def fake() -> Iterator[TectonFake]:
    with TectonFake({view.name: Service.of((view, rows)) for view, rows in VIEWS}, most=5) as fake:
        yield fake


def opened(fake: TectonFake, **options: Any) -> Store:
    known = {
        "workspace": WORKSPACE,
        "api_key": KEY,
        "feature_services": list(fake.services),
        "views": TOLD,
    }
    return open_store(f"tecton+{fake.url}", known | options)


def connected(fake: TectonFake, **options: Any) -> featkit.FeatureStoreClient:
    return featkit.connect(opened(fake, **options), now=CONTRACT_NOW, retry=SOON, cache=None)


def test_names_in_the_settings_that_a_view_does_not_have_are_told(fake: TectonFake) -> None:
    views = {"customers": {"features": {"visit": "how many"}, "null_keys": ("customer",)}}
    with connected(fake, views=views) as client, pytest.warns(SettingsWarning) as warned:
        client.list_feature_views()
    told = [str(each.message) for each in warned]
    assert any("{'visit': {...}}" in each and "mean 'visits'" in each for each in told)
    assert any("{'customer': {...}}" in each and "mean 'customer_id'" in each for each in told)


@pytest.fixture
def client(fake: TectonFake) -> Iterator[featkit.FeatureStoreClient]:
    with connected(fake) as client:
        yield client


@pytest.mark.slow
class TestTecton(StoreContract):
    secret = KEY

    @pytest.fixture
    def store(self, fake: TectonFake) -> Store:
        return opened(fake)


@pytest.mark.slow
class TestTectonOneByOne(StoreContract):
    secret = KEY

    @pytest.fixture
    def store(self, fake: TectonFake) -> Store:
        return opened(fake, row_timestamps=True)


# -- how it asks -----------------------------------------------------------------------------------


def test_whole_numbers_are_sent_as_text_and_each_key_once(
    fake: TectonFake, client: featkit.FeatureStoreClient
) -> None:
    client.lookup({"customer_id": [1, None, *range(20, 31), 1]}, ["customers:visits"])
    sent = [
        [row["joinKeyMap"]["customer_id"] for row in params["requestData"]]
        for params in fake.lookups("get-features-batch")
    ]
    assert sorted(map(len, sent)) == [2, 5, 5]
    keys = {"1", *map(str, range(20, 31))}
    assert sorted(key for batch in sent for key in batch) == sorted(keys)


@pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
def test_the_answer_to_a_batch_is_that_to_single_lookups(fake: TectonFake) -> None:
    keys = contract_keys("customers")
    with connected(fake) as batch, connected(fake, row_timestamps=True) as single:
        whole = batch.lookup(keys, "customers:*")
        each = single.lookup(keys, "customers:*")
    assert_frame_equal(whole.values, each.values, check_exact=True)
    assert len(fake.lookups("get-features")) == keys.height


def test_a_batch_that_is_too_large_is_split_and_the_size_remembered(fake: TectonFake) -> None:
    fake.most = 30
    keys = list(range(1000, 1100))
    with connected(fake, batch_size=100) as client:
        for _ in range(2):
            found = client.lookup({"customer_id": keys}, ["customers:visits"])
            assert len(found) == 100
            sizes = [len(params["requestData"]) for params in fake.lookups()]
            fake.seen.clear()
    assert sizes == [25] * 4


@pytest.mark.parametrize(
    "said",
    [
        "Batch size of 6 exceeds the maximum of 5",
        "Number of requests in batch must be <= 5, got 6",
        "Too many rows in requestData: 6",
    ],
)
def test_words_for_a_batch_that_is_too_large(said: str) -> None:
    body = bytearray(json.dumps({"message": said, "code": 3}).encode())
    assert isinstance(explained("prod", HttpReply(400, {}, body)), BatchTooLarge)


def test_views_that_one_service_serves_are_read_by_one_request() -> None:
    (customers, rows), *_ = VIEWS
    ages = rows.select("customer_id", pl.col("visits").alias("days"))
    other = described(ages, name="ages", join_keys="customer_id")
    with (
        TectonFake({"both": Service.of((customers, rows), other)}) as fake,
        connected(fake, views={"ages": {"static": True}, "customers": {"ttl": "3h"}}) as client,
    ):
        found = client.lookup([1, 8, 404], ["ages:days", "customers:visits", "customers:name"])
        assert len(fake.lookups()) == 1
        assert found.to_dicts()[1] == {"days": -8, "visits": 8, "name": "corrected"}
        assert set(found.timestamps) == {"visits", "name"}
        service = featkit.features(pl.DataFrame({"customer_id": [8]})).enrich("both", store=client)
        assert service.columns[:3] == ["customer_id", "visits", "score"]
        assert len(fake.lookups()) == 2


def test_request_data_is_written_as_its_type_wants() -> None:
    context = [
        Column("amount", FLOAT),
        Column("count", INT),
        Column("flag", {"type": "boolean"}),
        Column("at", {"type": "timestamp"}),
        Column("note", STRING),
    ]
    service = Service([Column("user", STRING)], [Column("rt.x", FLOAT)], {("a",): ([1.5], None)})
    service.context = context
    frame = pl.DataFrame(
        {
            "user": ["a", "a", 'q"\\\n'],
            "amount": [1e300, math.inf, -0.5],
            "count": [2**53 + 1, 2, 3],
            "flag": [True, False, True],
            "at": [datetime(2024, 5, 1, 12, 0, 0, 5, tzinfo=UTC)] * 3,
            "note": ["", "é🦉\0", "x"],
        }
    )
    with TectonFake({"s": service}) as fake, connected(fake, views={}) as client:
        view = client.get_feature_metadata("rt")
        assert [entity.request_data for entity in view.entities] == [False, *[True] * 5]
        assert str(view).startswith(
            "feature view rt (user; request data amount, count, flag, at, note; no ttl)"
        )
        assert view.facts()["join keys"] == "user (string)"
        assert view.facts()["request data"].startswith("amount (float64), count (int64), ")
        with pytest.raises(
            KeyColumnError, match="for the request data 'note' of feature view 'rt'"
        ):
            client.lookup(frame.drop("note"), ["rt:x"])
        found = client.lookup(frame, ["rt:x"])
        (params,) = fake.lookups()
    assert found.values["x"].to_list() == [1.5, 1.5, None]
    assert [row["joinKeyMap"]["user"] for row in params["requestData"]] == frame["user"].to_list()
    first, second, third = (row["requestContextMap"] for row in params["requestData"])
    assert first == {
        "amount": 1e300,
        "count": str(2**53 + 1),
        "flag": True,
        "at": "2024-05-01T12:00:00.000005Z",
        "note": "",
    }
    assert (second["amount"], second["note"]) == ("Infinity", "é🦉\0")
    assert third["amount"] == -0.5


def test_keys_that_a_view_does_not_depend_on_are_sent_as_null() -> None:
    service = Service(
        [Column("user", STRING), Column("shop", INT)],
        [Column("users.n", INT)],
        {("a", None): (["5"], None)},
    )
    views = {"users": {"null_keys": ["shop"]}}
    with TectonFake({"s": service}) as fake, connected(fake, views=views) as client:
        assert client.get_feature_metadata("users").join_keys == ("user",)
        assert client.get_online_features("users", "a") == {"n": 5}
        assert fake.lookups()[0]["requestData"][0]["joinKeyMap"] == {"user": "a", "shop": None}


def test_a_wildcard_lookup_gives_lists() -> None:
    service = Service(
        [Column("user", STRING), Column("ad", INT)],
        [Column("clicks.n", INT), Column("clicks.rate", FLOAT)],
        {
            ("a", "1"): (["10", 0.5], None),
            ("a", "2"): (["20", None], None),
            ("b", "9"): (["90", "NaN"], None),
        },
        given=1,
    )
    with TectonFake({"ads": service}) as fake, connected(fake, views={}) as client:
        view = client.get_feature_metadata("clicks")
        assert view.join_keys == ("user",)
        assert view.feature_names == ("ad", "n", "rate")
        found = client.lookup(["a", "nobody"], "clicks:*")
        empty = client.lookup(["nobody"], "clicks:*")
    assert found.to_dicts() == [
        {"ad": [1, 2], "n": [10, 20], "rate": [0.5, None]},
        {"ad": None, "n": None, "rate": None},
    ]
    assert found.statuses["n"].to_list() == [Status.PRESENT, Status.NOT_FOUND]
    assert empty.values.schema == found.values.schema
    exploded = found.to_polars().drop_nulls("ad").explode("ad", "n", "rate")
    assert exploded["n"].to_list() == [10, 20]
    assert len(fake.lookups("query-features")) == 3


CLICKS = {("a", "1"): (["10", "20"], None), ("a", "2"): (["30", "40"], None)}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda body: _feature(body, "clicks.n").update(status=["TIME_OUT"] * 2), StoreUnavailable),
        (lambda body: _feature(body, "clicks.n").update(status=["PRESENT"]), RowMismatch),
        (lambda body: _feature(body, "clicks.m").update(name="clicks.n"), ProtocolError),
        (lambda body: _feature(body, "clicks.n").update(name="clicks.x"), ProtocolError),
        (lambda body: body["metadata"].pop("joinKeys"), ProtocolError),
    ],
)
def test_no_lie_of_a_wildcard_lookup_becomes_a_list(
    change: Callable[[dict[str, Any]], object], error: type[Exception]
) -> None:
    service = Service(
        [Column("user", STRING), Column("ad", INT)],
        [Column("clicks.n", INT), Column("clicks.m", INT)],
        CLICKS,
        given=1,
    )
    options: dict[str, Any] = {"now": CONTRACT_NOW, "retry": SOON, "cache": None}
    with (
        TectonFake({"ads": service}) as fake,
        lying(fake, change) as http,
        featkit.connect(opened(fake, views={}), client=http, **options) as client,
        pytest.raises(error),
    ):
        client.lookup(["a"], ["clicks:n", "clicks:ad"])


# -- what it says of views and services ------------------------------------------------------------


def test_a_view_that_two_services_serve_is_read_from_the_first_and_by_its_long_name() -> None:
    (customers, rows), *_ = VIEWS
    fewer = described(
        rows.select("customer_id", "visits"), name="customers", join_keys=["customer_id"]
    )
    services = {"fraud": Service.of((customers, rows)), "risk": Service.of(fewer)}
    with TectonFake(services) as fake, connected(fake) as client:
        names = [view.name for view in client.list_feature_views()]
        assert names == ["customers", "risk.customers"]
        risk = client.list_feature_services()[1]
        assert risk.features == (FeatureRef("risk.customers", "visits"),)
        client.lookup([1], ["customers:visits"])
        client.lookup([1], ["risk.customers:visits"])
        client.lookup([1], "risk")
        asked = [params["featureServiceName"] for params in fake.lookups()]
    assert asked == ["fraud", "risk", "risk"]


def test_views_are_described_by_tecton_and_the_settings(fake: TectonFake) -> None:
    views = {
        "customers": {
            "ttl": "3h",
            "description": "who buys",
            "owner": "loyalty",
            "tags": {"team": "growth"},
            "features": {"visits": "so far"},
        }
    }
    with connected(fake, views=views) as client:
        view = client.get_feature_metadata("customers")
        found = client.search("so far")
    assert (view.owner, view["visits"].description) == ("loyalty", "so far")
    assert view.tags["team"] == "growth"
    assert view.source == "feature service customers"
    assert view["embedding"].store_type == "array<float64>"
    assert found == [FeatureRef("customers", "visits")]


def test_a_service_that_is_gone_matters_only_to_who_asks_for_it(fake: TectonFake) -> None:
    with connected(fake, feature_services="customers, gone") as client:
        assert client.get_online_features("customers", 1)["visits"] == 2**53 + 1
        with pytest.warns(ViewWarning, match="'gone' is left out: .*FeatureService `gone`"):
            assert [view.name for view in client.list_feature_views()] == ["customers"]
        with pytest.warns(ViewWarning, match="'gone' is left out: .*FeatureService `gone`"):
            assert [own.name for own in client.list_feature_services()] == ["customers"]
        with pytest.raises(UnknownNameError, match="workspace 'prod'"):
            client.lookup([1], ["routes:length_km"])
        report = client.check_health()
    assert "feature service gone" in report.reason
    with (
        connected(fake, feature_services=["gone"]) as client,
        pytest.raises(UnknownNameError, match="FeatureService `gone`"),
    ):
        client.list_feature_services()


def test_near_names_are_told(client: featkit.FeatureStoreClient) -> None:
    with pytest.raises(UnknownNameError, match=r"view 'customer'; did you mean 'customers'"):
        client.lookup([1], ["customer:visits"])
    with pytest.raises(UnknownNameError, match=r"view 'x'; .*what feature_services= names: 'cust"):
        client.lookup([1], ["x:visits"])
    with pytest.raises(UnknownNameError, match=r"service 'fraud'; .*that feature_services= names"):
        client.lookup([1], "fraud")


@pytest.mark.parametrize("behind", ["", "/", "/app", "/app/repo/prod/features", "/api", "/api/v1/"])
def test_the_address_may_be_that_of_a_browser(fake: TectonFake, behind: str) -> None:
    known = {"workspace": WORKSPACE, "api_key": KEY, "feature_services": ["customers"]}
    with featkit.connect(f"tecton+{fake.url}{behind}", cache=None, **known) as client:
        assert [view.name for view in client.list_feature_views()] == ["customers"]


def test_an_address_without_a_scheme_is_reached_over_https() -> None:
    assert TectonStore.target_of({"url": "example.tecton.ai"}) == "tecton+https://example.tecton.ai"


def test_history_is_refused_with_a_reason(client: featkit.FeatureStoreClient) -> None:
    spine = pl.DataFrame({"customer_id": [1], "at": [CONTRACT_NOW]})
    with pytest.raises(NotSupportedError, match="online values only"):
        client.get_historical_features(spine, ["customers:visits"], at="at")


@pytest.mark.parametrize("name", ["online_latest_ready_time", "onlineLatestReadyTime"])
def test_ready_times_are_read_in_both_spellings(fake: TectonFake, name: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        assert asked == {"workspace": WORKSPACE, "feature_view": "customers"}
        return httpx.Response(200, json={name: "2024-05-01T11:00:00Z"})

    store: Any = opened(fake)
    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        featkit.connect(store, client=http) as client,
    ):
        ready = client.run(store.ready_time(feature_view="customers"))
    assert ready == datetime(2024, 5, 1, 11, tzinfo=UTC)


def test_the_health_check_tells_how_far_a_service_is(fake: TectonFake) -> None:
    store: Any = opened(fake, feature_services=["customers"])
    with featkit.connect(store) as client:
        assert client.run(store.ready_time(feature_view="customers")) == CONTRACT_NOW
        (check,) = client.check_health().checks
        assert check.found == "6 features, materialised up to 2024-05-01 12:00:00 UTC"
        fake.jobs = False
        (check,) = client.check_health().checks
    assert check.found == "6 features, this key may not ask up to when they are materialised"


# -- times -----------------------------------------------------------------------------------------


def test_a_batch_has_one_time_per_feature(fake: TectonFake) -> None:
    fake.watermark = "2024-05-01T08:00:00.5Z"
    with connected(fake) as client, pytest.warns(ExpiredWarning, match="2 of 3 values"):
        found = client.lookup([1, 2, 404], ["customers:visits"])
    when = datetime(2024, 5, 1, 8, 0, 0, 500_000, tzinfo=UTC)
    assert found.timestamps["visits"].to_list() == [when, when, None]
    expired = [Status.EXPIRED, Status.EXPIRED, Status.NOT_FOUND]
    assert found.statuses["visits"].to_list() == expired


def test_what_is_computed_in_real_time_has_no_age(fake: TectonFake) -> None:
    fake.services["customers"].features[0].timed = False
    fake.watermark = "2023-01-01T00:00:00Z"
    with connected(fake) as client, pytest.warns(ExpiredWarning):
        found = client.lookup([1], ["customers:visits", "customers:name"])
    assert found.statuses["visits"].to_list() == [Status.PRESENT]
    assert found.statuses["name"].to_list() == [Status.EXPIRED]
    assert set(found.timestamps) == {"name"}


@pytest.mark.parametrize("time", ["yesterday", "2024-05-01T12:00:00", ""])
def test_a_time_that_cannot_be_read_is_unknown(fake: TectonFake, time: str) -> None:
    fake.watermark = time
    with connected(fake) as client:
        found = client.lookup([1], ["customers:visits"])
    assert found.stamps("visits").to_list() == [None]


# -- what was recorded -----------------------------------------------------------------------------


def recorded_service() -> Service:
    """Make the service that the recorded exchanges were answered by."""
    pairs = [pair["response"]["body"] for pair in RECORDED["pairs"]]
    first, second, schema = pairs[0], pairs[18], pairs[7]
    features = [
        Column(
            own["name"], own["dataType"], {"description": own["description"], "tags": own["tags"]}
        )
        for own in first["metadata"]["features"]
    ]
    return Service(
        [Column(own["name"], own["dataType"]) for own in schema["inputJoinKeys"]],
        features,
        {
            (user,): (said["result"]["features"], said["metadata"]["features"][0]["effectiveTime"])
            for user, said in (("u1", first), ("u2", second))
        },
    )


def answered(body: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    """Answer lookups with a recorded body, and say the recorded schema."""
    schema = RECORDED["pairs"][7]["response"]["body"] | {"inputRequestContextKeys": []}

    def answer(request: httpx.Request) -> httpx.Response:
        metadata = request.url.path.endswith("/metadata")
        return httpx.Response(200, json=schema if metadata else body)

    return answer


@pytest.mark.parametrize("body", ["", "<html>Forbidden</html>"])
@pytest.mark.parametrize(
    ("status", "check"), [(401, "is api_key right"), (403, "needs the role Consumer")]
)
def test_a_refusal_without_a_reason_says_what_to_check(status: int, check: str, body: str) -> None:
    with (
        recorded_client(lambda _: httpx.Response(status, text=body)) as client,
        pytest.raises(AuthError, match=f"{status}: .*nothing that explains it.*{check}"),
    ):
        client.lookup(["u1"], ["user_fv:cnt"])


def recorded_client(
    answer: Callable[[httpx.Request], httpx.Response], **options: Any
) -> featkit.FeatureStoreClient:
    known = {"workspace": "prod", "api_key": KEY, "feature_services": ["fs"], "timezone": "UTC"}
    return featkit.connect(
        "tecton+https://127.0.0.1",
        client=httpx.Client(transport=httpx.MockTransport(answer)),
        now="2026-11-22T12:00:00Z",
        retry=SOON,
        **known | options,
    )


GOLDEN = [0, 1, 2, 3, 4, 6, 8, 9, 17, 18]


@pytest.mark.parametrize("number", GOLDEN)
def test_the_fake_answers_as_recorded(number: int) -> None:
    pair = RECORDED["pairs"][number]
    service = recorded_service()
    with TectonFake({"fs": service}) as fake:
        body = pair["request"]["body"]
        service.context = [Column("amt", FLOAT)] if body["params"]["requestContextMap"] else []
        path, headers = pair["request"]["path"], {"Authorization": f"Tecton-key {KEY}"}
        reply = ask("POST", f"{fake.url}{path}", json=body, headers=headers)
    assert reply.status_code == pair["response"]["status"]
    assert reply.json() == pair["response"]["body"]


def test_the_fake_describes_services_as_recorded() -> None:
    pair = RECORDED["pairs"][7]
    service = recorded_service()
    service.context = [Column("amt", FLOAT)]
    with TectonFake({"fs": service}) as fake:
        headers = {"Authorization": f"Tecton-key {KEY}"}
        url = f"{fake.url}{pair['request']['path']}"
        reply = ask("POST", url, json=pair["request"]["body"], headers=headers)
    assert reply.json() == pair["response"]["body"]


def test_recorded_values_of_every_type_are_read() -> None:
    body = RECORDED["pairs"][0]["response"]["body"]
    with recorded_client(answered(body), row_timestamps=True) as client:
        values, times = client.get_online_features_with_timestamps("user_fv", "u1")
    nan = values["vec"].pop()
    assert math.isnan(nan)
    assert values == {
        "cnt": 9007199254740993,
        "amt": 65.25,
        "flag": True,
        "city": "Oslo",
        "vec": [1.5, None],
        "hist": [1, None, 3],
        "addr": {"street": "street 1", "no": 7, "w": 2.5},
        "m": [{"key": "a", "value": 1}, {"key": "b", "value": None}],
        "ts": datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC),
    }
    assert set(times.values()) == {datetime(2026, 11, 22, 10, tzinfo=UTC)}


def test_recorded_nulls_are_told_from_misses() -> None:
    expected = {1: (Status.PRESENT, Status.NULL), 2: (Status.NOT_FOUND, Status.NOT_FOUND)}
    for number, (flag, address) in expected.items():
        body = RECORDED["pairs"][18 if number == 1 else number]["response"]["body"]
        with recorded_client(answered(body), row_timestamps=True) as client:
            found = client.lookup(["x"], "user_fv:*")
        assert found.statuses["flag"].to_list() == [flag]
        assert found.statuses["addr"].to_list() == [address]


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (8, RequestRejected, "400: Tecton says: Missing required join key: user_id"),
        (9, UnknownNameError, "404: Tecton says: Unable to query FeatureService `nope`"),
        (10, ThrottledError, "429: the store asks to slow down"),
        (11, StoreUnavailable, "500: the store is in trouble"),
        (12, StoreUnavailable, "502: .*bad gateway"),
        (13, StoreUnavailable, "503"),
        (14, StoreUnavailable, "503: .*<html>unavailable"),
        (15, StoreUnavailable, "504"),
        (16, AuthError, "403: .*Insufficient permissions; the key's account needs the role"),
    ],
)
def test_recorded_refusals_are_named(number: int, error: type[FeatkitError], words: str) -> None:
    said = RECORDED["pairs"][number]["response"]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/metadata"):
            return answered({})(request)
        body = said["body"] if isinstance(said["body"], str) else json.dumps(said["body"])
        return httpx.Response(said["status"], text=body)

    with recorded_client(answer) as client, pytest.raises(error, match=words) as caught:
        client.lookup(["u1"], ["user_fv:cnt"])
    assert "get-features-batch" in str(caught.value)
    assert KEY not in str(caught.value)


# -- answers that lie ------------------------------------------------------------------------------


def _feature(body: dict[str, Any], name: str = "customers.visits") -> dict[str, Any]:
    return next(own for own in body["metadata"]["features"] if own["name"] == name)


def _statuses(*words: Any) -> Callable[[dict[str, Any]], object]:
    return lambda body: _feature(body).update(status=list(words))


def _value(value: object) -> Callable[[dict[str, Any]], object]:
    return lambda body: body["result"][0]["features"].__setitem__(0, value)


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a row dropped": lambda body: body["result"].pop(),
    "a row too many": lambda body: body["result"].append(body["result"][0]),
    "no rows": lambda body: body["result"].clear(),
    "a value too few": lambda body: body["result"][1]["features"].pop(),
    "a value too many": lambda body: body["result"][1]["features"].append("1"),
    "a row of nothing": lambda body: body["result"].__setitem__(1, {"features": None}),
    "a row without values": lambda body: body["result"].__setitem__(1, {}),
    "an object for a row": lambda body: body["result"].__setitem__(1, {"features": {"a": 1}}),
    "a feature renamed": lambda body: _feature(body).update(name="customers.other"),
    "a feature of another view": lambda body: _feature(body).update(name="other.visits"),
    "a feature twice": lambda body: _feature(body).update(name="customers.score"),
    "a feature not described": lambda body: body["metadata"]["features"].pop(),
    "no metadata": lambda body: body.pop("metadata"),
    "no result": lambda body: body.pop("result"),
    "statuses short": _statuses("PRESENT", "PRESENT"),
    "statuses long": _statuses(*["PRESENT"] * 4),
    "a null status": _statuses("PRESENT", None, "PRESENT"),
    "an unknown status": _statuses("PRESENT", "MAYBE", "PRESENT"),
    "a value marked missing": _statuses("MISSING_DATA", "PRESENT", "PRESENT"),
    "a number for text": lambda body: body["result"][0]["features"].__setitem__(3, 5),
    "a fraction": _value("1.5"),
    "beyond 64 bits": _value("9223372036854775808"),
    "nested": _value(["1"]),
    "another type": lambda body: _feature(body).update(dataType=STRING),
    "single for batch": lambda body: body.update(result=body["result"][0]),
}


def lying(fake: TectonFake, change: Callable[[dict[str, Any]], object]) -> httpx.Client:
    """Make a client whose lookups are answered by the fake, and then falsified."""

    def answer(request: httpx.Request) -> httpx.Response:
        reply = ask(
            request.method,
            f"{fake.url}{request.url.path}",
            content=request.content,
            headers={name: request.headers[name] for name in ("authorization", "content-type")},
        )
        body = reply.json()
        if not request.url.path.endswith("/metadata"):
            change(body)
        return httpx.Response(reply.status_code, json=body)

    return httpx.Client(transport=httpx.MockTransport(answer))


@pytest.mark.slow
@pytest.mark.parametrize("change", LIES.values(), ids=LIES)
def test_no_lie_becomes_a_wrong_row(
    fake: TectonFake, change: Callable[[dict[str, Any]], object]
) -> None:
    with (
        lying(fake, change) as http,
        featkit.connect(opened(fake), client=http, now=CONTRACT_NOW, retry=SOON) as client,
        pytest.raises((RowMismatch, ProtocolError)) as caught,
    ):
        client.lookup([1, 8, 0], ["customers:visits", "customers:name", "customers:embedding"])
    assert re.search("get-features-batch|feature view 'customers'", str(caught.value))


def _refusing(code: object) -> Callable[[dict[str, Any]], object]:
    said = {"error": "internal", "message": "the online store is down", "code": code}
    return lambda body: (body.clear(), body.update(said))


def test_an_error_in_an_answer_with_200_is_named(fake: TectonFake) -> None:
    with (
        lying(fake, _refusing(3)) as http,
        featkit.connect(opened(fake), client=http) as client,
        pytest.raises(RequestRejected, match="200: Tecton says: the online store is down"),
    ):
        client.lookup([1], ["customers:visits"])


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (4, StoreUnavailable),
        (8, ThrottledError),
        (13, StoreUnavailable),
        (14, StoreUnavailable),
        ("UNAVAILABLE", StoreUnavailable),
        ("RESOURCE_EXHAUSTED", ThrottledError),
    ],
)
def test_an_error_in_an_answer_with_200_that_may_pass_is_tried_again(
    fake: TectonFake, code: object, error: type[FeatkitError]
) -> None:
    asked = []

    def change(body: dict[str, Any]) -> None:
        asked.append(body)
        if len(asked) == 1:
            _refusing(code)(body)

    with (
        lying(fake, change) as http,
        featkit.connect(opened(fake), client=http, now=CONTRACT_NOW, retry=SOON) as client,
    ):
        assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
    assert len(asked) == 2
    with (
        lying(fake, _refusing(code)) as http,
        featkit.connect(opened(fake), client=http, retry=SOON) as client,
        pytest.raises(error, match="200: Tecton says: the online store is down"),
    ):
        client.lookup([1], ["customers:visits"])


def test_a_refusal_with_200_passes_neither_for_a_schema_nor_for_a_ready_time() -> None:
    down = httpx.Response(200, json={"message": "the metadata is down", "code": 14})
    with recorded_client(lambda _: down) as client:
        with pytest.raises(StoreUnavailable, match="Tecton says: the metadata is down"):
            client.list_feature_views()
        with pytest.raises(StoreUnavailable, match="Tecton says: the metadata is down"):
            client.run(client.operations.store.ready_time(feature_view="v"))


def test_a_feature_that_ran_out_of_time_is_asked_for_again(fake: TectonFake) -> None:
    asked = []

    def change(body: dict[str, Any]) -> None:
        asked.append(body)
        if len(asked) == 1:
            _feature(body)["status"] = ["TIME_OUT"]
            body["result"][0]["features"][0] = None

    with (
        lying(fake, change) as http,
        featkit.connect(opened(fake), client=http, now=CONTRACT_NOW, retry=SOON) as client,
    ):
        assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["CACHED_PRESENT"], Status.PRESENT),
        (["UNKNOWN"], Status.PRESENT),
        (["UNKNOWN_STATUS"], Status.PRESENT),
        (None, Status.PRESENT),
    ],
)
def test_other_words_for_what_is_there(
    fake: TectonFake, words: list[str] | None, status: Status
) -> None:
    with (
        lying(fake, lambda body: _feature(body).update(status=words)) as http,
        featkit.connect(opened(fake), client=http, now=CONTRACT_NOW) as client,
    ):
        found = client.lookup([8], ["customers:visits"])
    assert found.statuses["visits"].to_list() == [status]


# -- settings and credentials ----------------------------------------------------------------------


def test_settings_name_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: TectonFake
) -> None:
    (tmp_path / "featkit.toml").write_text(
        f'backend = "tecton"\n[tecton]\nurl = "{fake.url}"\nworkspace = "{WORKSPACE}"\n'
        'feature_services = ["customers"]\napi_key = { env = "TECTON_API_KEY" }\n'
        'timeout = "9s"\nbatch_size = 3\n[tecton.views.customers]\nttl = "3h"\n'
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="environment variable TECTON_API_KEY"):
        featkit.connect()
    monkeypatch.setenv("TECTON_API_KEY", KEY)
    with featkit.connect(now=CONTRACT_NOW) as client:
        assert client.target == f"tecton+{fake.url}"
        assert client.get_feature_metadata("customers").ttl == timedelta(hours=3)
        found = client.lookup([1, 8, 0, 404], ["customers:name"])
    assert found.values["name"].to_list() == ["🦉 o'wl", "corrected", "zero", None]
    assert sorted(len(params["requestData"]) for params in fake.lookups()) == [1, 3]


def test_a_wrong_key_is_said_so(fake: TectonFake) -> None:
    with connected(fake, api_key="wrong-key-0815") as client:
        with pytest.raises(AuthError, match="is api_key right") as caught:
            client.list_feature_views()
        report = client.check_health()
    assert "wrong-key-0815" not in str(caught.value)
    assert not report.authorized


def test_a_key_from_a_callable_is_asked_for_again_once(fake: TectonFake) -> None:
    keys = [KEY, "expired-key"]
    with connected(fake, api_key=keys.pop) as client:
        assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
    assert keys == []


def service_account(fake: TectonFake, **options: Any) -> dict[str, Any]:
    name, secret = SERVICE_ACCOUNT
    known = {"client_id": name, "client_secret": secret, "token_url": fake.url + TOKEN_PATH}
    return {"api_key": None, **known, **options}


def test_a_service_account_gets_one_token_and_another_once_it_has_expired(
    fake: TectonFake,
) -> None:
    with connected(fake, **service_account(fake)) as client:
        assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
        assert client.get_online_features("customers", 1, ["name"]) == {"name": "🦉 o'wl"}
        assert len(fake.given) == 1
        fake.tokens.clear()
        assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
        assert len(fake.given) == 2
        shown = repr(client.operations.store.auth) + repr(vars(client.operations.store))
    assert "canary" not in shown


def test_a_service_account_that_is_refused_is_named(fake: TectonFake) -> None:
    wrong = service_account(fake, client_secret="wrong-secret-4711")
    with connected(fake, **wrong) as client, pytest.raises(AuthError, match="client_id") as caught:
        client.list_feature_views()
    assert "4711" not in str(caught.value)


def test_a_token_from_elsewhere_is_sent_as_it_is(fake: TectonFake) -> None:
    fake.tokens.append("Bearer from-elsewhere")
    with connected(fake, api_key=None, token=lambda: "from-elsewhere") as client:
        assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}


def test_lists_are_request_data_too() -> None:
    kinds = {"vector": "float64", "counts": "int64", "words": "string", "flags": "boolean"}
    context = [
        Column(name, {"type": "array", "elementType": {"type": kind}})
        for name, kind in kinds.items()
    ]
    service = Service([Column("user", STRING)], [Column("rt.x", FLOAT)], {("a",): ([1.5], None)})
    service.context = context
    frame = pl.DataFrame(
        {
            "user": ["a", "a", "b"],
            "vector": [[0.5, -1e300], [], [1.0, None]],
            "counts": [[2**53 + 1, -7], [], [0]],
            "words": [['q"\\\n 12', "é🦉"], [], ["x"]],
            "flags": [[True, False], [], [None]],
        }
    )
    with TectonFake({"s": service}) as fake, connected(fake, views={}) as client:
        found = client.lookup(frame, ["rt:x"])
        sent = [
            row["requestContextMap"] for params in fake.lookups() for row in params["requestData"]
        ]
        assert sent[0] == {
            "vector": [0.5, -1e300],
            "counts": [str(2**53 + 1), "-7"],
            "words": ['q"\\\n 12', "é🦉"],
            "flags": [True, False],
        }
        assert sent[1] == {name: [] for name in kinds}
        assert found.values["x"].to_list() == [1.5, 1.5, None]
        endless = frame.with_columns(vector=pl.lit([math.inf], pl.List(pl.Float64)))
        with pytest.raises(KeyTypeError, match="vector"):
            client.lookup(endless, ["rt:x"])
        with pytest.raises(KeyTypeError, match="user"):  # a key itself is no list
            client.lookup(frame.with_columns(user=pl.col("words")), ["rt:x"])


INT64, FLOAT64 = {"type": "int64"}, {"type": "float64"}
BASKET = {
    "type": "struct",
    "fields": [
        {"name": "id", "dataType": INT64},
        {"name": "paid", "dataType": {"type": "timestamp"}},
        {"name": "weights", "dataType": {"type": "array", "elementType": FLOAT64}},
        {
            "name": "items",
            "dataType": {
                "type": "array",
                "elementType": {
                    "type": "struct",
                    "fields": [
                        {"name": "sku", "dataType": {"type": "string"}},
                        {"name": "gift", "dataType": {"type": "boolean"}},
                    ],
                },
            },
        },
    ],
}
COUNTS = {
    "type": "map",
    "keyType": {"type": "string"},
    "valueType": {"type": "array", "elementType": INT64},
}
PAID = datetime(2024, 5, 1, 12, 0, 0, 5, tzinfo=UTC)
NESTED = pl.DataFrame(
    {
        "user": ["a", "b", "c"],
        "basket": [
            {
                "id": 2**53 + 1,
                "paid": PAID,
                "weights": [0.5, None],
                "items": [{"sku": 'q"\\\n12', "gift": True}, None],
            },
            {"id": None, "paid": None, "weights": [], "items": []},
            {"id": -1, "paid": PAID, "weights": None, "items": None},
        ],
        "counts": [
            [{"key": 'k"é', "value": [1, -(2**53) - 1]}, {"key": "", "value": None}],
            [],
            [{"key": "3", "value": [None]}],
        ],
    },
    schema_overrides={"counts": pl.List(pl.Struct({"key": pl.String, "value": pl.List(pl.Int64)}))},
)
SENT = [
    {
        "basket": {
            "id": str(2**53 + 1),
            "paid": "2024-05-01T12:00:00.000005Z",
            "weights": [0.5, None],
            "items": [{"sku": 'q"\\\n12', "gift": True}, None],
        },
        "counts": {'k"é': ["1", str(-(2**53) - 1)], "": None},
    },
    {"basket": {"id": None, "paid": None, "weights": [], "items": []}, "counts": {}},
    {
        "basket": {
            "id": "-1",
            "paid": "2024-05-01T12:00:00.000005Z",
            "weights": None,
            "items": None,
        },
        "counts": {"3": [None]},
    },
]


@pytest.fixture
def nested() -> Iterator[tuple[TectonFake, featkit.FeatureStoreClient]]:
    rows = {(key,): ([number], None) for number, key in enumerate("abc")}
    service = Service([Column("user", STRING)], [Column("rt.x", FLOAT)], rows)
    service.context = [Column("basket", BASKET), Column("counts", COUNTS)]
    with TectonFake({"s": service}) as fake, connected(fake, views={}) as client:
        yield fake, client


def sent_context(fake: TectonFake) -> list[dict[str, Any]]:
    return [row["requestContextMap"] for told in fake.lookups() for row in told["requestData"]]


@pytest.mark.parametrize("how", ["columns", "JSON", "dicts of pandas", "Arrow's map"])
def test_structs_and_maps_are_request_data_too(
    nested: tuple[TectonFake, featkit.FeatureStoreClient], how: str
) -> None:
    fake, client = nested
    frame: Any = NESTED
    if how == "JSON":
        rows = NESTED.with_columns(pl.col("basket").struct.json_encode())
        texts = [json.dumps(row) for row in NESTED["counts"].to_list()]
        frame = rows.with_columns(counts=pl.Series(texts))
    elif how == "dicts of pandas":
        frame = pd.DataFrame(NESTED.to_dict(as_series=False))
    elif how == "Arrow's map":
        kind = pa.map_(pa.string(), pa.list_(pa.int64()))
        maps = [[(own["key"], own["value"]) for own in row] for row in NESTED["counts"].to_list()]
        frame = pd.DataFrame(NESTED.select("user", "basket").to_dict(as_series=False))
        frame["counts"] = pd.array(maps, dtype=pd.ArrowDtype(kind))
    found = client.lookup(frame, ["rt:x"])
    assert found.values["x"].to_list() == [0.0, 1.0, 2.0]
    assert sent_context(fake) == SENT


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("basket", [{"id": 1.5}], "'basket' cannot become struct<id: int64"),
        ("basket", [{"id": "x"}], "'basket' cannot become"),
        ("basket", [{"paid": datetime(2024, 5, 1)}], "a time has a zone"),  # noqa: DTZ001
        ("basket", [{"idd": 1}], "no field 'idd'; did you mean 'id'"),
        ("basket", [{"items": [{"skku": "x"}]}], "'basket.items' is .*no field 'skku'.*'sku'"),
        ("basket", ["no JSON"], "'basket' cannot become"),
        ("basket", [{"weights": [float("inf")]}], "basket"),
        ("counts", [{"a": [1]}], "a map a list of structs of 'key' and 'value'"),
        ("counts", [[{"key": "a", "value": ["x"]}]], "'counts' cannot become"),
        ("counts", [[1, 2]], "'counts' cannot become"),
    ],
)
def test_request_data_of_other_shapes_is_refused_before_it_is_sent(
    nested: tuple[TectonFake, featkit.FeatureStoreClient],
    column: str,
    values: list[Any],
    words: str,
) -> None:
    fake, client = nested
    frame = NESTED.head(1).with_columns(pl.Series(column, values, strict=False))
    with pytest.raises(KeyTypeError, match=words):
        client.lookup(frame, ["rt:x"])
    assert fake.lookups() == []


def test_request_data_of_an_unknown_type_is_refused() -> None:
    shape = {"type": "array", "elementType": {"type": "geometry"}}
    service = Service([Column("user", STRING)], [Column("rt.x", FLOAT)], {("a",): ([1.5], None)})
    service.context = [Column("place", shape)]
    with (
        TectonFake({"s": service}) as fake,
        connected(fake, views={}) as client,
        pytest.raises(NotSupportedError, match="of the type geometry is not known"),
    ):
        client.lookup({"user": ["a"], "place": ["[]"]}, ["rt:x"])


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("tecton+https://host", {"client_id": "x"}, "choose one"),
        ("tecton+https://host", {"api_key": None, "client_id": "x"}, "client_secret is missing"),
        ("tecton+https://host", {"api_key": None, "token": 7}, "token must be text"),
        ("tecton:host", {}, "tecton\\+https://CLUSTER"),
        ("tecton+ftp://host", {}, "tecton\\+https://CLUSTER"),
        ("tecton+https://host", {"api_key": None}, "TECTON_API_KEY"),
        ("tecton+https://host", {"feature_services": []}, "feature_services="),
        ("tecton+https://host", {"batch_size": 0}, "batch_size"),
        ("tecton+https://host", {"workspce": "x"}, "did you mean 'workspace'"),
        ("tecton+https://host", {"views": {"v": {"tll": "3h"}}}, "tll"),
    ],
)
def test_wrong_options_are_refused(target: str, options: dict[str, Any], words: str) -> None:
    known = {"workspace": "prod", "api_key": KEY, "feature_services": ["fs"]}
    with pytest.raises(SettingsError, match=words):
        open_store(target, known | options)


def test_types_without_a_dtype_of_their_own_stay_json() -> None:
    odd = {"type": "missing_type"}
    values = (["x", {"a": [1]}], None)
    service = Service(
        [Column("k", STRING)], [Column("v.s", STRING), Column("v.o", odd)], {("a",): values}
    )
    with TectonFake({"s": service}) as fake, connected(fake, views={}) as client:
        assert client.get_online_features("v", "a") == {"s": "x", "o": '{"a": [1]}'}
        assert data_type(pl.List(pl.Int64())) == {"type": "array", "elementType": INT}


@pytest.mark.parametrize("single", [False, True])
def test_a_staleness_report_says_of_what_the_ages_are(fake: TectonFake, *, single: bool) -> None:
    fake.watermark = "2024-05-01T08:00:00Z"
    with connected(fake, row_timestamps=single) as client:
        (view,) = client.staleness(["customers:visits"], entities=[1, 2]).views
    assert view.level == ("row" if single else "feature")
    (feature,) = view.features
    assert (feature.present, feature.expired) == ((2, 0) if single else (0, 2))
