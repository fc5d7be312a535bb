"""Make a feature repository ready to be served: sources, registry and online store.

    python build.py FOLDER --bench-entities 1000

Runs in Feast's environment. FOLDER holds a copy of `repo/` and gets everything else.
"""

import argparse
import datetime as dt
import os
from pathlib import Path
from zoneinfo import ZoneInfo

import sources
from feast import FeatureStore
from feast.cli.cli import cli
from feast.infra.provider import get_provider
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

PROTO_ONLY = {
    "p_zoned": (
        ValueType.ZONED_TIMESTAMP,
        [
            dt.datetime(2026, 11, 22, 22, tzinfo=ZoneInfo("Europe/Oslo")),
            None,
            dt.datetime(2026, 11, 22, 3, 30, tzinfo=dt.timezone(dt.timedelta(hours=5.5))),
        ],
    ),
    "p_scalar_map": (ValueType.SCALAR_MAP, [{1: "a", 2: "b"}, None, {}]),
}


def write_proto_only(store):
    view = store.get_feature_view("proto_only")
    columns = {
        name: python_values_to_proto_values(values, kind)
        for name, (kind, values) in PROTO_ONLY.items()
    }
    rows = []
    for position, row in enumerate(sources.proto_only().to_pylist()):
        key = EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=row["driver_id"])])
        values = {name: column[position] for name, column in columns.items()}
        rows.append((key, values, row["event_timestamp"], None))
    get_provider(store.config).online_write_batch(store.config, view, rows, None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bench-entities", type=int, default=1000)
    arguments = parser.parse_args()

    os.chdir(arguments.folder)
    Path("data").mkdir()
    sources.write("data", arguments.bench_entities)
    cli(["apply"], standalone_mode=False)
    store = FeatureStore(".")
    online = [view.name for view in store.list_batch_feature_views() if view.online]
    online.remove("proto_only")
    store.materialize(sources.START, sources.END, feature_views=online)
    write_proto_only(store)


if __name__ == "__main__":
    main()
