"""Training sets: as fast as the engines' own ways, near the reading limit, in little memory.

A spine of a million rows over 100,000 entities; views of ten, five and one million rows with four
features each, ttl 7 days; once as files ordered by time, as exports are, and once as `write_view`
writes them. Each figure is of a process of its own, which reads Parquet that the system has cached
and holds the result. Each has done the same with a thousandth of the rows before, so that what is
imported when it is first used does not count. What is compared runs in turn.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

import featkit
from benchmarks._measuring import Claim, in_a_fresh_process
from benchmarks.memory import resident

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator

ENTITIES, SPINE = 100_000, 1_000_000
VIEWS = {"a": 10_000_000, "b": 5_000_000, "c": 1_000_000}
NEEDLE, LARGE = 1_000, 10_000_000
SMALL = "small"  # the folder of the files of a first run
TTL = timedelta(days=7)
START, DAYS = datetime(2026, 6, 1, tzinfo=UTC), 90
DAY = 86_400_000_000  # microseconds
FEATURES = [f"{view}{n}" for view in VIEWS for n in range(4)]


# -- the data ------------------------------------------------------------------------------------


def moments(random: Generator, rows: int, *, before: int) -> np.ndarray[Any, Any]:
    first = int(START.timestamp() * 1e6)
    return first - before * DAY + random.integers(0, (DAYS + before) * DAY, rows)


def column(times: np.ndarray[Any, Any]) -> pl.Series:
    return pl.Series(times).cast(pl.Datetime("us", "UTC"))


def view(random: Generator, name: str, rows: int) -> pl.DataFrame:
    """Make a view ordered by time; rows are written up to six hours after their event."""
    event = np.sort(moments(random, rows, before=7))
    values = {}
    for feature in (f"{name}{n}" for n in range(4)):
        numbers = pl.Series(random.normal(size=rows).round(3))
        values[feature] = numbers.set(pl.Series(random.random(rows) < 0.02), None)
    return pl.DataFrame(
        {
            "entity": random.integers(0, ENTITIES, rows),
            "at": column(event),
            "written": column(event + random.integers(0, DAY // 4, rows)),
            **values,
        }
    )


def spine(random: Generator, rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "entity": random.integers(0, ENTITIES, rows),
            "at": column(moments(random, rows, before=0)),
            "label": random.integers(0, 2, rows).astype(np.int8),
        }
    )


def prepare(folder: Path) -> None:
    """Write all files, and the small ones of a first run."""
    write(folder, 1)
    write(folder / SMALL, 1_000)


def write(folder: Path, part: int) -> None:
    """Write all files with one row of so many."""
    random = np.random.default_rng(7)
    timed = folder / "timed"
    timed.mkdir(parents=True)
    for name, rows in (("spine", SPINE), ("large", LARGE), ("needle", NEEDLE)):
        spine(random, rows // part).write_parquet(folder / f"{name}.parquet")
    lines = []
    for name, rows in VIEWS.items():
        frame = view(random, name, rows // part)
        frame.write_parquet(timed / f"{name}.parquet", row_group_size=500_000)
        lines.append(
            f'[views.{name}]\nsource = "{name}.parquet"\njoin_keys = ["entity"]\ntimestamp = "at"\n'
            'created = "written"\nttl = "7d"\n'
        )
        roles = {"join_keys": "entity", "timestamp": "at", "created": "written", "ttl": TTL}
        featkit.write_view(folder / "sorted", frame, name=name, **roles)  # type: ignore[arg-type]
    (timed / "feature_views.toml").write_text("\n".join(lines), encoding="utf-8")


def source(folder: Path, files: str, name: str) -> Path:
    return folder / files / (f"{name}.parquet" if files == "timed" else f"{name}/part-0.parquet")


# -- what is compared ----------------------------------------------------------------------------


def by_featkit(folder: Path, files: str, **options: Any) -> pl.DataFrame:  # noqa: ANN401 - those of the call
    rows = pl.read_parquet(folder / f"{options.pop('spine', 'spine')}.parquet")
    views = options.pop("views", "abc")
    with featkit.connect(f"parquet:{folder / files}") as client:
        made = client.get_historical_features(
            rows, [f"{name}:*" for name in views], at="at", **options
        )
    frame: pl.DataFrame = made.frame
    return frame


def by_polars(folder: Path, files: str, name: str = "spine", views: str = "abc") -> pl.DataFrame:
    import warnings  # noqa: PLC0415 - of this side alone

    warnings.simplefilter("ignore", UserWarning)  # it cannot check the order within groups
    joined = pl.scan_parquet(folder / f"{name}.parquet").with_row_index("row").sort("at")
    for each in views:
        wanted = ["entity", "at", *(f"{each}{n}" for n in range(4))]
        right = pl.scan_parquet(source(folder, files, each)).select(wanted).sort("at")
        joined = joined.join_asof(right, on="at", by="entity", tolerance=TTL)
    return joined.sort("row").drop("row").collect(engine="streaming")


def by_duckdb(folder: Path, files: str) -> pl.DataFrame:
    import duckdb  # noqa: PLC0415 - of this side alone

    connection = duckdb.connect()
    connection.execute("set threads=2; set timezone='UTC'; set enable_progress_bar=false")
    joins, chosen = [], []
    for name in VIEWS:
        own = [f"{name}{n}" for n in range(4)]
        joins.append(
            f'asof left join (select entity, "at", {", ".join(own)} from '  # noqa: S608 - names of our own
            f"'{source(folder, files, name)}') {name} on s.entity = {name}.entity "
            f'and s."at" >= {name}."at"'
        )
        chosen += [
            f'case when {name}."at" >= s."at" - interval 7 day then {name}.{each} end {each}'
            for each in own
        ]
    query = f"select s.*, {', '.join(chosen)} from '{folder / 'spine.parquet'}' s {' '.join(joins)}"  # noqa: S608 - names of our own
    found = pl.from_arrow(connection.sql(query).to_arrow_table())
    assert isinstance(found, pl.DataFrame)
    return found


def read_only(folder: Path, files: str) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - of this side alone

    for name in VIEWS:
        wanted = ["entity", "at", *(f"{name}{n}" for n in range(4))]
        pq.read_table(source(folder, files, name), columns=wanted)
    pq.read_table(folder / "spine.parquet")


def needle(folder: Path, files: str, *, full: bool) -> pl.DataFrame:
    """Join a thousand rows to ten million: as planned, or with every row read."""
    if full:
        from featkit.engines import plan  # noqa: PLC0415 - to switch off what is measured

        plan._FEW = 0  # noqa: SLF001 - as above
    return by_featkit(folder, files, spine="needle", views="a")


RUNS: dict[str, Callable[[Path], object]] = {
    "any featkit": lambda folder: by_featkit(folder, "timed"),
    "any polars": lambda folder: by_polars(folder, "timed"),
    "any duckdb": lambda folder: by_duckdb(folder, "timed"),
    "sorted featkit": lambda folder: by_featkit(folder, "sorted"),
    "sorted read": lambda folder: read_only(folder, "sorted"),
    "sorted created": lambda folder: by_featkit(folder, "sorted", known_by="created"),
    "any created": lambda folder: by_featkit(folder, "timed", known_by="created"),
    "tight featkit": lambda folder: by_featkit(folder, "timed", memory_limit="700MB"),
    "needle any": lambda folder: needle(folder, "timed", full=False),
    "needle any full": lambda folder: needle(folder, "timed", full=True),
    "needle sorted": lambda folder: needle(folder, "sorted", full=False),
    "needle sorted full": lambda folder: needle(folder, "sorted", full=True),
    "large featkit": lambda folder: by_featkit(folder, "timed", spine="large", views="c"),
    "large polars": lambda folder: by_polars(folder, "timed", "large", "c"),
}


def one(folder: Path, name: str) -> dict[str, Any]:
    """Run one of them once, after small files; a needle, which is short, after its own as well."""
    result = RUNS[name](folder / SMALL)
    result = RUNS[name](folder) if name.startswith("needle") else None
    begin = time.perf_counter()
    result = RUNS[name](folder)
    seconds = time.perf_counter() - begin
    check: list[float] = []
    if isinstance(result, pl.DataFrame):
        there = [name for name in FEATURES if name in result.columns]
        check = [result.height, *(result[name].count() for name in there)]
    return {"seconds": seconds, "peak": resident("VmHWM"), "check": check}


# -- the claims ----------------------------------------------------------------------------------


class Figures:
    """The medians of runs that took turns."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self._folder, self._rounds = folder, rounds
        self._found: dict[str, list[dict[str, Any]]] = {}

    def run(self, *names: str) -> None:
        """Run what is compared in turn."""
        for _ in range(self._rounds):
            for name in names:
                found = in_a_fresh_process(
                    "-m", "benchmarks.training_sets", str(self._folder), name
                )
                self._found.setdefault(name, []).append(found)
        checks = {
            str(self._found[name][0]["check"]) for name in names if self._found[name][0]["check"]
        }
        assert len(checks) == 1 or any("created" in name for name in names), checks

    def seconds(self, name: str) -> float:
        """Tell the median of the wall times."""
        return median(each["seconds"] for each in self._found[name])

    def peak(self, name: str) -> float:
        """Tell the highest peak of memory."""
        return max(each["peak"] for each in self._found[name])

    def ratio(self, text: str, name: str, to: str, limit: float | None) -> Claim:
        """Claim a ratio of wall times."""
        own, other = self.seconds(name), self.seconds(to)
        note = f"{own * 1e3:,.0f} ms to {other * 1e3:,.0f} ms"
        return Claim(text=text, measured=own / other, limit=limit, note=note)


