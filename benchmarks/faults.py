"""What faults cost: lost calls, waits, requests, memory; each client in a process of its own.

The servers run here: one that answers lookups, and before it the proxy of the tests that injects
faults, seeded. Plain httpx meets the same faults where that says something.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import linear_regression, median, quantiles
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl

from benchmarks._measuring import Claim, in_a_fresh_process
from benchmarks.memory import resident
from featkit.calls import Call, HttpRequest
from featkit.errors import FeatkitError, StoreUnavailable
from featkit.stores.base import OnlineRead, open_store
from featkit.transports.deadline import Deadline
from featkit.transports.drive import Silent, Transports, adrive, drive
from featkit.transports.options import Limits, Retry, TransportOptions
from tests.faults import proxy as faults
from tests.faults.proxy import FaultProxy
from tests.faults.upstream import KEY, PROJECT, VIEW, Upstream, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from featkit.calls import Flow

KEYS = 100  # of each call
CALLS = 200
NOW = datetime(2026, 11, 1, tzinfo=UTC)
TIMEOUT = 1.0  # seconds, of the calls that must meet a deadline
HOST = "127.0.0.1"


# -- the client's side -----------------------------------------------------------------------------


class Client:
    """Sends the lookups of a Feast store, checks each answer, and counts."""

    def __init__(self, url: str, retry: Retry | None = None) -> None:
        options = {"registry_url": url, "project": PROJECT}
        self.store = open_store(f"feast+{url}", options)
        self.transports = Transports(TransportOptions(retry=retry or Retry()))
        self.counts: Counter[str] = Counter()
        self.view = self._drive(self.store.feature_view(VIEW), None)

    def lookup(self, number: int) -> Call[Any]:
        """Make the lookup of that number."""
        keys = pl.DataFrame({KEY: range(number * KEYS, (number + 1) * KEYS)})
        return self.store.read_online(OnlineRead(self.view, self.view.features[:1], keys, NOW))

    def one(self, number: int, timeout: float | None = None) -> Any:  # noqa: ANN401 - an answer or an error
        """Send one lookup by itself."""
        return self.together([number], timeout)[0]

    def together(self, numbers: list[int], timeout: float | None = None) -> list[Any]:
        """Send lookups together."""
        outcomes = self._drive(_effect([self.lookup(n) for n in numbers]), timeout)
        for number, outcome in zip(numbers, outcomes, strict=True):
            self.counts[judge(number, outcome)] += 1
        return outcomes

    async def awaited(self, number: int) -> Any:  # noqa: ANN401 - an answer or an error
        """Send one lookup from an event loop."""
        flow = _effect([self.lookup(number)])
        (outcome,) = await adrive(flow, self.transports, Deadline(None), Silent())
        self.counts[judge(number, outcome)] += 1
        return outcome

    def _drive(self, flow: Flow[Any], timeout: float | None) -> Any:  # noqa: ANN401 - what the flow returns
        limit = None if timeout is None else timedelta(seconds=timeout)
        return drive(flow, self.transports, Deadline(limit), Silent())


def _effect(calls: list[Call[Any]]) -> Flow[list[Any]]:
    return (yield calls)


def judge(number: int, outcome: Any) -> str:  # noqa: ANN401 - an answer or an error
    """Tell a right answer from a wrong one and from an error."""
    if isinstance(outcome, FeatkitError):
        return type(outcome).__name__
    keys = range(number * KEYS, (number + 1) * KEYS)
    (values,) = outcome.values.get_columns()
    return "right" if values.to_list() == [truth("trips", key) for key in keys] else "wrong"


def share(url: str, count: str = str(CALLS)) -> dict[str, float]:
    """Send many calls together."""
    client = Client(url)
    client.together(list(range(int(count))))
    return {"lost": int(count) - client.counts["right"], "wrong": client.counts["wrong"]}


def plain(url: str, count: str = str(CALLS)) -> dict[str, float]:
    """Send many calls with plain httpx."""
    client, body = Client(url), b""
    lost = 0
    with httpx.Client() as session:
        for number in range(int(count)):
            request = client.lookup(number).request
            assert isinstance(request, HttpRequest)
            body = request.body
            try:
                reply = session.post(request.url, content=body, headers=dict(request.headers))
                lost += not reply.is_success
            except httpx.TransportError:
                lost += 1
    return {"lost": lost}


def latency(url: str) -> dict[str, float]:
    """Time calls one after the other, as a person makes them."""
    client = Client(url)
    waits = []
    for number in range(1_000):
        started = time.perf_counter()
        client.one(number)
        waits.append((time.perf_counter() - started) * 1e3)
    return {"median": median(waits), "p99": quantiles(waits, n=100)[98], "worst": max(waits)}


def cancelled(url: str) -> dict[str, float]:
    """Cancel 2,000 calls in an event loop, then make 30."""
    client = Client(url)
    draws = random.Random(9)  # noqa: S311 - seeded, not secret

    async def run() -> None:
        for _ in range(100):
            tasks = [asyncio.create_task(client.awaited(n)) for n in range(20)]
            await asyncio.sleep(draws.uniform(0, 0.02))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        client.counts.clear()
        await asyncio.wait_for(asyncio.gather(*map(client.awaited, range(30))), 20)

    asyncio.run(run())
    return {"unserved": 30 - client.counts["right"]}


def forked(url: str) -> dict[str, float]:
    """Use a client in four forked processes and their parent at once; answers are counted raw."""
    client = Client(url)
    client.together(list(range(20)))
    bodies = Raw(client)
    pids = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            bad = 255
            try:
                bad = bodies.wrong(range(child * 1_000, child * 1_000 + CALLS))
            finally:
                os._exit(min(bad, 255))
        pids.append(pid)
    own = bodies.wrong(range(9_000, 9_000 + CALLS))
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return {"bad": own + sum(codes)}


class Raw:
    """Lookups whose answers are read without polars, whose threads do not survive a fork."""

    def __init__(self, client: Client) -> None:
        self._transports = client.transports
        first = client.lookup(0).request
        assert isinstance(first, HttpRequest)
        self._first = first

    def wrong(self, numbers: range) -> int:
        """Make these calls together; count what is wrong or an error."""
        asked = {"features": [f"{VIEW}:trips"], "full_feature_names": True}
        calls = []
        for number in numbers:
            keys = list(range(number * KEYS, (number + 1) * KEYS))
            body = json.dumps({**asked, "entities": {KEY: keys}}).encode()
            calls.append(replace_body(self._first, body))
        found = drive(_effect(calls), self._transports, Deadline(None), Silent())
        return sum(
            answer != [truth("trips", key) for key in range(number * KEYS, (number + 1) * KEYS)]
            for number, answer in zip(numbers, found, strict=True)
        )


def replace_body(request: HttpRequest, body: bytes) -> Call[Any]:
    def read(reply: Any) -> Any:  # noqa: ANN401 - of JSON
        return json.loads(reply.body)["results"][1]["values"]

    return Call(replace(request, body=body), decode=read)


def late(url: str) -> dict[str, float]:
    """Make calls that cannot be answered in time, alone and together."""
    beyond = []
    for _ in range(3):
        for numbers in ([1], list(range(12))):
            client = Client(url)
            client.counts.clear()
            started = time.perf_counter()
            client.together(numbers, TIMEOUT)
            beyond.append(time.perf_counter() - started - TIMEOUT)
            assert client.counts == {"DeadlineExceeded": len(numbers)}
    return {"beyond": max(beyond)}


def dead(url: str) -> dict[str, float]:
    """Call a server that is not there."""
    client = Client.__new__(Client)
    client.transports = Transports(TransportOptions())
    request = HttpRequest(url=url)
    started = time.perf_counter()
    (outcome,) = drive(_effect([Call(request)]), client.transports, Deadline(None), Silent())
    assert isinstance(outcome, StoreUnavailable)
    return {"seconds": time.perf_counter() - started}


def outage(url: str, reconnect: str) -> dict[str, float]:
    """Make calls from eight threads for six seconds."""
    client = Client(url, Retry(reconnect=timedelta(seconds=float(reconnect))))
    client.counts.clear()
    ends = time.monotonic() + 6

    def work(number: int) -> None:
        while time.monotonic() < ends:
            client.one(number)
            time.sleep(0.02)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    calls = client.counts.total()
    return {"lost": calls - client.counts["right"], "calls": calls}


def memory(url: str) -> dict[str, float]:
    """Ask for an answer that is too large."""
    client = Client(url)
    client.together(list(range(50)))
    before = resident("VmRSS")
    outcome = client.one(51)
    assert "larger than" in str(outcome), outcome
    return {"grown": resident("VmHWM") - before}


def endurance(url: str) -> dict[str, float]:
    """Make 11,000 calls, and look at memory and descriptors now and then, and once it is closed."""
    first = Client(url)
    first.one(0)
    first.transports.close()
    before = descriptors()  # with what libraries keep for themselves
    client = Client(url)
    thousands, sizes, opened = [], [], []
    for thousand in range(11):
        for number in range(0, 1_000, 50):
            client.together(list(range(number, number + 50)))
        thousands.append(thousand)
        sizes.append(resident("VmRSS") * 1e3)
        opened.append(descriptors() - before)
    client.transports.close()
    settled = 3  # thousands of calls after which caches are full
    return {
        "slope": linear_regression(thousands[settled:], sizes[settled:]).slope,
        "beyond": max(opened) - Limits().connections,
        "left": descriptors() - before,
        "wrong": client.counts["wrong"],
    }


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def interrupted(url: str) -> dict[str, float]:
    """Press Ctrl-C 200 times, at random moments of calls."""
    client = Client(url)
    client.together(list(range(8)))
    draws = random.Random(23)  # noqa: S311 - seeded, not secret
    took, broken = [], 0
    for _ in range(200):
        struck: list[float] = []
        timer = threading.Timer(draws.uniform(0, 0.05), strike, [struck])
        # where it strikes within polars, polars raises, and then Python does, once more
        with suppress(KeyboardInterrupt):
            try:
                timer.start()
                while True:
                    client.together(list(range(20)))
            finally:
                took.append(time.monotonic() - struck[0])
        broken += judge(3, client.one(3, timeout=10)) != "right"
    return {"broken": broken, "slowest": max(took)}


def strike(struck: list[float]) -> None:
    struck.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)


SIDES: dict[str, Callable[..., dict[str, float]]] = {
    side.__name__: side
    for side in (
        *(share, plain, latency, cancelled, forked, late, dead, outage, memory),
        *(endurance, interrupted),
    )
}


# -- the servers' side -----------------------------------------------------------------------------


def against(proxy: FaultProxy, side: str, *arguments: str) -> dict[str, float]:
    """Run one of the functions above in a fresh process."""
    return in_a_fresh_process("-m", "benchmarks.faults", side, proxy.url, *arguments)


@contextmanager
def faulty(*played: tuple[faults.Fault, float]) -> Iterator[FaultProxy]:
    """Give a proxy whose lookups these faults strike, each with its share; metadata is spared."""
    with Upstream() as upstream, FaultProxy(upstream.url, seed=20261101) as proxy:
        for fault, share_ in played:
            proxy.play(fault, share=share_, only="POST")
        yield proxy


def lost(
    fault: faults.Fault, share_: float, *, count: int, limit: float, text: str, beside: bool = True
) -> list[Claim]:
    with faulty((fault, share_)) as proxy:
        found = against(proxy, "share", str(count))
        sent = sum(seen.request.method == "POST" for seen in proxy.seen)
    note = f"{sent:,} requests"
    if beside:
        with faulty((fault, share_)) as proxy:
            httpx_lost = against(proxy, "plain", "500")["lost"] / 5
        note += f"; plain httpx loses {httpx_lost:.1f} % of 500"
    assert found["wrong"] == 0
    return [
        Claim(
            text=f"{text}: calls lost of {count:,}",
            measured=100 * found["lost"] / count,
            limit=limit,
            unit="%",
            note=note,
        )
    ]


def losses() -> list[Claim]:
    trouble = faults.status(503)
    return [
        *lost(trouble, 0.1, count=10_000, limit=0.0, text="503 in 10 %"),
        *lost(trouble, 0.3, count=10_000, limit=0.1, text="503 in 30 %"),
        *lost(faults.reset_in_body, 0.3, count=2_000, limit=0.1, text="reset in the body in 30 %"),
        *lost(faults.close_in_body, 0.3, count=2_000, limit=0.1, text="closed in the body in 30 %"),
    ]


def slowed_down() -> list[Claim]:
    with faulty((faults.status(429, retry_after="1"), 0.3)) as proxy:
        found = against(proxy, "share")
        waits = list(waits_of(proxy))
    return [
        Claim(
            text=f"429 with Retry-After: 1 in 30 %: calls lost of {CALLS}",
            measured=100 * found["lost"] / CALLS,
            limit=0.0,
            unit="%",
        ),
        Claim(
            text="429 with Retry-After: 1: asked again earlier than told, by at most",
            measured=max(0.0, 1 - min(waits)) * 1e3,
            limit=0.0,
            unit="ms",
            note=f"{len(waits)} waits, the shortest {min(waits):.3f} s",
        ),
    ]


def waits_of(proxy: FaultProxy) -> Iterator[float]:
    """Tell how long after each refusal the same question came again."""
    refused: dict[bytes, float] = {}
    for seen in proxy.seen:
        if (since := refused.pop(seen.request.body, None)) is not None:
            yield seen.at - since
        if seen.fault:
            refused[seen.request.body] = seen.done or seen.at


def amplification() -> list[Claim]:
    claims = []
    for share_, count, limit, text in (
        (0.3, 2_000, 1.5, "503 in 30 %"),
        (1.0, 2_000, 1.2, "full outage"),
    ):
        with faulty((faults.status(503), share_)) as proxy:
            against(proxy, "share", str(count))
            sent = sum(seen.request.method == "POST" for seen in proxy.seen)
        claims.append(
            Claim(
                text=f"{text}: requests per call",
                measured=sent / count,
                limit=limit,
                note=f"{sent:,} requests for {count:,} calls",
            )
        )
    return claims


def added_latency() -> list[Claim]:
    with faulty() as proxy:
        honest = against(proxy, "latency")
    with faulty((faults.status(503), 0.3)) as proxy:
        found = against(proxy, "latency")
    return [
        Claim(
            text="503 in 30 %: added latency, 99th percentile",
            measured=found["p99"] - honest["p99"],
            limit=150.0,
            unit="ms",
            note=(
                f"p99 {found['p99']:.0f} ms to {honest['p99']:.0f} ms, median "
                f"{found['median']:.1f} to {honest['median']:.1f}, worst {found['worst']:.0f}"
            ),
        )
    ]


def interruptions() -> list[Claim]:
    with faulty((faults.stall(0.03), 1.0)) as proxy:
        unserved = against(proxy, "cancelled")["unserved"]
    with faulty() as proxy:
        bad = against(proxy, "forked")["bad"]
    with faulty((faults.stall(0.01), 0.5)) as proxy:
        found = against(proxy, "interrupted")
    return [
        Claim(
            text="after 2,000 cancelled calls: calls not served, of 30",
            measured=unserved,
            limit=0.0,
            unit="calls",
        ),
        Claim(
            text=f"fork, 5 x {CALLS} calls: wrong answers and errors",
            measured=bad,
            limit=0.0,
            unit="calls",
        ),
        Claim(
            text="Ctrl-C at 200 random moments: the slowest way to the prompt",
            measured=found["slowest"],
            limit=1.0,
            unit="s",
        ),
        Claim(
            text="Ctrl-C at 200 random moments: next call fails",
            measured=found["broken"],
            limit=0.0,
            unit="calls",
        ),
    ]


def deadlines() -> list[Claim]:
    claims = []
    for name, fault in {
        "never answers": faults.black_hole,
        "drips its body": faults.drip(0.01),
        "drips its header": faults.slow_header(0.01),
    }.items():
        with faulty((fault, 1.0)) as proxy:
            beyond = against(proxy, "late")["beyond"]
        claims.append(
            Claim(
                text=f"{name}: time to the error beyond the timeout of 1 s, at most",
                measured=beyond * 1e3,
                limit=200.0,
                unit="ms",
            )
        )
    return claims


def dead_hosts() -> list[Claim]:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    command = ("-m", "benchmarks.faults", "dead")
    refused = in_a_fresh_process(*command, f"http://{HOST}:{port}/")["seconds"]
    with socket.socket() as full, socket.socket() as waiting:
        full.bind((HOST, 0))
        full.listen(0)
        waiting.connect(full.getsockname())  # no room is left: the next one gets no answer at all
        port = full.getsockname()[1]
        silent = in_a_fresh_process(*command, f"http://{HOST}:{port}/")["seconds"]
    return [
        Claim(text=f"dead host, {how}: time to the error", measured=seconds, limit=limit, unit="s")
        for how, seconds, limit in (("refuses", refused, 1.0), ("silent", silent, 1.0))
    ]


def outages() -> list[Claim]:
    claims = []
    for reconnect, limit in (("10", 0.0), ("0.7", None)):
        with faulty() as proxy:
            begin = threading.Timer(2.5, proxy.down, kwargs={"drop": True})
            end = threading.Timer(5.5, proxy.up)
            begin.start()
            end.start()
            found = against(proxy, "outage", reconnect)
            begin.join()
            end.join()
        claims.append(
            Claim(
                text=f"server gone for 3 s under load, Retry(reconnect={reconnect} s): calls lost",
                measured=found["lost"],
                limit=limit,
                unit="calls",
                note=f"of {found['calls']:.0f}",
            )
        )
    return claims


def sizes() -> list[Claim]:
    claims = []
    for text, fault in (
        ("gzip bomb of 1 GB", faults.gzip_bomb(1_000)),
        ("answer of 100 MB", faults.large(100)),
    ):
        with faulty() as proxy:
            proxy.play(fault, calls={51})  # after the metadata and 50 lookups
            grown = against(proxy, "memory")["grown"]
        claims.append(
            Claim(text=f"{text}: growth of memory", measured=grown, limit=80.0, unit="MB")
        )
    return claims


def endured() -> list[Claim]:
    each = 0.04 / 5
    with faulty(
        (faults.status(503), each),
        (faults.reset_in_body, each),
        (faults.close_in_body, each),
        (faults.truncated, each),
        (faults.html(200), each),
    ) as proxy:
        found = against(proxy, "endurance")
    return [
        Claim(
            text="11,000 calls with 4 % faults: growth of memory per 1,000",
            measured=max(0.0, found["slope"]),
            limit=50.0,
            unit="kB",
            note=f"{found['wrong']:.0f} wrong answers",
        ),
        Claim(
            text="11,000 calls with 4 % faults: descriptors beyond one for each connection allowed",
            measured=max(0.0, found["beyond"]),
            limit=0.0,
            unit="",
        ),
        Claim(
            text="11,000 calls with 4 % faults: descriptors left open by a client that is closed",
            measured=found["left"],
            limit=0.0,
            unit="",
        ),
    ]


def measure() -> list[Claim]:
    claims = []
    for part in (
        *(losses, slowed_down, amplification, added_latency, interruptions, deadlines),
        *(dead_hosts, outages, sizes, endured),
    ):
        print(f"  {part.__name__} ...", file=sys.stderr, flush=True)
        claims += part()
    return claims


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    print(json.dumps(SIDES[name](*arguments)))
