"""Connections, credentials, certificates, threads, loops, forks, interrupts, what is not said."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
import stamina
import trustme

import featkit
from featkit.auth.tokens import Bearer
from featkit.calls import Call, HttpRequest, LocalRead
from featkit.errors import (
    AuthError,
    ClosedError,
    DeadlineExceeded,
    FeatkitError,
    RequestRejected,
    SettingsError,
    StoreUnavailable,
)
from featkit.settings import Secret
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, adrive
from featkit.transports.options import Limits, Retry
from tests.faults import proxy as faults
from tests.faults.serving import HOST, Curt, Deaf, Reply, Server
from tests.faults.upstream import KEY, PROJECT, VIEW, Upstream
from tests.transports.conftest import Sender, lookup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.proxy import FaultProxy

ROOT = Path(__file__).resolve().parents[2]
HANG = 20.0  # seconds after which something did not end that should have
CANARY = "canary-4711-of-the-secret-kind"


# -- connections -----------------------------------------------------------------------------------


def test_connections_are_kept(proxy: FaultProxy, sender: Sender) -> None:
    for _ in range(5):
        assert sender.one() == [1, 2, 3]
    assert proxy.opened == 1
    chunks = [[n] for n in range(40)]
    assert sender.outcomes(*chunks) == chunks
    assert proxy.opened <= 8


def test_a_connection_that_the_server_closed_is_replaced_at_once(
    proxy: FaultProxy, sender: Sender
) -> None:
    for _ in range(5):
        assert sender.one(timeout=HANG) == [1, 2, 3]
        proxy.drop_connections()
    assert proxy.opened == 5
    assert len(proxy.seen) == 5


def test_a_server_that_closes_after_each_reply_and_does_not_say_so_is_used(
    proxy: FaultProxy, sender: Sender
) -> None:
    async def and_close(exchange: faults.Exchange) -> None:
        await exchange.send(await exchange.reply())
        raise faults.Ended

    proxy.play(and_close)
    for _ in range(20):
        assert sender.one(timeout=HANG) == [1, 2, 3]


@pytest.mark.parametrize("most", [1, 3, 12])
def test_no_more_calls_run_at_once_than_the_limit(
    proxy: FaultProxy, upstream: Upstream, connect: Callable[..., Sender], most: int
) -> None:
    upstream.barrier = asyncio.Barrier(most)
    chunks = [[n] for n in range(3 * most)]
    assert connect(limits=Limits(connections=most)).outcomes(*chunks) == chunks
    assert proxy.peak() == most
    assert proxy.opened == most


def test_a_client_of_few_connections_is_waited_for(
    upstream: Upstream, connect: Callable[..., Sender]
) -> None:
    with httpx.Client(limits=httpx.Limits(max_connections=1)) as client:
        chunks = [[n] for n in range(20)]
        assert connect(upstream.url, client=client).outcomes(*chunks) == chunks


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_the_client_of_the_caller_is_used_and_left_open(
    upstream: Upstream, connect: Callable[..., Sender], library: Any
) -> None:
    with library.Client() as passed:
        _is_used_and_left_open(passed, upstream, connect)


def _is_used_and_left_open(passed: Any, upstream: Upstream, connect: Callable[..., Sender]) -> None:
    sender = connect(upstream.url, client=passed)
    assert sender.one() == [1, 2, 3]
    sender.transports.close()
    assert passed.get(f"{upstream.url}/api/v1/feature_services").is_success


def test_hooks_and_transports_of_the_caller_are_used(connect: Callable[..., Sender]) -> None:
    told = {"results": [{"values": [1, 2, 3]}, {"values": [3, 6, 9]}]}
    seen: list[Any] = []
    client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json=told)),
        event_hooks={"response": [lambda response: seen.append(response.read())]},
    )
    assert connect("http://features.test", client=client).one() == [1, 2, 3]
    assert [json.loads(each) for each in seen] == [told]


@pytest.mark.parametrize("kind", [httpx.AsyncClient, httpx2.AsyncClient, object, dict])
def test_what_is_no_synchronous_client_is_refused(
    upstream: Upstream, connect: Callable[..., Sender], kind: Callable[[], Any]
) -> None:
    error = connect(upstream.url, client=kind()).fails(SettingsError)
    assert "client= must be a synchronous client with httpx's API" in str(error)
    assert upstream.requests == []


def test_a_closed_client_is_refused(upstream: Upstream, connect: Callable[..., Sender]) -> None:
    client = httpx.Client()
    client.close()
    assert "client= is closed" in str(connect(upstream.url, client=client).fails(ClosedError))


@pytest.mark.parametrize(
    "address", ["localhost:6566", "ftp://localhost", "//localhost", "localhost", "http://a:b"]
)
def test_an_address_that_is_none_is_an_error_at_once(
    connect: Callable[..., Sender], address: str
) -> None:
    started = time.monotonic()
    with pytest.raises((SettingsError, RequestRejected), match="1 attempt"):
        connect(address).one()
    assert time.monotonic() - started < HANG


def test_where_retries_are_switched_off_for_all_there_is_none(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    proxy.play(faults.status(503))
    stamina.set_active(False)
    try:
        assert "(1 attempt" in str(connect().fails(StoreUnavailable))
    finally:
        stamina.set_active(True)
    assert len(proxy.seen) == 1


# -- N7: names and certificates --------------------------------------------------------------------


def test_an_unknown_host_is_said_so_at_once(
    connect: Callable[..., Sender], passed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = connect("http://features.test:6566", client=passed).fails(StoreUnavailable)
    assert "the host is unknown" in str(error)
    assert "(1 attempt, " in str(error)
    assert error.__cause__ is not None


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def secured(authority: trustme.CA, host: str = HOST, **options: Any) -> Upstream:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, **options).configure_cert(context)
    return Upstream(tls=context)


def test_an_authority_that_is_named_is_trusted(
    authority: trustme.CA, ca: str, connect: Callable[..., Sender]
) -> None:
    with secured(authority) as server:
        sender = connect(server.url, ca=ca)
        chunks = [[n] for n in range(20)]
        assert sender.outcomes(*chunks) == chunks
        assert 1 <= server.opened <= 8


def test_an_authority_that_the_environment_names_is_trusted_while_it_does(
    authority: trustme.CA,
    ca: str,
    connect: Callable[..., Sender],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with secured(authority) as server:
        connect(server.url).fails(StoreUnavailable)
        with monkeypatch.context() as environment:
            environment.setenv("SSL_CERT_FILE", ca)
            assert connect(server.url).one() == [1, 2, 3]
            trustme.CA().cert_pem.write_to_path(ca)
            connect(server.url).fails(StoreUnavailable)
        connect(server.url).fails(StoreUnavailable)


def test_certificates_are_read_once_for_all_clients(connect: Callable[..., Sender]) -> None:
    with Upstream() as server:
        senders = [connect(server.url) for _ in range(2)]
        assert [sender.one() for sender in senders] == [[1, 2, 3]] * 2
        one, two = (next(iter(sender.transports._made.values())) for sender in senders)  # noqa: SLF001
        assert one.trust is two.trust


def untrusted(authority: trustme.CA) -> Upstream:  # noqa: ARG001 - one of its own
    return secured(trustme.CA())


def self_signed(authority: trustme.CA) -> Upstream:  # noqa: ARG001 - nobody's
    own, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with NamedTemporaryFile(suffix=".pem") as file:
        file.write(own.private_key_pem.bytes() + own.cert_pem.bytes())
        file.flush()
        context.load_cert_chain(file.name)
    return Upstream(tls=context)


def expired(authority: trustme.CA) -> Upstream:
    return secured(authority, not_after=datetime(2020, 1, 1, tzinfo=UTC))


def of_another(authority: trustme.CA) -> Upstream:
    return secured(authority, "features.test")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (untrusted, "unable to get local issuer"),
        (self_signed, "self-signed"),
        (expired, "expired"),
        (of_another, "mismatch"),
    ],
)
def test_a_certificate_that_is_not_to_be_trusted_is_an_error_at_once(
    authority: trustme.CA,
    ca: str,
    connect: Callable[..., Sender],
    make: Callable[[trustme.CA], Upstream],
    words: str,
) -> None:
    with make(authority) as server:
        error = connect(server.url, ca=ca).fails(StoreUnavailable)
        assert server.requests == []
    said = str(error).lower()
    assert words in said
    assert "(1 attempt, " in said
    assert "ca='ca.pem'" in said
    for advice in ("verify=", "insecure", "disable", "switch off", "ignore", "skip"):
        assert advice not in said


def test_a_server_without_tls_is_said_so(connect: Callable[..., Sender]) -> None:
    with Curt() as server:
        error = connect(server.url.replace("http:", "https:")).fails(StoreUnavailable)
    assert "no secure connection" in str(error)
    assert "(1 attempt, " in str(error)


def test_a_connection_that_ends_within_the_handshake_is_made_again(
    authority: trustme.CA, ca: str, connect: Callable[..., Sender]
) -> None:
    with secured(authority) as server, Rude(server, rude=2) as between:
        patient = Retry(base=timedelta(milliseconds=1), reconnect=timedelta(seconds=20))
        sender = connect(between.url.replace("http:", "https:"), ca=ca, retry=patient)
        assert sender.one() == [1, 2, 3]
        assert between.opened == 3


def test_a_secure_connection_that_is_lost_in_the_body_is_made_again(
    authority: trustme.CA, ca: str, connect: Callable[..., Sender], upstream: Upstream
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    with faults.FaultProxy(upstream.url, tls=context) as proxy:
        proxy.play(faults.close_in_body, calls={0, 3})
        proxy.play(faults.reset_in_body, calls={1, 4})
        sender = connect(proxy.url, ca=ca)
        assert [sender.one(), sender.one()] == [[1, 2, 3], [1, 2, 3]]
        assert len(proxy.seen) == 6


class Rude(Server):
    """Passes bytes on to a server, after it has closed the first `rude` connections at once."""

    def __init__(self, server: Server, *, rude: int) -> None:
        super().__init__()
        self._behind = server
        self._rude = rude

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.opened <= self._rude:
            return
        port = int(self._behind.url.rpartition(":")[2])
        far_reader, far_writer = await asyncio.open_connection(HOST, port)
        try:
            await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        finally:
            far_writer.close()
            await far_writer.wait_closed()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_of_certificates_that_is_none_is_an_error(
    tmp_path: Path, upstream: Upstream, connect: Callable[..., Sender], content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    error = connect(upstream.url, ca=str(path)).fails(SettingsError)
    assert "ca.pem' cannot be read as certificates" in str(error)


# -- credentials -----------------------------------------------------------------------------------


class Tokens:
    """Hands out tokens, each of which a server accepts until it is told the next one."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.asked = 0

    def __call__(self) -> str:
        time.sleep(0.01)  # long enough for others to ask as well
        self.asked += 1
        return f"token-{self.asked}"


