"""The browser as Python sees it: what is chosen, sampled, kept and written."""

import json
import threading
from dataclasses import replace

import polars as pl
import pytest

import featkit
from featkit.capabilities import Capabilities, Lack
from featkit.catalogue import Catalogue, enrich_code
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.errors import (
    InputError,
    NotSupportedError,
    StoreUnavailable,
    UnknownNameError,
)
from featkit.testing import MemoryStore
from featkit.testing.memory import described

SHOPS = pl.DataFrame({"shop": [1, 2, 3], "rating": [4.5, 3.9, None], "=sum": ["+1", "b", "c"]})
CITIES = pl.DataFrame({"city": ["Rome", "Oslo"], "people": [3, 1]})


class Moody(MemoryStore):
    """A store that is down when told, and may neither list views nor name entities."""

    def __init__(self, *, silent=False):
        views = [
            described(SHOPS, name="shops", join_keys="shop", owner="retail"),
            described(CITIES, name="cities", join_keys="city"),
        ]
        super().__init__(views)
        self.down = False
        self.left = 2
        self.silent = silent
        if silent:
            self.capabilities = replace(
                Capabilities(batch_size=100, timestamp_level="none"),
                lacking={"list_feature_views": Lack.never("it has no such call")},
            )

    def list_feature_views(self):
        if self.down:
            raise StoreUnavailable("the store is down for <b>cleaning</b>")
        if self.silent:
            raise NotSupportedError("the store 'moody' does not list views: it has no such call")
        return (yield from super().list_feature_views())[: self.left]

    def feature_views(self, names):
        found = []
        every = {view.name: view for view, _ in self._views}
        for name in names:
            if name not in every:
                raise UnknownNameError(f"there is no feature view {name!r}")
            found.append(every[name])
        return found
        yield

    def feature_view(self, name):
        return (yield from self.feature_views([name]))[0]

    def sample_entities(self, view, count, now):
        if self.silent:
            raise NotSupportedError("it cannot list entities; pass some: entities=[...]")
        return (yield from super().sample_entities(view, count, now))


@pytest.fixture
def moody():
    return Moody()


@pytest.fixture
def client(moody):
    with featkit.connect(moody) as client:
        yield client


@pytest.fixture
def browser(client):
    return client.browse()


# -- without a display ---------------------------------------------------------------------------


def test_without_a_display_the_catalogue_is_printed(client, capsys):
    browser = client.browse()
    assert capsys.readouterr().out.splitlines() == [
        f"{client.target}: 2 feature views, 3 features",
        "view    join keys  ttl     owner   features",
        "shops   shop       static  retail  rating, =sum",
        "cities  city       static          people",
    ]
    assert repr(browser) == f"<FeatureViewBrowser of {client.target}: 2 feature views, 3 features>"


def test_a_saved_notebook_can_be_read_without_a_kernel(browser):
    bundle = browser._repr_mimebundle_()
    assert bundle["text/html"] == browser.catalogue._repr_html_()
    assert bundle["text/plain"] == repr(browser)
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_the_first_picture_waits_for_no_value(client, moody):
    def never(*_):
        pytest.fail("nobody asked for values")

    moody.read_online = never
    moody.sample_entities = never
    client.browse()


@pytest.mark.anyio
async def test_the_async_client_has_the_same_browser(moody, capsys):
    async with featkit.connect_async(moody) as client:
        browser = await client.browse(["cities"])
        browser.selected = ["cities:people"]
        assert browser.sample("cities").height == 2
    assert "1 feature view, 1 feature" in capsys.readouterr().out


# -- what is chosen ------------------------------------------------------------------------------


def test_the_selection_goes_to_enrich_as_it_is(browser, client):
    browser.table.selected = ["shops:rating"]  # as JavaScript sets it
    frame = pl.DataFrame({"shop": [2, 1]})
    enriched = frame.features.enrich(browser.selected, store=client)
    assert enriched["rating"].to_list() == [3.9, 4.5]
    assert str(browser.code()) == 'frame.features.enrich([\n    "shops:rating",\n])'
    assert repr(browser.code()) == browser.code()


