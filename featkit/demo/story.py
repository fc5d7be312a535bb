"""What ``featkit demo`` tells: real flights, their features, and what the statuses mean."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import polars as pl

from featkit import terminal
from featkit.api import features
from featkit.columns import STATUS_SUFFIX, TIMESTAMP_SUFFIX, Status
from featkit.demo import flights
from featkit.durations import format_duration
from featkit.errors import ExpiredWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.table import Table

    from featkit.clients.client import FeatureStoreClient
    from featkit.schema import FeatureRef

SERVICE = "delay_model"

_KEYS = ("tailnum", "origin", "dest")
_SHOWN = ("wind_speed", "seats", "last_arr_delay", "mean_air_time_30d")  # each of another view
_ROWS = 2
_DELAY = ["tail_history:last_arr_delay"]


def tell(connect: Callable[[], FeatureStoreClient], console: Console) -> None:
    """Enrich the flights of 2013, and explain what is seen.

    Parameters
    ----------
    connect
        Opens the demo store, which is built the first time.
    console
        Where the story goes; it is written for 80 columns and 24 lines.
    """
    console.print("Enriching every flight that was to leave New York in 2013 ...", style="bold")
    store = connect()
    spine = flights("polars")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpiredWarning)  # told below, in other words
        enriched = features(spine).enrich(SERVICE, store=store, timestamps=True, statuses=True)
    added = (enriched.width - spine.width) // 3
    console.print(f"flights.features.enrich({SERVICE!r}) brings {added} columns, 4 of them here:")
    console.print(_head(enriched))
    console.print(f"\n{store.last_summary}\n")
    meaning = terminal.table()
    for name, words in _meaning(enriched, store):
        meaning.add_row(name, words)
    if too_old := store.staleness().failures():
        most = max(too_old, key=lambda view: view.ages.beyond_error)
        meaning.add_row("staleness", f"{most.view}: {most.reason.partition(';')[0]}")
    meaning.add_row("training", _training(spine, store))
    console.print(meaning)
    console.print(f"Next: {_program()} views --store demo:flights, and README.md for Python.")


def _training(spine: pl.DataFrame, store: FeatureStoreClient) -> str:
    """Join the past rightly, and once as it must not be; the audit finds it."""
    accessor = features(spine)
    right = store.get_historical_features(spine, _DELAY, at="departs_at").report.views[0]
    leaky = accessor.training_set(_DELAY, at="arrived_at", store=store)
    found = features(leaky).audit(_DELAY, at="departs_at", store=store).findings[0]
    return f"{right.hit:,} hits at departure; at arrival audit() finds a leak: {found.share:.0%}"


def _program() -> str:
    """Name the command so that it can be typed: by its path where it is not on the PATH."""
    called = Path(sys.argv[0])
    here = called.name == "featkit" and which("featkit") is None
    return str(called) if here else "featkit"


def _head(enriched: pl.DataFrame) -> Table:
    table = terminal.table(*_KEYS, *_SHOWN, numbers=_SHOWN)
    for row in enriched.select(*_KEYS, *_SHOWN).head(_ROWS).iter_rows():
        table.add_row(*(f"{it:.1f}" if isinstance(it, float) else terminal.text(it) for it in row))
    return table


def _meaning(enriched: pl.DataFrame, store: FeatureStoreClient) -> Iterator[tuple[str, str]]:
    """Say what was found besides fresh values, each by the feature that has most of it."""
    (service,) = (each for each in store.list_feature_services() if each.name == SERVICE)
    for status, words in _WORDS.items():
        hits = {ref: enriched[ref.feature + STATUS_SUFFIX] == status for ref in service.features}
        counts = {ref: hit.sum() for ref, hit in hits.items()}
        most = max(counts, key=counts.__getitem__)
        if counts[most]:
            yield status, words(store, most, enriched.filter(hits[most]))
    if missing := enriched["tailnum"].null_count():
        yield "null key", f"{missing:,} flights have no tailnum; nothing was asked for them"


def _expired(store: FeatureStoreClient, ref: FeatureRef, rows: pl.DataFrame) -> str:
    now = store.run(store.operations.now())
    age = rows.select(pl.lit(now) - pl.col(ref.feature + TIMESTAMP_SUFFIX).max()).item()
    ttl = terminal.ttl(store.get_feature_metadata(ref.view))
    return (
        f"past its ttl, yet kept: {ref.view} is {format_duration(age)} old, its ttl is {ttl},\n"
        f"since the store's clock stands at {now:%Y-%m-%d %H:%M} UTC"
    )


def _not_found(store: FeatureStoreClient, ref: FeatureRef, rows: pl.DataFrame) -> str:
    keys = rows.n_unique(store.get_feature_metadata(ref.view).join_keys)
    return f"the store does not know the key: {keys:,} keys are not in {ref.view}"


def _null(_: FeatureStoreClient, ref: FeatureRef, rows: pl.DataFrame) -> str:
    return f"the key is in {ref.view}, its {ref.feature} is not: {rows.height:,} flights"


_WORDS = {Status.EXPIRED: _expired, Status.NOT_FOUND: _not_found, Status.NULL: _null}
