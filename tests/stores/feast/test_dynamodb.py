"""Feast's values in DynamoDB as moto has it, and in a fake that leaves items out as it does."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import httpx
import mmh3
import polars as pl
import pytest

import featkit
from featkit import Status
from featkit.calls import HttpRequest
from featkit.errors import (
    AuthError,
    ProtocolError,
    RowMismatch,
    SettingsError,
    StoreError,
    ThrottledError,
    UnknownNameError,
)
from featkit.schema import Entity
from featkit.stores.base import open_store
from featkit.stores.feast.entity_keys import encode, entity_ids
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views
from featkit.transports.options import Retry
from tests.fakes.aws_refusals import BARE, TOKEN
from tests.fakes.feast import PROJECT, FeastFake, served
from tests.fakes.feast_format import rows
from tests.fakes.wire import ask, serving
from tests.programs.amazon import REGION, amazon, boto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from featkit.stores.base import Store

SECRET = "canary-secret-key-4711"


def items() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the items of each table by their identifiers, as Feast writes them."""
    tables: dict[str, dict[str, dict[str, Any]]] = {}
    for view, frame in contract_views():
        table = tables.setdefault(f"{PROJECT}.{view.name}", {})
        for key, moment, written in rows(view, frame):
            name = mmh3.hash_bytes(key).hex()
            table[name] = {
                "entity_id": {"S": name},
                "event_ts": {"S": str(moment)},
                "values": {"M": {own: {"B": held} for own, held in written.items()}},
            }
    return tables


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with amazon() as url:
        client = boto("dynamodb", url)
        for table, held in items().items():
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "entity_id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "entity_id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            for item in held.values():
                client.put_item(TableName=table, Item=item)
        yield url


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with served(FeastFake(contract_views())) as url:
        yield url


def known_of(url: str, registry: str) -> dict[str, Any]:
    known = {"registry_url": registry, "project": PROJECT, "endpoint_url": url}
    return known | {"access_key_id": "AK", "secret_access_key": SECRET}


def opened(url: str, registry: str, **options: Any) -> Store:
    return open_store(f"feast+dynamodb:{REGION}", known_of(url, registry) | options)


@pytest.mark.slow
class TestFeastDynamo(StoreContract):
    has_history = False  # it is the offline server's, which is not named here
    secret = SECRET

    @pytest.fixture
    def store(self, moto: str, registry: str) -> Store:
        return opened(moto, registry)


def test_who_asks_alike_shares_the_rows_of_a_file(moto: str, registry: str, tmp_path: Path) -> None:
    def looked_up(**options: Any) -> Any:
        own: dict[str, Any] = {"cache": tmp_path / "rows.db", "now": CONTRACT_NOW}
        known = {**known_of(moto, registry), **options}
        with featkit.connect(f"feast+dynamodb:{REGION}", **own, **known) as client:
            client.lookup([1, 2], ["customers:visits"])
            return client.last_summary

    assert looked_up().cached == 0
    again = looked_up()
    assert (again.cached, again.calls) == (2, 0)
    assert looked_up(session_token="of-another-role").cached == 0


def test_a_table_that_is_missing_is_named_with_what_to_check(moto: str, registry: str) -> None:
    store = opened(moto, registry, table_template="{project}-{table_name}")
    with (
        featkit.connect(store) as client,
        pytest.raises(
            UnknownNameError, match=r"no table 'contract-customers' in eu-west-1.*project="
        ),
    ):
        client.lookup([1], ["customers:visits"])


@pytest.mark.parametrize(
    "target", ["feast+dynamodb:", "feast+dynamodb:nowhere", "feast+dynamodb://x"]
)
def test_a_target_without_region_is_refused(target: str) -> None:
    with pytest.raises(SettingsError):
        open_store(target, {"registry_url": "http://localhost", "project": "p"})


# -- what the service does, and moto does not ----------------------------------------------------


