"""Single flight: of several callers that miss the same keys, one fetches and the others wait."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from featkit.cache.hash_index import ABSENT, HashIndex
from featkit.errors import ClosedError, DeadlineExceeded, StoreError
from featkit.waiting import Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from featkit.errors import FeatkitError

    Longs = npt.NDArray[np.int64]


class Flight:
    """Keys that one caller is fetching.

    Parameters
    ----------
    names
        The features.
    codes
        The keys, by their codes.
    """

    def __init__(self, names: Iterable[str], codes: Longs) -> None:
        self.names = frozenset(names)
        self._codes = codes
        self._index: HashIndex | None = None
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self._landed = False
        self._failure: FeatkitError | None = None

    @classmethod
    def over(cls) -> Flight:
        """Make one that has landed: nobody waits for it, and what it brought is looked up."""
        flight = cls((), np.empty(0, np.int64))
        flight.land()
        return flight

    def holds(self, codes: Longs) -> npt.NDArray[np.bool_]:
        """Tell which keys it fetches."""
        with self._lock:
            if self._index is None:  # the first that looks makes it; mostly nobody does
                self._index = HashIndex()
                self._index.put(self._codes)
        held: npt.NDArray[np.bool_] = self._index.find(codes) != ABSENT
        return held

    def waiting(self) -> Wait:
        """Return what to yield in order to wait until it has landed."""
        return Wait(self._when_landed, "what another call is fetching")

    def failure(self) -> FeatkitError | None:
        """Tell why it brought nothing, where that holds for whoever asks the store now."""
        failed = self._failure
        own = isinstance(failed, (DeadlineExceeded, ClosedError))
        return None if own or not isinstance(failed, StoreError) else failed

    def land(self, failure: FeatkitError | None = None) -> None:
        """Let those who wait go on; once is enough."""
        with self._lock:
            if self._landed:
                return
            self._landed, self._failure = True, failure
            waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()

    def _when_landed(self, go_on: Callable[[], None]) -> None:
        with self._lock:
            if not self._landed:
                self._waiting.append(go_on)
                return
        go_on()


class Flights:
    """The flights that are under way, by what they bring."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._airborne: dict[str, list[Flight]] = {}
        self._landings: Counter[str] = Counter()

    def landed(self, place: str) -> int:
        """Tell how many have landed: who missed before the last did may find more now."""
        return self._landings[place]

    def claim(
        self, place: str, names: Iterable[str], codes: Longs
    ) -> tuple[npt.NDArray[np.bool_], Flight | None, list[Flight]]:
        """Tell which keys nobody fetches yet; these are the caller's from now on.

        Returns
        -------
        mine
            For each key whether the caller is to fetch it.
        flight
            To be landed when that is done; None: there is nothing to fetch.
        others
            Who fetches the other keys.
        """
        wanted = frozenset(names)
        mine = np.ones(len(codes), bool)
        others = []
        with self._lock:
            for flight in self._airborne.get(place, ()):
                if wanted <= flight.names:
                    theirs = mine & flight.holds(codes)
                    if theirs.any():
                        mine &= ~theirs
                        others.append(flight)
            if not mine.any():
                return mine, None, others
            flight = _Tracked(wanted, codes[mine], partial(self._landed, place))
            self._airborne.setdefault(place, []).append(flight)
        return mine, flight, others

    def _landed(self, place: str, flight: Flight) -> None:
        with self._lock:
            airborne = self._airborne.get(place, [])
            if flight in airborne:
                self._landings[place] += 1
                airborne.remove(flight)
            if not airborne:
                self._airborne.pop(place, None)


class _Tracked(Flight):
    """A flight that is crossed off once it has landed."""

    def __init__(
        self, names: Iterable[str], codes: Longs, landed: Callable[[Flight], None]
    ) -> None:
        super().__init__(names, codes)
        self._cross_off = landed

    def land(self, failure: FeatkitError | None = None) -> None:
        """Cross it off, so that nobody waits for it any more, and let the others go on."""
        self._cross_off(self)
        super().land(failure)
