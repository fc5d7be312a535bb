"""Containers: where segments outlive a process, and where several processes meet.

A container is a log of immutable blobs with a few facts about each. All it must be able to do is
append, list, read and remove; whoever reads decides which rows are the latest, so that the order
of the log does not matter.

A segment tells which others it was put together from, so that who has read those need not read it;
and a place counts how often rows were taken away on purpose, so that only then all is read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

LEASE = 60  # seconds for which one process may put the segments of a place together


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of a segment without reading it.

    Attributes
    ----------
    namespace
        Whose rows they are: a hash of the store, of the identity that asked, and more.
    view
        Name of the feature view.
    place
        Hash of the namespace and of the view with its schema: segments of one place are of the
        same columns.
    rows, size
        How many rows, and how many bytes.
    fetched, expires
        When the oldest row was fetched, and when the last one is of no use any more, in
        microseconds since 1970.
    replaces
        The segments that it was put together from.
    """

    namespace: str
    view: str
    place: str
    rows: int
    size: int
    fetched: int
    expires: int
    replaces: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Log:
    """What a container has of a place.

    Attributes
    ----------
    taken
        What changes when rows were taken away that somebody may still have in memory.
    segments
        What is known of each segment, by id, in order; None: one has to read it.
    """

    taken: object
    segments: Mapping[int, Entry | None]


class ContainerError(Exception):
    """A container cannot be used; the lookup goes on without it.

    Parameters
    ----------
    message
        What is wrong.
    mended
        Whether it can be used again at once, empty.
    """

    def __init__(self, message: str, *, mended: bool = False) -> None:
        super().__init__(message)
        self.mended = mended


class Container(Protocol):
    """What a place for segments must be able to do; failures are `ContainerError`."""

    name: str
    """What it is called in messages, without secrets."""

    kind: str
    """``"disk"``, ``"redis"``, or the class of a storage."""

    def version(self) -> object:
        """Return what changes when somebody else has written; None: that cannot be told."""

    def log(self, place: str) -> Log:
        """List the segments of a place."""

    def read(self, place: str, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Read segments; one that is not there any more is left out."""

    def append(
        self,
        place: str,
        parts: Sequence[tuple[Entry, bytes]],
        *,
        replaces: Sequence[int] = (),
        fewer: bool = False,
    ) -> list[int] | None:
        """Add segments, in the place of others; None: these were replaced meanwhile.

        Parameters
        ----------
        place
            Of all of them.
        parts
            The segments.
        replaces
            Which are removed, all or none.
        fewer
            Whether rows are missing that others must not have in memory any more.
        """

    def alone(self, place: str) -> AbstractContextManager[bool]:
        """Tell whether nobody else puts the segments of a place together; who is told, may."""

    def entries(self, namespace: str | None = None) -> dict[int, Entry]:
        """List all segments by id, or those of one namespace."""

    def remove(self, ids: Iterable[int]) -> None:
        """Remove segments."""

    def evict(self, most: int, now: int) -> int:
        """Remove what has expired, then the oldest until `most` bytes are left; return how many."""

    def compact(self) -> None:
        """Give back the room of what was removed."""

    def close(self) -> None:
        """Let go of files and connections."""

    def start_anew(self) -> None:
        """Make it usable in a process that was just forked."""