def test_a_token_is_asked_for_once_and_again_once_it_has_expired(
    upstream: Upstream, connect: Callable[..., Sender], passed: Any
) -> None:
    tokens = Tokens(upstream)
    sender = connect(upstream.url, auth=Bearer(tokens), client=passed)
    upstream.token = "token-1"
    chunks = [[n] for n in range(16)]
    assert sender.outcomes(*chunks) == chunks
    assert tokens.asked == 1
    upstream.token = "token-2"
    assert sender.outcomes(*chunks) == chunks
    assert tokens.asked == 2
    upstream.token = "another"
    before = len(upstream.requests)
    assert "has the token expired?" in str(sender.fails(AuthError))
    assert tokens.asked == 3
    assert len(upstream.requests) - before == 2


def test_a_token_that_ends_with_a_newline_is_used(
    upstream: Upstream, connect: Callable[..., Sender]
) -> None:
    upstream.token = "token"
    for token in (Secret("token\n"), lambda: " token\r\n"):
        assert connect(upstream.url, auth=Bearer(token)).one() == [1, 2, 3]


@pytest.mark.parametrize("token", [f"{CANARY}\nInjected: 1", f"{CANARY}é", f"{CANARY}\0"])
def test_a_token_that_no_header_can_hold_is_refused_without_showing_it(
    upstream: Upstream, connect: Callable[..., Sender], passed: Any, token: str
) -> None:
    sender = connect(upstream.url, auth=Bearer(Secret(token)), client=passed)
    error = sender.fails(SettingsError)
    assert "'Authorization'" in str(error)
    assert_no_secret(error)
    assert upstream.requests == []


