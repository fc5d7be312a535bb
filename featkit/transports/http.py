"""HTTP: one pool of connections, one way to retry, one deadline, no secrets in what is said.

The only module that imports httpx; a client of another library with its API will do as well.
asyncio uses the same client from threads: that costs less CPU than httpx's own async client, and
a call that is cancelled cannot lose a connection of the pool (``docs/decisions``).
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import httpcore
import httpx
import stamina

from featkit.calls import HttpReply
from featkit.errors import (
    AuthError,
    BatchTooLarge,
    FeatkitError,
    ProtocolError,
    RequestRejected,
    StoreError,
    StoreUnavailable,
    ThrottledError,
)
from featkit.transports.deadline import current, in_force
from featkit.transports.policy import Attempts, Budget, Concurrency, retry_after

if TYPE_CHECKING:
    from collections.abc import Iterable

    from featkit.calls import Call, HttpRequest
    from featkit.transports.deadline import Deadline
    from featkit.transports.options import HttpOptions

T = TypeVar("T")

# without a handler of its own every retry would print a line where logging is not set up
logging.getLogger("stamina").addHandler(logging.NullHandler())

_SHOWN = 80  # characters of an odd reply that an error shows
_SLICE = 0.25  # seconds after which a wait for bytes looks at its deadline


class HttpTransport:
    """Sends calls over HTTP; used by all threads of a process at once."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._budget = Budget()
        self._concurrency = Concurrency(options.limits.connections)
        self._lock = threading.Lock()
        self._client: Any = None
        self._process = 0

    def send(self, call: Call[T], request: HttpRequest, deadline: Deadline) -> T:
        """Send a request until it is answered or there is no point, and decode the answer.

        Raises
        ------
        StoreError
            With what was asked, how often and for how long; the cause is kept.
        """
        part = deadline.within(self._options.limits.patience)
        attempts = Attempts(self._options.retry, self._budget, part, idempotent=request.idempotent)
        try:
            with in_force(part):
                for attempt in stamina.retry_context(on=attempts.wait, attempts=None, timeout=None):
                    with attempt:
                        return self._once(call, request, part)
        except FeatkitError as error:
            _tell(error, request, attempts.made, part.elapsed)
            raise
        msg = "a retry loop ended without result"  # stamina returns or raises
        raise AssertionError(msg)

    def _once(self, call: Call[T], request: HttpRequest, deadline: Deadline) -> T:
        with self._concurrency.slot(deadline):
            reply = self._authorized(request, deadline)
            try:
                if not 200 <= reply.status < 300:  # noqa: PLR2004 - what HTTP calls success
                    raise call.explain(reply) or failure(reply)
                result = _decoded(call, reply)
            except ThrottledError:
                self._concurrency.throttled()
                raise
        self._concurrency.succeeded()
        self._budget.succeeded()
        return result

    def _authorized(self, request: HttpRequest, deadline: Deadline) -> HttpReply:
        if self._options.auth is None:
            return self._sent(request, deadline)
        flow = self._options.auth.auth_flow(request)
        wanted = next(flow)
        while True:
            reply = self._sent(wanted, deadline)
            try:
                wanted = flow.send(reply)
            except StopIteration:
                return reply

    def _sent(self, request: HttpRequest, deadline: Deadline) -> HttpReply:
        client = self._open_client()
        library = _library(client)
        left = deadline.left()
        connect = self._options.limits.connect.total_seconds()
        timeout = library.Timeout(left, connect=connect if left is None else min(connect, left))
        try:
            outgoing = client.build_request(
                request.method,
                request.url,
                content=request.body or None,
                headers=dict(request.headers),
                timeout=timeout,
            )
            response = client.send(outgoing, stream=True, follow_redirects=False)
            try:
                body = self._read(response.iter_bytes(), deadline)
            finally:
                response.close()
        except library.HTTPError as error:
            deadline.left()  # a wait that ended because the time was up is that, whatever it says
            raise _unsent(error, library) from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpReply(response.status_code, headers, body)

    def _read(self, chunks: Iterable[bytes], deadline: Deadline) -> bytearray:
        body = bytearray()
        for chunk in chunks:
            body += chunk
            deadline.left()
            if len(body) > self._options.limits.reply:
                msg = (
                    f"the reply is larger than {self._options.limits.reply:,} bytes; ask for fewer "
                    "entities or features at a time"
                )
                raise RequestRejected(msg)
        return body

    def _open_client(self) -> Any:  # noqa: ANN401 - a client with httpx's API
        """Return the client of this process; a forked process must not share sockets."""
        if self._options.client is not None:
            return self._options.client
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client = _client(self._options)
                self._process = os.getpid()
            return self._client

    def close(self) -> None:
        """Close the connections, unless they are the caller's."""
        with self._lock:
            if self._client is not None and self._process == os.getpid():
                self._client.close()
            self._client = None


