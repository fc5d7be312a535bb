"""How the pages become a site: `make docs`. Nothing in it needs a network."""

import re
import shutil
from pathlib import Path
from typing import Any

import featkit

HERE = Path(__file__).parent
NOTEBOOKS = HERE / "notebooks"  # a copy of the folder beside docs/; git ignores it

project = "featkit"
author = "the featkit authors"
copyright = "the featkit authors, Apache-2.0"  # noqa: A001 - Sphinx's name
version = release = featkit.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "py:obj"
html_theme = "pydata_sphinx_theme"
html_title = "featkit"
html_show_sourcelink = False
html_sidebars = {  # of the decisions alone there are pages below a page
    name: [] for name in ("*", "stores/*", "notebooks/*", "_modules/**")
}
html_theme_options = {
    "header_links_before_dropdown": 4,
    "show_toc_level": 2,
    "navigation_with_keys": True,
    "footer_start": ["copyright"],
    "footer_end": [],
}

nb_execution_mode = "off"  # the tests run the notebooks, and compare what is stored
nb_ipywidgets_js = {}  # else each page asks another address for the widgets' code
nb_merge_streams = True
myst_heading_anchors = 4
suppress_warnings = ["mystnb.unknown_mime_type"]  # the live browser; the table beside it is shown

autodoc_typehints = "none"  # numpydoc's Parameters say it in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False


def copy_notebooks(*_: object) -> None:
    """Bring the notebooks to where Sphinx finds them."""
    NOTEBOOKS.mkdir(exist_ok=True)
    for path in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        shutil.copyfile(path, NOTEBOOKS / path.name)


def links_of_the_site(_: object, name: str, source: list[str]) -> None:
    """Turn links that lead out of docs/, as Git hosts follow them, into what the site has."""
    out = "../" * (name.count("/") + 1)
    inside = source[0].replace(f"]({out}notebooks/", f"]({out[3:]}notebooks/")
    source[0] = re.sub(
        rf"\[([^\]]+)\]\({re.escape(out)}(?:[a-z]+/)?[A-Z]+\.md[^)]*\)", r"\1", inside
    )


copy_notebooks()


def setup(app: Any) -> None:  # noqa: ANN401 - Sphinx's own
    """Register what is done to each page."""
    app.connect("source-read", links_of_the_site)