def measure() -> list[Claim]:
    with TemporaryDirectory(prefix="featkit-bench-") as scratch:
        folder = Path(scratch)
        prepare(folder)
        return claims(Figures(folder, rounds=3))


def claims(found: Figures) -> list[Claim]:
    found.run("any featkit", "any polars", "any duckdb")
    found.run("sorted featkit", "sorted read", "sorted created")
    found.run("any created", "tight featkit")
    found.run("needle any", "needle any full")
    found.run("needle sorted", "needle sorted full")
    found.run("large featkit", "large polars")
    best = min(("any polars", "any duckdb"), key=found.seconds)
    made = [
        found.ratio("any files: to plain polars, streaming", "any featkit", "any polars", None),
        found.ratio("any files: to plain DuckDB", "any featkit", "any duckdb", None),
        found.ratio("any files: to the better of both", "any featkit", best, 1.0),
        found.ratio("sorted files: to reading them", "sorted featkit", "sorted read", 1.25),
        found.ratio(
            "sorted files: known_by='created' to plain", "sorted created", "sorted featkit", 1.5
        ),
        found.ratio("any files: known_by='created' to plain", "any created", "any featkit", 1.5),
        found.ratio("needle, any files: to the full plan", "needle any", "needle any full", 1 / 8),
        found.ratio(
            "needle, sorted files: to the full plan", "needle sorted", "needle sorted full", 1 / 8
        ),
        Claim(
            text="needle, sorted files",
            measured=found.seconds("needle sorted") * 1e3,
            limit=60,
            unit="ms",
        ),
        found.ratio("10M rows x 1M rows: to plain polars", "large featkit", "large polars", 1.1),
    ]
    for text, name, limit in (
        ("any files: peak memory", "any featkit", 1400),
        ("sorted files: peak memory", "sorted featkit", 1400),
        ("any files, memory_limit='700MB': peak memory", "tight featkit", 700),
        ("plain polars: peak memory", "any polars", None),
        ("plain DuckDB: peak memory", "any duckdb", None),
    ):
        made.append(Claim(text=text, measured=found.peak(name), limit=limit, unit="MB"))
    slow = found.seconds("tight featkit") / found.seconds("any featkit")
    made.append(Claim(text="any files, memory_limit='700MB': to no limit", measured=slow))
    return made


if __name__ == "__main__":
    print(json.dumps(one(Path(sys.argv[1]), sys.argv[2])))
