"""A remote store, clients of it, and every kind of container."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import redis
from requests_cache.backends.base import DictStorage
from requests_cache.backends.dynamodb import DynamoDbDict
from requests_cache.backends.filesystem import FileDict
from requests_cache.backends.sqlite import SQLiteDict

import featkit
from featkit.cache.redis import RedisContainer
from featkit.cache.sqlite import SqliteContainer
from featkit.cache.storages import StorageContainer
from featkit.testing import FrozenClock
from tests.cache.remote import Remote
from tests.programs.amazon import KEYS, REGION, amazon
from tests.programs.running import redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.stores.base import Store


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock("2024-05-01T12:00:00Z")


@pytest.fixture
def connect(remote: Remote, clock: FrozenClock) -> Iterator[Callable[..., Any]]:
    """Connect to the remote store; clients are closed after the test."""
    clients = []

    def make(cache: Any = "memory", *, store: Store | None = None, **options: Any) -> Any:
        made = featkit.connect(store or remote, cache=cache, now=clock, **options)
        clients.append(made)
        return made

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Redis for the tests of this process."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def empty_redis(redis_url: str) -> str:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return redis_url


@pytest.fixture(scope="session")
def dynamodb_url() -> Iterator[str]:
    """Run a DynamoDB for the tests of this process."""
    with amazon() as url:
        yield url


@pytest.fixture
def dynamodb_table(dynamodb_url: str) -> Callable[[], DynamoDbDict]:
    """Return what opens one table, each time anew, as another process would."""
    name = f"featkit-{uuid.uuid4().hex}"
    options = {"region_name": REGION, "endpoint_url": dynamodb_url, **KEYS}
    return lambda: DynamoDbDict(name, connection=boto3.resource("dynamodb", **options))


DYNAMO = pytest.param("DynamoDbDict", marks=pytest.mark.slow)
STORAGES = ["DictStorage", "FileDict", "SQLiteDict", DYNAMO]


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.slow), *STORAGES])
def containers(request: pytest.FixtureRequest, tmp_path: Any) -> Callable[[], Any]:
    """Return what opens a container of each kind; each time the same place, as another process."""
    return opener(request.param, request, tmp_path)


@pytest.fixture(params=STORAGES)
def storages(request: pytest.FixtureRequest, tmp_path: Any) -> Callable[[], Any]:
    """Return what opens a storage of requests-cache of each kind."""
    return opener(request.param, request, tmp_path)


def opener(kind: str, request: pytest.FixtureRequest, tmp_path: Any) -> Callable[[], Any]:
    match kind:
        case "sqlite":
            return lambda: SqliteContainer(tmp_path / "cache.sqlite")
        case "redis":
            url = request.getfixturevalue("empty_redis")
            return lambda: RedisContainer.at(url)
        case "DictStorage":
            storage = DictStorage()
            return lambda: StorageContainer(storage)
        case "DynamoDbDict":
            table = request.getfixturevalue("dynamodb_table")
            return lambda: StorageContainer(table(), late=0)
        case "FileDict":
            return lambda: StorageContainer(FileDict(tmp_path / "files"))
        case _:
            return lambda: StorageContainer(SQLiteDict(tmp_path / "dict.sqlite"))
