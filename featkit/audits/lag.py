"""Whether what is served online is behind the offline store: a part of a staleness audit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from featkit.errors import FeatkitError, NotSupportedError
from featkit.staleness import compare
from featkit.staleness.measures import time_column

if TYPE_CHECKING:
    from featkit.calls import Flow
    from featkit.staleness import ViewStaleness
    from featkit.stores.base import OnlineRead, Store


def with_lag(store: Store, view: ViewStaleness, read: OnlineRead) -> Flow[ViewStaleness]:
    """Compare the times of a view's entities with those offline, or note why that cannot be.

    Parameters
    ----------
    store
        The store.
    view
        What was found of the view online.
    read
        The entities that were looked at.
    """
    if (why := _nothing_to_compare(store, view, read)) is None:
        try:
            offline = yield from store.read_offline_times(read)
        except NotSupportedError as error:
            why = f"not compared with offline: {error}"
        except FeatkitError as error:
            why = f"offline times cannot be read: {error}"
        else:
            return replace(view, lag=compare(view.times[time_column(view.join_keys)], offline))
    return replace(view, notes=(*view.notes, why))


def _nothing_to_compare(store: Store, view: ViewStaleness, read: OnlineRead) -> str | None:
    reason = None
    if not read.features:
        reason = "the view has no features"
    elif view.level == "static":
        reason = "its values have no event timestamp"
    elif store.capabilities.timestamp_level == "none":
        reason = "the store gives no event timestamps online"
    elif not read.view.offline and store.capabilities.history != "none":
        reason = "the view is served online only, and has no history"
    return reason and f"not compared with offline: {reason}"
