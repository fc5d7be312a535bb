"""`import featkit` is cheap: it loads no heavy library."""

import json
import subprocess
import sys

import pytest
import redis

from featkit.testing import CONTRACT_NOW, contract_views
from tests.fakes.feast import PROJECT, FeastFake, served
from tests.fakes.feast_format import write_redis
from tests.fakes.feast_grpc import served_over_grpc
from tests.programs.running import redis_server

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


def test_who_has_polars_frames_never_waits_for_pandas(store_folder, tmp_path):
    code = f"""
import polars, featkit
store = featkit.connect("parquet:{store_folder}", cache={str(tmp_path / "cache.sqlite")!r})
rows = {{"shop": [1, None], "noon": ["2024-05-01T12:00:00Z"] * 2}}
frame = polars.DataFrame(rows).with_columns(polars.col("noon").str.to_datetime(time_zone="UTC"))
for _ in range(2):  # the second time from the cache
    frame.features.enrich("shops:*", timestamps=True, statuses=True)
    frame.lazy().features.enrich("shops:*").collect()
store.lookup(["Rome", None], "cities:*").to_dicts()
store.get_online_features("routes", ("a", "b"))
for engine in ("polars", "duckdb"):
    frame.features.training_set("shops:visits", at="noon", engine=engine)
for report in (store.last_report, store.staleness(), frame.features.staleness()):
    str(report), report._repr_html_()
"""
    assert "pandas" not in loaded_by(code)


@pytest.fixture(scope="module")
def feast():
    with served(FeastFake(contract_views())) as url:
        yield url


@pytest.fixture(params=["http", "grpc", "redis"])
def online(request, feast, tmp_path):
    """Serve the contract's views in one of the ways that Feast has, and give the target."""
    if request.param == "http":
        yield f"feast+{feast}"
    elif request.param == "grpc":
        with served_over_grpc(FeastFake(contract_views())) as address:
            yield f"feast+grpc://{address}"
    else:
        with redis_server(tmp_path) as url:
            write_redis(redis.Redis.from_url(url), PROJECT, contract_views())
            yield f"feast+{url}"


def test_feast_is_read_without_pandas(online, feast):
    code = f"""
import polars, featkit
options = dict(registry_url={feast!r}, project={PROJECT!r}, now={CONTRACT_NOW.isoformat()!r})
store = featkit.connect({online!r}, **options)
found = polars.DataFrame({{"customer_id": [1, 999]}}).features.enrich("customers:visits")
assert found["visits"].null_count() == 1, found
store.lookup([1, None], "customers:*").to_dicts()
parcels = {{"depot": ["A"], "code": ["1"]}}
store.lookup(parcels, "parcels:*").to_polars()
"""
    assert "pandas" not in loaded_by(code)
