"""Segments: the same columns back, whatever their types; and nothing but segments."""

import datetime as dt
import decimal
import pickle
import zlib

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis import given
from polars.testing import assert_frame_equal, assert_series_equal

from featkit.cache.segments import (
    Segment,
    UnreadableSegment,
    codes_of,
    decoded,
    is_exact,
    joined,
)
from featkit.columns import STATUS, FeatureColumns
from featkit.dtypes import TIMESTAMP
from tests.examples import examples

NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
VALUES = {
    "whole": pl.Series([2**62 + 1, None, -1]),
    "small": pl.Series([1, None, 3], dtype=pl.Int8),
    "huge": pl.Series([2**64 - 1, None, 0], dtype=pl.UInt64),
    "number": pl.Series([float("nan"), None, float("-inf")]),
    "short": pl.Series([0.1, None, 1.0], dtype=pl.Float32),
    "yes": pl.Series([True, None, False]),
    "text": pl.Series(["🦉\0", None, ""]),
    "bytes": pl.Series([b"\x00\xff", None, b""]),
    "day": pl.Series([dt.date(2024, 2, 29), None, dt.date(1, 1, 1)]),
    "moment": pl.Series([NOON, None, NOON], dtype=TIMESTAMP),
    "span": pl.Series([dt.timedelta(1), None, dt.timedelta(0)]),
    "clock": pl.Series([dt.time(1, 2), None, dt.time(0)]),
    "price": pl.Series([decimal.Decimal("1.10"), None, decimal.Decimal("-2.00")]),
    "vector": pl.Series([[1.5, None], None, []], dtype=pl.List(pl.Float64)),
    "names": pl.Series([["a"], None, []], dtype=pl.List(pl.String)),
    "parts": pl.Series([{"a": 1, "b": "x"}, None, {"a": None, "b": None}]),
    "nothing": pl.Series([None, None, None]),
}
STATUSES = pl.Series(["PRESENT", "NULL", "EXPIRED"], dtype=STATUS)
OTHERS = pl.Series(["FUTURE", "NOT_FOUND", "PRESENT"], dtype=STATUS)
TIMES = pl.Series([NOON, None, NOON], dtype=TIMESTAMP)
KEYS = pl.DataFrame({"k": [1, 2, 3], "other": ["a", "b", ""]})


def segment(values, statuses=None, times=None, *, keys=KEYS, at=5):
    frame = pl.DataFrame([series.alias(name) for name, series in values.items()])
    told = statuses or dict.fromkeys(values, STATUSES)
    end = pl.Series([10, 20, 30], dtype=pl.Int64)
    return Segment.of(keys, FeatureColumns(frame, told, times or {}), at=at, end=end)


def same(one, other):
    assert_frame_equal(one.values, other.values, check_exact=True)
    for name in one.values.columns:
        assert_series_equal(one.statuses[name], other.statuses[name], check_names=False)
    assert set(one.timestamps) == set(other.timestamps)
    for name, series in one.timestamps.items():
        assert_series_equal(series, other.timestamps[name], check_names=False)


def all_of(one):
    return one.columns(pl.Series(range(one.height)).to_numpy(), one.features)


# -- there and back ------------------------------------------------------------------------------


def test_every_type_comes_back_from_bytes_as_it_was():
    times = {name: TIMES for number, name in enumerate(VALUES) if number % 2}
    statuses = {name: OTHERS if number % 3 else STATUSES for number, name in enumerate(VALUES)}
    made = segment(VALUES, statuses, times)
    read = Segment.decode(made.encode())
    assert (read.features, read.layout, read.keys) == (made.features, made.layout, made.keys)
    same(all_of(read), all_of(made))
    assert_frame_equal(read.frame, made.frame)


def test_what_features_share_is_kept_once():
    times = dict.fromkeys(VALUES, TIMES)
    made = segment(VALUES, None, times)
    kinds = [name[0] for name in made.frame.columns]
    assert (kinds.count("s"), kinds.count("t")) == (1, 1)
    columns = all_of(made)
    assert len({id(series) for series in columns.statuses.values()}) == 1


def test_features_are_taken_apart():
    statuses = {"text": OTHERS, "whole": STATUSES, "yes": STATUSES}
    made = segment({name: VALUES[name] for name in statuses}, statuses, {"yes": TIMES})
    part = made.only(["yes", "text"])
    whole = all_of(made)
    found = all_of(part)
    assert found.values.columns == ["yes", "text"]
    assert_series_equal(found.statuses["text"], whole.statuses["text"], check_names=False)
    assert set(found.timestamps) == {"yes"}


def test_rows_of_other_layouts_are_joined():
    names = ("whole", "text")
    values = {name: VALUES[name] for name in names}
    first = segment(values, None, {"whole": TIMES})
    second = segment(values, {"whole": STATUSES, "text": OTHERS}, {"text": TIMES})
    found = all_of(joined([first, second]))
    one, two = all_of(first), all_of(second)
    for name in names:
        assert found.statuses[name].to_list() == [*one.statuses[name], *two.statuses[name]]
        assert found.stamps(name).to_list() == [*one.stamps(name), *two.stamps(name)]


