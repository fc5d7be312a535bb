"""A server behind a proxy that injects faults, and what sends calls to it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest

from featkit.calls import Call, HttpReply, HttpRequest
from featkit.errors import FeatkitError, ProtocolError
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, Transports, drive
from featkit.transports.options import Limits, Retry, TransportOptions
from tests.faults.proxy import FaultProxy
from tests.faults.upstream import KEY, VIEW, Upstream, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


IMPATIENT = Retry(attempts=4, base=timedelta(milliseconds=1), reconnect=timedelta(milliseconds=100))


def lookup(url: str, keys: list[int], *, idempotent: bool = True) -> Call[list[int]]:
    """Ask for the trips of drivers; the result is checked against the truth."""
    body = {"features": [f"{VIEW}:trips"], "entities": {KEY: keys}}

    def decode(reply: HttpReply) -> list[int]:
        try:
            echo, trips = (each["values"] for each in json.loads(reply.body.decode())["results"])
        except (ValueError, LookupError, TypeError) as error:
            raise ProtocolError("no answer") from error
        assert echo == keys
        assert trips == [truth("trips", key) for key in keys]
        return keys

    request = HttpRequest(
        url=f"{url}/get-online-features?status=true",
        method="POST",
        headers={"Content-Type": "application/json"},
        body=json.dumps(body).encode(),
        idempotent=idempotent,
    )
    return Call(request, decode=decode, keys=len(keys))


class Sender:
    """Sends lookups to one URL, without a store between."""

    def __init__(self, url: str, options: TransportOptions) -> None:
        self.url = url
        self.client = options.client
        self.transports = Transports(options)

    def outcomes(self, *chunks: list[int], timeout: float | None = 20.0) -> list[Any]:
        """Send lookups together; a failure is an outcome."""
        calls = [lookup(self.url, chunk) for chunk in chunks]
        return self.run(calls, timeout=timeout)

    def one(self, *, timeout: float | None = 20.0, idempotent: bool = True) -> list[int]:
        """Send one lookup; a failure is raised."""
        (outcome,) = self.run([lookup(self.url, [1, 2, 3], idempotent=idempotent)], timeout=timeout)
        if isinstance(outcome, FeatkitError):
            raise outcome
        return outcome

    def fails(self, kind: type[FeatkitError], **options: Any) -> FeatkitError:
        """Send one lookup that must fail, and return the error, which tells what was asked."""
        with pytest.raises(kind) as caught:
            self.one(**options)
        error = caught.value
        assert type(error) is kind
        assert f"POST {self.url}/get-online-features" in str(error)
        assert "status=true" not in str(error)
        return error

    def run(self, calls: list[Call[Any]], *, timeout: float | None = 20.0) -> list[Any]:
        def flow() -> Iterator[Any]:
            return (yield calls)

        limit = None if timeout is None else timedelta(seconds=timeout)
        return drive(flow(), self.transports, Deadline(limit), Silent())


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(upstream.url) as proxy:
        yield proxy


CLIENTS: dict[str, Callable[[], Any]] = {
    "own": lambda: None,
    "httpx": lambda: httpx.Client(limits=httpx.Limits(max_connections=8)),
    "httpx2": lambda: httpx2.Client(limits=httpx2.Limits(max_connections=8)),
}


@pytest.fixture(scope="module", params=CLIENTS)
def passed(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give what a user passes as ``client=``: nothing, or a client of httpx or httpx2."""
    client = CLIENTS[request.param]()
    yield client
    if client is not None:
        client.close()


@pytest.fixture
def connect(proxy: FaultProxy) -> Iterator[Callable[..., Sender]]:
    """Make a `Sender` to the proxy, or to `url`, with options of `TransportOptions`."""
    with ExitStack() as stack:

        def make(url: str | None = None, **options: Any) -> Sender:
            known = {"retry": IMPATIENT, "limits": Limits()} | options
            sender = Sender(url or proxy.url, TransportOptions(**known))
            stack.callback(sender.transports.close)
            return sender

        yield make


@pytest.fixture
def sender(connect: Callable[..., Sender], passed: Any) -> Sender:
    """Send through the proxy, with each kind of client."""
    return connect(client=passed)
