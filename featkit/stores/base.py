"""What every store offers, and how a target finds its store."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeAlias, TypeVar

import msgspec

from featkit import stores
from featkit.capabilities import ABILITIES, Capabilities
from featkit.engines.newest import newest_times
from featkit.errors import (
    FeatkitError,
    NotSupportedError,
    SettingsError,
    UnknownNameError,
    nearest,
)
from featkit.flows import made_once
from featkit.options import read_options
from featkit.populations import PopulationRead
from featkit.readable import readable
from featkit.told import ToldViews

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from featkit.calls import Auth, Call, Flow
    from featkit.columns import FeatureColumns
    from featkit.flows import Task
    from featkit.history import HistoryRead, HistoryRows, JoinRead
    from featkit.populations import Arrivals, EntityList, Population, Sync
    from featkit.schema import Entity, Feature, FeatureService, FeatureView

Described: TypeAlias = "tuple[list[FeatureView], dict[str, FeatkitError]]"
"""Views, and by name what is wrong with those that cannot be described."""

ENTRY_POINTS = "featkit.stores"
"""The entry-point group in which other distributions announce their stores."""


@dataclass(frozen=True, slots=True)
class OnlineRead:
    """One question to a store: these features of these entities, as they are now.

    Attributes
    ----------
    view
        The feature view.
    features
        Which of its features, at least one.
    keys
        One row per entity, distinct and without nulls; one column per join key, in the entities'
        dtypes.
    now
        The moment that counts as now, aware (UTC).
    """

    view: FeatureView
    features: tuple[Feature, ...]
    keys: pl.DataFrame
    now: datetime


@dataclass(frozen=True, slots=True)
class Target:
    """Where a store is: ``SCHEME:REST`` as the user writes it.

    Examples
    --------
    >>> Target.parse("parquet:features/prod")
    Target(scheme='parquet', rest='features/prod')
    """

    scheme: str
    rest: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a target; raise `SettingsError` where it has no scheme."""
        scheme, _, rest = text.partition(":")
        if not (scheme[1:] and rest):  # one letter is a drive of Windows
            path = text if len(scheme) == 1 or (text and Path(text).is_dir()) else "PATH"
            msg = f"{text!r} is no target; write SCHEME:PLACE, such as 'parquet:{path}'"
            raise SettingsError(f"{msg} or 'demo:flights'")
        return cls(scheme, rest)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


