"""Feast's values in DynamoDB: one table per view, one item per entity, named by a hash of its key.

Facts about the service that shape this module: a call gets at most 100 items and 16 MB, items come
in any order, and what a call did not get to is named in ``UnprocessedKeys`` and must be asked for
again, which Feast itself does not do.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from featkit.auth import aws
from featkit.auth.tokens import Either, secret_of
from featkit.calls import Call, HttpRequest
from featkit.capabilities import Capabilities
from featkit.codecs import json_columns
from featkit.codecs.binary_columns import BinaryColumn
from featkit.columns import Status, everywhere
from featkit.errors import (
    FeatkitError,
    IncompleteAnswer,
    ProtocolError,
    RowMismatch,
    SettingsError,
    ThrottledError,
    UnknownNameError,
)
from featkit.online.gathering import Gathering
from featkit.stores.feast.direct import answer
from featkit.stores.feast.gaps import DIRECT
from featkit.stores.feast.hashed import HashedStore, event_times, ids_of, places
from featkit.structs import known

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from featkit.calls import Flow, HttpReply
    from featkit.columns import FeatureColumns
    from featkit.online.gathering import Later, Piece
    from featkit.schema import FeatureView
    from featkit.stores.base import OnlineRead, Target
    from featkit.stores.feast import FeastStore

T = TypeVar("T")

_BATCH = 100  # items; the limit of the service
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")
_TEXT = pl.Struct({"S": pl.String()})
_MISSING = "ResourceNotFoundException"


class _Reply(msgspec.Struct):
    """The answer to BatchGetItem, by table."""

    responses: dict[str, msgspec.Raw] = msgspec.field(name="Responses")
    unprocessed: dict[str, Any] = msgspec.field(name="UnprocessedKeys", default_factory=dict)


class DynamoStore(HashedStore):
    """The DynamoDB tables that Feast writes to, in a region."""

    capabilities = Capabilities(batch_size=_BATCH, serves_future=True, lacking=DIRECT)

    def __init__(self, region: str, options: FeastStore.Options) -> None:
        super().__init__(options)
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        self._region = region
        self._url = (options.endpoint_url or f"https://dynamodb.{region}.{domain}").rstrip("/")
        self._template = options.table_template
        self._signature = aws.AwsSignature(
            "dynamodb",
            region,
            profile=options.profile,
            key_id=options.access_key_id,
            secret=secret_of(options.secret_access_key, "secret_access_key"),
            token=secret_of(options.session_token, "session_token"),
        )
        url = f"{self._url}/"
        self.auth = Either(
            lambda to: getattr(to, "url", "").startswith(url), self._signature, self.auth
        )

    @classmethod
    def open(
        cls,
        target: Target,
        options: FeastStore.Options,
        *,
        timezone: str | None,  # noqa: ARG003 - Feast's naive times are UTC
    ) -> DynamoStore:
        """Open ``feast+dynamodb:REGION``."""
        if not _REGION.fullmatch(target.rest):
            msg = f"{target} names no region of AWS; write 'feast+dynamodb:eu-west-1'"
            raise SettingsError(msg)
        return cls(target.rest, options)

    # -- what it holds

    def ask_for(self, read: OnlineRead, ids: pl.Series) -> Call[FeatureColumns]:
        """Ask for items by their identifiers."""
        table = self.table(read.view)
        (body,) = _bodies(read, table, ids, [read.keys.height])
        return self._batch(table, body, partial(_decoded, read, table, ids), read.keys.height)

    def read_together(self, reads: Sequence[OnlineRead]) -> list[Call[Any]]:
        """Ask several questions; what comes back is decoded some answers at a time."""
        calls: list[Call[Any]] = []
        for _, same in groupby(reads, key=lambda read: (id(read.view), read.features)):
            own = list(same)
            if len(own) == 1:
                calls += map(self.read_online, own)
                continue
            self.check(own[0].view)
            table = self.table(own[0].view)
            whole = replace(own[0], keys=pl.concat([read.keys for read in own]))
            ids, heights = ids_of(whole), [read.keys.height for read in own]
            gathering = Gathering(partial(_gathered, table))
            bodies = _bodies(whole, table, ids, heights)
            starts = accumulate(heights, initial=0)
            for read, body, start, height in zip(own, bodies, starts, heights, strict=False):
                later = partial(_later, gathering, read, table, ids.slice(start, height))
                calls.append(self._batch(table, body, later, height))
        return calls

    def table(self, view: FeatureView) -> str:
        """Return the table of a view."""
        name = self.stored_name(view)
        return self._template.format(project=self._project, table_name=name)

    def _batch(
        self, table: str, body: bytes, decode: Callable[[HttpReply], T], keys: int
    ) -> Call[T]:
        return self._called("BatchGetItem", table, body, decode, keys)

    def _called(
        self,
        operation: str,
        table: str,
        body: bytes,
        decode: Callable[[HttpReply], T],
        keys: int = 0,
    ) -> Call[T]:
        request = HttpRequest(
            url=f"{self._url}/",
            method="POST",
            headers={
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            },
            body=body,
        )
        return Call(request, decode=decode, keys=keys, explain=partial(self._explained, table))

    def _explained(self, table: str, reply: HttpReply) -> FeatkitError | None:
        if aws.kind_of(reply) == _MISSING:
            return UnknownNameError(
                f"there is no table {table!r} in {self._region}; check project=, versioned=, and "
                "table_template= where Feast has one, and that the view was applied"
            )
        return self._signature.explained(reply)

    # -- what may be wrong

    def checks(self) -> dict[str, Flow[str]]:
        """Ask for one table and the registry."""
        return {"dynamodb": self._describes(), "registry": self._knows_project()}

    def _describes(self) -> Flow[str]:
        views = yield from self.list_feature_views()
        for view in views:
            if view.online and not view.computed_from:
                table = self.table(view)
                body = json.dumps({"TableName": table}).encode()
                yield self._called("DescribeTable", table, body, partial(_said, "Table"))
                return f"has the table {table!r}"
        return "no view is online"

    def __repr__(self) -> str:
        return f"<DynamoStore {self._region} project {self._project!r}>"


# -- questions and answers -----------------------------------------------------------------------


def _bodies(read: OnlineRead, table: str, ids: pl.Series, heights: Sequence[int]) -> list[bytes]:
    """Write requests for so many items each."""
    names = {"#id": "entity_id", "#ts": "event_ts", "#values": "values"}
    names |= {f"#f{place}": feature.name for place, feature in enumerate(read.features)}
    wanted = ["#id", "#ts", *(f"#values.#f{place}" for place in range(len(read.features)))]
    how = {"ProjectionExpression": ", ".join(wanted), "ExpressionAttributeNames": names}
    before = f'{{"RequestItems": {{{json.dumps(table)}: {json.dumps(how)[:-1]}, "Keys": ['
    calls = pl.Series("call", np.repeat(np.arange(len(heights)), heights))
    texts = pl.concat_str(pl.lit('{"entity_id":{"S":"'), pl.col("id"), pl.lit('"}}'))
    lists = (
        ids.to_frame()
        .select(texts)
        .group_by(calls, maintain_order=True)
        .agg(pl.first().str.join(","))
        .to_series(1)
    )
    return [f"{before}{keys}]}}}}}}".encode() for keys in lists]


def _read(reply: HttpReply, table: str) -> tuple[bytes, list[str]]:
    """Return the items as a JSON array, and the identifiers that were not got to."""
    try:
        said = msgspec.json.decode(reply.body, type=known(_Reply))
        left = said.unprocessed.get(table, {}).get("Keys", [])
        unread = [key["entity_id"]["S"] for key in left]
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        msg = f"the reply is not what BatchGetItem sends: {error}"
        raise ProtocolError(msg) from error
    if set(said.responses) - {table}:
        msg = f"the reply has items of {sorted(said.responses)}, and {table!r} was asked for"
        raise ProtocolError(msg)
    return bytes(said.responses.get(table, b"[]")), unread


def _said(name: str, reply: HttpReply) -> Any:  # noqa: ANN401 - what JSON holds there
    try:
        return msgspec.json.decode(reply.body)[name]
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError) as error:
        msg = f"the reply is not what DynamoDB sends: {error}"
        raise ProtocolError(msg) from error


def _decoded(read: OnlineRead, table: str, ids: pl.Series, reply: HttpReply) -> FeatureColumns:
    """Read an answer; what was not got to is asked for once more, in `IncompleteAnswer`."""
    items, unread = _read(reply, table)
    columns = _columns(read, ids, items)
    if not unread:
        return columns
    lost = ids.is_in(unread)
    if lost.sum() != len(set(unread)):
        msg = "the reply leaves items unprocessed that were not asked for"
        raise RowMismatch(msg)
    msg = f"DynamoDB left {len(unread)} of {len(ids)} items of {table!r} unprocessed"
    if lost.all():  # nothing was gained: the table needs a pause
        raise ThrottledError(msg)
    gap = IncompleteAnswer(msg, again=True)
    failed = everywhere(Status.ERROR, len(ids))
    statuses = {name: series.zip_with(~lost, failed) for name, series in columns.statuses.items()}
    gap.partial = replace(columns, statuses=statuses)
    raise gap


def _later(
    gathering: Gathering[tuple[pl.Series, bytes]],
    read: OnlineRead,
    table: str,
    ids: pl.Series,
    reply: HttpReply,
) -> Later | FeatureColumns:
    """Read an answer; one that leaves nothing out gathers with others before it is decoded."""
    items, unread = _read(reply, table)
    if unread:
        return _decoded(read, table, ids, reply)
    return gathering.add(read, (ids, items), f"BatchGetItem {table}")


def _gathered(table: str, pieces: Sequence[Piece[tuple[pl.Series, bytes]]]) -> FeatureColumns:  # noqa: ARG001 - one gathering is of one table
    ids = pl.concat([piece.said[0] for piece in pieces])
    arrays = [piece.said[1].strip()[1:-1].strip() for piece in pieces]
    return _columns(pieces[0].read, ids, b"[%s]" % b",".join(filter(None, arrays)))


def _columns(read: OnlineRead, ids: pl.Series, items: bytes) -> FeatureColumns:
    """Make columns of items, in the order of the identifiers."""
    names = [feature.name for feature in read.features]
    cells = pl.Struct(dict.fromkeys(names, pl.Struct({"B": pl.String()})))
    kind = pl.Struct({"entity_id": _TEXT, "event_ts": _TEXT, "values": pl.Struct({"M": cells})})
    found = json_columns.decode(items, kind, "Responses").struct.unnest()
    rows = places(ids, found["entity_id"].struct["S"])
    held = found["values"].struct["M"]
    values = [_binary(held.struct[name].struct["B"].gather(rows), name) for name in names]
    times = event_times(found["event_ts"].struct["S"]).gather(rows)
    return answer(read, values, times)


def _binary(texts: pl.Series, name: str) -> BinaryColumn:
    try:
        decoded = texts.str.decode("base64")
    except pl.exceptions.PolarsError as error:
        msg = f"the column {name!r}: what should be base64 is not"
        raise ProtocolError(msg) from error
    return BinaryColumn.of(decoded.to_arrow().cast(pa.large_binary()))
