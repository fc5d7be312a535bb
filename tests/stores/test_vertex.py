"""Vertex AI over REST, against a fake that speaks protobuf's JSON."""

from __future__ import annotations

import json
import math
import traceback
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import msgspec
import polars as pl
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import featkit
from featkit.auth.google import GoogleAuth
from featkit.calls import HttpReply
from featkit.catalogue import read_catalogue
from featkit.columns import FeatureColumns, Status
from featkit.errors import (
    AuthError,
    ExpiredWarning,
    FeatkitError,
    NotSupportedError,
    ProtocolError,
    RequestRejected,
    RowMismatch,
    SettingsError,
    UnknownNameError,
    ViewWarning,
)
from featkit.online.gathering import Later, gathered
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.base import OnlineRead, open_store
from featkit.stores.vertex import VertexStore
from featkit.stores.vertex.api import Api
from featkit.stores.vertex.description import described as describe
from featkit.stores.vertex.registry import Field, View, ViewOptions, dtype_of
from featkit.stores.vertex.values import Answers, body_of
from featkit.stores.vertex.values import features_of as one_of
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views, described
from featkit.told import ToldViews
from tests.fakes.vertex import LOCATION, PLACE, PROJECT, STORE, VertexFake, google
from tests.fakes.wire import Answer, Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.stores.base import Store

TARGET = f"vertex:{PROJECT}/{LOCATION}/{STORE}"
TTLS = {
    "customers": {"ttl": "3h", "timestamp": "event_timestamp"},
    "quiet": {"ttl": "1d", "timestamp": "event_timestamp"},
    "parcels": {"timestamp": "event_timestamp"},
}


@pytest.fixture
def fake() -> VertexFake:
    return VertexFake(contract_views())


@pytest.fixture
def url(fake: VertexFake) -> Iterator[str]:
    with google(fake) as url:
        yield url


def opened(url: str, **options: Any) -> Store:
    known = {"api_endpoint": url, "bigquery_endpoint": url, "token": "ya29-canary", "views": TTLS}
    return open_store(TARGET, known | options)


@pytest.mark.slow
class TestVertex(StoreContract):
    secret = "canary"

    @pytest.fixture
    def store(self, url: str) -> Store:
        return opened(url)


@pytest.mark.slow
class TestVertexWithoutGroups(StoreContract):
    """Views that read tables of BigQuery."""

    @pytest.fixture
    def store(self, fake: VertexFake, url: str) -> Store:
        fake.in_groups = False
        return opened(url)


@pytest.fixture
def client(url: str) -> Iterator[featkit.FeatureStoreClient]:
    with featkit.connect(opened(url), now=CONTRACT_NOW) as client:
        yield client


def test_each_key_is_a_request_and_composite_keys_have_parts(
    fake: VertexFake, client: featkit.FeatureStoreClient
) -> None:
    client.lookup({"depot": ["a|b", "a|b", None], "code": ["c", "c", "x"]}, ["parcels:label"])
    client.lookup([1], ["customers:visits"])
    assert fake.keys == [{"compositeKey": {"parts": ["a|b", "c"]}}, {"key": "1"}]


def test_few_keys_are_asked_for_at_the_same_time(fake: VertexFake, client: Any) -> None:
    fake.latency = 0.2
    client.lookup(list(range(100, 108)), ["customers:visits"])
    assert client.last_summary.calls == 8
    assert any(begun < ended for (_, ended), (begun, _) in pairwise(sorted(fake.spans)))


def test_values_have_the_time_at_which_they_were_generated(client: Any) -> None:
    with pytest.warns(ExpiredWarning):
        found = client.lookup([1, 3], ["customers:visits"])
    hour = timedelta(hours=1)
    assert found.timestamps["visits"].to_list()[0] == CONTRACT_NOW - hour


def test_a_dedicated_endpoint_serves_values(fake: VertexFake) -> None:
    fake.dedicated = "123.us-central1-1.featurestore.vertexai.goog"
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        said = fake.answer(
            Asked(
                request.method,
                request.url.path,
                dict(request.url.params),
                dict(request.headers),
                request.content,
            )
        )
        headers, content = said.encoded()
        return httpx.Response(said.status, headers=headers, content=content)

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        featkit.connect(open_store(TARGET, {"token": "ya29-canary"}), client=http) as client,
    ):
        client.get_online_features("routes", (1, 11))
    assert asked[-1] == fake.dedicated
    assert set(asked[:-1]) == {"us-central1-aiplatform.googleapis.com", "bigquery.googleapis.com"}


