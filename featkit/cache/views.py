"""One view in the cache: its table in memory, kept in step with its segments in a container."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from featkit.cache.containers import Entry
from featkit.cache.segments import Segment, UnreadableSegment
from featkit.cache.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from featkit.cache.containers import Container
    from featkit.cache.tables import Hits

MANY = 16  # segments of a place, beyond which small ones are put together
_DEAD = 0.3  # share of rows that were replaced, from which on all are written anew
_WORTH = 10_000  # rows, below which that does not matter
_SMALL = 1000  # rows


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
            ids = set(container.ids(self.place)) - self._damaged
            if self._rows.keys() - ids:
                self._table, self._rows = Table(), {}
            damaged = []
            for number, blob in container.read(self.place, sorted(ids - self._rows.keys())):
                try:
                    segment = Segment.decode(blob)
                except UnreadableSegment:
                    damaged.append(number)
                    continue
                self._table.add(segment)
                self._rows[number] = segment.height
            self._version = version
            self.nbytes = self._table.nbytes
            if damaged:
                self._damaged.update(damaged)
                container.remove(damaged)
            return len(damaged)

    def add(self, segment: Segment) -> None:
        """Take rows in."""
        with self.lock:
            self._table.add(segment)
            self.nbytes = self._table.nbytes

    def since(self, at: int) -> int:
        """Return the moment for rows that are fetched now: later than what took others away."""
        with self.lock:
            gone = self._table.gone
            latest = None if gone is None else gone.frame["at"].max()
            return at if latest is None else max(at, _bound(latest) + 1)

    def write(
        self, container: Container, segment: Segment, slack: int, replaces: Sequence[int] = ()
    ) -> bool:
        """Write a segment; tell whether it was, which may fail only where others are replaced.

        Parameters
        ----------
        slack
            How long after its end a row may still be wanted, in microseconds.
        """
        blob = segment.encode()
        entry = Entry(
            namespace=self.namespace,
            view=self.view,
            place=self.place,
            rows=segment.height,
            size=len(blob),
            fetched=_bound(segment.frame["at"].min()),
            expires=_bound(segment.frame["end"].max()) + slack,
        )
        number = container.append(entry, blob, replaces=replaces)
        if number is None:
            return False
        with self.lock:
            self._rows[number] = segment.height
            for old in replaces:
                self._rows.pop(old, None)
        return True

    def compact(self, container: Container, *, before: int, slack: int) -> None:
        """Put segments together, where there are many or much of them is replaced.

        Parameters
        ----------
        before
            Rows that were good until then at the most are left out.
        slack
            As for `write`.
        """
        with self.lock:
            chosen = self._worth_compacting()
        if not chosen:
            return
        whole = Table()
        read = []
        for number, blob in container.read(self.place, chosen):
            try:
                whole.add(Segment.decode(blob))
            except UnreadableSegment:
                continue
            read.append(number)
        whole.expire(before)
        self._replace(container, whole.segments(), read, slack)

    def _worth_compacting(self) -> list[int]:
        total = sum(self._rows.values())
        live = sum(family.live for family in self._table.families)
        if total > _WORTH and len(self._rows) > 1 and total - live > _DEAD * total:
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

    def _replace(
        self, container: Container, segments: Sequence[Segment], old: Sequence[int], slack: int
    ) -> None:
        """Write segments in the place of others; killed in between, nothing is lost."""
        filled = [segment for segment in segments if segment.height]
        if not filled:
            container.remove(old)
            with self.lock:
                for number in old:
                    self._rows.pop(number, None)
            return
        *first, last = filled
        for segment in first:
            self.write(container, segment, slack)
        self.write(container, last, slack, old)

    def keep_only(
        self, container: Container | None, wanted: Callable[[pl.DataFrame], pl.Series], slack: int
    ) -> int:
        """Throw rows away, but for those that `wanted` marks; return how many went."""
        with self.lock:
            lost = 0
            for family in self._table.families:
                living = family.living()
                mask = wanted(living.frame)
                if not mask.all():
                    lost = max(lost, int((~mask).sum()))
                    family.keep(living.rows(mask))
            self._table.families = [one for one in self._table.families if one.live]
            self.nbytes = self._table.nbytes
            if lost and container is not None and self._rows:
                self._replace(container, self._table.segments(), sorted(self._rows), slack)
            return lost

    def shrink(self) -> int:
        """Throw the older half of the rows out of memory; return how many went."""
        with self.lock:
            before = self.rows
            for family in self._table.families:
                living = family.living()
                order = np.argsort(living.frame["at"].to_numpy(), kind="stable")
                newest = np.ones(living.height, bool)
                newest[order[: -(-living.height // 2)]] = False
                family.keep(living.rows(pl.Series(newest)))
            self._table.families = [one for one in self._table.families if one.live]
            self.nbytes = self._table.nbytes
            return before - self.rows


def _bound(found: object) -> int:
    return int(found)  # type: ignore[call-overload,no-any-return] # of a column of whole numbers
