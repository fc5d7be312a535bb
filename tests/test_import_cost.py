"""`import featkit` is cheap: it loads no heavy library."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
HEAVY = {
    *("pandas", "polars", "pyarrow", "numpy", "httpx", "httpx2", "ipywidgets", "matplotlib"),
    *("IPython", "tqdm", "rich", "typer", "requests_cache", "stamina", "asyncio"),
}


def loaded_by(code):
    """Run code in a fresh interpreter and return which heavy libraries it loaded."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return HEAVY & {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "code",
    [
        "import featkit",
        "import featkit; featkit.__all__, dir(featkit), featkit.__version__, featkit.errors",
    ],
)
def test_importing_featkit_loads_no_heavy_library(code):
    assert loaded_by(code) == set()


def test_enriching_polars_frames_loads_nothing_that_it_does_not_use(store_folder):
    code = f"""
import polars, featkit
store = featkit.connect("parquet:{store_folder}")
frame = polars.DataFrame({{"shop": [1, None]}})
frame.features.enrich(["shops:visits"], timestamps=True, statuses=True)
frame.lazy().features.enrich(["shops:visits"]).collect()
store.lookup(frame, "shops:*").to_dicts()
"""
    unused = {"pandas", "httpx", "httpx2", "ipywidgets", "matplotlib", "IPython", "tqdm", "rich"}
    assert loaded_by(code) & unused == set()
