"""Redis: hashes read in pipelines, from one server, behind sentinels, or from a cluster.

redis-py connects, logs in and finds servers. What is asked of a connection then is written and
read here: as columns (`featkit.transports.resp`), within the deadline in force, and so that a
connection with an answer that was not read is never used again.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import hiredis
import numpy as np
import polars as pl
import pyarrow as pa
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.credentials import CredentialProvider
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel

from featkit.codecs.binary_columns import BinaryColumn, binaries
from featkit.codecs.redis_requests import RedisRead, RedisSample, RedisServer
from featkit.errors import AuthError, BatchTooLarge, ProtocolError, StoreUnavailable
from featkit.settings import Secret
from featkit.transports.base import SLICE, Exchange, Transport
from featkit.transports.redis_failures import Refused, Unconnected, named
from featkit.transports.resp import Replies, commands
from featkit.transports.slots import slots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from featkit.calls import Call
    from featkit.codecs.binary_columns import Places
    from featkit.transports.deadline import Deadline
    from featkit.transports.options import TransportOptions

T = TypeVar("T")

_PIECE = 256 * 1024  # bytes that are written between two looks at the deadline
_MOMENT = 0.005  # seconds without a byte after which what has come is counted


class RedisTransport(Transport[RedisRead | RedisSample]):
    """Reads hashes of a Redis."""

    ahead = 2  # it works on one while the answer to the other is read

    def __init__(self, options: TransportOptions, *, parent: RedisTransport | None = None) -> None:
        super().__init__(options, parent=parent)
        self._servers: dict[RedisServer, _Server] = {}

    def attempt(self, call: Call[T], exchange: Exchange[RedisRead | RedisSample]) -> T:
        """Send all commands at once, and read all replies."""
        request, deadline = exchange.request, exchange.deadline
        if isinstance(request.server.password, Secret):
            exchange.secrets.add(request.server.password.reveal())
        server = self._server(request.server)
        try:
            with named(request.server, deadline):
                if isinstance(request, RedisRead):
                    reply: Any = self._read(server, request, deadline)
                else:
                    reply = _sample(server, request.count)
        except StoreUnavailable:
            server.forget()
            raise
        exchange.arrived()
        return call.decode(reply)

    def _read(self, server: _Server, request: RedisRead, deadline: Deadline) -> list[BinaryColumn]:
        most = self._options.limits.reply
        routes = list(server.routes(request.keys))
        if len(routes) == 1:
            return _asked(routes[0][0], request.keys, request.fields, deadline, most)
        parts = [
            _asked(
                pool, request.keys.take(pl.Series(rows).to_arrow()), request.fields, deadline, most
            )
            for pool, rows in routes
        ]
        places = np.argsort(np.concatenate([rows for _, rows in routes]))
        return [_together(columns).take(places) for columns in zip(*parts, strict=True)]

    def _server(self, server: RedisServer) -> _Server:
        with self._lock:
            if server not in self._servers:
                kind = _Cluster if server.cluster else _Single
                self._servers[server] = kind(server, self._options)
            return self._servers[server]

    def disconnect(self) -> None:
        """Close the connections."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()


class _Server:
    """Where the connections to a server come from."""

    def __init__(self, server: RedisServer, options: TransportOptions) -> None:
        self.server = server
        self._options = options
        self._lock = threading.Lock()

    def routes(self, keys: pa.Array) -> Iterator[tuple[ConnectionPool, Places]]:
        """Tell which connections lead to which keys."""
        raise NotImplementedError

    def any(self) -> ConnectionPool:
        """Return connections to some part of it."""
        raise NotImplementedError

    def forget(self) -> None:
        """Look anew where the server is, the next time; connections find that out by themselves."""

    def close(self) -> None:
        """Close the connections."""
        raise NotImplementedError

    def _how(self) -> dict[str, Any]:
        """Say how to connect, in redis-py's words."""
        seconds = self._options.limits.connect.total_seconds()
        how: dict[str, Any] = {
            "protocol": 2,
            "socket_connect_timeout": seconds,
            "socket_timeout": seconds,  # until it has logged in; then the deadline counts
            "retry": Retry(NoBackoff(), 0),  # retries are not redis-py's
        }
        password = self.server.password
        if callable(password):
            how["credential_provider"] = _Asked(self.server.username, password)
        else:
            how["username"] = self.server.username or None
            how["password"] = password.reveal() if password else None
        return how

    def _encrypted(self) -> dict[str, Any]:
        return {"ssl_ca_certs": self._options.ca, "ssl_check_hostname": True}


class _Single(_Server):
    """One server, or the one that sentinels say is the master."""

    def __init__(self, server: RedisServer, options: TransportOptions) -> None:
        super().__init__(server, options)
        quiet = MaintNotificationsConfig(enabled=False)
        how = {**self._how(), "db": server.database, "maint_notifications_config": quiet}
        if server.master:
            timeouts = {name: how[name] for name in ("socket_timeout", "socket_connect_timeout")}
            sentinel = Sentinel(
                [_address(host) for host in server.hosts],
                sentinel_kwargs={**timeouts, "retry": how["retry"]},
                **how,
                **({"ssl": True, **self._encrypted()} if server.tls else {}),
            )
            self._pool: ConnectionPool = sentinel.master_for(server.master).connection_pool
            return
        host, port = _address(server.hosts[0])
        kind = SSLConnection if server.tls else Connection
        extra = self._encrypted() if server.tls else {}
        self._pool = ConnectionPool(kind, host=host, port=port, **how, **extra)

    def routes(self, keys: pa.Array) -> Iterator[tuple[ConnectionPool, Places]]:
        """Lead to all keys."""
        yield self._pool, np.arange(len(keys))

    def any(self) -> ConnectionPool:
        """Return its connections."""
        return self._pool

    def close(self) -> None:
        """Close the connections."""
        self._pool.disconnect()


