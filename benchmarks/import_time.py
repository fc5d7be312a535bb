"""``import featkit`` adds at most 60 ms to a bare Python and loads no heavy library."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks._measuring import Claim, in_a_fresh_process, side_by_side

LIMIT = 60.0  # milliseconds
HEAVY = ("pandas", "polars", "pyarrow", "httpx", "ipywidgets", "matplotlib")


def start(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code


def measure() -> list[Claim]:
    times = side_by_side(
        {"bare": lambda: start(""), "featkit": lambda: start("import featkit")}, rounds=31
    )
    bare, featkit = median(times["bare"].wall), median(times["featkit"].wall)
    loaded = in_a_fresh_process(
        "-c",
        f"import sys, json, featkit; print(json.dumps({{n: n in sys.modules for n in {HEAVY}}}))",
    )
    heavy = [name for name, there in loaded.items() if there]
    return [
        Claim(
            text="import featkit: time added to a bare Python",
            measured=featkit - bare,
            limit=LIMIT,
            unit="ms",
            note=f"{featkit:.1f} ms to {bare:.1f} ms",
        ),
        Claim(
            text=f"import featkit: loaded among {', '.join(HEAVY)}",
            measured=len(heavy),
            limit=0,
            unit="modules",
            note=", ".join(heavy),
        ),
    ]
