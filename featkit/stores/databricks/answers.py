"""Questions to serving endpoints, and whether what comes back answers them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from featkit.codecs import json_messages
from featkit.codecs.json_rows import JsonRows
from featkit.columns import FeatureColumns, Status, everywhere
from featkit.errors import (
    KeyTypeError,
    NotSupportedError,
    ProtocolError,
    RowMismatch,
    nearest,
)
from featkit.stores.databricks.refusals import Refusal, named
from featkit.stores.databricks.types import kind_of

if TYPE_CHECKING:
    from featkit.calls import HttpReply
    from featkit.errors import FeatkitError
    from featkit.stores.base import OnlineRead


class _Response(Refusal, frozen=True):
    """What an endpoint sends: rows of features, or, if it serves a model, predictions."""

    outputs: msgspec.Raw = msgspec.Raw()
    predictions: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an endpoint, and how its answer is read.

    Attributes
    ----------
    read
        What is asked.
    endpoint
        Who is asked, for messages.
    zone
        What naive timestamps mean; None: they are refused.
    """

    read: OnlineRead
    endpoint: str
    zone: str | None

    def body(self) -> bytes:
        """Write the keys as rows."""
        keys = self.read.keys
        for own in keys.get_columns():
            if own.dtype.is_float() and not own.is_finite().all():
                msg = (
                    f"the join key {own.name!r} holds {own.filter(~own.is_finite())[0]}, and JSON, "
                    "in which serving endpoints are asked, has no number for it; make it null"
                )
                raise KeyTypeError(msg)
        values = [_json(name, dtype) for name, dtype in keys.schema.items()]
        row = pl.format(f"[{', '.join(['{}'] * len(values))}]", *values)
        rows = keys.select(row.str.join(",")).item()
        columns = json.dumps(keys.columns)
        return f'{{"dataframe_split":{{"columns":{columns},"data":[{rows}]}}}}'.encode()

    def answer(self, reply: HttpReply) -> FeatureColumns:
        """Read the answer, if it is one to this question; rows come in the order asked."""
        outputs = self._outputs(reply)
        view, names = self.read.view, [feature.name for feature in self.read.features]
        raw = outputs.fields([*names, *view.join_keys, view.timestamp or ""])
        if missing := [name for name in names if name not in raw]:
            served = set(msgspec.json.decode(outputs.items()[0], type=list[str]))
            msg = (
                f"the endpoint {self.endpoint!r} does not serve the feature {missing[0]!r} of "
                f"{view.name!r}: its feature spec would have to look it up. Of what it answers "
                f"with: {nearest(missing[0], served - {*view.join_keys})}"
            )
            raise ProtocolError(msg)
        self._check_keys(raw)
        values = pl.DataFrame(
            [
                kind_of(feature.store_type, self.zone).decode(raw[feature.name], feature.name)
                for feature in self.read.features
            ]
        )
        present = everywhere(Status.PRESENT, values.height)
        if not view.timestamp or view.timestamp not in raw:
            return FeatureColumns(values, dict.fromkeys(names, present))
        times = kind_of("timestamp", self.zone).decode(raw[view.timestamp], view.timestamp)
        # the row is there iff it has a time: it is part of the table's primary key
        told = present.set(times.is_null(), Status.NOT_FOUND)
        held = values.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
        if (held & times.is_null()).any():
            msg = f"the endpoint {self.endpoint!r} sent a value without its {view.timestamp!r}"
            raise ProtocolError(msg)
        return FeatureColumns(values, dict.fromkeys(names, told), dict.fromkeys(names, times))

    def _outputs(self, reply: HttpReply) -> JsonRows:
        said = json_messages.read_if(_Response, reply.body)
        if said is None:  # servers of Python write NaN bare, which is no JSON
            body = json_messages.with_words(reply.body)
            said = json_messages.read(_Response, body, "a feature serving endpoint")
        if not bytes(said.outputs):
            raise self._no_rows(said)
        rows = JsonRows(bytes(said.outputs))
        if rows.height != self.read.keys.height:
            msg = (
                f"the endpoint {self.endpoint!r} was asked for {self.read.keys.height} rows and "
                f"sent {rows.height}; nothing was joined"
            )
            raise RowMismatch(msg)
        return rows

    def _no_rows(self, said: _Response) -> FeatkitError:
        """Say what came in place of rows, though the status was that of a success."""
        if said.reason:
            words = ": ".join(filter(None, (str(said.error_code), said.reason)))
            return named(str(said.error_code), f"the endpoint {self.endpoint!r} says: {words}")
        if bytes(said.predictions):
            msg = (
                f"the endpoint {self.endpoint!r} serves a model: it answers with predictions, not "
                "with features; name one that serves a feature spec"
            )
            return ProtocolError(msg)
        return ProtocolError(f"the endpoint {self.endpoint!r} answers without 'outputs'")

    def _check_keys(self, raw: dict[str, bytes]) -> None:
        """Compare the keys with those asked for, where the endpoint repeats them."""
        for entity in self.read.view.entities:
            if entity.join_key in raw:
                kind = kind_of(entity.store_type, self.zone)
                echo = kind.decode(raw[entity.join_key], entity.join_key)
                if not echo.equals(self.read.keys[entity.join_key]):
                    msg = (
                        f"the endpoint {self.endpoint!r} answered for other values of "
                        f"{entity.join_key!r} than were asked for; nothing was joined"
                    )
                    raise RowMismatch(msg)


def _json(name: str, dtype: pl.DataType) -> pl.Expr:
    """Write a column of keys as JSON, one text per value."""
    keys = pl.col(name)
    match dtype:
        case pl.Boolean():
            return keys.cast(pl.String)
        case pl.Datetime():
            return pl.format('"{}"', keys.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
        case pl.Date():
            return pl.format('"{}"', keys.cast(pl.String))
        case _ if dtype.is_numeric():
            return keys.cast(pl.String)
        case pl.String():
            held = pl.struct(keys.alias("k")).struct.json_encode()  # {"k":"text"}
            return held.str.slice(len('{"k":')).str.head(-1)
        case _:
            msg = f"the join key {name!r} is {dtype}, which serving endpoints cannot be asked for"
            raise NotSupportedError(msg)
