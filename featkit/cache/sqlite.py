"""A container that is a file of SQLite, for the processes of one user."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from featkit.cache.containers import LEASE, ContainerError, Entry, Log
from featkit.cache.own_files import begin_use, end_use, own_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from featkit.cache.own_files import Inode

APPLICATION = 0x66656174  # "feat": marks the file as ours
_MAGIC = b"SQLite format 3\0"
_BUSY = 10  # seconds to wait for other processes
FILE_SCHEMA = 2
"""Version of the tables of the file; that of what is in the segments is another matter."""

_TABLE = """
create table if not exists segments (
  id integer primary key autoincrement, namespace text not null, view text not null,
  place text not null, rows integer not null, size integer not null, fetched integer not null,
  expires integer not null, payload blob not null, replaces text not null default '');
create index if not exists by_place on segments (place, id);
create index if not exists by_namespace on segments (namespace);
create table if not exists places (
  place text primary key, taken integer not null default 0, busy real not null default 0)
  without rowid;
"""
_FACTS = "namespace, view, place, rows, size, fetched, expires, replaces"
_INSERT = f"insert into segments ({_FACTS}, payload) values (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - ours
_SELECT = f"select id, {_FACTS} from segments"  # noqa: S608 - ours
_TAKE = """
insert into places (place, taken) values (?, 1)
on conflict (place) do update set taken = taken + 1
"""
_OCCUPY = """
insert into places (place, busy) values (:place, :until)
on conflict (place) do update set busy = :until where busy < :now
"""
_OLDEST = """
select id from (select id, sum(size) over (order by id desc) as later from segments)
where later > ?
"""
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
        self._inode: Inode | None = None

    def version(self) -> object:
        """Return SQLite's own counter of what others have written."""
        with self._open() as file:
            return file.execute("pragma data_version").fetchone()

    def log(self, place: str) -> Log:
        """List the segments of a place."""
        with self._open() as file:
            taken = file.execute("select taken from places where place = ?", (place,)).fetchone()
            rows = file.execute(f"{_SELECT} where place = ? order by id", (place,)).fetchall()
        return Log(taken or (0,), dict(map(_read, rows)))

    def read(self, place: str, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Read segments one by one."""
        for number in ids:
            with self._open() as file:
                query = "select payload from segments where id = ? and place = ?"
                row = file.execute(query, (number, place)).fetchone()
            if row is not None:
                yield number, row[0]

    def append(
        self,
        place: str,
        parts: Sequence[tuple[Entry, bytes]],
        *,
        replaces: Sequence[int] = (),
        fewer: bool = False,
    ) -> list[int] | None:
        """Add segments in one transaction."""
        numbers = []
        with self._open() as file, _transaction(file):
            if any(not _there(file, number) for number in replaces):
                return None
            _remove(file, replaces)
            if fewer:
                file.execute(_TAKE, (place,))
            for entry, blob in parts:
                made = file.execute(_INSERT, (*_written(entry), blob))
                numbers.append(int(made.lastrowid or 0))
        return numbers

    @contextmanager
    def alone(self, place: str) -> Iterator[bool]:
        """Write down who is at work, for as long as that may take at the most."""
        now = time.time()
        with self._open() as file, _transaction(file):
            facts = {"place": place, "now": now, "until": now + LEASE}
            mine = file.execute(_OCCUPY, facts).rowcount > 0
        yield mine
        if mine:
            with self._open() as file:
                file.execute("update places set busy = 0 where place = ?", (place,))

    def entries(self, namespace: str | None = None) -> dict[int, Entry]:
        """List all segments by id, or those of one namespace."""
        query = f"{_SELECT} where :namespace is null or namespace = :namespace order by id"
        with self._open() as file:
            found = file.execute(query, {"namespace": namespace}).fetchall()
        return dict(map(_read, found))

    def remove(self, ids: Iterable[int]) -> None:
        """Remove segments."""
        with self._open() as file, _transaction(file):
            _take(file, list(ids))

    def evict(self, most: int, now: int) -> int:
        """Remove what has expired, which nobody misses, then the oldest."""
        with self._open() as file:
            total, first = file.execute("select total(size), min(expires) from segments").fetchone()
            if total <= most and (first is None or first >= now):
                return 0
            with _transaction(file):
                gone = file.execute("delete from segments where expires < ?", (now,)).rowcount
                oldest = [number for (number,) in file.execute(_OLDEST, (most,)).fetchall()]
                _take(file, oldest)
                return gone + len(oldest)

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
            if self._connection is not None and self._pid != os.getpid():
                self.start_anew()
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._end_use()

    def start_anew(self) -> None:
        """Forget the connection and the lock of the process that this one was forked from."""
        self._lock = threading.RLock()
        if self._connection is not None:
            _inherited.append(self._connection)
            self._connection, self._inode = None, None

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
        try:
            file = sqlite3.connect(
                self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False
            )
            try:
                self._set_up(file)
            except BaseException:
                file.close()
                raise
        except BaseException:
            self._end_use()
            raise
        return file

    def _prepare(self) -> None:
        """Make the file, for its owner only; refuse what belongs to others or is something else."""
        if self._own_folder:
            own_folder(self.path.parent)
        self._inode, head = begin_use(self.path)
        if head is None:  # it was looked at by who uses it
            self._ours = True
            return
        marked = int.from_bytes(head[68:72], "big") == APPLICATION
        self._ours = marked or self._own_folder or not head
        odd = bool(head) and not head.startswith(_MAGIC)
        if odd and self._own_folder:
            self._throw_away()
            self._inode, _ = begin_use(self.path)
        elif odd or (not marked and any(head[68:72])):
            self._end_use()
            what = "is something else than a cache" if odd else "belongs to another program"
            raise OSError(f"it {what}; name another file")

    def _end_use(self) -> None:
        if self._inode is not None:
            end_use(self._inode)
            self._inode = None

    def _set_up(self, file: sqlite3.Connection) -> None:
        (application,) = file.execute("pragma application_id").fetchone()
        (schema,) = file.execute("pragma user_version").fetchone()
        (tables,) = file.execute("select count(*) from sqlite_schema").fetchone()
        if application != APPLICATION and tables:
            raise OSError("it belongs to another program; name another file")
        if schema > FILE_SCHEMA:
            raise OSError(f"a later version of featkit made it (schema {schema})")
        if not tables:
            file.execute("pragma page_size = 8192")
        (mode,) = file.execute("pragma journal_mode = wal").fetchone()
        if mode != "wal":
            raise OSError("its file system does not allow several processes to share it")
        file.execute("pragma synchronous = normal")
        file.execute(f"pragma journal_size_limit = {16 * 2**20}")
        if application == APPLICATION and schema == FILE_SCHEMA and tables:
            return
        with _transaction(file):
            _migrate(file, schema)
            for statement in filter(str.strip, _TABLE.split(";")):
                file.execute(statement)
            file.execute(f"pragma application_id = {APPLICATION}")
            file.execute(f"pragma user_version = {FILE_SCHEMA}")

    def _throw_away(self) -> None:
        """Remove a damaged file, which will be made anew."""
        self._disconnect()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)


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


def _migrate(file: sqlite3.Connection, schema: int) -> None:
    """Make what an earlier version has written what this one would have."""
    columns = {name for _, name, *_ in file.execute("pragma table_info(segments)")}
    if schema == 1 and columns:
        if "replaces" not in columns:
            file.execute("alter table segments add column replaces text not null default ''")
    elif schema < 1:  # it was never released: there is nothing in it worth a migration
        file.execute("drop table if exists segments")


def _read(row: tuple[int, str, str, str, int, int, int, int, str]) -> tuple[int, Entry]:
    number, namespace, view, place, rows, size, fetched, expires, replaces = row
    entry = Entry(
        namespace=namespace,
        view=view,
        place=place,
        rows=rows,
        size=size,
        fetched=fetched,
        expires=expires,
        replaces=tuple(map(int, replaces.split())),
    )
    return number, entry


def _written(entry: Entry) -> tuple[str | int, ...]:
    facts = (entry.namespace, entry.view, entry.place, entry.rows, entry.size)
    return *facts, entry.fetched, entry.expires, " ".join(map(str, entry.replaces))


def _there(file: sqlite3.Connection, number: int) -> bool:
    found = file.execute("select 1 from segments where id = ?", (number,)).fetchone()
    return found is not None


def _remove(file: sqlite3.Connection, ids: Sequence[int]) -> None:
    file.executemany("delete from segments where id = ?", [(number,) for number in ids])


def _take(file: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Remove segments, and have everybody forget what was in them."""
    query = "select place from segments where id = ?"
    found = {file.execute(query, (number,)).fetchone() for number in ids} - {None}
    file.executemany(_TAKE, found)
    _remove(file, ids)
