"""Write the file of the present schema that later versions must be able to open."""

from datetime import UTC, datetime
from pathlib import Path

import featkit
from featkit.cache.sqlite import FILE_SCHEMA
from tests.cache.remote import Remote

FOLDER = Path(__file__).parents[1] / "data" / "cache"


def write() -> None:
    """Write it, unless it is there: what was released stays as it is."""
    path = FOLDER / f"schema_{FILE_SCHEMA}.sqlite"
    if path.exists():
        raise SystemExit(f"{path.name} is there already")
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    options = featkit.CacheOptions(target=path, ttl="1h", missing_ttl="1h", stale_if_error="36000d")
    with featkit.connect(Remote(cache_identity="released"), cache=options, now=noon) as client:
        client.lookup([1, 2, 3, 17, 9], ["v:a", "v:b"])
        client.operations.cache.container.compact()


if __name__ == "__main__":
    write()
