"""What a feature store says it holds: entities, features, feature views, feature services."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from featkit.dtypes import format_dtype
from featkit.durations import format_duration
from featkit.errors import InputError, UnknownNameError, nearest
from featkit.html import element, facts, joined, table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    import polars as pl


@dataclass(frozen=True, slots=True)
class FeatureRef:
    """A feature, by the name of its view and its own: ``view:feature``.

    Parameters
    ----------
    view, feature
        The two names. ``feature`` may be ``"*"``: all features of the view.
    alias
        What the view is called where it is read under other join keys; its columns begin with it.
    keys
        Pairs of a join key of the view and the column that holds it there; see `under`.

    Examples
    --------
    >>> FeatureRef.parse("aircraft:seats")
    FeatureRef('aircraft:seats')
    """

    view: str
    feature: str
    alias: str = ""
    keys: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> FeatureRef:
        """Read ``"view:feature"``; raise `InputError` where it is not of that form."""
        view, colon, feature = text.partition(":")
        if not (view and colon and feature) or ":" in feature:
            msg = f"{text!r} is no feature reference; write 'view:feature' or 'view:*'"
            raise InputError(msg)
        return cls(view, feature)

    def under(self, alias: str, **keys: str) -> FeatureRef:
        """Return the feature as it is read under other join keys, beside the view's own.

        Parameters
        ----------
        alias
            Tells one reading of the view from another: the column is named ``<alias>__<feature>``.
        **keys
            By join key of the view, the column that holds it.

        Examples
        --------
        >>> import featkit
        >>> store = featkit.connect("demo:flights")
        >>> seats = featkit.FeatureRef("aircraft", "seats")
        >>> refs = [seats.under("out", tailnum="there"), seats.under("home", tailnum="back")]
        >>> store.lookup({"there": ["N14228"], "back": ["N24211"]}, refs).to_dicts()
        [{'out__seats': 149, 'home__seats': 149}]
        """
        return replace(self, alias=alias, keys=tuple(keys.items()))

    def __str__(self) -> str:
        return f"{self.view}:{self.feature}"

    def __repr__(self) -> str:
        renamed = "".join(f", {key}={column!r}" for key, column in self.keys)
        under = f".under({self.alias!r}{renamed})" if self.alias or self.keys else ""
        return f"FeatureRef({str(self)!r}){under}"


@dataclass(frozen=True, slots=True)
class Entity:
    """What features describe, and the join key that names one of it.

    Attributes
    ----------
    name
        The entity's name.
    join_key
        Name of the column that holds its key.
    dtype
        Type of the key as a polars dtype; None where the store does not tell.
    description
        The owner's words.
    request_data
        Whether it is no key of an entity but a value that an on-demand view computes from; it is
        taken from the frame in the same way.
    store_type
        The type in the store's words.
    tags
        The owner's labels.
    """

    name: str
    join_key: str
    dtype: pl.DataType | None = None
    description: str = ""
    request_data: bool = False
    store_type: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a feature view.

    Attributes
    ----------
    name
        The feature's name, without its view.
    dtype
        Type of the values as a polars dtype; None where the store does not tell.
    description
        The owner's words, with the unit.
    tags
        The owner's labels.
    store_type
        The type in the store's words.
    """

    name: str
    dtype: pl.DataType | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    store_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureView:
    """Features that share their entities, their source and their ttl.

    Attributes
    ----------
    name
        The view's name.
    entities
        The entities whose join keys, in this order, make the key of a row.
    features
        The features, in the order of the source.
    timestamp, created
        Names of the source's event timestamp and created timestamp; None where it has none. A
        view without event timestamp is static.
    ttl
        How long a value is good after its event timestamp; None: without limit.
    source
        Where the rows come from, in the store's words.
    online, offline
        Whether lookups and training sets can read it.
    description, owner, tags
        The owner's words.
    computed_from
        The features that an on-demand view is computed from.
    version
        Number of its version, where the store counts them.
    made_from, used_by
        Its lineage, in the store's words: tables, jobs and notebooks that it is made from, models
        and services that use it; empty where the store does not tell.
    entity_names
        What the store calls the entities, in its order, where it tells that.
    """

    name: str
    entities: tuple[Entity, ...]
    features: tuple[Feature, ...]
    timestamp: str | None = None
    created: str | None = None
    ttl: timedelta | None = None
    source: str = ""
    online: bool = True
    offline: bool = True
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    computed_from: tuple[FeatureRef, ...] = ()
    version: int = 0
    made_from: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    entity_names: tuple[str, ...] = ()

    @property
    def join_keys(self) -> tuple[str, ...]:
        """Names of the join keys, in the order of a composite key."""
        return tuple(entity.join_key for entity in self.entities)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the source."""
        return tuple(feature.name for feature in self.features)

    @property
    def schema_hash(self) -> str:
        """Sixteen hex digits that change with the keys, the features and their dtypes."""
        lines = [self.name]
        lines += [f"{entity.join_key} {format_dtype(entity.dtype)}" for entity in self.entities]
        lines += [f"{feature.name} {format_dtype(feature.dtype)}" for feature in self.features]
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()

    def __getitem__(self, name: str) -> Feature:
        """Return the feature of that name; raise `UnknownNameError` where there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        near = nearest(name, self.feature_names)
        msg = f"feature view {self.name!r} has no feature {name!r}; {near}"
        raise UnknownNameError(msg)

    def select(self, names: tuple[str, ...]) -> tuple[Feature, ...]:
        """Return the features of these names, in this order; all where no name is given.

        Raises
        ------
        UnknownNameError
            A name is not a feature of this view.
        InputError
            A name is given twice.
        """
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            listed = ", ".join(repr(f"{self.name}:{name}") for name in twice)
            msg = f"requested twice: {listed}; name each feature once"
            raise InputError(msg)
        return tuple(self[name] for name in names) if names else self.features

    def __str__(self) -> str:
        ttl = f"ttl {format_duration(self.ttl)}" if self.ttl is not None else "no ttl"
        kind = ttl if self.timestamp else "static"
        computed = [entity.join_key for entity in self.entities if entity.request_data]
        keys = ", ".join(key for key in self.join_keys if key not in computed)
        parts = [keys, *([f"request data {', '.join(computed)}"] if computed else []), kind]
        header = f"feature view {self.name} ({'; '.join(parts)})"
        about = [f"  {self.description}"] if self.description else []
        width = max((len(feature.name) for feature in self.features), default=0)
        rows = [
            f"  {item.name:<{width}}  {format_dtype(item.dtype):<9}  {item.description}".rstrip()
            for item in self.features
        ]
        return "\n".join([header, *about, *rows])

    @property
    def kept(self) -> str:
        """How long a value is good, in words: ``3h``, ``no ttl``, or ``static`` without age."""
        if not self.timestamp:
            return "static"
        return "no ttl" if self.ttl is None else format_duration(self.ttl)

    @property
    def served(self) -> str:
        """Whether lookups and training sets can read it, in words."""
        ways = [*["online"] * self.online, *["offline"] * self.offline]
        return " and ".join(ways) or "nowhere"

    def facts(self) -> dict[str, str]:
        """Tell in words what is known besides name, description and features."""
        return {
            "join keys": self._keys(request_data=False),
            "request data": self._keys(request_data=True),
            "ttl": self.kept,
            "event timestamp": self.timestamp or "",
            "created timestamp": self.created or "",
            "served": self.served,
            "owner": self.owner,
            "tags": _tags(self.tags),
            "source": self.source,
            "computed from": ", ".join(map(str, self.computed_from)),
            "made from": ", ".join(self.made_from),
            "used by": ", ".join(self.used_by),
            "schema version": self.schema_hash,
        }

    def _keys(self, *, request_data: bool) -> str:
        return ", ".join(
            f"{entity.join_key} ({format_dtype(entity.dtype)})"
            for entity in self.entities
            if entity.request_data == request_data
        )

    def _repr_html_(self) -> str:
        head = element("p", element("b", self.name), " ", self.description)
        rows = [
            [item.name, format_dtype(item.dtype), item.description, _tags(item.tags)]
            for item in self.features
        ]
        tagged = any(item.tags for item in self.features)
        header = ["feature", "dtype", "description", *["tags"] * tagged]
        lines = table(header, (row[: len(header)] for row in rows))
        return joined([head, facts(self.facts()), lines])

    def __repr__(self) -> str:
        count = len(self.features)
        keys = ", ".join(self.join_keys)
        return f"<FeatureView {self.name}({keys}): {count} feature{'s' * (count != 1)}>"


@dataclass(frozen=True, slots=True)
class FeatureService:
    """A named list of features, as a model uses them.

    Attributes
    ----------
    name
        The service's name.
    features
        The references, in the model's order.
    description, owner, tags
        The owner's words.
    unsupported
        Why featkit cannot read the service as it is; empty where it can.
    """

    name: str
    features: tuple[FeatureRef, ...]
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    unsupported: str = ""

    def _repr_html_(self) -> str:
        head = element("p", element("b", self.name), " ", self.description)
        about = {
            "owner": self.owner,
            "tags": _tags(self.tags),
            "cannot be read": self.unsupported,
            "features": joined(map(str, self.features), ", "),
        }
        return joined([head, facts(about)])


def _tags(tags: Mapping[str, str]) -> str:
    # by name: some registries give them in another order each time
    return ", ".join(f"{name}={value}" if value else name for name, value in sorted(tags.items()))
