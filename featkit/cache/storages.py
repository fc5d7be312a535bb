"""Containers made of requests-cache's storages: a folder of files, DynamoDB, and its others."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from featkit.cache.containers import ContainerError, Entry, Log
from featkit.codecs import json_messages
from featkit.errors import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence

_DIGITS = 32  # hex digits of a place
_SECONDS = 1_000_000  # microseconds
REMEMBERED = 30 * 86_400  # seconds for which it is known that rows were taken away
_REMOTE = {
    "DynamoDbDict": (350_000, 10.0),
    "MongoDict": (15_000_000, 10.0),
    "GridFSDict": (None, 10.0),
}
"""Bytes that fit into one value, and seconds after which the names are listed again."""


class _Blob(bytes):
    """Bytes that requests-cache lets expire: it reads these attributes."""

    expires_unix: int | None = None
    expires_delta: int | None = None

    @classmethod
    def lasting(cls, content: bytes, seconds: int) -> _Blob:
        """Make bytes that are kept for so long."""
        blob = cls(content)
        blob.expires_delta, blob.expires_unix = seconds, int(time.time()) + seconds
        return blob


def raw() -> Any:  # noqa: ANN401 - a serializer of requests-cache
    """Make the serializer that leaves bytes as they are; the usual one would unpickle."""
    from requests_cache.serializers import SerializerPipeline, Stage  # noqa: PLC0415 - 0.3 s

    stage = Stage(dumps=bytes, loads=bytes)
    return SerializerPipeline([stage], name="raw", is_binary=True)


class StorageContainer:
    """Segments in any storage of requests-cache, which is a mapping from text to bytes.

    Each value is a length, the facts about the segment in JSON, and the segment. Where a value must
    not be that large, it tells in how many others the segment is. Keys are hex digits, since some
    storages make file names or SQL of them.

    Parameters
    ----------
    storage
        The storage; its serializer is replaced, since most would unpickle what they read.
    late
        For how many seconds it need not be looked whether others have written; None: as is usual
        for such a storage. To list what is there costs a scan, which DynamoDB bills.
    """

    def __init__(self, storage: MutableMapping[str, bytes], *, late: float | None = None) -> None:
        self.kind = type(storage).__name__
        self._most, usual = _REMOTE.get(self.kind, (None, 0.0))
        self._late = usual if late is None else late
        self.name = f"the cache in a {self.kind}"
        if hasattr(storage, "serializer"):
            storage.serializer = raw()
            if hasattr(storage, "is_binary"):
                storage.is_binary = True
        self._storage: Any = storage
        self._last = 0  # number of the last segment: clocks may stand still

    def version(self) -> object:
        """Guess by the clock: these storages do not say when somebody has written."""
        return int(time.monotonic() / self._late) if self._late else None

    def log(self, place: str) -> Log:
        """List the segments of a place, of which no more is known than their names."""
        with self._failures():
            names = [str(name) for name in self._storage]
            taken = self._storage.get(_mark(place))
        numbers = sorted(int(name[_DIGITS:], 16) for name in names if _is_ours(name, place))
        return Log(taken, dict.fromkeys(numbers))

    def read(self, place: str, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Read segments one by one."""
        for number in ids:
            if (blob := self._blob(key_of(place, number))) is not None:
                yield number, blob

    def append(
        self,
        place: str,
        parts: Sequence[tuple[Entry, bytes]],
        *,
        replaces: Sequence[int] = (),
        fewer: bool = False,
    ) -> list[int] | None:
        """Add segments, and then remove those that they replace."""
        old = [key_of(place, number) for number in replaces]
        numbers = []
        with self._failures():
            if not all(key in self._storage for key in old):
                return None
            for entry, blob in parts:
                self._last = number = max(time.time_ns(), self._last + 1)
                self._put(key_of(place, number), entry, blob)
                numbers.append(number)
            self._forget(old)
            if fewer:
                self._take({place})
        return numbers

    @contextmanager
    def alone(self, place: str) -> Iterator[bool]:  # noqa: ARG002 - as everywhere
        """Say yes: these storages know nothing that two could not do at once."""
        yield True

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
        gone = self._remove(ids)
        with self._failures():
            self._take({name[:_DIGITS] for name in gone})

    def evict(self, most: int, now: int) -> int:
        """Remove what has expired, then the oldest."""
        expired, oldest = to_evict(self.entries(), most, now)
        if expired:
            self._remove(expired)
        if oldest:
            self.remove(oldest)
        return len(expired) + len(oldest)

    def compact(self) -> None:
        """Do nothing: a storage gives back room by itself."""

    def close(self) -> None:
        """Let go of connections."""
        if hasattr(self._storage, "close"):
            self._storage.close()

    def start_anew(self) -> None:
        """Do nothing: the storages' clients look at the process themselves."""

    def _remove(self, ids: Iterable[int]) -> list[str]:
        wanted = {f"{number:016x}" for number in ids}
        with self._failures():
            names = [str(name) for name in self._storage]
            gone = [name for name in names if name[_DIGITS:] in wanted]
            self._forget(gone)
        return gone

    def _take(self, places: Iterable[str]) -> None:
        """Have everybody forget what is known of places."""
        for place in places:
            mark = uuid.uuid4().hex.encode()
            self._storage[_mark(place)] = _Blob.lasting(mark, REMEMBERED)

    def _put(self, key: str, entry: Entry, blob: bytes) -> None:
        """Write a segment; what tells of it is written last."""
        head, most = msgspec.json.encode(entry), self._most
        parts = [blob[i : i + most] for i in range(0, len(blob), most)] if most else []
        for number, part in enumerate(parts):
            self._storage[f"{key}-{number}"] = _Blob.lasting(part, lasting(entry))
        sizes = len(head).to_bytes(2, "little") + len(parts).to_bytes(2, "little")
        content = sizes + head + (b"" if most else blob)
        self._storage[key] = _Blob.lasting(content, lasting(entry))

    def _value(self, key: str) -> tuple[Entry, int, bytes] | None:
        """Read the facts, the number of parts, and what follows; None: there is none of ours."""
        value = self._get(key)
        if value is None:
            return None
        size, parts = (int.from_bytes(value[i : i + 2], "little") for i in (0, 2))
        entry = entry_of(value[4 : 4 + size])
        return None if entry is None else (entry, parts, value[4 + size :])

    def _blob(self, key: str) -> bytes | None:
        """Read a segment; None: it is not there, or not whole any more."""
        value = self._value(key)
        if value is None:
            return None
        _, count, rest = value
        parts = [rest, *(self._get(f"{key}-{number}") for number in range(count))]
        return None if None in parts else b"".join(part for part in parts if part)

    def _get(self, key: str) -> bytes | None:
        try:
            with self._failures():
                value = self._storage[key]
        except KeyError:
            return None
        return value if isinstance(value, bytes) else None

    def _forget(self, keys: Sequence[str]) -> None:
        if self._most:
            counts = {key: (self._value(key) or (None, 0))[1] for key in keys}
            keys = [*keys, *(f"{key}-{n}" for key in keys for n in range(counts[key]))]
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
            raise ContainerError(f"{self.name} cannot be used: {masked_reason(error)}") from error