class Store(ABC):
    """A feature store: what it holds, and the calls that read it. It does no I/O itself.

    A store is one file, or one folder, with one subclass, and is found by its `scheme`. Methods
    that read are flows (see `featkit.calls`), except `read_online`, which is one call.
    """

    scheme: ClassVar[str]
    """First part of the targets of this store."""

    capabilities: Capabilities = Capabilities()
    """What it can do; an instance may have its own."""

    cache_identity: str | None = None
    """What tells its rows from others' in shared caches (hashed); None: all that it was given."""

    auth: Auth | None = None
    """What adds credentials to the requests of this store."""

    ca: str | None = None
    """File of certificates to trust instead of the usual ones."""

    places: ClassVar[tuple[str, ...]] = ()
    """What tells in the store's table of the settings where it is."""

    chosen_by: ClassVar[str] = ""
    """The option that names what is read, where the store does not list it."""

    told: ToldViews[Any] = ToldViews("", {}, None)
    """What the option ``views`` tells of its views, where it takes that."""

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """The options of `featkit.connect` that only this store takes."""

    @classmethod
    @abstractmethod
    def open(cls, target: Target, options: Any, *, timezone: str | None) -> Store:  # noqa: ANN401 - an instance of cls.Options
        """Make the store of a target.

        Parameters
        ----------
        target
            Where it is.
        options
            An instance of `Options`.
        timezone
            What naive timestamps in the store mean; None: they are refused.
        """

    @classmethod
    def target_of(cls, table: dict[str, Any]) -> str | None:  # noqa: ARG003 - for the subclasses
        """Make the target that the store's table of the settings describes.

        What says where the store is is taken out of the table; the rest are options.
        """
        return None

    def clock(self) -> Flow[datetime | None]:
        """Tell the moment at which the data set is frozen; None: it goes with the time."""
        return None
        yield  # a flow that yields nothing

    def batch_size(self, view: FeatureView) -> int | None:  # noqa: ARG002 - for the subclasses
        """Tell how many entities of a view one call may ask for; None: any number."""
        return self.capabilities.batch_size

    @abstractmethod
    def list_feature_views(self) -> Flow[list[FeatureView]]:
        """List all views."""

    @abstractmethod
    def read_online(self, read: OnlineRead) -> Call[FeatureColumns]:
        """Ask for the latest values.

        The call's result has one row per row of ``read.keys``, in that order, and exactly
        ``read.features``; statuses as the store tells them (whether a value has expired is judged
        by the caller), event timestamps where it gives them.
        """

    def read_together(self, reads: Sequence[OnlineRead]) -> Sequence[Call[Any]]:
        """Ask several questions, view by view; the calls are made at the same time.

        A store whose replies are small may decode them together: see `featkit.online.gathering`.
        """
        return [self.read_online(read) for read in reads]

    def perform(
        self,
        reads: Sequence[OnlineRead],  # noqa: ARG002 - for the subclasses
        calls: Sequence[Call[Any]],
    ) -> Flow[list[Any]]:
        """Make the calls of several reads, at once.

        Parameters
        ----------
        reads
            The questions.
        calls
            The call of each, as `read_together` made it; what decodes its reply may do more.

        Returns
        -------
        list
            What each call returns, or the `FeatkitError` with which it failed.
        """
        return (yield from made_once(calls))

    def why_not_offline(self, view: FeatureView) -> str:  # noqa: ARG002 - for the subclasses
        """Say why a view has no history that can be read."""
        return "its store serves it online only"

    def read_history(self, read: HistoryRead) -> Call[HistoryRows]:  # noqa: ARG002 - for the subclasses
        """Describe all rows of a view, for featkit to join; where the history is ``"rows"``."""
        not_supported(self, "get_historical_features")

    def join_history(self, reads: Sequence[JoinRead]) -> Flow[list[pl.DataFrame]]:  # noqa: ARG002
        """Join the history of views to spines; where the history is ``"joined"``.

        One frame for each question, in order: the column `featkit.history.ROW`, the features by
        their own names, and, where the store tells them, `featkit.history.EVENT`. Rows that the
        store leaves out are put back by the caller, and reported; a row must not be there twice.
        Values of other dtypes than the view's are cast.
        """
        not_supported(self, "get_historical_features")
        yield  # a flow that yields nothing

    def refuse_history(self, method: str) -> Flow[NoReturn]:
        """Raise `NotSupportedError` where the history is ``"none"``, with what may be done.

        Parameters
        ----------
        method
            What was asked for.
        """
        not_supported(self, method)
        yield  # a flow that yields nothing

    def feature_view(self, name: str) -> Flow[FeatureView]:
        """Describe one view; raise `UnknownNameError` where there is none of that name."""
        views = yield from self.list_feature_views()
        return find(views, name, "feature view")

    def feature_views(self, names: Sequence[str]) -> Flow[list[FeatureView]]:
        """Describe these views, in this order; raise `UnknownNameError` where there is no such."""
        views = []
        for name in names:
            views.append((yield from self.feature_view(name)))  # noqa: PERF401 - not in a comprehension
        return views

    def describe(self, names: Sequence[str] | None = None) -> Flow[Described]:
        """Describe these views, or all; those that fail alone are told by name.

        Here all come from one place, which answers or fails as a whole.
        """
        every = self.list_feature_views() if names is None else self.feature_views(names)
        return (yield from every), {}

    def list_entities(self) -> Flow[list[Entity]]:
        """List all entities: here those of the views, each join key once."""
        views = yield from readable(self)
        found = {entity.join_key: entity for view in views for entity in view.entities}
        return [found[key] for key in sorted(found)]

    def sample_entities(
        self,
        view: FeatureView,
        count: int,
        now: datetime,
    ) -> Flow[pl.DataFrame]:
        """Name some entities of a view, for who has none at hand but wants to see values.

        Parameters
        ----------
        view
            The view.
        count
            How many at most; where there are more, they are spread over all of them.
        now
            The moment that counts as now, aware (UTC): entities unknown by then are left out.

        Returns
        -------
        polars.DataFrame
            One row per entity, distinct and without nulls; one column per join key, in the
            entities' dtypes. The same ones each time, as long as the view does not change.

        Raises
        ------
        NotSupportedError
            The store answers for the entities that it is asked about, and names none.
        """
        named = yield from self.name_entities(PopulationRead(view, view.features, now, count))
        return named.keys

    def name_entities(self, read: PopulationRead) -> Flow[EntityList]:  # noqa: ARG002 - for the subclasses
        """Name the entities of a view, as its source has them; values are looked up afterwards.

        For stores that hold values where they can be looked up only, with a source beside that
        knows whose they are. As many as ``read.sample`` wants, the same ones each time.

        Raises
        ------
        NotSupportedError
            The store answers for the entities that it is asked about, and names none.
        """
        lack = self.capabilities.lack("sample_entities")
        msg = f"the store {self.scheme!r} cannot list entities: {lack}; pass some: entities=[...]"
        raise NotSupportedError(msg)
        yield  # a flow that yields nothing

    def list_feature_services(self) -> Flow[list[FeatureService]]:
        """List all feature services; a store without such a thing has none."""
        return []
        yield  # a flow that yields nothing

    def read_population(self, read: PopulationRead) -> Call[Population] | None:  # noqa: ARG002 - for the subclasses
        """Ask for the latest rows of a view's entities, all at once.

        None: the store has no such way; the entities that it names are looked up, if it names any.
        """
        return None

    def read_arrivals(self, view: FeatureView, now: datetime) -> Task[Arrivals] | None:  # noqa: ARG002 - for the subclasses
        """Ask when the rows of a view came, up to `now`; None: the store has no history of it."""
        return None

    def read_offline_times(self, read: OnlineRead) -> Flow[pl.Series]:
        """Find the newest event timestamps in the offline store.

        As the history tells them, unless the store has a shorter way; `NotSupportedError` says why
        there is none. The result is a series (UTC, microseconds) with one time per row of
        ``read.keys``, null where no row was known at ``read.now``.
        """
        return (yield from newest_times(self, read))

    def read_syncs(self, views: Sequence[FeatureView]) -> Flow[Mapping[str, Sync | FeatkitError]]:  # noqa: ARG002 - for the subclasses
        """Tell when what is served of views was brought up to date, by the names of the views.

        A view of which nothing is known is left out; where asking fails, the error stands.
        """
        return {}
        yield  # a flow that yields nothing

    def checks(self) -> dict[str, Flow[str]]:
        """Name what shows that the store can be used, with flows that say what they found."""
        return {"feature views": self._count_views()}

    def _count_views(self) -> Flow[str]:
        views = yield from self.list_feature_views()
        return f"{len(views)} feature views"

    def close(self) -> None:  # noqa: B027 - most stores hold nothing
        """Let go of what the store holds."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """The name."""


NamedT = TypeVar("NamedT", bound=Named)


def find(items: Sequence[NamedT], name: str, kind: str) -> NamedT:
    """Return the item of that name; raise `UnknownNameError` with the nearest names."""
    for item in items:
        if item.name == name:
            return item
    msg = f"there is no {kind} {name!r}; {nearest(name, [item.name for item in items])}"
    raise UnknownNameError(msg)


def not_supported(store: Store, method: str, more: str = "") -> NoReturn:
    """Raise `NotSupportedError` with the store's own reason, and more that it knows."""
    ability = method if method in ABILITIES else "get_historical_features"
    lack = store.capabilities.lack(ability)
    msg = f"the store {store.scheme!r} does not support {method}(): {lack}{more}"
    raise NotSupportedError(msg)


