"""A store for tests that listens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from featkit.errors import FeatkitError, SettingsError
from featkit.stores.base import Described, OnlineRead, Store, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from featkit.calls import Call, Flow
    from featkit.columns import FeatureColumns
    from featkit.flows import Task
    from featkit.history import HistoryRead, HistoryRows, JoinRead
    from featkit.populations import Arrivals, EntityList, Population, PopulationRead, Sync
    from featkit.schema import Entity, FeatureService, FeatureView


class RecordingStore(Store):
    """A store in front of another that remembers what was asked.

    Parameters
    ----------
    store
        Who answers.
    batch_size
        How many entities one call may ask for, where that is less than the store allows.

    Attributes
    ----------
    reads : list of OnlineRead
        What was asked, in order.

    Examples
    --------
    >>> import featkit
    >>> import polars as pl
    >>> from featkit.testing.memory import MemoryStore, described
    >>> shops = pl.DataFrame({"shop": [1, 2], "rating": [4.5, 3.9]})
    >>> store = RecordingStore(MemoryStore([described(shops, name="shops", join_keys="shop")]))
    >>> featkit.connect(store).get_online_features_batch("shops", [2, None, 2])
    [{'rating': 3.9}, {'rating': None}, {'rating': 3.9}]
    >>> [read.keys.to_dicts() for read in store.reads]
    [[{'shop': 2}]]
    """

    scheme = "recording"

    def __init__(self, store: Store, *, batch_size: int | None = None) -> None:
        self.reads: list[OnlineRead] = []
        self._store = store
        self._most = batch_size
        limits = [size for size in (batch_size, store.capabilities.batch_size) if size is not None]
        self.capabilities = replace(store.capabilities, batch_size=min(limits, default=None))
        self.auth, self.ca = store.auth, store.ca

    @classmethod
    def open(cls, target: Target, options: Any, *, timezone: str | None) -> NoReturn:  # noqa: ANN401, ARG003 - of the base class
        """Refuse: a target names the store behind it."""
        msg = f"{target} names nothing; pass the store itself: featkit.connect(RecordingStore(...))"
        raise SettingsError(msg)

    def clock(self) -> Flow[datetime | None]:
        """Ask the store."""
        return self._store.clock()

    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """Ask the store."""
        return self._store.list_feature_views()

    def feature_view(self, name: str) -> Flow[FeatureView]:
        """Ask the store."""
        return self._store.feature_view(name)

    def feature_views(self, names: Sequence[str]) -> Flow[list[FeatureView]]:
        """Ask the store."""
        return self._store.feature_views(names)

    def describe(self, names: Sequence[str] | None = None) -> Flow[Described]:
        """Ask the store."""
        return self._store.describe(names)

    def list_entities(self) -> Flow[list[Entity]]:
        """Ask the store."""
        return self._store.list_entities()

    def list_feature_services(self) -> Flow[list[FeatureService]]:
        """Ask the store."""
        return self._store.list_feature_services()

    def batch_size(self, view: FeatureView) -> int | None:
        """Ask the store, and take the smaller size."""
        sizes = [size for size in (self._most, self._store.batch_size(view)) if size is not None]
        return min(sizes, default=None)

    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Remember the question, and ask the store."""
        self.reads.append(read)
        return self._store.read_online(read)

    def why_not_offline(self, view: FeatureView) -> str:
        """Ask the store."""
        return self._store.why_not_offline(view)

    def read_history(self, read: HistoryRead) -> Call[HistoryRows]:
        """Ask the store."""
        return self._store.read_history(read)

    def join_history(self, reads: Sequence[JoinRead]) -> Flow[list[pl.DataFrame]]:
        """Ask the store."""
        return self._store.join_history(reads)

    def refuse_history(self, method: str) -> Flow[NoReturn]:
        """Ask the store."""
        return self._store.refuse_history(method)

    def read_together(self, reads: Sequence[OnlineRead]) -> Sequence[Call[Any]]:
        """Remember the questions, and ask the store."""
        self.reads += reads
        return self._store.read_together(reads)

    def perform(self, reads: Sequence[OnlineRead], calls: Sequence[Call[Any]]) -> Flow[list[Any]]:
        """Ask the store."""
        return self._store.perform(reads, calls)

    def sample_entities(self, view: FeatureView, count: int, now: datetime) -> Flow[pl.DataFrame]:
        """Ask the store."""
        return self._store.sample_entities(view, count, now)

    def name_entities(self, read: PopulationRead) -> Flow[EntityList]:
        """Ask the store."""
        return self._store.name_entities(read)

    def read_population(self, read: PopulationRead) -> Call[Population] | None:
        """Ask the store."""
        return self._store.read_population(read)

    def read_arrivals(self, view: FeatureView, now: datetime) -> Task[Arrivals] | None:
        """Ask the store."""
        return self._store.read_arrivals(view, now)

    def read_offline_times(self, read: OnlineRead) -> Flow[pl.Series]:
        """Ask the store."""
        return self._store.read_offline_times(read)

    def read_syncs(self, views: Sequence[FeatureView]) -> Flow[Mapping[str, Sync | FeatkitError]]:
        """Ask the store."""
        return self._store.read_syncs(views)

    def checks(self) -> dict[str, Flow[str]]:
        """Ask the store."""
        return self._store.checks()

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def __repr__(self) -> str:
        return f"<RecordingStore of {self._store!r}>"
