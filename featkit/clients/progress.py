"""How far a call is: a bar for people, a callback for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from featkit.errors import InputError
from featkit.transports.drive import Silent

if TYPE_CHECKING:
    from tqdm import tqdm

    from featkit.transports.drive import Progress

ProgressOption: TypeAlias = bool | Callable[[int, int, str], None] | None
"""None: a bar where a person watches and the call takes over two seconds; True or False: always
or never a bar; a callable: called with the keys done, the keys in all, and the stage."""

PATIENCE = 2.0
"""Seconds before a bar appears by itself."""


class _Callback:
    def __init__(self, callback: Callable[[int, int, str], None]) -> None:
        self._callback = callback
        self._done = self._total = 0

    def expect(self, keys: int) -> None:
        self._total += keys

    def advance(self, keys: int) -> None:
        if keys:
            self._done += keys
            self._callback(self._done, self._total, "lookup")


class _Bar:
    def __init__(self, bar: tqdm[Any]) -> None:
        self._bar = bar

    def expect(self, keys: int) -> None:
        self._bar.total = (self._bar.total or 0) + keys
        if container := getattr(self._bar, "container", None):
            _, shown, _ = container.children  # a notebook's keeps the length that it began with
            shown.max, shown.value = self._bar.total, self._bar.n
            shown.bar_style, shown.layout.width = "", None
        if not self._bar.delay:  # a refresh would not wait for it
            self._bar.refresh()

    def advance(self, keys: int) -> None:
        self._bar.update(keys)


@contextmanager
def watched(option: ProgressOption, *, patience: float = PATIENCE) -> Iterator[Progress]:
    """Give what drivers report to, as the user wants it shown.

    Parameters
    ----------
    option
        What the user wants.
    patience
        Seconds before a bar appears that nobody asked for.
    """
    if callable(option):
        yield _Callback(option)
    elif not (option is None or isinstance(option, bool)):
        msg = f"progress={option!r} is not an option; pass True, False, None or a callable"
        raise InputError(msg)
    elif option or (option is None and _somebody_watches()):
        with _bar(0.0 if option else patience) as bar:
            yield bar
    else:
        yield Silent()


def in_kernel() -> bool:
    """Tell whether this runs in the kernel of a notebook, which can show more than text."""
    ipython = sys.modules.get("IPython")  # pytest may have imported ipykernel, without a kernel
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _somebody_watches() -> bool:
    return sys.stderr is not None and (sys.stderr.isatty() or in_kernel())


@contextmanager
def _bar(delay: float) -> Iterator[Progress]:
    from tqdm.auto import tqdm  # noqa: PLC0415 - only who sees a bar pays for it

    with tqdm(total=0, delay=delay, unit=" keys", unit_scale=True, leave=False) as bar:
        yield _Bar(bar)
