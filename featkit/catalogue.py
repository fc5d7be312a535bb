"""What a store holds, at one moment, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from featkit import aligned
from featkit.dtypes import format_dtype
from featkit.durations import roughly
from featkit.errors import InputError, NotSupportedError, StoreUnavailable
from featkit.html import element, joined, table
from featkit.readable import notices, some
from featkit.schema import FeatureRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import polars as pl

    from featkit.calls import Flow
    from featkit.capabilities import Capabilities
    from featkit.schema import FeatureService, FeatureView
    from featkit.stores.base import Store

_LISTED = 50  # views that the text and the static table name
_NAMED = 12  # features of a view that they name
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The feature views and feature services of a store.

    Attributes
    ----------
    target
        Which store.
    views, services
        What it holds.
    read_at
        When that was read, aware (UTC).
    notes
        What the store could not tell, and why.
    problem
        Why it is one from before: what asking the store failed with.

    Examples
    --------
    >>> import featkit
    >>> catalogue = featkit.connect("demo:flights").browse().catalogue
    demo:flights: 5 feature views, 27 features
    ...
    >>> catalogue.to_polars().select("view", "feature", "dtype").row(0)
    ('origin_weather', 'temperature', 'float64')
    """

    target: str
    views: tuple[FeatureView, ...]
    services: tuple[FeatureService, ...] = ()
    read_at: datetime
    notes: tuple[str, ...] = ()
    problem: str = ""

    def since(self, now: datetime) -> str:
        """Say how old it is, and why; nothing where it was read just now."""
        if not self.problem:
            return ""
        age = timedelta(seconds=max(int((now - self.read_at).total_seconds()), 0))
        return f"This is the catalogue of {roughly(age)} ago, since {self.problem}"

    @property
    def headline(self) -> str:
        """The store, and how much it holds."""
        features = sum(len(view.features) for view in self.views)
        counted = [_count(len(self.views), "feature view"), _count(features, "feature")]
        return f"{self.target}: {', '.join(counted)}"

    def references(self) -> Iterator[FeatureRef]:
        """Name all features."""
        return (FeatureRef(view.name, name) for view in self.views for name in view.feature_names)

    def services_of(self, view: str) -> list[FeatureService]:
        """List the services that use features of a view."""
        return [own for own in self.services if view in {ref.view for ref in own.features}]

    def to_polars(self) -> pl.DataFrame:
        """Return one row per feature, with what is known of it and of its view, as text."""
        import polars as pl  # noqa: PLC0415 - who only prints the catalogue may do without

        rows = [
            {
                "view": view.name,
                "feature": feature.name,
                "dtype": format_dtype(feature.dtype),
                "description": feature.description,
                "join_keys": ", ".join(view.join_keys),
                "ttl": view.kept,
                "owner": view.owner,
                "tags": ", ".join(words_of_tags(view)),
                "source": view.source,
                "served": view.served,
                "view_description": view.description,
            }
            for view in self.views
            for feature in view.features
        ]
        columns = ("view", "feature", "dtype", "description", "join_keys", "ttl", "owner")
        schema = dict.fromkeys(
            [*columns, "tags", "source", "served", "view_description"], pl.String
        )
        return pl.DataFrame(rows, schema=schema)

    def to_csv(self, path: str | Path) -> None:
        """Write one row per feature, as `to_polars` has them, to a file of CSV.

        A cell that a spreadsheet would run as a formula gets a ``'`` before it.
        """
        import polars as pl  # noqa: PLC0415 - as above

        cells = pl.all()
        frame = self.to_polars().with_columns(
            pl.when(cells.str.slice(0, 1).is_in(_FORMULA))
            .then("'" + cells)
            .otherwise(cells)
            .name.keep()
        )
        frame.write_csv(path)

    def __str__(self) -> str:
        header = ["view", "join keys", "ttl", "owner", "features"]
        lines = [
            [view.name, ", ".join(view.join_keys), view.kept, view.owner, _names(view)]
            for view in self.views[:_LISTED]
        ]
        text = [self.headline, *(f"note: {note}" for note in self._told())]
        if self.views:
            text += aligned.table(header, lines)
        return "\n".join([*text, *self._rest()])

    def __repr__(self) -> str:
        return f"<Catalogue of {self.headline}>"

    def _repr_html_(self) -> str:
        rows = [
            [
                element("b", view.name),
                ", ".join(view.join_keys),
                view.kept,
                view.owner,
                view.description,
                _names(view),
            ]
            for view in self.views[:_LISTED]
        ]
        header = ["view", "join keys", "ttl", "owner", "description", "features"]
        notes = [element("p", note) for note in (*self._told(), *self._rest())]
        return joined([table(header, rows, caption=self.headline), *notes])

    def _told(self) -> list[str]:
        return [*filter(None, [self.since(datetime.now(UTC))]), *self.notes]

    def _rest(self) -> list[str]:
        left = len(self.views) - _LISTED
        return [f"and {left:,} more views; search(text) finds features in all"] * (left > 0)