def test_a_source_of_tokens_that_fails_is_said_so(
    upstream: Upstream, connect: Callable[..., Sender]
) -> None:
    def broken() -> str:
        raise KeyError("no such profile")

    error = connect(upstream.url, auth=Bearer(broken)).fails(AuthError)
    assert "raised KeyError" in str(error)
    assert isinstance(error.__cause__, KeyError)
    assert "not int" in str(connect(upstream.url, auth=Bearer(lambda: 7)).fails(AuthError))


def shown(error: BaseException) -> str:
    """Write an error as the most talkative of tracebacks does, with all variables."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    step: traceback.TracebackException | None = told
    while step is not None:  # the variables of this file hold the secret
        frames = [frame for frame in step.stack if frame.filename != __file__]
        step.stack = traceback.StackSummary.from_list(frames)
        step = step.__cause__ or step.__context__
    return "".join(told.format(chain=True)) + repr(error)


def assert_no_secret(error: BaseException) -> None:
    step: BaseException | None = error
    while step is not None:
        assert CANARY not in shown(step)
        assert CANARY not in repr(step.args)
        step = step.__cause__ or step.__context__


async def deaf_and_gone(exchange: faults.Exchange) -> None:
    await exchange.connection.send(b"HTTP/1.1 200")
    exchange.connection.reset()


SECRETIVE: dict[str, Any] = {
    "honest": None,
    "401 that repeats the token": faults.answer(
        Reply(status=401, body=f"<p>Bearer {CANARY} is unknown</p>".encode())
    ),
    "500 that explains with the token": faults.answer(
        Reply(status=500, headers=faults.JSON, body=json.dumps(f"what is {CANARY}?").encode())
    ),
    "200 that repeats the token": faults.answer(Reply(body=f"Bearer {CANARY}".encode())),
    "503": faults.status(503),
    "429": faults.status(429, retry_after="3600"),
    "redirect": faults.redirect("https://elsewhere.test/"),
    "reset": faults.reset_before,
    "reset in the head": deaf_and_gone,
    "no HTTP": faults.large_header(200_000),
    "never": faults.black_hole,
    "cut": faults.truncated,
    "coded": faults.headers(content_encoding="gzip"),
}


@pytest.mark.parametrize("fault", SECRETIVE.values(), ids=SECRETIVE)
def test_no_secret_is_in_errors_variables_or_logs(
    proxy: FaultProxy,
    upstream: Upstream,
    passed: Any,
    caplog: pytest.LogCaptureFixture,
    fault: Any,
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.token = CANARY
    with featkit.connect(
        f"feast+{proxy.url}",
        registry_url=proxy.url,
        project=PROJECT,
        token=CANARY,
        client=passed,
        cache=None,
        timeout="0.2s" if fault is faults.black_hole else "20s",
        retry=Retry(attempts=2),
    ) as client:
        if fault is not faults.black_hole:  # for which there is little time
            client.lookup([1], [f"{VIEW}:trips"])
        if fault is not None:
            proxy.play(fault)
            with pytest.raises(FeatkitError) as caught:
                client.lookup([1], [f"{VIEW}:trips"])
            assert_no_secret(caught.value)
        things = [client, client.operations.store, client.operations.store.auth, vars(client)]
        assert CANARY not in repr(things)
    assert proxy.seen[0].request.headers["authorization"] == f"Bearer {CANARY}"
    assert caplog.records
    for record in caplog.records:
        assert CANARY not in f"{record.getMessage()} {vars(record)}"


def test_a_password_in_an_address_is_not_in_the_error(connect: Callable[..., Sender]) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        connect(f"http://user:{CANARY}@{HOST}:1").one()
    assert f"http://{HOST}:1/get-online-features" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_what_a_redirect_holds_is_not_in_the_error(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    place = f"https://user:{CANARY}@elsewhere.test/there?token={CANARY}#{CANARY}"
    proxy.play(faults.redirect(place))
    error = connect().fails(RequestRejected)
    assert "https://elsewhere.test/there," in str(error)
    assert_no_secret(error)


@pytest.mark.slow
def test_what_is_sent_is_in_no_variable_when_sending_fails(connect: Callable[..., Sender]) -> None:
    with Deaf() as deaf:
        sender = connect(deaf.url, auth=Bearer(Secret(CANARY)))
        call = Call(HttpRequest(url=deaf.url, method="POST", body=b" " * 6 * 10**6))
        (error,) = sender.run([call], timeout=0.3)
    assert isinstance(error, DeadlineExceeded)
    assert_no_secret(error)


# -- threads, loops --------------------------------------------------------------------------------


def in_threads(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Do work in threads, and return what they raised."""
    raised: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - for the test to see
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    return raised


