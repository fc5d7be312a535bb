"""`enrich` of a polars frame takes at most 1.5 times as long as the join written by hand."""

from __future__ import annotations

import featkit
from benchmarks._flights import WORKLOADS, Flights, flights, references
from benchmarks._measuring import Claim, side_by_side

LIMIT = 1.5
ROUNDS = 31


def compare(data: Flights, views: tuple[str, ...]) -> list[Claim]:
    wanted = references(views)
    accessor = featkit.features(data.frame)
    assert accessor.enrich(wanted).equals(data.by_hand(views, "in-memory"))
    times = side_by_side(
        {
            "enrich": lambda: accessor.enrich(wanted),
            "in-memory": lambda: data.by_hand(views, "in-memory"),
            "auto": lambda: data.by_hand(views, "auto"),
        },
        rounds=ROUNDS,
    )
    what = (
        f"enrich polars, {data.frame.height:,} rows, {len(wanted)} features of {', '.join(views)}"
    )
    return [
        Claim(
            text=f"{what}: to a join by hand, collected in memory",
            measured=times["enrich"].over(times["in-memory"]),
            limit=LIMIT,
            note=times["enrich"].beside(times["in-memory"]),
        ),
        Claim(
            text=f"{what}: to the same join, collected by polars' default engine",
            measured=times["enrich"].over(times["auto"]),
            note=times["enrich"].beside(times["auto"]),
        ),
    ]


def measure() -> list[Claim]:
    with flights() as data:
        return [claim for views in WORKLOADS for claim in compare(data, views)]