def test_a_view_that_is_gone_is_no_view_without_entities(fake: VertexFake, url: str) -> None:
    with featkit.connect(opened(url, views={}), now=CONTRACT_NOW) as client:
        assert (
            client.lookup([404, 405], ["customers:visits"]).statuses["visits"].to_list()
            == [Status.NOT_FOUND] * 2
        )
        before = len(fake.asked)
        client.lookup([1, 406], ["customers:visits"])
        assert len(fake.asked) == before + 2  # of one something is known
        fake.views = [(view, rows) for view, rows in fake.views if view.name != "customers"]
        for _ in range(2):
            with pytest.raises(UnknownNameError, match="no feature view 'customers' in fos"):
                client.lookup([8, 9], ["customers:visits"])


@pytest.mark.filterwarnings("ignore::featkit.errors.SettingsWarning")
@pytest.mark.parametrize("gone", ["routes_group", "routes"])
def test_a_view_whose_group_or_table_is_gone_fails_alone(
    fake: VertexFake, client: Any, gone: str
) -> None:
    fake.lost.add(gone)
    assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
    with pytest.raises(FeatkitError, match=f"'routes' cannot be described: .*{gone}"):
        client.get_feature_metadata("routes")
    with pytest.warns(ViewWarning, match=f"'routes' is left out: .* cannot .*{gone}") as told:
        listed = client.list_feature_views()
    assert [own.filename for own in told] == [__file__]
    names = {view.name for view, _ in contract_views()}
    assert {view.name for view in listed} == names - {"routes"}
    with pytest.warns(ViewWarning):
        assert {own.view for own in client.search("visits")} == {"customers"}
    with pytest.warns(ViewWarning):
        assert {own.name for own in client.list_entities()} >= {"customer_id", "note_id"}
    catalogue = client.run(read_catalogue(client.operations.store, "vertex:it"))
    assert len(catalogue.views) == len(names) - 1
    assert [note for note in catalogue.notes if gone in note]
    report = client.staleness(entities=None)
    failed = [view.view for view in report.views if not view.described]
    assert failed == ["routes"]
    assert {view.view for view in report.views} == {view.name for view, _ in contract_views()}


def test_a_feature_that_its_group_has_no_more_is_served_all_the_same(
    fake: VertexFake, client: Any
) -> None:
    fake.lost.add("visits")
    assert client.get_online_features("customers", 1, ["visits"]) == {"visits": 2**53 + 1}


@pytest.mark.parametrize(
    ("kind", "mode", "served", "dtype"),
    [
        ("NUMERIC", "NULLABLE", "DOUBLE", pl.Float64()),
        ("BIGNUMERIC", "REPEATED", "DOUBLE_ARRAY", pl.List(pl.Float64())),
        ("NUMERIC", "NULLABLE", "", pl.String()),
        ("DATETIME", "REPEATED", "", pl.List(pl.String())),
        ("TIMESTAMP", "NULLABLE", "INT64", pl.Datetime("us", "UTC")),
        ("DATE", "REPEATED", "INT64_ARRAY", pl.List(pl.Date())),
    ],
)
def test_what_bigquery_has_no_dtype_for_is_what_it_is_served_as(
    kind: str, mode: str, served: str, dtype: pl.DataType
) -> None:
    assert dtype_of(Field("f", kind, mode), served) == dtype


@pytest.mark.parametrize(
    ("view", "has"),
    [("customers", "the times 'event_timestamp'"), ("routes", "no event timestamps")],
)
def test_a_column_of_times_is_not_told_of_a_feature_group(url: str, view: str, has: str) -> None:
    told = f"'{view}' have timestamp='seen_at', .* the feature group '{view}_group', which has"
    with (
        featkit.connect(opened(url, views={view: {"timestamp": "seen_at"}})) as client,
        pytest.raises(SettingsError, match=f"{told} {has}: leave it out"),
    ):
        client.get_feature_metadata(view)


def test_groups_may_be_in_another_project(fake: VertexFake, client: Any) -> None:
    fake.other_project = "4711"
    assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
    paths = [asked.path for asked in fake.asked if "/featureGroups/" in asked.path]
    assert {path.split("/")[3] for path in paths} == {"4711"}


