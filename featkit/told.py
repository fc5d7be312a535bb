"""What options tell of views, by their names, and which of these no view has."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Generic, TypeVar

from featkit.errors import SettingsError, nearest
from featkit.options import place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

ToldT = TypeVar("ToldT")

_NEAR = 0.75  # as difflib counts, of 1


def check_timestamp(view: str, column: str, known: Iterable[str]) -> None:
    """Refuse a column of event timestamps that the source of a view does not have.

    Examples
    --------
    >>> check_timestamp("users", "updatd_at", ["id", "updated_at"])
    Traceback (most recent call last):
    featkit.errors.SettingsError: ... 'users' have timestamp='updatd_at', ...'updated_at'?
    """
    if column not in (columns := list(known)):
        msg = (
            f"the settings of the feature view {view!r} have timestamp={column!r}, but its source "
            f"has no such column; {nearest(column, columns)}"
        )
        raise SettingsError(msg)


class ToldViews(Generic[ToldT]):
    """The option ``views`` of a store: what it does not tell of its views itself.

    Names are compared with those that there are wherever these are known anyway; a name that is
    wrong is kept to be told, since nothing that stands under it counts.

    Parameters
    ----------
    scheme
        The store, for messages.
    told
        What is told, by the name of the view.
    nothing
        What holds of a view of which nothing is told.

    Examples
    --------
    >>> told = ToldViews("acme", {"usrs": "7d"}, "")
    >>> told.of("users")
    ''
    >>> told.compare(["shops", "users"], "in the store")
    >>> told.notices()[0].partition("; ")[2]
    "did you mean 'users'?"
    >>> told.notices()
    []
    """

    def __init__(self, scheme: str, told: Mapping[str, ToldT], nothing: ToldT) -> None:
        self._scheme = scheme
        self._told = told
        self._nothing = nothing
        self._there: set[str] = set()  # names that were looked for, and those of views
        self._wrong: dict[str, str] = {}
        self._untold: list[str] = []

    def of(self, view: str) -> ToldT:
        """Return what is told of a view."""
        return self._told.get(view, self._nothing)

    @property
    def wrong(self) -> tuple[str, ...]:
        """What was found wrong so far."""
        return tuple(self._wrong.values())

    def notices(self) -> list[str]:
        """Return what was found wrong since this was asked last."""
        found, self._untold = self._untold, []
        return found

    def compare(self, known: Collection[str], where: str, *, whole: bool = True) -> None:
        """Compare the names with those of views.

        Parameters
        ----------
        known
            The names of views.
        where
            Where these are, as it reads after "no feature view of this name".
        whole
            Whether these are all there are; of some, only a name that is much like that of a view
            of which nothing is told is taken for a wrong one.
        """
        for name in self._told:
            if name not in known and (whole or self._like(name, known)):
                self._refuse((name,), f"there is no feature view of this name {where}", known)
        self._there.update(known)

    def check(self, view: str, option: str, names: Iterable[str], known: Collection[str]) -> None:
        """Compare names that an option holds for a view with what the view has.

        Parameters
        ----------
        view
            The view.
        option
            The option, such as ``features``.
        names
            The names in it.
        known
            Those that there are.
        """
        for name in names:
            if name not in known:
                self._refuse((view, option, name), f"{view!r} has no such thing", known)

    def suspects(self, views: Iterable[str]) -> list[str]:
        """Name what may be misspelt names of these views; each once.

        Parameters
        ----------
        views
            Views that there are.
        """
        self._there.update(views)
        among = list(views)
        found = [n for n in self._told if n not in self._there and self._like(n, among)]
        self._there.update(found)
        return found

    def _like(self, name: str, views: Iterable[str]) -> bool:
        untold = [view for view in views if view not in self._told]
        return bool(get_close_matches(name, untold, cutoff=_NEAR))

    def refuse(self, view: str, reason: str) -> None:
        """Hear that there is no such view, in the store's words."""
        self._refuse((view,), reason, None)

    def _refuse(self, path: tuple[str, ...], what: str, known: Collection[str] | None) -> None:
        place = place_of(self._scheme, ("views", *path))
        near = "" if known is None else f"; {nearest(path[-1], known)}"
        message = f"what {place} says is not heeded: {what}{near}"
        if ".".join(path) not in self._wrong:
            self._wrong[".".join(path)] = message
            self._untold.append(message)
