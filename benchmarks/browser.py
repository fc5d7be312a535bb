"""The browser for feature views on 5,000 views with 100,000 features: shown, searched, held."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import polars as pl
from playwright.sync_api import sync_playwright

from benchmarks._measuring import Claim
from featkit.catalogue import Catalogue
from featkit.schema import Entity, Feature, FeatureView
from featkit.widgets.assets import pack
from featkit.widgets.content import columns_of
from tests.widgets.conftest import FLAGS
from tests.widgets.lab import jupyter, open_notebook, run_cell, write_notebook

if TYPE_CHECKING:
    from collections.abc import Iterator

VIEWS, EACH = 5_000, 20
DTYPES = [pl.Int64(), pl.Float64(), pl.String(), pl.Boolean()]
START = """
import featkit as fk
from featkit.testing import MemoryStore
from benchmarks.browser import held
store = fk.connect(MemoryStore(held()))
"""
KEYS = ["risk", "mean_7", "view_04242", "team=ads", "zzz"]
PAINTED = """async (text) => {
  const box = document.querySelector(".fk-bar > .fk-search");
  const frame = () => new Promise((go) => requestAnimationFrame(go));
  const started = performance.now();
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true }));
  await frame();
  await frame();
  return performance.now() - started;
}"""


def views() -> list[FeatureView]:
    """Describe views as stores have them, with descriptions, owners and tags."""
    teams = ["risk", "growth", "ads", "search", "ops"]
    return [
        FeatureView(
            name=f"{teams[v % 5]}_view_{v:05}",
            entities=(Entity("user_id", "user_id", pl.Int64()),),
            features=tuple(
                Feature(
                    f"mean_{f}_of_{teams[v % 5]}_{v}",
                    DTYPES[f % 4],
                    f"mean of what happened in the last {f + 1} days, minutes",
                )
                for f in range(EACH)
            ),
            timestamp="event_timestamp",
            source=f"warehouse.{teams[v % 5]}.daily_{v}",
            description=f"What is known of a user from table {v}, written every night",
            owner=f"{teams[v % 5]}-team-{v % 40}",
            tags={"team": teams[v % 5], "tier": str(v % 3)},
        )
        for v in range(VIEWS)
    ]


def held() -> list[tuple[FeatureView, pl.DataFrame]]:
    return [(view, pl.DataFrame()) for view in views()]


def in_jupyterlab() -> Iterator[dict[str, Any]]:
    """Show the browser in JupyterLab, some times over, and search in it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with jupyter(folder) as address, sync_playwright() as playwright:
            shows = ["store.browse()"] * 5
            write_notebook(folder / "root" / "look.ipynb", START, *shows)
            chromium = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=FLAGS
            )
            page = chromium.new_page(viewport={"width": 1400, "height": 1200})
            open_notebook(page, address, "look.ipynb")
            run_cell(page, 0)
            for cell in range(1, len(shows) + 1):
                page.evaluate("() => document.querySelectorAll('.fk').forEach((e) => e.remove())")
                started = time.perf_counter()
                page.evaluate(
                    """(place) => {
                      const app = window.jupyterapp;
                      app.shell.currentWidget.content.activeCellIndex = place;
                      app.commands.execute("notebook:run-cell");
                    }""",
                    cell,
                )
                page.wait_for_selector(".fk-view", timeout=60_000)
                shown = (time.perf_counter() - started) * 1000
                keys = [page.evaluate(PAINTED, text) for text in [*KEYS, ""]]
                rows = page.locator(".fk-row").count()
                yield {"shown": shown, "keys": keys, "rows": rows}
            chromium.close()


def measure() -> list[Claim]:
    catalogue = Catalogue(target="benchmark", views=tuple(views()), read_at=_now())
    state = pack(columns_of(catalogue))
    raw = len(json.dumps(columns_of(catalogue)))
    runs = list(in_jupyterlab())
    shown = [run["shown"] for run in runs]
    keys = [key for run in runs for key in run["keys"]]
    return [
        Claim(
            text="from running the cell to rows in JupyterLab",
            measured=median(shown),
            limit=1500,
            unit="ms",
            note=", ".join(f"{each:.0f}" for each in shown),
        ),
        Claim(
            text="from a key to painted, the slowest",
            measured=max(keys),
            limit=150,
            unit="ms",
            note=f"median {median(keys):.0f} ms",
        ),
        Claim(
            text="rows in the page",
            measured=max(run["rows"] for run in runs),
            limit=60,
            unit="rows",
        ),
        Claim(
            text="state of the widget",
            measured=len(state) * 4 / 3 / 1e6,  # as base64 in a notebook
            limit=6,
            unit="MB",
            note=f"{raw / 1e6:.1f} MB of JSON",
        ),
    ]


def _now() -> datetime:

    return datetime(2024, 5, 1, tzinfo=UTC)