def test_without_bigquery_keys_are_texts(fake: VertexFake, url: str) -> None:
    fake.no_bigquery = True
    with (
        featkit.connect(opened(url)) as client,
        pytest.raises(AuthError, match=r"bigquery.tables.get denied.*bigquery=False"),
    ):
        client.list_feature_views()
    with featkit.connect(opened(url, bigquery=False), now=CONTRACT_NOW) as client:
        view = client.get_feature_metadata("customers")
        assert view.entities[0].dtype == pl.String
        assert view["seen_at"].dtype == pl.Int64
        assert client.get_online_features("customers", "1", ["visits"]) == {"visits": 2**53 + 1}


def test_a_view_of_a_table_is_not_described_without_bigquery(fake: VertexFake, url: str) -> None:
    fake.in_groups = False
    with (
        featkit.connect(opened(url, bigquery=False)) as client,
        pytest.raises(NotSupportedError, match=r"'customers' .* bq://p.lake.customers, which only"),
    ):
        client.get_online_features("customers", "1")


def test_projects_of_a_domain_have_dots_in_their_names() -> None:
    project = "example.com:analytics"
    source = {"uri": f"bq://{project}.lake.users", "entityIdColumns": ["id"]}
    view = msgspec.convert({"name": "views/v", "bigQuerySource": source}, View)
    told = ToldViews("vertex", {}, ViewOptions())
    flow = describe(Api("http://host", ""), PLACE, [view], VertexStore.Options(), told)
    (call,) = next(flow)
    assert call.request.url.endswith(f"/projects/{quote(project)}/datasets/lake/tables/users")


@pytest.mark.parametrize(
    ("target", "options", "error", "words"),
    [
        (
            "vertex:p/us-central1/fs",
            {},
            UnknownNameError,
            "no online store 'fs'.*did you mean 'fos'",
        ),
        ("vertex:p/eu/fos", {}, UnknownNameError, "no projects/p/locations/eu .*check the target"),
        (
            TARGET,
            {"token": "ya29-wrong"},
            AuthError,
            "invalid authentication credentials.*those that were passed as token",
        ),
    ],
)
def test_mistakes_are_named(
    url: str, target: str, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    known = {"api_endpoint": url, "bigquery_endpoint": url, "token": "ya29-canary"}
    with (
        featkit.connect(open_store(target, known | options)) as client,
        pytest.raises(error, match=words) as caught,
    ):
        client.list_feature_views()
    assert "ya29" not in str(caught.value)


def test_the_name_that_google_gives_a_store_is_a_target(url: str) -> None:
    target = f"vertex:projects/{PROJECT}/locations/{LOCATION}/featureOnlineStores/{STORE}"
    known = {"api_endpoint": url, "bigquery_endpoint": url, "token": "ya29-canary"}
    with featkit.connect(target, cache=None, **known) as client:
        assert len(client.list_feature_views()) == len(contract_views())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_endpoint": "host"}, "api_endpoint='host' is no address; .* https://HOST"),
        ({"grpc": True, "grpc_endpoint": "host:1"}, "grpc_endpoint='host:1' is no address"),
        ({"bigquery_endpoint": "https://"}, "bigquery_endpoint='https://' is no address"),
        ({"grpc": True, "batch_size": 0}, "batch_size= is at least 1, not 0"),
    ],
)
def test_options_that_lead_nowhere_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        open_store(TARGET, {"token": "ya29-canary", **options})


@pytest.mark.parametrize("target", ["vertex:p/us", "vertex:p//s", "vertex+https://host"])
def test_a_target_that_names_no_store_is_refused(target: str) -> None:
    with pytest.raises(SettingsError, match="vertex:PROJECT/LOCATION/ONLINE_STORE"):
        open_store(target, {})


def test_settings_name_the_store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        'backend = "vertex"',
        "[vertex]",
        'project = "p"\nlocation = "us-central1"\nonline_store = "fos"',
        f'api_endpoint = "{url}"\nbigquery_endpoint = "{url}"',
        'token = { env = "GOOGLE_TOKEN" }',
        "[vertex.views.customers]",
        'ttl = "3h"',
    ]
    (tmp_path / "featkit.toml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOGLE_TOKEN", "ya29-canary")
    with featkit.connect() as client:
        assert client.target == TARGET
        assert client.get_feature_metadata("customers").ttl == timedelta(hours=3)


