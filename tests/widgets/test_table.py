"""The table of the browser, in a browser."""

import csv
import io
from pathlib import Path

import pytest

from featkit.catalogue import enrich_code
from featkit.schema import Feature
from featkit.widgets.assets import script

# -- what is there ---------------------------------------------------------------------------------


def test_each_view_has_a_row(table):
    shown = table()
    assert shown.names() == ["shops", "people", "pairs", "bare"]
    assert shown.texts(".fk-status") == ["4 views, 7 features"]
    cells = shown.find(".fk-view").first.locator("[role=gridcell]").all_inner_texts()
    assert [cell.strip() for cell in cells] == [
        *("▸\nshops", "shop", "What is known of a shop", "retail", "gold, team=blue", "1d", "3"),
    ]


def test_a_view_opens_to_its_features_and_closes(table):
    shown = table()
    shown.find(".fk-twisty").first.click()
    assert shown.names() == ["shops", "visits", "rating", "title", "people", "pairs", "bare"]
    assert shown.saved("opened") == ["shops"]
    shown.find(".fk-twisty").first.click()
    assert shown.names() == ["shops", "people", "pairs", "bare"]


def test_a_view_without_anything_is_there_too(table):
    row = table().find(".fk-view").nth(3)
    assert row.get_attribute("aria-expanded") is None
    assert row.locator("[role=checkbox]").get_attribute("aria-disabled") == "true"


def test_a_store_without_views_says_so(table, views):
    make_catalogue, _ = views
    shown = table(make_catalogue())
    assert shown.texts(".fk-empty") == ["There is no feature view to show."]


def test_the_only_view_is_open(table, views):
    make_catalogue, make_view = views
    assert table(make_catalogue(make_view("one", ["a", "b"]))).names() == ["one", "a", "b"]


# -- search ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("visits", ["shops", "visits", "people", "visits_30d"]),  # names of features
        ("RETAIL", ["shops", "pairs"]),  # owners
        ("blue", ["shops"]),  # tags of views
        ("stars", ["shops", "rating"]),  # tags and descriptions of features
        ("daily", ["shops"]),  # sources
        ("churn", ["shops", "people"]),  # services
        ("known person", ["people"]),  # all words
        ("person pair", ["pairs"]),  # keys
        ("crm visits", ["people", "visits_30d"]),  # one word in the view, one in the feature
        ("bare", ["bare"]),  # a view without features
        ("ｖｉｓｉｔｓ", ["shops", "visits", "people", "visits_30d"]),  # noqa: RUF001 - wide letters
    ],
)
def test_search_finds_words_wherever_they_are(table, text, found):
    shown = table()
    shown.search(text)
    assert shown.names() == found


def test_a_view_named_like_it_comes_first(table):
    shown = table()
    shown.search("person")
    assert shown.names() == ["people", "pairs"]
    shown.search("p")
    assert [each for each in shown.names() if each in {"shops", "people", "pairs", "bare"}][:3] == [
        "shops",
        "people",
        "pairs",
    ]


def test_search_marks_what_it_found_and_counts(table):
    shown = table()
    shown.search("visits")
    assert shown.texts("mark") == ["visits", "visits"]
    assert shown.texts(".fk-status") == ["2 of 7 features"]


def test_search_that_finds_nothing_says_what_to_do(table):
    shown = table()
    shown.search("unicorn")
    assert shown.names() == []
    assert shown.texts(".fk-empty") == [
        "Nothing is like that. Try fewer words, or take a filter away."
    ]
    shown.find(".fk-bar > .fk-search").press("Escape")
    shown.settle()
    assert len(shown.names()) == 4


def test_the_kernel_hears_of_the_search_when_the_keys_rest(table):
    shown = table()
    shown.find(".fk-bar > .fk-search").press_sequentially("visit")
    shown.page.wait_for_function("() => window.saved?.search === 'visit'")


def test_an_echo_of_the_kernel_takes_no_letter(table):
    shown = table()
    box = shown.find(".fk-bar > .fk-search")
    box.press_sequentially("vi")
    shown.page.wait_for_function("() => window.saved?.search === 'vi'")
    shown.page.evaluate("() => window.model.echo('search')")
    box.press_sequentially("si")
    shown.page.evaluate("() => window.model.echo('search')")
    assert box.input_value() == "visi"
    shown.page.evaluate("() => window.model.set('search', 'age')")
    assert box.input_value() == "age"  # what the kernel says itself counts


def test_a_search_can_come_from_the_kernel(table):
    shown = table(state={"search": "stars"})
    assert shown.names() == ["shops", "rating"]
    shown.page.evaluate("() => window.model.set('search', 'crm')")
    assert shown.names() == ["people"]


