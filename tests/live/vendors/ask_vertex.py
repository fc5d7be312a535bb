"""What Google's own client reads of an online store over REST: one answer per key.

    python ask_vertex.py < request.json

Runs in the environment of the vendors' clients. The request:

    {"host": "127.0.0.1:1234", "token": "...", "view": "projects/...", "keys": [["1"], ["a", "b"]]}
"""

import json
import sys

from google.api_core.exceptions import GoogleAPICallError
from google.cloud import aiplatform_v1 as v1
from google.cloud.aiplatform_v1.services.feature_online_store_service.transports import (
    FeatureOnlineStoreServiceRestTransport,
)
from google.oauth2.credentials import Credentials


def plain(value):
    """Return a value of protobuf as Python has it, and when it was generated."""
    kind = type(value).pb(value).WhichOneof("value")
    held = getattr(value, kind) if kind else None
    if kind and kind.endswith("array_value"):
        held = list(held.values)
    if isinstance(held, bytes):
        held = held.hex()
    if isinstance(held, float):
        held = repr(held)
    return {"kind": kind, "value": held, "time": value.metadata.generate_time.isoformat()}


def main():
    request = json.load(sys.stdin)
    transport = FeatureOnlineStoreServiceRestTransport(
        host=request["host"], url_scheme="http", credentials=Credentials(token=request["token"])
    )
    client = v1.FeatureOnlineStoreServiceClient(transport=transport)
    answers = []
    for parts in request["keys"]:
        key = {"composite_key": {"parts": parts}} if len(parts) > 1 else {"key": parts[0]}
        try:
            said = client.fetch_feature_values(
                request={"feature_view": request["view"], "data_key": key, "data_format": 1}
            )
        except GoogleAPICallError as error:
            answers.append({"error": type(error).__name__})
            continue
        features = said.key_values.features
        answers.append({feature.name: plain(feature.value) for feature in features})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
