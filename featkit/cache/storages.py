"""Containers made of requests-cache's storages: a Redis, a folder of files, and its others."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from featkit.cache.containers import ContainerError, Entry
from featkit.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence

_DIGITS = 32  # hex digits of a place
_PREFIX = "featkit"
_SECONDS = 1_000_000  # microseconds


class _Blob(bytes):
    """Bytes that requests-cache lets expire: it reads these attributes."""

    expires_unix: int | None = None
    expires_delta: int | None = None


def raw() -> Any:  # noqa: ANN401 - a serializer of requests-cache
    """Make the serializer that leaves bytes as they are; the usual one would unpickle."""
    from requests_cache.serializers import SerializerPipeline, Stage  # noqa: PLC0415 - 0.3 s

    stage = Stage(dumps=bytes, loads=bytes)
    return SerializerPipeline([stage], name="raw", is_binary=True)


class StorageContainer:
    """Segments in any storage of requests-cache, which is a mapping from text to bytes.

    Each value is a length, the facts about the segment in JSON, and the segment. Keys are hex
    digits, since some storages make file names or SQL of them.

    Parameters
    ----------
    storage
        The storage; its serializer is replaced, since most would unpickle what they read.
    """

    def __init__(self, storage: MutableMapping[str, bytes]) -> None:
        self.kind = type(storage).__name__
        self.name = f"the cache in a {self.kind}"
        if hasattr(storage, "serializer"):
            storage.serializer = raw()
            if hasattr(storage, "is_binary"):
                storage.is_binary = True
        self._storage: Any = storage

    def version(self) -> object:
        """Tell nothing: these storages do not say when somebody has written."""
        return None

    def ids(self, place: str) -> list[int]:
        """List the segments of a place."""
        with self._failures():
            names = [str(name) for name in self._storage]
        return sorted(int(name[_DIGITS:], 16) for name in names if _is_ours(name, place))

    def read(self, place: str, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Read segments one by one."""
        for number in ids:
            if (value := self._value(_key(place, number))) is not None:
                yield number, value[1]

    def append(self, entry: Entry, blob: bytes, *, replaces: Sequence[int] = ()) -> int | None:
        """Add a segment, and then remove those that it replaces."""
        number = time.time_ns()
        head = msgspec.json.encode(entry)
        value = _Blob(len(head).to_bytes(4, "little") + head + blob)
        value.expires_delta = _lasting(entry)
        value.expires_unix = int(time.time()) + value.expires_delta
        with self._failures():
            self._storage[_key(entry.place, number)] = value
            self._forget([_key(entry.place, old) for old in replaces])
        return number

    def entries(self, namespace: str | None = None) -> dict[int, Entry]:
        """List all segments by id, or those of one namespace."""
        with self._failures():
            names = [str(name) for name in self._storage]
        found = {}
        for name in names:
            value = self._value(name) if _is_ours(name, name[:_DIGITS]) else None
            if value is not None and namespace in {None, value[0].namespace}:
                found[int(name[_DIGITS:], 16)] = value[0]
        return dict(sorted(found.items()))

    def remove(self, ids: Iterable[int]) -> None:
        """Remove segments."""
        wanted = {f"{number:016x}" for number in ids}
        with self._failures():
            names = [str(name) for name in self._storage]
            self._forget([name for name in names if name[_DIGITS:] in wanted])

    def evict(self, most: int, now: int) -> int:
        """Remove what has expired, then the oldest."""
        gone = to_evict(self.entries(), most, now)
        if gone:
            self.remove(gone)
        return len(gone)

    def compact(self) -> None:
        """Do nothing: a storage gives back room by itself."""

    def close(self) -> None:
        """Let go of connections."""
        if hasattr(self._storage, "close"):
            self._storage.close()

    def start_anew(self) -> None:
        """Do nothing: the storages' clients look at the process themselves."""

    def _value(self, key: str) -> tuple[Entry, bytes] | None:
        """Read a value; None where there is none, or none of ours."""
        try:
            with self._failures():
                value = self._storage[key]
        except KeyError:
            return None
        if not isinstance(value, bytes):
            return None
        size = int.from_bytes(value[:4], "little")
        entry = _entry(value[4 : 4 + size])
        return None if entry is None else (entry, value[4 + size :])

    def _forget(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        if hasattr(self._storage, "bulk_delete"):
            self._storage.bulk_delete(keys)
            return
        for key in keys:
            self._storage.pop(key, None)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn whatever a storage raises into the one error; which those are, nobody says."""
        try:
            yield
        except KeyError:
            raise
        except Exception as error:
            raise ContainerError(f"{self.name} cannot be used: {_reason(error)}") from error


class RedisContainer:
    """Segments in a Redis that a team shares.

    Beside the segments, which Redis lets expire, a hash for each place lists them, so that nobody
    has to scan all keys of the Redis, and a counter tells whether anybody has written.

    Parameters
    ----------
    connection
        A client of redis-py.
    name
        What to call it in messages, without its password.
    """

    kind = "redis"

    def __init__(self, connection: Any, name: str) -> None:  # noqa: ANN401 - redis-py is an extra
        self.connection, self.name = connection, name

    @classmethod
    def at(cls, url: str) -> RedisContainer:
        """Prepare to use the Redis of a URL; it is not asked yet."""
        parts = urlsplit(url)
        try:
            place = f"{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"
            import redis  # noqa: PLC0415 - an extra

            options = {"health_check_interval": 30}
            if parts.scheme != "unix":
                options |= {"socket_timeout": 5, "socket_connect_timeout": 1}
            connection = redis.Redis.from_url(url, **options)
        except ImportError as error:
            raise MissingExtraError("redis", "a cache in Redis") from error
        except ValueError:  # it may hold a password, so the text is not repeated
            msg = "the address of a Redis is written as redis://HOST:PORT/DB"
            raise SettingsError(msg) from None
        return cls(connection, f"the Redis at {place}")

    def version(self) -> object:
        """Return the counter of what was written."""
        with self._failures():
            return self.connection.get(f"{_PREFIX}:version") or b"0"

    def ids(self, place: str) -> list[int]:
        """List the segments of a place."""
        with self._failures():
            return sorted(int(field) for field in self.connection.hkeys(_log(place)))

    def append(self, entry: Entry, blob: bytes, *, replaces: Sequence[int] = ()) -> int | None:
        """Add a segment: first the blob, then its line in the log."""
        with self._failures():
            number = int(self.connection.incr(f"{_PREFIX}:ids"))
            self.connection.set(_blob(entry.place, number), blob, ex=_lasting(entry))
            steps = self.connection.pipeline()
            steps.hset(_log(entry.place), str(number), msgspec.json.encode(entry))
            steps.expire(_log(entry.place), _lasting(entry))
            steps.sadd(f"{_PREFIX}:places", entry.place)
            if replaces:
                steps.hdel(_log(entry.place), *map(str, replaces))
                steps.delete(*(_blob(entry.place, old) for old in replaces))
            steps.incr(f"{_PREFIX}:version")
            steps.execute()
        return number

    def read(self, place: str, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Read segments; what has expired meanwhile is taken out of the log."""
        for number in ids:
            with self._failures():
                value = self.connection.get(_blob(place, number))
                if value is None:
                    self.connection.hdel(_log(place), str(number))
            if value is not None:
                yield number, value

    def entries(self, namespace: str | None = None) -> dict[int, Entry]:
        """List all segments by id, or those of one namespace."""
        found = {}
        with self._failures():
            places = [place.decode() for place in self.connection.smembers(f"{_PREFIX}:places")]
            for place in places:
                log = self.connection.hgetall(_log(place))
                if not log:
                    self.connection.srem(f"{_PREFIX}:places", place)
                for field, value in log.items():
                    entry = _entry(value)
                    if entry is not None and namespace in {None, entry.namespace}:
                        found[int(field)] = entry
        return dict(sorted(found.items()))

    def remove(self, ids: Iterable[int]) -> None:
        """Remove segments."""
        entries = self.entries()
        with self._failures():
            steps = self.connection.pipeline()
            for number in set(ids) & entries.keys():
                place = entries[number].place
                steps.hdel(_log(place), str(number))
                steps.delete(_blob(place, number))
            steps.incr(f"{_PREFIX}:version")
            steps.execute()

    def evict(self, most: int, now: int) -> int:
        """Remove what has expired, then the oldest."""
        gone = to_evict(self.entries(), most, now)
        if gone:
            self.remove(gone)
        return len(gone)

    def compact(self) -> None:
        """Do nothing: a Redis gives back room by itself."""

    def close(self) -> None:
        """Let go of connections."""
        self.connection.close()

    def start_anew(self) -> None:
        """Do nothing: redis-py looks at the process itself."""

    @contextmanager
    def _failures(self) -> Iterator[None]:
        import redis  # noqa: PLC0415 - an extra

        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise ContainerError(f"{self.name} cannot be used: {_reason(error)}") from error


def to_evict(entries: Mapping[int, Entry], most: int, now: int) -> list[int]:
    """Choose what has expired, and then the oldest, until `most` bytes are left."""
    gone = [number for number, entry in entries.items() if entry.expires < now]
    left = sum(entry.size for entry in entries.values() if entry.expires >= now)
    for number, entry in sorted(entries.items()):
        if left <= most:
            break
        if entry.expires >= now:
            gone.append(number)
            left -= entry.size
    return gone


def _lasting(entry: Entry) -> int:
    """Tell for how many seconds from now a segment is kept, whatever the client's clock shows."""
    return max(1, (entry.expires - entry.fetched) // _SECONDS + 1)


def _log(place: str) -> str:
    return f"{_PREFIX}:log:{place}"


def _blob(place: str, number: int) -> str:
    return f"{_PREFIX}:segment:{_key(place, number)}"


def _entry(value: bytes) -> Entry | None:
    """Read the facts about a segment; None: they are something else."""
    try:
        return msgspec.json.decode(value, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _key(place: str, number: int) -> str:
    return f"{place}{number:016x}"


def _is_ours(name: str, place: str) -> bool:
    tail = name[_DIGITS:]
    return name[:_DIGITS] == place and len(tail) == 16 and set(tail) <= set("0123456789abcdef")  # noqa: PLR2004


def _reason(error: Exception) -> str:
    """Tell what went wrong in one line, without addresses, which may hold a password."""
    text = str(error).partition("\n")[0]
    return type(error).__name__ if "://" in text else f"{type(error).__name__}: {text}"
