"""Reading an answer of Feast's takes about as long as orjson takes to make objects of it.

The answer is one of 100,000 entities and 10 features, as the feature server writes it: the whole
of featkit's reading is timed, with the check of the echoed keys, types, statuses and timestamps.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import orjson
import polars as pl

from benchmarks._measuring import Claim, side_by_side
from featkit.calls import HttpReply
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.base import OnlineRead
from featkit.stores.feast.over_http import HttpServer

if TYPE_CHECKING:
    from typing import Any

ROWS = 100_000
PROTOTYPE = 283 / 360  # of what orjson took, when the way of reading was chosen
NOW = datetime(2026, 11, 22, 22, tzinfo=UTC)


def columns() -> dict[str, list[Any]]:
    """Make the values of five floats, three integers, a text and a truth, one in a hundred null."""
    random = np.random.default_rng(11)
    made: dict[str, list[Any]] = {}
    for n in range(5):
        made[f"f{n}"] = random.normal(size=ROWS).round(6).tolist()
    for n in range(5, 8):
        made[f"f{n}"] = random.integers(0, 10**6, ROWS).tolist()
    made["f8"] = [f"word-{n}" for n in random.integers(0, 1_000, ROWS).tolist()]
    made["f9"] = (random.random(ROWS) < 0.5).tolist()
    for values in made.values():
        for row in random.integers(0, ROWS, ROWS // 100).tolist():
            values[row] = None
    return made


TYPES = {"f8": ("STRING", pl.String()), "f9": ("BOOL", pl.Boolean())}


def view() -> FeatureView:
    kinds = {f"f{n}": ("DOUBLE", pl.Float64()) for n in range(5)}
    kinds |= {f"f{n}": ("INT64", pl.Int64()) for n in range(5, 8)} | TYPES
    features = tuple(Feature(name, dtype, store_type=kind) for name, (kind, dtype) in kinds.items())
    driver = Entity("driver", "driver_id", pl.Int64(), store_type="INT64")
    return FeatureView(name="v", entities=(driver,), features=features, timestamp="t")


def answer() -> bytes:
    present, stamps = ["PRESENT"] * ROWS, ["2026-11-22T21:00:00Z"] * ROWS
    none = ["1970-01-01T00:00:00Z"] * ROWS
    results = [{"values": list(range(ROWS)), "statuses": present, "event_timestamps": none}]
    names = ["driver_id"]
    for name, values in columns().items():
        results.append({"values": values, "statuses": present, "event_timestamps": stamps})
        names.append(f"v__{name}")
    return json.dumps(
        {"metadata": {"feature_names": names}, "results": results}, separators=(",", ":")
    ).encode()


def measure() -> list[Claim]:
    body = answer()
    keys = pl.DataFrame({"driver_id": range(ROWS)})
    described = view()
    call = HttpServer("http://127.0.0.1").read(OnlineRead(described, described.features, keys, NOW))
    reply = HttpReply(200, {}, bytearray(body))
    found = call.decode(reply)
    assert found.values["f5"].to_list() == columns()["f5"]
    times = side_by_side(
        {"featkit": lambda: call.decode(reply), "orjson": lambda: orjson.loads(body)}, rounds=9
    )
    ours, theirs = times["featkit"], times["orjson"]
    return [
        Claim(
            text=f"reading an answer of {ROWS:,} x 10 ({len(body) / 1e6:.0f} MB): to orjson.loads",
            measured=ours.over(theirs),
            limit=1.3 * PROTOTYPE,
            note=ours.beside(theirs),
        )
    ]
