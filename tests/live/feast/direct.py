"""Fill another online store from a built feature repository, and answer for it with Feast's SDK.

    python direct.py FOLDER '{"online_store": {"type": "redis", "connection_string": "HOST:PORT"}}'

Runs in Feast's environment. FOLDER is a copy of a built repository, and the JSON goes over what its
`feature_store.yaml` says. When the store is filled, the port of the oracle, which `oracle.py`
describes, is printed; it ends with standard input.

With `--views` only these are filled. With `--changed` a view is applied once more without its last
feature, so that it has a second version.
"""

import argparse
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

import build
import oracle
import sources
import yaml
from feast import FeatureStore
from feast.infra.provider import get_provider

HOST = "127.0.0.1"
CONFIGURATION = "feature_store_direct.yaml"
PATIENCE = 20.0  # seconds for the oracle to listen


def wait_until_it_listens(port):
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)
        else:
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("configuration", type=json.loads)
    parser.add_argument("--views", nargs="+")
    parser.add_argument("--changed")
    arguments = parser.parse_args()

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Feast says is no answer
    os.chdir(arguments.folder)
    configuration = yaml.safe_load(Path("feature_store.yaml").read_text())
    configuration |= arguments.configuration
    Path(CONFIGURATION).write_text(yaml.safe_dump(configuration))
    store = FeatureStore(".", fs_yaml_file=Path(CONFIGURATION))
    if arguments.changed:
        view = store.get_feature_view(arguments.changed)
        view.features = view.features[:-1]
        store.apply(view)
    views = [view for view in store.list_batch_feature_views() if view.online]
    if arguments.views:
        views = [view for view in views if view.name in arguments.views]
    get_provider(store.config).update_infra(
        project=store.project,
        tables_to_delete=[],
        tables_to_keep=views,
        entities_to_delete=[],
        entities_to_keep=store.list_entities(),
        partial=False,
    )
    names = [view.name for view in views if view.name != "proto_only"]
    store.materialize(sources.START, sources.END, feature_views=names)
    if len(names) < len(views):
        build.write_proto_only(store)

    oracle.CONFIGURATIONS["file"] = CONFIGURATION
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    serving = threading.Thread(target=oracle.serve, args=(".", HOST, port), daemon=True)
    serving.start()
    wait_until_it_listens(port)
    answers.write(f"{port}\n")
    answers.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