def test_the_selection_can_be_set_and_observed(browser):
    heard = []
    browser.observe(lambda change: heard.append(change["new"]), "selected")
    browser.selected = ["cities:people", "shops:rating", "cities:people"]
    assert heard == [["cities:people", "shops:rating"]]
    assert browser.table.selected == browser.selected


def test_a_wrong_reference_gets_the_nearest(browser):
    with pytest.raises(UnknownNameError, match="did you mean 'shops:rating'"):
        browser.selected = ["shops:ratings"]
    assert browser.selected == []


def test_state_is_what_json_can_hold_and_comes_back(browser, client):
    browser.table.search = "shop"
    browser.table.facets = {"owner": ["retail"]}
    browser.selected = ["shops:rating"]
    state = json.loads(json.dumps(browser.state))
    assert client.browse(state=state).state == browser.state
    with pytest.raises(UnknownNameError, match="did you mean 'search'"):
        browser.state = {"serach": "x"}


def test_code_is_python_whatever_the_names():
    names = ['a"b', "a\\b", "a\nb", "é🦜", "a\x7fb", "$`{x}"]
    called = []

    class Features:
        enrich = called.append

    frame = type("Frame", (), {"features": Features})
    exec(enrich_code(names), {"frame": frame})  # noqa: S102 - is it the code that it should be
    assert called == [names]
    assert enrich_code([]) == ""


# -- samples -------------------------------------------------------------------------------------


def test_a_sample_is_a_frame_and_is_shown(browser):
    browser.table.current = "shops"
    assert browser.details.view["sample"] is None
    taken = browser.sample("shops", count=2)
    assert taken.columns == ["shop", "rating", "=sum"]
    assert taken["shop"].to_list() == [1, 2]
    assert browser.details.view["sample"]["words"] == "Sample of 2 entities"


def test_a_sample_neither_warns_nor_is_remembered(browser, client):
    client.lookup([1], ["shops:rating"])
    before = client.last_summary
    browser.sample("shops")
    assert client.last_summary is before


def test_a_click_samples_in_the_background(browser):
    browser.table.current = "shops"
    seen = []
    done = threading.Event()

    def look(change):
        seen.append((change["new"]["sample"] or {}).get("state"))
        if seen[-1] != "asking":
            done.set()

    browser.details.observe(look, "view")
    browser.answer({"kind": "sample", "view": "shops"})
    assert done.wait(10)
    assert seen == ["asking", "there"]


def test_a_click_on_what_fails_says_why(browser, moody):
    browser.table.current = "shops"

    def broken(*_):
        raise StoreUnavailable("it is down")

    moody.read_online = broken
    done = threading.Event()
    browser.details.observe(
        lambda change: change["new"]["sample"]["state"] == "failed" and done.set(), "view"
    )
    browser.answer({"kind": "sample", "view": "shops"})
    assert done.wait(10)
    assert browser.details.view["sample"] == {"state": "failed", "reason": "it is down"}


def test_entities_can_be_given(client):
    browser = client.browse(entities={"shop": [3, None, 3, 1], "city": ["Oslo"] * 4})
    assert browser.sample("shops")["shop"].to_list() == [3, 1]
    assert browser.sample("cities")["people"].to_list() == [1]


def test_a_view_without_entities_has_one_row():
    view, _ = described(CITIES, name="all", join_keys="city")
    view = replace(view, entities=())
    store = MemoryStore([(view, CITIES)])
    store.read_online = _one
    with featkit.connect(store) as client:
        assert client.browse().sample("all")["people"].to_list() == [7]


def _one(_):
    from featkit.calls import Call, LocalRead  # noqa: PLC0415

    present = pl.Series([Status.PRESENT], dtype=STATUS)
    found = FeatureColumns(pl.DataFrame({"people": [7]}), {"people": present})
    return Call(LocalRead(lambda: found, "one"))


def test_an_unknown_view_has_no_sample(browser):
    with pytest.raises(UnknownNameError, match="did you mean 'shops'"):
        browser.sample("shop")


# -- stores in trouble ---------------------------------------------------------------------------


