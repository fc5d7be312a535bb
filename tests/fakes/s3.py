"""S3 as moto has it, with a bucket of files."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from tests.fakes.sagemaker import KEY_ID, REGION, SECRET
from tests.programs.amazon import amazon, boto

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

BUCKET = "lake"
DATABASE = "sagemaker_featurestore"  # of the catalog that describes its tables


@dataclass(frozen=True)
class Lake:
    """A bucket, and the account that it is in.

    Attributes
    ----------
    url
        Where S3 and the account's other services are.
    """

    url: str

    def client(self, service: str) -> Any:
        return boto(service, self.url, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET)

    def put(self, files: Mapping[str, pl.DataFrame]) -> None:
        """Write frames as Parquet."""
        s3 = self.client("s3")
        for name, frame in files.items():
            body = io.BytesIO()
            frame.write_parquet(body)
            s3.put_object(Bucket=BUCKET, Key=name, Body=body.getvalue())

    def reader(self, *actions: str) -> dict[str, str]:
        """Make a user who may do this, and give the options that hold its key."""
        iam = self.client("iam")
        iam.create_user(UserName="reader")
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        what = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [what]})
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document)
        return {
            "access_key_id": key["AccessKeyId"],
            "secret_access_key": key["SecretAccessKey"],
        }

    @contextmanager
    def strict(self) -> Iterator[None]:
        """Look at signatures and policies meanwhile."""
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0").raise_for_status()
        try:
            yield
        finally:
            httpx.post(f"{self.url}/moto-api/reset-auth", content=b"inf").raise_for_status()


@contextmanager
def lake() -> Iterator[Lake]:
    """Serve an empty bucket; one at a time, since what moto knows is the process's."""
    with amazon() as url:
        made = Lake(url)
        try:
            place = {"LocationConstraint": REGION}
            made.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
            yield made
        finally:
            httpx.post(f"{url}/moto-api/reset")
