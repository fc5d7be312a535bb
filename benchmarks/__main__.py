"""``python -m benchmarks [NAME...]`` measures all claims, or those of the named scripts."""

from __future__ import annotations

import importlib
import pkgutil
import platform
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import benchmarks

if TYPE_CHECKING:
    from benchmarks._measuring import Claim


def names() -> list[str]:
    found = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    return [name for name in found if not name.startswith("_")]


def row(claim: Claim) -> tuple[str, str, str, str, str]:
    def figure(value: float) -> str:
        return f"{value:.2f} {claim.unit}" if value < 10 else f"{value:,.0f} {claim.unit}"

    if claim.limit is None:
        return claim.text, figure(claim.measured), "", "", claim.note
    ok = "ok" if claim.ok else "MISSED"
    return claim.text, figure(claim.measured), figure(claim.limit), ok, claim.note


def table(claims: list[Claim]) -> str:
    lines = [("claim", "measured", "limit", "ok", "figures"), *map(row, claims)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type] # as many
    padded = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    return "\n".join(f"| {line} |" for line in padded)


def main(wanted: list[str]) -> int:
    known = names()
    if unknown := [name for name in wanted if name not in known]:
        print(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(known)}")
        return 2
    libraries = ("polars", "pandas", "pyarrow", "numpy")
    print(
        f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in libraries), sep=", "
    )
    claims: list[Claim] = []
    for name in wanted or known:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        claims += importlib.import_module(f"benchmarks.{name}").measure()
    print(table(claims))
    return int(not all(claim.ok for claim in claims))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