class _Cluster(_Server):
    """A cluster, whose nodes are found when they are first needed."""

    def __init__(self, server: RedisServer, options: TransportOptions) -> None:
        super().__init__(server, options)
        self._client: Any = None

    def routes(self, keys: pa.Array) -> Iterator[tuple[ConnectionPool, Places]]:
        """Lead to the keys of each node."""
        nodes = self._nodes()
        slot_of = slots(BinaryColumn.of(keys))
        names: dict[str, list[int]] = {}
        for slot in np.unique(slot_of).tolist():
            names.setdefault(nodes.get_node_from_slot(slot).name, []).append(slot)
        for name, own in names.items():
            rows = np.flatnonzero(np.isin(slot_of, own))
            yield _pool_of(nodes.get_node(node_name=name)), rows

    def any(self) -> ConnectionPool:
        """Return connections to one node."""
        return _pool_of(self._nodes().get_node_from_slot(0))

    def forget(self) -> None:
        """Look anew where the keys are, the next time."""
        with self._lock:
            self._client = None  # not closed, since other threads may be using it

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _nodes(self) -> Any:  # noqa: ANN401 - redis-py's
        with self._lock:
            if self._client is None:
                self._client = RedisCluster(
                    startup_nodes=[ClusterNode(*_address(host)) for host in self.server.hosts],
                    maint_notifications_config=MaintNotificationsConfig(enabled=False),
                    **{name: value for name, value in self._how().items() if value is not None},
                    **({"ssl": True, **self._encrypted()} if self.server.tls else {}),
                )
            return self._client.nodes_manager


def _pool_of(node: Any) -> ConnectionPool:  # noqa: ANN401 - redis-py's
    pool: ConnectionPool = node.redis_connection.connection_pool
    return pool


class _Asked(CredentialProvider):
    """Asks for the password each time it connects."""

    def __init__(self, username: str, ask: Callable[[], str]) -> None:
        self._username, self._ask = username, ask

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return user and password, or the password alone."""
        try:
            password = self._ask()
        except Exception as error:
            msg = f"there is no password: what should return it raised {type(error).__name__}"
            raise AuthError(msg) from error
        return (self._username, password) if self._username else (password,)


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":")
    return name.strip("[]"), int(port)


# -- one exchange --------------------------------------------------------------------------------


def _asked(
    pool: ConnectionPool, keys: pa.Array, fields: tuple[bytes, ...], deadline: Deadline, most: int
) -> list[BinaryColumn]:
    """Ask one server for these fields of these keys."""
    with _connection(pool) as connection:
        wire = _Wire(connection, deadline)
        wire.write(commands(keys, fields))
        found = wire.read(Replies(len(keys), len(fields)), most)
        if isinstance(found[0], BinaryColumn):
            return found
        for reply in found:
            if isinstance(reply, hiredis.ReplyError):
                raise Refused(str(reply))
        if not all(isinstance(row, list) and len(row) == len(fields) for row in found):
            msg = "it answers with something else than the fields of hashes; is it a Redis?"
            raise ProtocolError(msg)
    return [BinaryColumn.of(binaries(each)) for each in zip(*found, strict=True)]


def _together(columns: Sequence[BinaryColumn]) -> BinaryColumn:
    return BinaryColumn.of(pa.concat_arrays([column.to_arrow() for column in columns]))


def _sample(server: _Server, count: int) -> list[bytes]:
    """Ask for keys at random; these few answers are read by redis-py."""
    with redis.Redis.from_pool(server.any()).pipeline(transaction=False) as pipeline:
        for _ in range(count):
            pipeline.randomkey()
        return [key for key in pipeline.execute() if key is not None]


@contextmanager
def _connection(pool: ConnectionPool) -> Iterator[Any]:
    """Lend a connection, which is closed unless all that was asked was read."""
    try:
        connection = pool.get_connection()
    except redis.RedisError as error:
        raise Unconnected from error
    try:
        yield connection
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


class _Wire:
    """The socket of a connection, within a deadline."""

    def __init__(self, connection: Any, deadline: Deadline) -> None:  # noqa: ANN401 - redis-py's
        # private, but what redis-py has instead reads one reply at a time, and makes objects of it
        self._socket = connection._sock  # noqa: SLF001
        self._deadline = deadline

    def write(self, data: memoryview) -> None:
        """Write all of it."""
        while data:
            self._wait()
            try:
                data = data[self._socket.send(data[:_PIECE]) :]
            except TimeoutError:
                continue

    def read(self, replies: Replies, most: int) -> list[Any]:
        """Read until all replies are there."""
        moving = False  # whether something has come lately
        while True:
            self._wait(_MOMENT if moving else SLICE)
            try:
                count = self._socket.recv_into(replies.room())
            except TimeoutError:
                if not moving:
                    replies.check()
                    continue
                moving = False
            else:
                if not count:
                    msg = "the connection was closed before the answer was complete"
                    raise ConnectionResetError(msg)
                moving = True
                replies.received(count)
            if (found := replies.read(quiet=not moving)) is not None:
                self._socket.settimeout(None)
                return found
            if replies.size > most:
                msg = f"the answer is larger than {most:,} bytes"
                raise BatchTooLarge(msg)

    def _wait(self, seconds: float = SLICE) -> None:
        left = self._deadline.left()
        self._socket.settimeout(seconds if left is None else min(left, seconds))
