"""What the widgets are told of a catalogue: columns for the table, and one view in full."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from featkit.catalogue import enrich_code, nameable, words_of_tags
from featkit.dtypes import format_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from featkit.catalogue import Catalogue
    from featkit.schema import FeatureView


def columns_of(catalogue: Catalogue) -> dict[str, Any]:
    """Turn a catalogue into columns that JSON can hold; words that recur are numbered."""
    views = catalogue.views
    features = [feature for view in views for feature in view.features]
    dtypes, dtype = _numbered(format_dtype(feature.dtype) for feature in features)
    served, way = _numbered(view.served for view in views)
    uses: dict[str, list[int]] = {view.name: [] for view in views}
    for number, service in enumerate(catalogue.services):
        for name in {ref.view for ref in service.features} & uses.keys():
            uses[name].append(number)
    starts = accumulate((len(view.features) for view in views), initial=0)
    return {
        "views": {
            "name": [view.name for view in views],
            "keys": [view.join_keys for view in views],
            "description": [view.description for view in views],
            "owner": [view.owner for view in views],
            "tags": [words_of_tags(view) for view in views],
            "source": [view.source for view in views],
            "ttl": [view.kept for view in views],
            "seconds": [view.ttl.total_seconds() if view.ttl else None for view in views],
            "served": way,
            "services": [uses[view.name] for view in views],
            "first": list(starts)[: len(views)],
        },
        "features": {
            "name": [feature.name for feature in features],
            "dtype": dtype,
            "description": [feature.description for feature in features],
            "tags": {
                place: ", ".join(words_of_tags(feature))
                for place, feature in enumerate(features)
                if feature.tags
            },
        },
        "dtypes": dtypes,
        "served": served,
        "services": [service.name for service in catalogue.services],
    }


def view_in_full(catalogue: Catalogue, view: FeatureView) -> dict[str, Any]:
    """Turn a view into what the pane beside the table shows of it."""
    usable = [f"{view.name}:{name}" for name in view.feature_names if nameable(view, name)]
    return {
        "name": view.name,
        "description": view.description,
        "facts": list(view.facts().items()),
        "features": [
            [
                feature.name,
                format_dtype(feature.dtype),
                feature.description,
                ", ".join(words_of_tags(feature)),
            ]
            for feature in view.features
        ],
        "lineage": lineage(catalogue, view),
        "code": enrich_code(usable),
        "freshness": None,
        "sample": None,
    }


def lineage(catalogue: Catalogue, view: FeatureView) -> dict[str, Any]:
    """Name what a view is made from, and who uses it, as far as the store tells."""
    made_from = list(dict.fromkeys(ref.view for ref in view.computed_from))
    sources = [{"kind": "feature view", "name": name} for name in made_from]
    if view.source:
        sources.append({"kind": "source", "name": view.source})
    sources += [{"kind": "made from", "name": name} for name in view.made_from]
    services = [own.name for own in catalogue.services_of(view.name)]
    users = [{"kind": "feature service", "name": name} for name in services]
    users += [{"kind": "used by", "name": name} for name in view.used_by]
    return {
        "sources": sources,
        "view": {"kind": "feature view", "name": view.name},
        "services": users,
    }


def _numbered(words: Iterable[str]) -> tuple[list[str], list[int]]:
    numbers: dict[str, int] = {}
    places: Sequence[int] = [numbers.setdefault(word, len(numbers)) for word in words]
    return list(numbers), list(places)
