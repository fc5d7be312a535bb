"""SageMaker's control plane as moto has it, and whether moto accepts featkit's signatures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import featkit
from featkit.errors import AuthError
from featkit.stores.base import open_store
from tests.programs.amazon import REGION, amazon, boto

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with amazon() as url:
        yield url


@pytest.fixture
def aws(moto: str) -> Iterator[Any]:
    """Make clients of Amazon's own library; what they made is forgotten in the end."""
    keys = {"aws_access_key_id": "AK", "aws_secret_access_key": "SK"}
    yield lambda service: boto(service, moto, **keys)
    httpx.post(f"{moto}/moto-api/reset")


def opened(moto: str, **options: Any) -> featkit.FeatureStoreClient:
    known = {"endpoint_url": moto, "control_url": moto, "access_key_id": "AK"}
    known |= {"secret_access_key": "SK", "feature_groups": ["customers"]}
    return featkit.connect(open_store(f"sagemaker:{REGION}", known | options))


def make_group(sagemaker: Any) -> None:
    sagemaker.create_feature_group(
        FeatureGroupName="customers",
        RecordIdentifierFeatureName="customer_id",
        EventTimeFeatureName="at",
        FeatureDefinitions=[
            {"FeatureName": "customer_id", "FeatureType": "Integral"},
            {"FeatureName": "at", "FeatureType": "Fractional"},
            {"FeatureName": "score", "FeatureType": "Fractional"},
        ],
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": "s3://lake/features"}},
        RoleArn="arn:aws:iam::123456789012:role/FeatureStore",
    )


def test_a_group_that_amazons_library_made_is_described(moto: str, aws: Any) -> None:
    make_group(aws("sagemaker"))
    with opened(moto) as client:  # moto cannot search for descriptions, which lookups do not need
        (view,) = client.run(client.operations.store.feature_views(["customers"]))
        assert view.join_keys == ("customer_id",)
        assert (view.timestamp, view.feature_names) == ("at", ("score",))
        assert view.source.startswith("s3://lake/features")


def test_signatures_are_accepted_and_wrong_ones_are_not(moto: str, aws: Any) -> None:
    iam = aws("iam")
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    allowed = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam.put_user_policy(
        UserName="reader",
        PolicyName="all",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    make_group(aws("sagemaker"))
    right = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
    httpx.post(f"{moto}/moto-api/reset-auth", content=b"0")  # from now on it looks at signatures
    try:
        with opened(moto, **right) as client:
            assert client.run(client.operations.store.feature_views(["customers"]))
        with (
            opened(moto, **right | {"secret_access_key": "wrong"}) as client,
            pytest.raises(
                AuthError,
                match=r"403: SignatureDoesNotMatch: .*secret key.*passed as access_key_id",
            ),
        ):
            client.lookup([1], ["customers:score"])
    finally:
        httpx.post(f"{moto}/moto-api/reset-auth", content=b"inf")
