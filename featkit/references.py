"""From what the user asks for to the features of each view, under the names they will have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from featkit.columns import STATUS_SUFFIX, TIMESTAMP_SUFFIX
from featkit.errors import (
    FeatkitError,
    InputError,
    NameClashError,
    NotSupportedError,
    StoreError,
    UnknownNameError,
    nearest,
)
from featkit.readable import some
from featkit.schema import FeatureRef
from featkit.stores.base import find
from featkit.uncached import renewed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from featkit.calls import Flow
    from featkit.schema import Feature, FeatureView
    from featkit.stores.base import Store
    from featkit.types import Features


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ViewSelection:
    """Features of one view, and the names of their columns in the result.

    Attributes
    ----------
    view
        The view.
    features
        Which of its features.
    names
        By feature name, the name of the column.
    keys
        By join key of the view, the name of the key column where it is another one.
    alias
        What the view is called here, where it is read under other join keys.
    """

    view: FeatureView
    features: tuple[Feature, ...]
    names: Mapping[str, str]
    keys: Mapping[str, str] = field(default_factory=dict)
    alias: str = ""

    @property
    def label(self) -> str:
        """What the view is called here: its alias, else its name."""
        return self.alias or self.view.name

    def of(self, view: FeatureView) -> ViewSelection:
        """Return the same of the view as it is described now."""
        names = tuple(feature.name for feature in self.features)
        # one of its own: answers are told apart by the view that they are to
        return replace(self, view=replace(view), features=view.select(names) if names else ())

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Names of the columns that hold the view's join keys, in the order of these."""
        return tuple(self.keys.get(key, key) for key in self.view.join_keys)

    def keys_of(self, columns: pl.DataFrame) -> pl.DataFrame:
        """Return the view's key columns, among those of all views, under its join keys."""
        if not self.keys:
            return columns
        renamed = zip(self.key_columns, self.view.join_keys, strict=True)
        return columns.select(columns[held].alias(key) for held, key in renamed)


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything that one call asks for.

    Attributes
    ----------
    views
        The selected features, view by view.
    columns
        Names of the result's feature columns, in the order asked for.
    failed
        By name, what is wrong with views that could not be described, where that is wanted.
    """

    views: tuple[ViewSelection, ...]
    columns: tuple[str, ...]
    failed: Mapping[str, FeatkitError] = field(default_factory=dict)

    @property
    def join_keys(self) -> tuple[str, ...]:
        """Names of the key columns of all views, each once: join keys, or what they are renamed."""
        return tuple(dict.fromkeys(key for part in self.views for key in part.key_columns))

    def added(self, *, timestamps: bool, statuses: bool) -> list[str]:
        """Name the columns that the result adds to a frame."""
        suffixes = ["", *[TIMESTAMP_SUFFIX] * timestamps, *[STATUS_SUFFIX] * statuses]
        return [column + suffix for column in self.columns for suffix in suffixes]


def select(
    store: Store, features: Features, *, prefix: str | None = None, partly: bool = False
) -> Flow[Selection]:
    """Find the features that are asked for; those that a cache does not know the store may have.

    Parameters
    ----------
    store
        Where they are.
    features
        References ``"view:feature"`` or ``"view:*"``, or names of feature services.
    prefix
        Stands before every column name; ``{view}`` in it becomes the view's name.
    partly
        Whether a view that cannot be described is told as one that failed, and left out; else that
        is an error.

    Raises
    ------
    UnknownNameError
        There is no such view, feature or service.
    InputError
        A reference cannot be read, or a feature is named twice.
    NameClashError
        Two features would get one column name.
    """
    _check_prefix(prefix)
    return (yield from known(store, lambda: _selected(store, features, prefix, partly=partly)))


def known(store: Store, asked: Callable[[], Flow[T]]) -> Flow[T]:
    """Ask by name; for a name that a cache does not know, the store is asked as well."""
    try:
        return (yield from asked())
    except UnknownNameError as unknown:
        if store.capabilities.local:
            raise
        try:
            return (yield from renewed(asked()))
        except StoreError:  # it cannot be asked: what is kept has to do
            raise unknown from None


def _selected(
    store: Store, features: Features, prefix: str | None, *, partly: bool
) -> Flow[Selection]:
    refs = yield from _references(store, features)
    named = list(dict.fromkeys(ref.view for ref in refs))
    failed: dict[str, FeatkitError] = {}
    if partly and named:
        found, failed = yield from store.describe(named)
        named = [name for name in named if name not in failed]
        refs = [ref for ref in refs if ref.view not in failed]
    else:
        found = yield from store.feature_views(named)
        yield from suspect(store, named)
    views = dict(zip(named, found, strict=True))
    wanted = [
        each
        for ref in refs
        for each in (
            [replace(ref, feature=name) for name in views[ref.view].feature_names]
            if ref.feature == "*"
            else [ref]
        )
    ]
    readings: dict[FeatureRef, list[FeatureRef]] = {replace(ref, feature="*"): [] for ref in refs}
    for ref in wanted:
        readings[replace(ref, feature="*")].append(ref)
    parts = []
    for reading, own in readings.items():
        view = views[reading.view]
        chosen = view.select(tuple(ref.feature for ref in own)) if own else ()
        names = {ref.feature: _column(prefix, ref) for ref in own}
        if reading.keys or reading.alias:
            view = replace(view)  # one of its own: answers are told apart by the view they are to
            _check_keys(reading, view)
        parts.append(ViewSelection(view, chosen, names, dict(reading.keys), reading.alias))
    columns = {ref: _column(prefix, ref) for ref in wanted}
    _refuse_clashes(columns)
    return Selection(tuple(parts), tuple(columns.values()), failed)


def selected_anew(store: Store, selection: Selection) -> Flow[Selection | None]:
    """Ask the store what the views are by now; None: what they were, as far as one can tell.

    Raises
    ------
    UnknownNameError
        A view, or a feature of it, is there no more.
    """
    names = list(dict.fromkeys(part.view.name for part in selection.views))
    try:
        found = yield from renewed(store.feature_views(names))
    except UnknownNameError:
        raise
    except FeatkitError:  # what made somebody ask is the better reason
        return None
    views = dict(zip(names, found, strict=True))
    parts = [(part, views[part.view.name]) for part in selection.views]
    if all(part.view.schema_hash == view.schema_hash for part, view in parts):
        return None
    if any(part.view.join_keys != view.join_keys for part, view in parts):
        return None  # the keys at hand are those of before
    return replace(selection, views=tuple(part.of(view) for part, view in parts))


def suspect(store: Store, views: Sequence[str]) -> Flow[None]:
    """Look whether views are there whose names in the settings may be misspelt ones of these."""
    for name in store.told.suspects(views):
        try:
            yield from store.feature_view(name)
        except UnknownNameError as error:
            store.told.refuse(name, str(error))
        except FeatkitError:  # it is there, or nobody may say so
            continue


def _check_keys(reading: FeatureRef, view: FeatureView) -> None:
    for key, _ in reading.keys:
        if key not in view.join_keys:
            near = nearest(key, view.join_keys)
            msg = f"feature view {view.name!r} has no join key {key!r} to rename; {near}"
            raise UnknownNameError(msg)


def _check_prefix(prefix: object) -> None:
    if not isinstance(prefix, str | None):
        msg = f"prefix={prefix!r} is no text that could stand before names"
        raise InputError(msg)


def _column(prefix: str | None, ref: FeatureRef) -> str:
    if prefix and "{view}" in prefix:
        return prefix.replace("{view}", ref.alias or ref.view) + ref.feature
    return (prefix or "") + (f"{ref.alias}__" if ref.alias else "") + ref.feature


def _references(store: Store, features: Features) -> Flow[list[FeatureRef]]:
    items: Sequence[object]
    items = [features] if isinstance(features, (str, FeatureRef)) else _listed(features)
    refs: list[FeatureRef] = []
    for item in items:
        if isinstance(item, FeatureRef):
            refs.append(item)
        elif isinstance(item, str) and ":" in item:
            refs.append(FeatureRef.parse(item))
        elif isinstance(item, str):
            refs += yield from _service(store, item)
        else:
            msg = f"{item!r} is no feature; write 'view:feature', 'view:*' or the name of a service"
            raise InputError(msg)
    return refs


def _listed(features: object) -> list[object]:
    if not isinstance(features, Iterable):
        msg = f"features must be a list of references or the name of a service, not {features!r}"
        raise InputError(msg)
    return list(features)


def _service(store: Store, name: str) -> Flow[Sequence[FeatureRef]]:
    services = yield from store.list_feature_services()
    try:
        service = find(services, name, "feature service")
    except UnknownNameError as error:
        views, _ = yield from some(store)
        if name in {view.name for view in views}:
            msg = f"{name!r} is a feature view; for all its features write '{name}:*'"
            raise UnknownNameError(msg) from error
        if having := [view.name for view in views if name in view.feature_names]:
            near = " or ".join(f"'{view}:{name}'" for view in having[:3])
            msg = f"{name!r} is a feature; write it with its view: {near}"
            raise UnknownNameError(msg) from error
        if store.chosen_by:
            msg = f"{error} (only those are read that {store.chosen_by}= names)"
            raise UnknownNameError(msg) from error
        raise
    if service.unsupported:
        msg = f"the feature service {name!r} cannot be read: {service.unsupported}"
        raise NotSupportedError(msg)
    return service.features


def _refuse_clashes(columns: Mapping[FeatureRef, str]) -> None:
    taken: dict[str, FeatureRef] = {}
    for ref, column in columns.items():
        if column in taken:
            msg = (
                f"{str(taken[column])!r} and {str(ref)!r} would both become the column {column!r}; "
                "tell them apart with prefix='{view}__'"
            )
            raise NameClashError(msg)
        taken[column] = ref


def refuse_taken(added: Iterable[str], present: Iterable[object]) -> None:
    """Raise `NameClashError` where a new column has the name of one that is there."""
    here = {name for name in present if isinstance(name, str)}
    if clash := [name for name in added if name in here]:
        listed = ", ".join(map(repr, clash[:5])) + (", ..." if clash[5:] else "")
        msg = (
            f"the frame has {'columns' if clash[1:] else 'a column'} {listed} already; "
            "choose other names for the features with prefix='...' "
            "('{view}' in it becomes the view's name)"
        )
        raise NameClashError(msg)
