"""PostgreSQL: connections that are kept, one deadline, errors by name.

The only module that imports psycopg, which the extra ``postgres`` installs.
"""

from __future__ import annotations

import ipaddress
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from featkit.errors import (
    AuthError,
    FeatkitError,
    MissingExtraError,
    RequestRejected,
    StoreUnavailable,
    ThrottledError,
    UnknownNameError,
)

try:
    import psycopg
    from psycopg.conninfo import make_conninfo
except ImportError as missing:
    raise MissingExtraError("postgres", "lookups in PostgreSQL") from missing

from featkit.queries import Login, PostgresQuery
from featkit.transports.base import SLICE, Exchange, Transport
from featkit.transports.http import HttpTransport

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from featkit.calls import Call, Flow
    from featkit.errors import StoreError
    from featkit.transports.deadline import Deadline
    from featkit.transports.options import TransportOptions

T = TypeVar("T")

_PORT = 5432
_SHORTEST = 2  # seconds that libpq waits for a connection at least


class _Connection(psycopg.Connection[Any]):
    """A connection whose waits end with the deadline of the call that uses it."""

    deadline: Deadline | None = None

    def wait(
        self,
        gen: Generator[Any, Any, T],
        interval: float = SLICE,
        *args: Any,  # noqa: ANN401 - a time-out, in newer versions of psycopg
        **options: Any,  # noqa: ANN401 - or by its name
    ) -> T:
        """Wait for the server, in slices."""
        return super().wait(self._watched(gen), min(interval, SLICE), *args, **options)

    def _watched(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Run a generator of psycopg's, with a look at the deadline whenever it waits."""
        ready = None
        while True:
            try:
                wanted = next(gen) if ready is None else gen.send(ready)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if self.deadline is not None:
                self.deadline.left()
            ready = yield wanted


class PostgresTransport(Transport[PostgresQuery]):
    """Sends queries to PostgreSQL."""

    def __init__(
        self, options: TransportOptions, *, parent: PostgresTransport | None = None
    ) -> None:
        super().__init__(options, parent=parent)
        self._idle: dict[tuple[str, str], list[_Connection]] = {}
        self._logins: dict[str, Login] = {}
        self._asking = threading.Lock()
        # tokens are asked for over HTTP
        self._http: HttpTransport = (
            HttpTransport(options) if parent is None else parent._http.in_child()  # noqa: SLF001 - its own kind
        )

    def attempt(self, call: Call[T], exchange: Exchange[PostgresQuery]) -> T:
        """Run the query on a connection of its own."""
        query = exchange.request
        with self._connected(query, exchange) as connection:
            connection.deadline = exchange.deadline
            try:
                row = connection.execute(query.text, query.parameters).fetchone()
            except psycopg.Error as error:
                raise _named(error, connection) from error
        exchange.arrived()
        return call.decode(row)

    @contextmanager
    def _connected(
        self, query: PostgresQuery, exchange: Exchange[PostgresQuery]
    ) -> Iterator[_Connection]:
        """Take an idle connection, or open one; keep it unless the query failed with it."""
        place = (query.server, query.database)
        with self._lock:
            idle = self._idle.setdefault(place, [])
            connection = idle.pop() if idle else None
        if connection is None:
            connection = self._opened(query, exchange)
        try:
            yield connection
        except BaseException:
            broken = connection.closed
            self._close(connection)  # what it carries cannot be trusted
            with self._lock:
                if broken:  # the server went away, and took the others along
                    while idle:
                        self._close(idle.pop())
            raise
        with self._lock:
            idle.append(connection)

    def _opened(self, query: PostgresQuery, exchange: Exchange[PostgresQuery]) -> _Connection:
        login = self._asked(query, exchange)
        try:
            return self._logged_in(query, exchange, login)
        except AuthError:
            return self._logged_in(query, exchange, self._asked(query, exchange, instead_of=login))

    def _asked(
        self,
        query: PostgresQuery,
        exchange: Exchange[PostgresQuery],
        *,
        instead_of: Login | None = None,
    ) -> Login:
        """Find out who asks, over HTTP, unless that is known; one thread does."""
        with self._asking:
            known = self._logins.get(query.server)
            if known is None or known is instead_of:
                known = _run(query.login(), self._http, exchange.deadline)
                self._logins[query.server] = known
            return known

    def _logged_in(
        self, query: PostgresQuery, exchange: Exchange[PostgresQuery], login: Login
    ) -> _Connection:
        exchange.secrets.add(login.password.reveal())
        host, _, port = query.server.partition(":")
        left = exchange.deadline.left()
        limit = self._options.limits.connect.total_seconds()
        place = make_conninfo(
            host=host,
            port=port or _PORT,
            dbname=query.database,
            user=login.user,
            password=login.password.reveal(),
            connect_timeout=max(_SHORTEST, int(limit if left is None else min(limit, left))),
            options="-c TimeZone=UTC -c default_transaction_read_only=on",
            application_name="featkit",
            **_trust(host, query.ca),
        )
        try:
            return _Connection.connect(place, autocommit=True, prepare_threshold=1)
        except psycopg.Error as error:
            raise _named(error, None) from None  # the cause holds the password

    def disconnect(self) -> None:
        """Close all connections."""
        for connections in self._idle.values():
            for connection in connections:
                self._close(connection)
        self._idle.clear()
        self._http.disconnect()

    @staticmethod
    def _close(connection: _Connection) -> None:
        connection.deadline = None
        with suppress(psycopg.Error):
            connection.close()


def _run(flow: Flow[T], http: HttpTransport, deadline: Deadline) -> T:
    """Run a flow of single calls over HTTP."""
    try:
        call = next(flow)
        while True:
            try:
                answer: Any = http.send(call, call.request, deadline)  # type: ignore[union-attr,arg-type]
            except FeatkitError as error:
                call = flow.throw(error)
            else:
                call = flow.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        flow.close()


def _trust(host: str, ca: str | None) -> dict[str, str]:
    """Say how the server proves who it is; only on this machine it need not."""
    if _is_here(host) and ca is None:
        return {"sslmode": "prefer"}
    known = ca or ssl.get_default_verify_paths().cafile
    return {"sslmode": "verify-full", "sslrootcert": known or "system"}


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _named(error: psycopg.Error, connection: _Connection | None) -> StoreError | UnknownNameError:
    """Turn an error of PostgreSQL's into ours."""
    state = error.sqlstate or ""
    said = str(error).strip() or type(error).__name__
    if state.startswith("28") or (connection is None and "authentication failed" in said):
        return AuthError(f"the database does not accept the login: {said}")
    if connection is None:
        return StoreUnavailable(f"no connection: {said}", sent=False)
    if state == "53300":  # too many connections
        return ThrottledError(f"the database is full: {said}")
    if connection.closed or state[:2] in {"08", "57", "53", "40"}:
        return StoreUnavailable(f"the database is in trouble: {said}")
    if state == "42501":
        return AuthError(f"the login may not read this: {said}")
    if state in {"42P01", "42703", "3F000"}:
        return UnknownNameError(f"the database says: {said}")
    return RequestRejected(f"the database says: {state}: {said}")
