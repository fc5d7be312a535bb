"""One call for records of several feature groups, where they are few."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from featkit.calls import Call, HttpRequest
from featkit.errors import AuthError, ProtocolError, RequestRejected, UnknownNameError
from featkit.flows import made_once
from featkit.stores.sagemaker.messages import Batch, batch_of
from featkit.stores.sagemaker.records import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from featkit.calls import Flow, HttpReply

RECORDS = 100
"""How many records one call may ask for."""
GROUPS = 10
"""Of how many feature groups they may be."""

_OF_ONE = (AuthError, RequestRejected, UnknownNameError)  # what may be about one of the groups


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says of one feature group.

    Attributes
    ----------
    records
        One row per record, as `RECORD` has it.
    said
        The errors, and what was not looked for.
    """

    records: pl.DataFrame
    said: Batch

    @classmethod
    def of(cls, reply: HttpReply) -> Answer:
        """Read a reply."""
        said = batch_of(reply)
        return cls(parsed(said.records), said)

    def part(self, group: str) -> Answer:
        """Take what is of one feature group."""
        errors = tuple(own for own in self.said.errors if own.feature_group_name == group)
        left = self.said.unprocessed_identifiers
        own = tuple(own for own in left if own.feature_group_name == group)
        of_group = pl.col("FeatureGroupName").eq_missing(pl.lit(group))
        said = Batch(errors=errors, unprocessed_identifiers=own)
        return Answer(self.records.filter(of_group), said)

    def check(self, groups: Sequence[str]) -> None:
        """Raise `ProtocolError` where it tells of other groups than were asked for."""
        told = {*self.records["FeatureGroupName"]}
        told |= {own.feature_group_name for own in self.said.errors}
        told |= {own.feature_group_name for own in self.said.unprocessed_identifiers}
        if others := told - {*groups}:
            msg = (
                f"the answer tells of other feature groups than {groups}: {sorted(others, key=str)}"
            )
            raise ProtocolError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RecordsRequest(HttpRequest):
    """A request for records of one feature group, which may go with others.

    Attributes
    ----------
    group
        The feature group.
    asked
        What is asked of it, as JSON.
    load
        Requests of one load go together.
    """

    group: str
    asked: bytes
    load: int = -1

    def alike(self) -> Hashable:
        """Return the load; by itself, what is sent."""
        return self.load if self.load >= 0 else HttpRequest.alike(self)

    def joined(self, others: Sequence[Any]) -> tuple[HttpRequest, list[Callable[[Any], Any]]]:
        """Return one request for all groups, and what takes each one's part of the reply."""
        every = (self, *others)
        request = replace(self, body=body_of([own.asked for own in every]))
        shared = _Shared([own.group for own in every])
        return request, [partial(shared.part, own.group) for own in every]


class _Shared:
    """A reply that several calls read; it is decoded once."""

    def __init__(self, groups: Sequence[str]) -> None:
        self._groups = groups
        self._read: tuple[HttpReply, Answer] | None = None

    def part(self, group: str, reply: HttpReply) -> Answer:
        if self._read is None or self._read[0] is not reply:
            answer = Answer.of(reply)
            answer.check(self._groups)
            self._read = reply, answer
        return self._read[1].part(group)


def body_of(asked: Sequence[bytes]) -> bytes:
    """Write a request for what is asked of some groups."""
    before = b'{"ExpirationTimeResponse": "Enabled", "Identifiers": ['
    return b"%s%s]}" % (before, b", ".join(asked))


def loaded(calls: Sequence[Call[Any]]) -> list[Call[Any]]:
    """Pack calls into loads, as many into one as the service takes, each group once."""
    room: dict[int, tuple[int, set[str]]] = {}  # loads that are not full: their records and groups
    packed = []
    for number, call in enumerate(calls):
        request = call.request
        assert isinstance(request, RecordsRequest)  # noqa: S101 - ours
        fitting = (load for load, own in room.items() if _fits(own, call.keys, request.group))
        load = next(fitting, number)
        records, groups = room.pop(load, (0, set()))
        if records + call.keys < RECORDS and len(groups) + 1 < GROUPS:
            room[load] = records + call.keys, groups | {request.group}
        packed.append(replace(call, request=replace(request, load=load)))
    return packed


def _fits(load: tuple[int, set[str]], records: int, group: str) -> bool:
    return load[0] + records <= RECORDS and group not in load[1]


def perform(calls: Sequence[Call[Any]]) -> Flow[list[Any]]:
    """Make calls, several groups in one; where such a one is refused, each group by itself."""
    answers = yield from made_once(calls)
    loads = Counter(_load(call) for call in calls)
    again = [
        place
        for place, (call, answer) in enumerate(zip(calls, answers, strict=True))
        if isinstance(answer, _OF_ONE) and _load(call) >= 0 and loads[_load(call)] > 1
    ]
    if again:
        alone = yield [calls[place] for place in again]
        for place, answer in zip(again, alone, strict=True):
            answers[place] = answer
    return answers


def _load(call: Call[Any]) -> int:
    request = call.request
    assert isinstance(request, RecordsRequest)  # noqa: S101 - as above
    return request.load
