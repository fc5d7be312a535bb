"""Values of every kind are read as columns, and what is of another kind is refused."""

from __future__ import annotations

import datetime as dt
import math

import polars as pl
import pytest

from featkit.codecs.json_kinds import (
    ANYTHING,
    BOOLEANS,
    INSTANTS,
    STRINGS,
    Fields,
    Floats,
    Integers,
    ListOf,
    MapOf,
    Objects,
)
from featkit.errors import ProtocolError, RowMismatch

STREETS = Fields((("street", STRINGS), ("no", Integers()), ("w", Floats())))
NOON = dt.datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=dt.UTC)
READ = {
    "text": (STRINGS, b'["a", null, "\\u00e9\\""]', ["a", None, 'é"']),
    "integers as text": (
        Integers(),
        b'["9007199254740993", null, "-1"]',
        [9007199254740993, None, -1],
    ),
    "integers": (Integers(), b"[0, null, 9007199254740993]", [0, None, 9007199254740993]),
    "floats": (Floats(), b'[0, 1.5, "null", null, "-Infinity"]', [0, 1.5, None, None, -math.inf]),
    "booleans": (BOOLEANS, b"[true, null, false]", [True, None, False]),
    "times": (
        INSTANTS,
        b'["2026-11-22T12:00:00.123456Z", null, "2026-11-22T14:00:00.123456+02:00"]',
        [NOON, None, NOON],
    ),
    "anything": (ANYTHING, b'[{"a": [1]}, null, 2]', ['{"a": [1]}', None, "2"]),
    "lists": (ListOf(Integers()), b'[["1", null], null, []]', [[1, None], None, []]),
    "lists of lists": (
        ListOf(ListOf(Floats())),
        b"[[[1.5], null], null, [], [[]]]",
        [[[1.5], None], None, [], [[]]],
    ),
    "structs": (
        STREETS,
        b'[["street 1", "7", 2.5], null, [null, null, "Infinity"]]',
        [
            {"street": "street 1", "no": 7, "w": 2.5},
            None,
            {"street": None, "no": None, "w": math.inf},
        ],
    ),
    "maps": (
        MapOf(Integers(), ListOf(STRINGS)),
        b'[{"1": ["a"], "2": null}, null, {}]',
        [[{"key": 1, "value": ["a"]}, {"key": 2, "value": None}], None, []],
    ),
    "lists of structs": (
        ListOf(STREETS),
        b'[null, [["a", "1", 0], null]]',
        [None, [{"street": "a", "no": 1, "w": 0.0}, None]],
    ),
    "structs as objects": (
        Objects((("street", STRINGS), ("no", ListOf(Integers())))),
        b'[{"no": ["7"], "x": [{"no": 1}], "street": "a"}, null, {}, {"street": null, "no": []}]',
        [
            {"street": "a", "no": [7]},
            None,
            {"street": None, "no": None},
            {"street": None, "no": []},
        ],
    ),
    "structs of maps": (
        Fields((("m", MapOf(STRINGS, INSTANTS)),)),
        b'[[{"a": "2026-11-22T12:00:00.123456Z"}], [null]]',
        [{"m": [{"key": "a", "value": NOON}]}, {"m": None}],
    ),
}


@pytest.mark.parametrize(("kind", "text", "values"), READ.values(), ids=READ)
def test_values_are_read_with_the_dtype_of_the_kind(kind, text, values):
    read = kind.decode(text, "x")
    assert read.to_list() == values
    assert (read.name, read.dtype) == ("x", kind.dtype)


@pytest.mark.parametrize("kind", [kind for kind, _, _ in READ.values()], ids=READ)
@pytest.mark.parametrize("text", [b"[]", b"[null]", b"[null, null]"])
def test_the_dtype_does_not_depend_on_the_values(kind, text):
    read = kind.decode(text, "x")
    assert read.to_list() == [None] * text.count(b"null")
    assert read.dtype == kind.dtype


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Integers(), b'["1.5"]'),
        (Integers(), b'["9223372036854775808"]'),
        (Integers(), b"[9223372036854775808]"),
        (Integers(), b'["1", 2]'),
        (Integers(), b'["x"]'),
        (Floats(), b'["1.5"]'),
        (Floats(), b"[true]"),
        (BOOLEANS, b'["true"]'),
        (STRINGS, b"[1]"),
        (INSTANTS, b'["yesterday"]'),
        (INSTANTS, b'["2026-11-22T12:00:00"]'),
        (ListOf(Integers()), b'["1"]'),
        (ListOf(Integers()), b'[[["1"]]]'),
        (STREETS, b'[{"street": "a", "no": "7", "w": 1}]'),
        (MapOf(STRINGS, Integers()), b'[["a", "1"]]'),
        (Objects((("a", Integers()),)), b'[["a", 1]]'),
        (Objects((("a", Integers()),)), b'[{"a": 1, "a": 2}]'),
        (Objects((("a", Integers()),)), b'[{"a": 1, "a": 2}, {}]'),
    ],
)
def test_another_kind_is_refused(kind, text):
    with pytest.raises(ProtocolError):
        kind.decode(text, "x")


@pytest.mark.parametrize("text", [b'[["a", "7"]]', b'[["a", "7", 2.5, 1]]'])
def test_a_struct_of_another_width_is_refused(text):
    with pytest.raises(RowMismatch):
        STREETS.decode(text, "x")


def test_long_columns_are_read_as_short_ones():
    text = b"[" + b",".join(b'["s", "%d", %d.5]' % (n, n) for n in range(20_000)) + b"]"
    read = STREETS.decode(text, "x").struct.unnest()
    assert read["no"].to_list() == list(range(20_000))
    assert read["w"].dtype == pl.Float64
