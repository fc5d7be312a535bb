"""The browser as a page of one file: the same table, without Python and without a network."""

import re

import pytest

import featkit
from featkit.widgets.page import browser_page
from tests.widgets.conftest import Mounted
from tests.widgets.test_details import taken

STATE = {
    "search": "",
    "facets": {},
    "sort": "",
    "opened": ["shops"],
    "current": "shops",
    "selected": ["shops:rating"],
}

BROKEN = """() => [...document.querySelectorAll("th")].filter((head) => {
  const text = document.createRange();
  text.selectNodeContents(head);
  return !head.innerText.includes(" ") && text.getClientRects().length > 1;
}).map((head) => head.innerText)
"""  # words that go on in the next line


@pytest.fixture
def opened(open_page, catalogue, tmp_path):
    """Open the page as a file, with every request to elsewhere remembered."""

    def one(**options):
        found = {"shops": taken(catalogue.views[0])}
        file = tmp_path / "page.html"
        file.write_text(browser_page(catalogue, STATE, found), encoding="utf-8")
        page = open_page(**options)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        shown = Mounted(page)
        shown.asked = asked
        return shown

    return one


def test_the_table_lives(opened):
    shown = opened()
    shown.page.wait_for_selector(".fk-view")
    assert shown.names() == ["shops", "visits", "rating", "title", "people", "pairs", "bare"]
    assert shown.texts("h2") == ["shops"]
    assert "Sample of 4 entities" in shown.texts(".fk-muted")
    assert 'frame.features.enrich([\n    "shops:rating",\n])' in shown.texts(".fk-code")
    shown.search("crm")
    assert shown.names() == ["people"]
    shown.find(".fk-view").click()
    assert shown.texts("h2") == ["people"]


def test_it_asks_for_nothing_but_itself(opened):
    shown = opened()
    shown.page.wait_for_selector(".fk-view")
    assert [url for url in shown.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert shown.page.get_by_role("button", name="HTML").count() == 0
    assert shown.find(".fk-ask").count() == 0


def test_without_javascript_the_catalogue_is_there(opened):
    shown = opened(java_script_enabled=False)
    assert shown.texts("#still td b") == ["shops", "people", "pairs", "bare"]
    assert "visits, rating, title" in shown.texts("#still td")


def test_it_is_the_same_for_the_same_catalogue(catalogue):
    one, other = (browser_page(catalogue, STATE, {}) for _ in range(2))
    assert one == other
    outside = re.sub(r"http://www\.w3\.org/2000/svg", "", one)
    assert not re.search(r"https?://", outside)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wrong_for_who_sees_less(opened, scheme):
    shown = opened(scheme=scheme, width=1300, height=1000)
    shown.page.wait_for_selector(".fk-view")
    assert shown.accessible() == []
    shown.shot(f"page-{scheme}")


def test_on_a_narrow_screen_tables_scroll_and_words_stay_whole(open_page, tmp_path):
    store = featkit.connect("demo:flights")
    flights = featkit.demo.flights("polars").select("carrier", "departs_at").head(2000)
    features = ["carrier_history:mean_delay_7d"]
    known = store.get_historical_features(flights, features, at="departs_at")
    reports = {
        "training": known.report,
        "audit": known.frame.features.audit(features, at="departs_at"),
        "skew": flights.features.skew(flights),
        "parity": store.parity(features),
        "staleness": store.staleness(["carrier_history:*"]),
    }
    for name, report in reports.items():
        report.to_html(tmp_path / f"{name}.html")
        page = open_page(width=400)
        page.goto((tmp_path / f"{name}.html").as_uri())
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert (name, page.evaluate(wider)) == (name, 0)
        assert page.evaluate(BROKEN) == []