# -- facets and sort -------------------------------------------------------------------------------


def menu(shown, name):
    """Open a facet and return its values with their counts."""
    if shown.find(f"[data-facet={name}]").get_attribute("open") is None:
        shown.find(f"[data-facet={name}] summary").click()
    shown.page.wait_for_selector(f"[data-facet={name}] label")
    return [tuple(text.split("\n")) for text in shown.texts(f"[data-facet={name}] label")]


@pytest.mark.parametrize(
    ("facet", "values"),
    [
        ("owner", [("retail", "4"), ("crm", "3")]),
        ("tag", [("gold", "3"), ("team=blue", "3"), ("team=red", "3")]),
        ("entity", [("person", "4"), ("shop", "4")]),
        ("dtype", [("float64", "5"), ("int64", "1"), ("string", "1")]),
        ("served", [("online and offline", "4"), ("online", "3")]),
        ("service", [("churn", "6")]),
    ],
)
def test_facets_count_features(table, facet, values):
    assert menu(table(), facet) == values


def test_facets_narrow_each_other_and_the_search(table):
    shown = table()
    menu(shown, "owner")
    shown.find("[data-value=retail]").check()
    assert shown.names() == ["shops", "pairs"]
    assert shown.saved("facets") == {"owner": ["retail"]}
    assert menu(shown, "owner")[-1] == ("crm", "3")  # what else could be chosen keeps its count
    assert menu(shown, "entity") == [("shop", "4"), ("person", "1")]
    shown.find("[data-value=person]").check()
    assert shown.names() == ["pairs"]
    shown.search("visits")
    assert shown.names() == []
    shown.search("")
    shown.find(".fk-facets button").click()
    assert shown.saved("facets") == {}
    assert len(shown.names()) == 4


def test_a_type_shows_the_features_that_have_it(table):
    shown = table(state={"facets": {"dtype": ["string"]}})
    assert shown.names() == ["shops", "title"]
    assert shown.texts("[data-facet=dtype] summary") == ["Type: 1"]


def test_many_values_can_be_searched(table, views):
    make_catalogue, make_view = views
    shown = table(make_catalogue(*(make_view(f"v{n}", ["a"], owner=f"o{n}") for n in range(80))))
    listed = menu(shown, "owner")
    assert len(listed) == 50
    assert shown.texts(".fk-values > div") == ["and 30 more: find them above"]
    shown.find("[data-facet=owner] .fk-search").fill("o79")
    assert shown.texts("[data-facet=owner] .fk-value") == ["o79"]


def test_headings_sort_both_ways_and_back(table):
    shown = table()
    heading = shown.find("[data-sort=name] button")
    orders = []
    for _ in range(3):
        heading.click()
        orders.append((shown.names(), shown.find("[data-sort=name]").get_attribute("aria-sort")))
    assert orders == [
        (["bare", "pairs", "people", "shops"], "ascending"),
        (["shops", "people", "pairs", "bare"], "descending"),
        (["shops", "people", "pairs", "bare"], "none"),
    ]


def test_the_shortest_ttl_comes_first_and_none_last(table):
    assert table(state={"sort": "ttl"}).names() == ["pairs", "shops", "people", "bare"]
    assert table(state={"sort": "-features"}).names() == ["shops", "people", "pairs", "bare"]


# -- ticks -----------------------------------------------------------------------------------------


def test_ticks_become_references_and_code(table):
    shown = table(state={"opened": ["shops"]})
    for name in ("shops:rating", "shops:visits"):
        shown.page.get_by_role("checkbox", name=f"Select {name}").click()
    assert shown.saved("selected") == ["shops:rating", "shops:visits"]
    assert shown.texts(".fk-chosen") == ["2 features selected"]
    assert shown.texts(".fk-code") == [
        'frame.features.enrich([\n    "shops:rating",\n    "shops:visits",\n])'
    ]
    box = shown.page.get_by_role("checkbox", name="Select shops", exact=True)
    assert box.get_attribute("aria-checked") == "mixed"
    shown.page.get_by_role("button", name="Clear", exact=True).click()
    assert shown.saved("selected") == []
    assert not shown.find(".fk-picked").is_visible()


def test_a_view_ticks_the_features_that_are_shown(table):
    shown = table()
    box = shown.page.get_by_role("checkbox", name="Select shops", exact=True)
    box.click()
    assert shown.saved("selected") == ["shops:visits", "shops:rating", "shops:title"]
    box.click()
    assert shown.saved("selected") == []
    shown.search("stars")
    box.click()
    assert shown.saved("selected") == ["shops:rating"]


