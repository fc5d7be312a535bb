"""SageMaker over the wire, against a fake that holds requests to the models of the service."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl
import pytest
from polars.testing import assert_series_equal

import featkit
from featkit import Retry, Status
from featkit.auth.aws import AwsSignature
from featkit.calls import HttpRequest
from featkit.errors import (
    AuthError,
    ExpiredWarning,
    IncompleteAnswer,
    KeyTypeError,
    NotSupportedError,
    ProtocolError,
    RequestRejected,
    RowMismatch,
    SettingsError,
    SettingsWarning,
    ThrottledError,
    UnknownNameError,
)
from featkit.schema import FeatureRef
from featkit.settings import Secret
from featkit.stores.base import OnlineRead, open_store
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views
from tests.fakes.aws_refusals import BARE, TOKEN
from tests.fakes.sagemaker import KEY_ID, REGION, SECRET, Group, SageMakerFake, joined, numbers
from tests.fakes.wire import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.schema import FeatureView
    from featkit.stores.base import Store

VIEWS = contract_views()
TOLD: dict[str, Any] = {
    "customers": {
        "features": {"active": {"dtype": "bool"}, "seen_at": {"dtype": "timestamp"}},
    },
    "parcels": {"join_keys": {"depot": "string", "code": "string"}},
    "routes": {"join_keys": {"start_id": "int64", "end_id": "int64"}, "static": True},
    "notes": {"static": True},
    "quiet": {"features": {"alarm": {"dtype": "bool"}}},
}
SOON = Retry(attempts=4, base=timedelta(milliseconds=1))
RECORDED = json.loads(
    (Path(__file__).parents[1] / "data/sagemaker/runtime.json").read_text("utf-8")
)


@pytest.fixture
def fake() -> Iterator[SageMakerFake]:
    with SageMakerFake(*(Group.of(view, rows) for view, rows in VIEWS)) as fake:
        yield fake


def opened(url: str, **options: Any) -> Store:
    known = {
        "endpoint_url": url,
        "control_url": url,
        "access_key_id": KEY_ID,
        "secret_access_key": SECRET,
        "views": TOLD,
    }
    return open_store(f"sagemaker:{REGION}", known | options)


def connected(fake: SageMakerFake, **options: Any) -> featkit.FeatureStoreClient:
    return featkit.connect(opened(fake.url, **options), now=CONTRACT_NOW, retry=SOON)


@pytest.fixture
def client(fake: SageMakerFake) -> Iterator[featkit.FeatureStoreClient]:
    with connected(fake) as client:
        yield client


@pytest.mark.slow
class TestSageMaker(StoreContract):
    secret = SECRET

    @pytest.fixture
    def store(self, fake: SageMakerFake) -> Store:
        return opened(fake.url)

    @pytest.fixture
    def past(self, fake: SageMakerFake, tmp_path: Path) -> Store:
        """A copy of the offline store, where each record that was ever written is a row."""
        for view, rows in VIEWS:
            group = Group.of(view, rows)
            folder = tmp_path / group.name / "data"
            folder.mkdir(parents=True)
            recorded(view, rows, group).write_parquet(folder / "part-0.parquet")
        return opened(fake.url, offline_path=str(tmp_path))


def recorded(view: FeatureView, rows: pl.DataFrame, group: Group) -> pl.DataFrame:
    event = pl.col(view.timestamp) if view.timestamp else pl.lit(CONTRACT_NOW)
    written = pl.coalesce([view.created, event]) if view.created else event
    ids = [joined(list(key), None) for key in rows.select(view.join_keys).iter_rows()]
    single = len(view.join_keys) == 1
    identifier = rows[view.join_keys[0]] if single else pl.Series(ids, dtype=pl.String)
    values = rows.select(own.name for own in view.features)
    return pl.DataFrame([identifier.alias(group.identifier), *values]).with_columns(
        rows.with_columns(
            event.dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias(group.event_time),
            written.alias("api_invocation_time"),
            pl.lit(value=False).alias("is_deleted"),
        ).select(group.event_time, "api_invocation_time", "is_deleted")
    )


# -- how it asks -----------------------------------------------------------------------------------


def test_a_call_asks_for_a_hundred_records_at_most(
    fake: SageMakerFake, client: featkit.FeatureStoreClient
) -> None:
    keys = [*range(1000, 1250), None, 1007, 1007]
    client.lookup({"customer_id": keys}, ["customers:visits"])
    assert sorted(map(len, fake.batches)) == [50, 100, 100]
    asked = sorted(one for batch in fake.batches for one in batch)
    assert asked == sorted(map(str, range(1000, 1250)))


def test_the_event_time_is_known_whatever_is_asked_for(client: featkit.FeatureStoreClient) -> None:
    found = client.lookup([1], ["customers:visits"])
    assert found.stamps("visits").to_list() == [CONTRACT_NOW - timedelta(hours=1)]


def test_the_parts_of_a_key_are_joined_by_what_the_settings_say(fake: SageMakerFake) -> None:
    view, rows = next(pair for pair in VIEWS if pair[0].name == "parcels")
    rows = rows.filter(~pl.any_horizontal(pl.col("depot", "code").str.contains("#")))
    fake.groups["parcels"] = Group.of(view, rows, separator="#")
    views = {"parcels": {**TOLD["parcels"], "separator": "#"}}
    with connected(fake, views=views) as client:
        assert client.get_online_features("parcels", ("a|b", "c"))["label"] == "moved"
        keys = {"depot": ["a", "a#b"], "code": ["b", "c"]}
        with pytest.raises(KeyTypeError, match="holds the separator '#'"):
            client.lookup(keys, ["parcels:label"])
    assert fake.batches == [["a|b#c"]]


# -- what it leaves out ----------------------------------------------------------------------------


def test_what_is_left_unprocessed_is_asked_for_again_and_nothing_else(
    fake: SageMakerFake, client: featkit.FeatureStoreClient
) -> None:
    fake.unprocessed = {"8": 2, "0": 1}
    found = client.lookup([1, 8, 404, 0], ["customers:name"])
    assert found.values["name"].to_list() == ["🦉 o'wl", "corrected", None, "zero"]
    assert found.statuses["name"].to_list()[2] == Status.NOT_FOUND
    assert fake.batches == [["1", "8", "404", "0"], ["8", "0"], ["8"]]
    assert len(found.timestamps["name"]) == 4


def test_a_store_that_processes_nothing_is_given_time(
    fake: SageMakerFake, client: featkit.FeatureStoreClient
) -> None:
    fake.unprocessed = {"8": 2}
    assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
    assert fake.batches == [["8"]] * 3
    fake.unprocessed = {"8": 99}
    with pytest.raises(ThrottledError, match="did not answer for 1 of 1 entities"):
        featkit.connect(opened(fake.url), retry=SOON, timeout="1s").lookup([8], ["customers:name"])


def test_what_fails_for_some_entities_leaves_the_others(
    fake: SageMakerFake, client: featkit.FeatureStoreClient
) -> None:
    fake.failing = {"8": "ValidationError"}
    with pytest.raises(
        IncompleteAnswer, match=r"for 1 of 3 entities.*ValidationError: it failed"
    ) as caught:
        client.lookup([1, 8, 0], ["customers:name"])
    assert caught.value.partial.values["name"].to_list() == ["🦉 o'wl", None, "zero"]
    frame = pl.DataFrame({"customer_id": [1, 8, 0, None]})
    found = featkit.features(frame).enrich(
        ["customers:name"], store=client, on_error="null", statuses=True
    )
    assert found["name"].to_list() == ["🦉 o'wl", None, "zero", None]
    assert found["name__status"].to_list() == [Status.PRESENT, Status.ERROR, Status.PRESENT, None]


def test_what_fails_for_a_while_is_asked_for_again(fake: SageMakerFake) -> None:
    fake.failing = {"8": "InternalFailure", "1": "ValidationError"}

    def recover(request: httpx.Request) -> httpx.Response:
        said = httpx.Response(200, content=passed_on(request).content)
        fake.failing = {"1": "ValidationError"}
        return said

    with (
        httpx.Client(transport=httpx.MockTransport(recover)) as http,
        featkit.connect(opened(fake.url), client=http, now=CONTRACT_NOW) as again,
    ):
        frame = pl.DataFrame({"customer_id": [1, 8, 0]})
        found = featkit.features(frame).enrich(["customers:name"], store=again, on_error="null")
    assert found["name"].to_list() == [None, "corrected", "zero"]


def passed_on(request: httpx.Request) -> httpx.Response:
    headers = {name: own for name, own in request.headers.items() if name != "content-length"}
    return ask(request.method, str(request.url), content=request.content, headers=headers)


def test_a_group_that_is_gone_is_named_though_the_answer_has_status_200(
    fake: SageMakerFake, client: featkit.FeatureStoreClient
) -> None:
    view = client.get_feature_metadata("routes")
    del fake.groups["routes"]
    with (
        pytest.warns(SettingsWarning, match="'routes'"),  # of which the options still tell
        pytest.raises(UnknownNameError, match="did you mean 'customers'"),
    ):
        client.lookup([1], ["customer:visits"])
    read = opened(fake.url).read_online
    keys = pl.DataFrame({"start_id": [1], "end_id": [11]})
    call = read(OnlineRead(view, view.features, keys, CONTRACT_NOW))

    def flow() -> Any:
        return (yield call)

    with pytest.raises(UnknownNameError, match="ResourceNotFound"):
        client.run(flow())


# -- values ----------------------------------------------------------------------------------------


def group(**definitions: tuple[str, str | None]) -> Group:
    own = Group(
        "g", "id", "at", {"id": ("String", None), "at": ("Fractional", None), **definitions}
    )
    own.records["a"] = {"id": "a", "at": "1714561200.25"}
    return own


@pytest.mark.parametrize(
    ("kind", "held", "dtype", "value"),
    [
        (("Integral", None), "9007199254740993", None, 9007199254740993),
        (("Fractional", None), "0.1", None, 0.1),
        (("Fractional", None), "-Infinity", None, float("-inf")),
        (("String", None), "", None, ""),
        (("Integral", "List"), ["1", "-2"], None, [1, -2]),
        (("Fractional", "Vector"), ["0.5", "NaN"], None, [0.5, float("nan")]),
        (("String", "Set"), [], None, []),
        (("Integral", None), "1", "bool", True),
        (("String", None), "FALSE", "bool", False),
        (("Integral", None), "7", "int32", 7),
        (("String", None), "12", "int64", 12),
        (("String", None), "2024-02-29", "date", datetime(2024, 2, 29, tzinfo=UTC).date()),
        (
            ("Fractional", None),
            "1.5",
            "timestamp",
            datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=UTC),
        ),
        (
            ("String", None),
            "1970-01-01T01:00:00+01:00",
            "timestamp",
            datetime(1970, 1, 1, tzinfo=UTC),
        ),
        (("Integral", "List"), ["1"], "list[float64]", [1.0]),
    ],
)
def test_values_are_read_by_their_type_and_what_the_settings_say(
    kind: tuple[str, str | None], held: Any, dtype: str | None, value: object
) -> None:
    own = group(x=kind)
    own.records["a"]["x"] = held
    told = {"g": {"features": {"x": {"dtype": dtype} if dtype else {}}}}
    with SageMakerFake(own) as fake, connected(fake, views=told) as client:
        found = client.lookup(["a", "b"], ["g:x"])
        dtypes = [client.get_feature_metadata("g")["x"].dtype, found.values.schema["x"]]
    expected = pl.Series("x", [value, None], dtype=dtypes[0])
    assert_series_equal(found.values["x"], expected, check_exact=True)
    assert dtypes[0] == dtypes[1]
    assert found.stamps("x").to_list()[0] == datetime(2024, 5, 1, 11, 0, 0, 250000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "held", "dtype"),
    [
        (("Integral", None), "1.5", None),
        (("Integral", None), "9223372036854775808", None),
        (("Fractional", None), "x", None),
        (("Integral", None), ["1"], None),
        (("Integral", "List"), "1", None),
        (("Integral", "List"), ["x"], None),
        (("String", None), "maybe", "bool"),
        (("String", None), "yesterday", "timestamp"),
        (("Integral", None), "300", "int8"),
    ],
)
def test_values_of_another_type_are_refused(
    kind: tuple[str, str | None], held: Any, dtype: str | None
) -> None:
    own = group(x=kind)
    own.records["a"]["x"] = held
    told = {"g": {"features": {"x": {"dtype": dtype} if dtype else {}}}}
    with (
        SageMakerFake(own) as fake,
        connected(fake, views=told) as client,
        pytest.raises(ProtocolError, match="x"),
    ):
        client.lookup(["a"], ["g:x"])


def test_a_record_that_should_be_gone_is_expired(fake: SageMakerFake) -> None:
    with connected(fake) as client, pytest.warns(ExpiredWarning, match="2 of 4"):
        found = client.lookup([3, 4], ["customers:visits", "customers:score"])
    assert found.statuses["visits"].to_list() == [Status.EXPIRED, Status.NULL]


# -- what there is ---------------------------------------------------------------------------------


def test_pages_are_read_to_the_last(fake: SageMakerFake) -> None:
    fake.page = 2
    with connected(fake) as client:
        views = {view.name: view for view in client.list_feature_views()}
        assert len(views) == len(VIEWS)
        assert len(views["customers"].features) == 6
        assert views["customers"]["score"].description == "how loyal, 0 to 1"
        assert client.search("how loyal") == [FeatureRef("customers", "score")]
    assert fake.called.count("ListFeatureGroups") == 3  # the search finds the pages in the cache


def test_a_wrong_name_in_the_settings_is_found_by_the_health_check(fake: SageMakerFake) -> None:
    with connected(fake, feature_groups=["custmers"]) as client:
        assert "'custmers' in eu-west-1; did you mean 'customers'" in client.check_health().reason
        fake.denied = {"ListFeatureGroups"}
        with pytest.raises(UnknownNameError, match=r"custmers.*the region"):
            client.list_feature_views()


def test_who_may_not_search_can_read_all_the_same(fake: SageMakerFake) -> None:
    fake.denied = {"Search"}
    with connected(fake) as client:
        assert client.get_feature_metadata("customers")["score"].description == ""
        assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
        report = client.check_health()
    problems = {check.name: check.problem for check in report.checks}
    assert problems == {
        "control plane": "",
        "online store": "",
        "feature descriptions": "unauthorized",
    }


def test_a_wrong_name_of_a_feature_in_the_settings_is_told(fake: SageMakerFake) -> None:
    views = {"customers": {"features": {"actve": {"dtype": "bool"}}}}
    with (
        featkit.connect(opened(fake.url, views=views), now=CONTRACT_NOW) as client,
        pytest.warns(SettingsWarning, match=r"'actve': .* 'customers' has .* mean 'active'"),
    ):
        client.lookup([1], ["customers:visits"])


def test_groups_that_are_named_need_no_list(fake: SageMakerFake) -> None:
    fake.denied = {"ListFeatureGroups"}
    with connected(fake, feature_groups="customers, routes") as client:
        assert [view.name for view in client.list_feature_views()] == ["customers", "routes"]
        with pytest.raises(UnknownNameError, match="did you mean 'routes'"):
            client.lookup([1], ["route:length_km"])
    with connected(fake) as client, pytest.raises(UnknownNameError, match="the region"):
        client.lookup([1], ["route:length_km"])


def test_settings_and_parameters_describe(fake: SageMakerFake) -> None:
    fake.groups["customers"].said["score"] = ("loyalty", {"unit": "share"})
    views = {
        "customers": {
            "owner": "us",
            "tags": {"a": "b"},
            "features": {"visits": {"description": "n"}},
        }
    }
    with connected(fake, views=views) as client:
        view = client.get_feature_metadata("customers")
    assert (view.owner, view.tags["a"], view.ttl) == ("us", "b", timedelta(hours=3))
    assert (view["score"].description, view["score"].tags) == ("loyalty", {"unit": "share"})
    assert view["visits"].description == "n"
    assert view["embedding"].store_type == "list of Fractional"


def test_a_group_without_online_store_is_refused_by_name(
    fake: SageMakerFake, client: featkit.FeatureStoreClient
) -> None:
    fake.groups["customers"].online = False
    with pytest.raises(NotSupportedError, match="'customers' is not served online"):
        client.lookup([1], ["customers:visits"])
    assert fake.batches == []


# -- what goes wrong -------------------------------------------------------------------------------


def test_throttling_is_waited_for(fake: SageMakerFake) -> None:
    refusals = [400, 400]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/BatchGetRecord" and refusals:
            said = {"__type": "ThrottlingException", "Message": "Rate exceeded"}
            return httpx.Response(refusals.pop(), json=said)
        return passed_on(request)

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        featkit.connect(opened(fake.url), client=http, now=CONTRACT_NOW, retry=SOON) as client,
    ):
        assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"secret_access_key": "wrong-secret-0815"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "AKIAOTHER"}, "UnrecognizedClientException"),
    ],
)
def test_wrong_credentials_are_said_so(
    fake: SageMakerFake, options: dict[str, str], words: str
) -> None:
    with connected(fake, **options) as client:
        with pytest.raises(AuthError, match=words) as caught:
            client.list_feature_views()
        report = client.check_health()
    assert "wrong-secret-0815" not in str(caught.value)
    assert not report.authorized


@pytest.mark.parametrize(("status", "headers", "body"), BARE.values(), ids=BARE)
def test_a_refusal_without_its_kind_is_about_credentials(
    fake: SageMakerFake, status: int, headers: dict[str, str], body: bytes
) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, content=body)

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        featkit.connect(opened(fake.url), client=http, retry=SOON) as client,
    ):
        with pytest.raises(AuthError, match="those that were passed as access_key_id") as caught:
            client.list_feature_views()
        assert not client.check_health().authorized
    assert TOKEN not in str(caught.value)


def test_a_wrong_region_is_said_so(fake: SageMakerFake) -> None:
    known = {"endpoint_url": fake.url, "control_url": fake.url, "access_key_id": KEY_ID}
    store = open_store("sagemaker:us-east-1", known | {"secret_access_key": SECRET})
    with featkit.connect(store) as client, pytest.raises(AuthError, match="the region"):
        client.list_feature_views()


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another entity": lambda said: said["Records"][0].update(RecordIdentifierValueAsString="404"),
    "an entity twice": lambda said: said["Records"].append(said["Records"][0]),
    "an entity found and failed": lambda said: said["Errors"].append(
        {
            "FeatureGroupName": "customers",
            "RecordIdentifierValueAsString": "8",
            "ErrorCode": "X",
            "ErrorMessage": "x",
        }
    ),
    "another entity failed": lambda said: said["Errors"].append(
        {"RecordIdentifierValueAsString": "77", "ErrorCode": "X", "ErrorMessage": "x"}
    ),
    "another group": lambda said: said["Records"][0].update(FeatureGroupName="routes"),
    "no identifier": lambda said: said["Records"][0].pop("RecordIdentifierValueAsString"),
    "a feature twice": lambda said: said["Records"][0]["Record"].append(
        said["Records"][0]["Record"][1]
    ),
    "a list for a value": lambda said: _cell(said).update(ValueAsStringList=["1"]),
    "a fraction": lambda said: _cell(said).update(ValueAsString="1.5"),
    "records are no list": lambda said: said.update(Records={"a": 1}),
    "a record is no object": lambda said: said.update(Records=["a"]),
    "no records": lambda said: said.pop("Records"),
    "an error alone": lambda said: (said.clear(), said.update(__type="InternalFailure")),
    "errors are no list": lambda said: said.update(Errors="none"),
}


def _cell(said: dict[str, Any]) -> dict[str, Any]:
    return next(own for own in said["Records"][0]["Record"] if own["FeatureName"] == "visits")


def lying(change: Callable[[dict[str, Any]], object]) -> httpx.Client:
    """Make a client whose lookups are answered by the fake, and then falsified."""

    def answer(request: httpx.Request) -> httpx.Response:
        reply = passed_on(request)
        if request.url.path != "/BatchGetRecord":
            return reply
        body = reply.json()
        change(body)
        return httpx.Response(200, json=body)

    return httpx.Client(transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("change", LIES.values(), ids=LIES)
def test_no_lie_becomes_a_wrong_row(
    fake: SageMakerFake, change: Callable[[dict[str, Any]], object]
) -> None:
    with (
        lying(change) as http,
        featkit.connect(opened(fake.url), client=http, now=CONTRACT_NOW, retry=SOON) as client,
        pytest.raises((RowMismatch, ProtocolError)) as caught,
    ):
        client.lookup([1, 8, 0], ["customers:visits", "customers:name"])
    assert "BatchGetRecord" in str(caught.value)


def test_records_in_any_order_are_joined_by_their_identifiers(fake: SageMakerFake) -> None:
    with (
        lying(lambda said: said["Records"].reverse()) as http,
        featkit.connect(opened(fake.url), client=http, now=CONTRACT_NOW) as client,
    ):
        found = client.lookup([1, 8, 0], ["customers:name"])
    assert found.values["name"].to_list() == ["🦉 o'wl", "corrected", "zero"]


def test_an_unreadable_time_is_unknown(fake: SageMakerFake) -> None:
    for time in ("yesterday", "2024-05-01T11:00:00"):
        fake.groups["customers"].ttl = None
        fake.groups["customers"].records["8"]["event_timestamp"] = time
        with connected(fake) as client:
            assert client.lookup([8], ["customers:visits"]).stamps("visits").to_list() == [None]


# -- what was recorded -----------------------------------------------------------------------------


def recorded_group() -> Group:
    definitions = {
        "customer_id": ("String", None),
        "event_time": ("String", None),
        "n": ("Integral", None),
        "tags": ("String", "List"),
    }
    own = Group("fg", "customer_id", "event_time", definitions)
    for number in range(2):
        one = f"c {number}/é"
        at = {"customer_id": one, "event_time": "2026-11-20T12:00:00Z"}
        own.records[one] = {**at, "n": "42", "tags": ["a", "b"]}
    return own


@pytest.mark.parametrize("number", [1, 2, 3, 4, 6, 7])
def test_the_fake_answers_asrecorded(number: int) -> None:
    pair = RECORDED[number]
    asked, said = pair["req"], pair["resp"]
    auth = AwsSignature("sagemaker", REGION, key_id=KEY_ID, secret=Secret(SECRET))
    own = recorded_group()
    with SageMakerFake(own) as fake:
        fake.unprocessed = {"thr1": 1}
        own.ttl = timedelta(days=2, hours=11) if "ExpiresAt" in said["body"] else None
        request = HttpRequest(
            url=fake.url + asked["path"],
            method=asked["method"],
            headers=asked["headers"],
            body=asked["body"].encode(),
        )
        signed = next(auth.auth_flow(request))
        reply = ask(signed.method, signed.url, content=signed.body, headers=dict(signed.headers))
    assert reply.status_code == said["status"]
    if reply.is_success:
        assert reply.json() == json.loads(said["body"])
    else:
        assert reply.json()["__type"] == json.loads(said["body"])["__type"]


def test_recorded_answers_are_read() -> None:
    first = json.loads(RECORDED[4]["resp"]["body"]) | {"Errors": []}  # those are of another group
    answers = [json.loads(RECORDED[5]["resp"]["body"]), first]
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/BatchGetRecord":
            asked.append(json.loads(request.content)["Identifiers"])
            return httpx.Response(200, json=answers.pop())
        own = recorded_group()
        said = own.description_of() | {"FeatureDefinitions": own.defined()}
        return httpx.Response(200, json=said)

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        featkit.connect(
            opened("http://127.0.0.1", views={}), client=http, now="2026-11-21T00:00:00Z"
        ) as client,
    ):
        found = client.lookup(["c 1/é", "miss", "thr1"], ["fg:n"])
    assert found.values["n"].to_list() == [42, None, None]
    assert found.statuses["n"].to_list() == ["PRESENT", "NOT_FOUND", "NOT_FOUND"]
    names = {"FeatureGroupName": "fg", "FeatureNames": ["event_time", "n"]}
    assert asked == [
        [names | {"RecordIdentifiersValueAsString": ["c 1/é", "miss", "thr1"]}],
        [names | {"RecordIdentifiersValueAsString": ["thr1"]}],
    ]


# -- settings --------------------------------------------------------------------------------------


def test_settings_name_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: SageMakerFake
) -> None:
    (tmp_path / "featkit.toml").write_text(
        f'backend = "sagemaker"\n[sagemaker]\nregion = "{REGION}"\nendpoint_url = "{fake.url}"\n'
        f'control_url = "{fake.url}"\naccess_key_id = "{KEY_ID}"\ntimeout = "9s"\n'
        'secret_access_key = { env = "MY_SECRET" }\n'
        '[sagemaker.views.routes]\njoin_keys = { start_id = "int64", end_id = "int64" }\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_SECRET", SECRET)
    with featkit.connect(now=CONTRACT_NOW) as client:
        assert client.target == f"sagemaker:{REGION}"
        assert client.get_online_features("routes", (1, 11)) == {"length_km": 1011.5}


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("sagemaker:Ireland", {}, "names no region"),
        ("sagemaker:eu-west-1", {"access_key_id": "AK"}, "go together"),
        ("sagemaker:eu-west-1", {"secret_access_key": 5}, "secret_access_key must be text"),
        ("sagemaker:eu-west-1", {"profil": "x"}, "did you mean 'profile'"),
        (
            "sagemaker:eu-west-1",
            {"views": {"g": {"separator": ""}}},
            "separator of .* 'g' is empty",
        ),
        (
            "sagemaker:eu-west-1",
            {"views": {"g": {"features": {"x": {"dtype": "integer"}}}}},
            "'x' of the feature group 'g'",
        ),
    ],
)
def test_wrong_options_are_refused(target: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        open_store(target, options)


def test_addresses_follow_the_region() -> None:
    requests = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request.url.host)
        return httpx.Response(400, json={"__type": "ValidationException", "message": "stop"})

    known = {"access_key_id": KEY_ID, "secret_access_key": SECRET}
    for region in ("eu-west-1", "cn-north-1"):
        with (
            httpx.Client(transport=httpx.MockTransport(answer)) as http,
            featkit.connect(open_store(f"sagemaker:{region}", known), client=http) as client,
            pytest.raises(RequestRejected),
        ):
            client.list_feature_views()
    assert requests == [
        "api.sagemaker.eu-west-1.amazonaws.com",
        "api.sagemaker.cn-north-1.amazonaws.com.cn",
    ]


def test_many_records_are_right() -> None:
    keys = list(range(500))
    with SageMakerFake(numbers(450)) as fake, connected(fake) as client:
        found = client.lookup({"user_id": keys}, "numbers:*")
    assert found.values["f8"].to_list() == [key + 1.0 for key in range(450)] + [None] * 50


def test_a_staleness_report_knows_the_age_of_each_record(
    client: featkit.FeatureStoreClient,
) -> None:
    (view,) = client.staleness(["customers:visits"], entities=[1, 2, 3, 404]).views
    (feature,) = view.features
    assert view.level == "row"
    assert (feature.present, feature.expired, feature.missing) == (2, 1, 1)


# -- several groups in one call


def grouped(*names: str) -> SageMakerFake:
    views = {view.name: (view, rows) for view, rows in contract_views()}
    return SageMakerFake(*(Group.of(*views[name]) for name in names))


def test_few_records_of_several_groups_are_asked_for_in_one_call() -> None:
    with grouped("customers", "routes", "quiet") as fake, connected(fake) as client:
        keys = {"customer_id": [1, 404], "start_id": [1, 11], "end_id": [11, 1]}
        found = client.lookup(keys, ["routes:length_km", "customers:visits", "customers:name"])
        assert found.to_dicts() == [
            {"length_km": 1011.5, "visits": 2**53 + 1, "name": "🦉 o'wl"},
            {"length_km": 11006.5, "visits": None, "name": None},
        ]
        assert [sorted(batch) for batch in fake.batches] == [
            sorted(["1", "404", "[1,11]", "[11,1]"])
        ]


def test_what_is_left_of_chunks_shares_a_call_within_the_limits() -> None:
    with grouped("customers", "routes") as fake, connected(fake) as client:
        ids = list(range(1000, 1130))
        keys = {"customer_id": ids, "start_id": ids, "end_id": ids}
        client.lookup(keys, ["routes:length_km", "customers:visits"])
        # 130 of each: two full calls, and one for the thirty that are left of both
        assert sorted(map(len, fake.batches)) == [60, 100, 100]


def test_a_group_that_fails_does_not_harm_those_beside_it() -> None:
    with grouped("customers", "routes") as fake:
        fake.failing = {"1": "ValidationError"}
        keys = {"customer_id": [1, 8], "start_id": [1, 11], "end_id": [11, 1]}
        with connected(fake) as client, pytest.raises(IncompleteAnswer) as caught:
            client.lookup(keys, ["routes:length_km", "customers:visits"])
        assert caught.value.partial.values["length_km"].to_list() == [1011.5, 11006.5]


def test_where_a_call_for_several_groups_is_refused_each_is_asked_for_alone() -> None:
    """Who may read one group only gets that one."""
    with grouped("customers", "routes") as fake, connected(fake) as client:
        client.get_feature_metadata("customers")
        del fake.groups["routes"].definitions["length_km"]  # refused as a whole: no such feature
        frame = pl.DataFrame({"customer_id": [1], "start_id": [1], "end_id": [11]})
        store: Any = client.operations.store
        views = {view.name: view for view, _ in contract_views()}
        described = client.get_feature_metadata("customers"), client.get_feature_metadata("routes")
        reads = [
            OnlineRead(own, (own["visits"],), frame.select("customer_id"), CONTRACT_NOW)
            if own.name == "customers"
            else OnlineRead(
                replace(own, features=views["routes"].features),
                (replace(views["routes"]["length_km"], store_type="Fractional"),),
                frame.select("start_id", "end_id"),
                CONTRACT_NOW,
            )
            for own in described
        ]
        good, bad = client.run(store.perform(reads, store.read_together(reads)))
    assert good.values["visits"].to_list() == [2**53 + 1]
    assert isinstance(bad, RequestRejected)


def test_no_more_than_ten_groups_go_together() -> None:
    view, rows = next(own for own in contract_views() if own[0].name == "quiet")
    named = [replace(view, name=f"quiet{number:02}") for number in range(12)]
    with SageMakerFake(*(Group.of(own, rows) for own in named)) as fake:
        with connected(fake, views={own.name: TOLD["quiet"] for own in named}) as client:
            store: Any = client.operations.store
            keys = pl.DataFrame({"sensor_id": [1]})
            known = [client.get_feature_metadata(own.name) for own in named]
            reads = [OnlineRead(own, own.features, keys, CONTRACT_NOW) for own in known]
            answers = client.run(store.perform(reads, store.read_together(reads)))
        assert all(answer.values.equals(answers[0].values) for answer in answers)
        assert sorted(map(len, fake.batches)) == [2, 10]
