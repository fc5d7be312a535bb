"""Feast's online stores, read without Feast's server: what those of all kinds share.

Feast declares the layout of its online stores public, so that other software may read them. A
store of one kind says how its rows are asked for, and hands what came to `answer`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit.columns import STATUS, FeatureColumns, Status
from featkit.errors import FeatkitError, NotSupportedError, SettingsError, StoreError
from featkit.stores.feast import FeastStore
from featkit.stores.feast.over_http import HttpServer
from featkit.stores.feast.types import type_of
from featkit.stores.feast.values import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.calls import Call, Flow
    from featkit.codecs.binary_columns import BinaryColumn
    from featkit.schema import FeatureService, FeatureView
    from featkit.stores.base import OnlineRead

_COMPARED = 100  # keys that are read both ways
OLDER_KEYS = (
    "its keys are of an older layout; set entity_key_serialization_version: 3 in "
    "feature_store.yaml and materialize again"
)
"""What speaks for no entity being known."""


class DirectStore(FeastStore):
    """An online store of Feast's, with Feast's registry.

    Parameters
    ----------
    options
        Those of `FeastStore`.
    """

    def __init__(self, options: FeastStore.Options) -> None:
        super().__init__(HttpServer((options.server_url or "").rstrip("/")), options)
        if options.verify and not options.server_url:
            msg = "verify=True compares with a feature server; name it with server_url="
            raise SettingsError(msg)
        self._verify = options.verify
        self._versioned = options.versioned
        self._verified: set[str] = set()
        self._is_right = False

    @abstractmethod
    def ask(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask for rows of a view."""

    @abstractmethod
    def why_nothing(self, reads: Sequence[OnlineRead]) -> Flow[str | None]:
        """Tell what speaks for no entity being known at all; None: nothing does."""

    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask the online store itself."""
        self.check(read.view)
        return self.ask(read)

    def check(self, view: FeatureView) -> None:
        """Refuse a view that no online store holds."""
        if view.computed_from or any(each.request_data for each in view.entities):
            msg = (
                f"feature view {view.name!r} is computed on demand, which Feast's feature server "
                "does and its online store does not; look it up with "
                "featkit.connect('feast+http://HOST:6566', ...)"
            )
            raise NotSupportedError(msg)

    def stored_name(self, view: FeatureView) -> str:
        """Return what the online store calls a view."""
        versioned = self._versioned and view.version > 0
        return f"{view.name}_v{view.version}" if versioned else view.name

    def list_feature_services(self) -> Flow[list[FeatureService]]:
        """List the feature services; those that need views computed on demand cannot be read."""
        services: list[FeatureService] = yield from super().list_feature_services()
        views = yield from self.list_feature_views()
        on_demand = {view.name for view in views if view.computed_from}
        return [_readable(service, on_demand) for service in services]

    def perform(self, reads: Sequence[OnlineRead], calls: Sequence[Call[Any]]) -> Flow[list[Any]]:
        """Read; before the first reads see that this is the right place, as `verify` says."""
        if self._verify:
            yield from self._compare(reads)
        if not self._is_right:
            yield from self._look_around(reads)
            self._is_right = True
        answers: list[Any] = yield from super().perform(reads, calls)
        return answers

    def _look_around(self, reads: Sequence[OnlineRead]) -> Flow[None]:
        """Refuse to read where nothing is what it should be, and none of the entities is known.

        Before the calls themselves, so that no cache remembers that the entities were unknown.
        """
        reason = yield from self.why_nothing(reads)
        if reason is None:
            return
        answers = yield [self.read_online(read) for read in reads]
        for one in answers:
            if isinstance(one, FeatkitError):
                raise one
        if not any(map(holds_any, answers)):
            named = ", ".join(repr(name) for name in {read.view.name: None for read in reads})
            msg = f"no entity of {named} was found in {self}: {reason}"
            raise StoreError(msg)

    def _compare(self, reads: Sequence[OnlineRead]) -> Flow[None]:
        """Read some entities both ways, once for each view; refuse to go on if they differ."""
        for name in {read.view.name for read in reads} - self._verified:
            read = next(read for read in reads if read.view.name == name)
            some = replace(read, keys=read.keys.head(_COMPARED))
            own, served = yield [self.read_online(some), FeastStore.read_online(self, some)]
            for answer in (own, served):
                if isinstance(answer, FeatkitError):
                    raise answer
            if difference := _difference(own, served, some):
                msg = (
                    f"verify: {self} and the feature server {self._server} disagree on feature "
                    f"view {name!r}: {difference}; check project=, that the repository has "
                    "entity_key_serialization_version 3, and versioned="
                )
                raise StoreError(msg)
            if holds_any(own):
                self._verified.add(name)


_PRESENT, _NOT_FOUND = (
    pl.Series([status], dtype=STATUS) for status in (Status.PRESENT, Status.NOT_FOUND)
)


def answer(read: OnlineRead, values: Sequence[BinaryColumn], times: pl.Series) -> FeatureColumns:
    """Make the answer of what an online store holds.

    Parameters
    ----------
    read
        What was asked.
    values
        A column of `Value` messages for each feature, a row for each key.
    times
        The event timestamps, null where the store does not know the entity.
    """
    known = times.is_not_null()
    everywhere = known.all()
    shared = _PRESENT.new_from_index(0, len(known))
    if not everywhere:
        shared = shared.zip_with(known, _NOT_FOUND)
    columns, statuses = [], {}
    for feature, column in zip(read.features, values, strict=True):
        decoded = decode(column, type_of(feature), feature.name)
        columns.append(decoded)
        statuses[feature.name] = shared
        if not everywhere and (untimed := decoded.is_not_null() & ~known).any():
            statuses[feature.name] = shared.set(untimed, Status.PRESENT)
    timed = [feature.name for feature in read.features] if read.view.timestamp else []
    return FeatureColumns(pl.DataFrame(columns), statuses, dict.fromkeys(timed, times))


def holds_any(columns: FeatureColumns) -> bool:
    """Tell whether any entity of an answer is known."""
    return any((statuses != Status.NOT_FOUND).any() for statuses in columns.statuses.values())


def _difference(own: FeatureColumns, served: FeatureColumns, read: OnlineRead) -> str | None:
    """Say how two answers differ, if they do."""
    for feature in read.features:
        name = feature.name
        here, there = (each.statuses[name] != Status.NOT_FOUND for each in (own, served))
        pairs = [("whether it is there", here, there)]
        if type_of(feature).wire is not None:  # the order of a map is not defined
            pairs.append(("the value", own.values[name], served.values[name]))
        if name in own.timestamps and name in served.timestamps:
            pairs.append(("the event timestamp", own.timestamps[name], served.timestamps[name]))
        for what, one, other in pairs:
            differs = one.ne_missing(other).to_numpy()
            if differs.any():
                row = int(np.argmax(differs))
                key = read.keys.row(row)
                return f"{what} of {name!r} at key {key!r} is {one[row]!r} and {other[row]!r}"
    return None


def _readable(service: FeatureService, on_demand: set[str]) -> FeatureService:
    computed = sorted({ref.view for ref in service.features} & on_demand)
    if service.unsupported or not computed:
        return service
    reason = (
        f"it needs {', '.join(map(repr, computed))}, which a feature server computes on demand; "
        "connect to one, or ask for the other features by name"
    )
    return replace(service, unsupported=reason)
