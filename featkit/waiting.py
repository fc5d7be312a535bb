"""The effect of waiting, which flows yield beside calls (see `featkit.calls`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, eq=False)
class Wait:
    """Waiting for what happens elsewhere in this process; it takes no thread meanwhile.

    Attributes
    ----------
    subscribe
        Is handed what must be called once it has happened, from whichever thread; at once where
        it has already.
    what
        What is waited for, as it reads in an error.
    """

    subscribe: Callable[[Callable[[], None]], None]
    what: str

    def __str__(self) -> str:
        return self.what
