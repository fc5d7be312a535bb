"""A browser for the widgets: their ES module on a bare page, with a model that remembers."""

import base64
import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from featkit.catalogue import Catalogue
from featkit.schema import Entity, Feature, FeatureRef, FeatureService, FeatureView
from featkit.widgets.assets import pack, script, style
from featkit.widgets.content import columns_of, view_in_full
from tests.programs.running import program

SHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
]
# what a notebook's front end gives a widget, as far as these use it
MODEL = """
([code, css, state, bytes]) => (async () => {
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  for (const [name, text] of Object.entries(bytes)) {
    state[name] = new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  }
  const listeners = {};
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  window.sent = [];
  window.model = {
    get: (name) => state[name],
    set: (name, value) => {
      const changed = !same(state[name], value);
      state[name] = value;
      if (changed) for (const run of listeners[`change:${name}`] ?? []) run();
    },
    echo: (name) => {
      state[name] = window.saved[name];
      for (const run of listeners[`change:${name}`] ?? []) run();
    },
    save_changes: () => {
      window.saved = JSON.parse(JSON.stringify({ ...state, payload: 0 }));
    },
    on: (name, run) => (listeners[name] ??= []).push(run),
    off: (name, run) => {
      listeners[name] = (listeners[name] ?? []).filter((other) => other !== run);
    },
    send: (message) => window.sent.push(message),
    receive: (message, buffers) => {
      for (const run of listeners["msg:custom"] ?? []) run(message, buffers);
    },
    listening: () => Object.values(listeners).flat().length,
  };
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const module = await import(url);
  const el = document.createElement("div");
  document.body.append(el);
  window.close_widget = await module.default.render({ model: window.model, el });
})()
"""
PAGE = """<!doctype html><html lang="en"><head><title>test</title></head>
<body style="margin: 8px"></body></html>"""


@dataclass
class Mounted:
    """A widget on a bare page."""

    page: Any
    errors: list[str] = field(default_factory=list)

    def find(self, selector):
        return self.page.locator(selector)

    def texts(self, selector):
        return self.page.locator(selector).all_inner_texts()

    def saved(self, name):
        """Return a trait as the kernel would know it."""
        return self.page.evaluate("name => window.saved?.[name]", name)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def names(self):
        """Return the names in the rows that are drawn, in order."""
        return self.texts(".fk-body .fk-row .fk-name .fk-text")

    def search(self, text):
        self.find(".fk-bar > .fk-search").fill(text)
        self.settle()

    def settle(self):
        """Wait until the frame that is due has been painted."""
        self.page.evaluate(
            "() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
        )

    def accessible(self):
        """Return what axe-core finds wrong, contrast among it."""
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - as below

        found = Axe().run(self.page).response["violations"]
        rules = {"region", "landmark-one-main", "page-has-heading-one"}  # of whole pages
        return [
            (each["id"], [node["html"][:120] for node in each["nodes"]][:3])
            for each in found
            if each["id"] not in rules
        ]

    def shot(self, name):
        """Keep a picture, for people to look at."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")


# A module, not a session: the event loop of playwright must end before tests that run one.
@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - few runs need it

    path = program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Open pages that collect their errors; there must be none at the end.

    A notebook has errors of its own: `only` those are collected whose traceback names it.
    """
    contexts, errors = [], []

    def open_one(width=1000, height=700, scheme="light", only="", **options):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on(
            "pageerror",
            lambda error: only in (error.stack or "") and errors.append(error.stack or str(error)),
        )
        page.on(
            "dialog", lambda dialog: (errors.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        page.on(
            "console",
            lambda message: message.type == "error" and not only and errors.append(message.text),
        )
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def mount(open_page):
    """Put a widget on a bare page."""

    def mounted(name, state, bytes_=None, *, theme="", **options):
        page = open_page(**options)
        page.set_content(PAGE)
        if theme:
            page.evaluate("theme => document.body.dataset.jpThemeLight = theme", theme)
        packed = {key: base64.b64encode(value).decode() for key, value in (bytes_ or {}).items()}
        page.evaluate(MODEL, [script(name), style(name), state, packed])
        return Mounted(page)

    return mounted


@pytest.fixture
def table(mount, catalogue):
    """Put the table of a catalogue on a bare page."""

    def mounted(shown=catalogue, *, state=None, **options):
        start = {
            "search": "",
            "facets": {},
            "sort": "",
            "opened": [],
            "current": "",
            "selected": [],
        }
        start |= {"live": True, **(state or {})}
        found = mount("table", start, {"payload": pack(columns_of(shown))}, **options)
        found.page.wait_for_function("() => document.querySelector('.fk-status')?.textContent")
        return found

    return mounted


@pytest.fixture
def details(mount, catalogue):
    """Put the pane of one view on a bare page."""

    def mounted(view="shops", shown=catalogue, *, changes=None, live=True, **options):
        found = [each for each in shown.views if each.name == view]
        content = view_in_full(shown, found[0]) | (changes or {}) if found else {}
        return mount("details", {"view": content, "live": live}, **options)

    return mounted


def make_catalogue(*views, services=(), notes=()):
    return Catalogue(
        target="parquet:somewhere",
        views=views,
        services=services,
        read_at=dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC),
        notes=notes,
    )


def make_view(name, features=(), keys=("shop",), **options):
    return FeatureView(
        name=name,
        entities=tuple(Entity(key, key, pl.Int64()) for key in keys),
        features=tuple(
            each if isinstance(each, Feature) else Feature(each, pl.Float64()) for each in features
        ),
        **options,
    )


@pytest.fixture(scope="session")
def catalogue():
    """Return four views, one of them with next to nothing, and a service."""
    shops = make_view(
        "shops",
        [
            Feature("visits", pl.Int64(), "how many came"),
            Feature("rating", pl.Float64(), "mean of the stars", {"unit": "stars"}),
            Feature("title", pl.String()),
        ],
        timestamp="at",
        ttl=dt.timedelta(days=1),
        owner="retail",
        tags={"team": "blue", "gold": ""},
        description="What is known of a shop",
        source="warehouse.shops_daily",
    )
    people = make_view(
        "people",
        ["age", "income", "visits_30d"],
        keys=("person",),
        timestamp="at",
        owner="crm",
        tags={"team": "red"},
        description="What is known of a person",
        offline=False,
    )
    pairs = make_view(
        "pairs",
        ["affinity"],
        keys=("shop", "person"),
        timestamp="at",
        ttl=dt.timedelta(hours=3),
        owner="retail",
        computed_from=(FeatureRef("shops", "visits"),),
    )
    service = FeatureService("churn", (FeatureRef("shops", "visits"), FeatureRef("people", "age")))
    return make_catalogue(shops, people, pairs, make_view("bare"), services=(service,))


@pytest.fixture(scope="session")
def views():
    """Hand out the makers of catalogues and views."""
    return make_catalogue, make_view
