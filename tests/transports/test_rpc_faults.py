"""What networks do to gRPC and Arrow Flight, and what becomes of it: the faults that HTTP knows.

Not here, since there is no such thing in these protocols: redirects, ``Retry-After``, HTML with a
status of success, a wrong content type, a byte order mark, JSON in any depth; a length that is
told wrongly is a broken frame of HTTP/2, as is what is left over behind a reply.

Elsewhere: each status, credentials, sizes that inflate, names and certificates, restarts and forks
in `test_grpc` and `test_flight`; answers that lie in rows, types and times in the tests of Feast
over gRPC, and of its history with a live server; odd keys in the contract that each store passes,
Feast over gRPC among them; event loops in `test_drive`, since no transport knows of them. Bytes
that change within a message nobody can tell from others, but TLS.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from featkit.errors import (
    ClosedError,
    DeadlineExceeded,
    FeatkitError,
    SlowAnswer,
    StoreError,
    StoreUnavailable,
)
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, Transports, adrive, drive
from featkit.transports.options import Limits, Retry, TransportOptions
from tests.faults import rpc
from tests.faults.serving import Reply, Request, Server, read_request
from tests.faults.striking import strike, when
from tests.faults.wire import WireProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.calls import Call
    from tests.faults.wire import What

IMPATIENT = Retry(attempts=4, base=timedelta(milliseconds=1), reconnect=timedelta(seconds=5))
BYTES = [0, 5, 60, 2_000]  # of replies, before a fault: none, in a frame, in the head, in the body


@dataclass
class Reach:
    """A server behind a proxy, and what sends calls to it."""

    proxy: WireProxy
    behind: rpc.Behind
    call: Callable[..., Call[int]]
    stack: ExitStack

    def transports(self, **options: Any) -> Transports:
        made = Transports(TransportOptions(**({"retry": IMPATIENT} | options)))
        self.stack.callback(made.close)
        return made

    def calls(self, count: int, size: int) -> list[Call[int]]:
        return [self.call(self.proxy.address, number, size) for number in range(count)]

    def outcomes(
        self, transports: Transports, count: int = 1, *, size: int = 10_000, timeout: float = 20.0
    ) -> list[Any]:
        """Send calls together; a failure is an outcome."""
        deadline = Deadline(timedelta(seconds=timeout))
        return drive(_together(self.calls(count, size)), transports, deadline, Silent())


def _together(calls: list[Call[int]]) -> Any:
    return (yield calls)


PROTOCOLS = {
    "grpc": (rpc.grpc_server, rpc.grpc_call),
    "flight": (rpc.flight_server, rpc.flight_call),
}


@pytest.fixture(params=PROTOCOLS)
def reach(request: pytest.FixtureRequest) -> Iterator[Reach]:
    serve, call = PROTOCOLS[request.param]
    with serve() as behind, WireProxy(behind.address) as proxy, ExitStack() as stack:
        yield Reach(proxy, behind, call, stack)


# -- N1: the server is in trouble ------------------------------------------------------------------


def test_trouble_in_three_calls_of_ten_is_ridden_out(reach: Reach) -> None:
    reach.behind.trouble = lambda number: number % 10 in {0, 3, 6}
    transports = reach.transports(retry=Retry(base=timedelta(milliseconds=1)))
    assert reach.outcomes(transports, 60, size=800) == list(range(60))
    assert reach.behind.asked > 80


def test_an_outage_is_not_answered_with_a_multiple_of_the_load(reach: Reach) -> None:
    reach.behind.trouble = lambda _: True
    outcomes = reach.outcomes(reach.transports(retry=Retry(base=timedelta(milliseconds=1))), 100)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert reach.behind.asked < 100 + 30


# -- N4, N10: the connection is lost, or carries something else ------------------------------------


@pytest.mark.parametrize(
    ("fault", "after"),
    [*product(["reset", "close"], BYTES), ("garble", 0), ("garble", 5)],
)
def test_a_reply_that_is_lost_or_spoilt_is_asked_for_again(
    reach: Reach, fault: What, after: int
) -> None:
    reach.proxy.faults.extend([(fault, after)] * 2)
    assert reach.outcomes(reach.transports()) == [0]
    assert reach.proxy.connections >= 3


@pytest.mark.parametrize(("fault", "after"), [("reset", 2_000), ("close", 60), ("garble", 0)])
def test_what_is_lost_again_and_again_is_named(reach: Reach, fault: What, after: int) -> None:
    reach.proxy.faults.extend([(fault, after)] * 50)
    (outcome,) = reach.outcomes(
        reach.transports(retry=Retry(attempts=3, reconnect=timedelta(milliseconds=100)))
    )
    assert isinstance(outcome, StoreError)
    assert reach.proxy.address in str(outcome)
    assert re.search(r" attempts?, \d", str(outcome))


# -- N5: no connection -----------------------------------------------------------------------------


def test_a_server_that_is_gone_is_said_soon(reach: Reach) -> None:
    with socket.create_server((rpc.HOST, 0)) as closed:
        port = closed.getsockname()[1]
    started = time.monotonic()
    deadline = Deadline(timedelta(seconds=20))
    calls = [reach.call(f"{rpc.HOST}:{port}", 1)]
    (outcome,) = drive(_together(calls), reach.transports(retry=Retry()), deadline, Silent())
    assert isinstance(outcome, StoreUnavailable)
    assert not outcome.sent
    assert time.monotonic() - started < 15  # a second, where the machine is at rest


# -- N6: one deadline ------------------------------------------------------------------------------


@pytest.mark.parametrize("after", BYTES)
@pytest.mark.parametrize("fault", ["stall", "drip"])
def test_who_never_ends_an_answer_meets_the_deadline(reach: Reach, fault: What, after: int) -> None:
    reach.proxy.faults.extend([(fault, after)] * 9)
    transports = reach.transports()
    started = time.monotonic()
    (outcome,) = reach.outcomes(transports, timeout=0.6)
    assert isinstance(outcome, (DeadlineExceeded, StoreUnavailable))
    assert time.monotonic() - started < 30


def test_who_stalls_once_is_asked_once_more(reach: Reach) -> None:
    reach.proxy.faults.append(("stall", 60))
    patience = 0.1 if reach.call is rpc.flight_call else 1.0  # ten times as long for history
    transports = reach.transports(limits=Limits(answer=timedelta(seconds=patience)))
    (outcome,) = reach.outcomes(transports)
    # the library may well ask on the connection that stalls, and then it is too slow twice
    assert outcome == 0 or isinstance(outcome, SlowAnswer)
    reach.proxy.drop()
    assert reach.outcomes(transports) == [0]


# -- N9: it speaks something else ------------------------------------------------------------------


class WebServer(Server):
    """A server of HTTP/1.1."""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request: Request = await read_request(reader)
        page = Reply(headers={"content-type": "text/html"}, body=request.target.encode())
        writer.write(page.encode())
        await writer.drain()


def test_a_server_that_speaks_http_1_is_named(reach: Reach) -> None:
    transports = reach.transports(retry=Retry(attempts=2, reconnect=timedelta(milliseconds=100)))
    with WebServer() as server:
        address = server.url.removeprefix("http://")
        calls = [reach.call(address, 1)]
        deadline = Deadline(timedelta(seconds=20))
        (outcome,) = drive(_together(calls), transports, deadline, Silent())
    assert isinstance(outcome, StoreError)
    assert address in str(outcome)


# -- I1, I2, I5: interrupts, cancelled tasks, threads ----------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to one process")
def test_ctrl_c_ends_a_call_at_once_and_the_next_one_works(reach: Reach) -> None:
    transports = reach.transports()
    assert reach.outcomes(transports) == [0]
    reach.behind.delay, before = 60.0, reach.behind.asked
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), when(lambda: reach.behind.asked == before + 3, strike):
        reach.outcomes(transports, 3, timeout=60.0)
    assert time.monotonic() - started < 30  # half a second, where the machine is at rest
    reach.behind.hurry()
    assert reach.outcomes(transports, 3) == [0, 1, 2]


@pytest.mark.anyio
async def test_a_cancelled_task_leaves_every_slot_free(reach: Reach) -> None:
    transports = reach.transports()
    reach.behind.delay = 0.5
    for _ in range(3):
        flow = _together(reach.calls(20, 800))
        task = asyncio.create_task(adrive(flow, transports, Deadline(None), Silent()))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    reach.behind.delay = 0.0
    flow = _together(reach.calls(20, 800))
    deadline = Deadline(timedelta(seconds=20))
    assert await adrive(flow, transports, deadline, Silent()) == list(range(20))


def test_sixteen_threads_share_what_sends(reach: Reach) -> None:
    transports, outcomes = reach.transports(), []
    # one connection carries the calls of all, so that one fault strikes many of them
    reach.proxy.faults.append(("reset", 20_000))

    def work() -> None:
        outcomes.append(reach.outcomes(transports, 5, size=4_000))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes == [list(range(5))] * 16


def test_closing_while_calls_wait_ends_them_all(reach: Reach) -> None:
    transports = reach.transports()
    reach.behind.delay = 60.0
    started = time.monotonic()
    with when(lambda: reach.behind.asked > 0, transports.close):
        outcomes = reach.outcomes(transports, 12, timeout=60.0)
    assert {type(outcome) for outcome in outcomes} == {ClosedError}
    assert time.monotonic() - started < 30  # half a second, where the machine is at rest
    reach.behind.hurry()
    assert all(isinstance(outcome, FeatkitError) for outcome in outcomes)
