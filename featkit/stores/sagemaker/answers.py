"""Questions to SageMaker's online store, and whether what comes back answers them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np
import polars as pl

from featkit.auth import aws
from featkit.columns import FeatureColumns, Status, everywhere
from featkit.errors import (
    IncompleteAnswer,
    KeyTypeError,
    ProtocolError,
    RowMismatch,
    StoreUnavailable,
    ThrottledError,
)
from featkit.stores.sagemaker.messages import (
    Batch,
    ValueType,
    as_json,
    as_text,
    batch_of,
    times,
)
from featkit.stores.sagemaker.records import Records
from featkit.stores.sagemaker.together import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from featkit.calls import HttpReply
    from featkit.errors import FeatkitError
    from featkit.online.gathering import Gathering, Later, Piece
    from featkit.stores.base import OnlineRead

GROUP, IDENTIFIER = "feature_group", "record_identifier_feature"
EVENT_TIME, EVENT_TYPE = "event_time_feature", "event_time_type"
"""Tags of a view: its feature group, and which features of that are identifier and event time."""

_AT = "__featkit_row"
_INK = re.compile(rb"\S")
_Records: TypeAlias = tuple[pl.Series, msgspec.Raw]
"""What gathers: the identifiers that were asked for, and the records as JSON."""


@dataclass(frozen=True)
class Question:
    """What is asked of a feature group about some entities, and how its answer is read.

    Attributes
    ----------
    read
        The question.
    types
        The type of each feature.
    separator
        What stands between the parts of a composite key; None: they are a JSON array.
    """

    read: OnlineRead
    types: Mapping[str, ValueType]
    separator: str | None

    @property
    def _group(self) -> str:
        return self.read.view.tags[GROUP]

    def ids(self) -> pl.Series:
        """Write the keys as record identifiers."""
        keys = self.read.keys
        schema = list(keys.schema.items())
        if len(schema) == 1:
            written = as_text(*schema[0])
        elif self.separator is None:
            parts = pl.concat_str([as_json(*own) for own in schema], separator=",")
            written = pl.concat_str(pl.lit("["), parts, pl.lit("]"))
        else:
            texts = [as_text(*own) for own in schema]
            written = pl.concat_str(texts, separator=self.separator)
            held = keys.select(pl.any_horizontal(_holds(own, self.separator) for own in texts))
            if (bad := held.to_series().arg_max()) is not None and held.item(bad, 0):
                msg = (
                    f"the key {keys.row(bad)!r} of feature view {self.read.view.name!r} holds the "
                    f"separator {self.separator!r}, so that its identifier may be that of another"
                )
                raise KeyTypeError(msg)
        return keys.select(written.alias("id")).to_series()

    def asked(self, ids: pl.Series, heights: Sequence[int]) -> list[bytes]:
        """Write what is asked in calls for so many identifiers; the event time always is."""
        names = [self.read.view.tags[EVENT_TIME], *(own.name for own in self.read.features)]
        asked = json.dumps(
            {"FeatureGroupName": self._group, "FeatureNames": list(dict.fromkeys(names))}
        )
        calls = pl.Series("call", np.repeat(np.arange(len(heights)), heights))
        lists = ids.to_frame("ids").group_by(calls, maintain_order=True).all()
        array = pl.struct(pl.col("ids").alias("")).struct.json_encode()  # {"":["a","b"]}
        arrays = lists.select(array.str.slice(4).str.head(-1)).to_series().to_list()
        before = f'{asked[:-1]}, "RecordIdentifiersValueAsString": '
        return [f"{before}{own}}}".encode() for own in arrays]

    def answer(self, ids: pl.Series, reply: HttpReply | Answer) -> FeatureColumns:
        """Read the answer, if it is one to this question.

        Raises
        ------
        IncompleteAnswer
            Some entities were not looked for, or failed; the others are in its `partial`.
        """
        answer = reply if isinstance(reply, Answer) else Answer.of(reply)
        return self._read(ids, Records.of(answer.records), answer.said)

    def later(
        self,
        gathering: Gathering[_Records],
        read: OnlineRead,
        ids: pl.Series,
        reply: HttpReply | Answer,
    ) -> Later | FeatureColumns:
        """Read an answer; one that leaves nothing out gathers with others before it is decoded."""
        if isinstance(reply, Answer):  # one call for several groups
            return self.answer(ids, reply)
        said = batch_of(reply)
        if said.errors or said.unprocessed_identifiers:
            return self.answer(ids, reply)
        return gathering.add(read, (ids, said.records), "BatchGetRecord")

    def gathered(self, pieces: Sequence[Piece[_Records]]) -> FeatureColumns:
        """Make columns of what gathered."""
        ids = pl.concat([piece.said[0] for piece in pieces])
        arrays = [memoryview(piece.said[1])[1:-1] for piece in pieces]
        text = b"[%s]" % b",".join(filter(_INK.search, arrays))
        return self._read(ids, Records.read(text), Batch())

    def _read(self, ids: pl.Series, records: Records, said: Batch) -> FeatureColumns:
        rows = self._rows(ids, records.heads["RecordIdentifierValueAsString"], "Records")
        if not records.heads["FeatureGroupName"].eq_missing(self._group).all():
            msg = f"the answer has records of other feature groups than {self._group!r}"
            raise ProtocolError(msg)
        failed = [own.record_identifier_value_as_string for own in said.errors]
        left = [
            one
            for own in said.unprocessed_identifiers
            for one in own.record_identifiers_value_as_string
        ]
        lost = self._rows(ids, pl.Series(failed + left, dtype=pl.String), "Errors")
        status = everywhere(Status.NOT_FOUND, len(ids))
        status = status.scatter(rows, Status.PRESENT).scatter(lost, Status.ERROR)
        if len(rows) + len(lost) != pl.concat([rows, lost]).n_unique():
            msg = "the answer tells of an entity twice; nothing was joined"
            raise RowMismatch(msg)
        columns = self._columns(rows, records, status)
        if len(lost):
            raise self._incomplete(said, columns, left)
        return columns

    def _rows(self, ids: pl.Series, echoed: pl.Series, what: str) -> pl.Series:
        """Find the row of each entity that the answer tells of, by its identifier."""
        asked = ids.to_frame("id").with_row_index(_AT)
        found = echoed.to_frame("id").join(asked, on="id", how="left", maintain_order="left")
        if found[_AT].null_count():
            msg = (
                f"{what}: the answer is for other entities than were asked for; nothing was joined"
            )
            raise RowMismatch(msg)
        return found[_AT]

    def _columns(self, rows: pl.Series, records: Records, status: pl.Series) -> FeatureColumns:
        height = len(status)
        at = pl.repeat(None, height, dtype=pl.UInt32, eager=True)
        at = at.scatter(rows, pl.int_range(len(rows), dtype=pl.UInt32, eager=True))
        columns = {own.name: self._values(records, own.name, at) for own in self.read.features}
        values = pl.DataFrame(list(columns.values()))
        statuses = dict.fromkeys(columns, status)
        expired = self._expired(rows, records.heads["ExpiresAt"], height)
        if expired is not None:
            statuses = {
                name: status.set(expired & column.is_not_null(), Status.EXPIRED)
                for name, column in columns.items()
            }
        if self.read.view.timestamp is None:
            return FeatureColumns(values, statuses)
        tags = self.read.view.tags
        texts = records.texts(tags[EVENT_TIME], at)
        stamps = times(texts, tags[EVENT_TYPE], strict=False).alias("time")
        return FeatureColumns(values, statuses, dict.fromkeys(columns, stamps))

    def _values(self, records: Records, name: str, at: pl.Series) -> pl.Series:
        """Read one feature; where a record does not have it, it is null."""
        kind = self.types[name]
        return kind.read(records.texts(name, at, many=kind.many), name)

    def _expired(self, rows: pl.Series, ends: pl.Series, height: int) -> pl.Series | None:
        """Tell which records should be gone by now, but are not yet; None: none of them."""
        if ends.null_count() == len(ends):
            return None
        over = times(ends, "String", strict=False) < self.read.now
        late = rows.filter(over.fill_null(value=False))
        none = pl.Series([False]).new_from_index(0, height)
        return none.scatter(late, values=True) if len(late) else None

    def _incomplete(self, said: Batch, columns: FeatureColumns, left: list[str]) -> FeatkitError:
        """Say why some entities have no answer, and whether asking again may help."""
        kinds = {own.error_code for own in said.errors}
        reasons = [aws.named(own.error_code, own.error_message, 200) for own in said.errors]
        passing = [isinstance(reason, StoreUnavailable) for reason in reasons]
        lost = len(said.errors) + len(left)
        if len(said.errors) == len(columns) and len(kinds) == 1 and not passing[0] and reasons[0]:
            return reasons[0]  # it is about the feature group, not about an entity
        first = said.errors[0] if said.errors else None
        why = f"{first.error_code}: {first.error_message}" if first else "left unprocessed"
        msg = (
            f"the feature group {self._group!r} did not answer for {lost:,} of {len(columns):,} "
            f"entities; the first: {why}"
        )
        again = bool(left) or any(passing)
        if again and lost == len(columns):  # nothing was gained: the store needs a pause
            return ThrottledError(msg)
        error = IncompleteAnswer(msg, again=again)
        error.partial = columns
        return error


def _holds(texts: pl.Expr, separator: str) -> pl.Expr:
    return texts.str.contains(separator, literal=True)
