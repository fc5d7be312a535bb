"""Feast's values in Bigtable: one table per set of entities, one row per entity and view.

Facts that shape this module: the key of a row is the hash of the entity key, ``#``, and the name of
the view; rows that are not there are left out of an answer, and the others come in the order of
their keys. Feast keeps no versions of views in Bigtable.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import polars as pl
import pyarrow as pa

from featkit.auth.google import GoogleAuth
from featkit.auth.tokens import Either
from featkit.calls import Call, GrpcRequest
from featkit.capabilities import Capabilities
from featkit.codecs import bigtable_rows
from featkit.columns import Status
from featkit.errors import (
    AuthError,
    IncompleteAnswer,
    MissingExtraError,
    SettingsError,
    UnknownNameError,
)
from featkit.stores.feast.direct import answer
from featkit.stores.feast.gaps import DIRECT
from featkit.stores.feast.hashed import HashedStore, event_times, places
from featkit.stores.feast.registry import DUMMY_ENTITY
from featkit.stores.feast.scalars import text

if TYPE_CHECKING:
    from featkit.calls import Flow, GrpcReply
    from featkit.columns import FeatureColumns
    from featkit.errors import FeatkitError
    from featkit.schema import FeatureView
    from featkit.stores.base import OnlineRead, Target
    from featkit.stores.feast import FeastStore

_BATCH = 2000  # rows; their keys are a few hundred kB at the most
_FAMILY = "features"
_TIME = "event_ts"
_PUBLIC = "https://bigtable.googleapis.com:443"
_PLACE = re.compile(r"[a-z0-9.:-]+/[a-z0-9-]+")
_ENDPOINT = re.compile(r"https?://[^/@]+:\d+")

_LONGEST_TABLE, _LONGEST_ENTITIES, _SHOWN_OF_PROJECT = 50, 24, 10  # characters, as Feast has them


class BigtableStore(HashedStore):
    """The tables of a Bigtable instance that Feast writes to."""

    capabilities = Capabilities(batch_size=_BATCH, serves_future=True, lacking=DIRECT)

    def __init__(self, place: str, options: FeastStore.Options) -> None:
        super().__init__(options)
        project, instance = place.split("/")
        self._place = f"projects/{project}/instances/{instance}"
        endpoint = options.endpoint_url or _PUBLIC
        self._address = endpoint.partition("//")[2]
        self._tls = endpoint.startswith("https:")
        self._profile = options.app_profile
        # credentials go over nothing that others can read
        google = GoogleAuth(options.credentials_file) if self._tls else None
        self.auth = Either(lambda to: isinstance(to, GrpcRequest), google, self.auth)

    @classmethod
    def open(
        cls,
        target: Target,
        options: FeastStore.Options,
        *,
        timezone: str | None,  # noqa: ARG003 - Feast's times have zones
    ) -> BigtableStore:
        """Open ``feast+bigtable:PROJECT/INSTANCE``."""
        if not _PLACE.fullmatch(target.rest):
            msg = (
                f"{target} names no instance of Bigtable; write 'feast+bigtable:PROJECT/INSTANCE', "
                "with the project of Google Cloud; Feast's is project="
            )
            raise SettingsError(msg)
        if options.endpoint_url and not _ENDPOINT.fullmatch(options.endpoint_url):
            msg = "endpoint_url must be https://HOST:PORT, or http://HOST:PORT for an emulator"
            raise SettingsError(msg)
        for module in ("grpc", "google.auth"):
            if not _has(module):
                raise MissingExtraError("gcp", f"{target}")
        return cls(target.rest, options)

    # -- what it holds

    def stored_name(self, view: FeatureView) -> str:
        """Return the name of a view, whatever its version."""
        return view.name

    def table(self, view: FeatureView) -> str:
        """Return the table of the entities of a view."""
        return _table(self._project, view)

    def ask_for(self, read: OnlineRead, ids: pl.Series) -> Call[FeatureColumns]:
        """Ask for rows by the identifiers of their entities."""
        keys = (ids + f"#{read.view.name}").to_arrow().cast(pa.large_binary())
        columns = [_TIME, *(feature.name for feature in read.features)]
        whole = len(read.features) == len(read.view.features)  # and a filter costs the server time
        body = bigtable_rows.question(
            self._whole(read.view),
            keys,
            _FAMILY,
            None if whole else columns,
            profile=self._profile,
        )
        return Call(
            self._request(read.view, body),
            decode=partial(_decoded, read, keys, columns),
            keys=len(keys),
            explain=partial(self._broken_or_refused, read, keys, columns),
        )

    def _broken_or_refused(
        self, read: OnlineRead, keys: pa.Array, columns: list[str], reply: GrpcReply
    ) -> FeatkitError | None:
        if reply.broke:
            return _rescued(read, keys, columns, reply)
        return self._explained(self.table(read.view), reply)

    def _whole(self, view: FeatureView) -> str:
        return f"{self._place}/tables/{self.table(view)}"

    def _request(self, view: FeatureView, body: bytes) -> GrpcRequest:
        way = {"table_name": self._whole(view), "app_profile_id": self._profile}
        return GrpcRequest(
            address=self._address,
            method=bigtable_rows.METHOD,
            body=body,
            # by which the service finds the way to the instance
            headers={"x-goog-request-params": urlencode(way)},
            tls=self._tls,
            streams=True,
        )

    # -- what may be wrong

    def _explained(self, table: str, reply: GrpcReply) -> FeatkitError | None:
        if reply.code == "NOT_FOUND":
            return UnknownNameError(
                f"there is no table {table!r} in {self._place}: {reply.details}; check the target, "
                "project=, and that the view was applied"
            )
        if reply.code == "PERMISSION_DENIED":
            return AuthError(
                f"{reply.code}: {reply.details}; reading needs the role roles/bigtable.reader"
            )
        return None

    def checks(self) -> dict[str, Flow[str]]:
        """Ask for one table and the registry."""
        return {"bigtable": self._answers(), "registry": self._knows_project()}

    def _answers(self) -> Flow[str]:
        views = yield from self.list_feature_views()
        for view in views:
            if view.online and not view.computed_from:
                body = bigtable_rows.first_row(self._whole(view), profile=self._profile)
                explain = partial(self._explained, self.table(view))
                held = yield Call(self._request(view, body), _holds_any, explain=explain)
                return f"has the table {self.table(view)!r}" + ("" if held else ", which is empty")
        return "no view is online"

    def __repr__(self) -> str:
        return f"<BigtableStore {self._place} project {self._project!r}>"


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is part of
        return False


def _table(project: str, view: FeatureView) -> str:
    """Name a table as Feast does, which keeps names short."""
    entities = "-".join(sorted(view.entity_names)) or DUMMY_ENTITY
    if len(entities) > _LONGEST_ENTITIES:
        entities = _digest(entities)[:_LONGEST_ENTITIES]
    left = _LONGEST_TABLE - len(entities) - 1
    if len(project) > left:
        shown = project[:_SHOWN_OF_PROJECT]
        project = f"{shown}_{_digest(project)[: left - _SHOWN_OF_PROJECT - 1]}"
    return f"{project}.{entities}"


def _digest(name: str) -> str:
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def _decoded(
    read: OnlineRead, keys: pa.Array, columns: list[str], reply: GrpcReply
) -> FeatureColumns:
    return _answered(read, keys, bigtable_rows.read(reply.body, _FAMILY, columns))


def _rescued(
    read: OnlineRead, keys: pa.Array, columns: list[str], reply: GrpcReply
) -> FeatkitError | None:
    """Keep what came before a stream broke, so that the rest alone is asked for again.

    Rows come in the order of their keys: what is not among them up to the last one is not there.
    """
    found = bigtable_rows.read(reply.body, _FAMILY, columns, broken=True)
    in_order = pl.Series(found.keys, dtype=pl.Binary()).is_sorted()
    later = pl.Series(keys).to_frame().select(pl.first() > pl.lit(found.scanned)).to_series()
    lost = int(later.sum())
    if not in_order or not 0 < lost < len(keys):
        return None
    answered = _answered(read, keys, found)
    statuses = {name: own.set(later, Status.ERROR) for name, own in answered.statuses.items()}
    msg = (
        f"{read.view.name!r}: there is no answer for {lost:,} of {len(keys):,} entities: "
        f"{reply.code}: {reply.details}"
    )
    error = IncompleteAnswer(msg, again=True)
    error.partial = replace(answered, statuses=statuses)
    return error


def _answered(read: OnlineRead, keys: pa.Array, found: bigtable_rows.Rows) -> FeatureColumns:
    rows = places(pl.Series(keys), pl.Series(found.keys, dtype=pl.Binary()))
    at = rows.cast(pl.Int64).fill_null(-1).to_numpy()
    times, *values = (column.at(at) for column in found.columns)
    return answer(read, values, event_times(text(times)))


def _holds_any(reply: GrpcReply) -> bool:
    return len(bigtable_rows.read(reply.body, _FAMILY, ()).keys) > 0
