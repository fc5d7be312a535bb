"""Durations as people write them."""

from datetime import timedelta

import hypothesis.strategies as some
import pytest
from hypothesis import given

from featkit.durations import format_duration, parse_duration
from featkit.errors import DurationError

UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
}


@given(some.timedeltas(min_value=timedelta(0)))
def test_what_is_written_is_read_back_to_the_microsecond(duration):
    assert parse_duration(format_duration(duration)) == duration


@given(some.dictionaries(some.sampled_from(list(UNITS)), some.integers(0, 10_000), min_size=1))
def test_parts_add_up_in_falling_order(counts):
    ordered = [(unit, counts[unit]) for unit in UNITS if unit in counts]
    expected = sum((count * UNITS[unit] for unit, count in ordered), timedelta())
    assert parse_duration("".join(f"{count}{unit}" for unit, count in ordered)) == expected
    assert parse_duration("  ".join(f"{count} {unit}" for unit, count in ordered)) == expected


@given(some.text(max_size=8))
def test_any_text_is_a_duration_or_a_named_error(text):
    try:
        assert parse_duration(text) >= timedelta(0)
    except DurationError as error:
        assert repr(text) in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7d", timedelta(days=7)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5H", timedelta(minutes=90)),
        (" 250 ms ", timedelta(milliseconds=250)),
        ("0s", timedelta(0)),
        (90, timedelta(seconds=90)),
        (0.25, timedelta(milliseconds=250)),
        (timedelta.max, timedelta.max),
    ],
)
def test_numbers_are_seconds_and_text_has_units(value, expected):
    assert parse_duration(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "7",
        "d",
        "7 days",
        "-1d",
        "30m1h",
        "1h1h",
        "1h,30m",
        "9" * 400 + "d",
        "999999999d 999999999h",
        -1,
        timedelta(-1),
        float("nan"),
        float("inf"),
        True,
        None,
        [],
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_cannot_be_read_is_refused_with_examples(value):
    with pytest.raises(DurationError, match=r"ttl .*'7d', '1h30m'.*units: w d h m s ms us"):
        parse_duration(value, what="ttl")


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(0), "0s"),
        (timedelta(weeks=2), "14d"),
        (timedelta(days=1, hours=12), "1d12h"),
        (timedelta(seconds=1, microseconds=1500), "1s1ms500us"),
    ],
)
def test_durations_are_written_short(duration, expected):
    assert format_duration(duration) == expected
