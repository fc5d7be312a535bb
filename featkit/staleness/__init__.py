"""How old a population's values are, and what to think of it: counts, ages, verdicts. All pure.

An *entity population* is the entities that a report looks at, each once. Ages are those of event
timestamps at one moment, `now`, whether or not a value comes from a cache. There is one rule of
freshness, `featkit.freshness.is_fresh`. It is asked with the ttl for the status of each value, and
with the thresholds for the verdict.
"""

from featkit.freshness import is_fresh, is_stale
from featkit.staleness.ages import Ages, Thresholds, ages
from featkit.staleness.cadence import Cadence, learn
from featkit.staleness.lag import Lag, compare
from featkit.staleness.measures import FeatureStaleness, ViewStaleness, measure
from featkit.staleness.verdicts import VERDICTS, Level, Verdict, judge, worst

__all__ = [
    "VERDICTS",
    "Ages",
    "Cadence",
    "FeatureStaleness",
    "Lag",
    "Level",
    "Thresholds",
    "Verdict",
    "ViewStaleness",
    "ages",
    "compare",
    "is_fresh",
    "is_stale",
    "judge",
    "learn",
    "measure",
    "worst",
]
