"""Values as Feast writes them: recorded from its own protobuf, and made up by an encoder here."""

import base64
import datetime as dt
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featkit.codecs import protobuf
from featkit.codecs.binary_columns import BinaryColumn
from featkit.errors import ProtocolError
from featkit.stores.feast.types import NUMBERS, Column, column_type, named_type
from featkit.stores.feast.values import decode, decode_times, json_texts
from tests.fakes.feast_format import value
from tests.fakes.protobuf import delimited, tag, varint

DATA = Path(__file__).parents[2] / "data" / "feast" / "format.json"
RECORDED = json.loads(DATA.read_text("utf-8"))
PLAIN = [name for name in RECORDED["values"] if named_type(name).wire is not None]
DEEP = [name for name in RECORDED["values"] if named_type(name).wire is None]


def column_of(messages):
    return BinaryColumn.of(pa.array(messages, pa.binary()))


def recorded(name):
    said = RECORDED["values"][name]
    return column_of([base64.b64decode(each) for each in said["messages"]]), said["values"]


def revived(said):
    """Return what the recording says as featkit says it."""
    match said:
        case {"$float": text}:
            return float(text)
        case {"$bytes": text}:
            return base64.b64decode(text)
        case {"$datetime": text}:
            return dt.datetime.fromisoformat(text)
        case {"$decimal": text} | {"$uuid": text}:
            return text
        case {"$set": values} | [*values]:
            return [revived(each) for each in values]
        case _:
            return said


