"""A store with a history in which every mistake shows, and frames that made one."""

import datetime as dt

import polars as pl
import pytest

import featkit
import featkit.pandas
import featkit.polars

DAY = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture(scope="session")
def history_folder(tmp_path_factory):
    """Thirty shops with a row every hour for two days, each value its own."""
    shops, count = range(30), 48
    rows = pl.DataFrame(
        {
            "shop": [shop for shop in shops for _ in range(count)],
            "t": [DAY + hour * HOUR for _ in shops for hour in range(count)],
            "c": [DAY + (hour + 2) * HOUR for _ in shops for hour in range(count)],
            "visits": [shop * 100 + hour for shop in shops for hour in range(count)],
            "rate": [shop + hour / 7 for shop in shops for hour in range(count)],
        }
    )
    options = {"join_keys": "shop", "timestamp": "t", "created": "c", "ttl": "6h"}
    folder = tmp_path_factory.mktemp("history")
    featkit.write_view(folder, rows, name="hourly", **options)
    return folder


@pytest.fixture
def client(history_folder):
    now = DAY + 50 * HOUR
    with featkit.connect(f"parquet:{history_folder}", now=now) as client:
        yield client


@pytest.fixture
def spine():
    """Three hundred visits, on the half hour from the third hour on."""
    return pl.DataFrame(
        {
            "shop": [n % 30 for n in range(300)],
            "at": [DAY + (3.5 + n % 40) * HOUR for n in range(300)],
            "label": [n % 2 for n in range(300)],
        }
    )
