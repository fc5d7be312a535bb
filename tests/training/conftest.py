"""Small stores with a history, and spines to join it to."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featkit

DAY = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)


def hours(*numbers):
    """Make moments: so many hours after midnight; None stays."""
    return pl.Series(
        [None if each is None else DAY + dt.timedelta(hours=each) for each in numbers],
        dtype=pl.Datetime("us", "UTC"),
    )


@dataclass
class History:
    """A store under construction, and what it is asked."""

    folder: Path
    constructor: Any

    def write(self, columns, *, name="v", keys="k", created=False, **options):
        """Write a view with the columns k, t (event timestamp), c (created) and features."""
        roles = {"timestamp": "t"} | ({"created": "c"} if created else {})
        frame = pl.DataFrame(columns)
        featkit.write_view(self.folder, frame, name=name, join_keys=keys, **(roles | options))

    def join(self, spine, features="v:x", **options):
        """Join features to a spine; return the training set and the frame that went in."""
        frame = self.constructor(spine)
        with featkit.connect(f"parquet:{self.folder}") as client:
            made = client.get_historical_features(frame, features, at="at", **options)
        return made, frame

    def values(self, spine, features="v:x", column="x", **options):
        """Join features to a spine and return one column as Python values."""
        made, _ = self.join(spine, features, **options)
        return self.constructor.values(made.frame, column)


@pytest.fixture
def history(tmp_path, constructor) -> History:
    return History(tmp_path / "store", constructor)
