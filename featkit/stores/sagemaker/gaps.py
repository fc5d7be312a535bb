"""What SageMaker does not offer, or this version does not ask of it."""

from __future__ import annotations

from featkit.capabilities import Lack, Lacking

_FILES = Lack.option(
    "the online store answers for the records that it is given, and names none; the files of the "
    "offline store know them. All of their keys and times are read for it, which takes its time "
    "and, from S3, is billed, and is therefore done only where it is asked for",
    "connect(..., scan_source=True)",
)


def gaps(*, scans: bool) -> Lacking:
    """Tell what is lacking.

    Parameters
    ----------
    scans
        Whether the offline store may be read for entities and times.
    """
    found = {
        "list_feature_services": Lack.never(
            "SageMaker has no feature services",
            "name the features, or feature groups as 'GROUP:*'",
        ),
        "read_syncs": Lack.never(
            "records are written to the online store one by one; nothing is synchronised"
        ),
    }
    if not scans:
        names = ("sample_entities", "read_population", "read_arrivals")
        found |= dict.fromkeys(names, _FILES)
    return found


NO_TABLE = Lack.option(
    "its offline store is an Iceberg table, of which not every file counts; its log tells which "
    "do, and the table of Glue where that is, but the description of the feature group names no "
    "such table",
    "unload the table to Parquet with Athena, and name that folder with "
    "connect(..., offline_path='FOLDER')",
)
"""Why the history of a group is not read whose offline store is an Iceberg table without a name."""