def _client(options: HttpOptions) -> httpx.Client:
    limits = options.limits
    client = httpx.Client(
        verify=ssl.create_default_context(cafile=options.ca) if options.ca else True,
        follow_redirects=False,
        limits=httpx.Limits(
            max_connections=limits.connections,
            max_keepalive_connections=limits.connections,
            keepalive_expiry=limits.keep_alive.total_seconds(),
        ),
    )
    # httpx has no way to hand its pool a network backend; per-read timeouts alone would let a
    # server that sends a byte now and then hold a call for ever
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend(httpcore.SyncBackend())  # noqa: SLF001
    return client


class _Backend(httpcore.NetworkBackend):
    """Connections whose every wait respects the deadline in force."""

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect."""
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream)


class _Stream(httpcore.NetworkStream):
    """A connection that reads in slices of time, and looks at the deadline between them."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or wait for it as long as the deadline in force allows."""
        deadline = current.get()
        while deadline is not None:
            left = deadline.left()
            try:
                return self._inner.read(max_bytes, _SLICE if left is None else min(left, _SLICE))
            except httpcore.ReadTimeout:
                continue
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it."""
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Encrypt what follows."""
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        """Tell what is known of the connection."""
        return self._inner.get_extra_info(info)


def _library(client: object) -> Any:  # noqa: ANN401 - httpx, or a module with its API
    """Find the module whose API a client has: httpx, httpx2, or what their subclass is made of."""
    for kind in type(client).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if kind.__name__ == "Client" and hasattr(module, "HTTPError"):
            return module
    msg = (
        f"client= must be a synchronous client with httpx's API, such as httpx.Client(), not "
        f"{type(client).__name__}; featkit uses it for async calls as well"
    )
    raise RequestRejected(msg)


def _decoded(call: Call[T], reply: HttpReply) -> T:
    try:
        return call.decode(reply)
    except RecursionError as error:
        msg = f"the reply is nested too deeply: {_excerpt(reply)}"
        raise ProtocolError(msg) from error


def failure(reply: HttpReply) -> StoreError:
    """Make the error of a status outside of 2xx, where the store itself does not say more."""
    status, said = reply.status, _excerpt(reply)
    wait = retry_after(reply.headers.get("retry-after"))
    match status:
        case 401 | 403:
            hint = "has the token expired?" if status == 401 else "may this account read it?"  # noqa: PLR2004 - the statuses of the case
            return AuthError(f"{status}: the credentials were not accepted; {hint} {said}")
        case 413:
            return BatchTooLarge(f"413: the request is too large; {said}")
        case 429:
            return ThrottledError(f"429: the store asks to slow down; {said}", retry_after=wait)
        case 408 | 500 | 502 | 503 | 504:
            return StoreUnavailable(f"{status}: the store is in trouble; {said}", retry_after=wait)
        case _ if 300 <= status < 400:  # noqa: PLR2004 - what HTTP calls a redirect
            place = reply.headers.get("location", "nowhere").partition("?")[0]
            return RequestRejected(
                f"{status}: a redirect to {place}, which is not followed, so that no credential "
                "leaves; write the final address in the target"
            )
        case _:
            return RequestRejected(f"{status}: the store refuses the request; {said}")


def _excerpt(reply: HttpReply) -> str:
    kind = reply.headers.get("content-type", "no content type")
    text = bytes(reply.body[: 4 * _SHOWN]).decode("utf-8", errors="replace")[:_SHOWN]
    return f"it says ({kind}): {text!r}" if text else f"it says nothing ({kind})"


def _unsent(error: Exception, library: Any) -> StoreError:  # noqa: ANN401 - a module
    """Turn an error of the HTTP library into ours."""
    causes = [error, error.__cause__, error.__context__]
    while (last := causes[-1]) is not None:
        causes += [last.__cause__ or last.__context__]
    said = str(error) or type(error).__name__
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return StoreUnavailable(
            f"no secure connection: {said}; check the host name and the date, or name the file of "
            "its authority with connect(..., ca='ca.pem')",
            temporary=False,
        )
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return StoreUnavailable(f"the host is unknown: {said}", temporary=False, sent=False)
    if isinstance(error, (library.ConnectError, library.ConnectTimeout, library.PoolTimeout)):
        return StoreUnavailable(f"no connection: {said}; is the server running?", sent=False)
    if isinstance(error, (library.DecodingError, library.RemoteProtocolError)):
        return StoreUnavailable(f"the connection broke, or the reply is no HTTP: {said}")
    if isinstance(error, library.TransportError):
        return StoreUnavailable(f"the connection was lost: {said}")
    return RequestRejected(f"the request cannot be sent: {said}")


def _tell(error: FeatkitError, request: HttpRequest, attempts: int, seconds: float) -> None:
    """Say in the message what was asked, how often and for how long."""
    tries = f"{attempts} attempt{'s' * (attempts != 1)}, {seconds:.1f} s"
    error.args = (f"{request} ({tries}): {error}",)
