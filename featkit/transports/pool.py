"""httpcore's pool of connections, used as a client of httpx is, which stands on it.

It spares what httpx makes anew for each request and each reply: what a request costs is told in
``docs/decisions/0025-what-a-call-costs.md``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

import httpcore
import httpx

from featkit.transports.sockets import Backend

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from featkit.transports.options import Limits

_ADDRESSES = 64  # that are kept taken apart, which is a tenth of a call
_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


class Response:
    """A reply whose head was read, with so much of the API of httpx's as is used here."""

    is_stream_consumed = False

    def __init__(self, inner: httpcore.Response) -> None:
        self._inner = inner
        self.status_code = inner.status
        self.extensions = inner.extensions
        self.headers: dict[str, str] = {}
        for raw_name, raw_value in inner.headers:
            name, value = raw_name.decode("ascii").lower(), raw_value.decode(errors="replace")
            before = self.headers.get(name)
            self.headers[name] = value if before is None else f"{before}, {value}"

    def iter_raw(self) -> Iterator[bytes]:
        """Read the body, as it was sent."""
        try:
            yield from self._inner.iter_stream()
        except _ERRORS as error:
            raise _of_httpx(error) from error

    def close(self) -> None:
        """Give the connection back, or close it where something is left to read."""
        self._inner.close()


class Pool:
    """Connections, with so much of the API of httpx's client as is used here.

    Parameters
    ----------
    limits
        How many connections there may be, and how long they are kept.
    trust
        Whose certificates are believed.
    """

    def __init__(self, limits: Limits, trust: ssl.SSLContext) -> None:
        connections = Backend(httpcore.SyncBackend(), httpcore)
        self._pool = httpcore.ConnectionPool(
            ssl_context=trust,
            max_connections=limits.connections,
            max_keepalive_connections=limits.connections,
            keepalive_expiry=limits.keep_alive.total_seconds(),
            network_backend=cast("httpcore.NetworkBackend", connections),
        )
        self._address = lru_cache(_ADDRESSES)(_taken_apart)

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None,
        headers: dict[str, str],
        timeout: httpx.Timeout,
    ) -> httpcore.Request:
        """Write a request."""
        address, host = self._address(url)
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        named = {name.lower() for name in headers}
        if "host" not in named:
            raw.insert(0, (b"Host", host))  # the first, as RFC 9112 wants it
        if "content-length" not in named and (content or method in {"POST", "PUT", "PATCH"}):
            raw.append((b"Content-Length", b"%d" % len(content or b"")))
        told = {"timeout": timeout.as_dict()}
        return httpcore.Request(method, address, headers=raw, content=content, extensions=told)

    def send(self, request: httpcore.Request, **_: bool) -> Response:
        """Send a request and read the head of the reply."""
        try:
            return Response(self._pool.handle_request(request))
        except _ERRORS as error:
            raise _of_httpx(error) from error

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def _taken_apart(url: str) -> tuple[httpcore.URL, bytes]:
    """Take an address apart, as httpx does; and what names its host in a request."""
    found = httpx.URL(url)
    address = httpcore.URL(
        scheme=found.raw_scheme, host=found.raw_host, port=found.port, target=found.raw_path
    )
    return address, found.netloc


def _of_httpx(error: Exception) -> httpx.HTTPError:
    """Make the error of the same name that a client of httpx would raise."""
    kind: type[httpx.HTTPError] = getattr(httpx, type(error).__name__)
    return kind(str(error))
