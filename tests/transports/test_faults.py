"""What networks and servers do to replies, and what becomes of it: N1 to N11, with each client."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import random
import socket
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import featkit
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    FeatkitError,
    ProtocolError,
    RequestRejected,
    RowMismatch,
    SlowAnswer,
    StoreError,
    StoreUnavailable,
    ThrottledError,
    UnknownNameError,
)
from featkit.transports.options import Limits, Retry
from tests.faults import proxy as faults
from tests.faults.proxy import Fault, FaultProxy
from tests.faults.serving import Curt, Reply
from tests.faults.upstream import KEY, PROJECT, VIEW, Upstream, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.transports.conftest import Sender

SOON = timedelta(milliseconds=1)
HANG = 20.0  # seconds after which something did not end that should have
PAGE = "Sign in to the corporate gateway"


def fault_id(value: object) -> str | None:
    return getattr(value, "__name__", None)


# -- the proxy itself ------------------------------------------------------------------------------

BREAKS = [
    *[faults.reset_before, faults.close_before, faults.reset_in_body, faults.close_in_body],
    faults.status(503),
]


def test_a_server_that_ends_leaves_nothing_of_those_whom_it_is_accepting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", left.append)
    for _ in range(20):
        with contextlib.ExitStack() as stack, Curt() as server:
            host, _, port = server.url.removeprefix("http://").partition(":")
            for _ in range(5):
                stack.enter_context(socket.create_connection((host, int(port))))
        gc.collect()
    assert left == []


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("fault", BREAKS, ids=fault_id)
def test_plain_httpx_succeeds_in_exactly_the_calls_that_no_fault_strikes(
    upstream: Upstream, fault: Fault, share: float
) -> None:
    draws = random.Random(7)
    spared = sum(draws.random() >= share for _ in range(60))
    succeeded = 0
    with FaultProxy(upstream.url, seed=7) as proxy, httpx.Client() as client:
        proxy.play(fault, share=share)
        for _ in range(60):
            try:
                reply = client.get(f"{proxy.url}/api/v1/feature_views?project={PROJECT}")
                succeeded += reply.is_success
            except httpx.TransportError:
                pass
        assert succeeded == spared == proxy.counts[""]
        assert 60 > spared > 30


def test_connections_are_reset_in_exactly_the_share_that_was_told(upstream: Upstream) -> None:
    draws = random.Random(7)
    spared = sum(draws.random() >= 0.3 for _ in range(40))
    with FaultProxy(upstream.url, seed=7) as proxy:
        proxy.play(faults.reset_at_accept, share=0.3)
        succeeded = 0
        for _ in range(40):
            with contextlib.suppress(httpx.TransportError):
                succeeded += httpx.get(f"{proxy.url}/api/v1/feature_views").is_success
    assert succeeded == spared


# -- N1: the server is in trouble ------------------------------------------------------------------


@pytest.mark.parametrize("code", [408, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(proxy: FaultProxy, sender: Sender, code: int) -> None:
    proxy.play(faults.status(code), calls={0, 1})
    assert sender.one() == [1, 2, 3]
    assert len(proxy.seen) == 3


def test_a_server_that_stays_in_trouble_is_named(proxy: FaultProxy, sender: Sender) -> None:
    proxy.play(faults.status(503))
    error = sender.fails(StoreUnavailable)
    assert "(4 attempts, " in str(error)
    assert "503" in str(error)
    assert "<h1>no</h1>" in str(error)
    assert len(proxy.seen) == 4


def test_trouble_in_three_calls_of_ten_is_ridden_out(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    proxy.play(faults.status(503), share=0.3)
    sender = connect(retry=Retry(base=SOON))
    chunks = [[n, n + 1] for n in range(200)]
    assert sender.outcomes(*chunks) == chunks
    assert len(proxy.seen) == 200 + proxy.counts["_send"]


def test_an_outage_is_not_answered_with_a_multiple_of_the_load(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    proxy.play(faults.status(503))
    outcomes = connect(retry=Retry(base=SOON)).outcomes(*[[n] for n in range(150)])
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert len(proxy.seen) < 150 + 30


def test_what_was_fetched_before_a_failure_is_in_the_error(proxy: FaultProxy, passed: Any) -> None:
    with connected(proxy, client=passed) as client:
        client.lookup([1], [f"{VIEW}:trips"])
        proxy.play(faults.alter(lambda reply: spoilt_if_it_holds(1500, reply)))
        with pytest.raises(StoreUnavailable) as caught:
            client.lookup({KEY: list(range(9000))}, [f"{VIEW}:trips"])
    asked = [json.loads(each.request.body or b"{}").get("entities", {}) for each in proxy.seen]
    lost = next(set(keys[KEY]) for keys in asked if 1500 in keys.get(KEY, ()))
    assert len(lost) < 9000
    trips = caught.value.partial.values["trips"].to_list()
    assert trips == [None if key in lost else truth("trips", key) for key in range(9000)]


def spoilt_if_it_holds(key: int, reply: Reply) -> Reply:
    told = json.loads(reply.body)
    if "results" in told and key in told["results"][0]["values"]:
        return Reply(status=503)
    return reply


# -- N2: the server asks to slow down --------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503])
def test_it_is_never_asked_again_earlier_than_it_says(
    proxy: FaultProxy, connect: Callable[..., Sender], code: int
) -> None:
    proxy.play(faults.status(code, retry_after="1"), calls={0})
    assert connect().one() == [1, 2, 3]
    first, second = proxy.seen
    assert second.at - first.at >= 1


def test_a_date_is_waited_for(proxy: FaultProxy, connect: Callable[..., Sender]) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    proxy.play(faults.status(429, retry_after=format_datetime(moment, usegmt=True)), calls={0})
    assert connect().one() == [1, 2, 3]
    assert datetime.now(UTC) >= moment


@pytest.mark.parametrize("value", ["-1", "soon", "", "Mon, 23 Nov 2020 12:00:00 GMT", "9" * 5000])
def test_what_says_nothing_of_the_time_leaves_it_to_the_usual_waits(
    proxy: FaultProxy, connect: Callable[..., Sender], value: str
) -> None:
    proxy.play(faults.status(429, retry_after=value), calls={0, 1})
    assert connect().one(timeout=5) == [1, 2, 3]
    assert len(proxy.seen) == 3


@pytest.mark.parametrize("value", ["1e9", "3600", "Mon, 23 Nov 2099 12:00:00 GMT"])
def test_a_wait_beyond_the_deadline_fails_at_once(
    proxy: FaultProxy, sender: Sender, value: str
) -> None:
    proxy.play(faults.status(429, retry_after=value))
    started = time.monotonic()
    error = sender.fails(ThrottledError)
    assert time.monotonic() - started < HANG
    assert "to come back in" in str(error)
    assert len(proxy.seen) == 1


def test_a_server_that_asks_to_slow_down_gets_fewer_calls_at_once(
    proxy: FaultProxy, upstream: Upstream, connect: Callable[..., Sender]
) -> None:
    upstream.barrier = asyncio.Barrier(8)
    sender = connect()
    chunks = [[n] for n in range(24)]
    assert sender.outcomes(*chunks) == chunks
    assert proxy.peak() == 8
    upstream.barrier = None
    proxy.play(faults.status(429), calls=range(8))
    before = len(proxy.seen)
    assert sender.outcomes(*chunks[:12]) == chunks[:12]
    assert proxy.peak(since=before + 8) <= 5


# -- N3: it is the caller's fault ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (400, RequestRejected, "refuses"),
        (401, AuthError, "has the token expired?"),
        (403, AuthError, "may this account read it?"),
        (404, RequestRejected, "refuses"),
        (405, RequestRejected, "refuses"),
        (413, BatchTooLarge, "too large"),
        (422, RequestRejected, "refuses"),
    ],
)
def test_mistakes_are_not_repeated(
    proxy: FaultProxy, sender: Sender, code: int, kind: type[FeatkitError], hint: str
) -> None:
    proxy.play(faults.status(code))
    error = sender.fails(kind)
    assert hint in str(error)
    assert "(1 attempt, " in str(error)
    assert len(proxy.seen) == 1


# -- N4: the connection is lost --------------------------------------------------------------------


@pytest.mark.parametrize("fault", BREAKS[:4], ids=fault_id)
def test_a_lookup_whose_connection_is_lost_is_sent_again(
    proxy: FaultProxy, sender: Sender, fault: Fault
) -> None:
    proxy.play(fault, calls={0, 2})
    assert sender.one() == [1, 2, 3]
    assert sender.one() == [1, 2, 3]
    assert len(proxy.seen) == 4


@pytest.mark.parametrize("fault", BREAKS[:4], ids=fault_id)
def test_a_write_whose_connection_is_lost_is_not(
    proxy: FaultProxy, sender: Sender, fault: Fault
) -> None:
    proxy.play(fault, calls={0})
    error = sender.fails(StoreUnavailable, idempotent=False)
    assert error.__cause__ is not None
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("fault", BREAKS[:4], ids=fault_id)
def test_losses_in_three_calls_of_ten_are_ridden_out(
    proxy: FaultProxy, connect: Callable[..., Sender], fault: Fault
) -> None:
    proxy.play(fault, share=0.3)
    chunks = [[n, n + 1] for n in range(100)]
    assert connect(retry=Retry(base=SOON)).outcomes(*chunks) == chunks


# -- N5: the server cannot be reached --------------------------------------------------------------


def test_a_connection_that_is_reset_when_it_is_accepted_is_made_again(
    proxy: FaultProxy, sender: Sender
) -> None:
    proxy.play(faults.reset_at_accept, calls={0, 1})
    assert sender.one() == [1, 2, 3]
    assert proxy.opened == 3


def test_a_dead_server_is_named_soon(proxy: FaultProxy, sender: Sender) -> None:
    proxy.down(drop=True)
    started = time.monotonic()
    error = sender.fails(StoreUnavailable)
    assert "is the server running?" in str(error)
    assert error.__cause__ is not None
    assert time.monotonic() - started < HANG


def test_a_server_that_restarts_is_waited_for(
    proxy: FaultProxy, connect: Callable[..., Sender], passed: Any
) -> None:
    sender = connect(client=passed, retry=Retry(base=SOON, reconnect=timedelta(seconds=20)))
    assert sender.one() == [1, 2, 3]
    proxy.down(drop=True)
    threading.Timer(0.3, proxy.up).start()
    assert sender.one() == [1, 2, 3]
    assert sender.one(idempotent=False) == [1, 2, 3]


def test_a_write_to_a_server_that_refuses_connections_is_sent_again(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    sender = connect(retry=Retry(reconnect=timedelta(seconds=20)))
    proxy.down()
    threading.Timer(0.1, proxy.up).start()
    assert sender.one(idempotent=False) == [1, 2, 3]


def test_the_wait_for_a_restart_is_an_argument_of_connect(proxy: FaultProxy, passed: Any) -> None:
    with connected(proxy, client=passed, wait="20s") as client:
        assert client.lookup([1], [f"{VIEW}:trips"]).values["trips"].item() == truth("trips", 1)
        proxy.down(drop=True)
        threading.Timer(1.5, proxy.up).start()  # longer than is waited for without it
        assert client.lookup([2], [f"{VIEW}:trips"]).values["trips"].item() == truth("trips", 2)


def test_without_wait_a_server_that_is_gone_is_an_error_soon(
    proxy: FaultProxy, passed: Any
) -> None:
    with connected(proxy, client=passed, wait=0) as client:
        proxy.down()
        with pytest.raises(StoreUnavailable, match=r"1 attempt, .* is the server running\?"):
            client.list_feature_views()


# -- N8: redirects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    proxy: FaultProxy, upstream: Upstream, sender: Sender, code: int
) -> None:
    with FaultProxy(upstream.url) as elsewhere:
        place = f"{elsewhere.url.replace('//', '//user:word@')}/there?token=1#part"
        proxy.play(faults.redirect(place, code))
        error = sender.fails(RequestRejected)
        assert elsewhere.opened == 0
        assert f"{elsewhere.url}/there, which is not followed" in str(error)
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("location", ["/get-online-features", "", "//[", "x" * 50_000])
def test_a_redirect_to_itself_or_to_nonsense_is_an_error(
    proxy: FaultProxy, sender: Sender, location: str
) -> None:
    proxy.play(faults.redirect(location))
    with pytest.raises((RequestRejected, ProtocolError)) as caught:
        sender.one()
    assert len(str(caught.value)) < 500
    assert len(proxy.seen) <= 2


def test_a_client_that_follows_redirects_does_not_here(
    proxy: FaultProxy, upstream: Upstream, connect: Callable[..., Sender]
) -> None:
    with (
        FaultProxy(upstream.url) as elsewhere,
        httpx.Client(follow_redirects=True, headers={"X-API-Key": "canary"}) as client,
    ):
        proxy.play(faults.redirect(f"{elsewhere.url}/there"))
        connect(client=client).fails(RequestRejected)
        assert elsewhere.opened == 0


# -- N9: something else than JSON ------------------------------------------------------------------

NO_JSON = [
    (faults.html(200), "text/html", PAGE),
    (faults.empty, "application/json", "says nothing"),
    (faults.no_content, "no content type", "says nothing"),
    (faults.wrong_type, "text/plain", "It works!"),
    (faults.byte_order_mark, "application/json", "\\ufeff{"),
    (faults.body(lambda text: text.replace(b"{", b"\0", 1)), "application/json", "\\x00"),
    (faults.body(lambda text: text.replace(b"{", b"\xe9", 1)), "application/json", "\ufffd"),
]


@pytest.mark.parametrize(("fault", "kind", "words"), NO_JSON, ids=lambda value: str(value)[:20])
def test_what_is_no_json_is_shown_and_asked_for_once_more(
    proxy: FaultProxy, sender: Sender, fault: Fault, kind: str, words: str
) -> None:
    proxy.play(fault)
    error = sender.fails(ProtocolError)
    assert f"({kind})" in str(error)
    assert words in str(error)
    assert "(2 attempts, " in str(error)
    assert len(proxy.seen) == 2
    assert len(str(error)) < 400


def test_the_page_of_a_gateway_with_502_is_a_502(proxy: FaultProxy, sender: Sender) -> None:
    proxy.play(faults.html(502))
    error = sender.fails(StoreUnavailable)
    assert "502" in str(error)
    assert PAGE in str(error)


# -- N10: replies that are cut, or too long --------------------------------------------------------


def test_a_reply_that_is_cut_is_asked_for_once_more_on_another_connection(
    proxy: FaultProxy, sender: Sender
) -> None:
    proxy.play(faults.truncated, calls={0})
    assert sender.one() == [1, 2, 3]
    assert [seen.connection for seen in proxy.seen] == [0, 1]
    proxy.play(faults.truncated)
    sender.fails(ProtocolError)
    assert len(proxy.seen) == 4


@pytest.mark.parametrize("more", [7, -7])
def test_a_wrong_length_is_survived(proxy: FaultProxy, sender: Sender, more: int) -> None:
    proxy.play(faults.wrong_length(more), calls={0})
    assert sender.one() == [1, 2, 3]


def test_bytes_that_are_left_over_do_no_harm(proxy: FaultProxy, sender: Sender) -> None:
    proxy.play(faults.left_over(b"left over"), calls={0, 2})
    for _ in range(4):
        assert sender.one() == [1, 2, 3]


def test_a_reply_that_is_left_over_is_never_taken_for_an_answer(
    proxy: FaultProxy, sender: Sender
) -> None:
    forged = {"results": [{"values": [1, 2, 3]}, {"values": [666, 666, 666]}]}
    extra = Reply(body=json.dumps(forged).encode()).encode()
    proxy.play(faults.left_over(extra), calls={0, 2, 4})
    for _ in range(4):
        assert sender.one() == [1, 2, 3]


def test_compressed_replies_are_read(proxy: FaultProxy, sender: Sender) -> None:
    def in_two_files(reply: Reply) -> Reply:
        half = len(reply.body) // 2
        body = gzip.compress(reply.body[:half]) + gzip.compress(reply.body[half:])
        return Reply(headers={"content-encoding": "gzip"}, body=body)

    proxy.play(faults.alter(in_two_files))
    assert sender.one() == [1, 2, 3]
    assert proxy.seen[0].request.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("coding", "change"),
    [
        ("gzip", lambda text: gzip.compress(text)[:-20]),
        ("gzip", lambda text: gzip.compress(text) + b"left over"),
        ("gzip", lambda text: text),
        ("br", lambda text: text),
        ("gzip, gzip", lambda text: text),
    ],
)
def test_compression_that_is_broken_or_unknown_is_an_error(
    proxy: FaultProxy, sender: Sender, coding: str, change: Callable[[bytes], bytes]
) -> None:
    proxy.play(
        faults.alter(
            lambda reply: Reply(headers={"content-encoding": coding}, body=change(reply.body))
        )
    )
    error = sender.fails(ProtocolError)
    assert coding in str(error)
    assert len(proxy.seen) == 2


# -- N11: too much ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.gzip_bomb(10),
        faults.large(10),
        faults.body(lambda text: text + b" " * 2 * 10**6),
    ],
    ids=["bomb", "without length", "with length"],
)
def test_a_reply_beyond_the_limit_is_refused(
    proxy: FaultProxy, connect: Callable[..., Sender], passed: Any, fault: Fault
) -> None:
    sender = connect(client=passed, limits=Limits(reply=10**6))
    proxy.play(fault, calls={0})
    error = sender.fails(RequestRejected)
    assert "larger than 1,000,000 bytes" in str(error)
    assert "featkit.Limits" in str(error)
    assert len(proxy.seen) == 1
    assert sender.one() == [1, 2, 3]


@pytest.mark.parametrize("code", [200, 400, 500])
def test_json_that_is_nested_too_deeply_is_an_error(
    proxy: FaultProxy, passed: Any, code: int
) -> None:
    depth = 200_000
    body = b'{"featureViews": ' + b"[" * depth + b"]" * depth + b"}"
    proxy.play(faults.answer(Reply(status=code, headers=faults.JSON, body=body)))
    with connected(proxy, client=passed) as client, pytest.raises(StoreError) as caught:
        client.list_feature_views()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("place", ["values", "statuses", "event_timestamps"])
def test_values_that_are_nested_too_deeply_are_an_error(proxy: FaultProxy, place: str) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    told = b'"%s": [' % place.encode()
    with connected(proxy) as client:
        client.lookup([1], [f"{VIEW}:trips"])
        proxy.play(faults.body(lambda text: text.replace(told, told + deep + b", ")))
        with pytest.raises(ProtocolError):
            client.lookup([1], [f"{VIEW}:trips"])


def test_a_header_beyond_reason_is_an_error(proxy: FaultProxy, sender: Sender) -> None:
    proxy.play(faults.large_header(200_000), calls={0})
    assert sender.one() == [1, 2, 3]
    proxy.play(faults.large_header(200_000))
    error = sender.fails(ProtocolError)
    assert len(str(error)) < 400
    assert len(proxy.seen) == 4


# -- through a client: splitting, lies, refusals of the store --------------------------------------


def connected(proxy: FaultProxy, **options: Any) -> featkit.FeatureStoreClient:
    known = {"retry": Retry(attempts=4, base=SOON), "timeout": "20s"} | options
    return featkit.connect(
        f"feast+{proxy.url}", registry_url=proxy.url, project=PROJECT, cache=None, **known
    )


@pytest.fixture
def client(proxy: FaultProxy, passed: Any) -> Iterator[featkit.FeatureStoreClient]:
    with connected(proxy, client=passed) as client:
        yield client


def lookups(proxy: FaultProxy) -> list[int]:
    """Tell how many keys each lookup asked for."""
    bodies = [seen.request.body for seen in proxy.seen if seen.request.method == "POST"]
    return [len(json.loads(body)["entities"][KEY]) for body in bodies]


def test_what_is_too_large_is_split_and_the_size_remembered(
    proxy: FaultProxy, upstream: Upstream, client: featkit.FeatureStoreClient
) -> None:
    upstream.most = 300
    keys = list(range(1000))
    found = client.lookup({KEY: keys}, [f"{VIEW}:trips"])
    assert found.values["trips"].to_list() == [truth("trips", key) for key in keys]
    assert lookups(proxy)[:3] == [1000, 500, 500]
    before = len(proxy.seen)
    client.lookup({KEY: keys}, [f"{VIEW}:trips"])
    assert [seen.fault for seen in proxy.seen[before:]].count("") == len(proxy.seen) - before
    assert lookups(proxy)[-4:] == [250] * 4


async def slow_if_large(exchange: faults.Exchange) -> None:
    if len(exchange.request.body) > 1_000:
        await faults.black_hole(exchange)
    await exchange.send(await exchange.reply())


def test_what_is_not_answered_in_time_twice_is_asked_for_in_halves(
    proxy: FaultProxy, passed: Any
) -> None:
    proxy.play(slow_if_large, only="POST")
    keys = list(range(400))
    with connected(proxy, client=passed, limits=Limits(answer=timedelta(seconds=0.3))) as client:
        found = client.lookup({KEY: keys}, [f"{VIEW}:trips"])
    assert found.values["trips"].to_list() == [truth("trips", key) for key in keys]
    assert lookups(proxy) == [400, 400, 200, 200]


def test_a_server_that_answers_nothing_is_an_error(proxy: FaultProxy, passed: Any) -> None:
    limits = Limits(answer=timedelta(seconds=0.2))
    with connected(proxy, client=passed, limits=limits, timeout=None) as client:
        proxy.play(faults.black_hole)
        with pytest.raises(SlowAnswer, match=r"2 attempts, .* no answer within \d+\.\d s"):
            client.lookup({KEY: [1, 2]}, [f"{VIEW}:trips"])
        assert lookups(proxy) == []  # the description of the view was asked for, twice


def test_one_entity_that_is_too_large_is_an_error(
    upstream: Upstream, client: featkit.FeatureStoreClient
) -> None:
    upstream.most = 0
    with pytest.raises(BatchTooLarge, match="413"):
        client.lookup({KEY: [1, 2, 3]}, [f"{VIEW}:trips"])


LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "rows in another order": lambda told: told["results"][0]["values"].reverse(),
    "a row dropped": lambda told: [each["values"].pop() for each in told["results"]],
    "the first row dropped": lambda told: [each["values"].pop(0) for each in told["results"]],
    "a row more": lambda told: [each["values"].append(0) for each in told["results"]],
    "a row repeated": lambda told: [
        each["values"].insert(0, each["values"][0]) for each in told["results"]
    ],
    "a column short": lambda told: told["results"][1]["values"].pop(),
    "a feature renamed": lambda told: told["metadata"]["feature_names"].__setitem__(1, "other"),
    "a feature twice": lambda told: told["metadata"]["feature_names"].__setitem__(1, KEY),
    "no metadata": lambda told: told.pop("metadata"),
    "another entity": lambda told: told["results"][0]["values"].__setitem__(0, 99),
    "an unknown status": lambda told: told["results"][1]["statuses"].__setitem__(0, "FINE"),
    "a status short": lambda told: told["results"][1]["statuses"].pop(),
    "a timestamp more": lambda told: told["results"][1]["event_timestamps"].append("x"),
    "nested": lambda told: told["results"][1].update(values=[told["results"][1]["values"]]),
    "text for a number": lambda told: told["results"][1]["values"].__setitem__(0, "3"),
    "a fraction": lambda told: told["results"][1]["values"].__setitem__(0, 3.5),
    "beyond 64 bits": lambda told: told["results"][1]["values"].__setitem__(0, 2**63),
    "wrapped": lambda told: told.update(results={"results": told["results"]}),
}


@pytest.mark.parametrize("change", LIES.values(), ids=LIES)
def test_a_lie_is_the_truth_by_the_second_try_or_an_error_but_never_a_value(
    proxy: FaultProxy, change: Callable[[dict[str, Any]], Any]
) -> None:
    def lied(told: dict[str, Any]) -> dict[str, Any]:
        if "results" in told:
            change(told)
        return told

    with connected(proxy) as client:
        features = [f"{VIEW}:trips"]
        client.lookup([1], features)
        proxy.play(faults.lie(lied))
        try:
            found = client.lookup({KEY: [5, 6, 7]}, features)
        except (ProtocolError, RowMismatch) as error:
            told = str(error)
            assert f"{proxy.url}/get-online-features" in told
            assert "2 attempts" in told
            assert lookups(proxy)[-2:] == [3, 3]
        else:  # the rows say for whom they are
            assert change is LIES["rows in another order"]
            assert found.values["trips"].to_list() == [21, 18, 15]
        proxy.be_honest()
        found = client.lookup({KEY: [5, 6, 7]}, features)
        assert found.values["trips"].to_list() == [15, 18, 21]


def test_a_mistake_that_the_store_explains_is_not_repeated(
    proxy: FaultProxy, client: featkit.FeatureStoreClient
) -> None:
    said = {"status_code": 404, "detail": "no view x", "error_type": "FeastObjectNotFoundException"}
    body = json.dumps(said).encode()
    proxy.play(faults.answer(Reply(status=404, headers=faults.JSON, body=body)))
    with pytest.raises(UnknownNameError, match="no view x"):
        client.list_feature_views()
    assert len(proxy.seen) == 1


ANYTHING = [
    *BREAKS,
    faults.truncated,
    faults.html(200),
    faults.html(502),
    faults.empty,
    faults.no_content,
    faults.byte_order_mark,
    faults.wrong_length(9),
    faults.left_over(b"!"),
    faults.gzip_bomb(1),
    faults.redirect("/"),
    faults.status(429),
    faults.status(404),
    faults.deep_json(5000),
]


def test_whatever_happens_every_answer_is_true_or_a_named_error(
    proxy: FaultProxy, sender: Sender
) -> None:
    for number, fault in enumerate(ANYTHING):
        proxy.play(fault, calls=range(number, 400, 3 * len(ANYTHING)))
    chunks = [[n, n + 1] for n in range(200)]
    for outcome, chunk in zip(sender.outcomes(*chunks), chunks, strict=True):
        if outcome != chunk:
            assert isinstance(outcome, FeatkitError)
            assert proxy.url in str(outcome)


def test_whatever_happened_no_connection_outlives_the_client(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    before = descriptors()
    sender = connect()
    for number, fault in enumerate(ANYTHING):
        proxy.play(fault, calls=range(number, 100, len(ANYTHING)))
    sender.outcomes(*[[n] for n in range(100)])
    assert proxy.open_now <= Limits().connections
    sender.transports.close()
    ends = time.monotonic() + HANG
    while descriptors() > before and time.monotonic() < ends:  # the proxy, too, must close its own
        time.sleep(0.01)
    assert descriptors() == before


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())
