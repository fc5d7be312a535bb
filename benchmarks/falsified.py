"""No wrong cell from 100,000 answers of Feast's that were falsified so that it can be seen.

Each lie is drawn at random and told of an answer of 8 drivers and 3 features; what comes out is an
error that says so, or the truth. Feast's own client returned wrong frames for 10 of 18 such kinds.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from benchmarks._measuring import Claim
from featkit.calls import HttpReply
from featkit.columns import Status
from featkit.errors import FeatkitError
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.base import OnlineRead
from featkit.stores.feast.over_http import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from featkit.columns import FeatureColumns

ANSWERS = 100_000
KEYS = [3, 1, 4, 15, 9, 2, 6, 5]
NOW = datetime(2026, 11, 22, 22, tzinfo=UTC)
TRUTH: dict[str, list[Any]] = {
    "trips": [key * 3 for key in KEYS],
    "rate": [key / 8 for key in KEYS],
    "plate": [f"car-{key}" for key in KEYS],
}
TYPES = {
    "trips": ("INT64", pl.Int64()),
    "rate": ("DOUBLE", pl.Float64()),
    "plate": ("STRING", pl.String()),
}
PARTS = ("values", "statuses", "event_timestamps")
Body = dict[str, Any]


def honest() -> Body:
    names = ["driver_id", *(f"drivers__{name}" for name in TRUTH)]
    stamps = ["1970-01-01T00:00:00Z"], *(["2026-11-22T21:00:00Z"] for _ in TRUTH)
    results = [
        {"values": values, "statuses": ["PRESENT"] * len(KEYS), "event_timestamps": own * len(KEYS)}
        for values, own in zip([KEYS, *TRUTH.values()], stamps, strict=True)
    ]
    return {"metadata": {"feature_names": names}, "results": results}


def all_rows(
    change: Callable[[list[Any], int], list[Any]],
) -> Callable[[Body, random.Random], None]:
    """Make a lie that does the same to all columns, at one row."""

    def lie(body: Body, draw: random.Random) -> None:
        row = draw.randrange(len(KEYS))
        for column in body["results"]:
            for part in PARTS:
                column[part] = change(column[part], row)

    return lie


def one_part(change: Callable[[list[Any], int], Any]) -> Callable[[Body, random.Random], None]:
    """Make a lie that spoils one part of one column, at one row."""

    def lie(body: Body, draw: random.Random) -> None:
        column, part = draw.choice(body["results"]), draw.choice(PARTS)
        column[part] = change(column[part], draw.randrange(len(KEYS)))

    return lie


def value(make: Callable[[Any], Any], place: int) -> Callable[[Body, random.Random], None]:
    """Make a lie that spoils one value of one column."""

    def lie(body: Body, draw: random.Random) -> None:
        values, row = body["results"][place]["values"], draw.randrange(len(KEYS))
        values[row] = make(values[row])

    return lie


def status(body: Body, draw: random.Random, said: object) -> None:
    draw.choice(body["results"][1:])["statuses"][draw.randrange(len(KEYS))] = said


def shuffled(body: Body, draw: random.Random) -> None:
    order = draw.sample(range(len(KEYS)), len(KEYS))
    for column in body["results"]:
        for part in PARTS:
            column[part] = [column[part][row] for row in order]


LIES: dict[str, Callable[[Body, random.Random], Any]] = {
    "rows in another order": shuffled,
    "a row dropped": all_rows(lambda held, row: held[:row] + held[row + 1 :]),
    "a row twice": all_rows(lambda held, row: [*held[: row + 1], *held[row:]]),
    "a row in place of another": all_rows(
        lambda held, row: [held[row], *held[1:]] if row else [*held[:-1], held[0]]
    ),
    "part of a column short": one_part(lambda held, row: held[:row] + held[row + 1 :]),
    "part of a column long": one_part(lambda held, row: [*held, held[row]]),
    "a column nested": one_part(lambda held, _: [held]),
    "a column that is no list": one_part(lambda held, _: {"list": held}),
    "another entity": value(lambda key: key + 1, 0),
    "an entity as text": value(str, 0),
    "an integer as text": value(str, 1),
    "an integer with a fraction": value(lambda number: number + 0.5, 1),
    "an integer of 64 bits and more": value(lambda number: number + 2**63, 1),
    "a truth for an integer": value(bool, 1),
    "a number as text": value(str, 2),
    "a list for a number": value(lambda number: [number], 2),
    "a number for a text": value(len, 3),
    "an unknown status": lambda body, draw: status(body, draw, "FINE"),
    "a status that is a number": lambda body, draw: status(body, draw, 1),
    "no status": lambda body, draw: status(body, draw, None),
    "a value that is not there": lambda body, draw: status(body, draw, "NOT_FOUND"),
    "a feature renamed": lambda body, draw: body["metadata"]["feature_names"].__setitem__(
        draw.randrange(4), "other"
    ),
    "a feature twice": lambda body, _: body["metadata"]["feature_names"].__setitem__(
        2, "drivers__trips"
    ),
    "no names": lambda body, _: body.pop("metadata"),
    "a column dropped": lambda body, draw: body["results"].pop(draw.randrange(4)),
    "a column too many": lambda body, draw: body["results"].append(draw.choice(body["results"])),
    "wrapped": lambda body, _: body.update(results={"results": body["results"]}),
}


def wrong_cells(found: FeatureColumns) -> int:
    """Count values that are not true, and nulls that pass for values."""
    wrong = 0
    for name, true in TRUTH.items():
        values, statuses = found.values[name].to_list(), found.statuses[name].to_list()
        for said, wanted, state in zip(values, true, statuses, strict=True):
            wrong += said != wanted and (said is not None or state == Status.PRESENT)
    return wrong


def measure() -> list[Claim]:
    features = tuple(Feature(name, dtype, store_type=kind) for name, (kind, dtype) in TYPES.items())
    driver = Entity("driver", "driver_id", pl.Int64(), store_type="INT64")
    view = FeatureView(name="drivers", entities=(driver,), features=features, timestamp="t")
    read = OnlineRead(view, features, pl.DataFrame({"driver_id": KEYS}), NOW)
    call = HttpServer("http://127.0.0.1").read(read)
    draw, right, counts = random.Random(8), honest(), Counter[str]()  # noqa: S311 - seeded
    assert wrong_cells(call.decode(reply(right))) == 0
    wrong: Counter[str] = Counter()
    for number in range(ANSWERS):
        kind = list(LIES)[number % len(LIES)]
        body = copy.deepcopy(right)
        LIES[kind](body, draw)
        try:
            wrong[kind] += wrong_cells(call.decode(reply(body)))
            counts["read"] += 1
        except FeatkitError:
            counts["refused"] += 1
    worst = ", ".join(f"{kind}: {count}" for kind, count in wrong.most_common(3) if count)
    return [
        Claim(
            text=f"{ANSWERS:,} falsified answers of {len(LIES)} kinds: wrong cells",
            measured=float(wrong.total()),
            limit=0.0,
            unit="",
            note=f"{counts['refused']:,} refused, {counts['read']:,} read all the same {worst}",
        )
    ]


def reply(body: Body) -> HttpReply:
    return HttpReply(200, {}, bytearray(json.dumps(body).encode()))
