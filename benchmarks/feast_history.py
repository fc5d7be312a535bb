"""Training sets against Feast's DuckDB store, on the same files, in the same run.

The files and the spine are those of `training_sets`. Each side runs in a process of its own, which
reads what the system has cached and holds the result as a frame; what is imported when it is first
used does not count. Feast runs without a server, in its own environment.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._measuring import Claim, in_a_fresh_process
from benchmarks.feast import servers
from benchmarks.training_sets import FEATURES, VIEWS, prepare

REPOSITORY = """
project: bench
provider: local
registry: registry.db
offline_store:
  type: duckdb
online_store:
  type: sqlite
  path: online.db
entity_key_serialization_version: 3
"""
SDK = """
import json, sys, time
import duckdb, ibis, ibis.backends.duckdb
from datetime import timedelta
from pathlib import Path
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
folder, files = sys.argv[1:3]
views = json.loads(sys.argv[3])
store = FeatureStore(folder)
entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
made = [
    FeatureView(
        name=name, entities=[entity], ttl=timedelta(days=7),
        schema=[Field(name=f"{name}{n}", dtype=Float64) for n in range(4)],
        source=FileSource(
            name=f"source_{name}", path=str(Path(files) / "timed" / f"{name}.parquet"),
            timestamp_field="at", created_timestamp_column="written",
        ),
    )
    for name in views
]
store.apply([entity, *made])
spine = pd.read_parquet(Path(files) / "spine.parquet").rename(columns={"at": "event_timestamp"})
features = [f"{name}:{name}{n}" for name in views for n in range(4)]
begin = time.perf_counter()
frame = store.get_historical_features(entity_df=spine, features=features).to_df()
seconds = time.perf_counter() - begin
values = [name for name in (f"{view}{n}" for view in views for n in range(4))]
print(json.dumps({"seconds": seconds, "check": [len(frame), *map(int, frame[values].count())]}))
"""


def by_feast(python: str, files: Path, folder: Path) -> dict[str, object]:
    """Join in Feast's environment: how long it took, the rows, and the values that are no null."""
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(REPOSITORY, encoding="utf-8")
    words = [python, "-c", SDK, str(folder), str(files), json.dumps(list(VIEWS))]
    done = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure() -> list[Claim]:
    with servers() as at:
        python = at["python"]
    with TemporaryDirectory(prefix="featkit-bench-") as scratch:
        folder = Path(scratch)
        prepare(folder)
        theirs = by_feast(python, folder, folder / "repository")
        ours = in_a_fresh_process("-m", "benchmarks.training_sets", str(folder), "any featkit")
    own, other = float(ours["seconds"]), float(str(theirs["seconds"]))
    rows, values = ours["check"], theirs["check"]
    same = "the same values" if rows == values else f"rows and values {rows} to {values}"
    note = f"{own:.1f} s to {other:.1f} s, {len(FEATURES)} features; {same}"
    return [Claim(text="to Feast's DuckDB store", measured=own / other, limit=1 / 4, note=note)]
