"""Replies of registries that are kept: for how long, for whom, and by whom they are fetched."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import polars as pl
import pytest
import redis

import featkit
from featkit.auth.tokens import Bearer
from featkit.calls import Call, HttpRequest
from featkit.errors import AuthError, CacheWarning, RequestRejected, StoreUnavailable
from featkit.settings import Secret
from featkit.testing import CONTRACT_NOW, contract_views
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, Transports, drive
from featkit.transports.options import Retry, TransportOptions
from tests.fakes.feast import PROJECT, FeastFake, served
from tests.fakes.wire import serving

SOON = Retry(attempts=1)
REFUSALS = {401: AuthError, 404: RequestRejected}


class Registry:
    """A server that counts, and answers as it is told."""

    def __init__(self):
        self.seen = []
        self.headers = {}
        self.status = 200
        self.body = "one"
        self.gate = None

    @contextmanager
    def served(self):
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_GET(self):
                size = int(self.headers.get("content-length", 0))
                registry.seen.append((self.path, dict(self.headers), self.rfile.read(size)))
                if registry.gate is not None:
                    registry.gate.wait(10)
                status = registry.status
                wanted = registry.headers.get("ETag")
                if wanted and self.headers.get("If-None-Match") == wanted and status == 200:
                    status = 304
                body = b"" if status == 304 else json.dumps(registry.body).encode()
                self.send_response(status)
                for name, value in registry.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - as the base class wants it

            def log_message(self, *_):
                pass

        with serving(Handler) as url:
            yield url


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def url(registry):
    with registry.served() as url:
        yield url


class Asker:
    """Sends requests through a client's transports."""

    def __init__(self, metadata, auth=None):
        options = TransportOptions(metadata=metadata, auth=auth, retry=SOON)
        self.transports = Transports(options)

    def __call__(self, url, **options):
        request = HttpRequest(url=url, **{"metadata": True, **options})

        def flow():
            return (yield Call(request, decode=lambda reply: json.loads(reply.body.decode())))

        return drive(flow(), self.transports, Deadline(None), Silent())


@pytest.fixture
def opened(scripted_store):
    """Make what asks, with a cache as `connect` would make it."""
    made = []

    def make(cache="memory", *, identity="me", auth=None):
        store = scripted_store()
        store.cache_identity = identity
        client = featkit.connect(store, cache=cache)
        made.append(client)
        asker = Asker(client.metadata, auth)
        asker.client = client
        made.append(asker.transports)
        return asker

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=["memory", "disk", pytest.param("redis", marks=pytest.mark.slow)])
def place(request, tmp_path):
    if request.param == "redis":
        return request.getfixturevalue("empty_redis")
    return "memory" if request.param == "memory" else tmp_path / "cache.sqlite"


def test_a_reply_is_fetched_once(registry, url, opened, place):
    ask = opened(place)
    assert [ask(f"{url}/views?project=a") for _ in range(3)] == ["one"] * 3
    assert ask(f"{url}/views?project=b") == "one"
    assert [path for path, *_ in registry.seen] == ["/views?project=a", "/views?project=b"]


def test_what_is_asked_for_anew_is_kept_from_then_on(registry, url, opened, place):
    ask = opened(place)
    before = ask(f"{url}/views")
    registry.body = {"views": ["new"]}
    assert ask(f"{url}/views") == before
    assert ask(f"{url}/views", renew=True) == registry.body
    assert ask(f"{url}/views") == registry.body
    assert len(registry.seen) == 2
    registry.status = 503
    with pytest.raises(StoreUnavailable):
        ask(f"{url}/views", renew=True)
    assert ask(f"{url}/views") == registry.body
    registry.status = 403
    for _ in range(2):  # what the server refuses now is forgotten
        with pytest.raises(AuthError):
            ask(f"{url}/views", renew=True)
        with pytest.raises(AuthError):
            ask(f"{url}/views")


def test_only_requests_for_metadata_are_kept(registry, url, opened):
    ask = opened()
    for _ in range(2):
        ask(f"{url}/results", metadata=False)
    assert len(registry.seen) == 2


def test_requests_with_a_body_are_told_apart_by_it(registry, url, opened, place):
    ask = opened(place)
    for body in (b'{"a": 1}', b'{"a": 2}', b'{"a": 1}'):
        ask(f"{url}/metadata", method="POST", body=body)
    assert [body for *_, body in registry.seen] == [b'{"a": 1}', b'{"a": 2}']


def test_requests_are_told_apart_by_what_their_headers_name(registry, url, opened, place):
    """As Amazon's control planes do: one address, and the operation in a header."""
    ask = opened(place)
    for target in ("Describe", "List", "Describe", "List"):
        registry.body = target
        assert ask(url, method="POST", body=b"{}", headers={"X-Amz-Target": target}) == target
    assert len(registry.seen) == 2


def test_others_do_not_see_it(registry, url, opened, place):
    opened(place, identity="me")(f"{url}/views")
    registry.body = "two"
    assert opened(place, identity="somebody else")(f"{url}/views") == "two"
    shared = opened(place, identity="me")(f"{url}/views")
    assert shared == ("two" if place == "memory" else "one")


def test_what_the_server_says_of_its_age_counts(registry, url, opened, replies_age):
    ask = opened()
    registry.headers = {"Cache-Control": "max-age=60"}
    ask(f"{url}/views")
    ask(f"{url}/views")
    assert len(registry.seen) == 1
    replies_age(61)
    ask(f"{url}/views")
    assert len(registry.seen) == 2
    registry.headers = {"Cache-Control": "no-store"}
    ask(f"{url}/other")
    ask(f"{url}/other")
    assert len(registry.seen) == 4


