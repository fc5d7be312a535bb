"""Views in memory and their segments in a file that others write to as well."""

import polars as pl
import pytest

from featkit.cache.sqlite import SqliteContainer
from featkit.cache.views import MANY, CachedView
from tests.cache.test_tables import cells, segment

PLACE = "5" * 32


class Watched(SqliteContainer):
    """A container that tells which segments were read."""

    def __init__(self, path):
        super().__init__(path)
        self.seen = []

    def read(self, place, ids):
        for number, blob in super().read(place, ids):
            self.seen.append(number)
            yield number, blob

    def just_read(self):
        seen, self.seen = self.seen, []
        return len(seen)


@pytest.fixture
def opened(tmp_path):
    """Return what opens the file and the view, as another process would."""
    made = []

    def make():
        container = Watched(tmp_path / "cache.sqlite")
        made.append(container)
        return container, CachedView("n", "v", PLACE)

    yield make
    for container in made:
        container.close()


def write(container, view, keys, at, names=("a",)):
    made = segment(keys, names, at)
    view.write(container, [made], 1000)
    view.add(made)


def known(view, count=100):
    return cells(view.table, list(range(count)), ("a", "b"))


def compact(container, view):
    view.compact(container, before=-1, slack=1000)
    return container.just_read()


def test_what_was_put_together_is_not_read_again(opened):
    (mine, writer), (theirs, reader) = opened(), opened()
    for at in range(MANY + 1):
        write(mine, writer, [at], at)
    reader.follow(theirs)
    assert theirs.just_read() == MANY + 1
    assert compact(mine, writer) == MANY + 1
    assert len(mine.log(PLACE).segments) == 1
    reader.follow(theirs)
    assert theirs.just_read() == 0
    write(mine, writer, [50], 50, ("a", "b"))
    reader.follow(theirs)
    assert theirs.just_read() == 1
    assert known(reader) == known(writer)
    assert len(known(reader)) == MANY + 3
    (container, newcomer) = opened()
    newcomer.follow(container)
    assert container.just_read() == 2
    assert known(newcomer) == known(reader)


def test_what_was_put_together_is_read_where_a_part_is_unknown(opened):
    (mine, writer), (theirs, reader) = opened(), opened()
    for at in range(MANY + 1):
        write(mine, writer, [at], at)
        if at == MANY - 1:
            reader.follow(theirs)
    theirs.just_read()
    compact(mine, writer)
    reader.follow(theirs)
    assert theirs.just_read() == 1
    assert known(reader) == known(writer)


def test_rows_that_were_taken_away_are_forgotten(opened):
    (mine, writer), (theirs, reader) = opened(), opened()
    for at in range(4):
        write(mine, writer, [at, at + 1], at)
    reader.follow(theirs)
    assert writer.keep_only(mine, lambda frame: frame["at"] > 1, 1000) == 2
    reader.follow(theirs)
    writer.follow(mine)
    assert {key for key, _ in known(reader)} == {2, 3, 4}
    assert known(reader) == known(writer)
    (container, _) = opened()
    container.remove(container.log(PLACE).segments)
    for container, view in ((mine, writer), (theirs, reader)):
        view.follow(container)
        assert known(view) == {}


def test_nobody_puts_together_what_somebody_else_is_at(opened):
    (mine, writer), (theirs, other) = opened(), opened()
    for at in range(MANY + 1):
        write(mine, writer, [at], at)
    other.follow(theirs)
    theirs.just_read()
    with mine.alone(PLACE):
        assert compact(theirs, other) == 0
    assert compact(theirs, other) == 0  # it has some patience
    assert compact(mine, writer) == MANY + 1
    for _ in range(20):
        assert compact(theirs, other) == 0  # there is nothing left to do


def test_rows_are_thrown_away_while_others_put_them_together(opened):
    (mine, writer), (theirs, other) = opened(), opened()
    for at in range(MANY + 1):
        write(mine, writer, [at], at)
    other.follow(theirs)
    compact(mine, writer)  # so that what the other one knows is not there any more
    assert other.keep_only(theirs, lambda frame: frame["at"] > 5, 1000) == 6
    (container, newcomer) = opened()
    newcomer.follow(container)
    assert {key for key, _ in known(newcomer)} == set(range(6, MANY + 1))


def test_what_was_forgotten_stays_so_when_segments_are_put_together(opened):
    (mine, writer), (theirs, other) = opened(), opened()
    for at in range(MANY):
        write(mine, writer, [at], at)
    other.follow(theirs)
    gone = type(segment([3], ("a",), 1)).gone(pl.DataFrame({"k": [3]}), at=MANY, end=MANY + 200)
    other.write(theirs, [gone], 1000)
    other.add(gone)
    compact(mine, writer)  # knows nothing of it
    write(mine, writer, [80], 80)
    for container, view in ((mine, writer), (theirs, other), opened()):
        view.follow(container)
        assert {key for key, _ in known(view)} == {*range(MANY), 80} - {3}


def test_segments_are_put_together_after_some_were_evicted(opened):
    (container, view) = opened()
    for at in range(MANY + 1):
        write(container, view, [at], at)
    assert container.evict(2**30, 1101) == 1
    for at in range(MANY + 1, MANY + 12):
        write(container, view, [at], at)
        compact(container, view)
        view.follow(container)
    assert len(container.log(PLACE).segments) < MANY


def test_rows_that_left_the_memory_are_not_dead(opened):
    (container, view) = opened()
    for at in range(3):
        write(container, view, range(at * 5000, (at + 1) * 5000), at)
    assert view.shrink() == 7500
    for _ in range(20):
        assert compact(container, view) == 0
    for at in range(3, 6):  # the same keys again: these are
        write(container, view, range(5000), at)
    (other, newcomer) = opened()
    newcomer.follow(other)
    other.just_read()
    assert compact(other, newcomer) == 6