@dataclass
class Service:
    """A DynamoDB that is strict with what it is asked, and answers as it is told to.

    Attributes
    ----------
    leave
        How many of the keys of a call it does not get to.
    spoil
        Changes the items of an answer.
    refuse
        Status and kind of an error to answer with.
    asked
        How many keys each call asked for.
    signed
        The headers `Authorization` that came.
    """

    tables: dict[str, dict[str, dict[str, Any]]] = field(default_factory=items)
    leave: Callable[[int], int] = lambda keys: 0  # noqa: ARG005
    spoil: Callable[[list[Any]], list[Any]] = lambda found: found
    refuse: tuple[int, str] | None = None
    asked: list[int] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)

    def answer(self, operation: str, body: dict[str, Any]) -> tuple[int, object]:
        if self.refuse:
            status, kind = self.refuse
            return status, {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": "no"}
        if operation != "BatchGetItem":
            return 400, {"__type": "#UnknownOperationException"}
        ((table, wanted),) = body["RequestItems"].items()
        names = [key["entity_id"]["S"] for key in wanted["Keys"]]
        self.asked.append(len(names))
        if len(names) > 100 or len(set(names)) < len(names):
            return 400, {"__type": "#ValidationException", "message": "Too many items requested"}
        done = len(names) - self.leave(len(names))
        alias = wanted["ExpressionAttributeNames"]
        paths = [part.strip().split(".") for part in wanted["ProjectionExpression"].split(",")]
        shown = {alias[path[1]] for path in paths if len(path) == 2}
        found = []
        for name in reversed(names[:done]):
            if item := self.tables[table].get(name):
                kept = {own: held for own, held in item["values"]["M"].items() if own in shown}
                bare = {own: item[own] for own in ("entity_id", "event_ts")}
                found.append(bare | ({"values": {"M": kept}} if kept else {}))
        reply: dict[str, Any] = {"Responses": {table: self.spoil(found)}, "UnprocessedKeys": {}}
        if done < len(names):
            rest = [{"entity_id": {"S": name}} for name in names[done:]]
            reply["UnprocessedKeys"] = {table: {**wanted, "Keys": rest}}
        return 200, reply


@contextmanager
def running(service: Service) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.signed.append(self.headers.get("Authorization", ""))
            operation = self.headers["X-Amz-Target"].removeprefix("DynamoDB_20120810.")
            status, reply = service.answer(operation, body)
            sent = json.dumps(reply, default=lambda raw: base64.b64encode(raw).decode()).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def client(service: Service, registry: str) -> Iterator[featkit.FeatureStoreClient]:
    quick = Retry(attempts=3)
    with (
        running(service) as url,
        featkit.connect(opened(url, registry), now=CONTRACT_NOW, retry=quick, cache=None) as client,
    ):
        yield client


pytestmark = pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
KEYS = pl.DataFrame({"customer_id": [*range(1, 9), *range(10_000, 10_400)]})


def test_a_hundred_items_are_asked_for_at_a_time(
    service: Service, client: featkit.FeatureStoreClient
) -> None:
    found = client.lookup(KEYS, ["customers:visits"])
    first, *others = service.asked
    assert first == 20  # for keys of an older layout
    assert sum(others) == KEYS.height
    assert len(others) == 5
    assert max(others) <= 100
    assert found.values.height == 408
    assert client.last_summary is not None
    assert client.last_summary.views[0].statuses[Status.NOT_FOUND] >= 400


def test_what_was_left_unprocessed_is_asked_for_until_it_is_there(
    service: Service, client: featkit.FeatureStoreClient
) -> None:
    right = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    service.leave = lambda keys: keys * 2 // 3
    found = client.lookup(KEYS, ["customers:*"]).to_polars(timestamps=True, statuses=True)
    assert found.equals(right)
    assert len(service.asked) > 15


def test_keys_of_an_older_layout_are_told_as_what_they_are(
    service: Service, client: featkit.FeatureStoreClient
) -> None:
    entity = Entity("customer_id", "customer_id", pl.Int64(), store_type="INT64")
    ids = entity_ids(encode(KEYS[:1], [entity], counted=False)).to_pylist()
    ((_, item), *_) = service.tables[f"{PROJECT}.customers"].items()
    service.tables[f"{PROJECT}.customers"] = {ids[0]: {**item, "entity_id": {"S": ids[0]}}}
    for _ in range(2):
        with pytest.raises(StoreError, match="entity_key_serialization_version: 3"):
            client.lookup(KEYS[:1], ["customers:visits"])
    assert set(client.lookup(KEYS[1:2], ["customers:visits"]).statuses["visits"]) == {
        Status.NOT_FOUND
    }


def test_a_table_that_answers_nothing_is_throttled(
    service: Service, client: featkit.FeatureStoreClient
) -> None:
    service.leave = lambda keys: keys
    with pytest.raises(ThrottledError, match="unprocessed"):
        client.lookup(KEYS[:8], ["customers:visits"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found + found[:1],
        lambda found: [{**found[0], "entity_id": {"S": "0" * 32}}, *found[1:]],
        lambda found: [{**found[0], "entity_id": {}}, *found[1:]],
    ],
    ids=["twice", "another", "nameless"],
)
def test_items_that_answer_something_else_are_refused(
    service: Service, client: featkit.FeatureStoreClient, spoil: Callable[[list[Any]], list[Any]]
) -> None:
    service.spoil = spoil
    with pytest.raises(RowMismatch, match="nothing was joined"):
        client.lookup(KEYS[:8], ["customers:visits"])


@pytest.mark.parametrize(
    ("attribute", "held", "said"),
    [
        ("event_ts", {"S": "yesterday"}, "event_ts is no time"),
        ("values", {"M": {"visits": {"B": "***"}}}, "base64"),
        ("values", {"M": {"visits": {"B": "EgN0d28="}}}, "'visits'.*STRING"),
        ("values", {"M": {"visits": {"B": "KQA="}}}, "'visits'"),
        ("values", {"M": {"visits": {"B": 7}}}, "Responses"),
    ],
)
def test_what_cannot_be_read_is_named(
    service: Service, client: featkit.FeatureStoreClient, attribute: str, held: Any, said: str
) -> None:
    service.spoil = lambda found: [{**found[0], attribute: held}, *found[1:]]
    with pytest.raises(ProtocolError, match=said):
        client.lookup(KEYS[:8], ["customers:visits"])


def test_a_refused_signature_is_said_so_without_the_key(
    service: Service, client: featkit.FeatureStoreClient
) -> None:
    service.refuse = (400, "UnrecognizedClientException")
    with pytest.raises(AuthError, match="UnrecognizedClient") as caught:
        client.lookup(KEYS[:8], ["customers:visits"])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("status", "headers", "body"), BARE.values(), ids=BARE)
def test_a_refusal_without_its_kind_is_about_credentials(
    service: Service, registry: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if str(request.url).startswith(registry):
            return ask(request.method, str(request.url), content=request.content)
        return httpx.Response(status, headers=headers, content=body)

    with (
        running(service) as url,
        httpx.Client(transport=httpx.MockTransport(answer)) as http,
        featkit.connect(opened(url, registry), client=http, retry=Retry(attempts=1)) as client,
        pytest.raises(AuthError, match="those that were passed as access_key_id") as caught,
    ):
        client.lookup([1], ["customers:visits"])
    assert TOKEN not in str(caught.value)


def test_only_dynamodb_gets_signatures(registry: str, service: Service) -> None:
    seen: list[str] = []
    with running(service) as url:
        store = opened(url, registry, token="t0ken-for-the-registry")
        for request_url, wanted in ((f"{url}/", "AWS4-HMAC"), (f"{registry}/api/v1/x", "Bearer")):
            request = HttpRequest(url=request_url, method="POST", body=b"{}")
            assert store.auth is not None
            signed = next(store.auth.auth_flow(request))
            seen.append(str(signed.headers["Authorization"]))
            assert wanted in seen[-1]