@pytest.mark.slow
def test_sixteen_threads_share_a_client(proxy: FaultProxy, sender: Sender) -> None:
    # every fourth call, but none twice: four in a row would rightly be an error
    proxy.play(_first_time(faults.close_in_body), calls=range(0, 10_000, 4))

    def work(number: int) -> None:
        for turn in range(10):
            chunks = [[1000 * number + turn], [number, turn]]
            assert sender.outcomes(*chunks) == chunks

    assert in_threads(16, work) == []
    assert len(proxy.seen) > 320 * 5 // 4 - 20


def _first_time(fault: faults.Fault) -> faults.Fault:
    """Have a fault spoil a request when it comes for the first time, and no more."""
    known: set[bytes] = set()

    async def spoil(exchange: faults.Exchange) -> None:
        if exchange.request.body in known:
            await exchange.send(await exchange.reply())
        else:
            known.add(exchange.request.body)
            await fault(exchange)

    return spoil


@pytest.mark.slow
@pytest.mark.parametrize("fault", [faults.black_hole, faults.status(429, retry_after="15")])
def test_a_client_that_is_closed_while_in_use_says_so(
    proxy: FaultProxy, sender: Sender, fault: faults.Fault
) -> None:
    sender.one()
    proxy.play(fault)
    outcomes: list[Any] = []

    def work(_: int) -> None:
        outcomes.extend(sender.outcomes(*[[n] for n in range(10)]))

    timer = threading.Timer(0.2, sender.transports.close)
    timer.start()
    started = time.monotonic()
    assert in_threads(3, work) == []
    timer.join()
    assert time.monotonic() - started < HANG
    assert {type(outcome) for outcome in outcomes} == {ClosedError}
    assert len(outcomes) == 30
    assert all("client was closed" in str(outcome) for outcome in outcomes)
    assert len({id(outcome) for outcome in outcomes}) == 30
    opened = proxy.opened
    proxy.be_honest()
    assert isinstance(sender.outcomes([1])[0], ClosedError)
    assert proxy.opened == opened


