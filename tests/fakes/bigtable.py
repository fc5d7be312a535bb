"""A Bigtable that is strict, and cuts its answers up as the service may.

It speaks what Feast's own client and featkit use of the data and the admin API. Messages are read
and written here by hand, so that nothing is shared with the code under test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import mmh3

from tests.fakes.feast_format import rows as written_rows
from tests.fakes.protobuf import members, part, varint
from tests.fakes.rpc import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from featkit.schema import FeatureView

Row: TypeAlias = dict[tuple[str, bytes], list[tuple[int, bytes]]]
"""The cells of each column, the latest first, each with its time."""

DATA, ADMIN = "/google.bigtable.v2.Bigtable/", "/google.bigtable.admin.v2.BigtableTableAdmin/"
PLACE = "projects/p/instances/i"
FAMILY = "features"


def number(name: int, value: int) -> bytes:
    return varint(name << 3) + varint(value) if value else b""


def several(message: bytes, name: int) -> list[Any]:
    return [held for own, held in members(message) if own == name]


def one(message: bytes, name: int, otherwise: Any = b"") -> Any:
    return ([otherwise, *several(message, name)])[-1]


class Refused(Exception):  # noqa: N818 - an answer
    """What a call is refused with: the status and what is said."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A part of an answer."""

    key: bytes = b""
    family: str | None = None
    column: bytes | None = None
    value: bytes = b""
    size: int = 0
    reset: bool = False
    commit: bool = False

    def encoded(self) -> bytes:
        named = b"" if self.family is None else part(2, part(1, self.family.encode()))
        if self.column is not None:
            named += part(3, part(1, self.column) if self.column else b"")
        value = part(6, self.value) if self.value else b""
        ends = number(8, self.reset) + number(9, self.commit)
        return (
            (part(1, self.key) if self.key else b"") + named + value + number(7, self.size) + ends
        )