def test_a_store_that_is_down_shows_what_was_there(client, moody):
    client.browse()
    moody.down = True
    browser = client.browse()
    assert [view.name for view in browser.catalogue.views] == ["shops", "cities"]
    note = browser.note.value
    assert "This is the catalogue of 0s ago" in note
    assert "down for &lt;b&gt;cleaning&lt;/b&gt;" in note
    moody.down = False
    browser.refresh()
    assert browser.note.value == ""


def test_a_store_that_was_never_there_is_an_error(client, moody):
    moody.down = True
    with pytest.raises(StoreUnavailable, match="cleaning"):
        client.browse()


def test_a_refresh_keeps_what_is_still_there(browser, moody):
    browser.selected = ["shops:rating", "cities:people"]
    moody.left = 1
    browser.refresh()
    assert browser.selected == ["shops:rating"]
    moody.down = True
    browser.refresh()
    assert [view.name for view in browser.catalogue.views] == ["shops"]
    assert "since the store is down" in browser.note.value


def test_a_store_without_listing_says_what_it_can_and_takes_names(capsys):
    with featkit.connect(Moody(silent=True)) as client:
        browser = client.browse()
        printed = capsys.readouterr().out
        assert "note: the store 'moody' does not list views: it has no such call" in printed
        assert "up to 100 entities a call, without event timestamps" in printed
        assert browser.asking.layout.display is None
        browser.names.value = "cities, shops"
        settled()
        assert [view.name for view in browser.catalogue.views] == ["cities", "shops"]
        browser.selected = ["cities:people"]
        browser.refresh()
        assert browser.selected == ["cities:people"]
        browser.names.value = "nope"
        settled()
        assert "no feature view &#x27;nope&#x27;" in browser.note.value
        assert len(browser.catalogue.views) == 2
        with pytest.raises(NotSupportedError, match="entities="):
            browser.sample("cities")
    named = client_of(Moody(silent=True)).browse(["shops"])
    assert [view.name for view in named.catalogue.views] == ["shops"]


def settled():
    """Wait for what the browser does in the background."""
    for thread in threading.enumerate():
        if thread.name == "featkit-browser":
            thread.join(10)


def client_of(store):
    return featkit.connect(store)


def test_an_unknown_name_is_an_error(client):
    with pytest.raises(UnknownNameError, match="nope"):
        client.browse(["nope"])


# -- files ---------------------------------------------------------------------------------------


def test_the_page_holds_what_was_chosen(browser, tmp_path):
    browser.selected = ["shops:rating"]
    path = tmp_path / "page.html"
    text = browser.to_html(path)
    assert path.read_text("utf-8") == text
    assert "shops:rating" in text


def test_the_page_is_sent_to_the_front_end(browser):
    sent = []
    browser.table.send = lambda *arguments: sent.append(arguments)
    browser.answer({"kind": "html"})
    assert sent == [({"kind": "html"}, [browser.to_html().encode()])]


def test_what_it_cannot_read_from_the_front_end_does_nothing(browser):
    for message in ({}, {"kind": "sample"}, {"kind": "sample", "view": 7}, {"kind": "else"}):
        browser.answer(message)


def test_csv_has_a_row_per_feature_and_no_formulas(browser, tmp_path):
    path = tmp_path / "features.csv"
    browser.to_csv(path)
    rows = pl.read_csv(path)
    assert rows["feature"].to_list() == ["rating", "'=sum", "people"]
    assert rows["dtype"].to_list() == ["float64", "string", "int64"]


def test_an_empty_catalogue_is_a_catalogue(now):
    empty = Catalogue(target="nowhere", views=(), read_at=now)
    assert str(empty) == "nowhere: 0 feature views, 0 features"
    assert empty.to_polars().height == 0
    assert "0 feature views" in empty._repr_html_()


def test_a_long_catalogue_is_cut(now, views):
    _, make_view = views
    many = tuple(make_view(f"v{n}", [f"f{m}" for m in range(30)]) for n in range(80))
    text = str(Catalogue(target="t", views=many, read_at=now))
    assert text.endswith("and 30 more views; search(text) finds features in all")
    assert "f11, and 18 more" in text


def test_input_that_is_no_entities_is_refused(client):
    with pytest.raises(InputError):
        client.browse(entities=7).sample("shops")
