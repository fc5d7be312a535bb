"""JSON arrays become columns of exactly their type, or are refused."""

from __future__ import annotations

import json
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featkit.codecs import json_columns
from featkit.errors import ProtocolError

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text()
# by dtype: what such a column may hold
VALUES: list[tuple[pl.DataType, st.SearchStrategy[object]]] = [
    (pl.Int64(), INT64),
    (pl.Int8(), st.integers(-128, 127)),
    (pl.Float64(), FLOATS),
    (pl.Boolean(), st.booleans()),
    (pl.String(), TEXT),
    (pl.List(pl.Int64()), st.lists(st.none() | INT64)),
    (pl.List(pl.String()), st.lists(st.none() | TEXT)),
    (pl.List(pl.Boolean()), st.lists(st.none() | st.booleans())),
    (pl.List(pl.List(pl.Int64())), st.lists(st.none() | st.lists(INT64))),
]
TYPED = pytest.mark.parametrize(("dtype", "values"), VALUES, ids=lambda it: str(it)[:20])


def decode(values: object, dtype: pl.DataType | None) -> pl.Series:
    return json_columns.decode(json.dumps(values).encode(), dtype, "column")


@TYPED
@given(data=st.data())
def test_what_a_column_may_hold_comes_back_as_it_is(
    dtype: pl.DataType, values: st.SearchStrategy[object], data: st.DataObject
) -> None:
    column = data.draw(st.lists(st.none() | values, max_size=8))
    found = decode(column, dtype)
    assert found.dtype == dtype
    assert found.name == "column"
    assert found.to_list() == column


@TYPED
@given(data=st.data())
def test_indented_and_escaped_json_is_the_same(
    dtype: pl.DataType, values: st.SearchStrategy[object], data: st.DataObject
) -> None:
    column = data.draw(st.lists(st.none() | values, max_size=4))
    text = json.dumps(column, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert json_columns.decode(text, dtype, "column").to_list() == column


LIES = [
    (pl.Int64(), [1, 1.5]),
    (pl.Int64(), [1, 1e300]),
    (pl.Int64(), [2**63]),
    (pl.Int64(), [-(2**63) - 1]),
    (pl.Int32(), [2**31]),
    (pl.Int64(), ["5"]),
    (pl.Int64(), [True]),
    (pl.Int64(), [[1]]),
    (pl.Int64(), [{"a": 1}]),
    (pl.Int64(), [math.nan]),
    (pl.Float64(), ["x"]),
    (pl.Float64(), ["5"]),
    (pl.Float64(), [True]),
    (pl.Float64(), [[1.0]]),
    (pl.Boolean(), [1]),
    (pl.Boolean(), ["true"]),
    (pl.String(), [5]),
    (pl.String(), [True, "a"]),
    (pl.String(), [["a"]]),
    (pl.String(), [{"a": "b"}]),
    (pl.List(pl.Int64()), [5]),
    (pl.List(pl.Int64()), [[1.5]]),
    (pl.List(pl.Int64()), [[2**63]]),
    (pl.List(pl.Int64()), [[[1]]]),
    (pl.List(pl.String()), ["a"]),
    (pl.List(pl.String()), [["a", 5]]),
    (pl.List(pl.List(pl.Int64())), [[1, 2], [3]]),
]


@pytest.mark.parametrize(("dtype", "values"), LIES, ids=str)
def test_a_value_of_another_type_is_refused(dtype: pl.DataType, values: list[object]) -> None:
    with pytest.raises(ProtocolError, match="'column'"):
        decode([None, *values], dtype)


@pytest.mark.parametrize("text", ["", "[", "nothing", "{}", "[1,]", "[1] 2", '"a"', "5", "null"])
@pytest.mark.parametrize(
    "dtype", [pl.Int64(), pl.Float64(), pl.String(), pl.List(pl.Int64()), None]
)
def test_what_is_no_array_is_refused(text: str, dtype: pl.DataType | None) -> None:
    with pytest.raises(ProtocolError):
        json_columns.decode(text.encode(), dtype, "column")


def test_floats_have_words_for_what_json_cannot_write() -> None:
    found = decode([1.5, "NaN", "Infinity", "-Infinity", None], pl.Float64()).to_list()
    assert found[0] == 1.5
    assert math.isnan(found[1])
    assert found[2:] == [math.inf, -math.inf, None]
    nested = decode([["NaN", 1.0], None, []], pl.List(pl.Float64())).to_list()
    assert math.isnan(nested[0][0])
    assert nested[1:] == [None, []]


def test_a_float32_is_read_to_the_nearest() -> None:
    assert decode([0.1], pl.Float32()).item() == 0.10000000149011612


def test_structs_are_read_by_field() -> None:
    dtype = pl.Struct({"city": pl.String(), "n": pl.Float64()})
    found = decode([{"n": 3.0, "city": "Rome"}, None, {"city": "Oslo"}], dtype)
    assert found.to_list() == [{"city": "Rome", "n": 3.0}, None, {"city": "Oslo", "n": None}]


@given(st.lists(st.none() | st.dictionaries(TEXT, st.lists(INT64) | TEXT | FLOATS)))
def test_any_json_keeps_its_meaning_as_text(values: list[object]) -> None:
    found = decode(values, None)
    assert found.dtype == pl.String
    assert [text and json.loads(text) for text in found.to_list()] == values


def test_columns_that_repeat_to_the_byte_are_decoded_once() -> None:
    made = []

    def make(text: bytes, name: str) -> pl.Series:
        made.append(name)
        return json_columns.decode(text, pl.Int64(), name)

    decode_once = json_columns.shared(make)
    assert decode_once(b"[1]", "a") is decode_once(memoryview(b"[1]"), "b")
    decode_once(b"[2]", "c")
    assert made == ["a", "c"]


# -- one value, again and again ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'["a","a","a"]', (b'["a"]', 3)),
        (b"[1]", (b"[1]", 1)),
        (b"[null,null]", (b"[null]", 2)),
        (b'["a,b","a,b"]', None),
        (b"[[1,2],[1,2]]", None),
        (b"[1, 1]", None),
        (b"[1,1,2]", None),
        (b"[1,11]", None),
        (b"[]", None),
        (b"", None),
        (b"[1,1", None),
        (b'{"a":1}', None),
    ],
)
def test_an_array_of_one_value_is_known_by_its_text(raw, found):
    assert json_columns.repeated(raw) == found
