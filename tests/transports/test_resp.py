"""Redis' protocol as columns, with hiredis as the judge."""

import hiredis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from featkit.codecs.binary_columns import BinaryColumn
from featkit.transports.resp import Replies, commands
from featkit.transports.slots import slots

# what looks like the protocol itself, within values
odd = st.sampled_from([b"*2\r\n", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"\r\n-", b"$-1\r\n", b"\r\n"])
values = st.none() | st.binary(max_size=30) | odd


def encoded(rows):
    lines = []
    for row in rows:
        lines.append(b"*%d\r\n" % len(row))
        lines += [b"$-1\r\n" if v is None else b"$%d\r\n%b\r\n" % (len(v), v) for v in row]
    return b"".join(lines)


def fed(replies, data, step):
    """Hand over the bytes in pieces; return what was read, and how many bytes that took."""
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        for at in range(0, len(piece), 16_000):
            part = piece[at : at + 16_000]
            replies.room()[: len(part)] = part
            replies.received(len(part))
        quiet = start + step >= len(data)  # what has come then is all
        if (found := replies.read(quiet=quiet)) is not None:
            return found, start + len(piece)
    return None, len(data)


@given(
    st.lists(st.lists(values, min_size=2, max_size=2), min_size=1, max_size=12),
    st.integers(1, 70),
)
def test_rows_are_read_as_columns_however_they_arrive(rows, step):
    data = encoded(rows)
    found, size = fed(Replies(len(rows), 2), data, step)
    assert size == len(data)
    if isinstance(found[0], BinaryColumn):
        found = list(zip(*(column.to_arrow().to_pylist() for column in found), strict=True))
    assert [list(row) for row in found] == rows


def test_rows_that_look_like_rows_inside_are_still_read_as_columns():
    rows = [[b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", None], [b"\r\n*2\r\n", b"x"]] * 50
    found, _ = fed(Replies(100, 2), encoded(rows), 10_000)
    assert all(isinstance(column, BinaryColumn) for column in found)
    assert found[0].to_arrow().to_pylist() == [row[0] for row in rows]


def even(count):
    return [[b"%08d" % number, None, b""] for number in range(count)]


@pytest.mark.parametrize("step", [1000, 65_536, 10**7])
def test_rows_of_one_length_are_read_where_they_lie(step):
    rows = even(10_000)
    found, size = fed(Replies(len(rows), 3), encoded(rows), step)
    assert size == len(encoded(rows))
    assert found[0].to_arrow().to_pylist() == [row[0] for row in rows]
    assert set(found[1].lengths) == {-1}
    assert set(found[2].lengths) == {0}


@pytest.mark.parametrize("odd_one", [0, 5000, 9999])
@pytest.mark.parametrize("row", [[b"longer than the others", b"x", None], [None, None, None]])
def test_one_row_among_equal_ones_may_be_of_another_length(odd_one, row):
    rows = even(10_000)
    rows[odd_one] = row
    found, _ = fed(Replies(len(rows), 3), encoded(rows), 65_536)
    assert all(isinstance(column, BinaryColumn) for column in found)
    read = list(zip(*(column.to_arrow().to_pylist() for column in found), strict=True))
    assert [list(each) for each in read] == rows


def test_rows_as_long_as_each_other_may_be_of_other_shapes():
    rows = [[b"ab", b"c"], [b"a", b"bc"]] * 3000
    found, _ = fed(Replies(len(rows), 2), encoded(rows), 4096)
    assert found[1].to_arrow().to_pylist() == [row[1] for row in rows]


def test_an_error_among_equal_rows_is_found():
    rows = encoded(even(6000)) + b"-MOVED 1 127.0.0.1:7000\r\n" + encoded(even(3999))
    found, size = fed(Replies(10_000, 3), rows, 65_536)
    assert size == len(rows)
    assert isinstance(found[6000], hiredis.ReplyError)


def test_values_of_all_lengths_are_read():
    rows = [[b"x" * length, b""] for length in (0, 9, 10, 99, 100, 999, 1000, 99_999, 100_000)]
    found, _ = fed(Replies(len(rows), 2), encoded(rows), 4096)
    assert found[0].to_arrow().to_pylist() == [row[0] for row in rows]
    assert found[1].to_arrow().to_pylist() == [b""] * len(rows)


def test_an_error_among_the_replies_is_left_to_hiredis():
    data = encoded([[b"a"]]) + b"-WRONGTYPE of another kind\r\n" + encoded([[b"b"]])
    found, size = fed(Replies(3, 1), data, 7)
    assert size == len(data)
    assert found[0] == [b"a"]
    assert isinstance(found[1], hiredis.ReplyError)


def test_errors_alone_end_the_wait():
    found, _ = fed(Replies(2, 1), b"-NOAUTH first\r\n-NOAUTH second\r\n", 5)
    assert [str(each) for each in found] == ["NOAUTH first", "NOAUTH second"]


def test_what_is_no_redis_is_refused():
    with pytest.raises(hiredis.ProtocolError):
        fed(Replies(1, 1), b"*1\r\n?????\r\n", 100)


@given(
    st.lists(st.binary(max_size=20), min_size=1, max_size=8)
    | st.lists(st.binary(min_size=7, max_size=7), min_size=1, max_size=8),
    st.lists(st.binary(min_size=1)),
)
def test_commands_are_what_redis_reads(keys, fields):
    reader = hiredis.Reader()
    reader.feed(bytes(commands(pa.array(keys, pa.large_binary()), fields)))
    for key in keys:
        assert reader.gets() == [b"HMGET", key, *fields]
    assert reader.gets() is False


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"{a}b", b"x{}y", b"{{a}}", b"}{"])))
def test_slots_are_those_of_the_cluster(keys):
    found = slots(BinaryColumn.of(pa.array(keys, pa.binary())))
    assert found.tolist() == [key_slot(key) for key in keys]
    assert found.dtype == np.int64
