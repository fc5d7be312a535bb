"""What boto3 reads from SageMaker: records by identifier, and descriptions of feature groups.

    python ask_boto3.py < request.json

Runs in the environment of the vendors' clients. The request:

    {"url": "http://...", "region": "eu-west-1", "key_id": "...", "secret": "...",
     "group": "customers", "ids": ["1", "2"], "features": ["visits"] or null}
"""

import json
import sys

import boto3


def main():
    request = json.load(sys.stdin)

    def client(service):
        return boto3.client(
            service,
            region_name=request["region"],
            endpoint_url=request["url"],
            aws_access_key_id=request["key_id"],
            aws_secret_access_key=request["secret"],
        )

    runtime = client("sagemaker-featurestore-runtime")
    records = {}
    ids = request["ids"]
    for start in range(0, len(ids), 100):
        asked = {
            "FeatureGroupName": request["group"],
            "RecordIdentifiersValueAsString": ids[start : start + 100],
        }
        if request["features"]:
            asked["FeatureNames"] = request["features"]
        said = runtime.batch_get_record(Identifiers=[asked], ExpirationTimeResponse="Enabled")
        for own in said["Records"]:
            record = {
                cell["FeatureName"]: cell.get("ValueAsString", cell.get("ValueAsStringList"))
                for cell in own["Record"]
            }
            ends = own.get("ExpiresAt")
            records[own["RecordIdentifierValueAsString"]] = {"record": record, "ends": ends}
    described = client("sagemaker").describe_feature_group(FeatureGroupName=request["group"])
    definitions = {
        own["FeatureName"]: [own["FeatureType"], own.get("CollectionType")]
        for own in described["FeatureDefinitions"]
    }
    listed = client("sagemaker").list_feature_groups()["FeatureGroupSummaries"]
    answer = {
        "records": records,
        "definitions": definitions,
        "identifier": described["RecordIdentifierFeatureName"],
        "event_time": described["EventTimeFeatureName"],
        "ttl": described["OnlineStoreConfig"].get("TtlDuration"),
        "groups": [own["FeatureGroupName"] for own in listed],
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
