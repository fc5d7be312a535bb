"""Keys as Feast writes them, recorded from Feast, and its hashes against the library it uses."""

import base64
import datetime as dt
import json
from pathlib import Path

import mmh3
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featkit.codecs.binary_columns import BinaryColumn
from featkit.errors import NotSupportedError
from featkit.schema import Entity
from featkit.stores.feast.entity_keys import encode, entity_ids, field_names, time_field
from featkit.stores.feast.murmur import murmur3_32, murmur3_128
from featkit.stores.feast.types import named_type
from tests.fakes.feast_format import entity_key

DATA = Path(__file__).parents[2] / "data" / "feast" / "format.json"
RECORDED = json.loads(DATA.read_text("utf-8"))


def revived(said):
    match said:
        case {"$bytes": text}:
            return base64.b64decode(text)
        case {"$datetime": text}:
            return dt.datetime.fromisoformat(text)
        case _:
            return said


def entity(name, kind):
    return Entity(name, name, named_type(kind).dtype, store_type=kind)


@pytest.mark.parametrize("case", RECORDED["keys"], ids=lambda case: "-".join(case["types"]))
def test_keys_and_ids_are_those_of_feast(case):
    entities = [entity(name, kind) for name, kind in case["types"].items()]
    keys = pl.DataFrame(
        {name: [revived(each) for each in values] for name, values in case["values"].items()},
        schema={each.join_key: each.dtype for each in entities},
    )
    found = encode(keys, entities)
    assert found.to_pylist() == [base64.b64decode(key) for key in case["keys"]]
    assert entity_ids(found).to_pylist() == case["ids"]


def test_a_view_without_entities_has_one_key():
    (case,) = [case for case in RECORDED["keys"] if list(case["types"]) == ["__dummy_id"]]
    found = encode(pl.DataFrame(height=1), [])
    assert found.to_pylist() == [base64.b64decode(case["keys"][0])]


def test_keys_of_several_numbers_are_those_of_another_writer():
    types = {"b": "INT32", "a": "INT64", "c": "UNIX_TIMESTAMP"}
    moment = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    rows = [{"b": 7, "a": -1, "c": moment}, {"b": -(2**31), "a": 2**63 - 1, "c": moment}]
    entities = [entity(name, kind) for name, kind in types.items()]
    keys = pl.DataFrame(rows, schema={each.join_key: each.dtype for each in entities})
    wanted = [entity_key(types, row) + b"rides" for row in rows]
    assert encode(keys, entities, suffix=b"rides").to_pylist() == wanted


def test_no_keys_are_none():
    entities = [entity("a", "INT64"), entity("b", "INT32")]
    keys = pl.DataFrame(schema={each.join_key: each.dtype for each in entities})
    assert encode(keys, entities, suffix=b"rides").to_pylist() == []


def test_keys_of_version_2_count_neither_join_keys_nor_letters():
    parts = ["02000000", "61", "02000000", "6262", "04000000", "08000000", "0700000000000000"]
    parts += ["02000000", "01000000", "78"]
    keys = pl.DataFrame({"bb": ["x"], "a": [7]})
    found = encode(keys, [entity("bb", "STRING"), entity("a", "INT64")], counted=False)
    assert found.to_pylist() == [bytes.fromhex("".join(parts))]
    dummy = encode(pl.DataFrame(height=1), [], counted=False).to_pylist()
    assert dummy == [b"\x02\0\0\0__dummy_id\x02" + bytes(7)]


def test_a_slice_of_keys_is_encoded_as_the_slice():
    keys = pl.DataFrame({"a": ["x", "yy", "zzz"]})
    whole = encode(keys, [entity("a", "STRING")]).to_pylist()
    assert encode(keys[1:], [entity("a", "STRING")]).to_pylist() == whole[1:]


def test_keys_of_a_type_that_feast_has_no_keys_of_are_refused():
    with pytest.raises(NotSupportedError, match=r"'ratio' is of type DOUBLE.*STRING, BYTES, INT32"):
        encode(pl.DataFrame({"ratio": [1.5]}), [entity("ratio", "DOUBLE")])


def test_fields_are_named_as_feast_names_them():
    for name, coded in RECORDED["fields"].items():
        view, _, feature = name.partition(":")
        assert field_names(view, [feature]) == [base64.b64decode(coded)]
    assert time_field("bench_a") == b"_ts:bench_a"


@given(st.lists(st.binary(max_size=70), max_size=8))
def test_hashes_are_those_of_the_library_that_feast_uses(values):
    column = BinaryColumn.of(pa.array(values, pa.binary()))
    assert murmur3_32(column).tolist() == [mmh3.hash(each, signed=False) for each in values]
    found = murmur3_128(column).astype("<u8")
    assert [row.tobytes() for row in found] == [mmh3.hash_bytes(each) for each in values]
