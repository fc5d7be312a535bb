"""Reports of each kind: good, bad, unknown, failed, and with names that mean harm."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import featkit
from featkit.errors import SourceError
from featkit.testing import MemoryStore, described

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVIL = "<img src=x onerror=alert(1)>&\"'</script>\0 $x^2$ _"


def rows(ages, key="shop"):
    """Make one row per age in hours."""
    return pl.DataFrame(
        {key: range(len(ages)), "at": [NOON - age * HOUR for age in ages], "x": 1, "y": 2.0}
    )


class HalfBroken(MemoryStore):
    """A store that fails for its view "lost"."""

    def read_population(self, read):
        call = super().read_population(read)
        if read.view.name != "lost":
            return call

        def fail():
            msg = "the disk of lost is full"
            raise SourceError(msg)

        return self._local(read.view, fail)


@pytest.fixture(scope="session")
def report():
    """Report on views of every verdict."""
    roles = {"join_keys": "shop", "timestamp": "at"}
    views = [
        described(rows([1, 2, 3, 4]), name="good", ttl="1d", **roles),
        described(rows([1, 20]), name="late", ttl="1d", **roles),
        described(rows([1, 30, 50]), name="old", ttl="1d", **roles),
        described(rows([1]).drop("at"), name="static", join_keys="shop"),
        described(rows([1]), name="lost", ttl="1d", **roles),
        described(rows([7, 8]), name="endless", **roles),
    ]
    offline = {"good": rows([1, 1, 3, 2])}
    client = featkit.connect(HalfBroken(views, offline=offline), now=NOON)
    return client.staleness(compare_offline=True)


@pytest.fixture(scope="session")
def evil():
    """Report on a view whose every name means harm."""
    frame = rows([1, 30], key=EVIL).rename({"x": EVIL + "x", "y": EVIL + "y"})
    frame = frame.with_columns(pl.lit(EVIL).alias(EVIL))
    view = described(frame, name=EVIL, join_keys=EVIL, timestamp="at", ttl="1d")
    return featkit.connect(MemoryStore([view]), now=NOON).staleness(compare_offline=True)