def test_the_health_check_tells_of_synchronisations(fake: VertexFake, client: Any) -> None:
    assert "customers 2024-05-01T11:02:00Z" in str(client.check_health())
    fake.sync_error = "no permission to read the source"
    assert "'customers' failed: no permission" in client.check_health().reason
    fake.state = "UPDATING"
    assert "'fos' is UPDATING" in client.check_health().reason


# -- Google's credentials


def service_account(folder: Path, url: str) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "service-account.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "client_email": "x@p.iam.gserviceaccount.com",
                "private_key": pem.decode(),
                "private_key_id": "1",
                "project_id": "p",
                "token_uri": f"{url}/token",
            }
        )
    )
    return path


def test_a_service_account_gets_one_token_and_another_once_it_has_expired(
    fake: VertexFake, url: str, tmp_path: Path
) -> None:
    file = str(service_account(tmp_path, url))
    store = opened(url, token=None, credentials_file=file)
    with featkit.connect(store, cache=None) as client:
        client.lookup(list(range(100, 140)), ["customers:visits"])
        assert len(fake.tokens) == 1
        fake.tokens[:] = ["ya29-another"]
        client.lookup(list(range(100, 140)), ["customers:visits"])
        assert len(fake.tokens) == 2


def test_it_is_known_who_asks_where_a_file_is_named(url: str, tmp_path: Path) -> None:
    file = service_account(tmp_path, url)
    asked = GoogleAuth(str(file)).identity
    assert asked == GoogleAuth(str(file)).identity is not None
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"client_email": "y@p.iam.gserviceaccount.com"}))
    assert GoogleAuth(str(file)).identity != asked
    assert GoogleAuth().identity is None
    assert GoogleAuth(str(tmp_path / "nothing.json")).identity is None


def test_default_credentials_are_found(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(service_account(tmp_path, url))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
    with featkit.connect(opened(url, token=None)) as client:
        assert client.get_online_features("routes", (1, 11)) == {"length_km": 1011.5}


@pytest.mark.parametrize("payer", ["", "analytics-4711"])
def test_the_project_that_pays_is_named(
    fake: VertexFake, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payer: str
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, url)))
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", payer)
    with featkit.connect(opened(url, token=None), now=CONTRACT_NOW) as client:
        assert client.get_online_features("customers", 8, ["visits"]) == {"visits": 8}
        sent = {asked.headers.get("x-goog-user-project", "") for asked in fake.asked[1:]}
        assert sent == {payer}
        with pytest.raises(UnknownNameError, match="analytics-4711"):  # it is no secret
            client.get_feature_metadata("analytics-4711")


def test_credentials_that_google_refuses_are_named(url: str, tmp_path: Path) -> None:
    file = service_account(tmp_path, url)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"token_uri": f"{url}/v1/nothing"}))
    with (
        featkit.connect(opened(url, token=None, credentials_file=str(file))) as client,
        pytest.raises(AuthError, match=r"Google refuses the credentials in .*json") as caught,
    ):
        client.list_feature_views()
    shown = "".join(traceback.format_exception(caught.value))
    assert "PRIVATE KEY" not in shown


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no JSON", "json cannot be read as the key"),
        ('{"type": "service_account"}', "json cannot be read as the key.*missing fields"),
        (None, "json cannot be read as the key.*it is not there"),
    ],
)
def test_files_that_hold_no_credentials_are_named(
    url: str, tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "x.json"
    if content is not None:
        file.write_text(content)
    with (
        featkit.connect(opened(url, token=None, credentials_file=str(file))) as client,
        pytest.raises(SettingsError, match=words),
    ):
        client.list_feature_views()


@pytest.mark.parametrize(("content", "words"), [(None, "is not there"), ("{}", "cannot be read")])
def test_the_variable_that_names_no_credentials_is_named(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    words: str,
) -> None:
    file = tmp_path / "adc.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with (
        featkit.connect(opened(url, token=None)) as client,
        pytest.raises(
            AuthError, match=rf"GOOGLE_APPLICATION_CREDENTIALS names .*adc.json.*{words}"
        ),
    ):
        client.list_feature_views()
    assert GoogleAuth().origin.endswith("which GOOGLE_APPLICATION_CREDENTIALS names")


