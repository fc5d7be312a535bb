"""Files and folders of the user's own, which nobody else can read.

POSIX takes all locks that a process has on a file away as soon as the process closes any handle on
it, whoever opened that. SQLite knows what another of its connections has open; so a file that a
connection may be open on is looked at by its name only, and read by hand only before the first one.
Else another process takes itself for the last that uses the file, and removes its log.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from featkit.forking import after_fork

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = 100  # bytes: the header of a file of SQLite

Inode: TypeAlias = tuple[int, int]
"""What tells files apart, whatever they are called: device and number."""


class _InUse:
    """The files that connections of this process are open on."""

    def __init__(self) -> None:
        self.start_anew()
        after_fork(self)

    def start_anew(self) -> None:
        """Begin with none: a forked process has no locks."""
        self.lock = threading.RLock()
        self.files: Counter[Inode] = Counter()


_in_use = _InUse()


def own_folder(folder: Path) -> None:
    """Make a folder of the user's own, which nobody else can look into or put anything in."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    _check_owner(found, "its folder")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def own_file(path: Path) -> Inode:
    """Make a file for its owner only, where there is none; refuse links and what others own.

    Raises
    ------
    OSError
        It is a link, or belongs to another user, or cannot be made.
    """
    with _in_use.lock:  # until the handle is closed with which it is made
        try:
            found = path.lstat()
        except FileNotFoundError:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
            os.close(os.open(path, flags, 0o600))
            found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise OSError("it is a link; name the file that it leads to")
        _check_owner(found)
        if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
            path.chmod(0o600)
        return found.st_dev, found.st_ino


def begin_use(path: Path) -> tuple[Inode, bytes | None]:
    """Note that a connection is going to be open on a file of the user's own.

    Returns
    -------
    tuple
        What `end_use` wants; and how the file begins, None where it is in use already.
    """
    with _in_use.lock:
        inode = own_file(path)
        head = None if _in_use.files[inode] else _head(path)
        _in_use.files[inode] += 1
        return inode, head


def end_use(inode: Inode) -> None:
    """Note that a connection was closed."""
    with _in_use.lock:
        _in_use.files[inode] -= 1
        if _in_use.files[inode] <= 0:
            del _in_use.files[inode]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _check_owner(found: os.stat_result, what: str = "it") -> None:
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        raise OSError(f"{what} belongs to another user")
