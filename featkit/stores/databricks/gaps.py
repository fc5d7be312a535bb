"""What Databricks does not offer, or this version does not ask of it."""

from __future__ import annotations

from featkit.capabilities import Lack, Lacking

_TABLE = "a statement on a SQL warehouse could tell, and this version does not ask"

_ALWAYS: Lacking = {
    "sample_entities": Lack.notyet(_TABLE),
    "read_population": Lack.notyet(_TABLE),
    "read_arrivals": Lack.notyet(_TABLE),
}
_NO_WAREHOUSE = Lack.never(
    "it needs a SQL warehouse; name one with connect(..., warehouse_id='ID')"
)
_NO_TIMES = Lack.never(
    "an endpoint answers with features only; where its feature spec has the time series column, "
    "say timestamps=True, or look up in Lakebase with lakebase='NAME'"
)
_NO_MISSING = Lack.never(
    "an endpoint answers for a key that it does not know with nulls; Lakebase tells the two apart: "
    "connect(..., lakebase='NAME')"
)


def gaps(*, warehouse: bool, times: bool, missing: bool) -> Lacking:
    """Tell what is lacking, by what there is.

    Parameters
    ----------
    warehouse
        Whether there is a SQL warehouse.
    times
        Whether answers have event timestamps.
    missing
        Whether an unknown entity is told from nulls.
    """
    found = dict(_ALWAYS)
    if not warehouse:
        found |= dict.fromkeys(("get_historical_features", "read_offline_times"), _NO_WAREHOUSE)
    if not times:
        found["row_timestamps"] = _NO_TIMES
    if not missing:
        found["tell_missing"] = _NO_MISSING
    return found
