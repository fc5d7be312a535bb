"""A container that is a Redis, which a team shares."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from featkit.cache.containers import LEASE, ContainerError, Log
from featkit.cache.storages import REMEMBERED, entry_of, key_of, lasting, masked_reason, to_evict
from featkit.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from featkit.cache.containers import Entry

_PREFIX = "featkit"


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

    def log(self, place: str) -> Log:
        """List the segments of a place."""
        with self._failures():
            steps = self.connection.pipeline(transaction=False)
            steps.get(_taken(place))
            steps.hgetall(_log(place))
            taken, lines = steps.execute()
        found = {int(field): entry_of(value) for field, value in lines.items()}
        return Log(taken, dict(sorted(found.items())))

    def append(
        self,
        place: str,
        parts: Sequence[tuple[Entry, bytes]],
        *,
        replaces: Sequence[int] = (),
        fewer: bool = False,
    ) -> list[int] | None:
        """Add segments: first the blobs, then their lines in the log, which are seen at once."""
        lines: dict[str, bytes] = {}
        with self._failures():
            for entry, blob in parts:
                number = int(self.connection.incr(f"{_PREFIX}:ids"))
                self.connection.set(_blob(place, number), blob, ex=lasting(entry))
                lines[str(number)] = msgspec.json.encode(entry)
            longest = max((lasting(entry) for entry, _ in parts), default=0)
            if not self._logged(place, lines, longest, list(map(str, replaces)), fewer=fewer):
                if lines:
                    self.connection.delete(*(_blob(place, int(number)) for number in lines))
                return None
        return [int(number) for number in lines]

    def _logged(
        self,
        place: str,
        lines: Mapping[str, bytes],
        longest: int,
        replaces: Sequence[str],
        *,
        fewer: bool,
    ) -> bool:
        """Put lines in the place of others; begin again where somebody else was quicker."""
        import redis  # noqa: PLC0415 - an extra

        with self.connection.pipeline() as steps:
            while True:
                steps.watch(_log(place))
                if replaces and None in steps.hmget(_log(place), replaces):
                    return False
                left = steps.ttl(_log(place))
                steps.multi()
                if lines:
                    steps.hset(_log(place), mapping=lines)
                    steps.expire(_log(place), max(left, longest))
                    steps.sadd(f"{_PREFIX}:places", place)
                if replaces:
                    steps.hdel(_log(place), *replaces)
                    steps.delete(*(_blob(place, int(old)) for old in replaces))
                if fewer:
                    _take(steps, place)
                steps.incr(f"{_PREFIX}:version")
                try:
                    steps.execute()
                except redis.WatchError:
                    continue
                return True

    @contextmanager
    def alone(self, place: str) -> Iterator[bool]:
        """Write down who is at work, for as long as that may take at the most."""
        name = f"{_PREFIX}:busy:{place}"
        with self._failures():
            mine = bool(self.connection.set(name, b"1", nx=True, ex=LEASE))
        yield mine
        if mine:
            with self._failures():
                self.connection.delete(name)

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
                    entry = entry_of(value)
                    if entry is not None and namespace in {None, entry.namespace}:
                        found[int(field)] = entry
        return dict(sorted(found.items()))

    def remove(self, ids: Iterable[int]) -> None:
        """Remove segments."""
        self._remove(self.entries(), ids)

    def _remove(
        self, entries: Mapping[int, Entry], ids: Iterable[int], *, missed: bool = True
    ) -> None:
        gone = set(ids) & entries.keys()
        with self._failures():
            steps = self.connection.pipeline()
            for number in gone:
                place = entries[number].place
                steps.hdel(_log(place), str(number))
                steps.delete(_blob(place, number))
            for place in {entries[number].place for number in gone} if missed else ():
                _take(steps, place)
            steps.incr(f"{_PREFIX}:version")
            steps.execute()

    def evict(self, most: int, now: int) -> int:
        """Remove what has expired, then the oldest."""
        entries = self.entries()
        expired, oldest = to_evict(entries, most, now)
        if expired:
            self._remove(entries, expired, missed=False)
        if oldest:
            self._remove(entries, oldest)
        return len(expired) + len(oldest)

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
            raise ContainerError(f"{self.name} cannot be used: {masked_reason(error)}") from error


def _take(steps: Any, place: str) -> None:  # noqa: ANN401 - a pipeline of redis-py
    """Have everybody forget what is known of a place."""
    steps.incr(_taken(place))
    steps.expire(_taken(place), REMEMBERED)


def _log(place: str) -> str:
    return f"{_PREFIX}:log:{place}"


def _blob(place: str, number: int) -> str:
    return f"{_PREFIX}:segment:{key_of(place, number)}"


def _taken(place: str) -> str:
    return f"{_PREFIX}:taken:{place}"
