"""What Vertex AI does not offer, or this version does not ask of it."""

from __future__ import annotations

from featkit.capabilities import Lack, Lacking

_SOURCE = "the online store tells it for no entity that is not named; its BigQuery source could"

GAPS: Lacking = {
    "list_feature_services": Lack.never(
        "Vertex AI has no feature services: a feature view is what a model is served"
    ),
    "sample_entities": Lack.notyet(_SOURCE),
    "read_population": Lack.notyet(_SOURCE),
    "read_arrivals": Lack.notyet("a query of its BigQuery source could tell"),
}
