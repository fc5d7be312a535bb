"""Verdicts: each with its reason in words, never kinder than what is known."""

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as some
import pytest
from hypothesis import given

from featkit.staleness import VERDICTS, Ages, Thresholds, judge, worst

HOUR = timedelta(hours=1)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
LIMITS = Thresholds(warn_after=8 * HOUR, error_after=10 * HOUR)


def found(rows=10, **options):
    options = {"max": HOUR, "newest": NOON, "oldest": NOON - HOUR, **options}
    return Ages(rows=rows, **options)


@pytest.mark.parametrize(
    ("ages_", "options", "verdict", "reason"),
    [
        (found(), {}, "pass", "all 10 entities within 8h; the oldest is 1h old"),
        (
            found(beyond_warn=2, max=9 * HOUR),
            {},
            "warn",
            "2 of 10 entities older than 8h; the oldest is 9h old",
        ),
        (
            found(beyond_warn=3, beyond_error=1, max=11 * HOUR),
            {},
            "error",
            "1 of 10 entities older than 10h; the oldest is 11h old",
        ),
        (
            found(beyond_warn=1, beyond_error=1, future=1),
            {},
            "error",
            "1 of 10 entities later than now, which is never fresh",
        ),
        (
            found(beyond_warn=2, beyond_error=2, future=1, max=11 * HOUR),
            {},
            "error",
            "old; 1 of 10 entities later than now, which is never fresh",
        ),
        (found(unknown=1), {}, "unknown", "1 of 10 entities have no event timestamp that can be"),
        (
            found(unknown=1, beyond_warn=1, max=9 * HOUR),
            {},
            "warn",
            "1 of 10 entities older than 8h",
        ),
        (found(unknown=10), {}, "unknown", "none of 10 entities has an event timestamp"),
        (found(unknown=10), {"level": "none"}, "unknown", "the store gives no event timestamps"),
        (found(unknown=10), {"level": "static"}, "unknown", "the view is static"),
        (found(unknown=10), {"level": "view"}, "unknown", "does not tell when the view was"),
        (found(1), {"level": "view"}, "pass", "the view as a whole is 1h old, within 8h"),
        (
            found(1, beyond_warn=1, beyond_error=1, max=11 * HOUR),
            {"level": "view"},
            "error",
            "the view as a whole is 11h old, more than 10h",
        ),
        (Ages(), {}, "unknown", "the store has none of 10 entities"),
        (Ages(), {"n": 0}, "unknown", "there are no entities to look at"),
        (Ages(), {"failed": 10}, "failed", "the store failed for 10 of 10 entities"),
    ],
)
def test_verdict_and_reason(ages_, options, verdict, reason):
    told = judge(ages_, LIMITS, **{"level": "row", "n": 10, **options})
    assert told[0] == verdict
    assert told[1].startswith(reason) or reason in told[1]


def test_without_ttl_and_thresholds_it_cannot_judge():
    verdict, reason = judge(found(), Thresholds(), level="row", n=10)
    assert verdict == "unknown"
    assert reason == (
        "it cannot be judged: the view has no ttl, and neither warn_after nor error_after is given"
    )


def test_only_a_warning_was_asked_for():
    limits = Thresholds(warn_after=HOUR)
    assert judge(found(beyond_warn=1), limits, level="row", n=10)[0] == "warn"
    assert judge(found(), limits, level="row", n=10)[0] == "pass"


@pytest.mark.parametrize(
    ("tolerate", "verdict"),
    [(0.0, "error"), (0.09, "error"), (0.1, "pass"), (0.29, "pass"), (1.0, "pass")],
)
def test_a_share_of_old_entities_may_be_tolerated(tolerate, verdict):
    limits = Thresholds(warn_after=8 * HOUR, error_after=10 * HOUR, tolerate=tolerate)
    told, reason = judge(found(100, beyond_warn=10, beyond_error=10), limits, level="row", n=100)
    assert told == verdict
    assert verdict != "pass" or "10 of 100 entities not within 8h, which is tolerated" in reason


def test_a_tolerated_share_is_counted_exactly():
    limits = Thresholds(error_after=HOUR, tolerate=0.29)  # 0.29 * 100 is 28.999999999999996
    assert judge(found(100, beyond_error=29), limits, level="row", n=100)[0] == "pass"
    assert judge(found(100, beyond_error=30), limits, level="row", n=100)[0] == "error"


@given(some.lists(some.sampled_from(VERDICTS)))
def test_the_whole_is_as_bad_as_its_worst_part(verdicts):
    expected = "unknown"
    for verdict in ("pass", "unknown", "warn", "error", "failed"):
        expected = verdict if verdict in verdicts else expected
    assert worst(verdicts) == (expected if verdicts else "unknown")
