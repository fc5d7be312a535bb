"""Connections of our own over HTTP/1.1: each used by one call at a time, kept while it is idle.

What is sent and read is httpcore's business, as it is under httpx. What httpx does above it for
each request, none of ours needs: cookies, redirects, hooks, mounts; and its pool looks at all of
its connections, twice a request, behind a lock for which all threads wait. That was half of what a
call cost.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import httpcore

from featkit.transports.sockets import Backend

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from featkit.calls import HttpRequest
    from featkit.transports.options import Limits

ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)
"""What a connection that fails may raise."""

library = httpcore


class Connections:
    """What sends requests; used by all threads of a process at once.

    There is no lock: to take from an end of a deque, or to add to it, is one step.

    Parameters
    ----------
    limits
        How many idle connections are kept, and how long.
    trust
        The certificates to trust.
    """

    def __init__(self, limits: Limits, trust: ssl.SSLContext) -> None:
        self._most = limits.connections
        self._expiry = limits.keep_alive.total_seconds()
        self._trust = trust
        self._backend: Any = Backend(httpcore.SyncBackend(), httpcore)
        self._idle: dict[Server, deque[Idle]] = {}

    def send(
        self, request: HttpRequest, headers: Mapping[str, str], address: Address, connect: float
    ) -> Reply:
        """Send a request and read the head of the reply, which must be closed.

        Parameters
        ----------
        request
            Its method and body are sent.
        headers
            Sent after those that every request has.
        address
            Where to.
        connect
            Seconds that it may take to connect; all else has the deadline in force.
        """
        outgoing = _outgoing(request, headers, address, connect)
        connection = self._kept(address.server) or self._new(address.url.origin)
        # it closes the connection where it fails
        return Reply(connection.handle_request(outgoing), self, address.server, connection)

    def _kept(self, server: Server) -> httpcore.HTTPConnection | None:
        """Take the connection that was used last, and is still open."""
        idle = self._idle.get(server)
        while idle:
            try:
                connection, _ = idle.pop()
            except IndexError:  # another thread was faster
                return None
            if not connection.has_expired():
                return connection
            connection.close()
        return None

    def _new(self, origin: httpcore.Origin) -> httpcore.HTTPConnection:
        return httpcore.HTTPConnection(
            origin,
            ssl_context=self._trust,
            keepalive_expiry=self._expiry,
            network_backend=self._backend,
        )

    def give_back(self, server: Server, connection: httpcore.HTTPConnection) -> None:
        """Keep a connection for the next request, unless it was closed."""
        if not connection.is_idle():
            return
        now = time.monotonic()
        idle = self._idle.setdefault(server, deque())
        idle.append((connection, now))
        try:
            while len(idle) > self._most or idle[0][1] < now - self._expiry:
                idle.popleft()[0].close()
        except IndexError:  # other threads took all
            pass

    def close(self) -> None:
        """Close what is open; nothing runs."""
        for idle in self._idle.values():
            while idle:
                idle.pop()[0].close()


Server = tuple[bytes, bytes, int | None]
Idle = tuple[httpcore.HTTPConnection, float]

_WITH_BODY = {"POST", "PUT", "PATCH"}


class Address:
    """Where requests are sent, taken apart.

    Attributes
    ----------
    url
        As httpcore has it.
    server
        What connections have in common.
    headers
        What every request to it begins with.
    """

    def __init__(
        self, scheme: bytes, host: bytes, port: int | None, target: bytes, netloc: bytes
    ) -> None:
        self.url = httpcore.URL(scheme=scheme, host=host, port=port, target=target)
        self.server: Server = scheme, host, port
        self.headers = [(b"Host", netloc), (b"Accept", b"*/*"), (b"User-Agent", b"featkit")]


class Reply:
    """A reply whose head was read; so much of httpx's API as is needed.

    Attributes
    ----------
    status_code
        As HTTP has it.
    headers
        By lower-case name.
    extensions
        With the connection, as ``"network_stream"``.
    """

    is_stream_consumed = False

    def __init__(
        self,
        inner: httpcore.Response,
        connections: Connections,
        server: Server,
        connection: httpcore.HTTPConnection,
    ) -> None:
        self._inner = inner
        self._back = connections, server, connection
        self.status_code: int = inner.status
        self.headers = _by_name(inner.headers)
        self.extensions: Any = inner.extensions

    def iter_raw(self) -> Iterable[bytes]:
        """Read the body as it was sent."""
        return self._inner.iter_stream()

    def close(self) -> None:
        """Give the connection back; one whose body was not read to its end is closed."""
        self._inner.close()
        connections, server, connection = self._back
        connections.give_back(server, connection)


def _outgoing(
    request: HttpRequest, headers: Mapping[str, str], address: Address, connect: float
) -> httpcore.Request:
    """Write a request; by itself, so that no variable holds credentials while it is sent."""
    sent = [*address.headers, *((name.encode(), value.encode()) for name, value in headers.items())]
    if request.body or request.method in _WITH_BODY:
        sent.append((b"Content-Length", str(len(request.body)).encode()))
    return httpcore.Request(
        request.method,
        address.url,
        headers=sent,
        content=request.body,
        extensions={"timeout": {"connect": connect}},
    )


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str]:
    told: dict[str, str] = {}
    for raw, value in headers:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        told[name] = f"{told[name]}, {text}" if name in told else text
    return told
