"""Whether the online and the offline store tell the same of the same entities."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit import aligned, figures, frames
from featkit.audits.checks import equal
from featkit.calls import Call, LocalRead
from featkit.clients.operations import EnrichOptions
from featkit.dtypes import TIMESTAMP
from featkit.errors import InputError, NotSupportedError
from featkit.history import rules
from featkit.html import element, joined, table
from featkit.references import select
from featkit.report import Report
from featkit.training.joined import join_by_store
from featkit.training.options import TrainingOptions
from featkit.training.rows import join_rows, plan_rows
from featkit.training.spine import SpineColumns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from matplotlib.axes import Axes

    from featkit.calls import Flow
    from featkit.clients.operations import Operations
    from featkit.html import Markup
    from featkit.references import Selection, ViewSelection
    from featkit.training.spine import Joined
    from featkit.types import Features, Keys

_WORST = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureParity:
    """One feature, online against offline.

    Attributes
    ----------
    feature
        The reference ``view:feature``.
    entities
        How many were compared.
    same, differs
        Entities whose values agree, and whose values are two different ones.
    only_offline, only_online
        Entities with a value in one of the stores alone.
    examples
        Entities that do not agree, with both values.
    """

    feature: str
    entities: int
    same: int
    differs: int
    only_offline: int
    only_online: int
    examples: pl.DataFrame


@dataclass(frozen=True, eq=False, kw_only=True)
class ParityReport(Report):
    """Whether online and offline values agree.

    Attributes
    ----------
    features
        One comparison per feature, in the order asked for.
    now
        The moment at which both were asked, aware (UTC).
    """

    _title = "Parity"

    features: tuple[FeatureParity, ...]
    now: datetime

    @property
    def ok(self) -> bool:
        """Whether there was something to compare, and all values of all entities agree."""
        return self._compared and all(each.same == each.entities for each in self.features)

    @property
    def _compared(self) -> bool:
        return any(each.entities for each in self.features)

    def to_polars(self) -> pl.DataFrame:
        """Return one row per feature, with its counts."""
        names = ("feature", "entities", "same", "differs", "only_offline", "only_online")
        schema = {name: pl.String if name == "feature" else pl.Int64 for name in names}
        rows = [[getattr(each, name) for name in names] for each in self.features]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw for each feature the shares that agree, differ, or are in one store alone.

        Parameters
        ----------
        ax
            Where to draw; None: a new figure.
        """
        shown = self.features[::-1]
        drawn = figures.axes(ax, height=1.6 + 0.35 * len(shown))
        names = [figures.label(each.feature) for each in shown]
        begin = np.zeros(len(shown))
        kinds = ("same", "differs", "only_offline", "only_online")
        for kind, ink in zip(kinds, figures.INKS, strict=True):
            share = np.array([getattr(each, kind) / max(each.entities, 1) for each in shown])
            drawn.barh(names, share, left=begin, color=ink, label=kind.replace("_", " "))
            begin += share
        drawn.set_xlabel("share of entities")
        drawn.set_xlim(0, 1)
        drawn.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(kinds))
        return drawn

    def _table(self) -> list[list[str]]:
        header = ["feature", "entities", "same", "differs", "only offline", "only online"]
        counts = [
            (each.entities, each.same, each.differs, each.only_offline, each.only_online)
            for each in self.features
        ]
        rows = [
            [each.feature, *(f"{count:,}" for count in own)]
            for each, own in zip(self.features, counts, strict=True)
        ]
        return [header, *rows]

    def _headline(self) -> str:
        agree = "all values agree" if self.ok else "values do not agree"
        if not self._compared:
            agree = "there was nothing to compare"
        return f"online against offline at {self.now:%Y-%m-%d %H:%M} UTC: {agree}"

    def _content(self) -> dict[str, object]:
        return {"now": self.now, "ok": self.ok, "features": self.features}

    def _body(self) -> Markup:
        header, *rows = self._table()
        examples = [
            element(
                "details",
                element("summary", f"{each.feature}: entities that do not agree"),
                table(each.examples.columns, [list(map(str, row)) for row in each.examples.rows()]),
            )
            for each in self.features
            if each.examples.height
        ]
        shown = table(header, rows, caption=self._headline(), numbers=header[1:])
        return joined([shown, *examples])

    def __str__(self) -> str:
        header, *lines = self._table()
        return "\n".join([self._headline(), *aligned.table(header, lines, numbers=header[1:])])

    __repr__ = __str__


