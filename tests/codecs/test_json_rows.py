"""Rows of JSON become columns of JSON, with every value where it was."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featkit.codecs.json_rows import JsonRows, grouped, with_nulls
from featkit.errors import ProtocolError, RowMismatch

TEXTS = st.text(alphabet=st.sampled_from('a"\\,:[]{} \n\0é🦉'), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
SPACING = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")])


def written(rows: object, spacing: tuple[str, str], *, escaped: bool) -> bytes:
    return json.dumps(rows, separators=spacing, ensure_ascii=escaped).encode()


@given(st.integers(1, 4), st.data(), SPACING, st.booleans())
def test_columns_hold_what_rows_held(width, data, spacing, escaped):
    row = st.none() | st.lists(VALUES, min_size=width, max_size=width)
    rows = data.draw(st.lists(row, max_size=5))
    read = JsonRows(written(rows, spacing, escaped=escaped))
    present = [row for row in rows if row is not None]
    columns = [json.loads(column) for column in read.columns(width)]
    assert columns == [[row[place] for row in present] for place in range(width)]
    assert read.height == len(rows)
    assert read.present.tolist() == [row is not None for row in rows]


@given(st.lists(st.none() | st.lists(VALUES, max_size=4), max_size=5), SPACING, st.booleans())
def test_values_come_one_after_the_other(rows, spacing, escaped):
    read = JsonRows(written(rows, spacing, escaped=escaped))
    present = [row for row in rows if row is not None]
    assert json.loads(read.values()) == [value for row in present for value in row]
    assert read.lengths.tolist() == [len(row) for row in present]


@given(
    st.lists(st.none() | st.dictionaries(TEXTS, VALUES, max_size=4), max_size=5),
    SPACING,
    st.booleans(),
)
def test_objects_are_names_and_values(rows, spacing, escaped):
    read = JsonRows(written(rows, spacing, escaped=escaped))
    present = [row for row in rows if row is not None]
    names, values = map(json.loads, read.items())
    assert names == [name for row in present for name in row]
    assert values == [value for row in present for value in row.values()]
    assert read.lengths.tolist() == [len(row) for row in present]


@pytest.mark.parametrize("text", [b"[[1, 2], [3]]", b"[[]]", b"[[1], [ ]]", b"[[1, [2, 3]], [4]]"])
def test_rows_of_another_width_are_refused(text):
    with pytest.raises(RowMismatch, match="expected 2 values in each row"):
        JsonRows(text).columns(2)


def test_no_rows_make_empty_columns():
    read = JsonRows(b" [ ] ".strip())
    assert read.height == 0
    assert read.columns(3) == [b"[]"] * 3
    assert read.present.dtype == np.bool_


def test_lists_are_put_together_again():
    rows = JsonRows(b'[[{"a": 1}, {"a": 2}], null, [], [{"a": 3}]]')
    found = grouped(pl.Series("x", [{"a": 1}, {"a": 2}, {"a": 3}]), rows)
    assert found.name == "x"
    assert found.to_list() == [[{"a": 1}, {"a": 2}], None, [], [{"a": 3}]]
    assert grouped(pl.Series("x", [], pl.Int64), JsonRows(b"[null]")).to_list() == [None]


def test_nulls_are_put_back():
    rows = JsonRows(b"[null, [1, 2], null, [3, 4]]")
    assert with_nulls(pl.Series("x", ["a", "b"]), rows).to_list() == [None, "a", None, "b"]
    assert with_nulls(pl.Series("x", [], pl.String), JsonRows(b"[null]")).to_list() == [None]


@pytest.mark.parametrize("text", [b"1", b'"[[1]]"', b"null", b'{"a": [1]}', b"[1]", b"[[1], 2]"])
def test_what_is_no_array_of_rows_is_refused(text):
    with pytest.raises(ProtocolError):
        JsonRows(text).present.all()


def test_arrays_have_no_names():
    with pytest.raises(ProtocolError, match="no object"):
        JsonRows(b"[[1, 2]]").items()


@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=4), max_size=5), SPACING, st.booleans())
def test_fields_are_found_by_name_or_refused(rows, spacing, escaped):
    read = JsonRows(written(rows, spacing, escaped=escaped))
    for name in sorted({name for row in rows for name in row}):
        if all(name in row for row in rows):
            assert json.loads(read.fields([name])[name]) == [row[name] for row in rows]
        else:
            with pytest.raises(RowMismatch, match="not every row has one value"):
                read.fields([name])
    assert read.fields(["\x01 never drawn"]) == {}


@given(
    st.lists(st.none() | st.dictionaries(TEXTS, VALUES, max_size=4), max_size=5),
    SPACING,
    st.booleans(),
)
def test_sparse_fields_tell_the_rows_that_have_them(rows, spacing, escaped):
    read = JsonRows(written(rows, spacing, escaped=escaped))
    present = [row for row in rows if row is not None]
    names = sorted({name for row in present for name in row})
    found = read.sparse([*names, "\x01 never drawn"])
    assert {name: (places.tolist(), json.loads(own)) for name, (places, own) in found.items()} == {
        name: (
            [place for place, row in enumerate(present) if name in row],
            [row[name] for row in present if name in row],
        )
        for name in names
    }


@pytest.mark.parametrize(
    "text", [b'[{"a": 1, "a": 2}]', b'[{"a": 1}, null]', b'[{"a": 1}, {"a": 1, "a": 2}]']
)
def test_a_field_that_a_row_has_not_once_is_refused(text):
    with pytest.raises(RowMismatch, match="'a'"):
        JsonRows(text).fields(["a"])
