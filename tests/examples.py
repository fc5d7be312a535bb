"""How many cases hypothesis tries, where it is not its usual hundred."""

from typing import Any

from hypothesis import settings

USUAL = 100


def examples(count: int, **options: Any) -> settings:
    """Try so many cases, or the share of them that the profile of `make unit` leaves."""
    share = settings.default.max_examples / USUAL
    return settings(max_examples=max(1, round(count * share)), **options)