def test_ticks_outlive_a_search(table):
    shown = table(state={"selected": ["people:age"]})
    shown.search("title")
    shown.page.get_by_role("checkbox", name="Select shops:title").click()
    assert shown.saved("selected") == ["people:age", "shops:title"]


def test_ticks_can_come_from_the_kernel(table):
    shown = table(state={"opened": ["people"]})
    shown.page.evaluate("() => window.model.set('selected', ['people:age', 'gone:x'])")
    box = shown.page.get_by_role("checkbox", name="Select people:age")
    assert box.get_attribute("aria-checked") == "true"
    assert shown.texts(".fk-chosen") == ["1 feature selected"]


def test_what_no_reference_can_name_cannot_be_ticked(table, views):
    make_catalogue, make_view = views
    shown = table(make_catalogue(make_view("v", ["a:b", "c"])))
    boxes = shown.page.get_by_role("checkbox", name="Select v:")
    assert boxes.first.get_attribute("aria-disabled") == "true"
    boxes.first.click(force=True)
    shown.page.get_by_role("checkbox", name="Select v", exact=True).click()
    assert shown.saved("selected") == ["v:c"]


def test_copied_code_is_the_code(table):
    shown = table(
        state={"selected": ["shops:rating"]}, permissions=["clipboard-write", "clipboard-read"]
    )
    shown.page.evaluate(
        "() => Object.defineProperty(navigator, 'clipboard', "
        "{ value: { writeText: async (text) => { window.copied = text; } } })"
    )
    shown.page.get_by_role("button", name="Copy code").click()
    shown.page.wait_for_function("() => window.copied")
    assert shown.page.evaluate("() => window.copied") == shown.texts(".fk-code")[0]
    assert shown.page.get_by_role("button", name="Copied").is_visible()


def test_python_and_javascript_write_the_same_code(open_page):
    names = ['a"b', "a\\b", "a\nb", "é🦜", "a\x7fb", "$`{x}"]
    page = open_page()
    code = script("table").partition("export default")[0]
    assert page.evaluate(
        f"(names) => {{ {code}; return enrichCode(names); }}", names
    ) == enrich_code(names)


# -- keyboard and accessibility --------------------------------------------------------------------


def current(shown):
    row = shown.find(".fk-grid").get_attribute("aria-activedescendant")
    return shown.find(f"#{row} .fk-name .fk-text").inner_text()


def test_the_table_is_used_by_keyboard_alone(table):
    shown = table()
    shown.find(".fk-bar > .fk-search").focus()
    shown.press("ArrowDown", "ArrowRight", "ArrowRight")
    assert current(shown) == "visits"
    shown.press("Space", "ArrowDown", "Space")
    assert shown.saved("selected") == ["shops:visits", "shops:rating"]
    shown.press("ArrowLeft")
    assert current(shown) == "shops"
    shown.press("ArrowLeft")
    assert shown.names() == ["shops", "people", "pairs", "bare"]
    shown.press("End")
    assert current(shown) == "bare"
    shown.press("ArrowUp", "Enter")
    assert shown.saved("current") == "pairs"
    shown.press("Home")
    assert current(shown) == "shops"
    shown.press("/")
    assert shown.page.evaluate("() => document.activeElement.type") == "search"


def test_keys_do_not_reach_the_notebook(table):
    shown = table()
    shown.page.evaluate(
        "() => { window.heard = []; "
        "document.addEventListener('keydown', (event) => window.heard.push(event.key)); }"
    )
    shown.find(".fk-grid").focus()
    shown.press("ArrowDown", "d", "d", "Enter")
    shown.find(".fk-bar > .fk-search").press_sequentially("abc")
    assert shown.page.evaluate("() => window.heard") == []


def test_escape_closes_a_menu(table):
    shown = table()
    menu(shown, "owner")
    shown.find("[data-value=crm]").focus()
    shown.press("Escape")
    assert not shown.find("[data-facet=owner]").get_attribute("open")
    assert shown.page.evaluate("() => document.activeElement.textContent") == "Owner"


def test_rows_tell_their_place(table):
    shown = table(state={"opened": ["shops"]})
    grid = shown.find("[role=treegrid]")
    assert grid.get_attribute("aria-rowcount") == "8"
    told = [
        [row.get_attribute(f"aria-{name}") for name in ("level", "expanded", "rowindex")]
        for row in shown.find(".fk-body [role=row]").all()[:3]
    ]
    assert told == [["1", "true", "2"], ["2", None, "3"], ["2", None, "4"]]


