"""One view in the cache: its table in memory, kept in step with its segments in a container."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.cache.containers import Entry
from featkit.cache.segments import decoded, joined
from featkit.cache.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from featkit.cache.containers import Container, Log
    from featkit.cache.segments import Segment
    from featkit.cache.tables import Hits

MANY = 16  # segments of a place, beyond which small ones are put together
_DEAD = 0.3  # share of rows that were replaced, from which on all are written anew
_WORTH = 10_000  # rows, below which that does not matter
_SMALL = 1000  # rows
_PATIENCE = 8  # writes for which somebody else is let put segments together
_TRIES = 10  # at writing segments anew while others write
_UNSEEN = object()


class CachedView:
    """What is kept of one view.

    Parameters
    ----------
    namespace, view, place
        As in `Entry`.
    """

    def __init__(self, namespace: str, view: str, place: str) -> None:
        self.namespace, self.view, self.place = namespace, view, place
        self.used = 0
        self.nbytes = 0
        self.lock = threading.RLock()
        self._table = Table()
        self._rows: dict[int, int] = {}  # of each segment that the table has
        self._version: object = None
        self._taken: object = _UNSEEN
        self._patience = 0
        self._shrunk = False  # whether the file has more than the memory
        self._damaged: set[int] = set()

    @property
    def rows(self) -> int:
        """How many keys are known."""
        return self._table.rows

    @property
    def table(self) -> Table:
        """The rows; to be used with the lock."""
        return self._table

    def find(self, keys: pl.DataFrame, names: Sequence[str]) -> list[Hits]:
        """Look for keys in what is in memory."""
        with self.lock:
            return self._table.find(keys, names)

    def follow(self, container: Container) -> int:
        """Take in what others have written, and forget what they took away.

        Returns the number of segments that cannot be read; they are removed.
        """
        with self.lock:
            version = container.version()
            if version is not None and version == self._version:
                return 0
            log = container.log(self.place)
            if self._taken not in (_UNSEEN, log.taken):
                self._table, self._rows, self._shrunk = Table(), {}, False
            self._taken = log.taken
            damaged = self._read(container, self._unread(log))
            self._rows = {n: self._rows[n] for n in log.segments if n in self._rows}
            self._version = version
            self.nbytes = self._table.nbytes
            if damaged:
                self._damaged.update(damaged)
                container.remove(damaged)
            return len(damaged)

    def _unread(self, log: Log) -> list[int]:
        """List what is to be read: not what was put together from what is here already."""
        known, wanted = self._rows.keys(), []
        inherited = {}
        for number, entry in log.segments.items():
            if number in known or number in self._damaged:
                continue
            if entry is not None and entry.replaces and known >= set(entry.replaces):
                inherited[number] = entry.rows
            else:
                wanted.append(number)
        self._rows.update(inherited)
        return wanted

    def _read(self, container: Container, numbers: Sequence[int]) -> list[int]:
        """Take segments in; return those that cannot be read."""
        damaged: list[int] = []
        group: list[Segment] = []
        for number, segment in decoded(container.read(self.place, numbers)):
            if segment is None:
                damaged.append(number)
                continue
            if group and not group[-1].goes_on(segment):
                self._table.add(joined(group).rechunked())
                group = []
            group.append(segment)  # their keys are put into the index all at once
            self._rows[number] = segment.height
        if group:
            self._table.add(joined(group).rechunked())
        return damaged

    def add(self, segment: Segment) -> None:
        """Take rows in."""
        with self.lock:
            self._table.add(segment)
            self.nbytes = self._table.nbytes

    def since(self, at: int) -> int:
        """Return the moment for rows that are fetched now: later than what took others away."""
        with self.lock:
            return max(at, self._table.gone_until + 1)

    def write(
        self,
        container: Container,
        segments: Sequence[Segment],
        slack: int,
        replaces: Sequence[int] = (),
        *,
        fewer: bool = False,
    ) -> bool:
        """Write segments; tell whether they were, which may fail only where others are replaced.

        Parameters
        ----------
        slack
            How long after its end a row may still be wanted, in microseconds.
        replaces
            Which are removed.
        fewer
            Whether there are rows in these that others must forget as well.
        """
        filled = [segment for segment in segments if segment.height]
        parts = [self._part(segment, slack, replaces) for segment in filled]
        numbers = container.append(self.place, parts, replaces=replaces, fewer=fewer)
        if numbers is None:
            return False
        with self.lock:
            self._rows.update(zip(numbers, (each.height for each in filled), strict=True))
            for old in replaces:
                self._rows.pop(old, None)
        return True

    def _part(self, segment: Segment, slack: int, replaces: Sequence[int]) -> tuple[Entry, bytes]:
        blob = segment.encode()
        entry = Entry(
            namespace=self.namespace,
            view=self.view,
            place=self.place,
            rows=segment.height,
            size=len(blob),
            fetched=segment.fetched[0],
            expires=segment.until + slack,
            replaces=tuple(replaces),
        )
        return entry, blob

    def compact(self, container: Container, *, before: int, slack: int) -> None:
        """Put segments together, where there are many or much of them is replaced.

        One process at a time does; the others let it, and look again some writes later.

        Parameters
        ----------
        before
            Rows that were good until then at the most are left out.
        slack
            As for `write`.
        """
        with self.lock:
            self._patience = max(0, self._patience - 1)
            if self._patience or not self._worth_compacting():
                return
            self._patience = _PATIENCE
        with container.alone(self.place) as alone:
            if not alone:
                return
            there = container.log(self.place).segments.keys()
            with self.lock:
                chosen = self._worth_compacting()
            if not there >= set(chosen):
                self._version = None  # somebody has just done it, or they were evicted
                return
            whole, read = self._whole(container, chosen)
            whole.expire(before)
            self.write(container, whole.segments(), slack, read)
        with self.lock:
            self._patience = 0

    def _whole(self, container: Container, numbers: Sequence[int]) -> tuple[Table, list[int]]:
        """Read segments; return what they hold together, and which could be read."""
        whole, read = Table(), []
        for number, segment in decoded(container.read(self.place, numbers)):
            if segment is not None:
                whole.add(segment)
                read.append(number)
        return whole, read

    def _worth_compacting(self) -> list[int]:
        total = sum(self._rows.values())
        live = sum(family.live for family in self._table.families)
        dead = 0 if self._shrunk else total - live
        if total > _WORTH and len(self._rows) > 1 and dead > _DEAD * total:
            return sorted(self._rows)
        if len(self._rows) <= MANY:
            return []
        chosen, rows = [], 0
        for number, height in sorted(self._rows.items(), key=lambda item: item[1]):
            if height > 2 * rows + _SMALL:
                break
            chosen.append(number)
            rows += height
        return sorted(chosen) if len(chosen) > MANY // 2 else []

    def keep_only(
        self, container: Container | None, wanted: Callable[[pl.DataFrame], pl.Series], slack: int
    ) -> int:
        """Throw rows away, but for those that `wanted` marks; return how many went.

        Where others write at the same time it is tried again with what they wrote.
        """
        with self.lock:
            lost = self._table.keep_only(wanted)
            for _ in range(_TRIES):
                if not lost or container is None or not self._rows:
                    break
                old = sorted(self._rows)
                whole, _ = self._whole(container, old)
                whole.keep_only(wanted)
                if self.write(container, whole.segments(), slack, old, fewer=True):
                    break
                self._version = None  # it does not tell of what this process evicted
                self.follow(container)
                self._table.keep_only(wanted)
            self.nbytes = self._table.nbytes
            return lost

    def shrink(self) -> int:
        """Throw the older half of the rows out of memory; return how many went."""
        with self.lock:
            before, self._shrunk = self.rows, True
            for family in self._table.families:
                living = family.living()
                order = np.argsort(living.frame["at"].to_numpy(), kind="stable")
                newest = np.ones(living.height, bool)
                newest[order[: -(-living.height // 2)]] = False
                family.keep(living.rows(pl.Series(newest)))
            self._table.families = [one for one in self._table.families if one.live]
            self.nbytes = self._table.nbytes
            return before - self.rows
