"""`enrich` over each of Feast's online stores while the connection to it breaks, stops or lies.

A proxy cuts replies off at a byte. The frame that comes is the right one, or an error says what
happened; never a wrong row, and never one too few.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis

import featkit
from featkit.errors import DeadlineExceeded, FeatkitError, SlowAnswer, StoreUnavailable
from featkit.stores.base import open_store
from featkit.testing import CONTRACT_NOW, contract_views
from featkit.transports.options import Limits, Retry
from tests.fakes.bigtable import Bigtable, fill
from tests.fakes.bigtable import served as served_bigtable
from tests.fakes.feast import PROJECT, FeastFake, served
from tests.fakes.feast_format import write_redis
from tests.faults.wire import WireProxy
from tests.programs.running import redis_server
from tests.stores.feast.test_dynamodb import Service, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from featkit.stores.base import Store

pytestmark = pytest.mark.filterwarnings("ignore::featkit.errors.ExpiredWarning")
IDS = [1, 404, None, 8, 1, *range(10_000, 10_300), 4, 2]
REFS = ["customers:visits", "customers:name"]
IMPATIENT = Retry(attempts=6, base=timedelta(milliseconds=1), reconnect=timedelta(seconds=3))


@contextmanager
def redis_place(folder: Path) -> Iterator[tuple[str, Callable[[str], tuple[str, dict[str, Any]]]]]:
    with redis_server(folder) as url:
        write_redis(redis.Redis.from_url(url), PROJECT, contract_views())
        yield url.split("/")[2], lambda address: (f"feast+redis://{address}/0", {})


@contextmanager
def bigtable_place(
    _: Path,
) -> Iterator[tuple[str, Callable[[str], tuple[str, dict[str, Any]]]]]:
    with served_bigtable(Bigtable(together=50)) as address:
        fill(address, PROJECT, contract_views())
        yield address, lambda own: ("feast+bigtable:p/i", {"endpoint_url": f"http://{own}"})


@contextmanager
def dynamodb_place(
    _: Path,
) -> Iterator[tuple[str, Callable[[str], tuple[str, dict[str, Any]]]]]:
    keys = {"access_key_id": "AK", "secret_access_key": "SK"}
    with running(Service()) as url:
        yield (
            url.removeprefix("http://"),
            lambda own: ("feast+dynamodb:eu-west-1", {"endpoint_url": f"http://{own}", **keys}),
        )


PLACES: dict[str, Callable[[Path], AbstractContextManager[Any]]] = {
    "redis": redis_place,
    "dynamodb": dynamodb_place,
    "bigtable": bigtable_place,
}


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with served(FeastFake(contract_views())) as url:
        yield url


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with PLACES[request.param](tmp_path_factory.mktemp("place")) as found:
        yield found


@pytest.fixture
def proxy(place: Any) -> Iterator[WireProxy]:
    host, _, port = place[0].partition(":")
    with WireProxy((host, int(port))) as found:
        yield found


@pytest.fixture
def opened(place: Any, registry: str) -> Callable[[str], Store]:
    def make(address: str) -> Store:
        target, options = place[1](address)
        return open_store(target, options | {"registry_url": registry, "project": PROJECT})

    return make


def connected(store: Store, **options: Any) -> featkit.FeatureStoreClient:
    known = {"now": CONTRACT_NOW, "cache": None, "retry": IMPATIENT}
    return featkit.connect(store, **known | options)


@pytest.fixture
def right(opened: Callable[[str], Store], place: Any) -> dict[str, list[Any]]:
    with connected(opened(place[0])) as client:
        found = client.lookup(IDS, REFS)
    return {name: found.values[name].to_list() for name in found.values.columns}


def test_the_frames_are_worth_the_while(right: dict[str, list[Any]]) -> None:
    assert right["visits"][0] == 2**53 + 1
    assert right["visits"][1:3] == [None, None]
    assert len(right["visits"]) == len(IDS)


@pytest.mark.parametrize(
    "fault", [("reset", 0), ("close", 1), ("close", 30), ("reset", 300)], ids=str
)
def test_connections_that_break_are_ridden_out(
    constructor: Any,
    proxy: WireProxy,
    opened: Callable[[str], Store],
    right: dict[str, list[Any]],
    fault: tuple[Any, int],
) -> None:
    what, after = fault
    proxy.faults.extend([(what, after), (what, after + 7)])
    frame = constructor({"customer_id": IDS})
    with connected(opened(proxy.address)) as client:
        enriched = frame.features.enrich(REFS, store=client)
        for name, values in right.items():
            assert constructor.values(enriched, name) == values
        constructor.assert_own_columns_kept(frame, enriched, added=list(right))
    assert proxy.connections >= 3


def test_an_answer_that_stops_is_asked_for_again(
    constructor: Any,
    proxy: WireProxy,
    opened: Callable[[str], Store],
    right: dict[str, list[Any]],
) -> None:
    proxy.faults.append(("stall", 200))
    frame = constructor({"customer_id": IDS})
    limits = Limits(answer=timedelta(seconds=1))
    with connected(opened(proxy.address), limits=limits) as client:
        enriched = frame.features.enrich(REFS, store=client)
        for name, values in right.items():
            assert constructor.values(enriched, name) == values


def test_what_never_answers_ends_in_time(
    constructor: Any, proxy: WireProxy, opened: Callable[[str], Store]
) -> None:
    proxy.faults.extend([("stall", 60)] * 100)
    frame = constructor({"customer_id": IDS})
    with connected(opened(proxy.address), timeout="1s") as client:
        started = time.monotonic()
        with pytest.raises((DeadlineExceeded, SlowAnswer, StoreUnavailable)):
            constructor.values(frame.features.enrich(REFS, store=client), "visits")
        assert time.monotonic() - started < 30


@pytest.mark.slow
def test_what_is_garbled_is_never_taken_for_values(
    proxy: WireProxy, opened: Callable[[str], Store], right: dict[str, list[Any]]
) -> None:
    for after in (0, 40, 200, 900):
        proxy.faults.extend([("garble", after)] * 30)
        with connected(opened(proxy.address), timeout="3s") as client:
            try:
                found = client.lookup(IDS, REFS)
            except FeatkitError:
                continue
            finally:
                proxy.faults.clear()
            for name, values in right.items():
                assert found.values[name].to_list() == values