@pytest.mark.parametrize("theme", ["true", "false"], ids=["light", "dark"])
def test_nothing_is_wrong_for_who_sees_less(table, theme):
    state = {
        "opened": ["shops"],
        "selected": ["shops:rating"],
        "search": "shop",
        "current": "shops",
        "facets": {"owner": ["retail"]},
    }
    shown = table(state=state, theme=theme, scheme="light" if theme == "true" else "dark")
    menu(shown, "tag")
    assert shown.accessible() == []


@pytest.mark.parametrize("width", [320, 560, 1100])
def test_long_and_foreign_names_stay_in_their_cells(table, views, width):
    make_catalogue, make_view = views
    names = [
        "customer_lifetime_value_" * 12,
        "مشاهدات_المتجر",
        "店铺特征",
        "🦜🔥 parrots",
        "a\u202eb",
    ]
    shown = table(
        make_catalogue(
            *(
                make_view(name, [name, "x"], keys=(name,), owner=name, tags={name: ""})
                for name in names
            )
        ),
        state={"opened": names, "selected": [f"{names[1]}:{names[1]}"]},
        width=width,
    )
    shown.shot(f"names-{width}")
    wide, seen = shown.page.evaluate(
        "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= seen
    heights = {row.bounding_box()["height"] for row in shown.find(".fk-body .fk-row").all()}
    assert heights == {30}
    assert shown.accessible() == []


# -- much of it ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plenty():
    from tests.widgets.conftest import make_catalogue, make_view  # noqa: PLC0415

    return make_catalogue(
        *(
            make_view(f"view_{v:04}", [Feature(f"feature_{v:04}_{f:02}") for f in range(20)])
            for v in range(2000)
        )
    )


def test_many_rows_are_few_elements(table, plenty):
    shown = table(plenty)
    shown.search("feature_")
    assert shown.texts(".fk-status") == ["2,000 views, 40,000 features"]
    grid = shown.find("[role=treegrid]")
    assert grid.get_attribute("aria-rowcount") == "42001"
    assert shown.find(".fk-row").count() <= 60
    grid.focus()
    shown.press("End")
    shown.settle()
    assert shown.names()[-1] == "feature_1999_19"
    assert shown.find(".fk-row").count() <= 60
    shown.press("Home")
    shown.settle()
    assert shown.names()[0] == "view_0000"


def test_every_row_can_be_scrolled_to(table, plenty):
    shown = table(plenty)
    seen = set()
    for step in range(0, 2000 * 30, 300):
        shown.page.evaluate("top => { document.querySelector('.fk-grid').scrollTop = top; }", step)
        shown.settle()
        seen.update(shown.names())
    assert len(seen) == 2000


# -- other ways out --------------------------------------------------------------------------------


def saved_file(shown, press):
    with shown.page.expect_download() as waiting:
        press()
    return waiting.value


def test_what_is_listed_can_be_saved_as_csv(table, views):
    make_catalogue, make_view = views
    evil = Feature('=cmd("x")', None, 'said "so", then\nleft')
    shown = table(make_catalogue(make_view("v", [evil, "b"], owner="+1"), make_view("w", ["c"])))
    shown.search("v")
    file = saved_file(shown, shown.page.get_by_role("button", name="CSV").click)
    assert file.suggested_filename == "featkit-features.csv"
    text = Path(file.path()).read_bytes().decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0][:4] == ["view", "feature", "dtype", "description"]
    assert rows[1] == [
        "v",
        '\'=cmd("x")',
        "unknown",
        'said "so", then\nleft',
        "shop",
        "static",
        "'+1",
        "",
    ]
    assert [row[:2] for row in rows[2:]] == [["v", "b"]]


def test_html_is_asked_of_the_kernel_and_saved(table):
    shown = table()
    shown.page.get_by_role("button", name="HTML").click()
    assert shown.page.evaluate("() => window.sent") == [{"kind": "html"}]
    file = saved_file(
        shown,
        lambda: shown.page.evaluate(
            "() => window.model.receive({ kind: 'html' }, [new TextEncoder().encode('<p>page')])"
        ),
    )
    assert file.suggested_filename == "featkit-catalogue.html"
    assert Path(file.path()).read_text("utf-8") == "<p>page"


def test_a_closed_table_listens_no_more(table):
    shown = table()
    assert shown.page.evaluate("() => window.model.listening()") > 0
    shown.page.evaluate("() => window.close_widget()")
    assert shown.page.evaluate("() => window.model.listening()") == 0
