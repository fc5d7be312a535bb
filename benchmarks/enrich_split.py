"""Where `enrich` of the flights spends its time; for information, nothing is promised.

The calls of a flow are made one after the other here, each timed; in use they overlap.
"""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks._flights import WORKLOADS, Flights, flights, references
from benchmarks._measuring import Claim
from featkit.calls import Call, LocalRead
from featkit.clients.operations import EnrichOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featkit.calls import Flow

ROUNDS = 21
STAGES = {  # how the requests of each stage begin
    "describe": ("schema of", "/"),
    "keys": ("the keys of the frame", "the distinct keys"),
    "read": ("feature view",),
    "gather": ("the enriched frame",),
}


def stage(call: Call[Any]) -> str:
    what = str(call.request)
    return next(name for name, beginnings in STAGES.items() if what.startswith(beginnings))


def perform(call: Call[Any]) -> object:
    assert isinstance(call.request, LocalRead)
    return call.decode(call.request.run())


def split(flow: Flow[Any]) -> dict[str, float]:
    """Run a flow; return the milliseconds of each stage, and of the logic between them."""
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Any, *arguments: object) -> Any:  # noqa: ANN401 - any result
        started = time.perf_counter()
        try:
            return work(*arguments)
        finally:
            spent[name] += (time.perf_counter() - started) * 1e3

    answer: object = None
    while True:
        try:
            effect = timed("logic", flow.send, answer)
        except StopIteration:
            return spent
        if isinstance(effect, Call):
            answer = timed(stage(effect), perform, effect)
        else:
            answer = [timed(stage(call), perform, call) for call in effect]


def claims(data: Flights, library: str, views: tuple[str, ...]) -> Iterator[Claim]:
    frame = data.frame if library == "polars" else data.pandas
    wanted = references(views)
    rounds = [
        split(data.client.operations.enrich(frame, wanted, EnrichOptions())) for _ in range(ROUNDS)
    ]
    of = {name: median(each[name] for each in rounds[2:]) for name in (*STAGES, "logic")}
    yield Claim(
        text=f"enrich {library}, {', '.join(views)}: one stage after the other",
        measured=sum(of.values()),
        unit="ms",
        note=", ".join(f"{name} {spent:.1f}" for name, spent in of.items()),
    )


def measure() -> list[Claim]:
    with flights() as data:
        return [
            claim
            for library in ("polars", "pandas")
            for views in WORKLOADS
            for claim in claims(data, library, views)
        ]