def test_the_connections_of_a_closed_client_are_closed(
    proxy: FaultProxy, connect: Callable[..., Sender]
) -> None:
    sender = connect()
    sender.outcomes(*[[n] for n in range(20)])
    sender.transports.close()
    ends = time.monotonic() + HANG
    while proxy.open_now and time.monotonic() < ends:
        time.sleep(0.01)
    assert proxy.open_now == 0


async def asked(sender: Sender, *chunks: list[int]) -> list[Any]:
    def flow() -> Iterator[Any]:
        return (yield [lookup(sender.url, chunk) for chunk in chunks])

    return await adrive(flow(), sender.transports, Deadline(timedelta(seconds=20)), Silent())


def test_loops_of_all_kinds_use_one_client(sender: Sender) -> None:
    async def both() -> None:
        assert await asked(sender, [1], [2]) == [[1], [2]]
        assert sender.outcomes([3], [4]) == [[3], [4]]  # the loop runs, and waits

    asyncio.run(both())
    asyncio.run(both())
    assert in_threads(2, lambda _: asyncio.run(both())) == []
    assert sender.one() == [1, 2, 3]


def test_calls_of_one_loop_run_at_once(
    upstream: Upstream, sender: Sender, proxy: FaultProxy
) -> None:
    upstream.barrier = asyncio.Barrier(8)

    async def several() -> list[Any]:
        return await asyncio.gather(*[asked(sender, [n]) for n in range(8)])

    assert asyncio.run(several()) == [[[n]] for n in range(8)]
    assert proxy.peak() == 8


