"""What a store holds, as people read it."""

import datetime as dt

import html5lib
import polars as pl

from featkit.clients.health import HealthCheck, HealthReport
from featkit.schema import Entity, Feature, FeatureRef, FeatureService, FeatureView

EVIL = "<script>alert(1)</script>"
VIEW = FeatureView(
    name="shops",
    entities=(Entity("shop", "shop", pl.Int64()),),
    features=(Feature("visits", pl.Int64(), EVIL, {"unit": "1"}), Feature("rating")),
    timestamp="at",
    ttl=dt.timedelta(hours=3),
    offline=False,
    description=EVIL,
    tags={"team": EVIL, "alone": ""},
)


def texts(html, tag):
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return [
        "".join(each.itertext()) for part in parser.parseFragment(html) for each in part.iter(tag)
    ]


def test_a_view_tells_all_that_is_known():
    html = VIEW._repr_html_()
    assert texts(html, "p") == [f"shops {EVIL}"]
    cells = texts(html, "td")
    known = dict(zip(cells[0:12:2], cells[1:12:2], strict=True))
    assert known == {
        "join keys": "shop (int64)",
        "ttl": "3h",
        "event timestamp": "at",
        "served": "online",
        "tags": f"alone, team={EVIL}",
        "schema version": VIEW.schema_hash,
    }
    assert cells[12:] == ["visits", "int64", EVIL, "unit=1", "rating", "unknown", "", ""]
    assert texts(html, "script") == []


def test_a_view_without_anything_is_shown_too():
    view = FeatureView(name="bare", entities=(), features=(), online=False, offline=False)
    assert texts(view._repr_html_(), "td") == [
        "ttl",
        "static",
        "served",
        "nowhere",
        "schema version",
        view.schema_hash,
    ]


def test_a_service_lists_its_features():
    service = FeatureService("model", (FeatureRef("shops", "visits"), FeatureRef("shops", EVIL)))
    html = service._repr_html_()
    assert texts(html, "td") == ["features", f"shops:visits, shops:{EVIL}"]


def test_health_says_what_is_wrong():
    checks = (
        HealthCheck(name="feature views", seconds=0.002, found="3 feature views"),
        HealthCheck(name="server", seconds=1.5, problem="unreachable", reason=EVIL),
    )
    report = HealthReport(target="feast", at=dt.datetime(2024, 5, 1, tzinfo=dt.UTC), checks=checks)
    html = report._repr_html_()
    assert texts(html, "caption") == ["feast is NOT healthy (2024-05-01 00:00:00 UTC)"]
    assert texts(html, "td") == [
        *("✓ ok", "feature views", "2 ms", "3 feature views"),
        *("✗ unreachable", "server", "1500 ms", EVIL),
    ]
