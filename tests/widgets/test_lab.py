"""A person's whole path in JupyterLab and in Notebook 7: look around, tick, use it."""

from pathlib import Path

import pytest

from tests.widgets.conftest import Mounted
from tests.widgets.lab import (
    change_theme,
    jupyter,
    open_notebook,
    run_cell,
    text_of,
    write_notebook,
)

pytestmark = pytest.mark.slow

START = """
import polars as pl
import featkit as fk
store = fk.connect("demo:flights")
browser = store.browse()
browser
"""
USE = """
flights = fk.demo.flights("polars").select("tailnum", "carrier").head(2)
print(browser.selected)
print(flights.features.enrich(browser.selected).rows())
"""
OBSERVED = "print(browser.state['search'], browser.catalogue.views[0].name)"


@pytest.fixture(scope="module", params=["lab", "notebook"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with jupyter(folder, request.param) as address:
        yield request.param, address, folder / "root"


@pytest.fixture
def shown(server, open_page):
    """Open a notebook in which the browser is shown."""
    name, address, root = server
    write_notebook(root / "look.ipynb", START, USE, OBSERVED)
    page = open_page(width=1400, height=1500, only="anywidget")
    open_notebook(page, address, "look.ipynb")
    run_cell(page, 0)
    page.wait_for_selector(".fk-view")
    found = Mounted(page)
    found.app = name
    return found


def test_what_is_ticked_is_used_in_the_next_cell(shown):
    page = shown.page
    box = shown.find(".fk-bar > .fk-search")
    box.press_sequentially("seats")
    page.wait_for_function("() => document.querySelectorAll('.fk-view').length === 1")
    assert box.input_value() == "seats"  # no letter went to the notebook's own keys
    page.get_by_role("checkbox", name="Select aircraft:seats").click()
    box.fill("")
    box.press_sequentially("flights_7d")
    box.press("ArrowDown")
    page.wait_for_function("() => document.querySelectorAll('.fk-view').length === 1")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.wait_for_function(
        "() => document.querySelector('.fk-chosen').textContent === '2 features selected'"
    )
    run_cell(page, 1)
    text = text_of(page, 1)
    assert "['aircraft:seats', 'carrier_history:flights_7d']" in text
    assert "[('N14228', 'UA', 149, " in text
    run_cell(page, 2)
    assert "flights_7d origin_weather" in text_of(page, 2)


def test_values_come_when_they_are_asked_for(shown):
    page = shown.page
    shown.find(".fk-view").nth(3).click()
    page.wait_for_selector(".fk-details h2")
    assert shown.texts(".fk-details h2") == ["tail_history"]
    page.get_by_role("button", name="Sample values").click()
    page.wait_for_selector(".fk-details figure")
    assert "Sample of 200 entities" in shown.texts(".fk-details .fk-muted")
    assert shown.texts(".fk-fresh")[0].startswith("✓ Fresh: newest of the sample")
    page.get_by_role("checkbox", name="Select tail_history").click()
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        change_theme(page, theme)
        shown.settle()
        shown.shot(f"{shown.app}-{theme.split()[1].lower()}")


def test_the_page_can_be_saved_from_the_notebook(shown):
    with shown.page.expect_download() as waiting:
        shown.page.get_by_role("button", name="HTML").click()
    assert waiting.value.suggested_filename == "featkit-catalogue.html"
    text = Path(waiting.value.path()).read_text("utf-8")
    assert "<title>Feature views of demo:flights</title>" in text
