"""What Feast does not offer, or this version does not ask of it."""

from __future__ import annotations

from featkit.capabilities import Lack, Lacking

_SERVER = "Feast's feature server answers for the entities that it is given, and names none"
_OFFLINE = "Feast's offline server could send all rows, and this version does not ask for them"

_ALWAYS: Lacking = {
    "read_arrivals": Lack.notyet(_OFFLINE),
    "read_syncs": Lack.notyet("the registry has the intervals that were materialised"),
}
GAPS: Lacking = {
    **_ALWAYS,
    "sample_entities": Lack.never(_SERVER),
    "read_population": Lack.never(_SERVER),
}
"""What is lacking behind a feature server."""

_THERE = Lack.notyet(
    "history comes through Feast's offline server, which is not asked beside an online store",
    "connect('feast+http://HOST:6566', offline_url='grpc://HOST:8815')",
)
_SCAN = "the online store could be scanned, which may disturb who it serves"
DIRECT: Lacking = {
    **_ALWAYS,
    "sample_entities": Lack.notyet(_SCAN),
    "read_population": Lack.notyet(_SCAN),
    "get_historical_features": _THERE,
    "read_offline_times": _THERE,
}
"""What is lacking where the online store is read directly."""
