"""gRPC: statuses, deadlines, credentials, sizes, restarts, forks, closing."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from tempfile import NamedTemporaryFile
from typing import Any

import grpc
import pytest
import trustme

from featkit.auth.oauth import ClientCredentials
from featkit.auth.tokens import Bearer
from featkit.calls import Call, GrpcRequest
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    ClosedError,
    DeadlineExceeded,
    FeatkitError,
    NotSupportedError,
    ProtocolError,
    RequestRejected,
    SettingsError,
    SlowAnswer,
    StoreUnavailable,
    ThrottledError,
)
from featkit.settings import Secret
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, Transports, drive
from featkit.transports.options import Limits, Retry, TransportOptions
from tests.fakes.wire import Answer, Asked, served
from tests.programs.alone import alone, failure_in_a_fork

METHOD, STREAM = "/feature.Server/Get", "/feature.Server/Stream"
HANG = 20.0  # seconds after which something did not end that should have
HASTY = Retry(attempts=3, base=timedelta(milliseconds=1), reconnect=timedelta(milliseconds=50))
TOKEN = "canary-4711-of-the-secret-kind"


class Script(grpc.GenericRpcHandler):
    """Answers each call with the next of its steps; then repeats the message."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.seen: list[dict[str, Any]] = []

    def service(self, details: Any) -> Any:
        if details.method == STREAM:
            self.seen.append(dict(details.invocation_metadata))
            return grpc.unary_stream_rpc_method_handler(self.messages)
        if details.method != METHOD:
            return None
        self.seen.append(dict(details.invocation_metadata))

        def answer(message: bytes, context: Any) -> bytes:
            step = self.steps.pop(0) if self.steps else message
            if isinstance(step, bytes):
                return step
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                _sleep(step, context)
                return message
            context.abort(*step)
            raise AssertionError

        return grpc.unary_unary_rpc_method_handler(answer)

    def messages(self, message: bytes, context: Any) -> Any:
        """Answer a stream with all of the steps."""
        yield message
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, bytes):
                yield step
            elif isinstance(step, float):
                _sleep(step, context)
            else:
                context.abort(*step)


def _sleep(seconds: float, context: Any) -> None:
    """Wait as long, or until nobody waits for the answer any more."""
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait(seconds)


class Server:
    """A server on loopback that can be stopped and started again in its place."""

    def __init__(self, credentials: Any = None, compression: Any = None) -> None:
        self.script, self._credentials, self.port = Script(), credentials, 0
        self._compression = compression
        self.start()

    def start(self) -> None:
        self._pool = ThreadPoolExecutor(8)
        self._server = grpc.server(
            self._pool, options=[("grpc.so_reuseport", 0)], compression=self._compression
        )
        self._server.add_generic_rpc_handlers((self.script,))
        address = f"localhost:{self.port}"
        if self._credentials:
            self.port = self._server.add_secure_port(address, self._credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()
        self._pool.shutdown()


@contextmanager
def running():
    made = Server()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def server():
    with running() as made:
        yield made


@pytest.fixture
def reach():
    """Make transports, which are closed in the end."""
    with ExitStack() as stack:

        def make(**options: Any) -> Transports:
            made = Transports(TransportOptions(**({"retry": HASTY} | options)))
            stack.callback(made.close)
            return made

        yield make


def sent(transports: Transports, server: Server, body: bytes = b"hi", **request: Any) -> bytes:
    options = {"timeout": 10.0} | request
    timeout = options.pop("timeout")
    call = Call(
        GrpcRequest(
            **({"address": f"localhost:{server.port}", "method": METHOD} | options), body=body
        ),
        decode=lambda reply: reply.body,
    )

    def flow() -> Any:
        return (yield call)

    limit = None if timeout is None else timedelta(seconds=timeout)
    found: bytes = drive(flow(), transports, Deadline(limit), Silent())
    return found


def test_a_message_is_answered_on_one_connection(server, reach):
    transports = reach()
    assert [sent(transports, server, b"%d" % n) for n in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("code", "kind", "tries"),
    [
        (grpc.StatusCode.UNAVAILABLE, StoreUnavailable, 3),
        (grpc.StatusCode.INTERNAL, StoreUnavailable, 3),
        (grpc.StatusCode.ABORTED, StoreUnavailable, 3),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ThrottledError, 3),
        (grpc.StatusCode.UNAUTHENTICATED, AuthError, 1),
        (grpc.StatusCode.PERMISSION_DENIED, AuthError, 1),
        (grpc.StatusCode.INVALID_ARGUMENT, RequestRejected, 1),
        (grpc.StatusCode.NOT_FOUND, RequestRejected, 1),
        (grpc.StatusCode.UNKNOWN, RequestRejected, 1),
    ],
)
def test_a_status_is_an_error_of_ours(server, reach, code, kind, tries):
    server.script.steps = [(code, "because")] * 9
    with pytest.raises(kind, match=f"grpc://localhost.*{METHOD}.*{code.name}.*because") as caught:
        sent(reach(), server)
    assert type(caught.value) is kind
    assert len(server.script.seen) == tries