def same(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


# -- what Feast's own protobuf wrote -------------------------------------------------------------


def test_every_type_of_a_value_was_recorded():
    assert set(RECORDED["values"]) == set(NUMBERS) - {"NULL"}


@pytest.mark.parametrize("name", PLAIN)
def test_a_type_is_read_as_feast_reads_it(name):
    column, said = recorded(name)
    values = decode(column, named_type(name), "f")
    assert values.dtype == named_type(name).dtype
    wanted = [revived(each) for each in said]
    found = values.to_list()
    if name.startswith("JSON"):  # Feast parses it, featkit leaves the text
        found = json.loads("[" + ",".join(str(each) for each in found[:-1]).replace("'", "") + "]")
        wanted = [revived(each) for each in said[:-1]]
        assert values.to_list()[-1] is None
    if name.endswith("_SET"):
        found, wanted = ([each and sorted(each) for each in rows] for rows in (found, wanted))
    assert len(found) == len(wanted)
    assert all(map(same, found, wanted)), (found, wanted)


def test_rows_of_another_order_and_of_one_kind_are_read_alike():
    column, said = recorded("INT64")
    rows = np.array([3, 3, 0, 7])
    assert decode(column.take(rows), named_type("INT64"), "f").to_list() == [said[i] for i in rows]


@pytest.mark.parametrize("name", sorted(set(DEEP) - {"SCALAR_MAP"}))
def test_what_can_hold_anything_is_json(name):
    column, said = recorded(name)
    values = decode(column, named_type(name), "f")
    assert [each and json.loads(each) for each in values.to_list()] == said


def test_a_map_whose_keys_are_no_text_is_json_whose_keys_are():
    column, _ = recorded("SCALAR_MAP")
    uid = "00000000-0000-0000-0000-000000000007"
    found = [each and json.loads(each) for each in json_texts(column).to_list()]
    assert found == [
        {"1": "a", "2": "b"},
        {},
        {"true": 0.5},
        {"AA==": "bytes", uid: "u"},
        None,
    ]


def test_every_kind_can_lie_within_a_map():
    for name in RECORDED["values"]:
        messages = [base64.b64decode(each) for each in RECORDED["values"][name]["messages"]]
        texts = json_texts(column_of(messages))
        alone = [None if each is None else json.loads(each) for each in texts]
        assert [each is None for each in alone] == [
            each is None for each in RECORDED["values"][name]["values"]
        ]
        entries = [b"\x0a\x01k\x12" + varint(len(each)) + each for each in messages]
        maps = [delimited(tag(20, 2), delimited(b"\x0a", each)) for each in entries]
        within = json_texts(column_of(maps))
        assert [json.loads(each) for each in within] == [{"k": each} for each in alone]


def test_a_struct_with_a_schema_is_a_struct():
    tags = {"feast:struct_schema": '{"city": "STRING", "n": "INT64"}'}
    column, _ = recorded("STRUCT")
    kind = column_type(Column("s", "STRUCT", tags=tags))
    assert decode(column, kind, "s").to_list() == [
        {"city": "Oslo", "n": 3},
        {"city": "", "n": 0},
        None,
    ]
    column, _ = recorded("STRUCT_LIST")
    kind = column_type(Column("s", "STRUCT_LIST", tags=tags))
    assert decode(column, kind, "s").to_list()[0] == [
        {"city": "Oslo", "n": 3},
        {"city": "B", "n": 4},
    ]


def test_lists_of_lists_with_a_known_type_are_lists_of_lists():
    column, _ = recorded("VALUE_SET")
    values = decode(column, named_type("Array(Array(INT64))"), "f")
    assert values.dtype == pl.List(pl.List(pl.Int64))
    assert values.to_list() == [[[1, 2], [3]], None]


def test_event_times_are_read_to_the_microsecond():
    messages = [base64.b64decode(each["message"]) for each in RECORDED["times"]]
    found = decode_times(column_of([*messages, b"", None]))
    wanted = [dt.datetime.fromisoformat(each["time"]) for each in RECORDED["times"]]
    assert found.to_list() == [*wanted, None, None]


@pytest.mark.parametrize("last", [b"\x08\x80\x01\x10\x80\x7d", b"\x10\x80\x7d", b"", None])
def test_event_times_of_whole_seconds_are_read_alone_and_among_others(last):
    whole = [b"\x08\x01", b"\x08\x80\x01", b"\x08\x00", b"\x08" + b"\xff" * 9 + b"\x01"]
    found = decode_times(column_of([*whole, last])).dt.epoch("us")
    rest = {6: 128_000_016, 3: 16}.get(len(last or b""))
    assert found.to_list() == [1_000_000, 128_000_000, None, -1_000_000, rest]
    assert decode_times(column_of(whole)).dt.epoch("us").to_list() == found.to_list()[:-1]


@pytest.mark.parametrize("broken", [b"\x08", b"\x08\x80", b"\x08\x01\x01", b"\x09\x01"])
def test_what_is_no_event_time_is_refused(broken):
    with pytest.raises(ProtocolError):
        decode_times(column_of([b"\x08\x01", broken]))


def test_the_vector_of_a_grpc_answer_is_read_as_one_column():
    """Its values hold bytes that look like the beginning of the next one."""
    vector = column_of([base64.b64decode(RECORDED["vector"])])
    values, statuses, times = _vector(vector)
    assert decode(values, named_type("STRING"), "f").to_list() == [
        "\n" * (number % 14) for number in range(3000)
    ]
    assert statuses.tolist() == [1] * 3000
    assert decode_times(times).dt.epoch("s").fill_null(0).to_list() == list(range(3000))


def _vector(vector):
    wire_types = dict.fromkeys([1, 2, 3], protobuf.DELIMITED)
    found = {number: part for number, (part, _) in protobuf.elements(vector, wire_types).items()}
    return found[1], protobuf.packed_varints(found[2])[0], found[3]


# -- what an encoder of our own wrote ------------------------------------------------------------


# protobuf's own tags in what is read make it hard to tell where a field begins
texts = st.text(st.sampled_from("\n\x12a☃\x02")) | st.text(max_size=20)
raws = st.binary(max_size=20) | st.lists(st.sampled_from([10, 18, 2, 0, 128]), max_size=9).map(
    bytes
)
moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)).map(  # noqa: DTZ001
    lambda time: time.replace(microsecond=0, tzinfo=dt.UTC)
)
SCALARS = {
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300),
    "BOOL": st.booleans(),
    "UNIX_TIMESTAMP": moments,
    "DOUBLE": st.floats(),
    "FLOAT": st.floats(width=32),
    "STRING": texts,
    "BYTES": raws,
}


