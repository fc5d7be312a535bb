"""`enrich` of a pandas frame takes at most 2.5 times as long as polars joins by hand."""

from __future__ import annotations

import featkit
from benchmarks._flights import WORKLOADS, Flights, flights, references, same_values
from benchmarks._measuring import Claim, side_by_side

LIMIT = 2.5
ROUNDS = 31


def compare(data: Flights, views: tuple[str, ...]) -> list[Claim]:
    wanted = references(views)
    accessor = featkit.features(data.pandas)
    expected = data.by_hand(views, "in-memory")
    assert same_values(accessor.enrich(wanted), expected)
    assert same_values(data.by_hand_in_pandas(views), expected)
    times = side_by_side(
        {
            "enrich": lambda: accessor.enrich(wanted),
            "polars": lambda: data.by_hand(views, "in-memory"),
            "pandas": lambda: data.by_hand_in_pandas(views),
        },
        rounds=ROUNDS,
    )
    what = f"enrich pandas, {len(data.pandas):,} rows, {len(wanted)} features of {', '.join(views)}"
    return [
        Claim(
            text=f"{what}: to a polars join by hand, collected in memory",
            measured=times["enrich"].over(times["polars"]),
            limit=LIMIT,
            note=times["enrich"].beside(times["polars"]),
        ),
        Claim(
            text=f"{what}: to a pandas merge by hand",
            measured=times["enrich"].over(times["pandas"]),
            note=times["enrich"].beside(times["pandas"]),
        ),
    ]


def measure() -> list[Claim]:
    with flights() as data:
        return [claim for views in WORKLOADS for claim in compare(data, views)]
