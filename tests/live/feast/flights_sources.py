"""Write the views of featkit's demo store as the sources of a Feast repository.

    python flights_sources.py FOLDER

Runs in featkit's environment. The folder gets a Parquet file for each view, and `views.json`,
which says what the store knows of them.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

import featkit as fk
from featkit.stores.demo import views

FIRST_DAY = datetime(2013, 1, 1, tzinfo=UTC)
# Feast wants an event timestamp of everything, also of what does not change
STATIC = pl.lit(FIRST_DAY, pl.Datetime("us", "UTC")).alias("event_timestamp")


def described(view):
    """Return what `definitions.py` makes a feature view of."""
    return {
        "name": view.name,
        "join_keys": list(view.join_keys),
        "ttl": view.ttl.total_seconds() if view.ttl else 0,
        "description": view.description,
        "owner": view.owner,
        "tags": dict(view.tags),
        "features": [
            {"name": it.name, "dtype": str(it.dtype), "description": it.description}
            for it in view.features
        ],
    }


def main():
    folder = Path(sys.argv[1])
    with fk.connect("demo:flights") as store:
        known = [described(view) for view in store.list_feature_views()]
    frames = views()
    for view in known:
        frame = frames[view["name"]]
        timed = frame if "event_timestamp" in frame.columns else frame.with_columns(STATIC)
        view["created"] = "created_timestamp" if "created_timestamp" in timed.columns else ""
        timed.write_parquet(folder / f"{view['name']}.parquet")
    (folder / "views.json").write_text(json.dumps(known, indent=1))


if __name__ == "__main__":
    main()
