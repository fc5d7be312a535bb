"""What can be asked of a Redis: requests, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    import pyarrow as pa

    from featkit.settings import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """A Redis, or several that are one, and how to log in.

    Attributes
    ----------
    hosts
        ``HOST:PORT`` of the server; of the sentinels; or of some nodes of the cluster.
    database
        Number of the database.
    tls
        Whether the connection is encrypted.
    master
        Name of the master that the sentinels watch; empty: they are no sentinels.
    cluster
        Whether they are nodes of a cluster.
    username, password
        What it asks for; the password may be a callable that returns it, for tokens that expire.
    """

    hosts: tuple[str, ...]
    database: int = 0
    tls: bool = False
    master: str = ""
    cluster: bool = False
    username: str = ""
    password: Secret | Callable[[], str] | None = None

    def __str__(self) -> str:
        number = f"/{self.database}" if not self.cluster else ""
        return f"redis{'s' * self.tls}://{','.join(self.hosts)}{number}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RedisRead:
    """Some fields of many hashes of a Redis.

    The reply is one `BinaryColumn` per field, with a row for each key, null
    where there is no such hash or field.

    Attributes
    ----------
    server
        Whom to ask.
    keys
        Where the hashes are (large binary).
    fields
        Which fields, at least one.
    """

    server: RedisServer
    keys: pa.Array
    fields: tuple[bytes, ...]

    transport: ClassVar[str] = "featkit.transports.redis:RedisTransport"
    idempotent: ClassVar[bool] = True

    @property
    def host(self) -> str:
        """The server."""
        return str(self.server)

    def alike(self) -> Hashable:
        """Return the server and the hashes."""
        return self.server, *(buffer and buffer.to_pybytes() for buffer in self.keys.buffers())

    def joined(self, others: Sequence[RedisRead]) -> tuple[RedisRead, list[Callable[[Any], Any]]]:
        """Return one request for the fields of all."""
        requests = [self, *others]
        fields = tuple(dict.fromkeys(name for each in requests for name in each.fields))
        places = [[fields.index(name) for name in each.fields] for each in requests]
        return replace(self, fields=fields), [partial(_picked, own) for own in places]

    def __str__(self) -> str:
        return f"HMGET of {len(self.keys):,} keys at {self.server}"


def _picked(places: Sequence[int], columns: Sequence[Any]) -> list[Any]:
    return [columns[place] for place in places]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSample:
    """Some keys that a Redis holds, at random; none where it holds none.

    The reply is a list of as many keys at the most, which may repeat.

    Attributes
    ----------
    server
        Whom to ask.
    count
        How many.
    """

    server: RedisServer
    count: int

    transport: ClassVar[str] = "featkit.transports.redis:RedisTransport"
    idempotent: ClassVar[bool] = True

    @property
    def host(self) -> str:
        """The server."""
        return str(self.server)

    def __str__(self) -> str:
        return f"RANDOMKEY at {self.server}"
