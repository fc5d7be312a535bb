"""Many entities in one call: a stream of answers over gRPC, read column by column.

The method is of the version v1beta1, and there is none over REST. Answers come in any order, each
with its key, and not one for one; what the store does not have comes as keys with an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from featkit.codecs.binary_columns import BinaryColumn
from featkit.codecs.protobuf import DELIMITED, VARINT, elements, fields, repeated, varints
from featkit.codecs.protobuf_writing import concatenated, field, joined, tagged
from featkit.columns import FeatureColumns, Status, everywhere
from featkit.errors import (
    FeatkitError,
    IncompleteAnswer,
    ProtocolError,
    RowMismatch,
    ThrottledError,
)
from featkit.stores.vertex.values import texts_of
from featkit.stores.vertex.wire import Cells, names_of, times_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.calls import GrpcReply
    from featkit.online.gathering import Gathering, Later, Piece
    from featkit.stores.base import OnlineRead

METHOD = "/google.cloud.aiplatform.v1beta1.FeatureOnlineStoreService/StreamingFetchFeatureValues"
_VIEW, _KEYS, _FORMAT = 1, 2, b"\x18\x01"  # of a request; KEY_VALUE
_STATUS, _DATA, _FAILED = 1, 2, 3  # of an answer
_KEY_VALUES, _DATA_KEY = 3, 4  # of what it says of an entity
_NAME, _VALUE = 1, 2  # of a feature
_NOT_FOUND = 5  # the code of google.rpc
_PASSING = {4: "too slow", 8: "exhausted", 10: "aborted", 13: "in trouble", 14: "unavailable"}
_AT = "__featkit_row"


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What a stream said, before its values are read.

    Attributes
    ----------
    rows
        The rows of the entities that it has values of.
    pairs
        The values of each of these.
    status
        One for each entity that was asked for; `ERROR`: there is no answer.
    errors
        Code and text of what went wrong.
    """

    rows: pl.Series
    pairs: BinaryColumn
    status: pl.Series
    errors: list[tuple[int, str]]