@pytest.mark.slow
def test_two_thousand_cancelled_calls_lose_no_connection(proxy: FaultProxy, sender: Sender) -> None:
    async def cancelled() -> None:
        for turn in range(100):
            tasks = [asyncio.create_task(asked(sender, [n])) for n in range(20)]
            await asyncio.sleep(0.001 * (turn % 8))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        proxy.be_honest()
        assert await asyncio.gather(*[asked(sender, [n]) for n in range(30)]) == [
            [[n]] for n in range(30)
        ]

    proxy.play(faults.stall(0.004), share=0.9)
    proxy.play(faults.black_hole)
    asyncio.run(cancelled())
    assert proxy.open_now <= 8


def test_a_call_can_be_cancelled_at_every_step(sender: Sender) -> None:
    async def cancel_after(steps: int) -> bool:
        task = asyncio.create_task(asked(sender, [1], [2]))
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.done():
            return True
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return False

    async def at_all() -> None:
        steps = 0
        while not await cancel_after(steps):
            steps += 1 + steps // 8
        assert await asked(sender, [3]) == [[3]]

    asyncio.run(at_all())


def test_a_cancelled_call_soon_ends_in_its_thread(proxy: FaultProxy, sender: Sender) -> None:
    proxy.play(faults.black_hole)

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asked(sender, [1], [2]), 0.1)

    asyncio.run(cancelled())
    ends = time.monotonic() + HANG
    while proxy.open_now and time.monotonic() < ends:
        time.sleep(0.01)
    assert proxy.open_now == 0


# -- processes -------------------------------------------------------------------------------------

BEGIN = f"""
import gc, os, sys, threading, time, weakref
import featkit

URL = sys.argv[1]

def connected():
    return featkit.connect("feast+" + URL, registry_url=URL, project="{PROJECT}", cache=None)

def check(client, first, count):
    keys = list(range(first, first + count))
    found = client.lookup({{"{KEY}": keys}}, ["{VIEW}:trips"])
    assert found.values["trips"].to_list() == [3 * key for key in keys]

def step(word):
    print(word, flush=True)
    sys.stdin.readline()
"""


