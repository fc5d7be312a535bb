"""A remote store whose every answer tells how often it had been asked by then."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from featkit.calls import Call, LocalRead
from featkit.capabilities import Capabilities
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.dtypes import TIMESTAMP
from featkit.errors import StoreUnavailable
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.base import Store

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

FEATURES = ("a", "b", "c")


def view(name: str = "v", *, key: pl.DataType | None = None, **options: Any) -> FeatureView:
    entities = (Entity("id", "id", key or pl.Int64()),)
    return FeatureView(
        name=name,
        entities=entities,
        features=tuple(Feature(each, pl.String()) for each in FEATURES),
        **options,
    )


@dataclass(eq=False)
class Remote(Store):
    """A store behind a server: what it answers tells how often it had been asked by then.

    The keys 9 and 97 are not known; of 17 the values are null.
    """

    views: list[FeatureView] = field(default_factory=lambda: [view()])
    cache_identity: str | None = field(default="remote", repr=False)
    reads: list[Any] = field(default_factory=list)
    down: bool = False
    gate: threading.Event | None = None
    answer: Callable[[Any], Any] | None = None
    batch: int | None = None
    turn: Any = field(default_factory=lambda: itertools.count(1))

    scheme = "remote"

    def __post_init__(self) -> None:
        self.capabilities = Capabilities(batch_size=self.batch)

    @classmethod
    def open(cls, target: Any, options: Any, *, timezone: str | None) -> Store:
        raise NotImplementedError

    def list_feature_views(self) -> Any:
        return list(self.views)
        yield

    def read_online(self, read: Any) -> Call[Any]:
        self.reads.append(read)
        turn = next(self.turn)
        return Call(
            LocalRead(lambda: self.answered(read, turn), f"view {read.view.name!r}"),
            keys=read.keys.height,
        )

    def answered(self, read: Any, turn: int) -> Any:
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.down:
            raise StoreUnavailable("it is down")
        if self.answer is not None:
            return self.answer(read)
        keys = read.keys.to_series().cast(pl.String)
        null, missing = keys == "17", keys.is_in(["9", "97"])
        names = [feature.name for feature in read.features]
        values = pl.DataFrame(
            [
                pl.select(pl.lit(name) + keys + f"@{turn}")
                .to_series()
                .alias(name)
                .set(null | missing, None)
                for name in names
            ]
        )
        statuses = pl.repeat(Status.PRESENT, len(keys), dtype=STATUS, eager=True)
        statuses = statuses.set(missing, Status.NOT_FOUND)
        times = {}
        if read.view.timestamp:
            stamps = pl.repeat(read.now, len(keys), dtype=TIMESTAMP, eager=True)
            times = dict.fromkeys(names, stamps.set(missing, None))
        return FeatureColumns(values, dict.fromkeys(names, statuses), times)

    def asked(self) -> list[tuple[list[Any], list[str]]]:
        """Tell what was asked since the last time: keys and features."""
        reads, self.reads = self.reads, []
        return [
            (read.keys.to_series().to_list(), [feature.name for feature in read.features])
            for read in reads
        ]
