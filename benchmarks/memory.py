"""`enrich` of ten million rows holds at most input + output + 500 MB at its peak.

A fresh process for each kind of frame: it makes the input, enriches it with ten features of a
million entities, and reports the peak of its resident memory, libraries included, from the first
to the last line.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

import featkit
from benchmarks._measuring import Claim, in_a_fresh_process

LIMIT = 500.0  # megabytes beyond input and output
ROWS, ENTITIES = 10_000_000, 1_000_000
KINDS = ("polars", "lazy", "pandas")
KEYS = ("int64", "text")
MEGABYTE = 1e6


def entity_keys(kind: str, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> pl.Series:
    keys = pl.Series("entity", numbers)
    if kind == "int64":
        return keys
    return ("user-" + keys.cast(pl.String).str.zfill(10)).alias("entity")


def features(random: np.random.Generator) -> dict[str, pl.Series]:
    """Make ten columns of mixed dtypes; one value in twenty is null."""
    words = pl.Series([f"category number {n:02d}" for n in range(50)])
    short = pl.Series([f"tag-{n:03d}" for n in range(500)])
    moments = pl.Series(random.integers(1_600_000_000, 1_700_000_000, ENTITIES) * 1_000_000)
    values = {
        "amount": pl.Series(random.normal(size=ENTITIES)),
        "share": pl.Series(random.random(ENTITIES)),
        "score": pl.Series(random.random(ENTITIES, dtype=np.float32)),
        "total": pl.Series(random.integers(0, 10**12, ENTITIES)),
        "count": pl.Series(random.integers(0, 1_000, ENTITIES, dtype=np.int32)),
        "visits": pl.Series(random.integers(0, 10**6, ENTITIES)),
        "active": pl.Series(random.random(ENTITIES) < 0.5),
        "category": words.gather(pl.Series(random.integers(0, 50, ENTITIES))),
        "tag": short.gather(pl.Series(random.integers(0, 500, ENTITIES))),
        "last_seen": moments.cast(pl.Datetime("us", "UTC")),
    }
    return {name: column.set(null(random), None) for name, column in values.items()}


def null(random: np.random.Generator) -> pl.Series:
    return pl.Series(random.random(ENTITIES) < 0.05)


def prepare(folder: Path, kind: str) -> None:
    """Write the store, and the input in a form that is read without leaving copies behind."""
    random = np.random.default_rng(20131231)
    numbers = random.permutation(3 * ENTITIES)[:ENTITIES].astype(np.int64)
    view = pl.DataFrame({"entity": entity_keys(kind, numbers)}).with_columns(
        event_timestamp=pl.lit(datetime(2025, 1, 1, tzinfo=UTC)), **features(random)
    )
    featkit.write_view(folder, view, name="users", join_keys="entity", timestamp="event_timestamp")
    rows = numbers[random.integers(0, ENTITIES, ROWS)]
    frame = pl.DataFrame({"entity": entity_keys(kind, rows)})
    frame.write_ipc_stream(folder / "polars.arrows")
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    with pa.ipc.new_stream(folder / "pandas.arrows", table.schema) as writer:
        writer.write_table(table)


def make_input(folder: Path, library: str) -> Any:  # noqa: ANN401 - a frame of any library
    spent = np.ones(ROWS)
    if library != "pandas":
        column = pl.read_ipc_stream(folder / "polars.arrows").to_series()
        return pl.DataFrame([column, pl.Series("spent", spent)])
    import pandas as pd  # noqa: PLC0415 - it would count in the processes for polars

    with pa.OSFile(str(folder / "pandas.arrows")) as file:
        (batch,) = pa.ipc.open_stream(file)
    array = batch.column("entity")
    own = array.to_numpy() if pa.types.is_integer(array.type) else pd.array(array, dtype="str")
    return pd.DataFrame({"entity": own, "spent": spent}, copy=False)


def megabytes(frame: Any) -> float:  # noqa: ANN401 - a frame of any library
    """Tell the size of a frame's own columns."""
    if isinstance(frame, pl.DataFrame):  # its estimated_size() leaves out 16 bytes for each text
        arrow = frame.to_arrow(compat_level=pl.CompatLevel.newest())
        return arrow.get_total_buffer_size() / MEGABYTE
    return float(frame.memory_usage(deep=True).sum()) / MEGABYTE


def resident(line: str) -> float:
    """Read ``VmRSS``, the resident memory, or ``VmHWM``, its peak so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kilobytes,) = (row.split()[1] for row in status.splitlines() if row.startswith(line))
    return int(kilobytes) * 1024 / MEGABYTE


def one(folder: Path, library: str) -> dict[str, float]:
    """Enrich one frame and report; what runs in the fresh process."""
    frame = make_input(folder, library)
    before = resident("VmHWM")
    featkit.connect(f"parquet:{folder}", cache=None)
    if library == "lazy":
        enriched = featkit.features(frame.lazy()).enrich("users:*").collect()
    else:
        enriched = featkit.features(frame).enrich("users:*")
    assert len(enriched) == ROWS
    peak = resident("VmHWM")
    size = megabytes(frame)
    return {"peak": peak, "before": before, "input": size, "output": megabytes(enriched) - size}


def claim(folder: Path, library: str, kind: str) -> Claim:
    found = in_a_fresh_process("-m", "benchmarks.memory", str(folder), library)
    overhead = found["peak"] - found["input"] - found["output"]
    return Claim(
        text=f"enrich {library}, {ROWS:,} rows, {ENTITIES:,} {kind} keys, 10 features: "
        "peak memory beyond input and output",
        measured=overhead,
        limit=LIMIT,
        unit="MB",
        note=(
            f"peak {found['peak']:,.0f} MB, input {found['input']:,.0f} MB, "
            f"new columns {found['output']:,.0f} MB; peak before enrich {found['before']:,.0f} MB"
        ),
    )


def measure() -> list[Claim]:
    claims = []
    for kind in KEYS:
        with TemporaryDirectory(prefix="featkit-bench-") as scratch:
            prepare(Path(scratch), kind)
            claims += [claim(Path(scratch), library, kind) for library in KINDS]
    return claims


if __name__ == "__main__":
    print(json.dumps(one(Path(sys.argv[1]), sys.argv[2])))
