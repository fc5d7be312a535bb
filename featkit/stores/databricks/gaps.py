"""What Databricks does not offer, or this version does not ask of it."""

from __future__ import annotations

from featkit.capabilities import Lack, Lacking

_KNOWS = (
    "its table knows them; to read its keys and times takes a SQL warehouse, whose time is billed, "
)
_NO_ENTITIES = Lack.option(
    f"an endpoint answers for the keys that it is given, and names none; {_KNOWS}or Lakebase, "
    "which serves others meanwhile, so that it is done only where it is asked for",
    "connect(..., warehouse_id='ID', scan_source=True), or with lakebase='NAME'",
)
_NO_ARRIVALS = Lack.option(
    f"when rows came is not served; {_KNOWS}so that it is done only where it is asked for",
    "connect(..., warehouse_id='ID', scan_source=True)",
)
_NO_WAREHOUSE = Lack.option(
    "it takes a SQL warehouse, of which none is named",
    "name one with connect(..., warehouse_id='ID')",
)
_NO_TIMES = Lack.option(
    "an endpoint answers with features only",
    "where its feature spec has the time series column, say connect(..., timestamps=True), or "
    "look up in Lakebase with lakebase='NAME'",
)
_NO_MISSING = Lack.option(
    "an endpoint answers for a key that it does not know with nulls",
    "Lakebase tells the two apart: connect(..., lakebase='NAME')",
)


def gaps(*, warehouse: bool, times: bool, missing: bool, scans: bool) -> Lacking:
    """Tell what is lacking, by what there is.

    Parameters
    ----------
    warehouse
        Whether there is a SQL warehouse.
    times
        Whether answers have event timestamps.
    missing
        Whether an unknown entity is told from nulls, as Lakebase does.
    scans
        Whether tables may be read for entities and times.
    """
    found: dict[str, Lack] = {}
    if not (scans and (warehouse or missing)):
        found |= dict.fromkeys(("sample_entities", "read_population"), _NO_ENTITIES)
    if not (scans and warehouse):
        found["read_arrivals"] = _NO_ARRIVALS
    if not warehouse:
        found |= dict.fromkeys(("get_historical_features", "read_offline_times"), _NO_WAREHOUSE)
    if not times:
        found["row_timestamps"] = _NO_TIMES
    if not missing:
        found["tell_missing"] = _NO_MISSING
    return found