def test_trouble_that_passes_is_ridden_out(server, reach):
    server.script.steps = [(grpc.StatusCode.UNAVAILABLE, "not yet"), (grpc.StatusCode.INTERNAL, "")]
    assert sent(reach(), server) == b"hi"


def test_what_the_server_raised_is_said(server, reach):
    server.script.steps = [ValueError("no such view")]
    with pytest.raises(RequestRejected, match="no such view"):
        sent(reach(), server)


def test_a_method_that_is_not_there_is_said_so(server, reach):
    with pytest.raises(ProtocolError, match="does not know the method"):
        sent(reach(), server, method="/other/Method")


@pytest.mark.slow
def test_the_deadline_is_the_users(server, reach):
    server.script.steps = [60.0]
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        sent(reach(), server, timeout=0.3)
    assert time.monotonic() - started < HANG


@pytest.mark.slow
def test_what_is_too_slow_is_sent_again_once(server, reach):
    server.script.steps = [60.0]
    transports = reach(limits=Limits(answer=timedelta(seconds=0.3)))
    assert sent(transports, server) == b"hi"
    server.script.steps = [60.0, 60.0]
    with pytest.raises(SlowAnswer):
        sent(transports, server)


@pytest.mark.parametrize(("size", "answered"), [(5_000_000, False), (10, True)])
def test_what_is_too_large_is_to_be_split(server, reach, size, answered):
    limits = Limits(reply=1_000_000) if answered else Limits()
    server.script.steps = [b"x" * 5_000_000] if answered else []
    with pytest.raises(BatchTooLarge, match="too large"):  # servers of grpc take 4 MB
        sent(reach(limits=limits), server, b"x" * size)


def test_what_inflates_beyond_what_is_allowed_is_refused(reach):
    server = Server(compression=grpc.Compression.Gzip)  # 50 MB of nothing are 50 kB
    try:
        server.script.steps = [b"\0" * 50_000_000, b"\0" * 900_000]
        transports = reach(limits=Limits(reply=1_000_000))
        with pytest.raises(BatchTooLarge, match=r"too large.*Limits\(reply="):
            sent(transports, server)
        assert len(sent(transports, server)) == 900_000
    finally:
        server.stop()


def test_a_large_answer_is_taken(server, reach):
    server.script.steps = [b"x" * 10_000_000]
    assert len(sent(reach(), server)) == 10_000_000


def test_credentials_go_with_each_call_and_are_never_shown(server, reach):
    transports = reach(auth=Bearer(Secret(TOKEN)))
    server.script.steps = [b"ok", (grpc.StatusCode.UNAUTHENTICATED, f"not {TOKEN}")]
    assert sent(transports, server) == b"ok"
    assert server.script.seen[0]["authorization"] == f"Bearer {TOKEN}"
    with pytest.raises(AuthError) as caught:
        sent(transports, server)
    assert TOKEN not in str(caught.value)


def test_an_expired_token_is_asked_for_again(server, reach):
    tokens = ["fresh-token-2", "stale-token-1"]
    server.script.steps = [(grpc.StatusCode.UNAUTHENTICATED, "expired")]
    assert sent(reach(auth=Bearer(tokens.pop)), server) == b"hi"
    told = [each["authorization"] for each in server.script.seen]
    assert told == ["Bearer stale-token-1", "Bearer fresh-token-2"]


def test_a_server_that_is_gone_is_said_soon(server, reach):
    server.stop()
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="is the server running"):
        sent(reach(), server)
    assert time.monotonic() - started < HANG
    server.start()


