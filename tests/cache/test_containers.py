"""What every container must do, whatever it is made of."""

import pickle
import time

import pytest

from featkit.cache.containers import Entry
from featkit.cache.redis import RedisContainer
from featkit.cache.storages import StorageContainer
from tests.cache.conftest import opener

NOW = 1_700_000_000_000_000
FAR = 4_000_000_000_000_000


def entry(place="0" * 32, *, view="v", namespace="n", size=3, expires=FAR, **facts):
    return Entry(
        namespace=namespace,
        view=view,
        place=place,
        rows=1,
        size=size,
        expires=expires,
        **{"fetched": NOW, **facts},
    )


ONE, OTHER = "1" * 32, "a" * 32


@pytest.fixture
def container(containers):
    made = containers()
    yield made
    made.close()


def ids(container, place):
    return list(container.log(place).segments)


def blobs(container, place):
    return [blob for _, blob in container.read(place, ids(container, place))]


def append(container, facts, blob, **options):
    (number,) = container.append(facts.place, [(facts, blob)], **options)
    return number


def test_what_is_appended_is_read_in_order(container):
    numbers = [append(container, entry(ONE), blob) for blob in (b"", b"\0\xff", b"x" * 100_000)]
    assert ids(container, ONE) == numbers == sorted(numbers)
    assert blobs(container, ONE) == [b"", b"\0\xff", b"x" * 100_000]
    assert [number for number, _ in container.read(ONE, numbers[1:])] == numbers[1:]


def test_places_are_apart(container):
    append(container, entry(ONE), b"one")
    number = append(container, entry(OTHER), b"other")
    assert blobs(container, ONE) == [b"one"]
    assert list(container.read(ONE, [number])) == []
    assert ids(container, "f" * 32) == []


def test_somebody_else_sees_it(containers, container):
    other = containers()
    seen = other.version()
    append(container, entry(ONE), b"one")
    assert seen is None or other.version() != seen
    assert blobs(other, ONE) == [b"one"]
    append(other, entry(ONE), b"two")
    assert sorted(blobs(container, ONE)) == [b"one", b"two"]
    other.close()


def test_nobody_wrote_nothing_changed(containers, container):
    other = containers()
    append(other, entry(ONE), b"one")
    assert other.version() == other.version()
    append(container, entry(ONE), b"x")
    seen = other.version()
    blobs(other, ONE)
    assert other.version() == seen
    other.close()


def test_segments_are_replaced(container):
    old = [append(container, entry(ONE), blob) for blob in (b"a", b"b", b"c")]
    new = append(container, entry(ONE), b"ab", replaces=old[:2])
    assert sorted(blobs(container, ONE)) == [b"ab", b"c"]
    assert set(ids(container, ONE)) == {old[2], new}


def test_segments_that_were_replaced_meanwhile_are_not_replaced_again(container):
    old = [append(container, entry(ONE), blob) for blob in (b"a", b"b")]
    new = append(container, entry(ONE), b"ab", replaces=old)
    assert container.append(ONE, [(entry(ONE), b"again")], replaces=old) is None
    assert container.append(ONE, [], replaces=[new, old[0]], fewer=True) is None
    assert blobs(container, ONE) == [b"ab"]


def test_several_segments_are_added_at_once(container):
    old = append(container, entry(ONE), b"old")
    facts = entry(ONE, replaces=(old,))
    numbers = container.append(ONE, [(facts, b"a"), (facts, b"b")], replaces=[old])
    assert ids(container, ONE) == numbers
    assert blobs(container, ONE) == [b"a", b"b"]
    assert set(container.log(ONE).segments.values()) <= {facts, None}
    assert container.append(ONE, [], replaces=numbers) == []
    assert ids(container, ONE) == []