class Script:
    """A Python process that has a client; where it calls `step`, it waits for the test."""

    def __init__(self, text: str, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BEGIN + text, url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._watch = threading.Timer(60, self.process.kill)
        self._watch.start()

    def reaches(self, word: str) -> None:
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said == f"{word}\n", self.process.communicate()

    def may_go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ends_well(self) -> None:
        said, errors = self.process.communicate()
        assert (self.process.returncode, said, errors) == (0, "", "")

    def kill(self) -> None:
        self._watch.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def run(proxy: FaultProxy) -> Iterator[Callable[[str], Script]]:
    """Run a script in a process of its own, with the URL of the proxy."""
    with ExitStack() as stack:

        def start(text: str) -> Script:
            script = Script(text, proxy.url)
            stack.callback(script.kill)
            return script

        yield start


INTERRUPTED = """
client = connected()
check(client, 0, 10)
step("ready")
try:
    check(client, 0, 100_000)
except KeyboardInterrupt:
    step("interrupted")
check(client, 0, 10)
step("next call")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [faults.stall(0.02), faults.black_hole, faults.status(429, retry_after="50")],
    ids=["amid many calls", "while nothing comes", "between tries"],
)
def test_an_interrupted_call_ends_at_once_and_the_next_one_works(
    proxy: FaultProxy, run: Callable[[str], Script], fault: faults.Fault
) -> None:
    script = run(INTERRUPTED)
    script.reaches("ready")
    proxy.play(fault)
    before = len(proxy.seen)
    script.may_go_on()
    ends = time.monotonic() + HANG
    while len(proxy.seen) == before and time.monotonic() < ends:
        time.sleep(0.01)
    started = time.monotonic()
    script.process.send_signal(signal.SIGINT)
    script.reaches("interrupted")
    assert time.monotonic() - started < HANG
    proxy.be_honest()
    started = time.monotonic()
    script.may_go_on()
    script.reaches("next call")
    assert time.monotonic() - started < HANG
    assert proxy.open_now <= 8
    script.may_go_on()
    script.ends_well()
    assert time.monotonic() - started < 2 * HANG


FORGOTTEN = """
client = connected()
check(client, 0, 20_000)
known = weakref.ref(client)
client = connected()  # which is now the default one
gc.collect()
assert known() is None
step("forgotten")
check(client, 0, 20_000)
"""


@pytest.mark.slow
def test_a_client_that_is_forgotten_is_closed_without_a_warning(
    proxy: FaultProxy, run: Callable[[str], Script]
) -> None:
    script = run(FORGOTTEN)
    script.reaches("forgotten")
    ends = time.monotonic() + HANG
    while proxy.open_now and time.monotonic() < ends:
        time.sleep(0.01)
    assert proxy.open_now == 0
    script.may_go_on()
    script.ends_well()


FORKED = """
import httpx
from featkit.transports.options import TransportOptions
from tests.transports.conftest import IMPATIENT, Sender

sender = Sender(URL, TransportOptions())
passed = Sender(URL, TransportOptions(client=httpx.Client()))
fresh = Sender(URL, TransportOptions(client=httpx.Client()))
assert sender.one() == passed.one() == [1, 2, 3]
forked = threading.Event()

def busy(number):
    while not forked.is_set():
        assert sender.outcomes([number], [number + 1]) == [[number], [number + 1]]

threads = [threading.Thread(target=busy, args=[number]) for number in range(4)]
for thread in threads:
    thread.start()

def work(number):
    for turn in range(25):
        chunks = [[1000 * number + turn], [turn, number]]
        assert sender.outcomes(*chunks) == chunks
    return True

def child(number):
    refused = type(passed.outcomes([1])[0]).__name__
    return work(number) and refused == "SettingsError" and fresh.one() == [1, 2, 3]

pids = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        ended = 1
        try:
            ended = 0 if child(number) else 2
        finally:
            os._exit(ended)
    pids.append(pid)
forked.set()
assert work(9) and passed.one() == [1, 2, 3]
for thread in threads:
    thread.join()
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
assert codes == [0] * 4, codes
for each in (sender, passed, fresh):
    each.transports.close()
passed.client.close()
fresh.client.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_processes_have_connections_of_their_own(
    proxy: FaultProxy, run: Callable[[str], Script]
) -> None:
    run(FORKED).ends_well()
    assert proxy.counts == {"": len(proxy.seen)}
    pairs = [tuple(json.loads(each.request.body)["entities"][KEY]) for each in proxy.seen]
    assert len(pairs) >= 5 * 50


LATE = """
import atexit
client = connected()
atexit.register(lambda: (check(client, 0, 5000), print("late", flush=True)))
"""


@pytest.mark.slow
def test_a_call_while_the_interpreter_ends_works(run: Callable[[str], Script]) -> None:
    script = run(LATE)
    script.reaches("late")
    script.ends_well()


def test_a_call_without_request_needs_no_network(connect: Callable[..., Sender]) -> None:
    (outcome,) = connect("http://features.test").run([Call(LocalRead(lambda: 7, "seven"))])
    assert outcome == 7