# -- answers that lie


def features_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    return body["keyValues"]["features"]


def value(body: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each["value"] for each in features_of(body) if each["name"] == name)


def _as(body: dict[str, Any], **fields: Any) -> None:
    own = value(body, "visits")
    own.pop("int64Value")
    own.update(fields)


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a feature missing": lambda body: features_of(body).pop(
        [each["name"] for each in features_of(body)].index("visits")
    ),
    "a feature twice": lambda body: features_of(body).append(features_of(body)[-1]),
    "no features": lambda body: features_of(body).clear(),
    "no key values": lambda body: body.pop("keyValues"),
    "a struct instead": lambda body: body.update(protoStruct=body.pop("keyValues")),
    "another type": lambda body: _as(body, doubleValue=1.0),
    "two types": lambda body: value(body, "visits").update(stringValue="x"),
    "a fraction for an integer": lambda body: _as(body, int64Value="1.5"),
    "a word for an integer": lambda body: _as(body, int64Value="one"),
    "beyond 64 bits": lambda body: _as(body, int64Value=str(2**63)),
    "a time that is none": lambda body: value(body, "visits").update(
        metadata={"generateTime": "yesterday"}
    ),
    "a list": lambda body: body.update(keyValues=[1, 2]),
    "a kind that is not known": lambda body: _as(body, uint64Value="1"),
    "another entity": lambda body: body.update(dataKey={"key": "77"}),
    "an entity of more parts": lambda body: body.update(
        dataKey={"compositeKey": {"parts": ["1", "1"]}}
    ),
    "nanoseconds": lambda body: value(body, "seen_at").update(int64Value=str(1714564800 * 10**9)),
}


@pytest.mark.parametrize("name", LIES)
def test_no_lie_becomes_a_wrong_value(fake: VertexFake, name: str) -> None:
    def lie(said: Answer) -> Answer:
        body = json.loads(json.dumps(said.body))
        LIES[name](body)
        return replace(said, body=body)

    with (
        changing(fake, lie) as client,
        pytest.raises((RowMismatch, ProtocolError)),
    ):
        client.lookup([1, 8, 0], ["customers:visits", "customers:name", "customers:seen_at"])


@contextmanager
def changing(
    fake: VertexFake, change: Callable[[Answer], Answer]
) -> Iterator[featkit.FeatureStoreClient]:
    """Connect to a fake whose answers to lookups are changed."""

    def answer(request: httpx.Request) -> httpx.Response:
        query, headers = dict(request.url.params), dict(request.headers)
        said = fake.answer(Asked(request.method, request.url.path, query, headers, request.content))
        if request.method == "POST" and "fetchFeatureValues" in request.url.path:
            said = change(said)
        return httpx.Response(said.status, content=said.encoded()[1])

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        featkit.connect(opened("http://127.0.0.1:1"), client=http, now=CONTRACT_NOW) as client,
    ):
        yield client


@pytest.mark.parametrize(
    "body", [b"", b"<html>Not Found</html>", b'{"error": "x"}', {"error": {"code": 404}}], ids=repr
)
def test_a_404_of_somebody_else_is_no_missing_entity(fake: VertexFake, body: object) -> None:
    with (
        changing(fake, lambda _: Answer(404, body)) as client,
        pytest.raises(RequestRejected, match=r"404, .* does no proxy stand between"),
    ):
        client.lookup([1, 404], ["customers:visits"])


def test_answers_that_repeat_their_key_are_held_to_it(fake: VertexFake) -> None:
    keys: dict[str, dict[str, Any]] = {
        "1": {"key": "1"},
        "8": {"compositeKey": {"parts": ["8"]}},
        "404": {},
    }

    def keyed(said: Answer) -> Answer:
        known = keys[json.loads(fake.asked[-1].body)["dataKey"]["key"]]
        return replace(said, body={**said.body, "dataKey": known})

    with changing(fake, keyed) as client:
        found = client.lookup([1, 404, 8], ["customers:visits"])
    assert found.values["visits"].to_list() == [2**53 + 1, None, 8]


