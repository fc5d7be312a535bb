"""What saved notebooks show where nothing runs: Git hosts and viewers that drop every style."""

import bleach  # which nbconvert brings
import html5lib
import polars as pl
import pytest

import featkit
from tests.widgets.conftest import Mounted

# what the strictest of them keeps, GitHub; attributes of ours are none that it knows
KEPT = {
    *("a", "b", "br", "blockquote", "caption", "code", "dd", "del", "details", "div", "dl", "dt"),
    *("em", "h1", "h2", "h3", "h4", "hr", "i", "img", "ins", "kbd", "li", "ol", "p", "pre", "q"),
    *("s", "samp", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot"),
    *("th", "thead", "tr", "ul", "var"),
}
FEATURES = ["aircraft:seats", "carrier_history:mean_delay_7d", "tail_history:last_arr_delay"]
SHOWN = [
    *("catalogue", "view", "service", "staleness", "summary", "cache", "health"),
    *("training", "leakage", "parity", "skew", "browser"),
]


@pytest.fixture(scope="module")
def static():
    """Show one of everything, as a notebook saves it."""
    with featkit.connect("demo:flights", cache="memory") as store:
        flights = featkit.demo.flights("polars").select(
            *("tailnum", "carrier", "origin", "dest", "departs_at", "arr_delay")
        )
        some = flights.tail(500)
        with pytest.warns(featkit.errors.ExpiredWarning):
            some.features.enrich(FEATURES)
        made = store.get_historical_features(some, FEATURES, at="departs_at")
        browser = store.browse()
        leaking = some.features.training_set(FEATURES[2:], at="departs_at").with_columns(
            last_arr_delay=pl.col("arr_delay")
        )
        whole = {
            "catalogue": browser.catalogue,
            "view": store.get_feature_metadata("carrier_history"),
            "service": store.list_feature_services()[0],
            "staleness": store.staleness(),
            "summary": store.last_summary,
            "cache": store.cache,
            "health": store.check_health(),
            "training": made.report,
            "leakage": leaking.features.audit(FEATURES[2:], at="departs_at", label="arr_delay"),
            "parity": store.parity(["carrier_history:*"]),
            "skew": made.frame.features.skew(made.frame.head(200), ["seats", "carrier"]),
        }
        found = {name: each._repr_html_() for name, each in whole.items()}
        return found | {"browser": browser._repr_mimebundle_()["text/html"]}


def text_of(html):
    """Return what there is to read, cell by cell."""
    tree = html5lib.parseFragment(html, namespaceHTMLElements=False)
    return [text.strip() for text in tree.itertext() if text.strip()]


def cleaned(html):
    return bleach.clean(html, tags=KEPT, attributes=["href", "open"], strip=True)


@pytest.mark.parametrize("name", SHOWN)
def test_a_strict_viewer_shows_every_word_in_its_table(static, name):
    kept = cleaned(static[name])
    assert "style" not in kept
    assert text_of(kept) == text_of(static[name])
    tree = html5lib.parseFragment(kept, namespaceHTMLElements=False)
    for row in tree.iter("tr"):
        assert len(row) == len(next(tree.iter("tr"))) or len(list(tree.iter("table"))) > 1
    assert not list(tree.iter("svg"))


def test_what_colours_say_is_also_said_in_words(static):
    assert "✗ error" in text_of(cleaned(static["staleness"]))
    assert "✓ ok" in text_of(cleaned(static["health"]))


def test_they_are_there_to_look_at_without_any_style(static, open_page):
    for name in SHOWN:
        page = open_page(width=1200, height=600)
        page.set_content(
            f"<!doctype html><html lang='en'><body>{cleaned(static[name])}</body></html>"
        )
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= 1200, name
        Mounted(page).shot(f"static-{name}")
