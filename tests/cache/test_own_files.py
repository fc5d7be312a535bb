"""Files of the user's own: who may read them, and locks that nobody takes away."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from featkit.cache.own_files import begin_use, end_use, own_file
from featkit.cache.sqlite import SqliteContainer

VISIT = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1])
file.execute("select count(*) from sqlite_schema").fetchone()
file.close()  # who uses it last removes the log
"""


def visit(path: Path) -> None:
    """Have another process use a file meanwhile."""
    subprocess.run([sys.executable, "-c", VISIT, path], check=True, timeout=60)


@pytest.mark.slow
def test_a_second_connection_takes_no_lock_of_the_first_away(tmp_path):
    path = tmp_path / "cache.sqlite"
    first, second = SqliteContainer(path), SqliteContainer(path)
    for container in (first, second):
        container.log("x")
    second.close()
    visit(path)
    assert Path(f"{path}-wal").exists()
    with first.alone("x") as mine:
        assert mine
    assert first.evict(0, 0) == 0
    first.close()
    assert not Path(f"{path}-wal").exists()


@pytest.mark.slow
def test_a_file_that_another_has_open_keeps_its_locks(tmp_path):
    path = tmp_path / "file"
    own_file(path)
    file = sqlite3.connect(path)
    file.execute("pragma journal_mode = wal")
    file.execute("create table numbers (number)")
    own_file(path)
    visit(path)
    assert Path(f"{path}-wal").exists()
    file.close()


def test_a_file_is_made_for_its_owner_only(tmp_path):
    path = tmp_path / "file"
    made = own_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert own_file(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError, match="it is a link"):
        own_file(tmp_path / "link")
    assert not (tmp_path / "file").exists()


def test_a_file_is_read_only_before_it_is_in_use(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"head")
    first, head = begin_use(path)
    assert head == b"head"
    second, head = begin_use(path)
    assert (second, head) == (first, None)
    end_use(first)
    assert begin_use(path) == (first, None)
    end_use(first)
    end_use(first)
    assert begin_use(path) == (first, b"head")
    end_use(first)


def test_threads_make_one_file(tmp_path):
    found = set()
    threads = [
        threading.Thread(target=lambda: found.add(own_file(tmp_path / "file"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
