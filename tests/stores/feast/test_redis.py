"""Feast's values in a real Redis, written by a fake of Feast and read without its server."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import redis

import featkit
from featkit import Status
from featkit.errors import AuthError, MissingExtraError, SettingsError
from featkit.stores.base import OnlineRead, open_store
from featkit.testing import CONTRACT_NOW, StoreContract, contract_views
from tests.fakes.feast import PROJECT, FeastFake, served
from tests.fakes.feast_format import write_redis
from tests.programs.running import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from featkit.calls import Flow
    from featkit.columns import FeatureColumns
    from featkit.stores.base import Store

PASSWORD = "canary-password-0815"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    with redis_server(folder, "--requirepass", PASSWORD) as url:
        write_redis(redis.Redis.from_url(url, password=PASSWORD), PROJECT, contract_views())
        yield url


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with served(FeastFake(contract_views())) as url:
        yield url


def opened(place: str, registry: str | None, **options: Any) -> Store:
    known = {"registry_url": registry, "project": PROJECT, "password": PASSWORD}
    return open_store(f"feast+{place}", known | options)


@pytest.mark.slow
class TestFeastRedis(StoreContract):
    has_history = False  # it is the offline server's, which is not named here
    secret = PASSWORD

    @pytest.fixture
    def store(self, place: str, registry: str) -> Store:
        return opened(place, registry)


@pytest.mark.slow
def test_a_wrong_password_is_said_so_and_not_shown(place: str, registry: str) -> None:
    with featkit.connect(opened(place, registry, password="wrong-password")) as client:
        with pytest.raises(AuthError, match="username= and password=") as caught:
            client.lookup([1], ["customers:visits"])
        assert "wrong-password" not in str(caught.value)
        report = client.check_health()
    assert report.reachable
    assert not report.authorized


@pytest.mark.parametrize(
    "target",
    [
        "feast+redis:localhost",
        "feast+redis://user:secret@localhost:6379/0",
        "feast+redis://localhost:6379/first",
        "feast+redis://localhost:port",
        "feast+redis://",
        "feast+redis://one:6379,,two:6379",
    ],
)
def test_a_target_that_cannot_be_read_is_refused(target: str) -> None:
    with pytest.raises(
        SettingsError, match=r"//HOST:PORT/DATABASE.*username=, password="
    ) as caught:
        open_store(target, {"registry_url": "http://localhost", "project": "p"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("feast+redis://one", "redis://one:6379/0"),
        ("feast+rediss://one:6380,two/3", "rediss://one:6380,two:6379/3"),
        ("feast+redis://[::1]:7000/1", "redis://[::1]:7000/1"),
        ("feast+redis://[::1]", "redis://[::1]:6379/0"),
    ],
)
def test_targets_are_read(target: str, shown: str) -> None:
    store = open_store(target, {"registry_url": "http://localhost", "project": "p"})
    assert repr(store) == f"<RedisStore {shown} project 'p'>"


@pytest.mark.parametrize("options", [{}, {"registry_url": "http://h", "registry": "registry.db"}])
def test_one_registry_is_needed(options: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"registry_url=.*registry="):
        open_store("feast+redis://localhost", {"project": "p"} | options)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtraError, match=r"featkit-frames\[redis\]"):
        open_store("feast+redis://localhost", {"registry_url": "http://h", "project": "p"})


@pytest.mark.slow
def test_a_view_of_a_later_version_is_read_under_its_name_in_the_store(
    place: str, registry: str
) -> None:
    view, rows = next(pair for pair in contract_views() if pair[0].name == "customers")
    database = f"{place[:-1]}3"
    client = redis.Redis.from_url(database, password=PASSWORD)
    write_redis(client, PROJECT, [(replace(view, name="customers_v3"), rows)])
    with featkit.connect(opened(place, registry)) as connected:
        newest = replace(connected.get_feature_metadata("customers"), version=3)
    for versioned, known in ((True, Status.PRESENT), (False, Status.NOT_FOUND)):
        store = opened(database, registry, versioned=versioned)
        read = OnlineRead(
            newest, newest.select(("visits",)), rows[:1].select("customer_id"), CONTRACT_NOW
        )

        def flow(store: Store = store, read: OnlineRead = read) -> Flow[FeatureColumns]:
            return (yield store.read_online(read))

        with featkit.connect(store) as connected:
            assert connected.run(flow()).statuses["visits"].to_list() == [known]


@pytest.mark.slow
def test_settings_name_the_online_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, registry: str
) -> None:
    (tmp_path / "featkit.toml").write_text(
        f'backend = "feast"\n[feast]\nonline_url = "{place}"\nregistry_url = "{registry}"\n'
        f'project = "{PROJECT}"\npassword = {{ env = "REDIS_PASSWORD" }}\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_PASSWORD", PASSWORD)
    with featkit.connect(now=CONTRACT_NOW) as client:
        found = client.lookup(pl.DataFrame({"customer_id": [1]}), ["customers:visits"])
    assert found.values.height == 1
