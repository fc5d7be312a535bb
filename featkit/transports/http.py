"""HTTP: one pool of connections, one way to retry, one deadline, no secrets in what is said.

Nobody else sends with httpx; a client of another library with its API will do as well. Without
one, requests go to the pool on which httpx stands (`featkit.transports.pool`). asyncio uses the
same from threads: that costs less CPU than httpx's own async client, and a call that is cancelled
cannot lose a connection of the pool (``docs/decisions/0012-async-through-threads.md``).
"""

from __future__ import annotations

import ssl
import sys
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import getproxies

import httpx

from featkit import settings
from featkit.calls import Call, HttpReply, HttpRequest, HttpRequests
from featkit.errors import ClosedError, FeatkitError, ProtocolError, SettingsError
from featkit.transports import bodies, sockets
from featkit.transports.base import Exchange, Transport
from featkit.transports.failures import decoded, refusal, unsent
from featkit.transports.pool import Pool

if TYPE_CHECKING:
    from featkit.transports.deadline import Deadline
    from featkit.transports.options import Limits, TransportOptions

T = TypeVar("T")

_NOT_MODIFIED = 304
_SCHEMES = ("http", "https", "all")  # that a proxy may stand before


class _Reply(HttpReply):
    """A reply that does not show what it holds where variables are shown, as in tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<HttpReply {self.status}, {len(self.body):,} bytes>"


class HttpTransport(Transport[HttpRequest]):
    """Sends calls over HTTP."""

    def __init__(self, options: TransportOptions, *, parent: HttpTransport | None = None) -> None:
        super().__init__(options, parent=parent)
        # inherited: to make it anew takes locks of OpenSSL, which may have been held in the fork
        self.trust: ssl.SSLContext | None = parent.trust if parent else None
        self._client: Any = None

    def send(self, call: Call[T], request: HttpRequest | HttpRequests, deadline: Deadline) -> T:
        """Answer what may be answered from what is kept; send the rest, several in turn."""
        send = super().send
        if not isinstance(request, HttpRequest):
            each = replace(call, decode=request.read)
            return call.decode([send(each, one, deadline) for one in request.requests])
        kept = self._options.metadata
        if kept is None or not request.metadata:
            return send(call, request, deadline)

        def fetch(asked: HttpRequest) -> HttpReply:
            proved = Call(asked, partial(_proved, call), call.keys, call.explain)
            return send(proved, asked, deadline)

        return decoded(call, kept.answer(request, fetch, deadline))

    def attempt(self, call: Call[T], exchange: Exchange[HttpRequest]) -> T:
        """Send the request, with a second try where the credentials may be renewed."""
        reply = self.authorized(exchange.request, exchange, self.exchanged)
        exchange.arrived()
        answers = exchange.request.answers
        if reply.status == _NOT_MODIFIED and _is_conditional(exchange.request):
            return decoded(call, reply)
        if not 200 <= reply.status < 300 and reply.status not in answers:  # noqa: PLR2004 - what HTTP calls success
            raise refusal(call, _without_secrets(reply, exchange.hidden()))
        return decoded(call, reply)

    def exchanged(self, request: HttpRequest, exchange: Exchange[Any]) -> HttpReply:
        """Send a request as it is, once, and read the reply, whatever its status."""
        client, deadline = self._open_client(), exchange.deadline
        library = _library(client)
        left = deadline.left()
        connect = self._options.limits.connect.total_seconds()
        timeout = library.Timeout(left, connect=connect if left is None else min(connect, left))
        headers = {"Accept-Encoding": bodies.CODING, **request.headers}
        _check_headers(headers)
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
                stream = response.extensions.get("network_stream")
                if isinstance(stream, sockets.Stream):
                    exchange.drop_connection = stream.spoil
                    _check_answers(stream)
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
                    bare = not any(getproxies().get(each) for each in _SCHEMES)
                    self._client = (Pool if bare else _client)(self._options.limits, self.trust)
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

    def disconnect(self) -> None:
        """Close the connections, unless they are the caller's."""
        if self._client is not None and self._client is not self._options.client:
            self._client.close()
        self._client = None


def _proved(call: Call[Any], reply: HttpReply) -> HttpReply:
    """Return a reply that can be decoded, so that none is kept that cannot."""
    if reply.status != _NOT_MODIFIED:
        call.decode(reply)
    return reply


def _is_conditional(request: HttpRequest) -> bool:
    return any(name.lower().startswith("if-") for name in request.headers)


def _trust(ca: str | None) -> ssl.SSLContext:
    """Tell whom to trust: clients share it until the file that says so is another one."""
    environment = settings.variables("SSL_CERT_")  # which httpx obeys
    try:
        path = ca or environment.get("SSL_CERT_FILE")
        found = Path(path).stat() if path else None
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size) if found else None
        return _authorities(ca, frozenset(environment.items()), stamp)
    except OSError as error:
        named = f"ca={ca!r}" if ca else "the file that SSL_CERT_FILE or SSL_CERT_DIR names"
        msg = f"{named} cannot be read as certificates in PEM format: {error}"
        raise SettingsError(msg) from error


@lru_cache(8)
def _authorities(
    ca: str | None,
    environment: frozenset[tuple[str, str]],  # noqa: ARG001 - httpx reads it itself
    stamp: tuple[int, ...] | None,  # noqa: ARG001 - of the file, for the cache
) -> ssl.SSLContext:
    """Read certificates, which takes longer than all else that a new client does."""
    return ssl.create_default_context(cafile=ca) if ca else httpx.create_ssl_context()


def _client(limits: Limits, trust: ssl.SSLContext) -> httpx.Client:
    kept = httpx.Limits(
        max_connections=limits.connections,
        max_keepalive_connections=limits.connections,
        keepalive_expiry=limits.keep_alive.total_seconds(),
    )
    return httpx.Client(verify=trust, follow_redirects=False, limits=kept)


def _library(client: object) -> Any:  # noqa: ANN401 - httpx, or a module with its API
    """Find the module whose API a client has: httpx, httpx2, or what their subclass is made of."""
    if isinstance(client, Pool):
        return httpx
    for kind in type(client).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if kind.__name__ == "Client" and hasattr(module, "HTTPError"):
            return module
    msg = (
        f"client= must be a synchronous client with httpx's API, such as httpx.Client(), not "
        f"{type(client).__name__}; featkit uses it for async calls as well"
    )
    raise SettingsError(msg)


def _check_headers(headers: dict[str, str]) -> None:
    """Refuse what HTTP cannot carry, before a library does and shows it."""
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            msg = f"the header {name!r} holds a newline or another character that HTTP refuses"
            raise SettingsError(msg)


def _check_answers(stream: sockets.Stream) -> None:
    """Refuse a response that was there before the request: it answers something else."""
    if not stream.answered:
        msg = "the connection carried more than the reply before; what was left over is no answer"
        raise ProtocolError(msg)


def _without_secrets(reply: HttpReply, secrets: list[str]) -> HttpReply:
    """Hide credentials in a reply that is going to be shown; some servers repeat them."""
    body = reply.body
    for secret in secrets:
        body = body.replace(secret.encode(), b"***")
    return replace(reply, body=body)
