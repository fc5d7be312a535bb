"""Amazon's services as moto has them, for tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "eu-west-1"
KEYS = {"aws_access_key_id": "AK", "aws_secret_access_key": "canary-secret"}


@contextmanager
def amazon() -> Iterator[str]:
    """Serve them, and give their URL."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - takes a second

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def boto(service: str, url: str, **keys: str) -> Any:
    """Make a client of Amazon's own library."""
    return boto3.client(service, region_name=REGION, endpoint_url=url, **(keys or KEYS))
