"""The feature views that can be described where one that is broken is no reason to name none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featkit.errors import ClosedError, DeadlineExceeded, FeatkitError, ViewWarning
from featkit.warned import warn_caller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from featkit.calls import Flow
    from featkit.schema import FeatureView
    from featkit.stores.base import Store

_OF_ALL = (ClosedError, DeadlineExceeded)  # which would have met any view


def readable(store: Store) -> Flow[list[FeatureView]]:
    """List all views that can be described, and warn of each that cannot.

    Parameters
    ----------
    store
        The store.

    Raises
    ------
    FeatkitError
        No view can be described, or the time is up.
    """
    views, failed = yield from some(store)
    for notice in notices(failed):
        warn_caller(notice, ViewWarning)
    return views


def some(store: Store) -> Flow[tuple[list[FeatureView], Mapping[str, FeatkitError]]]:
    """List all views that can be described, and by their names what is wrong with the others.

    Parameters
    ----------
    store
        The store.

    Raises
    ------
    FeatkitError
        No view can be described, or the time is up.
    """
    views, failed = yield from store.describe()
    for error in failed.values():
        if not views or isinstance(error, _OF_ALL):
            raise error
    return views, failed


def notices(failed: Mapping[str, FeatkitError]) -> list[str]:
    """Say of each view that it is left out, and why.

    Examples
    --------
    >>> notices({"users": FeatkitError("its table is gone")})
    ["'users' is left out: its table is gone"]
    """
    return [f"{name!r} is left out: {error}" for name, error in failed.items()]
