"""The faults of networks and servers, in front of each store that is reached over HTTP.

What the transport does about each is tested where it is; here each store must give the truth or an
error with a name, never a wrong row.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import featkit
from featkit.errors import (
    AuthError,
    DeadlineExceeded,
    FeatkitError,
    ProtocolError,
    RequestRejected,
    StoreUnavailable,
    ThrottledError,
)
from featkit.stores.base import open_store
from featkit.testing import described
from featkit.transports.options import Retry
from tests.fakes import sagemaker, tecton
from tests.fakes.databricks import DatabricksFake, workspace
from tests.fakes.vertex import VertexFake, google
from tests.faults import proxy as faults
from tests.faults.proxy import FaultProxy
from tests.stores import test_databricks, test_vertex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.faults.proxy import Fault
    from tests.faults.serving import Server

SOON = Retry(attempts=4, base=timedelta(milliseconds=1), reconnect=timedelta(milliseconds=100))
ROWS = 400
KEYS = pl.Series("user_id", range(ROWS + 50))


def _tecton(url: str) -> Any:
    known = {"workspace": tecton.WORKSPACE, "api_key": tecton.KEY, "feature_services": ["numbers"]}
    return open_store(f"tecton+{url}", known | {"batch_size": 50})


def _sagemaker(url: str) -> Any:
    known = {"endpoint_url": url, "control_url": url, "access_key_id": sagemaker.KEY_ID}
    secret = {"secret_access_key": sagemaker.SECRET, "feature_groups": ["numbers"]}
    return open_store(f"sagemaker:{sagemaker.REGION}", known | secret)


def _databricks(url: str) -> Any:
    return test_databricks.opened(url, batch_size=50, views={})


def _vertex(url: str) -> Any:
    return test_vertex.opened(url, views={})


NUMBERS = described(
    pl.DataFrame({"user_id": range(ROWS), "f8": [key + 1.0 for key in range(ROWS)]}),
    name="numbers",
    join_keys="user_id",
)


@contextmanager
def _server(fake: Server) -> Iterator[str]:
    with fake:
        yield fake.url


STORES: dict[str, tuple[Callable[[], AbstractContextManager[str]], Callable[[str], Any], str]] = {
    "tecton": (
        lambda: _server(tecton.TectonFake({"numbers": tecton.numbers(ROWS)})),
        _tecton,
        "user:f8",
    ),
    "sagemaker": (
        lambda: _server(sagemaker.SageMakerFake(sagemaker.numbers(ROWS))),
        _sagemaker,
        "numbers:f8",
    ),
    "databricks": (lambda: workspace(DatabricksFake([NUMBERS])), _databricks, "numbers:f8"),
    "vertex": (lambda: google(VertexFake([NUMBERS])), _vertex, "numbers:f8"),
}


@pytest.fixture(params=STORES)
def route(request: pytest.FixtureRequest) -> Iterator[tuple[FaultProxy, Any, str]]:
    """Give a proxy in front of a store, a client of the store, and a feature of it."""
    serve, opened, feature = STORES[request.param]
    with (
        serve() as url,
        FaultProxy(url) as proxy,
        featkit.connect(opened(proxy.url), cache=None, retry=SOON, timeout="20s") as client,
    ):
        assert truth(client.lookup([1, 2], [feature]), 2)
        yield proxy, client, feature


def truth(found: Any, count: int) -> bool:
    """Tell whether the first values are those of the first keys."""
    values = found.values["f8"].to_list()
    first = 1 if count == 2 else 0
    expected = [key + 1.0 if key < ROWS else None for key in range(first, first + count)]
    return values == expected


RIDDEN_OUT = [
    *[faults.reset_before, faults.close_before, faults.reset_in_body, faults.close_in_body],
    *[faults.status(code) for code in (408, 500, 502, 503, 504)],
    *[faults.status(429), faults.status(429, retry_after="0"), faults.html(502)],
    *[faults.truncated, faults.empty, faults.no_content, faults.wrong_type, faults.html(200)],
    *[faults.byte_order_mark, faults.wrong_length(7), faults.wrong_length(-7)],
]


@pytest.mark.parametrize("number", range(len(RIDDEN_OUT)))
def test_a_fault_in_one_call_of_many_is_ridden_out(
    route: tuple[FaultProxy, Any, str], number: int
) -> None:
    proxy, client, feature = route
    before = len(proxy.seen)
    proxy.play(RIDDEN_OUT[number], calls={2})
    assert truth(client.lookup(KEYS, [feature]), len(KEYS))
    assert [seen.fault for seen in proxy.seen[before:]].count("") < len(proxy.seen) - before


LASTING: list[tuple[Fault, type[FeatkitError]]] = [
    (faults.status(503), StoreUnavailable),
    (faults.status(429, retry_after="3600"), ThrottledError),
    (faults.status(401), AuthError),
    (faults.status(403), AuthError),
    (faults.status(400), RequestRejected),
    (faults.redirect("http://127.0.0.1:9/elsewhere"), RequestRejected),
    (faults.html(200), ProtocolError),
    (faults.truncated, ProtocolError),
    (faults.deep_json(100_000), ProtocolError),
    (faults.gzip_bomb(80), RequestRejected),
    (faults.reset_before, StoreUnavailable),
]


@pytest.mark.parametrize("number", range(len(LASTING)))
def test_a_fault_that_lasts_has_a_name(route: tuple[FaultProxy, Any, str], number: int) -> None:
    proxy, client, feature = route
    fault, kind = LASTING[number]
    proxy.play(fault)
    with pytest.raises(kind) as caught:
        client.lookup([1, 2], [feature])
    assert proxy.url in str(caught.value)
    for secret in (tecton.KEY, sagemaker.SECRET, "canary"):
        assert secret not in str(caught.value)
    proxy.be_honest()
    assert truth(client.lookup([1, 2], [feature]), 2)


def test_what_came_before_a_failure_is_in_the_error(route: tuple[FaultProxy, Any, str]) -> None:
    proxy, client, feature = route
    before = len(proxy.seen)
    client.lookup([1, 2], [feature])
    described = len(proxy.seen) - before - client.last_summary.calls  # these come first
    proxy.play(faults.status(400), calls={described + 1})
    with pytest.raises(RequestRejected) as caught:
        client.lookup(KEYS, [feature])
    found = caught.value.partial
    lost = found.statuses["f8"] == "ERROR"  # the keys of one call, known to the store or not
    assert 0 < lost.sum() < len(KEYS)
    came = (KEYS < ROWS) & ~lost
    assert found.values["f8"].filter(came).to_list() == (KEYS.filter(came) + 1.0).to_list()
    assert found.values["f8"].filter(~came).null_count() == (~came).sum()


def test_the_time_is_up_for_all_calls_at_once(route: tuple[FaultProxy, Any, str]) -> None:
    proxy, client, feature = route
    proxy.play(faults.black_hole)
    with (
        featkit.connect(client.operations.store, cache=None, retry=SOON, timeout="0.5s") as hurried,
        pytest.raises(DeadlineExceeded),
    ):
        hurried.lookup(KEYS, [feature])
