"""Training sets that read one view under two sets of keys, over the files of an embedded store."""

import datetime as dt

import polars as pl
import pytest

import featkit

NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def store(tmp_path):
    hour = dt.timedelta(hours=1)
    frame = pl.DataFrame(
        {
            "airport": ["A", "A", "B"],
            "event_timestamp": [NOON - 2 * hour, NOON, NOON - hour],
            "wind": [1.0, 2.0, 3.0],
        }
    )
    featkit.write_view(
        tmp_path, frame, name="weather", join_keys="airport", timestamp="event_timestamp"
    )
    with featkit.connect(f"parquet:{tmp_path}") as client:
        yield client


def test_each_reading_has_its_own_answers(store):
    wind = featkit.FeatureRef("weather", "wind")
    refs = [wind.under("dep", airport="origin"), wind.under("arr", airport="dest")]
    spine = pl.DataFrame(
        {
            "origin": ["A", "B", None],
            "dest": ["B", "A", "A"],
            "t": [NOON - dt.timedelta(minutes=1)] * 3,
        }
    )
    made = store.get_historical_features(spine, refs, at="t", feature_timestamps=True)
    assert made.frame["dep__wind"].to_list() == [1.0, 3.0, None]
    assert made.frame["arr__wind"].to_list() == [3.0, 1.0, 1.0]
    assert made.frame.columns[3:] == [
        *("dep__wind", "arr__wind", "dep__event_timestamp", "arr__event_timestamp")
    ]
    assert [view.view for view in made.report.views] == ["dep", "arr"]