def test_a_log_tells_whether_rows_were_taken_away(containers, container):
    other = containers()
    seen = other.log(ONE).taken

    def taken():
        nonlocal seen
        before, seen = seen, other.log(ONE).taken
        return before != seen

    first = append(container, entry(ONE), b"a")
    second = append(container, entry(ONE), b"aa", replaces=[first])
    append(container, entry(ONE, expires=NOW - 1), b"old")
    assert container.evict(1000, NOW) == 1  # that is of no use to anybody
    assert not taken()
    container.remove([second])
    assert taken()
    container.remove([second])  # it is gone already
    assert not taken()
    last = append(container, entry(ONE), b"b")
    container.append(ONE, [], replaces=[last], fewer=True)
    assert taken()
    append(container, entry(ONE, size=100), b"c")
    assert container.evict(10, NOW) == 1
    assert taken()
    append(container, entry(OTHER), b"c")
    container.remove(ids(container, OTHER))
    assert not taken()
    other.close()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def test_one_process_at_a_time_puts_segments_together(request, tmp_path, kind):
    containers = opener(kind, request, tmp_path)
    container, other = containers(), containers()
    with container.alone(ONE) as mine:
        assert mine
        with other.alone(ONE) as theirs, other.alone(OTHER) as elsewhere:
            assert (theirs, elsewhere) == (False, True)
    with other.alone(ONE) as theirs:
        assert theirs
    container.close()
    other.close()


def test_facts_are_listed(container):
    made = {
        append(container, each, b"xyz"): each
        for each in (entry(ONE), entry(OTHER, view="w ü"), entry(OTHER, namespace="m"))
    }
    assert container.entries() == made
    assert container.entries("m") == {n: each for n, each in made.items() if each.namespace == "m"}
    assert container.entries("nobody") == {}


def test_segments_are_removed(container):
    numbers = [append(container, entry(ONE), blob) for blob in (b"a", b"b", b"c")]
    container.remove(numbers[:2])
    container.remove(numbers[:1])  # it is gone already
    container.compact()
    assert blobs(container, ONE) == [b"c"]
    assert list(container.read(ONE, numbers[:1])) == []


def test_what_has_expired_and_then_the_oldest_is_evicted(container):
    append(container, entry(ONE, size=100, expires=NOW - 1), b"old")
    for blob in (b"a", b"b", b"c"):
        append(container, entry(ONE, size=100), blob)
    assert container.evict(250, NOW) == 2
    assert blobs(container, ONE) == [b"b", b"c"]
    assert container.evict(250, NOW) == 0


def test_nothing_of_others_is_taken_for_a_segment(storages):
    container = storages()
    container._storage["somebody"] = b"else"  # noqa: SLF001
    append(container, entry(ONE), b"one")
    assert blobs(container, ONE) == [b"one"]
    assert len(container.entries()) == 1


def test_a_segment_of_several_values_is_whole_or_not_there(dynamodb_table):
    container, table = StorageContainer(dynamodb_table(), late=0), dynamodb_table()
    blob = bytes(range(256)) * 4000
    number = append(container, entry(ONE, size=len(blob)), blob)
    assert len(list(table)) == 4
    assert blobs(container, ONE) == [blob]
    del table[f"{ONE}{number:016x}-1"]
    assert blobs(container, ONE) == []
    container.remove([number])
    assert [name for name in table if not name.endswith("-taken")] == []


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_a_pickle_that_somebody_planted_in_a_storage_does_not_run(storages):
    container = storages()
    number = append(container, entry(ONE), b"one")
    trap = pickle.dumps(Trap())
    container._storage[f"{ONE}{number:016x}"] = trap  # noqa: SLF001
    other = storages()
    assert blobs(other, ONE) == []
    other.entries()
    assert not Trap.sprung


def test_a_pickle_that_somebody_planted_in_a_redis_does_not_run(empty_redis):
    container = RedisContainer.at(empty_redis)
    number = append(container, entry(ONE), b"one")
    trap = pickle.dumps(Trap())
    container.connection.set(f"featkit:segment:{ONE}{number:016x}", trap)
    container.connection.hset(f"featkit:log:{ONE}", str(number + 1), trap)
    assert blobs(container, ONE) == [trap]
    assert len(container.entries()) == 1
    assert not Trap.sprung
    container.close()


def test_what_is_kept_in_a_redis_expires_there(empty_redis):
    container = RedisContainer.at(empty_redis)
    now = int(time.time() * 1e6)
    number = append(container, entry(ONE, fetched=now, expires=now + 60_000_000), b"one")
    left = container.connection.ttl(f"featkit:segment:{ONE}{number:016x}")
    assert 58 <= left <= 62
    container.connection.delete(f"featkit:segment:{ONE}{number:016x}")  # as if it had expired
    assert blobs(container, ONE) == []
    assert ids(container, ONE) == []
    container.close()