def test_a_restart_is_ridden_out(server, reach):
    transports = reach(retry=Retry(reconnect=timedelta(seconds=20)))
    assert sent(transports, server) == b"hi"
    server.stop()
    threading.Timer(0.1, server.start).start()
    assert sent(transports, server, timeout=20.0) == b"hi"


def test_an_unknown_host_is_not_tried_again(server, reach):
    with pytest.raises(StoreUnavailable, match=r"1 attempt, .*the host is unknown"):
        sent(reach(), server, address="nowhere.invalid:1")


def test_tls_trusts_whom_it_is_told(reach):
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    pair = own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
    server = Server(grpc.ssl_server_credentials([pair]))
    try:
        with NamedTemporaryFile() as file:
            authority.cert_pem.write_to_path(file.name)
            assert sent(reach(ca=file.name), server, tls=True) == b"hi"
        with pytest.raises(StoreUnavailable, match=r"no secure connection.*ca='ca\.pem'"):
            sent(reach(), server, tls=True)
    finally:
        server.stop()
    with pytest.raises(SettingsError, match="nowhere"):
        sent(reach(ca="nowhere.pem"), server, tls=True)


STREAMED = {"method": STREAM, "streams": True}


def test_the_messages_of_a_stream_come_one_after_the_other(server, reach):
    server.script.steps = [b"-a", b"-b", b"-c"]
    transports = reach()
    assert sent(transports, server, **STREAMED) == b"hi-a-b-c"
    assert sent(transports, server, **STREAMED) == b"hi"


def test_a_stream_that_breaks_off_is_read_again(server, reach):
    server.script.steps = [b"-a", (grpc.StatusCode.UNAVAILABLE, "moved"), b"-b", b"-c"]
    assert sent(reach(), server, **STREAMED) == b"hi-b-c"
    server.script.steps = [b"-a", (grpc.StatusCode.NOT_FOUND, "no table")]
    with pytest.raises(RequestRejected, match="no table"):
        sent(reach(), server, **STREAMED)


@pytest.mark.slow
def test_a_stream_has_to_end_in_time(server, reach):
    server.script.steps = [b"-a", 60.0, b"-b"]
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        sent(reach(), server, timeout=0.3, **STREAMED)
    assert time.monotonic() - started < HANG


def test_a_stream_may_not_be_larger_than_an_answer(server, reach):
    server.script.steps = [b"x" * 600_000] * 5
    with pytest.raises(BatchTooLarge, match=r"more than 1,000,000 bytes"):
        sent(reach(limits=Limits(reply=1_000_000)), server, **STREAMED)


def test_a_token_is_asked_for_over_http(server, reach):
    asked = []

    def answer(request: Asked) -> Answer:
        asked.append(request.path)
        return Answer(body={"access_token": f"{TOKEN}-{len(asked)}"})

    with served(answer) as url:
        auth = ClientCredentials(f"{url}/token", "me", Secret("s3cret-s3cret"), scope="all")
        transports = reach(auth=auth)
        server.script.steps = [(grpc.StatusCode.UNAUTHENTICATED, "expired")]
        assert [sent(transports, server) for _ in range(2)] == [b"hi", b"hi"]
    told = [each["authorization"] for each in server.script.seen]
    assert told == [f"Bearer {TOKEN}-1", f"Bearer {TOKEN}-2", f"Bearer {TOKEN}-2"]
    assert asked == ["/token", "/token"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, STREAMED], ids=["message", "stream"])
def test_closing_ends_what_runs(server, reach, how):
    transports = reach(limits=Limits())
    server.script.steps = [60.0]
    failed: list[FeatkitError] = []

    def wait() -> None:
        try:
            sent(transports, server, **how)
        except FeatkitError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not server.script.seen:
        time.sleep(0.01)
    transports.close()
    thread.join(HANG)
    assert [type(error) for error in failed] == [ClosedError]


def _fork() -> None:
    with running() as server, closing(Transports(TransportOptions())) as transports:
        assert sent(transports, server) == b"hi"
        error = failure_in_a_fork(lambda: sent(transports, server))
        assert isinstance(error, NotSupportedError)
        assert "spawn" in str(error)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_refused_instead_of_waiting_for_ever():
    alone(_fork)
