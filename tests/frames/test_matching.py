"""Keys are found by their values, whatever their types, and none is taken for another."""

import datetime as dt
import decimal

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis import given

from featkit.frames.matching import KeyRows

NAN = float("nan")
KEYS = {
    "int8": pl.Series([1, None, -128, 127], dtype=pl.Int8),
    "uint64": pl.Series([2**64 - 1, 0, None], dtype=pl.UInt64),
    "float": pl.Series([0.0, NAN, None, 1.5, float("inf")]),
    "float32": pl.Series([0.0, NAN, None], dtype=pl.Float32),
    "text": pl.Series(["", None, "a", "a much longer text than twelve bytes"]),
    "bytes": pl.Series([b"", None, b"\0", b"\0\0"]),
    "categories": pl.Series(["x", None, "y"], dtype=pl.Categorical),
    "enum": pl.Series(["x", None, "y"], dtype=pl.Enum(["y", "x"])),
    "flag": pl.Series([True, None, False]),
    "decimal": pl.Series([decimal.Decimal("1.10"), None, decimal.Decimal(2)]),
    "date": pl.Series([dt.date(2024, 1, 1), None]),
    "moment": pl.Series([dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None]),
    "list": pl.Series([[1, 2], None, [], [None]]),
    "struct": pl.Series([{"a": 1}, None, {"a": None}]),
    "nothing": pl.Series([None], dtype=pl.Null),
}


def colliding(keys, seed):
    """Hash as badly as can be, at first: there are two hashes, and later as many as rows."""
    return keys.to_series().cast(pl.UInt64) % 2 if seed < 2 else keys.to_series().cast(pl.UInt64)


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_each_key_has_its_row(keys):
    rows = list(range(len(keys)))
    again = pl.concat([keys, keys.reverse()], rechunk=False)
    one = KeyRows(keys.to_frame("key"))
    assert one.find(again).to_list() == rows + rows[::-1]
    assert one.find(again.clear()).to_list() == []
    # another part that is the same everywhere, as structs have them
    pair = KeyRows(pl.DataFrame({"key": keys, "other": pl.repeat("x", len(keys), eager=True)}))
    both = pl.DataFrame({"key": again, "other": pl.repeat("x", len(again), eager=True)})
    assert pair.find(both.to_struct()).to_list() == rows + rows[::-1]


def test_zeros_are_equal_and_so_is_what_is_no_number():
    rows = KeyRows(pl.DataFrame({"key": [0.0, NAN, 1.0]}))
    assert rows.find(pl.Series([-0.0, 0.0, NAN, -NAN, None])).to_list() == [0, 0, 1, 1, None]


def test_key_that_is_not_among_them_has_no_row():
    assert (
        KeyRows(pl.DataFrame({"key": ["a"]})).find(pl.Series(["b", None])).to_list() == [None] * 2
    )
    none = KeyRows(pl.DataFrame(schema={"key": pl.Int64}))
    assert none.find(pl.Series([1, None], dtype=pl.Int64)).to_list() == [None, None]
    pairs = KeyRows(pl.DataFrame({"x": [1, 2], "y": [None, 1]}))
    asked = pl.DataFrame({"x": [1, 2, 1, 2], "y": [1, None, None, 1]})
    assert pairs.find(asked.to_struct()).to_list() == [None, None, 0, 1]


def test_equal_hashes_do_not_make_keys_equal():
    rows = KeyRows(pl.DataFrame({"key": [4, 7, 6]}), hashing=colliding)
    assert rows.find(pl.Series([6, 7, 4])).to_list() == [2, 1, 0]
    few = KeyRows(pl.DataFrame({"key": [4, 7]}), hashing=colliding)  # whose hashes are 0 and 1
    assert few.find(pl.Series([8, 4, 9, 7])).to_list() == [None, 0, None, 1]


@given(
    keys=some.lists(some.one_of(some.none(), some.integers(-3, 3)), unique=True),
    asked=some.lists(some.one_of(some.none(), some.integers(-5, 5))),
)
def test_rows_are_those_of_a_join(keys, asked):
    known = pl.DataFrame({"key": pl.Series(keys, dtype=pl.Int64)})
    wanted = pl.DataFrame({"key": pl.Series(asked, dtype=pl.Int64)})
    joined = wanted.join(
        known.with_row_index("row"), on="key", how="left", nulls_equal=True, maintain_order="left"
    )
    assert KeyRows(known).find(wanted["key"]).to_list() == joined["row"].to_list()