def parity(
    operations: Operations,
    features: Features,
    entities: Keys | None,
    *,
    sample: int,
    tolerance: float,
) -> Flow[ParityReport]:
    """Compare the two stores; see `featkit.FeatureStoreClient.parity`."""
    store = operations.store
    asked: object = sample
    if not isinstance(asked, int) or asked < 0:
        msg = f"sample={sample!r} is no number of entities; write how many"
        raise InputError(msg)
    if store.capabilities.history == "none":
        yield from store.refuse_history("parity")
    now = yield from operations.now()
    selection = yield from select(store, features, prefix="{view}:")
    found: list[FeatureParity] = []
    for part in selection.views:
        if not (part.view.online and part.view.offline):
            where = "online" if part.view.offline else "offline"
            msg = f"feature view {part.view.name!r} is not {where}, so there is nothing to compare"
            raise NotSupportedError(msg)
        keys = yield from _entities(operations, part, entities, sample, now)
        found += yield from _compared(operations, selection, part, keys, now, tolerance)
    return ParityReport(features=tuple(found), now=now)


def _entities(
    operations: Operations,
    part: ViewSelection,
    entities: Keys | None,
    sample: int,
    now: datetime,
) -> Flow[pl.DataFrame]:
    if entities is None:
        return (yield from operations.store.sample_entities(part.view, sample, now))
    frame = frames.of_keys(entities, part.view.join_keys)
    read = partial(frame.key_columns, {key: key for key in part.view.join_keys})
    keys: pl.DataFrame = yield Call(LocalRead(read, "the entities"))
    return keys.unique(maintain_order=True)


def _compared(  # noqa: PLR0917 - one step of the flow above
    operations: Operations,
    selection: Selection,
    part: ViewSelection,
    keys: pl.DataFrame,
    now: datetime,
    tolerance: float,
) -> Flow[list[FeatureParity]]:
    one = type(selection)((part,), tuple(part.names.values()))
    frame = frames.of_keys(keys, part.view.join_keys)
    looked_up = yield from operations.look(one, keys, EnrichOptions(), frame, now=now)
    online = looked_up.columns().values
    offline = yield from _offline(operations, one, part, keys, now)
    found = []
    for feature in part.features:
        left, right = online[part.names[feature.name]], offline[feature.name]
        same = equal(left, right, tolerance)
        here, there = left.is_not_null().to_numpy(), right.is_not_null().to_numpy()
        apart = pl.Series(~same)
        shown = keys.with_columns(left.alias("online"), right.alias("offline")).filter(apart)
        found.append(
            FeatureParity(
                feature=f"{part.view.name}:{feature.name}",
                entities=keys.height,
                same=int(same.sum()),
                differs=int((~same & here & there).sum()),
                only_offline=int((~same & ~here & there).sum()),
                only_online=int((~same & here & ~there).sum()),
                examples=shown.head(_WORST),
            )
        )
    return found


def _offline(
    operations: Operations,
    one: Selection,
    part: ViewSelection,
    keys: pl.DataFrame,
    now: datetime,
) -> Flow[dict[str, pl.Series]]:
    """Join what was known at `now`, of any age, as servers serve it."""
    store = operations.store
    at = pl.repeat(now, keys.height, dtype=TIMESTAMP, eager=True)
    spine = SpineColumns(
        keys=keys, at=at, weights=None, row=lambda place: f"row {place}", zone=operations.timezone
    )
    options = TrainingOptions(at="at")
    joined_parts: Sequence[Joined]
    if store.capabilities.history == "joined":
        wanted = rules([part.view])
        joined_parts = yield from join_by_store(store, one, wanted, spine, options)
    else:
        wanted = rules([part.view], lookback={part.view.name: None}, known_by="created")
        planned = yield from plan_rows(store, one, wanted, spine, options)
        joined_parts = yield from join_rows(one, planned, spine)
    (made,) = joined_parts
    return made.by_row()
