"""What SageMaker does not offer, or this version does not ask of it."""

from __future__ import annotations

from featkit.capabilities import Lack, Lacking

_FILES = "the files of the offline store could tell"

GAPS: Lacking = {
    "list_feature_services": Lack.never(
        "SageMaker has no feature services; name the features, or feature groups as 'GROUP:*'"
    ),
    "sample_entities": Lack.notyet(_FILES),
    "read_population": Lack.notyet(
        "only groups of the storage type Standard_V2 list their records, 100 a call"
    ),
    "read_arrivals": Lack.notyet(_FILES),
    "read_syncs": Lack.never(
        "records are written to the online store one by one; nothing is synchronised"
    ),
}

ICEBERG = Lack.notyet(
    "its offline store is an Iceberg table, of which not every file counts: its log tells which, "
    "and pyiceberg, which reads that, brings in twenty packages. Unload the table to Parquet with "
    "Athena, and name that folder with connect(..., offline_path='FOLDER')"
)
"""Why the history of a group is not read whose offline store has the table format Iceberg."""