def open_store(target: str, options: Mapping[str, object], *, timezone: str | None = None) -> Store:
    """Find the store of a target and open it.

    Parameters
    ----------
    target
        As the user wrote it.
    options
        The store's own options.
    timezone
        What naive timestamps in the store mean; None: they are refused.

    Raises
    ------
    SettingsError
        No store has that scheme, or an option is unknown or wrong.
    """
    place = Target.parse(target)
    store = store_class(place.scheme)
    read = read_options(options, store.Options, store.scheme)
    return store.open(place, read, timezone=timezone)


def store_class(scheme: str) -> type[Store]:
    """Find a store by its scheme: among featkit's own modules, then among the entry points.

    A scheme with a transport, ``feast+http``, is the store before the plus.
    """
    name = scheme.partition("+")[0]
    if name in _own_schemes():
        module = importlib.import_module(f"{stores.__name__}.{name}")
        kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
        for kind in kinds:
            if issubclass(kind, Store) and vars(kind).get("scheme") == name:
                return kind
    others = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in others:
        where = f"the entry point {others[name].value!r} of the store {name!r}"
        try:
            loaded = others[name].load()
        except FeatkitError:
            raise
        except Exception as error:  # what code of others does when it is imported
            msg = f"{where} cannot be loaded: {type(error).__name__}: {error}"
            raise SettingsError(msg) from error
        if isinstance(loaded, type) and issubclass(loaded, Store):
            return loaded
        msg = f"{where} is no featkit Store"
        raise SettingsError(msg)
    msg = f"no store has the scheme {name!r}; {nearest(name, schemes())}"
    if name in {"http", "https"}:
        msg = f"{msg}; an address has its store before it, such as 'feast+{name}://HOST'"
    raise SettingsError(msg)


def schemes() -> set[str]:
    """Name the stores that there are: featkit's own, and those of the entry points."""
    return {*_own_schemes(), *(point.name for point in entry_points(group=ENTRY_POINTS))}


@cache
def _own_schemes() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(stores.__path__)) - {"base"}
