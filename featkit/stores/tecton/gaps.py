"""What Tecton's HTTP API does not offer."""

from __future__ import annotations

from featkit.capabilities import Lack, Lacking

_ONLINE = "Tecton's HTTP API answers online for the join keys that it is given"

GAPS: Lacking = {
    "get_historical_features": Lack.never(
        "Tecton's HTTP API serves online values only; history is read by its proprietary SDK",
        "have that export it to Parquet, and read it with connect('parquet:PATH')",
    ),
    "sample_entities": Lack.never(f"{_ONLINE}, and names none"),
    "read_population": Lack.never(f"{_ONLINE}, and names none"),
    "read_arrivals": Lack.never(f"{_ONLINE}, and knows no history"),
    "read_offline_times": Lack.never(f"{_ONLINE}, and knows no history"),
}

ROW_TIMES = Lack.option(
    "a batch has one effective time per feature",
    "connect(..., row_timestamps=True) asks for one entity at a time, each of which has its own",
)
