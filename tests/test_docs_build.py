"""The pages become a site, without a warning and without a network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import featkit
from featkit import errors

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site from a copy of what it is made of."""
    folder = tmp_path_factory.mktemp("site")
    ignored = shutil.ignore_patterns("_build", "notebooks")
    shutil.copytree(DOCS, folder / "docs", ignore=ignored)
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    # a proxy that nobody runs: whoever asks for a page from outside fails
    environment = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    command = [
        *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"),
        *(str(folder / "docs"), str(folder / "html")),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        env={**_without_proxies(), **environment, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


def _without_proxies():
    import os  # noqa: PLC0415 - only here

    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}


@pytest.mark.slow
def test_every_page_and_notebook_is_in_the_site(site):
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")}
    pages |= {Path("notebooks") / path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert [page for page in pages if not (site / page).with_suffix(".html").is_file()] == []


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    loading = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]+")
    found = {
        match for path in site.rglob("*.html") for match in loading.findall(path.read_text("utf-8"))
    }
    assert found == set()


@pytest.mark.slow
def test_the_reference_describes_what_is_public(site):
    text = (site / "api.html").read_text("utf-8")
    wanted = set(featkit.__all__) - {"__version__", "demo", "errors", "testing"}
    assert [name for name in sorted(wanted) if f'id="featkit.{name}"' not in text] == []
    assert text.count("Examples") > 20


def test_every_error_is_on_its_page():
    text = (DOCS / "errors.md").read_text("utf-8")
    assert [
        name for name in errors.__all__ if f"`{name}`" not in text.replace("featkit.errors.", "")
    ] == []
