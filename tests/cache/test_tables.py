"""Tables against a dict of cells: whatever comes in, in whatever order."""

import hypothesis.strategies as some
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from featkit.cache.segments import Segment
from featkit.cache.tables import Table
from featkit.columns import STATUS, FeatureColumns
from tests.examples import examples

FEATURES = ("a", "b", "c", "d")


def segment(keys, names, at, *, salt=0, key=lambda k: k):
    values = pl.DataFrame({n: [f"{n}{k}@{at}+{salt}" for k in keys] for n in names})
    told = pl.repeat("PRESENT", len(keys), dtype=STATUS, eager=True)
    frame = pl.DataFrame({"k": [key(k) for k in keys]})
    end = pl.Series([at + 100] * len(keys), dtype=pl.Int64)
    return Segment.of(frame, FeatureColumns(values, dict.fromkeys(names, told)), at=at, end=end)


def cells(table, keys, names=FEATURES, key=lambda k: k):
    """Read a table as a dict by key and feature."""
    found = {}
    frame = pl.DataFrame({"k": [key(k) for k in keys]})
    for hits in table.find(frame, names):
        places = np.flatnonzero(hits.rows >= 0)
        columns = hits.columns(places)
        for name in hits.names:
            for place, value in zip(places, columns.values[name], strict=True):
                assert (keys[place], name) not in found, "a feature is in two families"
                found[keys[place], name] = value
    return found


STEPS = some.lists(
    some.tuples(
        some.lists(some.integers(0, 8), unique=True, min_size=1, max_size=6),
        some.lists(some.sampled_from(FEATURES), unique=True, max_size=4),  # none: they are gone
        some.integers(0, 5),  # when
    ),
    max_size=12,
)


@pytest.mark.parametrize("key", [int, str], ids=["exact", "hashed"])
@given(steps=STEPS)
@examples(150)
def test_a_table_knows_what_came_last_by_time(key, steps):
    table, model, gone = Table(), {}, {}
    for turn, (keys, names, at) in enumerate(steps):
        if names:
            table.add(segment(keys, names, at, salt=turn, key=key))
            for k in keys:
                for name in names:
                    if at > gone.get(k, -1) and at >= model.get((k, name), (-1, ""))[0]:
                        model[k, name] = (at, f"{name}{k}@{at}+{turn}")
        else:
            frame = pl.DataFrame({"k": [key(k) for k in keys]})
            table.add(Segment.gone(frame, at=at, end=at + 100))
            for k in keys:
                gone[k] = max(at, gone.get(k, -1))
            model = {
                cell: known for cell, known in model.items() if known[0] > gone.get(cell[0], -1)
            }
        expected = {cell: value for cell, (_, value) in model.items()}
        assert cells(table, list(range(9)), key=key) == expected


@given(steps=STEPS.filter(len), data=some.data())
@examples(80)
def test_the_order_in_which_segments_are_read_does_not_matter(steps, data):
    # each at a time of its own, as two segments of one moment have no order
    made = [
        segment(keys, names, at) if names else Segment.gone(pl.DataFrame({"k": keys}), at=at, end=9)
        for at, (keys, names, _) in enumerate(steps)
    ]
    one, other = Table(), Table()
    for each in made:
        one.add(each)
    for each in data.draw(some.permutations(made)):
        other.add(each)
    assert cells(one, list(range(9))) == cells(other, list(range(9)))


def test_keys_with_one_hash_are_told_apart():
    table = Table(hashing=lambda keys: np.zeros(keys.height, np.int64))
    table.add(segment(["x"], ["a"], 1))
    table.add(segment(["y"], ["a"], 2))
    assert cells(table, ["x", "y"]) == {("y", "a"): "ay@2+0"}  # one is forgotten, none is mixed up


def test_replaced_rows_are_thrown_out_of_memory():
    table = Table()
    for at in range(30):
        table.add(segment(range(1000), ["a"], at))
    (family,) = table.families
    assert family.live == 1000
    assert family.segment.height < 4000
    assert cells(table, [7]) == {(7, "a"): "a7@29+0"}


def test_rows_past_their_time_are_thrown_out():
    table = Table()
    table.add(segment([1, 2], ["a"], 1))
    table.add(segment([2, 3], ["a"], 50))
    assert table.expire(101) == 1
    assert cells(table, [1, 2, 3]) == {(2, "a"): "a2@50+0", (3, "a"): "a3@50+0"}


def test_a_dtype_that_was_not_told_at_first():
    def rows(values, at):
        told = {"v": pl.Series(["NULL"] * len(values), dtype=STATUS)}
        frame = pl.DataFrame({"v": values})
        keys = pl.DataFrame({"k": range(len(values))})
        end = pl.Series([9] * len(values), dtype=pl.Int64)
        return Segment.of(keys, FeatureColumns(frame, told), at=at, end=end)

    table = Table()
    for at, values in enumerate(
        (pl.Series([None]), pl.Series([None, "x"]), pl.Series([None]), pl.Series([5]))
    ):
        table.add(rows(values, at))
    # the last one is of another type: what was known is not of the same feature any more
    assert cells(table, [0, 1], ["v"]) == {(0, "v"): 5}


def test_nothing_is_lost_where_pieces_are_put_together():
    table = Table()
    for at in range(40):
        table.add(segment([at, at + 1], ["a", "b"], at))
    assert len(cells(table, list(range(41)))) == 82


@pytest.mark.parametrize("key", [int, str], ids=["exact", "hashed"])
def test_keys_in_the_order_they_came_get_the_same_as_in_any_other(key):
    table, keys = Table(), np.random.default_rng(0).permutation(1000).tolist()
    table.add(segment(keys[:600], ["a", "b"], 1, key=key))
    table.add(segment(keys[600:], ["a", "b"], 2, key=key))
    for asked in (keys, keys[100:900], keys[100:200], keys[::-1], [*keys[:500], 5000]):
        found = cells(table, asked, key=key)
        known = [k for k in asked if k != 5000]
        expected = {(k, n): f"{n}{k}@{1 + (k in keys[600:])}+0" for k in known for n in "ab"}
        assert found == expected
    (hits,) = table.find(pl.DataFrame({"k": [key(k) for k in keys]}), ["b"])
    assert hits.run == slice(0, 1000)
    assert hits.columns(None).values["b"].to_list() == [
        f"b{k}@{1 + (i >= 600)}+0" for i, k in enumerate(keys)
    ]
    assert hits.at.tolist() == [1] * 600 + [2] * 400
    assert (hits.end - hits.at == 100).all()


def test_a_hash_that_two_keys_share_is_no_run():
    table = Table(hashing=lambda keys: np.arange(keys.height))
    table.add(segment([f"x{n}" for n in range(100)], ["a"], 1))
    assert cells(table, [f"x{n}" for n in range(100)])
    assert cells(table, [f"y{n}" for n in range(100)]) == {}
    mixed = [f"x{n}" if n % 2 else f"y{n}" for n in range(100)]
    assert {key for key, _ in cells(table, mixed)} == {f"x{n}" for n in range(1, 100, 2)}
