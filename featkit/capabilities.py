"""What stores can do and cannot, as data: with reasons, for errors and documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from featkit.errors import nearest

TimestampLevel = Literal["row", "feature", "view", "none"]
HistoryKind = Literal["none", "rows", "joined"]


class Mark(StrEnum):
    """Whether what is lacking may come.

    Examples
    --------
    >>> print(Mark.NEVER, Mark.NEVER.meaning, sep=": ")
    never: the store has no way to tell
    """

    OPTION = "option"
    NOTYET = "notyet"
    NEVER = "never"

    @property
    def meaning(self) -> str:
        """What it means, in words."""
        return _MEANINGS[self]


_MEANINGS = {
    Mark.OPTION: "an option of `connect` brings it, which the reason names",
    Mark.NOTYET: "it could be read, and this version does not",
    Mark.NEVER: "the store has no way to tell",
}


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a store cannot do something.

    Attributes
    ----------
    mark
        Whether it may come.
    reason
        Why it is so.
    instead
        What to do instead; empty: nothing is known.

    Examples
    --------
    >>> print(Lack.never("it keeps online values only", "read an export of it"))
    it keeps online values only (never); read an export of it
    >>> print(Lack.option("that is billed", "connect(..., scan_source=True)"))
    that is billed (option); connect(..., scan_source=True)
    """

    mark: Mark
    reason: str
    instead: str = ""

    @classmethod
    def option(cls, reason: str, instead: str) -> Lack:
        """Make one that there is not as the store was opened; `instead` names what brings it."""
        return cls(Mark.OPTION, reason, instead)

    @classmethod
    def notyet(cls, reason: str, instead: str = "") -> Lack:
        """Make one that a later version may mend."""
        return cls(Mark.NOTYET, reason, instead)

    @classmethod
    def never(cls, reason: str, instead: str = "") -> Lack:
        """Make one that follows from what the store is."""
        return cls(Mark.NEVER, reason, instead)

    def __str__(self) -> str:
        return f"{self.reason} ({self.mark})" + (f"; {self.instead}" if self.instead else "")


Lacking: TypeAlias = Mapping[str, Lack]

ABILITIES: Mapping[str, str] = {
    "get_historical_features": "training sets, and `parity`",
    "list_feature_views": "the list of its feature views",
    "list_feature_services": "the list of its feature services",
    "sample_entities": "some entities, for `browse` and for `parity` without entities",
    "read_population": "all entities with their latest rows, for `staleness` without entities",
    "read_arrivals": "when rows came, for the rhythm in `staleness`",
    "read_offline_times": "the newest times offline, for `staleness(compare_offline=True)`",
    "read_syncs": "when what it serves was brought up to date, for `staleness`",
    "row_timestamps": "the event timestamp of each row",
    "tell_missing": "an unknown entity from one whose values are null",
}
"""What a store may lack, by name, with what it is good for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can do, as data.

    Attributes
    ----------
    batch_size
        How many entities one call may ask for; None: any number.
    values
        How many values one call should ask for, so that it takes neither too long nor costs more
        than it brings: entities times features. None: any number.
    one_by_one
        Whether each entity takes a request of its own, so that entities are spread over the calls
        that run at once.
    timestamp_level
        What the event timestamps of an answer describe: each row, each feature, the view as a
        whole, or nothing.
    serves_future
        Whether rows later than now are served; their values have the status `FUTURE`. Else the
        latest row up to now is.
    tells_missing
        Whether the store always tells an entity that it does not know from one whose values are
        null; where it does not, both have the status `NULL`.
    history
        How a training set gets its history: the store gives all ``"rows"`` of a view and featkit
        joins them, or it gives them ``"joined"`` to a spine, or it has ``"none"``.
    history_options
        Of a store that joins by itself: those of the options ``known_by``, ``lookback``, ``strict``
        and ``feature_timestamps`` that it heeds; others are refused.
    history_rules
        Where the rules by which it joins are not featkit's: sentences for the reports.
    local
        Whether it is read where the client runs, so that a cache would only be another copy; then
        there is one only where the user asks for it.
    lacking
        What the store cannot do, by the names in `ABILITIES`, with the mark and the reason.

    Raises
    ------
    ValueError
        `lacking` has a name that is not in `ABILITIES`.
    """

    batch_size: int | None = None
    values: int | None = None
    one_by_one: bool = False
    timestamp_level: TimestampLevel = "row"
    serves_future: bool = False
    tells_missing: bool = True
    history: HistoryKind = "none"
    history_options: frozenset[str] = frozenset()
    history_rules: tuple[str, ...] = ()
    local: bool = False
    lacking: Lacking = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.lacking:
            if name not in ABILITIES:
                msg = f"lacking names {name!r}, which no store has; {nearest(name, ABILITIES)}"
                raise ValueError(msg)

    def lack(self, ability: str) -> Lack:
        """Tell why the store cannot do something; it says so itself, or has not said yet."""
        return self.lacking.get(ability, UNTOLD)


UNTOLD = Lack.notyet("its class does not say why")
"""Stands for the reason of what a store lacks without a word in its `Capabilities`."""