@dataclass(frozen=True)
class Stream:
    """What is asked of a view about some entities, and how the stream of answers is read.

    Attributes
    ----------
    read
        What is asked.
    view
        The name of the view, from the project on.
    """

    read: OnlineRead
    view: str

    @cached_property
    def keys(self) -> pa.Array:
        """Each key, written as the message that answers repeat."""
        texts = texts_of(self.read)
        parts = [column.to_arrow().cast(pa.large_binary()) for column in texts]
        if len(parts) == 1:
            return tagged(1, parts[0])
        return tagged(2, joined(*(tagged(1, part) for part in parts)))

    def body(self) -> bytes:
        """Write the question: one message with all keys."""
        keys = concatenated(tagged(_KEYS, self.keys))
        return field(_VIEW, self.view.encode()) + keys + _FORMAT

    def columns(self, reply: GrpcReply) -> FeatureColumns:
        """Read the answers, if they are to this question.

        Raises
        ------
        IncompleteAnswer
            For some entities there is no answer; the others are in its `partial`.
        """
        return self._complete(self._heard(reply))

    def later(self, gathering: Gathering[Heard], reply: GrpcReply) -> Later | FeatureColumns:
        """Read the answers; where none is missing they gather with those of other streams."""
        heard = self._heard(reply)
        if (heard.status == Status.ERROR).any():
            return self._complete(heard)
        return gathering.add(self.read, heard, f"view {self.read.view.name}")

    @classmethod
    def gathered(cls, pieces: Sequence[Piece[Heard]]) -> FeatureColumns:
        """Make columns of what gathered."""
        heights = [piece.read.keys.height for piece in pieces]
        firsts = np.cumsum([0, *heights[:-1]]).tolist()
        keys = pl.concat([piece.read.keys for piece in pieces])
        heard = [piece.said for piece in pieces]
        whole = Heard(
            pl.concat([own.rows + first for own, first in zip(heard, firsts, strict=True)]),
            BinaryColumn.concat([own.pairs for own in heard]),
            pl.concat([own.status for own in heard]),
            [],
        )
        return cls(replace(pieces[0].read, keys=keys), "").read_values(whole)

    def _heard(self, reply: GrpcReply) -> Heard:
        """Find out of which entities there are answers, and where these are."""
        found = elements(
            BinaryColumn.whole(reply.body),
            {_STATUS: DELIMITED, _DATA: DELIMITED, _FAILED: DELIMITED},
        )
        said = fields(found[_DATA][0], {_KEY_VALUES: DELIMITED, _DATA_KEY: DELIMITED, 2: DELIMITED})
        if said[_KEY_VALUES].is_null().any() or said[_DATA_KEY].is_null().any():
            msg = "an online store of Vertex AI sent an answer without its key or its values"
            raise ProtocolError(msg)
        rows = self._rows(said[_DATA_KEY])
        failed = self._rows(found[_FAILED][0])
        both = pl.concat([rows, failed])
        if both.n_unique() != len(both):
            msg = "an online store of Vertex AI answered for an entity twice; nothing was joined"
            raise RowMismatch(msg)
        codes = self._codes(found[_STATUS][0])
        errors = sorted((code, text) for code, text in codes if code != _NOT_FOUND)
        status = everywhere(Status.ERROR, self.read.keys.height)
        status = status.scatter(rows, Status.PRESENT)
        if codes and not errors:  # else nobody knows which error is whose
            status = status.scatter(failed, Status.NOT_FOUND)
        return Heard(rows, said[_KEY_VALUES], status, errors)

    def rescued(self, reply: GrpcReply) -> FeatkitError | None:
        """Keep what came before a stream broke, so that the rest alone is asked for again."""
        try:
            self.columns(reply)
        except IncompleteAnswer as error:
            return error
        except ThrottledError:  # nothing came of which anything can be made
            return None
        return None

    def _rows(self, keys: BinaryColumn) -> pl.Series:
        """Find the rows of the keys that answers repeat."""
        echo = keys.to_arrow()
        if echo.equals(self.keys[: len(echo)]):  # the usual, and where there are none
            return pl.int_range(len(echo), dtype=pl.get_index_type(), eager=True)
        told = pl.DataFrame({"key": pl.Series(echo)})
        asked = pl.DataFrame({"key": pl.Series(self.keys)}).with_row_index(_AT)
        rows = told.join(asked, on="key", how="left", maintain_order="left")[_AT]
        if rows.null_count():
            msg = (
                "an online store of Vertex AI answered for other entities than were asked for; "
                "nothing was joined"
            )
            raise RowMismatch(msg)
        return rows

    @staticmethod
    def _codes(statuses: BinaryColumn) -> set[tuple[int, str]]:
        """Read the statuses of a stream, but those that say that all is well."""
        read = fields(statuses, {1: VARINT, 2: DELIMITED, 3: DELIMITED})
        codes = varints(read[1]).astype(np.int64).tolist()
        words = read[2].to_arrow().cast(pa.large_string()).to_pylist()
        return {(code, text or "") for code, text in zip(codes, words, strict=True) if code}

    def _complete(self, heard: Heard) -> FeatureColumns:
        """Make columns, and say of which entities there is no answer."""
        columns = self.read_values(heard)
        lost = int((heard.status == Status.ERROR).sum())
        if not lost:
            return columns
        raise self._incomplete(columns, lost, heard.errors)

    def read_values(self, heard: Heard) -> FeatureColumns:
        """Read the values of the entities that there are answers of."""
        rows, status = heard.rows, heard.status
        features, counts = repeated(heard.pairs, 1)
        named = fields(features, {_NAME: DELIMITED, _VALUE: DELIMITED})
        owner = np.repeat(np.arange(len(rows)), counts)
        codes, names = names_of(named[_NAME])
        made, stamps, times = [], {}, times_of()
        for feature in self.read.features:
            code = names.index(feature.name) if feature.name in names else len(names)
            own = np.flatnonzero(codes == code)
            if not np.array_equal(owner[own], np.arange(len(rows))):
                msg = (
                    f"{self.read.view.name}:{feature.name}: not every entity has one value of it; "
                    f"the answers have {sorted(map(str, names))}"
                )
                raise ProtocolError(msg)
            place = np.full(len(status), -1)
            place[rows] = own
            cells = Cells(named[_VALUE].at(place))
            made.append(cells.values(feature))
            if self.read.view.timestamp:
                stamps[feature.name] = times(cells.metadata)
        statuses = dict.fromkeys((own.name for own in self.read.features), status)
        return FeatureColumns(pl.DataFrame(made), statuses, stamps)

    def _incomplete(
        self, columns: FeatureColumns, lost: int, errors: list[tuple[int, str]]
    ) -> FeatkitError:
        code, text = errors[0] if errors else (0, "")
        why = f"{_PASSING.get(code, f'code {code}')}: {text}" if code else "they were left out"
        msg = (
            f"{self.read.view.name!r}: there is no answer for {lost:,} of {len(columns):,} "
            f"entities: {why}"
        )
        again = not code or code in _PASSING
        if again and lost == len(columns):  # nothing was gained: the store needs a pause
            return ThrottledError(msg)
        error = IncompleteAnswer(msg, again=again)
        error.partial = columns
        return error
