"""The cache on disk and in a Redis: shared, private, and never the reason that a lookup fails."""

import os
import re
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import redis
from requests_cache.backends.filesystem import FileDict

import featkit
from featkit.cache.opening import default_folder
from featkit.cache.sqlite import APPLICATION, FILE_SCHEMA, SqliteContainer
from featkit.cache.storages import StorageContainer
from featkit.errors import CacheWarning, FeatkitError, SettingsError
from featkit.testing import FrozenClock
from tests.cache.remote import Remote
from tests.programs.running import free_port, program, redis_server

RELEASED = Path(__file__).parents[1] / "data" / "cache"


def value(client, key=1, **options):
    return client.lookup([key], ["v:a"], **options).values["a"][0]


def calls(client, key=1):
    value(client, key)
    return client.last_summary.calls


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.sqlite"


@pytest.fixture(params=["disk", pytest.param("redis", marks=pytest.mark.slow)])
def shared(request, path):
    """A place that clients share."""
    return path if request.param == "disk" else request.getfixturevalue("empty_redis")


# -- shared --------------------------------------------------------------------------------------


def test_two_clients_see_each_others_rows(connect, remote, shared):
    one, other = connect(shared), connect(shared)
    assert value(one) == "a1@1"
    assert value(other) == "a1@1"
    other.lookup([1, 2], ["v:a", "v:b"])
    assert one.lookup([1, 2], ["v:b", "v:a"]).to_dicts() == [
        {"b": "b1@2", "a": "a1@1"},
        {"b": "b2@3", "a": "a2@3"},
    ]
    assert one.last_summary.calls == 0
    assert len(remote.reads) == 3
    assert other.cache.clear("v", entities=[1]) == 1
    assert calls(one, 1) == 1
    assert calls(other, 2) == 0
    one.cache.clear()
    assert calls(other, 2) == 1


def test_rows_outlive_the_client(connect, shared):
    connect(shared).lookup(range(100, 400), ["v:*"])
    again = connect(shared)
    assert again.cache.size == 300
    again.lookup(range(399, 99, -1), ["v:*"])
    assert again.last_summary.calls == 0
    assert again.cache.stats().stored_bytes > 0


def test_other_users_and_stores_share_nothing(connect, shared):
    mine = connect(shared)
    value(mine)
    for store in (Remote(cache_identity="somebody else"), Remote(cache_identity=None)):
        other = connect(shared, store=store)
        assert calls(other) == 1
        assert other.cache.clear() == 1
    # nobody knows who asks: not even the same store again
    nobody = Remote(cache_identity=None)
    value(connect(shared, store=nobody))
    assert calls(connect(shared, store=nobody)) == 1
    assert calls(mine) == 0


@pytest.mark.slow
def test_many_writes_are_put_together_and_nothing_is_lost(connect, shared):
    client = connect(shared)
    for key in range(1000, 1100):
        value(client, key)
    assert client.cache.info("v").segments <= 17
    again = connect(shared)
    again.lookup(range(1000, 1100), ["v:a"])
    assert again.last_summary.calls == 0


def test_rows_that_are_fetched_over_and_over_do_not_pile_up(connect, path):
    client = connect(path)
    for _ in range(6):
        client.lookup(range(10_000, 16_000), ["v:*"], refresh=True)
    info = connect(path).cache.info("v")
    assert info.rows == 6000
    assert info.segments <= 2


def test_old_segments_make_room(connect, path):
    client = connect(featkit.CacheOptions(target=path, most_stored=40_000))
    for start in range(10_000, 50_000, 1000):
        client.lookup(range(start, start + 1000), ["v:a"])
    assert client.cache.stats().stored_bytes < 100_000


def test_clearing_gives_the_room_back(connect, path):
    client = connect(path)
    client.lookup(range(10_000, 40_000), ["v:*"])
    client.cache.clear()
    client.close()
    assert path.stat().st_size < 50_000
    assert b"a10000@1" not in path.read_bytes()


# -- private -------------------------------------------------------------------------------------