@pytest.mark.parametrize("name", SCALARS)
@given(data=st.data())
def test_what_was_written_is_read(name, data):
    scalar = SCALARS[name]
    held = data.draw(st.lists(st.none() | scalar, max_size=30))
    found = decode(column_of([value(name, each) for each in held]), named_type(name), "f")
    assert found.dtype == named_type(name).dtype
    assert all(map(same, found.to_list(), held))
    many = data.draw(st.lists(st.none() | st.lists(scalar, max_size=12), max_size=12))
    kind = f"{name}_LIST"
    found = decode(column_of([value(kind, each) for each in many]), named_type(kind), "f")
    assert found.dtype == named_type(kind).dtype
    assert len(found) == len(many)
    assert all(map(same, found.to_list(), many))


@given(st.lists(st.lists(st.none() | st.lists(texts, max_size=4), max_size=4), max_size=6))
def test_lists_of_lists_are_read(rows):
    messages = [
        delimited(
            tag(NUMBERS["VALUE_LIST"], 2),
            b"".join(delimited(b"\x0a", value("STRING_LIST", each)) for each in row),
        )
        for row in rows
    ]
    found = decode(column_of(messages), named_type("Array(Array(STRING))"), "f")
    assert found.to_list() == rows


MAPS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
    lambda inner: st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


def anything(held):
    match held:
        case dict():
            entries = [
                delimited(b"\x0a", key.encode()) + delimited(b"\x12", anything(each))
                for key, each in held.items()
            ]
            payload = b"".join(delimited(b"\x0a", entry) for entry in entries)
            return delimited(tag(NUMBERS["MAP"], 2), payload)
        case None:
            return b""
        case bool():
            return value("BOOL", held)
        case int():
            return value("INT64", held)
        case _:
            return value("STRING", held)


@given(st.lists(MAPS, max_size=8))
def test_maps_in_maps_are_read(rows):
    texts = json_texts(column_of([anything(each) for each in rows]))
    assert [None if each is None else json.loads(each) for each in texts] == rows


# -- what is wrong with it -----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SCALARS, *(f"{name}_LIST" for name in SCALARS), "MAP"])
@given(data=st.data())
def test_what_is_cut_short_is_refused(name, data):
    column, _ = recorded(name)
    messages = [each for each in column.to_arrow().to_pylist() if len(each) > 1]
    message = data.draw(st.sampled_from(messages))
    cut = message[: data.draw(st.integers(1, len(message) - 1))]
    with pytest.raises(ProtocolError, match="the column 'f'"):
        decode(column_of([message, cut, message]), named_type(name), "f")


@given(st.lists(st.binary(max_size=24), max_size=6), st.sampled_from(sorted(RECORDED["values"])))
def test_nothing_but_a_protocol_error_comes_of_noise(messages, name):
    try:
        found = decode(column_of(messages), named_type(name), "f")
    except ProtocolError:
        return
    assert len(found) == len(messages)


def test_another_type_than_the_registry_says_is_refused_by_name():
    messages = [value("INT64", 7), value("STRING", "seven")]
    with pytest.raises(ProtocolError, match=r"'trips'.* INT64, .*the store holds STRING .*row 1"):
        decode(column_of(messages), named_type("INT64"), "trips")
    nested = delimited(tag(NUMBERS["VALUE_LIST"], 2), delimited(b"\x0a", messages[1]))
    with pytest.raises(ProtocolError, match=r"should be INT64.* holds STRING"):
        decode(column_of([nested]), named_type("Array(INT64)"), "trips")


def test_text_that_an_older_feast_wrote_as_string_is_read():
    messages = [value("STRING", "00000000-0000-0000-0000-000000000007")]
    assert decode(column_of(messages), named_type("UUID"), "u").to_list() == [
        "00000000-0000-0000-0000-000000000007"
    ]


def test_an_int32_that_is_none_is_refused():
    with pytest.raises(ProtocolError, match="more than 32 bits"):
        decode(column_of([tag(3, 0) + varint(2**31)]), named_type("INT32"), "f")


def test_a_text_that_is_no_utf8_is_refused():
    with pytest.raises(ProtocolError, match="UTF-8"):
        decode(column_of([delimited(tag(2, 2), b"\xff")]), named_type("STRING"), "f")


def test_a_column_of_nothing_is_read():
    for name in RECORDED["values"]:
        assert decode(column_of([]), named_type(name), "f").dtype == named_type(name).dtype
        assert decode(column_of([None, b""]), named_type(name), "f").to_list() == [None, None]
