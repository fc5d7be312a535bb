"""Containers: where segments outlive a process, and where several processes meet.

A container is a log of immutable blobs with a few facts about each. All it must be able to do is
append, list, read and remove; whoever reads decides which rows are the latest, so that the order
of the log does not matter.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from featkit.cache.segments import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a segment without reading it.

    Attributes
    ----------
    namespace
        Whose rows they are: a hash of the store, of the identity that asked, and more.
    view
        Name of the feature view.
    place
        Hash of the namespace and of the view with its schema: segments of one place are of the
        same columns.
    rows, size
        How many rows, and how many bytes.
    fetched, expires
        When the oldest row was fetched, and when the last one is of no use any more, in
        microseconds since 1970.
    """

    namespace: str
    view: str
    place: str
    rows: int
    size: int
    fetched: int
    expires: int


class ContainerError(Exception):
    """A container cannot be used; the lookup goes on without it.

    Parameters
    ----------
    message
        What is wrong.
    mended
        Whether it can be used again at once, empty.
    """

    def __init__(self, message: str, *, mended: bool = False) -> None:
        super().__init__(message)
        self.mended = mended


class Container(Protocol):
    """What a place for segments must be able to do; failures are `ContainerError`."""

    name: str
    """What it is called in messages, without secrets."""

    kind: str
    """``"disk"``, ``"redis"``, or the class of a storage."""

    def version(self) -> object:
        """Return what changes when somebody else has written; None: that cannot be told."""

    def ids(self, place: str) -> list[int]:
        """List the segments of a place."""

    def read(self, place: str, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Read segments; one that is not there any more is left out."""

    def append(self, entry: Entry, blob: bytes, *, replaces: Sequence[int] = ()) -> int | None:
        """Add a segment, in the place of others; None: these were replaced meanwhile."""

    def entries(self, namespace: str | None = None) -> dict[int, Entry]:
        """List all segments by id, or those of one namespace."""

    def remove(self, ids: Iterable[int]) -> None:
        """Remove segments."""

    def evict(self, most: int, now: int) -> int:
        """Remove what has expired, then the oldest until `most` bytes are left; return how many."""

    def compact(self) -> None:
        """Give back the room of what was removed."""

    def close(self) -> None:
        """Let go of files and connections."""

    def start_anew(self) -> None:
        """Make it usable in a process that was just forked."""


APPLICATION = 0x66656174  # "feat": marks the file as ours
_MAGIC = b"SQLite format 3\0"
_BUSY = 10  # seconds to wait for other processes
_TABLE = """
create table if not exists segments (
  id integer primary key autoincrement, namespace text not null, view text not null,
  place text not null, rows integer not null, size integer not null, fetched integer not null,
  expires integer not null, payload blob not null);
create index if not exists by_place on segments (place, id);
create index if not exists by_namespace on segments (namespace);
"""
_FACTS = "namespace, view, place, rows, size, fetched, expires"
_INSERT = f"insert into segments ({_FACTS}, payload) values (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours
_LIST = f"select id, {_FACTS} from segments where ?1 is null or namespace = ?1 order by id"  # noqa: S608 - ours
_inherited: list[sqlite3.Connection] = []  # of parent processes: closing one breaks its locks


class SqliteContainer:
    """A file that processes of one user share; readable by that user only.

    Parameters
    ----------
    path
        The file; made when it is first used.
    own_folder
        Whether the folder is featkit's, so that it is made, and what is unreadable in it thrown
        away.
    """

    kind = "disk"

    def __init__(self, path: Path, *, own_folder: bool = False) -> None:
        self.name = f"the cache file {path}"
        self.path, self._own_folder = path, own_folder
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._lock = threading.RLock()
        self._ours = own_folder

    def version(self) -> object:
        """Return SQLite's own counter of what others have written."""
        with self._open() as file:
            return file.execute("pragma data_version").fetchone()

    def ids(self, place: str) -> list[int]:
        """List the segments of a place."""
        with self._open() as file:
            found = file.execute("select id from segments where place = ? order by id", (place,))
            return [number for (number,) in found]

    def read(self, place: str, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Read segments one by one."""
        for number in ids:
            with self._open() as file:
                query = "select payload from segments where id = ? and place = ?"
                row = file.execute(query, (number, place)).fetchone()
            if row is not None:
                yield number, row[0]

    def append(self, entry: Entry, blob: bytes, *, replaces: Sequence[int] = ()) -> int | None:
        """Add a segment in one transaction."""
        facts = (entry.namespace, entry.view, entry.place, entry.rows, entry.size)
        times = (entry.fetched, entry.expires)
        with self._open() as file, _transaction(file):
            if replaces and not _remove(file, replaces):
                return None
            return file.execute(_INSERT, (*facts, *times, blob)).lastrowid

    def entries(self, namespace: str | None = None) -> dict[int, Entry]:
        """List all segments by id, or those of one namespace."""
        with self._open() as file:
            rows = file.execute(_LIST, (namespace,)).fetchall()
        names = _FACTS.split(", ")
        return {number: Entry(**dict(zip(names, facts, strict=True))) for number, *facts in rows}

    def remove(self, ids: Iterable[int]) -> None:
        """Remove segments."""
        with self._open() as file, _transaction(file):
            _remove(file, list(ids), all_of_them=False)

    def evict(self, most: int, now: int) -> int:
        """Remove what has expired, then the oldest."""
        with self._open() as file:
            total, first = file.execute("select total(size), min(expires) from segments").fetchone()
            if total <= most and (first is None or first >= now):
                return 0
            with _transaction(file):
                gone = file.execute("delete from segments where expires < ?", (now,)).rowcount
                oldest = """
                    delete from segments where id in (
                      select id from (
                        select id, sum(size) over (order by id desc) as later from segments)
                      where later > ?)"""
                return gone + file.execute(oldest, (most,)).rowcount

    def compact(self) -> None:
        """Write the file anew, without what was removed."""
        with self._open() as file:
            try:
                file.execute("vacuum")
                file.execute("pragma wal_checkpoint(truncate)")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise  # else others are at it; what they write takes the room

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def start_anew(self) -> None:
        """Forget the connection and the lock of the process that this one was forked from."""
        self._lock = threading.RLock()
        if self._connection is not None:
            _inherited.append(self._connection)
            self._connection = None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread at a time."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection, self._pid = self._connect(), os.getpid()
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                if self._ours and isinstance(error, sqlite3.DatabaseError) and _is_damaged(error):
                    self._throw_away()
                    msg = f"{self.name} was damaged ({error}), and is begun anew"
                    raise ContainerError(msg, mended=True) from error
                raise ContainerError(f"{self.name} cannot be used: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        self._prepare()
        file = sqlite3.connect(
            self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            self._set_up(file)
        except BaseException:
            file.close()
            raise
        return file

    def _prepare(self) -> None:
        """Make the file, for its owner only; refuse what belongs to others or is something else."""
        if self._own_folder:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        handle = os.open(self.path, flags, 0o600)
        try:
            found = os.fstat(handle)
            _check_owner(found)
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                os.fchmod(handle, 0o600)
            head = os.read(handle, 100)
        finally:
            os.close(handle)
        marked = int.from_bytes(head[68:72], "big") == APPLICATION
        self._ours = marked or self._own_folder or not head
        if head and not head.startswith(_MAGIC):
            if not self._own_folder:
                raise OSError("it is something else than a cache; name another file")
            self._throw_away()
            os.close(os.open(self.path, flags, 0o600))
        elif head and not marked and any(head[68:72]):
            raise OSError("it belongs to another program; name another file")

    def _set_up(self, file: sqlite3.Connection) -> None:
        (application,) = file.execute("pragma application_id").fetchone()
        (schema,) = file.execute("pragma user_version").fetchone()
        (tables,) = file.execute("select count(*) from sqlite_schema").fetchone()
        if application != APPLICATION and tables:
            raise OSError("it belongs to another program; name another file")
        if schema > SCHEMA:
            raise OSError(f"a later version of featkit made it (schema {schema})")
        if not tables:
            file.execute("pragma page_size = 8192")
        (mode,) = file.execute("pragma journal_mode = wal").fetchone()
        if mode != "wal":
            raise OSError("its file system does not allow several processes to share it")
        file.execute("pragma synchronous = normal")
        file.execute(f"pragma journal_size_limit = {16 * 2**20}")
        if application == APPLICATION and schema == SCHEMA and tables:
            return
        with _transaction(file):
            if schema < SCHEMA:  # of an earlier version: there is nothing in it worth a migration
                file.execute("drop table if exists segments")
            for statement in filter(str.strip, _TABLE.split(";")):
                file.execute(statement)
            file.execute(f"pragma application_id = {APPLICATION}")
            file.execute(f"pragma user_version = {SCHEMA}")

    def _throw_away(self) -> None:
        """Remove a damaged file, which will be made anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)


def _check_owner(found: os.stat_result) -> None:
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise OSError("it belongs to another user")


def _is_damaged(error: sqlite3.DatabaseError) -> bool:
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return getattr(error, "sqlite_errorcode", None) in codes


@contextmanager
def _transaction(file: sqlite3.Connection) -> Iterator[None]:
    file.execute("begin immediate")
    try:
        yield
    except BaseException:
        if file.in_transaction:
            file.execute("rollback")
        raise
    file.execute("commit")


def _remove(file: sqlite3.Connection, ids: Sequence[int], *, all_of_them: bool = True) -> bool:
    """Remove segments; where one of them is gone already, and it matters, remove none."""
    if all_of_them:
        there = "select 1 from segments where id = ?"
        if any(file.execute(there, (number,)).fetchone() is None for number in ids):
            return False
    file.executemany("delete from segments where id = ?", [(number,) for number in ids])
    return True
