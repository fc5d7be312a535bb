"""Ask an online store of Vertex AI with Google's own client over gRPC: many keys in one stream."""

import json
import sys

import grpc
from ask_vertex import plain
from google.cloud import aiplatform_v1beta1 as v1beta1
from google.cloud.aiplatform_v1beta1.services.feature_online_store_service import (
    FeatureOnlineStoreServiceClient,
)
from google.cloud.aiplatform_v1beta1.services.feature_online_store_service.transports import (
    FeatureOnlineStoreServiceGrpcTransport,
)


def written(key):
    return {"composite_key": {"parts": key}} if len(key) > 1 else {"key": key[0]}


def parts(key):
    return list(key.composite_key.parts) or [key.key]


def main():
    request = json.load(sys.stdin)
    channel = grpc.insecure_channel(request["grpc"])
    transport = FeatureOnlineStoreServiceGrpcTransport(channel=channel)
    client = FeatureOnlineStoreServiceClient(transport=transport)
    asked = v1beta1.StreamingFetchFeatureValuesRequest(
        feature_view=request["view"],
        data_keys=[written(key) for key in request["keys"]],
        data_format=v1beta1.FeatureViewDataFormat.KEY_VALUE,
    )
    found = {}
    metadata = (("authorization", f"Bearer {request['token']}"),)
    for said in client.streaming_fetch_feature_values(requests=iter([asked]), metadata=metadata):
        for key in said.data_keys_with_error:
            found[json.dumps(parts(key))] = {"error": "NotFound" if said.status.code == 5 else "?"}
        for answer in said.data:
            features = answer.key_values.features
            held = {feature.name: plain(feature.value) for feature in features}
            found[json.dumps(parts(answer.data_key))] = held
    json.dump(
        [found.get(json.dumps(key), {"error": "missing"}) for key in request["keys"]], sys.stdout
    )


if __name__ == "__main__":
    main()
