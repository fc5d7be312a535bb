"""The progress bar of `enrich`, as a person sees it in a notebook."""

import pytest

from tests.widgets.conftest import Mounted
from tests.widgets.lab import change_theme, jupyter, open_notebook, text_of, write_notebook

pytestmark = pytest.mark.slow

# a store that answers in pieces, each when a file says so: the test looks at what is between
START = """
import pathlib, time
import polars as pl
import featkit as fk
from featkit.calls import Call, LocalRead
from featkit.testing import MemoryStore, described

class Slow(MemoryStore):
    def read_online(self, read):
        call = super().read_online(read)

        def run():
            if read.keys["shop"].max() >= 500:
                while not pathlib.Path("go").exists():
                    time.sleep(0.02)
            return call.request.run()

        return Call(LocalRead(run, "slowly", threaded=True), keys=call.keys)

shops = pl.DataFrame({"shop": range(1000), "visits": range(1000)})
store = fk.connect(Slow([described(shops, name="shops", join_keys="shop")], batch_size=100))
frame = pl.DataFrame({"shop": range(1000)})
"""
ENRICH = """
enriched = frame.features.enrich(["shops:visits"], progress=True)
print(enriched.height, "rows,", enriched["visits"].sum())
"""
HALF = """([whole, part]) => {
  const [all, done] = [whole, part].map((each) => each.getBoundingClientRect().width);
  return 0.45 * all < done && done < 0.55 * all;  // it grows there slowly, for the eye
}"""
QUIET = 'print(frame.features.enrich(["shops:visits"]).height)'


@pytest.fixture(scope="module", params=["lab", "notebook"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"progress-{request.param}")
    with jupyter(folder, request.param) as address:
        yield request.param, address, folder / "root"


def width(found):
    return found.evaluate("element => element.getBoundingClientRect().width")


def test_the_bar_is_painted_while_it_runs_and_goes_when_it_is_done(server, open_page):
    name, address, root = server
    write_notebook(root / "bar.ipynb", START, ENRICH, QUIET)
    page = open_page(width=1000, height=900, only="anywidget")
    open_notebook(page, address, "bar.ipynb")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(1)
    bar = cell.locator(".widget-hprogress, .jupyter-widget-hprogress").first
    bar.wait_for()
    page.wait_for_function(
        "cell => cell.innerText.includes('500/1.00k')", arg=cell.element_handle()
    )
    whole, part = (bar.locator(each).first for each in (".progress", ".progress-bar"))
    assert width(whole) > 200
    page.wait_for_function(HALF, arg=[whole.element_handle(), part.element_handle()])
    assert "keys/s" in cell.inner_text()
    mounted = Mounted(page)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        change_theme(page, theme)
        mounted.settle()
        mounted.shot(f"progress-{name}-{theme.split()[1].lower()}")
    (root / "go").touch()
    page.wait_for_function(
        "cell => cell.innerText.includes('1000 rows')", arg=cell.element_handle()
    )
    assert "1000 rows, 499500" in cell.inner_text()
    bar.wait_for(state="hidden")  # what is done needs no bar
    assert text_of(page, 2).strip() == "1000"  # and what is quick never had one
    mounted.shot(f"progress-{name}-done")
