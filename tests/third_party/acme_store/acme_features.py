"""The feature store of Acme: one JSON document, read with what featkit offers to stores.

The document lists the views, ``{"views": [...]}``; a view has ``name``, ``description``, ``ttl``
(seconds or null), ``timestamped``, ``keys`` and ``features`` (dtypes by name) and ``rows``, each
``{"key": [...], "at": ISO 8601 or null, "written": ISO 8601 or null, "values": [...]}``.
"""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import polars as pl

from featkit.calls import Call, LocalRead
from featkit.capabilities import Capabilities, Lack
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.dtypes import TIMESTAMP, parse_dtype
from featkit.errors import StoreError
from featkit.schema import Entity, Feature, FeatureView
from featkit.settings import Secret
from featkit.stores.base import Store


class AcmeStore(Store):
    """Views in the document ``acme:PATH``."""

    scheme = "acme"
    capabilities = Capabilities(
        batch_size=4,
        lacking={
            "get_historical_features": Lack.never("Acme's documents hold the latest rows only"),
            "list_feature_services": Lack.never("Acme knows no services"),
            "sample_entities": Lack.notyet("the document could tell, which nobody has written yet"),
            "read_population": Lack.notyet("the document could tell, which nobody has written yet"),
            "read_arrivals": Lack.never("Acme's documents hold the latest rows only"),
            "read_offline_times": Lack.never("Acme's documents hold the latest rows only"),
            "read_syncs": Lack.never("a document is read where it is"),
        },
    )

    class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        token: Secret | None = None

    def __init__(self, path, token):
        self.path = path
        self.token = token

    @classmethod
    def open(cls, target, options, *, timezone):  # noqa: ARG003 - Acme's timestamps have zones
        return cls(Path(target.rest), options.token)

    def list_feature_views(self):
        document = yield Call(LocalRead(self.path.read_bytes, str(self.path)), decode=decoded)
        return [described(view) for view in document["views"]]

    def read_online(self, read):
        request = LocalRead(self.path.read_bytes, str(self.path))
        return Call(request, decode=partial(latest, read), keys=read.keys.height)

    def __repr__(self):
        return f"<AcmeStore {self.path} token={self.token!r}>"


def decoded(content):
    try:
        return json.loads(content)
    except ValueError as error:
        msg = f"Acme's document cannot be read: {error}"
        raise StoreError(msg) from error


def described(view):
    return FeatureView(
        name=view["name"],
        description=view["description"],
        ttl=None if view["ttl"] is None else timedelta(seconds=view["ttl"]),
        timestamp="at" if view["timestamped"] else None,
        entities=tuple(Entity(key, key, parse_dtype(dtype)) for key, dtype in view["keys"].items()),
        features=tuple(Feature(name, parse_dtype(kind)) for name, kind in view["features"].items()),
    )


def latest(read, content):
    (view,) = (each for each in decoded(content)["views"] if each["name"] == read.view.name)
    newest = {}
    for row in sorted(view["rows"], key=lambda row: (row["at"] or "", row["written"] or "")):
        times = [moment(row[name]) for name in ("at", "written")]
        if all(time is None or time <= read.now for time in times):
            newest[tuple(row["key"])] = (times[0], row["values"])
    found = [newest.get(key) for key in read.keys.rows()]
    place = {name: number for number, name in enumerate(view["features"])}
    status = pl.Series([Status.PRESENT if row else Status.NOT_FOUND for row in found], dtype=STATUS)
    times = pl.Series([row[0] if row else None for row in found], dtype=TIMESTAMP)
    names = [feature.name for feature in read.features]
    columns = [
        series(feature, [row[1][place[feature.name]] if row else None for row in found])
        for feature in read.features
    ]
    return FeatureColumns(
        values=pl.DataFrame(columns),
        statuses=dict.fromkeys(names, status),
        timestamps=dict.fromkeys(names, times) if view["timestamped"] else {},
    )


def series(feature, values):
    if feature.dtype == TIMESTAMP:
        values = [moment(value) for value in values]
    return pl.Series(feature.name, values, dtype=feature.dtype)


def moment(text):
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
