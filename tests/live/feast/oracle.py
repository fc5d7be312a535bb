"""What Feast's own SDK answers in process: the truth that tests compare a client with.

    python oracle.py FOLDER < request.json

Runs in Feast's environment; `servers.py` also serves it over HTTP. Online requests and answers
are JSON, where what JSON cannot say is an object with one key that begins with a dollar sign:

    {"features": ["view:feature"] or "feature_service": "name",
     "entities": {"driver_id": [1001]}, "full_feature_names": false}
    {"driver_id": {"values": [1001], "statuses": ["PRESENT"], "event_timestamps": [null]}}

Historical ones are Arrow streams. The request is the spine, with this JSON under the key
`request` of its schema's metadata; `engine` is "file" (dask, Feast's default) or "duckdb":

    {"features": [...] or "feature_service": "name", "full_feature_names": false,
     "engine": "file"}
"""

import argparse
import base64
import datetime as dt
import decimal
import http.server
import json
import math
import sys
import traceback
import uuid
from pathlib import Path

import pyarrow as pa
from feast import FeatureStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

CONFIGURATIONS = {"file": "feature_store.yaml", "duckdb": "feature_store_duckdb.yaml"}


def plain_time(value):
    return {"$datetime": value.isoformat(), "zone": getattr(value.tzinfo, "key", None)}


def plain_dict(value):
    if all(isinstance(key, str) for key in value):
        return {key: plain(each) for key, each in value.items()}
    return {"$map": [[plain(key), plain(each)] for key, each in value.items()]}


SAID = {
    float: lambda value: value if math.isfinite(value) else {"$float": repr(value)},
    bytes: lambda value: {"$bytes": base64.b64encode(value).decode("ascii")},
    dt.datetime: plain_time,
    decimal.Decimal: lambda value: {"$decimal": str(value)},
    uuid.UUID: lambda value: {"$uuid": str(value)},
    set: lambda value: {"$set": [plain(each) for each in sorted(value)]},
    list: lambda value: [plain(each) for each in value],
    dict: plain_dict,
}


def plain(value):
    """Turn a Python value into what JSON can say, keeping its type."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    for kind, say in SAID.items():
        if isinstance(value, kind):
            return say(value)
    raise TypeError(f"no JSON for {type(value).__name__}: {value!r}")


def moment(timestamp):
    """Return an event time in ISO 8601 to the nanosecond's last digit, or None for none."""
    known = timestamp.seconds or timestamp.nanos
    return timestamp.ToJsonString() if known else None


class Oracle:
    def __init__(self, folder):
        self.stores = {
            engine: FeatureStore(folder, fs_yaml_file=Path(folder, file))
            for engine, file in CONFIGURATIONS.items()
        }

    def features(self, request):
        if "feature_service" in request:
            return self.stores["file"].get_feature_service(request["feature_service"])
        return request["features"]

    def online(self, request):
        response = self.stores["file"].get_online_features(
            self.features(request),
            request["entities"],
            full_feature_names=request.get("full_feature_names", False),
        )
        values = response.to_dict()
        answer = {}
        names = response.proto.metadata.feature_names.val
        for name, vector in zip(names, response.proto.results, strict=True):
            answer[name] = {
                "values": [plain(value) for value in values[name]],
                "statuses": [FieldStatus.Name(status) for status in vector.statuses],
                "event_timestamps": [moment(each) for each in vector.event_timestamps],
            }
        return answer

    def historical(self, spine):
        request = json.loads(spine.schema.metadata[b"request"])
        frame = spine.to_pandas()
        job = self.stores[request.get("engine", "file")].get_historical_features(
            frame,
            self.features(request),
            full_feature_names=request.get("full_feature_names", False),
        )
        return job.to_arrow()


def serve(folder, host, port):
    """Answer POST /online and POST /historical, one after the other, until killed."""
    oracle = Oracle(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply(200, "text/plain", b"")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                if self.path == "/historical":
                    table = oracle.historical(pa.ipc.open_stream(body).read_all())
                    sink = pa.BufferOutputStream()
                    with pa.ipc.new_stream(sink, table.schema) as writer:
                        writer.write_table(table)
                    answer = sink.getvalue().to_pybytes()
                    self.reply(200, "application/vnd.apache.arrow.stream", answer)
                else:
                    answer = json.dumps(oracle.online(json.loads(body))).encode()
                    self.reply(200, "application/json", answer)
            except Exception:  # noqa: BLE001 - whatever Feast raises is an answer, too
                self.reply(500, "text/plain", traceback.format_exc().encode())

        def reply(self, status, media_type, body):
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer((host, port), Handler) as server:
        server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    json.dump(Oracle(arguments.folder).online(json.load(sys.stdin)), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
