"""What Vertex AI does not offer, or this version does not ask of it."""

from __future__ import annotations

from featkit.capabilities import Lack, Lacking

_SOURCE = Lack.option(
    "the online store answers for the entities that it is given, and names none; the tables in "
    "BigQuery behind a view know them, by queries that Google bills by the columns of keys and "
    "times that they read, and that are therefore made only where they are asked for",
    "connect(..., scan_source=True)",
)


def gaps(*, scans: bool) -> Lacking:
    """Tell what is lacking.

    Parameters
    ----------
    scans
        Whether BigQuery may be asked for entities and times.
    """
    found = {
        "list_feature_services": Lack.never(
            "Vertex AI has no feature services: a feature view is what a model is served"
        ),
    }
    if not scans:
        names = ("sample_entities", "read_population", "read_arrivals")
        found |= dict.fromkeys(names, _SOURCE)
    return found
