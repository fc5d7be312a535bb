"""Which SQL warehouses a workspace has, for who names none, or a wrong one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from featkit.errors import AuthError, FeatkitError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featkit.calls import Flow
    from featkit.stores.databricks.workspace import Workspace

_WAREHOUSES = "/api/2.0/sql/warehouses"
_SHOWN = 8


class Known(msgspec.Struct, frozen=True):
    """A SQL warehouse, as the workspace lists it."""

    id: str
    name: str = ""
    state: str = ""

    def __str__(self) -> str:
        return f"{self.id!r} ({self.name})" if self.name else repr(self.id)


class _Page(msgspec.Struct, frozen=True):
    warehouses: list[Known] = []
    next_page_token: str | None = None


def listed(workspace: Workspace) -> Flow[list[Known]]:
    """List the warehouses that the credentials may use."""
    found: list[Known] = []
    more = ""
    while True:
        page: _Page = yield workspace.get(_WAREHOUSES + more, _Page)
        found += page.warehouses
        if not page.next_page_token:
            return found
        more = f"?{urlencode({'page_token': page.next_page_token})}"


def which(workspace: Workspace) -> Flow[str]:
    """Say which warehouses there are, as the end of a message; nothing where nobody tells."""
    try:
        known = yield from listed(workspace)
    except FeatkitError:  # what is told without it stands
        return ""
    return f"; there are: {_named(known)}" if known else "; these credentials may use none"


def check(workspace: Workspace, warehouse: str, error: FeatkitError) -> Flow[None]:
    """Raise what says which warehouse is meant, where one was refused that is not there.

    Parameters
    ----------
    workspace
        Whom to ask.
    warehouse
        The id that was given.
    error
        How it was refused; it says enough where the warehouse is there, and where the warehouses
        may not be listed.
    """
    try:
        known = yield from listed(workspace)
    except FeatkitError:
        return
    if any(own.id == warehouse for own in known):
        return
    named, origin = workspace.auth.warehouse
    told = f" of {origin}" * (warehouse == named)
    if isinstance(error, AuthError):
        msg = f"{error}; of SQL warehouses they may use: {_named(known) or 'none'}"
        raise AuthError(msg) from error
    msg = f"there is no SQL warehouse {warehouse!r}{told}; {_meant(warehouse, known)} ({error})"
    raise UnknownNameError(msg) from error


def state(workspace: Workspace, warehouse: str) -> Flow[str]:
    """Tell what a warehouse does, which does not start it."""
    try:
        found: Known = yield workspace.get(f"{_WAREHOUSES}/{quote(warehouse, safe='')}", Known)
    except FeatkitError as error:
        yield from check(workspace, warehouse, error)
        raise
    return f"{found} {found.state}"


def _meant(warehouse: str, known: Sequence[Known]) -> str:
    """Say which is meant: by its name, which people know, or by an id that is near."""
    names = {own.id: own for own in known} | {own.name: own for own in known}
    if not names:
        return "these credentials may use none"
    near = [names[own] for own in get_close_matches(warehouse, names, n=3)]
    if near:
        return f"did you mean warehouse_id={' or '.join(dict.fromkeys(map(str, near)))}?"
    return f"there are: {_named(known)}"


def _named(known: Sequence[Known]) -> str:
    more = ", ..." if len(known) > _SHOWN else ""
    return ", ".join(map(str, known[:_SHOWN])) + more