def test_keys_without_columns_are_one_key():
    values = {"v": pl.Series([1])}
    frame = pl.DataFrame(values)
    told = {"v": STATUSES.head(1)}
    made = Segment.of(pl.DataFrame(height=1), FeatureColumns(frame, told), at=1, end=pl.Series([2]))
    assert codes_of(Segment.decode(made.encode()).key_frame).tolist() == [0]


@pytest.mark.parametrize(
    ("keys", "exact"),
    [
        ({"k": pl.Series([1, -5])}, True),
        ({"k": pl.Series([1, 5], dtype=pl.UInt32)}, True),
        ({"k": pl.Series([2**64 - 1, 0], dtype=pl.UInt64)}, False),
        ({"k": ["a", ""]}, False),
        ({"k": [1.5, 0.0]}, False),
        ({"k": [True, False]}, False),
        ({"k": [b"a", b""]}, False),
        ({"k": [dt.date(2024, 1, 1), dt.date(1, 1, 1)]}, False),
        ({"k": [NOON, NOON + dt.timedelta(microseconds=1)]}, False),
        ({"k": [decimal.Decimal("1.10"), decimal.Decimal("1.11")]}, False),
        ({"k": [1, 1], "l": [1, 2]}, False),
        ({"k": ["a", "ab"], "l": ["bc", "c"]}, False),
    ],
    ids=str,
)
def test_other_keys_have_other_codes(keys, exact):
    frame = pl.DataFrame(keys)
    assert is_exact(frame) == exact
    assert len(set(codes_of(frame).tolist())) == frame.height


# -- what is no segment --------------------------------------------------------------------------


@given(place=some.integers(0, 10**6), bit=some.integers(0, 7))
@examples(200)
def test_a_single_bit_that_flipped_is_noticed(place, bit):
    blob = bytearray(segment({"text": VALUES["text"]}).encode())
    blob[place % len(blob)] ^= 1 << bit
    with pytest.raises(UnreadableSegment):
        Segment.decode(bytes(blob))


@given(blob=some.binary(max_size=200))
def test_other_bytes_are_refused(blob):
    with pytest.raises(UnreadableSegment):
        Segment.decode(blob)


def test_one_cut_short_is_refused():
    blob = segment({"text": VALUES["text"]}).encode()
    for length in range(0, len(blob), 7):
        with pytest.raises(UnreadableSegment):
            Segment.decode(blob[:length])


def framed(head, body=b""):
    """Make bytes that are whole, with another content."""
    rest = len(head).to_bytes(4, "little") + head + body
    return b"featkit-segment\n" + zlib.crc32(rest).to_bytes(4, "little") + rest


@pytest.mark.parametrize(
    "blob",
    [
        framed(b"{}"),
        framed(b"nonsense"),
        framed(b'{"schema":1,"features":["v"],"statuses":[0],"times":[-1],"keys":1}', b"no Arrow"),
        framed(b'{"schema":2,"features":[],"statuses":[],"times":[],"keys":0}'),
    ],
    ids=["empty header", "no header", "no frame", "a later schema"],
)
def test_whole_bytes_of_something_else_are_refused(blob):
    with pytest.raises(UnreadableSegment):
        Segment.decode(blob)


class Trap:
    """Runs when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_a_pickle_does_not_run():
    trap = pickle.dumps(Trap())
    for blob in (trap, framed(trap), framed(b"{}", trap)):
        with pytest.raises(UnreadableSegment):
            Segment.decode(blob)
    assert not Trap.sprung


def test_segments_are_decoded_in_order_and_damaged_ones_are_told():
    made = [segment({"a": pl.Series([n, n, n])}, at=n) for n in range(20)]
    blobs = [(n, one.encode()) for n, one in enumerate(made)]
    blobs[7] = (7, blobs[7][1][:-1])
    found = list(decoded(iter(blobs)))
    assert [number for number, _ in found] == list(range(20))
    assert [number for number, one in found if one is None] == [7]
    assert found[12][1].frame["v0"].to_list() == [12, 12, 12]
    assert list(decoded([])) == []


def test_a_segment_goes_on_with_later_rows_of_the_same_columns():
    numbers = {"a": pl.Series([1, 2, 3])}
    first, later = segment(numbers, at=5), segment(numbers, at=6)
    assert first.goes_on(later)
    assert first.goes_on(segment(numbers, at=5))
    assert not later.goes_on(first)
    assert not first.goes_on(segment({"b": pl.Series([1, 2, 3])}, at=6))
    assert not first.goes_on(segment({"a": pl.Series(["1", "2", "3"])}, at=6))
    gone = Segment.gone(KEYS, at=1, end=9)
    assert not gone.goes_on(gone)
