"""JUnit XML, which CI servers read: a view is a test suite, a feature is a test case."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from featkit.durations import format_duration
from featkit.html import printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from featkit.reports.staleness import StalenessReport
    from featkit.staleness import FeatureStaleness, Verdict, ViewStaleness

_ELEMENTS = {"failed": "error", "unknown": "skipped"}
_PLURALS = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def document(report: StalenessReport, failing: Collection[Verdict]) -> str:
    """Write a report.

    Parameters
    ----------
    report
        The report.
    failing
        The verdicts that fail the audit; one that does not is told in the case's output.
    """
    root = ET.Element("testsuites", {"name": printable(f"staleness of {report.target}")})
    total: Counter[str] = Counter()
    for view in report.views:
        total += _suite(root, view, report, failing)
    _count(root, total)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(
    root: ET.Element, view: ViewStaleness, report: StalenessReport, failing: Collection[Verdict]
) -> Counter[str]:
    stamp = report.now.replace(tzinfo=None).isoformat(timespec="seconds")
    suite = ET.SubElement(root, "testsuite", {"name": printable(view.view), "timestamp": stamp})
    properties = ET.SubElement(suite, "properties")
    for name, value in _facts(view).items():
        ET.SubElement(properties, "property", {"name": name, "value": printable(value)})
    seen: Counter[str] = Counter()
    # without features there is still something to be said about the view
    parts: tuple[ViewStaleness | FeatureStaleness, ...] = view.features or (view,)
    for part in parts:
        seen += _case(suite, view, part, failing)
    _count(suite, seen)
    return seen


def _case(
    suite: ET.Element,
    view: ViewStaleness,
    part: ViewStaleness | FeatureStaleness,
    failing: Collection[Verdict],
) -> Counter[str]:
    name = getattr(part, "feature", view.view)
    places = {"classname": printable(f"staleness.{view.view}"), "name": printable(name)}
    case = ET.SubElement(suite, "testcase", {**places, "time": "0"})
    verdict, reason = part.verdict, printable(part.reason)
    kind = _ELEMENTS.get(verdict) or ("failure" if verdict in failing else "")
    if kind == "skipped" and verdict in failing:
        kind = "failure"
    if kind:
        attributes = {"message": reason}
        if kind != "skipped":
            attributes["type"] = verdict
        ET.SubElement(case, kind, attributes)
    else:
        ET.SubElement(case, "system-out").text = f"{verdict}: {reason}"
    return Counter({"tests": 1, **({kind: 1} if kind else {})})


def _count(element: ET.Element, seen: Counter[str]) -> None:
    element.set("tests", str(seen["tests"]))
    for kind, plural in _PLURALS.items():
        element.set(plural, str(seen[kind]))
    element.set("time", "0")


def _facts(view: ViewStaleness) -> dict[str, str]:
    facts = {
        "verdict": view.verdict,
        "entities": str(view.n),
        "population": view.population,
        "timestamp_level": view.level,
    }
    if view.ttl is not None:
        facts["ttl"] = format_duration(view.ttl)
    if view.newest is not None:
        facts["newest"] = view.newest.isoformat()
    return facts
