"""What to think of a population: a verdict, and the reason in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from featkit.durations import format_duration, roughly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from featkit.staleness.ages import Ages, Thresholds

Verdict = Literal["pass", "unknown", "warn", "error", "failed"]
VERDICTS: tuple[Verdict, ...] = ("pass", "unknown", "warn", "error", "failed")
"""From the best to the worst; the verdict on a whole is the worst of its parts."""

Level = Literal["row", "feature", "view", "none", "static"]
"""What event timestamps describe; ``"static"``: the view has none, its values do not age."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of some verdicts; that on nothing is ``"unknown"``.

    Examples
    --------
    >>> worst(["pass", "warn", "unknown"]), worst([])
    ('warn', 'unknown')
    """
    return max(verdicts, key=VERDICTS.index, default="unknown")


def judge(
    found: Ages, thresholds: Thresholds, *, level: Level, n: int, failed: int = 0
) -> tuple[Verdict, str]:
    """Say what to think of rows, and why.

    Parameters
    ----------
    found
        Their ages.
    thresholds
        By what to judge.
    level
        What the event timestamps describe.
    n
        How many entities were asked for.
    failed
        For how many of them the store failed.
    """
    if failed:
        return "failed", f"the store failed for {failed:,} of {_entities(n)}"
    if not n:
        return "unknown", "there are no entities to look at"
    if not found.rows:
        return "unknown", f"the store has none of {_entities(n)}"
    if found.unknown == found.rows:
        return "unknown", _TIMELESS[level].format(rows=_entities(found.rows))
    limits = {"error": thresholds.error_after, "warn": thresholds.warn_after}
    if not any(limit is not None for limit in limits.values()):
        return "unknown", (
            "it cannot be judged: the view has no ttl, and neither warn_after nor error_after is "
            "given"
        )
    allowed = round(thresholds.tolerate * found.rows, 6)
    beyond: dict[Verdict, int] = {"error": found.beyond_error, "warn": found.beyond_warn}
    for verdict, count in beyond.items():
        limit = limits[verdict]
        if limit is not None and count > allowed:
            return verdict, _older(found, count, limit, level)
    if found.unknown > allowed:
        return "unknown", (
            f"{found.unknown:,} of {_entities(found.rows)} have no event timestamp that can be read"
        )
    return "pass", _young(found, beyond, limits, level)


_TIMELESS: Mapping[Level, str] = {
    "static": "the view is static: its values have no event timestamp, and do not age",
    "none": "the store gives no event timestamps",
    "view": "the store does not tell when the view was written",
    "row": "none of {rows} has an event timestamp that can be read",
    "feature": "none of {rows} has an event timestamp that can be read",
}


def _entities(count: int) -> str:
    return f"{count:,} {'entity' if count == 1 else 'entities'}"


def _older(found: Ages, count: int, limit: timedelta, level: Level) -> str:
    after, oldest = format_duration(limit), found.max
    if level == "view" and oldest is not None:
        return f"the view as a whole is {roughly(oldest)} old, more than {after}"
    words = []
    if old := count - found.future:
        age = f"; the oldest is {roughly(oldest)} old" if oldest else ""
        words.append(f"{old:,} of {_entities(found.rows)} older than {after}{age}")
    if found.future:
        later = f"{found.future:,} of {_entities(found.rows)} later than now, which is never fresh"
        words.append(later)
    return "; ".join(words)


def _young(
    found: Ages,
    beyond: Mapping[Verdict, int],
    limits: Mapping[str, timedelta | None],
    level: Level,
) -> str:
    oldest = found.max
    assert oldest is not None  # noqa: S101 - some rows have an age, else there is no pass
    names: tuple[Verdict, ...] = ("warn", "error")
    limit = next((limits[name] for name in names if limits[name] is not None), None)
    after = "" if limit is None else format_duration(limit)
    if level == "view":
        return f"the view as a whole is {roughly(oldest)} old, within {after}"
    older = max(beyond.values())
    if older or found.unknown:
        count = max(older, found.unknown)
        return f"{count:,} of {_entities(found.rows)} not within {after}, which is tolerated"
    return f"all {_entities(found.rows)} within {after}; the oldest is {roughly(oldest)} old"
