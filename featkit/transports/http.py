"""HTTP: one pool of connections, one way to retry, one deadline, no secrets in what is said.

The only module that imports httpx; a client of another library with its API will do as well.
asyncio uses the same client from threads: that costs less CPU than httpx's own async client, and
a call that is cancelled cannot lose a connection of the pool
(``docs/decisions/0012-async-through-threads.md``).
"""

from __future__ import annotations

import logging
import ssl
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import stamina

from featkit.calls import HttpReply
from featkit.errors import (
    ClosedError,
    FeatkitError,
    ProtocolError,
    SettingsError,
    StoreUnavailable,
    ThrottledError,
)
from featkit.transports import bodies, sockets
from featkit.transports.deadline import in_force
from featkit.transports.failures import decoded, refusal, unsent
from featkit.transports.policy import Attempts, Budget, Concurrency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.calls import Call, HttpRequest
    from featkit.transports.deadline import Deadline
    from featkit.transports.options import HttpOptions, Limits

T = TypeVar("T")

# without a handler of its own every retry would print a line where logging is not set up
logging.getLogger("stamina").addHandler(logging.NullHandler())

_SHORTEST_SECRET = 8  # characters; to hide shorter ones would hide words


@dataclass(slots=True)
class _Host:
    """What is learnt of a host: how much it bears."""

    concurrency: Concurrency
    budget: Budget = field(default_factory=Budget)


@dataclass(slots=True, eq=False)
class _Exchange:
    """One call under way, and what is known of it."""

    request: HttpRequest
    host: _Host
    attempts: Attempts
    deadline: Deadline
    stream: Any = None
    secrets: set[str] = field(default_factory=set, repr=False)

    def drop_connection(self) -> None:
        """Have the connection of the last reply closed, since what it carries cannot be trusted."""
        if isinstance(self.stream, sockets.Stream):
            self.stream.spoil()

    def without_secrets(self, reply: HttpReply) -> HttpReply:
        """Hide credentials in a reply that is going to be shown; some servers repeat them."""
        body = reply.body
        for secret in self._hidden():
            body = body.replace(secret.encode(), b"***")
        return replace(reply, body=body)

    def tell(self, error: FeatkitError) -> None:
        """Say in the message what was asked, how often and for how long."""
        made = self.attempts.made
        tries = f"{made} attempt{'s' * (made != 1)}, {self.deadline.elapsed:.1f} s"
        scheme, _, place = self.request.url.partition("?")[0].rpartition("://")
        host, slash, path = place.partition("/")
        url = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
        error.args = (f"{self.request.method} {url} ({tries}): {error}",)

    def hide_secrets(self, error: FeatkitError) -> None:
        """Hide credentials in a message, before anybody logs it."""
        text = str(error)
        for secret in self._hidden():
            text = text.replace(secret, "***")
        error.args = (text,)

    def _hidden(self) -> list[str]:
        return sorted(self.secrets, key=len, reverse=True)


