"""Records that are cut at what stands between their values are those that a parser reads."""

import json

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis import given
from polars.testing import assert_frame_equal

from featkit.errors import ProtocolError
from featkit.stores.sagemaker.records import Records, parsed

NAMES = ["at", "f0", "f1", "long name", "é"]
COMPACT, SPACED = (",", ":"), (", ", ": ")


def record(key, cells, **more):
    told = [{"FeatureName": name, "ValueAsString": value} for name, value in cells]
    own = {"FeatureGroupName": "g", "RecordIdentifierValueAsString": key}
    return {**own, "Record": told, **more}


def written(records, separators=SPACED):
    return json.dumps(records, separators=separators, ensure_ascii=False).encode()


def is_cut(records):
    return type(records._cells).__name__ == "_Stretches"  # noqa: SLF001 - else nothing tells it


def read_both(text):
    """Read records both ways; tell whether they were cut."""
    found, expected = Records.read(text), Records.of(parsed(text))
    assert_frame_equal(found.heads, expected.heads)
    rows = range(expected.heads.height)
    at = pl.Series([*reversed(rows), None], dtype=pl.UInt32)
    for name in [*NAMES, "unknown"]:
        assert found.texts(name, at).to_list() == expected.texts(name, at).to_list()
    return is_cut(found)


words = some.text(some.sampled_from('a1é"\\[]{},: \n'), max_size=5)
plain = some.text(some.sampled_from("a1é[]{},: "), max_size=5)


def records_of(values, *, shuffled=False):
    names = some.lists(some.sampled_from(NAMES), unique=True)
    names = names if shuffled else names.map(lambda own: sorted(own, key=NAMES.index))
    cells = names.flatmap(
        lambda own: some.tuples(*(some.tuples(some.just(n), values) for n in own))
    )
    return some.lists(some.builds(record, values, cells), max_size=6)


@given(records_of(words, shuffled=True), some.sampled_from([COMPACT, SPACED, (" ,", " : ")]))
def test_whatever_is_told_is_read_alike(records, separators):
    read_both(written(records, separators))


@given(records_of(plain), some.sampled_from([COMPACT, SPACED]))
def test_brackets_within_values_are_no_brackets(records, separators):
    read_both(written(records, separators))


@pytest.mark.parametrize("separators", [COMPACT, SPACED], ids=["compact", "spaced"])
def test_records_with_gaps_are_cut(separators):
    records = [
        record("1", [("at", "t"), ("f0", "1.5"), ("f1", "")]),
        record("2", [("f1", "2")], ExpiresAt="2030-01-01T00:00:00Z"),
        record("é", []),
        record("3", [("at", "t"), ("long name", "x"), ("é", "é")]),
    ]
    assert read_both(written(records, separators))
    assert read_both(written(records[::-1], separators))


def test_records_that_begin_with_the_features_are_cut():
    records = [record(str(n), [("at", "t"), ("f0", str(n))]) for n in range(100)]
    assert read_both(written([dict(reversed(own.items())) for own in records]))


def test_names_that_are_told_by_few_records_are_found():
    records = [record(str(n), [("at", "t")]) for n in range(1000)]
    records[501]["Record"].append({"FeatureName": "f0", "ValueAsString": "1"})
    assert read_both(written(records))


CELL = '{"FeatureName": "f0", "ValueAsString": "1"}'
OTHER = '{"FeatureName": "f0", "ValueAsStringList": ["1"]}'
HEAD = '{"FeatureGroupName": "g", "RecordIdentifierValueAsString": "1"'
ODD = {
    "another order": f'[{HEAD}, "Record": [{CELL}, {CELL.replace("f0", "f1")}]}}, '
    f'{HEAD}, "Record": [{CELL.replace("f0", "f1")}, {CELL}]}}]',
    "another member": f'[{HEAD}, "Record": [{CELL[:-1]}, "More": "x"}}]}}]',
    "another order of members": f'[{HEAD}, "Record": [{CELL}, '
    '{"ValueAsString": "2", "FeatureName": "f1"}]}]',
    "a list": f'[{HEAD}, "Record": [{CELL.replace("f0", "f1")}, {OTHER}]}}]',
    "a null": f'[{HEAD}, "Record": [{CELL}, null]}}]',
    "no value": f'[{HEAD}, "Record": [{CELL}, {{"FeatureName": "f1"}}]}}]',
    "no record": f'[{HEAD}}}, {HEAD}, "Record": [{CELL}]}}]',
    "a null record": f'[{HEAD}, "Record": null}}, {HEAD}, "Record": [{CELL}]}}]',
    "cells elsewhere": f'[{HEAD}, "More": [{CELL}], "Record": []}}, {HEAD}, "Record": [{CELL}]}}]',
    "cells elsewhere, and none here": f'[{HEAD}, "More": [{CELL}]}}, {HEAD}, "Record": [{CELL}]}}]',
    "an escape": f'[{HEAD}, "Record": [{CELL.replace("1", chr(92) + "n")}]}}]',
    "other space": f'[{HEAD}, "Record": [{CELL}, {CELL.replace(": ", ":").replace("f0", "f1")}]}}]',
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_what_is_not_of_one_pattern_is_parsed(text):
    found, expected = Records.read(text.encode()), Records.of(parsed(text.encode()))
    assert not is_cut(found)
    assert_frame_equal(found.heads, expected.heads)


def test_feature_that_is_told_twice_is_refused():
    found = Records.read(f'[{HEAD}, "Record": [{CELL}, {CELL}]}}]'.encode())
    with pytest.raises(ProtocolError, match="'f0' twice"):
        found.texts("f0", pl.Series([0], dtype=pl.UInt32))


def test_one_value_is_no_list():
    found = Records.read(f'[{HEAD}, "Record": [{CELL}]}}]'.encode())
    with pytest.raises(ProtocolError, match="'f0' should be a list"):
        found.texts("f0", pl.Series([0], dtype=pl.UInt32), many=True)


def test_text_that_is_none_is_refused():
    with pytest.raises(ProtocolError, match="Records"):
        Records.read(f'[{HEAD}, "Record": [{CELL}]}}]'.encode().replace(b"1", b"\xff"))


@given(some.data())
def test_damage_is_never_read_as_something_else(data):
    """What is still JSON after some bytes were changed is read as a parser reads it."""
    text = bytearray(written([record(str(n), [("at", "t"), ("f0", str(n))]) for n in range(3)]))
    for _ in range(data.draw(some.integers(1, 3))):
        place = data.draw(some.integers(0, len(text) - 1))
        text[place] = data.draw(some.sampled_from(b'"[]{},: 1a'))
    try:
        json.loads(text)
        expected = Records.of(parsed(bytes(text)))
    except (ValueError, ProtocolError, pl.exceptions.PolarsError):
        return  # msgspec, which reads the answer around it, refuses it before
    found = Records.read(bytes(text))
    assert_frame_equal(found.heads, expected.heads)
    at = pl.int_range(expected.heads.height, dtype=pl.UInt32, eager=True)
    for name in ("at", "f0"):
        assert _or_error(found, name, at) == _or_error(expected, name, at)


def _or_error(records, name, at):
    try:
        return records.texts(name, at).to_list()
    except ProtocolError as error:
        return str(error)
