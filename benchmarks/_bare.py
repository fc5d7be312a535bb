"""What the calls of a lookup must wait: its requests, from bare sockets that drop the replies.

They are written beforehand and sent by eight threads, each over a connection of its own, so that
what is measured is little more than the server's latency, and what it takes to send its replies.
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

import grpc

from featkit.calls import Call, GrpcRequest, HttpRequest, HttpRequests
from tests.faults.serving import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.calls import Flow

T = TypeVar("T")

AT_ONCE = 8
_PIECE = 2**18  # bytes that are read at once


def noting(flow: Flow[T], rounds: list[list[Any]]) -> Flow[T]:
    """Run a flow, and note the requests that it has sent at once each time."""
    outcome = None
    while True:
        try:
            effect = flow.send(outcome)
        except StopIteration as stop:
            found: T = stop.value
            return found
        calls = [effect] if isinstance(effect, Call) else effect
        rounds.append([request for call in calls for request in _each(call.request)])
        outcome = yield effect


def _each(request: object) -> list[Any]:
    if isinstance(request, HttpRequests):
        return list(request.requests)
    return [request] if isinstance(request, HttpRequest | GrpcRequest) else []


class Bare:
    """Sends requests again, in the same rounds, as a context manager.

    Parameters
    ----------
    rounds
        What is sent at once each time.
    """

    def __init__(self, rounds: list[list[Any]]) -> None:
        self._rounds = [[self._sender(request) for request in requests] for requests in rounds]
        self._threads = ThreadPoolExecutor(AT_ONCE)
        self._own = threading.local()
        self._open: list[Any] = []
        self._channels: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
        for each in (*self._open, *self._channels.values()):
            each.close()

    def send(self) -> None:
        """Send all, each round once the one before is answered."""
        for senders in self._rounds:
            left = iter(senders)  # which all threads take from
            list(self._threads.map(_call_all, [left] * AT_ONCE))

    def _sender(self, request: Any) -> Callable[[], None]:  # noqa: ANN401 - one of the kinds above
        if isinstance(request, GrpcRequest):
            return partial(self._stream, request)
        _, host, path, query, _ = urlsplit(request.url)
        target = f"{path}?{query}" if query else path
        headers = {"host": host, "content-length": str(len(request.body)), **request.headers}
        sent = Request(method=request.method, target=target, headers=headers, body=request.body)
        return partial(self._exchange, host, sent.encode())

    def _exchange(self, host: str, sent: bytes) -> None:
        connection = self._connection(host)
        connection.sendall(sent)
        head, _, body = connection.recv(_PIECE).partition(b"\r\n\r\n")
        _, _, behind = head.lower().partition(b"content-length: ")
        left = int(behind.partition(b"\r\n")[0]) - len(body)
        while left:
            left -= len(connection.recv(_PIECE))

    def _connection(self, host: str) -> socket.socket:
        known: dict[str, socket.socket] = self._own.__dict__
        if host not in known:
            name, _, port = host.partition(":")
            known[host] = socket.create_connection((name, int(port)))
            known[host].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(known[host])
        return known[host]

    def _stream(self, request: GrpcRequest) -> None:
        if request.address not in self._channels:
            self._channels[request.address] = grpc.insecure_channel(
                request.address, options=[("grpc.max_receive_message_length", -1)]
            )
        for _ in self._channels[request.address].unary_stream(request.method)(request.body):
            pass


def _call_all(left: Iterator[Callable[[], None]]) -> None:
    for call in left:
        call()
