"""What msgspec has to know of a kind of message before it reads one."""

from __future__ import annotations

import threading
from typing import TypeVar

import msgspec

from featkit.forking import after_fork

T = TypeVar("T")


class _Kinds:
    """The kinds that msgspec knows, of which one thread at a time tells it more."""

    def __init__(self) -> None:
        self._known: set[object] = set()
        self.start_anew()

    def start_anew(self) -> None:
        """Leave the lock to the threads of the process from which this one was forked."""
        self._lock = threading.Lock()

    def learn(self, kind: object) -> None:
        if kind not in self._known:
            with self._lock:
                msgspec.json.Decoder(kind)
                self._known.add(kind)


_kinds = _Kinds()
after_fork(_kinds)


def known(kind: type[T]) -> type[T]:
    """Return a kind that msgspec may read in any thread.

    msgspec reads the annotations of a struct when it meets it for the first time, and does not
    wait for another thread that does so: it takes what is half read, and the process is gone.

    Examples
    --------
    >>> msgspec.json.decode(b"[1, 2]", type=known(list[int]))
    [1, 2]
    """
    _kinds.learn(kind)
    return kind
