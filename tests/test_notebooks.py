"""The notebooks say what is so: each cell runs, and gives what is written under it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NEEDS_A_SERVER = {"05_feast"}  # tests/live runs them
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def run_notebook(path, **environment):
    """Run a notebook under nbval, and return what pytest says."""
    command = [
        *(sys.executable, "-m", "pytest", "--quiet", "--nbval", "--nbval-current-env"),
        f"--nbval-sanitize-with={Path(__file__).with_name('nbval_sanitize.cfg')}",
        *("--nbval-cell-timeout=240", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", os.devnull),
        *(f"--rootdir={path.parent}", "-W", "ignore", "--tb=short", str(path)),
    ]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FEATKIT_")}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=500,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.stem not in NEEDS_A_SERVER], ids=lambda p: p.stem
)
def test_every_cell_gives_what_is_written_under_it(path):
    done = run_notebook(path)
    assert done.returncode == 0, done.stdout[-6000:]


@each_notebook
def test_notebooks_are_stored_clean(path):
    notebook = json.loads(path.read_text("utf-8"))
    assert "widgets" not in notebook["metadata"]  # the state of widgets is nobody's to read
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    numbers = [cell["execution_count"] for cell in cells]
    assert numbers == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert path.stat().st_size < 400_000


@each_notebook
def test_notebooks_tell_a_story(path):
    notebook = json.loads(path.read_text("utf-8"))
    first = "".join(notebook["cells"][0]["source"])
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert first.startswith("# ")
    kinds = {
        kind
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    }
    assert "image/png" in kinds
    words = sum(
        len("".join(cell["source"]).split())
        for cell in notebook["cells"]
        if cell["cell_type"] == "markdown"
    )
    assert words > 150


@each_notebook
def test_links_between_notebooks_lead_somewhere(path):
    links = re.findall(r"\]\((\d\d_\w+\.ipynb)\)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).is_file()] == []