def test_patterns_of_addresses_have_times_of_their_own(registry, url, opened, replies_age):
    told = {"*/views*": "1m", "*": "1h"}
    ask = opened(featkit.CacheOptions(metadata_ttl=told))
    for _ in range(2):
        ask(f"{url}/views")
        ask(f"{url}/services")
        replies_age(61)
    assert [path for path, *_ in registry.seen] == ["/views", "/services", "/views"]


def test_an_etag_spares_the_body(registry, url, opened, place, replies_age):
    ask = opened(featkit.CacheOptions(target=place, metadata_ttl="1m"))
    registry.headers = {"ETag": '"v1"'}
    assert ask(f"{url}/views") == "one"
    replies_age(61)
    assert ask(f"{url}/views") == "one"
    conditions = [headers.get("If-None-Match") for _, headers, _ in registry.seen]
    assert conditions == [None, '"v1"']
    registry.headers, registry.body = {"ETag": '"v2"'}, "two"
    replies_age(61)
    assert ask(f"{url}/views") == "two"


def test_an_old_reply_is_served_while_the_registry_is_down(registry, url, opened, replies_age):
    ask = opened(featkit.CacheOptions(metadata_ttl="1m"))
    ask(f"{url}/views")
    registry.status = 503
    replies_age(61)
    assert ask(f"{url}/views") == "one"
    with pytest.raises(StoreUnavailable):
        ask(f"{url}/other")


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_not_hidden_by_an_old_reply(registry, url, opened, replies_age, status):
    ask = opened(featkit.CacheOptions(metadata_ttl="1m"))
    ask(f"{url}/views")
    registry.status = status
    replies_age(61)
    with pytest.raises(REFUSALS[status]):
        ask(f"{url}/views")


def test_of_many_that_miss_it_one_fetches(registry, url, opened):
    ask = opened()
    registry.gate = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        flights = [pool.submit(ask, f"{url}/views") for _ in range(8)]
        time.sleep(0.2)
        registry.gate.set()
        assert {flight.result() for flight in flights} == {"one"}
    assert len(registry.seen) == 1


def test_a_reply_that_cannot_be_read_is_not_kept(registry, url, opened):
    ask = opened()
    registry.body = "one"

    def broken(_):
        raise featkit.errors.ProtocolError("no")

    def flow():
        return (yield Call(HttpRequest(url=f"{url}/views", metadata=True), decode=broken))

    with pytest.raises(featkit.errors.ProtocolError):
        drive(flow(), ask.transports, Deadline(None), Silent())
    assert ask(f"{url}/views") == "one"
    assert len(registry.seen) == 2


def test_credentials_are_sent_and_never_kept(registry, url, opened, tmp_path, empty_redis):
    canary = "canary-9a3e-token"
    for place in (tmp_path / "cache.sqlite", empty_redis):
        ask = opened(place, auth=Bearer(Secret(canary)))
        ask(f"{url}/views")
        assert registry.seen[-1][1]["Authorization"] == f"Bearer {canary}"
    files = [file for file in tmp_path.iterdir() if file.is_file()]
    assert any("metadata" in file.name for file in files)
    for file in files:
        assert canary.encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0
    with redis.Redis.from_url(empty_redis) as server:
        assert canary not in repr([(key, server.dump(key)) for key in server.scan_iter()])


def test_clearing_disabling_and_counting(registry, url, opened):
    ask = opened()
    ask(f"{url}/views")
    assert ask.client.cache.stats().metadata == 1
    assert "1 reply of registries" in str(ask.client.cache.stats())
    ask.client.cache.clear()
    assert ask.client.cache.stats().metadata == 0
    ask(f"{url}/views")
    assert len(registry.seen) == 2


def test_a_place_that_cannot_be_written_keeps_it_in_memory(registry, url, opened, tmp_path):
    place = tmp_path / "cache.sqlite"
    place.with_name("cache-metadata.sqlite").mkdir()
    ask = opened(place)
    ask(f"{url}/views")
    assert ask(f"{url}/views") == "one"
    assert len(registry.seen) == 1
    with pytest.warns(CacheWarning, match="cache-metadata"):
        ask.client.lookup([1], "shops:visits")


def test_where_neither_file_can_be_written_there_is_one_warning(registry, url, opened, tmp_path):
    ask = opened(tmp_path / "no folder" / "cache.sqlite")
    assert ask(f"{url}/views") == ask(f"{url}/views") == "one"
    assert len(registry.seen) == 1
    with pytest.warns(CacheWarning, match="cannot be used") as told:
        ask.client.lookup([1], "shops:visits")
    assert len(told) == 1
    assert not (tmp_path / "no folder").exists()


# -- a whole client ------------------------------------------------------------------------------


def test_a_second_enrich_makes_no_request_at_all(tmp_path):
    fake = FeastFake(contract_views())
    frame = pl.DataFrame({"customer_id": [1, 2, 404]})
    with served(fake) as url:
        options = {"registry_url": url, "project": PROJECT, "now": CONTRACT_NOW, "wait": 0}
        client = featkit.connect(f"feast+{url}", cache=tmp_path / "cache.sqlite", **options)
        first = featkit.features(frame).enrich("customers:*", store=client, expired="null")
    # the server is gone
    again = featkit.features(frame).enrich("customers:*", store=client, expired="null")
    assert again.equals(first)
    client.close()
    other = featkit.connect(f"feast+{url}", cache=tmp_path / "cache.sqlite", **options)
    assert featkit.features(frame).enrich("customers:*", store=other, expired="null").equals(first)
    assert not other.health_check()  # which no cache answers
    with other.cache.disabled(), pytest.raises(StoreUnavailable):
        other.list_feature_views()
    other.close()