def read_catalogue(store: Store, target: str, names: Sequence[str] = ()) -> Flow[Catalogue]:
    """Read what a store holds.

    Parameters
    ----------
    store
        The store.
    target
        What the user calls it.
    names
        Views to describe; none: all that the store lists.

    Raises
    ------
    UnknownNameError
        There is no view of such a name.
    StoreError
        The store failed.
    """
    if isinstance(names, str):
        names = [names]
    notes: list[str] = []
    views: list[FeatureView] = []
    services: list[FeatureService] = []
    try:
        if names:
            views = yield from store.feature_views(list(dict.fromkeys(names)))
        else:
            views, failed = yield from some(store)
            notes += notices(failed)
    except NotSupportedError as error:
        if names:
            raise
        notes.append(f"{error}. {able(store.capabilities)}; name views: browse(['...'])")
    try:
        services = yield from store.list_feature_services()
    except (NotSupportedError, StoreUnavailable) as error:
        notes.append(str(error))
    return Catalogue(
        target=target,
        views=tuple(views),
        services=tuple(services),
        read_at=datetime.now(UTC),
        notes=tuple(notes),
    )


def able(capabilities: Capabilities) -> str:
    """Say what a store can do where it does not list what it holds."""
    batch = capabilities.batch_size
    at_once = f"up to {batch:,} entities a call" if batch else "any number of entities a call"
    level = capabilities.timestamp_level
    stamps = "without event timestamps" if level == "none" else f"with event timestamps per {level}"
    return f"It looks up {at_once}, {stamps}"


def enrich_code(references: Sequence[object]) -> str:
    """Write the call that brings features into a frame.

    Examples
    --------
    >>> print(enrich_code(["aircraft:seats"]))
    frame.features.enrich([
        "aircraft:seats",
    ])
    """
    if not references:
        return ""
    lines = "".join(f"    {_quoted(str(reference))},\n" for reference in references)
    return f"frame.features.enrich([\n{lines}])"


def _quoted(text: str) -> str:
    """Write text as Python does, between double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(_sign(sign) for sign in escaped) + '"'


def _sign(sign: str) -> str:
    return f"\\x{ord(sign):02x}" if sign < " " or sign == "\x7f" else sign


def nameable(view: FeatureView, feature: str) -> bool:
    """Tell whether a reference can name the feature: a colon in a name prevents it."""
    try:
        FeatureRef.parse(f"{view.name}:{feature}")
    except InputError:
        return False
    return True


def words_of_tags(item: Any) -> list[str]:  # noqa: ANN401 - whatever has tags
    """Write tags as ``name=value``, or the name alone where it has no value."""
    return [f"{name}={value}" if value else name for name, value in sorted(item.tags.items())]


def _names(view: FeatureView) -> str:
    left = len(view.features) - _NAMED
    return ", ".join([*islice(view.feature_names, _NAMED), *[f"and {left:,} more"] * (left > 0)])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
