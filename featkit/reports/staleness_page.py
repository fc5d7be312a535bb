"""The staleness report as static HTML: what a notebook shows, and a page of one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featkit.durations import format_duration, roughly
from featkit.html import UNBROKEN, Markup, badge, element, facts, page, table
from featkit.reports.rows import COUNTS

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from featkit.html import Tone
    from featkit.reports.staleness import StalenessReport
    from featkit.staleness import FeatureStaleness, Verdict, ViewStaleness

_TONES: dict[Verdict, Tone] = {
    "pass": "good",
    "unknown": "quiet",
    "warn": "warn",
    "error": "bad",
    "failed": "bad",
}
_NUMBERS = ("entities", "newest", "p50", "p90", "p95", "p99", "oldest", "ttl", "expired", *COUNTS)
_WORST = 10

_STYLE = (
    UNBROKEN
    + """
.scroll { overflow-x: auto; } details { margin: 1rem 0; border-top: 1px solid var(--line); }
summary { cursor: pointer; padding: .6rem 0; font-size: 1.05rem; }
svg { display: block; max-width: 100%; height: auto; margin: .8rem 0; }
svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
.rail { stroke: var(--line); stroke-width: 6; stroke-linecap: round; }
.span { stroke: var(--fg); stroke-width: 6; } .tick { stroke: var(--fg); stroke-width: 2; }
.ttl { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 4 3; }
"""
)


def page_of(report: StalenessReport) -> str:
    """Write a report as a whole page."""
    oldest = report.worst(_WORST)
    rows = [
        [row["view"], row["entity"], _moment(row["event_timestamp"]), roughly(row["age"])]
        for row in oldest.iter_rows(named=True)
    ]
    return page(
        f"Staleness of {report.target}",
        element("h1", f"Staleness of {report.target}"),
        element("p", _badge(report.verdict), f" at {_moment(report.now)}"),
        _wide(_overview(report)),
        element("h2", "Views"),
        *(
            _details(view, report.now, opened=_TONES[view.verdict] in {"warn", "bad"})
            for view in report.views
        ),
        element("h2", "Oldest entities"),
        _wide(table(["view", "entity", "event timestamp", "age"], rows, numbers=["age"]))
        if rows
        else element("p", "No entity has an event timestamp."),
        style=_STYLE,
    )


def fragment_of(report: StalenessReport) -> Markup:
    """Write a report as a notebook shows it, where every style may be dropped."""
    whole = [element("li", remark) for remark in report.remarks()]
    return element("div", _overview(report, caption=report.headline), element("ul", *whole))


def _overview(report: StalenessReport, caption: str | None = None) -> Markup:
    header, *rows = report.table()
    place = header.index("verdict")
    for row, view in zip(rows, report.views, strict=True):
        row[place] = _badge(view.verdict)
    return table(header, rows, caption=caption, numbers=_NUMBERS)


def _details(view: ViewStaleness, now: datetime, *, opened: bool) -> Markup:
    summary = element("summary", element("b", view.view), " ", _badge(view.verdict))
    told: dict[str, str | None] = {"why": view.reason}
    known = {
        "entities": view.population,
        "join keys": ", ".join(view.join_keys),
        "event timestamps": _LEVELS[view.level],
        "ttl": _limit(view.ttl),
        "warning after": _limit(view.thresholds.warn_after),
        "error after": _limit(view.thresholds.error_after),
        "tolerated share": f"{view.thresholds.tolerate:.1%}" if view.thresholds.tolerate else None,
        "newest row of the view": _at(view.newest, view.freshness),
        "oldest entity": _at(view.ages.oldest, view.ages.max),
        "headroom": None if view.headroom is None else roughly(view.headroom),
        "rows arrive": None if view.cadence is None else _rhythm(view, now),
        "online against offline": None if view.lag is None else str(view.lag),
    }
    told |= known if view.described else {}
    notes = element("ul", *(element("li", note) for note in view.notes)) if view.notes else None
    return element(
        "details",
        summary,
        facts(told),
        notes,
        _strip(view),
        _wide(_features(view)) if view.features else None,
        attributes={"open": "" if opened else None},
    )


def _features(view: ViewStaleness) -> Markup:
    header = ["feature", "verdict", *COUNTS, "p50", "p90", "p95", "p99", "oldest"]
    rows = [
        [
            feature.feature,
            _badge(feature.verdict),
            *(f"{getattr(feature, name):,}" for name in COUNTS),
            *_quantiles(feature),
        ]
        for feature in view.features
    ]
    caption = f"values of {view.n:,} entities by status, and ages of their rows"
    return table(header, rows, caption=caption, numbers=_NUMBERS)


def _quantiles(feature: FeatureStaleness) -> list[str]:
    ages = feature.ages
    found = (ages.p50, ages.p90, ages.p95, ages.p99, ages.max)
    return ["" if age is None else roughly(age) for age in found]


def _strip(view: ViewStaleness) -> Markup | None:
    """Draw the ages on a line from nought, with the ttl."""
    ages, ttl = view.ages, view.ttl
    if ages.min is None or ages.p50 is None or ages.max is None or view.level == "view":
        return None
    longest = max(ages.max, ttl) if ttl else ages.max
    width, left = 640.0, 20.0

    def place(length: timedelta) -> str:
        share = length / longest if longest else 0.0
        return f"{left + share * width:.1f}"

    def line(kind: str, at: timedelta, to: timedelta, top: int, bottom: int) -> Markup:
        ends = {"x1": place(at), "x2": place(to), "y1": top, "y2": bottom}
        return element("line", attributes={"class": kind, **ends})

    zero = longest * 0
    marks = [line("rail", zero, longest, 30, 30), line("span", ages.min, ages.max, 30, 30)]
    marks += [line("tick", ages.p50, ages.p50, 20, 40)]
    marks += [line("ttl", ttl, ttl, 10, 50)] if ttl else []
    said = f"ages from {roughly(ages.min)} to {roughly(ages.max)}, half at most {roughly(ages.p50)}"
    said += f"; the dashed line is the ttl of {roughly(ttl)}" if ttl else "; there is no ttl"
    words = element("text", said, attributes={"x": left, "y": 66})
    box = {"viewBox": "0 0 680 74", "width": 680, "height": 74, "role": "img", "aria-label": said}
    return element("svg", *marks, words, attributes=box)


def _rhythm(view: ViewStaleness, now: datetime) -> str:
    cadence = view.cadence
    assert cadence is not None  # noqa: S101 - asked by whom calls
    late = ", which is overdue" if cadence.is_overdue(now) else ""
    return (
        f"{cadence}, as learnt from {cadence.arrivals} arrivals; the last at "
        f"{_moment(cadence.last)}, the next expected at {_moment(cadence.next)}{late}"
    )


_LEVELS = {
    "row": "one for each row",
    "feature": "one for each feature",
    "view": "one for the view as a whole",
    "none": "the store gives none",
    "static": "none: the view is static",
}


def _badge(verdict: Verdict) -> Markup:
    return badge(verdict, _TONES[verdict])


def _wide(content: Markup) -> Markup:
    return element("div", content, attributes={"class": "scroll", "tabindex": 0})


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _at(moment: datetime | None, age: timedelta | None) -> str | None:
    return None if moment is None or age is None else f"{_moment(moment)}, {roughly(age)} old"


def _limit(limit: timedelta | None) -> str:
    return "none" if limit is None else format_duration(limit)