class _Reply(HttpReply):
    """A reply that does not show what it holds where variables are shown, as in tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<HttpReply {self.status}, {len(self.body):,} bytes>"


class HttpTransport:
    """Sends calls over HTTP; used by all threads of a process at once.

    Parameters
    ----------
    options
        How.
    parent
        The transport of the process that this one was forked from.
    """

    def __init__(self, options: HttpOptions, *, parent: HttpTransport | None = None) -> None:
        self._options = options
        self._parent = parent  # kept, so that nothing here closes its sockets
        # inherited: to make it anew takes locks of OpenSSL, which may have been held in the fork
        self.trust: ssl.SSLContext | None = parent.trust if parent else None
        self._hosts: dict[str, _Host] = {}
        self._running: set[_Exchange] = set()
        self._closed: FeatkitError | None = None
        self._lock = threading.RLock()  # a garbage collection within it may close another one
        self._client: Any = None

    def send(self, call: Call[T], request: HttpRequest, deadline: Deadline) -> T:
        """Send a request until it is answered or there is no point, and decode the answer.

        Raises
        ------
        StoreError
            With what was asked, how often and for how long; the cause is kept.
        """
        part = deadline.within(self._options.limits.patience)
        host = self._host(request.url)
        attempts = Attempts(self._options.retry, host.budget, part, idempotent=request.idempotent)
        exchange = _Exchange(request, host, attempts, part)
        try:
            with self._under_way(exchange), in_force(part):
                # the waits are not stamina's, which nothing could end
                for attempt in stamina.retry_context(
                    on=attempts.again, attempts=None, timeout=None, wait_initial=0, wait_jitter=0
                ):
                    with attempt:
                        attempts.begin()
                        return self._once(call, exchange)
        except FeatkitError as error:
            exchange.tell(error)
            raise
        msg = "a retry loop ended without result"  # stamina returns or raises
        raise AssertionError(msg)

    def _host(self, url: str) -> _Host:
        with self._lock:
            name = url.partition("://")[2].partition("/")[0]
            if name not in self._hosts:
                self._hosts[name] = _Host(Concurrency(self._options.limits.connections))
            return self._hosts[name]

    @contextmanager
    def _under_way(self, exchange: _Exchange) -> Iterator[None]:
        with self._lock:
            if self._closed is not None:
                exchange.deadline.abandon(self._closed)
            self._running.add(exchange)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(exchange)
                self._close_when_idle()

    def _once(self, call: Call[T], exchange: _Exchange) -> T:
        host = exchange.host
        with host.concurrency.slot(exchange.deadline):
            try:
                reply = self._authorized(exchange)
                if not 200 <= reply.status < 300:  # noqa: PLR2004 - what HTTP calls success
                    raise refusal(call, exchange.without_secrets(reply))
                result = decoded(call, reply)
            except FeatkitError as error:
                exchange.hide_secrets(error)
                if isinstance(error, ProtocolError):
                    exchange.drop_connection()
                elif _asks_to_slow_down(error):
                    host.concurrency.throttled()
                raise
        host.concurrency.succeeded()
        host.budget.succeeded()
        return result

    def _authorized(self, exchange: _Exchange) -> HttpReply:
        request = exchange.request
        if self._options.auth is None:
            return self._sent(request, exchange)
        flow = self._options.auth.auth_flow(request)
        wanted = next(flow)
        while True:
            exchange.secrets |= _added(wanted, request)
            reply = self._sent(wanted, exchange)
            try:
                wanted = flow.send(reply)
            except StopIteration:
                return reply

    def _sent(self, request: HttpRequest, exchange: _Exchange) -> HttpReply:
        client, deadline = self._open_client(), exchange.deadline
        library = _library(client)
        left = deadline.left()
        connect = self._options.limits.connect.total_seconds()
        timeout = library.Timeout(left, connect=connect if left is None else min(connect, left))
        headers = {"Accept-Encoding": bodies.CODING, **request.headers}
        _check_headers(headers)
        exchange.stream = None
        try:
            outgoing = client.build_request(
                request.method,
                request.url,
                content=request.body or None,
                headers=headers,
                timeout=timeout,
            )
            response = client.send(outgoing, stream=True, follow_redirects=False)
            try:
                exchange.stream = response.extensions.get("network_stream")
                _check_answers(response)
                body = bodies.read_body(response, self._options.limits.reply, deadline)
            finally:
                response.close()
        except library.HTTPError as error:
            deadline.left()  # a wait that ended because the time was up is that, whatever it says
            raise unsent(error, library) from error
        except library.InvalidURL as error:
            msg = f"the address cannot be used: {error}"
            raise SettingsError(msg) from error
        except FeatkitError as error:
            # without the frames of the library, which hold the request as it is sent
            raise error.with_traceback(None) from error.__cause__
        told = {name.lower(): value for name, value in response.headers.items()}
        return _Reply(response.status_code, told, body)

    def _open_client(self) -> Any:  # noqa: ANN401 - a client with httpx's API
        """Return the client of this process; a forked process must not share sockets."""
        with self._lock:
            if self._client is None:
                self._client = self._options.client
                if self._client is None:
                    self.trust = self.trust or _trust(self._options.ca)
                    self._client = _client(self._options.limits, self.trust)
                sockets.guard(self._client)
            if self._parent is not None and self._options.client is not None:
                msg = (
                    "client= was used before this process was forked, and its connections belong "
                    "to the other one; connect anew in each process"
                )
                raise SettingsError(msg)
            if getattr(self._client, "is_closed", False):
                msg = "the HTTP client that was passed as client= is closed"
                raise ClosedError(msg)
            return self._client

    def close(self, reason: FeatkitError) -> None:
        """End what runs with an error, and close the connections, unless they are the caller's."""
        with self._lock:
            self._closed = reason
            for exchange in self._running:
                exchange.deadline.abandon(reason)
            self._close_when_idle()

    def _close_when_idle(self) -> None:
        # a socket that is closed while a thread reads from it may be another one by then
        if self._closed is not None and not self._running and self._client is not None:
            if self._client is not self._options.client:
                self._client.close()
            self._client = None

    def in_child(self) -> HttpTransport:
        """Return the transport to use in a process that was just forked from this one's."""
        return HttpTransport(self._options, parent=self)


def _trust(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca) if ca else httpx.create_ssl_context()
    except OSError as error:
        named = f"ca={ca!r}" if ca else "the file that SSL_CERT_FILE or SSL_CERT_DIR names"
        msg = f"{named} cannot be read as certificates in PEM format: {error}"
        raise SettingsError(msg) from error


def _client(limits: Limits, trust: ssl.SSLContext) -> httpx.Client:
    return httpx.Client(
        verify=trust,
        follow_redirects=False,
        limits=httpx.Limits(
            max_connections=limits.connections,
            max_keepalive_connections=limits.connections,
            keepalive_expiry=limits.keep_alive.total_seconds(),
        ),
    )


def _asks_to_slow_down(error: FeatkitError) -> bool:
    return isinstance(error, ThrottledError) or (
        isinstance(error, StoreUnavailable) and error.retry_after is not None
    )


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
    raise SettingsError(msg)


def _added(signed: HttpRequest, request: HttpRequest) -> set[str]:
    """Find the credentials in what an `Auth` added to a request."""
    added = {value for name, value in signed.headers.items() if request.headers.get(name) != value}
    words = {word for value in added for word in (value, *value.split())}
    return {str(word) for word in words if len(word) >= _SHORTEST_SECRET}


def _check_headers(headers: dict[str, str]) -> None:
    """Refuse what HTTP cannot carry, before a library does and shows it."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            msg = f"the header {name!r} holds a newline or another character that HTTP refuses"
            raise SettingsError(msg)


def _check_answers(response: Any) -> None:  # noqa: ANN401 - with httpx's API
    """Refuse a response that was there before the request: it answers something else."""
    stream = response.extensions.get("network_stream")
    if isinstance(stream, sockets.Stream) and not stream.answered:
        msg = "the connection carried more than the reply before; what was left over is no answer"
        raise ProtocolError(msg)
