"""Nothing that a store says is ever run as HTML or JavaScript."""

import datetime as dt
from pathlib import Path

import html5lib
import polars as pl
import pytest

from featkit.clients.health import HealthCheck, HealthReport
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.schema import Entity, Feature, FeatureRef, FeatureService, FeatureView
from featkit.summary import LookupSummary, ViewSummary
from featkit.widgets import samples
from featkit.widgets.content import view_in_full
from featkit.widgets.page import browser_page
from tests.widgets.conftest import make_catalogue

PAYLOADS = Path(__file__).with_name("payloads.txt").read_text("utf-8").splitlines()
EVERYTHING = "() => [...document.querySelectorAll('*')].map((node) => node.localName)"
OURS = {  # the elements that the widgets make
    *("html", "head", "title", "style", "body", "div", "span", "input", "details", "summary"),
    *("button", "label", "pre", "mark", "kbd", "h2", "h3", "p", "b", "dl", "dt", "dd", "table"),
    *("thead", "tbody", "tr", "th", "td", "code", "svg", "rect", "text", "path", "line", "figure"),
    *("figcaption", "h1", "meta", "script", "template"),
}


def evil_view(text):
    """Say something in every place where a store can."""
    return FeatureView(
        name=text,
        entities=(Entity(text, text, pl.String()),),
        features=(Feature(text, pl.String(), text, {text: text}, text), Feature("b")),
        timestamp=text,
        created=text,
        ttl=dt.timedelta(hours=1),
        source=text,
        description=text,
        owner=text,
        tags={text: text},
        computed_from=(FeatureRef(text, text),),
    )


@pytest.fixture(scope="module")
def evil():
    """Return a catalogue of which every word is an attack."""
    views = [evil_view(text) for text in PAYLOADS]
    services = [
        FeatureService(text, (FeatureRef(text, text),), text, text, {text: text})
        for text in PAYLOADS
    ]
    return make_catalogue(*views, services=tuple(services), notes=tuple(PAYLOADS))


def sampled(view):
    text = view.name
    statuses = pl.Series([Status.PRESENT], dtype=STATUS)
    values = pl.DataFrame([pl.Series(text, [text]), pl.Series("b", [text])])
    found = FeatureColumns(values, dict.fromkeys(values.columns, statuses))
    return {"sample": samples.summary(view, pl.DataFrame({text: [text]}), found)}


def assert_harmless(page):
    assert page.evaluate("() => window.hacked") is None
    assert set(page.evaluate(EVERYTHING)) <= OURS
    told = "(nodes) => nodes.flatMap((n) => [...n.attributes]).map((a) => a.name)"
    names = page.eval_on_selector_all("*", told)
    assert [name for name in names if name.startswith("on") or name in {"href", "src"}] == []


def test_there_are_enough_payloads():
    assert len(set(PAYLOADS)) >= 40


def test_the_table_shows_them_as_text(table, evil):
    shown = table(evil, height=1400, state={"opened": [view.name for view in evil.views]})
    seen = set()
    for text in PAYLOADS:
        shown.search("window.hacked" if "hacked" in text else text[:12])
        seen.update(shown.names())
        assert_harmless(shown.page)
    shown.search("")
    for step in range(0, len(PAYLOADS) * 90, 300):
        shown.page.evaluate("top => { document.querySelector('.fk-grid').scrollTop = top; }", step)
        shown.settle()
        seen.update(shown.names())
    normal = {" ".join(text.split()) for text in PAYLOADS}
    assert normal <= {" ".join(text.split()) for text in seen}
    for facet in ("owner", "tag", "entity", "service"):
        shown.find(f"[data-facet={facet}] summary").click()
        shown.page.wait_for_selector(f"[data-facet={facet}] label")
    shown.find("[data-facet=owner] summary").click()
    shown.find("[data-facet=owner] label").nth(3).click()
    shown.settle()
    assert_harmless(shown.page)


def test_the_code_of_a_tick_is_text(table, evil):
    shown = table(evil)
    for place in range(12):
        shown.find(".fk-view [role=checkbox]").nth(place).click()
    assert_harmless(shown.page)


def test_the_pane_shows_them_as_text(mount, evil):
    shown = mount("details", {"view": {}, "live": True})
    for view in evil.views:
        content = view_in_full(evil, view) | sampled(view)
        shown.page.evaluate("view => window.model.set('view', view)", content)
        assert shown.find("h2").text_content() == view.name
        assert_harmless(shown.page)
    reason = {"state": "failed", "reason": PAYLOADS[10]}
    shown.page.evaluate("view => window.model.set('view', view)", content | {"sample": reason})
    assert_harmless(shown.page)


def test_the_page_of_one_file_shows_them_as_text(open_page, evil, tmp_path):
    found = {view.name: sampled(view) for view in evil.views}
    state = {
        "search": "window.hacked",
        "facets": {},
        "sort": "",
        "opened": [PAYLOADS[0]],
        "current": PAYLOADS[3],
        "selected": [],
    }
    file = tmp_path / "page.html"
    file.write_text(browser_page(evil, state, found), encoding="utf-8")
    page = open_page()
    page.goto(file.as_uri())
    page.wait_for_selector(".fk-view")
    assert_harmless(page)
    for place in range(5):
        page.locator(".fk-view").nth(place).click()
    assert_harmless(page)
    assert page.locator("h2").text_content() in PAYLOADS


@pytest.mark.parametrize("text", PAYLOADS)
def test_static_html_shows_them_as_text(text):
    view = evil_view(text)
    report = HealthReport(
        target=text,
        at=dt.datetime(2024, 5, 1, tzinfo=dt.UTC),
        checks=(
            HealthCheck(name=text, seconds=1, found=text),
            HealthCheck(name=text, seconds=1, problem="refused", reason=text),
        ),
    )
    counts = {"rows": 1, "null_keys": 0, "unique": 1, "cached": 0, "fetched": 1, "calls": 1}
    summary = LookupSummary(views=(ViewSummary(view=text, **counts, statuses={}),), rows=1)
    service = FeatureService(text, (FeatureRef(text, text),), text, text, {text: text}, text)
    one = make_catalogue(view, services=(service,), notes=(text,))
    for shown in (view, report, summary, service, one):
        parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
        tree = parser.parseFragment(shown._repr_html_())
        found = {each.tag for part in tree for each in part.iter()}
        assert found <= OURS | {"caption"}
        names = {name for part in tree for each in part.iter() for name in each.attrib}
        assert names <= {"style", "class"}