@dataclass
class Bigtable(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """The fake.

    Attributes
    ----------
    cut
        Cells longer than this are sent in parts, of so many bytes or an eighth of the cell.
    again
        Every so many rows one is begun, given up, and begun anew.
    together
        Chunks in a message.
    terse
        Whether a chunk leaves out the family where it is that of the chunk before.
    most
        Keys that a request may name.
    refuse
        Status and words to refuse a call with.
    spoil
        Changes the messages of an answer.
    breaks
        After how many messages the next answers break off, and with what; each once.
    asked
        How many keys each request named.
    told
        The metadata of each request.
    """

    tables: dict[str, dict[bytes, Row]] = field(default_factory=dict)
    families: dict[str, set[str]] = field(default_factory=dict)
    cut: int = 10**9
    again: int = 0
    together: int = 7
    terse: bool = True
    most: int = 10_000
    refuse: tuple[grpc.StatusCode, str] | None = None
    spoil: Callable[[list[bytes]], Sequence[bytes]] = lambda messages: messages
    breaks: list[tuple[int, grpc.StatusCode]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    told: list[dict[str, str]] = field(default_factory=list)

    def service(self, details: Any) -> Any:
        unary = {
            f"{ADMIN}CreateTable": self.create,
            f"{ADMIN}GetTable": self.described,
            f"{ADMIN}ModifyColumnFamilies": self.modify,
            f"{DATA}PingAndWarm": lambda _: b"",
        }
        streams = {
            f"{DATA}ReadRows": self.read,
            f"{DATA}MutateRows": self.mutate,
        }
        if details.method in unary:
            return grpc.unary_unary_rpc_method_handler(self.guarded(unary[details.method]))
        if details.method in streams:
            return grpc.unary_stream_rpc_method_handler(self.streamed(streams[details.method]))
        return None

    def streamed(self, act: Callable[[bytes], Sequence[bytes]]) -> Callable[[bytes, Any], Any]:
        def answer(body: bytes, context: Any) -> Iterator[bytes]:
            messages = self.guarded(act)(body, context)
            if not self.breaks:
                yield from messages
                return
            after, code = self.breaks.pop(0)
            yield from messages[:after]
            context.abort(code, "it broke off")

        return answer

    def guarded(self, act: Callable[[bytes], Any]) -> Callable[[bytes, Any], Any]:
        def answer(body: bytes, context: Any) -> Any:
            self.told.append(dict(context.invocation_metadata()))
            if self.refuse is not None:
                context.abort(*self.refuse)
            try:
                return act(body)
            except Refused as refused:
                context.abort(*refused.args)

        return answer

    # -- tables

    def of(self, name: bytes) -> dict[bytes, Row]:
        if (table := self.tables.get(name.decode())) is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Table not found: {name.decode()}")
        return table

    def create(self, body: bytes) -> bytes:
        name = f"{one(body, 1).decode()}/tables/{one(body, 2).decode()}"
        self.tables[name] = {}
        entries = several(one(body, 3), 3)
        self.families[name] = {one(entry, 1).decode() for entry in entries}
        return self.described(part(1, name.encode()))

    def described(self, body: bytes) -> bytes:
        self.of(one(body, 1))
        families = self.families[one(body, 1).decode()]
        entries = [part(3, part(1, family.encode()) + part(2, b"")) for family in families]
        return part(1, one(body, 1)) + b"".join(entries)

    def modify(self, body: bytes) -> bytes:
        self.of(one(body, 1))
        new = {one(change, 1).decode() for change in several(body, 2)}
        self.families[one(body, 1).decode()] |= new
        return self.described(part(1, one(body, 1)))

    # -- rows

    def mutate(self, body: bytes) -> list[bytes]:
        table, known = self.of(one(body, 1)), self.families[one(body, 1).decode()]
        done = []
        for place, entry in enumerate(several(body, 2)):
            row = table.setdefault(one(entry, 1), {})
            for mutation in several(entry, 2):
                cell = one(mutation, 1)
                assert one(cell, 1).decode() in known
                cells = row.setdefault((one(cell, 1).decode(), one(cell, 2)), [])
                cells[:] = sorted([(one(cell, 3, 0), one(cell, 4)), *cells], reverse=True)
            done.append(part(1, number(1, place) + part(2, b"")))
        return [b"".join(done)]

    def read(self, body: bytes) -> Sequence[bytes]:
        table, asked = self.of(one(body, 1)), one(body, 2, None)
        keys = sorted(table if asked is None else several(asked, 1))
        self.asked.append(len(keys) if asked is not None else 0)
        if len(keys) > self.most or len(set(keys)) < len(keys):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "too many keys, or the same twice")
        found = {
            key: kept for key in keys if key in table and (kept := self.seen(table[key], body))
        }
        limit = one(body, 4, len(found)) or len(found)
        chunks = [
            chunk
            for place, (key, cells) in enumerate(list(found.items())[:limit])
            for chunk in self.chunks(place, key, cells)
        ]
        encoded = [part(1, chunk.encoded()) for chunk in chunks]
        groups = range(0, len(encoded), self.together)
        messages = [b"".join(encoded[start : start + self.together]) for start in groups]
        return self.spoil([*messages, part(2, keys[-1])] if keys else messages)

    def seen(self, row: Row, body: bytes) -> list[tuple[str, bytes, bytes]]:
        """Apply the filters of a request: a chain of those that are known here."""
        found = [(*name, value) for name, cells in sorted(row.items()) for _, value in cells]
        for each in several(one(one(body, 3), 1), 1):
            ((kind, held),) = members(each)
            match kind:
                case 5:
                    found = [cell for cell in found if re.fullmatch(held, cell[0].encode())]
                case 6:
                    found = [cell for cell in found if re.fullmatch(held, cell[1])]
                case 11:
                    found = found[:held]
                case 12:
                    same = groupby(found, key=lambda cell: cell[:2])
                    found = [cell for _, cells in same for cell in list(cells)[:held]]
                case 13:
                    found = [(*cell[:2], b"") for cell in found]
                case _:
                    raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"an unknown filter {kind}")
        return found

    def chunks(
        self, place: int, key: bytes, cells: list[tuple[str, bytes, bytes]]
    ) -> Iterator[Chunk]:
        if self.again and place % self.again == 0:
            yield Chunk(key=key, family=FAMILY, column=b"void", value=b"\x01\x02")
            yield Chunk(reset=True)
        before = None
        for number_, (family, column, value) in enumerate(cells):
            size = max(self.cut, len(value) // 8)
            parts = [value[at : at + size] for at in range(0, len(value), size)] or [b""]
            for at, piece in enumerate(parts):
                last = at == len(parts) - 1
                first = at == 0
                yield Chunk(
                    key=key if number_ == 0 and first else b"",
                    family=family if first and not (self.terse and family == before) else None,
                    column=column if first else None,
                    value=piece,
                    size=0 if last else len(value),
                    commit=last and number_ == len(cells) - 1,
                )
            before = family


def served(fake: Bigtable) -> AbstractContextManager[str]:
    """Serve a fake, and give the address."""
    return serving(fake, threads=8, options=[("grpc.max_receive_message_length", -1)])


def fill(address: str, project: str, views: Sequence[tuple[FeatureView, Any]]) -> None:
    """Write views as Feast materialises them."""
    with grpc.insecure_channel(address) as channel:
        create = channel.unary_unary(f"{ADMIN}CreateTable")
        mutate = channel.unary_stream(f"{DATA}MutateRows")
        made: set[str] = set()
        for view, frame in views:
            names = sorted(entity.name for entity in view.entities)
            table = f"{project}.{'-'.join(names) or '__dummy'}"
            if table not in made:
                family = part(3, part(1, FAMILY.encode()) + part(2, b""))
                create(part(1, PLACE.encode()) + part(2, table.encode()) + part(3, family))
                made.add(table)
            entries = []
            for time, (key, moment, values) in enumerate(written_rows(view, frame)):
                row_key = f"{mmh3.hash_bytes(key).hex()}#{view.name}".encode()
                held = {name.encode(): each for name, each in values.items()}
                held[b"event_ts"] = moment.isoformat().encode()
                cells = [
                    part(1, FAMILY.encode())
                    + part(2, name)
                    + number(3, 1000 * (time + 1))
                    + (part(4, each) if each else b"")
                    for name, each in held.items()
                ]
                changes = b"".join(part(2, part(1, cell)) for cell in cells)
                entries.append(part(2, part(1, row_key) + changes))
            for start in range(0, len(entries), 500):
                body = part(1, f"{PLACE}/tables/{table}".encode())
                list(mutate(body + b"".join(entries[start : start + 500])))
