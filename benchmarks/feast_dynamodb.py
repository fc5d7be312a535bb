"""Feast's values read from DynamoDB: what it costs the client; the service itself is not measured.

A server in a process of its own gives the answers of `BatchGetItem`, made beforehand, after 5 ms.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

import polars as pl

import featkit
from benchmarks._measuring import ROOT, Claim, side_by_side
from benchmarks._serving import MIXED

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 100_000
KEYS = pl.Series(range(COUNT))


@contextmanager
def served() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks._serving", "dynamodb"]
    with subprocess.Popen(  # noqa: S603 - our own
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def measure() -> list[Claim]:
    with (
        served() as url,
        featkit.connect(
            "feast+dynamodb:eu-west-1",
            registry_url=url,
            project="p",
            endpoint_url=url,
            access_key_id="AK",
            secret_access_key="SK",  # noqa: S106 - it opens nothing
            now="2024-05-01T12:00:00Z",
            cache=None,
        ) as store,
    ):
        found = store.lookup(KEYS, ["numbers:*"])
        assert found.values["f0"].to_list() == [key / 8 for key in range(COUNT)]
        assert len(MIXED) == found.values.width
        ours = side_by_side(
            {"featkit": lambda: store.lookup(KEYS, ["numbers:*"])}, rounds=5, warm_up=1
        )["featkit"]
    return [
        Claim(
            text="DynamoDB, 100,000 keys x 10 mixed features: client CPU",
            measured=median(ours.cpu) / 1000,
            limit=2.0,
            unit="s",
            note=f"wall {median(ours.wall):,.0f} ms, at 5 ms a call of 100 keys",
        )
    ]
