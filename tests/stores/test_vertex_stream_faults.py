"""What networks and servers do to the streams of Vertex AI, and what becomes of it.

What the transport does about each is tested where it is; here it must become the truth, or an error
with a name, never a wrong row.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import featkit
from featkit.errors import (
    AuthError,
    DeadlineExceeded,
    FeatkitError,
    IncompleteAnswer,
    ProtocolError,
    RequestRejected,
    SlowAnswer,
    StoreError,
    StoreUnavailable,
    ThrottledError,
    UnknownNameError,
)
from featkit.testing import CONTRACT_NOW, described
from featkit.transports.options import Limits, Retry
from tests.fakes.vertex import VertexFake, google
from tests.fakes.vertex_grpc import AT_ONCE, streamed
from tests.faults.striking import strike, when
from tests.faults.wire import WireProxy
from tests.stores.test_vertex import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.wire import What

SOON = Retry(attempts=4, base=timedelta(milliseconds=1), reconnect=timedelta(seconds=5))
ROWS, SIZE = 200, 40  # entities that there are, and those of one stream
KEYS = pl.Series("user_id", range(ROWS + 30))
NUMBERS = described(
    pl.DataFrame({"user_id": range(ROWS), "f8": [key + 1.0 for key in range(ROWS)]}),
    name="numbers",
    join_keys="user_id",
)
BYTES = [0, 5, 60, 800]  # of replies, before a fault: none, in a frame, in the head, in the body


@pytest.fixture
def fake() -> VertexFake:
    return VertexFake([NUMBERS])


class Reach:
    """A fake behind a proxy, and clients of it."""

    def __init__(self, url: str, proxy: WireProxy) -> None:
        self._url, self.proxy = url, proxy

    @contextmanager
    def client(self, **options: Any) -> Iterator[featkit.FeatureStoreClient]:
        """Connect; what there is to read is known before anything goes wrong."""
        own = {"now": CONTRACT_NOW, "cache": None, "retry": SOON, "timeout": "20s"} | options
        with featkit.connect(self.store(), **own) as client:
            client.get_feature_metadata("numbers")
            yield client

    def store(self) -> Any:
        place = f"http://{self.proxy.address}"
        return opened(self._url, views={}, grpc=True, grpc_endpoint=place, batch_size=SIZE)


@pytest.fixture
def reach(fake: VertexFake) -> Iterator[Reach]:
    with google(fake) as url, streamed(fake) as place:
        host, _, port = place.removeprefix("http://").partition(":")
        with WireProxy((host, int(port))) as proxy:
            yield Reach(url, proxy)


def truth(found: Any, keys: pl.Series = KEYS) -> bool:
    """Tell whether all values are those of the keys, and all is known of those that are absent."""
    expected = [key + 1.0 if key < ROWS else None for key in keys]
    statuses = ["PRESENT" if key < ROWS else "NOT_FOUND" for key in keys]
    return found.values["f8"].to_list() == expected and found.statuses["f8"].to_list() == statuses


def look_up(client: Any, keys: pl.Series = KEYS) -> Any:
    return client.lookup(keys, ["numbers:f8"])


# -- the server breaks a stream off ----------------------------------------------------------------

PASSING = ["UNAVAILABLE", "INTERNAL", "ABORTED", "CANCELLED", "RESOURCE_EXHAUSTED", "DATA_LOSS"]


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("code", [*PASSING, "DEADLINE_EXCEEDED"])
def test_a_stream_that_breaks_off_once_is_ridden_out(
    fake: VertexFake, reach: Reach, code: str, after: int
) -> None:
    with reach.client() as client:
        fake.breaks = [(after, code)] * 2
        assert truth(look_up(client))


def test_only_what_did_not_come_is_asked_for_again(fake: VertexFake, reach: Reach) -> None:
    keys = KEYS.head(SIZE)
    with reach.client() as client:
        fake.breaks = [(1, "UNAVAILABLE"), (2, "INTERNAL")]
        assert truth(look_up(client, keys), keys)
    assert fake.streams == [SIZE, SIZE - AT_ONCE, SIZE - 3 * AT_ONCE]


LASTING: dict[str, type[FeatkitError]] = {
    "UNAVAILABLE": StoreUnavailable,
    "INTERNAL": StoreUnavailable,
    "ABORTED": StoreUnavailable,
    "CANCELLED": StoreUnavailable,
    "DATA_LOSS": StoreUnavailable,
    "RESOURCE_EXHAUSTED": ThrottledError,
    "DEADLINE_EXCEEDED": SlowAnswer,
    "UNAUTHENTICATED": AuthError,
    "PERMISSION_DENIED": AuthError,
    "NOT_FOUND": UnknownNameError,
    "INVALID_ARGUMENT": RequestRejected,
    "FAILED_PRECONDITION": RequestRejected,
    "UNIMPLEMENTED": ProtocolError,
}


@pytest.mark.parametrize("code", LASTING)
def test_a_refusal_that_lasts_has_a_name_and_the_next_call_works(
    fake: VertexFake, reach: Reach, code: str
) -> None:
    with reach.client() as client:
        fake.breaks = [(0, code)] * 1000
        with pytest.raises(LASTING[code], match="it broke off") as caught:
            look_up(client)
        assert reach.proxy.address in str(caught.value)
        assert "canary" not in str(caught.value)
        fake.breaks = []
        assert truth(look_up(client))


def test_what_came_before_it_breaks_for_good_is_in_the_error(
    fake: VertexFake, reach: Reach
) -> None:
    keys = KEYS.head(SIZE)
    with reach.client() as client:
        fake.breaks = [(2, "UNAVAILABLE"), *[(0, "UNAVAILABLE")] * 100]
        with pytest.raises(IncompleteAnswer, match="UNAVAILABLE: it broke off") as caught:
            look_up(client, keys)
    found = caught.value.partial.values["f8"]
    assert found.drop_nulls().len() == 2 * AT_ONCE
    for key, value in enumerate(found):
        assert value in (None, key + 1.0)


@pytest.mark.parametrize("longest", [100, 250])
def test_a_server_that_says_go_away_again_and_again_is_asked_anew(
    fake: VertexFake, longest: int
) -> None:
    fake.pause = 0.004
    often = Retry(attempts=30, base=timedelta(milliseconds=1))  # a busy machine needs many
    with google(fake) as url, streamed(fake, longest=longest) as place:
        host, _, port = place.removeprefix("http://").partition(":")
        with WireProxy((host, int(port))) as proxy, Reach(url, proxy).client(retry=often) as client:
            for _ in range(8):
                assert truth(look_up(client))
            assert proxy.connections > 1


# -- the connection is lost, or carries something else ---------------------------------------------


@pytest.mark.parametrize(
    ("fault", "after"), [*product(["reset", "close"], BYTES), ("garble", 0), ("garble", 5)]
)
def test_a_stream_that_is_lost_or_spoilt_is_asked_for_again(
    reach: Reach, fault: What, after: int
) -> None:
    with reach.client() as client:
        reach.proxy.faults.extend([(fault, after)] * 2)
        assert truth(look_up(client))
        assert reach.proxy.connections >= 3


@pytest.mark.parametrize(("fault", "after"), [("reset", 800), ("close", 60), ("garble", 0)])
def test_what_is_lost_again_and_again_is_named(reach: Reach, fault: What, after: int) -> None:
    quick = Retry(attempts=3, reconnect=timedelta(seconds=1))  # in which gRPC tries anew
    with reach.client(retry=quick) as client:
        reach.proxy.faults.extend([(fault, after)] * 10_000)
        with pytest.raises(StoreError, match=r" attempts?, \d"):
            look_up(client)
        reach.proxy.faults.clear()
        reach.proxy.drop()
        assert truth(look_up(client))


def test_a_server_that_is_gone_is_said(reach: Reach) -> None:
    quick = Retry(attempts=2, reconnect=timedelta(milliseconds=100))
    with reach.client(retry=quick) as client:
        reach.proxy.__exit__()
        with pytest.raises(StoreUnavailable):
            look_up(client)


# -- deadlines and who gives up --------------------------------------------------------------------


@pytest.mark.parametrize("after", BYTES)
@pytest.mark.parametrize("fault", ["stall", "drip"])
def test_who_never_ends_a_stream_meets_the_deadline(reach: Reach, fault: What, after: int) -> None:
    with reach.client(timeout="0.6s") as client:
        reach.proxy.faults.extend([(fault, after)] * 20)
        started = time.monotonic()
        with pytest.raises((DeadlineExceeded, StoreUnavailable)):
            look_up(client)
        assert time.monotonic() - started < 30


def test_who_stalls_once_is_asked_once_more(reach: Reach) -> None:
    with reach.client(limits=Limits(answer=timedelta(seconds=0.5))) as client:
        reach.proxy.faults.append(("stall", 60))
        assert truth(look_up(client))


def test_who_is_slow_is_asked_for_less(fake: VertexFake, reach: Reach) -> None:
    fake.pause = 0.1  # a whole stream takes 0.6 s
    with reach.client(limits=Limits(answer=timedelta(seconds=0.45))) as client:
        keys = KEYS.head(SIZE)
        assert truth(look_up(client, keys), keys)
    assert min(fake.streams) <= SIZE // 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to one process")
def test_ctrl_c_ends_streams_at_once_and_the_next_ones_work(fake: VertexFake, reach: Reach) -> None:
    with reach.client() as client:
        assert truth(look_up(client))
        fake.pause, before = 1.0, len(fake.streams)
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt), when(lambda: len(fake.streams) > before, strike):
            look_up(client)
        assert time.monotonic() - started < 5  # streams would take longer
        fake.pause = 0.0
        assert truth(look_up(client))


@pytest.mark.anyio
async def test_a_cancelled_task_leaves_every_slot_free(fake: VertexFake, reach: Reach) -> None:
    async with featkit.connect_async(
        reach.store(), now=CONTRACT_NOW, cache=None, retry=SOON, timeout="20s"
    ) as client:
        await client.get_feature_metadata("numbers")
        fake.pause = 0.2
        for _ in range(3):
            task = asyncio.create_task(client.lookup(KEYS, ["numbers:f8"]))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        fake.pause = 0.0
        assert truth(await client.lookup(KEYS, ["numbers:f8"]))


# -- answers that are none, within a stream that goes well -----------------------------------------

LIES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a message less": lambda said: said[:-1],
    "a message twice": lambda said: [*said, said[-1]],
    "in another order": lambda said: said[::-1],
    "a byte less": lambda said: [*said[:-1], said[-1][:-1]],
    "another page": lambda said: [*said, b"<html>502</html>"],
    "nothing at all": lambda _: [],
    "empty messages": lambda said: [b"", *said, b""],
}


@pytest.mark.parametrize("often", [1, 1000])
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_the_truth_or_an_error(
    fake: VertexFake, reach: Reach, lie: str, often: int
) -> None:
    turns = iter(range(often))
    with reach.client() as client:
        fake.lie = lambda said: LIES[lie](list(said)) if next(turns, None) is not None else said
        try:
            found = look_up(client)
        except StoreError as error:
            assert lie not in {"in another order", "empty messages"}
            partial = error.partial
            if partial is not None:
                for key, value in zip(KEYS, partial.values["f8"], strict=True):
                    assert value in (None, key + 1.0)
        else:
            assert truth(found)
