"""What Tecton's own client reads: one answer per lookup, or the error that it raises.

    python ask_tecton.py < request.json

Runs in the environment of the vendors' clients. The request:

    {"url": "http://...", "key": "...", "workspace": "prod", "service": "fs",
     "lookups": [{"join_keys": {"user_id": "u1"}, "context": {}}]}
"""

import json
import sys

from tecton_client import MetadataOptions, TectonClient
from tecton_client.exceptions import TectonHttpException


def main():
    request = json.load(sys.stdin)
    client = TectonClient(
        url=request["url"], api_key=request["key"], default_workspace_name=request["workspace"]
    )
    answers = []
    for lookup in request["lookups"]:
        try:
            said = client.get_features(
                feature_service_name=request["service"],
                join_key_map=lookup["join_keys"],
                request_context_map=lookup.get("context") or {},
                metadata_options=MetadataOptions.all(),
            )
        except TectonHttpException as error:
            answers.append({"error": type(error).__name__, "message": str(error)})
            continue
        described = said.metadata["features"]
        answers.append(
            {
                "values": said.get_features_dict(),
                "statuses": {own["name"]: own["status"] for own in described},
                "times": {own["name"]: own.get("effectiveTime") for own in described},
            }
        )
    schema = client.get_feature_service_metadata(feature_service_name=request["service"])
    keys = [own["name"] for own in schema.input_join_keys]
    features = {own["name"]: own["dataType"]["type"] for own in schema.feature_values}
    json.dump({"answers": answers, "join_keys": keys, "features": features}, sys.stdout)


if __name__ == "__main__":
    main()
