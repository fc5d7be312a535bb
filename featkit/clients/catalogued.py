"""What a store holds; of a store that is down, what the cache of metadata has of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from featkit.catalogue import read_catalogue
from featkit.uncached import of_any_age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.calls import Flow
    from featkit.catalogue import Catalogue
    from featkit.clients.session import Session


def catalogued(session: Session, names: Sequence[str] = ()) -> Flow[Catalogue]:
    """Read a catalogue; where the store is down, it is as old as its oldest part, and says so."""
    kept = session.metadata
    if kept is not None:
        kept.old_replies()  # those of other calls
    flow = read_catalogue(session.operations.store, session.target, names)
    found = yield from of_any_age(flow)
    old = [] if kept is None else kept.old_replies()
    if not old:
        return found
    oldest = min(old, key=lambda each: each.made)
    return replace(found, read_at=oldest.made, problem=str(oldest.failure))
