"""Arrow Flight: tables that go out and come back, refusals, deadlines, credentials, restarts."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, closing
from datetime import timedelta
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import trustme
from pyarrow import flight

from featkit.auth.tokens import Bearer
from featkit.calls import Call, FlightRequest
from featkit.errors import (
    AuthError,
    ClosedError,
    DeadlineExceeded,
    FeatkitError,
    NotSupportedError,
    RequestRejected,
    SettingsError,
    StoreUnavailable,
)
from featkit.settings import Secret
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, Transports, drive
from featkit.transports.options import Limits, Retry, TransportOptions
from tests.programs.alone import alone, failure_in_a_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLE = pa.table({"row": [3, 1, 2], "key": ["a", None, "b"]})
HANG = 20.0  # seconds after which something did not end that should have
HASTY = Retry(attempts=3, base=timedelta(milliseconds=1), reconnect=timedelta(milliseconds=50))
TOKEN = "canary-4711-of-the-secret-kind"


class Headers(flight.ServerMiddlewareFactory):
    """Remembers the headers of each call."""

    def __init__(self) -> None:
        self.seen: list[dict[str, list[str]]] = []

    def start_call(self, info: Any, headers: Any) -> None:  # noqa: ARG002 - as Flight calls it
        self.seen.append(headers)


class Server(flight.FlightServerBase):
    """Sends tables back, after the next of its steps."""

    def __init__(self, port: int = 0, tls: tuple[bytes, bytes] | None = None) -> None:
        self.headers = Headers()
        self.steps: list[Any] = []
        self.commands: list[bytes] = []
        scheme = "grpc+tls" if tls else "grpc"
        super().__init__(
            f"{scheme}://127.0.0.1:{port}",
            tls_certificates=[tls] if tls else None,
            middleware={"headers": self.headers},
        )

    @property
    def location(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        self.commands.append(descriptor.command)
        table = reader.read_all()
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            ends = time.monotonic() + step
            while time.monotonic() < ends and not context.is_cancelled():
                time.sleep(0.02)
        compressed = pa.ipc.IpcWriteOptions(compression="zstd")
        writer.begin(table.schema, options=compressed)
        for _ in range(step if isinstance(step, int) else 1):
            writer.write_table(table)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        yield made


@pytest.fixture
def reach() -> Iterator[Callable[..., Transports]]:
    """Make transports, which are closed in the end."""
    with ExitStack() as stack:

        def make(**options: Any) -> Transports:
            made = Transports(TransportOptions(**({"retry": HASTY} | options)))
            stack.callback(made.close)
            return made

        yield make


def sent(
    transports: Transports, location: str, timeout: float = 20.0, table: pa.Table = TABLE
) -> pa.Table:
    request = FlightRequest(location=location, command=b"join", table=table, what="a join")
    call = Call(request, decode=lambda reply: reply.table)

    def flow() -> Any:
        return (yield call)

    return drive(flow(), transports, Deadline(timedelta(seconds=timeout)), Silent())


def test_a_table_is_answered_with_a_table(server, reach):
    transports = reach()
    for _ in range(3):
        assert sent(transports, server.location).equals(TABLE)
    assert server.commands == [b"join"] * 3


@pytest.mark.parametrize(
    ("raised", "kind", "tries"),
    [
        (KeyError("no such view"), RequestRejected, 1),
        (ValueError("no such view"), RequestRejected, 1),
        (AssertionError("no such view"), RequestRejected, 1),
        (flight.FlightServerError("no such view"), RequestRejected, 1),
        (flight.FlightUnavailableError("no such view"), StoreUnavailable, 3),
        (flight.FlightUnauthenticatedError("no such view"), AuthError, 1),
        (flight.FlightUnauthorizedError("no such view"), AuthError, 1),
    ],
)
def test_what_the_server_raised_is_an_error_of_ours(server, reach, raised, kind, tries):
    server.steps = [raised] * 9
    with pytest.raises(kind, match=r"a join .*no such view") as caught:
        sent(reach(), server.location)
    assert type(caught.value) is kind
    assert len(server.commands) == tries
    assert "Traceback" not in str(caught.value)


def test_trouble_that_passes_is_ridden_out(server, reach):
    server.steps = [flight.FlightUnavailableError("not yet")] * 2
    assert sent(reach(), server.location).equals(TABLE)


def test_the_deadline_is_the_users(server, reach):
    server.steps = [60.0]
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        sent(reach(), server.location, timeout=0.3)
    assert time.monotonic() - started < HANG


def test_credentials_go_with_each_call_and_are_never_shown(server, reach):
    transports = reach(auth=Bearer(Secret(TOKEN)))
    assert sent(transports, server.location).equals(TABLE)
    assert server.headers.seen[0]["authorization"] == [f"Bearer {TOKEN}"]
    server.steps = [flight.FlightUnauthenticatedError(f"not {TOKEN}")]
    with pytest.raises(AuthError, match=r"401: not \*\*\*") as caught:
        sent(transports, server.location)
    assert TOKEN not in str(caught.value)


def test_an_expired_token_is_asked_for_again(server, reach):
    tokens = ["fresh-token-2", "stale-token-1"]
    server.steps = [flight.FlightUnauthenticatedError("expired")]
    assert sent(reach(auth=Bearer(tokens.pop)), server.location).equals(TABLE)
    told = [each["authorization"] for each in server.headers.seen]
    assert told == [["Bearer stale-token-1"], ["Bearer fresh-token-2"]]


def test_what_inflates_beyond_what_is_allowed_is_refused(server, reach):
    zeros = pa.table({"row": [0] * 50_000})  # 400 kB, of which zstd leaves nothing
    transports = reach(limits=Limits(reply=100_000))  # history may be ten times as large
    server.steps = [2, 3, 10_000]
    assert sent(transports, server.location, table=zeros).num_rows == 100_000
    for _ in range(2):
        with pytest.raises(RequestRejected, match=r"1 attempt.*larger than 1,000,000 bytes"):
            sent(transports, server.location, table=zeros)
    assert len(server.commands) == 3
    assert sent(transports, server.location).equals(TABLE)


def test_a_server_that_is_gone_is_said_soon(reach):
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="is the server running"):
        sent(reach(), "grpc://127.0.0.1:9")
    assert time.monotonic() - started < HANG


def test_a_restart_is_ridden_out(reach):
    transports = reach(retry=Retry(reconnect=timedelta(seconds=20)))
    with Server() as first:
        port = first.port
        assert sent(transports, first.location).equals(TABLE)
    again: list[Server] = []
    timer = threading.Timer(0.1, lambda: again.append(Server(port)))
    timer.start()
    assert sent(transports, f"grpc://127.0.0.1:{port}").equals(TABLE)
    timer.join()
    again[0].shutdown()


def test_an_unknown_host_is_not_tried_again(reach):
    with pytest.raises(StoreUnavailable, match=r"1 attempt, .*the host is unknown"):
        sent(reach(), "grpc://nowhere.invalid:1")


def test_tls_trusts_whom_it_is_told(reach):
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    pair = own.cert_chain_pems[0].bytes(), own.private_key_pem.bytes()
    with Server(tls=pair) as server, NamedTemporaryFile() as file:
        place = f"grpc+tls://localhost:{server.port}"
        authority.cert_pem.write_to_path(file.name)
        assert sent(reach(ca=file.name), place).equals(TABLE)
        with pytest.raises(StoreUnavailable, match=r"no secure connection.*ca='ca\.pem'"):
            sent(reach(), place)
    with pytest.raises(SettingsError, match="nowhere"):
        sent(reach(ca="nowhere.pem"), place)


def test_what_is_no_address_is_said_so(reach):
    with pytest.raises(SettingsError, match="no address of Arrow Flight"):
        sent(reach(), "127.0.0.1:8815")


def test_closing_ends_what_runs(server, reach):
    transports = reach()
    server.steps = [60.0]
    failed: list[FeatkitError] = []

    def wait() -> None:
        try:
            sent(transports, server.location)
        except FeatkitError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not server.commands:
        time.sleep(0.01)
    transports.close()
    thread.join(HANG)
    assert [type(error) for error in failed] == [ClosedError]


def _fork() -> None:
    with Server() as server, closing(Transports(TransportOptions())) as transports:
        assert sent(transports, server.location).equals(TABLE)
        error = failure_in_a_fork(lambda: sent(transports, server.location))
        assert isinstance(error, NotSupportedError)
        assert "spawn" in str(error)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_refused_instead_of_waiting_for_ever():
    alone(_fork)