def test_only_the_user_can_read_the_files(connect, empty_home):
    client = connect("disk")
    value(client)
    folder = empty_home / ".cache" / "featkit"
    folder = folder if folder.exists() else empty_home / "featkit"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = sorted(file.name for file in folder.iterdir())
    assert "features.sqlite" in files
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_a_file_that_others_could_read_is_closed_to_them(connect, path):
    path.touch(0o644)
    value(connect(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_not_followed(connect, tmp_path, path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    path.symlink_to(victim)
    with pytest.warns(CacheWarning, match="cannot be used: it is a link; name the file"):
        value(connect(path))
    assert victim.read_bytes() == b""


# -- what is not a cache of this version ---------------------------------------------------------


def foreign(path):
    with sqlite3.connect(path) as file:
        file.execute("create table precious (data)")
    file.close()


def another_program(path):
    foreign(path)
    with sqlite3.connect(path) as file:
        file.execute("pragma application_id = 7")
    file.close()


def later_version(path):
    container = SqliteContainer(path)
    container.log("x")
    container.close()
    with sqlite3.connect(path) as file:
        file.execute(f"pragma user_version = {FILE_SCHEMA + 1}")
    file.close()


LEFT_ALONE = {
    "text": lambda path: path.write_text("precious"),
    "a table of somebody else": foreign,
    "another program's": another_program,
    "of a later version": later_version,
    "a folder": lambda path: (path.mkdir(), (path / "features.sqlite").write_text("precious")),
}


@pytest.mark.parametrize("make", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_is_not_ours_is_left_alone(connect, remote, path, make):
    make(path)
    file = path / "features.sqlite" if path.is_dir() else path
    before = file.read_bytes()
    client = connect(path)
    with pytest.warns(
        CacheWarning, match=r"cache file .* cannot be used: .*in memory only"
    ) as told:
        assert value(client) == "a1@1"
    assert len(told) == 1
    assert value(client) == "a1@1"  # from memory, and without another warning
    assert len(remote.reads) == 1
    client.close()
    assert file.read_bytes() == before


def spoilt(path):
    """Damage a cache of ours."""
    container = SqliteContainer(path)
    container.log("x")
    container.close()
    content = bytearray(path.read_bytes())
    content[100:4000] = b"\xa5" * 3900
    path.write_bytes(content)


def test_a_damaged_file_of_ours_is_begun_anew(connect, path):
    spoilt(path)
    client = connect(path)
    with pytest.warns(CacheWarning, match="was damaged .*, and is begun anew"):
        assert value(client) == "a1@1"
    value(client, 2)
    assert calls(connect(path), 2) == 0


@pytest.mark.usefixtures("empty_home")
def test_a_damaged_file_in_the_users_own_folder_is_begun_anew(connect):
    client = connect("disk")
    value(client)
    client.close()
    file = client.operations.cache.container.path
    file.write_bytes(b"nonsense" * 1000)
    client = connect("disk")
    value(client)
    assert calls(connect("disk")) == 0


@pytest.mark.parametrize("schema", [0, 1])
def test_an_empty_file_becomes_a_cache(connect, path, schema):
    if schema:
        path.touch()
    else:
        sqlite3.connect(path).close()
    value(connect(path))
    assert calls(connect(path)) == 0


def test_a_damaged_segment_is_thrown_away(connect, path):
    value(connect(path))
    with sqlite3.connect(path) as file:
        file.execute("update segments set payload = cast(substr(payload, 1, 60) || x'00' as blob)")
    file.close()
    client = connect(path)
    with pytest.warns(CacheWarning, match="1 damaged segments were thrown away"):
        assert value(client) == "a1@2"
    assert calls(connect(path)) == 0


def test_files_of_an_older_schema_are_begun_anew(connect, path):
    container = SqliteContainer(path)
    container.log("x")
    container.close()
    with sqlite3.connect(path) as file:
        file.execute("drop table segments")
        file.execute("create table segments (other)")
        # as a version before the first released one would have marked it
        file.execute("pragma user_version = 0")
    file.close()
    client = connect(path)
    value(client)
    assert calls(connect(path)) == 0


@pytest.mark.parametrize("schema", range(1, FILE_SCHEMA + 1))
def test_files_of_every_released_schema_are_opened(tmp_path, schema):
    file = tmp_path / "features.sqlite"
    shutil.copy(RELEASED / f"schema_{schema}.sqlite", file)
    clock = FrozenClock("2024-05-01T12:00:30Z")
    with featkit.connect(Remote(cache_identity="released"), cache=file, now=clock) as client:
        found = client.lookup([3, 17, 9, 1], ["v:a", "v:b"])
        assert client.last_summary.calls == 0
    assert found.to_dicts() == [
        {"a": "a3@1", "b": "b3@1"},
        {"a": None, "b": None},
        {"a": None, "b": None},
        {"a": "a1@1", "b": "b1@1"},
    ]
    assert found.statuses["a"].to_list() == ["PRESENT", "NULL", "NOT_FOUND", "PRESENT"]
    with sqlite3.connect(file) as opened:
        assert opened.execute("pragma application_id").fetchone() == (APPLICATION,)
    opened.close()


# -- where nothing can be written ----------------------------------------------------------------


def test_a_missing_folder_is_a_warning(connect, tmp_path):
    with pytest.warns(CacheWarning, match="unable to open|No such file"):
        assert value(connect(tmp_path / "no" / "such" / "folder.sqlite")) == "a1@1"


def run(command):
    root = str(Path(featkit.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "HOME": "/nonexistent"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=environment, cwd=root
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def read_only(tmp_path):
    """Make a folder in which nothing can be written, not even by root."""
    folder = tmp_path / "read only"
    folder.mkdir()
    mount = [program("mount"), "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield folder
    elif subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        yield folder
        subprocess.run([program("umount"), "--lazy", str(folder)], check=True)
    else:
        yield Path("/proc")


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_one_warning(connect, read_only, remote):
    client = connect(read_only / "cache.sqlite")
    with pytest.warns(CacheWarning, match="cannot be used: .*in memory only"):
        value(client)
    value(client)  # without another warning, which would be an error here
    assert len(remote.reads) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of somebody else's")
def test_a_file_of_another_user_is_refused(connect, path):
    value(connect(path))
    os.chown(path, 65534, 65534)
    client = connect(path)
    with pytest.warns(CacheWarning, match="belongs to another user"):
        assert value(client) == "a1@2"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of somebody else's")
@pytest.mark.usefixtures("empty_home")
def test_a_folder_of_another_user_is_refused(connect, remote):
    folder = default_folder()
    folder.mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    client = connect("disk")
    with pytest.warns(CacheWarning, match="its folder belongs to another user"):
        assert value(client) == "a1@1"
    assert value(client) == "a1@1"
    assert len(remote.reads) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("empty_home")
def test_a_folder_that_others_could_look_into_is_closed_to_them(connect):
    default_folder().mkdir(parents=True, mode=0o755)
    value(connect("disk"))
    assert stat.S_IMODE(default_folder().stat().st_mode) == 0o700


@pytest.fixture
def tiny(tmp_path):
    """Mount a file system that is soon full; who may not mount one has a limit to file sizes."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = [program("mount"), "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        yield folder
        subprocess.run([program("umount"), "--lazy", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_full_disk_is_one_warning(connect, tiny, remote):
    client = connect(tiny / "cache.sqlite")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for start in range(10_000, 90_000, 10_000):
            found = client.lookup(range(start, start + 10_000), ["v:*"])
            assert found.values["a"][0].startswith(f"a{start}@")
    (warning,) = told
    assert issubclass(warning.category, CacheWarning)
    assert re.search("cannot be used: .*in memory only", str(warning.message))
    remote.asked()
    client.lookup(range(80_000, 90_000), ["v:*"])
    assert remote.asked() == []  # from memory
    client.close()


# -- a Redis that is down ------------------------------------------------------------------------


def test_a_redis_that_is_down_is_one_warning(connect, remote):
    client = connect(f"redis://me:hunter2@127.0.0.1:{free_port()}/0")
    with pytest.warns(CacheWarning, match=r"Redis at 127\.0\.0\.1:\d+/0 cannot be used") as told:
        assert value(client) == "a1@1"
    assert len(told) == 1
    assert "hunter2" not in str(told[0].message)
    assert value(client) == "a1@1"
    assert len(remote.reads) == 1
    assert client.cache.size == 1


@pytest.mark.slow
def test_a_redis_that_goes_away_and_comes_back(connect, remote, tmp_path):
    port = free_port()
    with redis_server(tmp_path, port=port) as url:
        client = connect(url)
        value(client)
        assert client.cache.info("v").segments == 1
    with pytest.warns(CacheWarning, match="in memory only"):
        assert value(client) == "a1@1"
    with redis_server(tmp_path, port=port):
        client.operations.cache._tried_again = 0.0  # noqa: SLF001 - as if half a minute had passed
        value(client, 2)
        value(connect(url), 2)
    assert len(remote.reads) == 2


# -- processes -----------------------------------------------------------------------------------

CHILD = """
import sys, featkit
from tests.cache.remote import Remote
client = featkit.connect(Remote(), cache=sys.argv[1], now=sys.argv[2])
print(client.lookup([1], ["v:a"]).values["a"][0], client.last_summary.calls)
client.lookup([2], ["v:a"])
"""


@pytest.mark.slow
def test_another_process_shares_the_file_or_the_redis(connect, clock, shared):
    client = connect(shared)
    value(client)
    told = run([sys.executable, "-c", CHILD, str(shared), clock().isoformat()])
    assert told == ["a1@1", "0"]
    assert calls(client, 2) == 0


FORK = """
import os, sys, featkit
from tests.cache.remote import Remote
client = featkit.connect(Remote(), cache=sys.argv[1])
client.get_online_features("v", 1, ["a"])
child = os.fork()
cache = client.operations.cache
if not child:
    # polars must not run in here, so the container itself is asked
    place = next(iter(cache._views))
    numbers = cache.container.log(place).segments
    blobs = list(cache.container.read(place, numbers))
    os._exit(0 if len(blobs) == 1 else 3)
_, status = os.waitpid(child, 0)
client.get_online_features("v", 2, ["a"])
print(os.waitstatus_to_exitcode(status), client.cache.size)
"""


@pytest.mark.slow
def test_a_forked_process_opens_the_file_anew(path):
    assert run([sys.executable, "-W", "ignore", "-c", FORK, str(path)]) == ["0", "2"]


# -- secrets -------------------------------------------------------------------------------------


def test_no_secret_is_in_a_file_or_a_key(tmp_path, empty_redis):
    canary = "canary-5f1d"
    for place in (tmp_path / "cache.sqlite", empty_redis):
        store = Remote(cache_identity=canary)
        with featkit.connect(store, cache=place) as client:
            client.lookup([1], ["v:a"])
            text = f"{client.cache!r} {client.cache.stats()._repr_html_()} {vars(client)}"
            assert canary not in text
    for file in tmp_path.rglob("*"):
        assert canary.encode() not in file.read_bytes()
    with redis.Redis.from_url(empty_redis) as server:
        kept = [(key, server.dump(key)) for key in server.scan_iter()]
    assert kept
    assert canary.encode() not in repr(kept).encode()


def test_a_cache_that_is_no_mapping_is_refused(connect):
    with pytest.raises(SettingsError, match="not list"):
        connect([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most_in_memory": -1}, "most_in_memory of the cache must be a whole number of bytes"),
        ({"most_stored": "4GB"}, "not '4GB'"),
        ({"most_stored": True}, "not True"),
        ({"ttl": "-5m"}, "ttl of the cache '-5m' cannot be read"),
        ({"stale_if_error": "1000000d"}, "longer than 100 years"),
        ({"metadata_ttl": {"*": "soon"}}, "metadata_ttl of the cache 'soon'"),
        ({"target": 5}, "not int"),
        ({"target": "dsk"}, "did you mean 'disk'"),
    ],
)
def test_options_that_make_no_sense_are_refused(connect, options, message):
    with pytest.raises(FeatkitError, match=message):
        connect(featkit.CacheOptions(**options))


def test_a_storage_of_requests_cache_is_a_cache(connect, tmp_path, remote):
    value(connect(FileDict(tmp_path / "files")))
    assert calls(connect(FileDict(tmp_path / "files"))) == 0
    assert len(remote.reads) == 1


@pytest.mark.slow
def test_a_table_of_dynamodb_is_a_cache(connect, dynamodb_table, remote):
    client = connect(dynamodb_table())
    client.lookup(range(1000, 301_000), ["v:*"])  # more than one item of DynamoDB can hold
    again = connect(dynamodb_table())
    again.lookup(range(300_999, 999, -1), ["v:*"])
    assert again.last_summary.calls == 0
    assert len(remote.reads) == 1
    told = again.cache.info("v")
    assert told.rows == 300_000
    assert told.stored_bytes > 400_000
    table = dynamodb_table()
    assert len(list(table)) > 2
    assert again.cache.clear() == 300_000
    assert not [name for name in table if not name.endswith("-taken")]
    assert calls(connect(dynamodb_table()), 1000) == 1


@pytest.mark.slow
def test_what_others_wrote_into_a_remote_storage_is_seen_a_little_later(dynamodb_table):
    one, other = (StorageContainer(dynamodb_table(), late=0.2) for _ in range(2))
    version = one.version()
    other.append("5" * 32, [])
    deadline = time.monotonic() + 5
    while one.version() == version and time.monotonic() < deadline:
        time.sleep(0.01)
    assert one.version() != version
    assert StorageContainer({}).version() is None


def test_a_dynamodb_that_refuses_is_one_warning(connect, dynamodb_table, remote):
    table = dynamodb_table()
    table.connection.Table(table.table_name).delete()
    client = connect(table)
    with pytest.warns(CacheWarning, match="cannot be used: .*ResourceNotFound") as told:
        assert value(client) == "a1@1"
    assert len(told) == 1
    assert "canary-secret" not in str(told[0].message)
    assert value(client) == "a1@1"
    assert len(remote.reads) == 1