@pytest.mark.parametrize(
    "key",
    [True, 1.5, b"x", datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC).date()],
)
def test_ids_of_which_it_is_not_known_how_they_are_written_are_refused(key: object) -> None:
    rows = pl.DataFrame({"id": [key], "x": [1]})
    odd = described(rows, name="odd", join_keys="id")
    with (
        google(VertexFake([odd])) as url,
        featkit.connect(opened(url, views={})) as client,
        pytest.raises(NotSupportedError, match=r"the join key 'id' is .*text and whole numbers"),
    ):
        client.lookup(rows, ["odd:x"])


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", ["", "<html>Forbidden</html>", "{}"])
def test_a_refusal_without_a_reason_names_the_credentials(status: int, body: str) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))
    with (
        httpx.Client(transport=transport) as http,
        featkit.connect(opened("http://127.0.0.1:1"), client=http) as client,
        pytest.raises(AuthError, match=f"{status}: Google gives no reason.*The credentials are"),
    ):
        client.list_feature_views()


# -- what was recorded

_FILE = Path(__file__).parents[1] / "data" / "vertex" / "rest.jsonl"
RECORDED = [json.loads(line) for line in _FILE.read_text("utf-8").splitlines()]
TYPES = {
    "n_trips": pl.Int64(),
    "rate": pl.Float64(),
    "flag": pl.Boolean(),
    "name": pl.String(),
    "blob": pl.Binary(),
    "i_arr": pl.List(pl.Int64()),
    "d_arr": pl.List(pl.Float64()),
    "s_arr": pl.List(pl.String()),
    "b_arr": pl.List(pl.Boolean()),
    "nul": pl.Int64(),
    "feature_timestamp": pl.Datetime("us", "UTC"),
}


def test_recorded_answers_are_read() -> None:
    view = FeatureView(
        name="fv",
        entities=(Entity("id", "id", pl.String()),),
        features=tuple(Feature(name, dtype) for name, dtype in TYPES.items()),
        timestamp="feature_timestamp",
    )
    keys = pl.DataFrame({"id": ["nan", "missing"]})
    read = OnlineRead(view, view.features, keys, CONTRACT_NOW)
    assert [body_of([key]) for key in keys["id"]] == [
        json.dumps(each["request"]["body"] | {"dataFormat": "KEY_VALUE"}).encode()
        for each in (RECORDED[0], RECORDED[2])
    ]
    bodies = [
        one_of(HttpReply(said["status"], {}, bytearray(json.dumps(said["body"]).encode())))
        for said in (RECORDED[0]["response"], RECORDED[2]["response"])
    ]
    found = Answers(read).columns(bodies)
    row = found.to_dicts()[0]
    moment = datetime(2026, 11, 20, 12, 0, 0, 123000, tzinfo=UTC)
    assert math.isnan(row.pop("rate"))
    assert row == {
        "n_trips": 2**53 + 1,
        "flag": True,
        "name": "énan",
        "blob": b"\x00\xff\xfe",
        "i_arr": [1, 2],
        "d_arr": [0.5],
        "s_arr": ["a"],
        "b_arr": [True, False],
        "nul": None,
        "feature_timestamp": moment,
    }
    assert found.values.schema == pl.Schema(TYPES)
    assert found.statuses["name"].to_list() == ["PRESENT", "NOT_FOUND"]
    assert found.timestamps["name"].to_list() == [moment, None]


def test_missing_default_credentials_are_named(
    url: str, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(empty_home))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # no look for Google's own machines
    with (
        featkit.connect(opened(url, token=None)) as client,
        pytest.raises(AuthError, match="GOOGLE_APPLICATION_CREDENTIALS"),
    ):
        client.list_feature_views()


def test_answers_of_several_calls_are_decoded_together(url: str) -> None:
    with featkit.connect(opened(url), now=CONTRACT_NOW, cache=None) as client:
        view = client.get_feature_metadata("customers")
        keys = pl.DataFrame({view.join_keys[0]: range(3)})
        reads = [OnlineRead(view, view.features, one, CONTRACT_NOW) for one in keys.iter_slices(1)]
        calls = client.operations.store.read_together(reads)
    first, second, third = (call.decode([b"null"]) for call in calls)
    assert isinstance(first, Later)
    assert first.group is second.group is third.group
    (whole,) = gathered(list(zip(reads, (first, second, third), strict=True)))
    assert isinstance(whole[1], FeatureColumns)
    assert {*whole[1].statuses["visits"]} == {Status.NOT_FOUND}
