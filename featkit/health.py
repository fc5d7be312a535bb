"""Whether a store can be used right now."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """What a health check found.

    Attributes
    ----------
    target
        Which store.
    healthy
        Whether it answered.
    seconds
        How long the check took.
    feature_views
        How many feature views it lists; None where it did not answer.
    reason
        Why it is not healthy, in words.
    """

    target: str
    healthy: bool
    seconds: float
    feature_views: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        took = f"{self.seconds * 1000:.0f} ms"
        if self.healthy:
            return (
                f"{self.target} is healthy: {self.feature_views} feature views, answered in {took}"
            )
        return f"{self.target} is not healthy ({took}): {self.reason}"
