"""Messages of protobuf come apart into columns, whatever their number, size and order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featkit.codecs import protobuf
from featkit.codecs.binary_columns import BinaryColumn
from featkit.codecs.protobuf import DELIMITED
from featkit.errors import ProtocolError
from tests.fakes.protobuf import part

# bytes that are tags as well, so that much looks like a field that is none
BYTES = st.lists(st.sampled_from(b"\x0a\x12\x1a\x00\x01\x02\x7f\x80"), max_size=9).map(bytes)
MESSAGES = st.none() | st.lists(BYTES, max_size=5)
MANY = 120  # messages, with which all are read at the same time
FAR = b"\xffbefore"  # so that no value begins where its buffer does


def column_of(messages: list[bytes | None]) -> BinaryColumn:
    held = BinaryColumn.of(pa.array([FAR, *messages], pa.large_binary()))
    return held.take(np.arange(1, len(held)))


def written(elements: list[bytes] | None) -> bytes | None:
    return None if elements is None else b"".join(part(1, own) for own in elements)


@given(st.lists(MESSAGES, max_size=8), st.sampled_from([0, MANY]))
def test_repeated_fields_are_found_with_their_messages(messages, others):
    whole = messages + [[b"one", b"two"]] * others
    found, counts = protobuf.repeated(column_of([written(own) for own in whole]), 1)
    assert found.to_arrow().to_pylist() == [one for own in whole for one in own or []]
    assert counts.tolist() == [len(own or []) for own in whole]


def test_messages_of_many_elements_are_read_as_well():
    long = [b"%d" % number for number in range(1000)]
    found, counts = protobuf.repeated(column_of([written(long), *[b""] * MANY]), 1)
    assert found.to_arrow().to_pylist() == long
    assert counts.tolist() == [1000] + [0] * MANY


@pytest.mark.parametrize("broken", [b"\x0a", b"\x0a\x05abc", b"\x12\x00", b"\x0a\x01a\x0b"])
@pytest.mark.parametrize("others", [0, MANY])
def test_what_is_cut_or_another_field_is_refused(broken, others):
    with pytest.raises(ProtocolError, match="not protobuf as expected"):
        protobuf.repeated(column_of([b"\x0a\x01a", broken, *[b"\x0a\x01b"] * others]), 1)


@given(st.lists(st.lists(st.tuples(st.sampled_from([1, 2, 3]), BYTES), max_size=5), max_size=6))
def test_fields_are_those_that_came_last(messages):
    column = column_of([b"".join(part(number, held) for number, held in own) for own in messages])
    found = protobuf.fields(column, dict.fromkeys([1, 2, 3], DELIMITED))
    for number, values in found.items():
        assert values.to_arrow().to_pylist() == [dict(own).get(number) for own in messages]


@given(st.lists(st.none() | BYTES, max_size=6))
def test_compact_columns_hold_the_same(values):
    data, bounds = column_of(values).compact()
    pairs = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    assert [bytes(data[begin:end]) for begin, end in pairs] == [own or b"" for own in values]
    assert len(data) >= bounds[-1] + 16
