"""Methods of the clients and the accessor that differ from another one in being awaited alone."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
R = TypeVar("R")


def twin_of(
    own: Callable[Concatenate[Any, P], R],
) -> Callable[
    [Callable[..., Coroutine[Any, Any, R]]], Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]
]:
    """Give an asynchronous method the parameters of its synchronous twin, written there alone.

    Type checkers, help and documentation show them as if they were written twice.

    Examples
    --------
    >>> def double(self, number: int = 1) -> int: ...
    >>> @twin_of(double)
    ... async def double_async(self, *args, **options): ...
    >>> str(inspect.signature(double_async))
    "(self, number: 'int' = 1) -> 'int'"
    """

    def given(
        twin: Callable[..., Coroutine[Any, Any, R]],
    ) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
        twin.__signature__ = inspect.signature(own)  # type: ignore[attr-defined] # inspect reads it
        return twin

    return given