def to_evict(entries: Mapping[int, Entry], most: int, now: int) -> tuple[list[int], list[int]]:
    """Choose what has expired, and the oldest of the others, until `most` bytes are left."""
    expired = [number for number, entry in entries.items() if entry.expires < now]
    left = sum(entry.size for entry in entries.values() if entry.expires >= now)
    oldest = []
    for number, entry in sorted(entries.items()):
        if left <= most:
            break
        if entry.expires >= now:
            oldest.append(number)
            left -= entry.size
    return expired, oldest


def lasting(entry: Entry) -> int:
    """Tell for how many seconds from now a segment is kept, whatever the client's clock shows."""
    return max(1, (entry.expires - entry.fetched) // _SECONDS + 1)


def entry_of(value: bytes) -> Entry | None:
    """Read the facts about a segment; None: they are something else."""
    return json_messages.read_if(Entry, value)


def _mark(place: str) -> str:
    """Name what changes when rows are taken away; it is no name of a segment."""
    return f"{place}-taken"


def key_of(place: str, number: int) -> str:
    """Name a segment, in hex digits."""
    return f"{place}{number:016x}"


def _is_ours(name: str, place: str) -> bool:
    tail = name[_DIGITS:]
    return name[:_DIGITS] == place and len(tail) == 16 and set(tail) <= set("0123456789abcdef")  # noqa: PLR2004


def masked_reason(error: Exception) -> str:
    """Tell what went wrong in one line, without addresses, which may hold a password."""
    text = reason_of(error)
    return type(error).__name__ if "://" in text else f"{type(error).__name__}: {text}"
