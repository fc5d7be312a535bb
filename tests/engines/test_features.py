"""Features that are read after it is known which rows are chosen."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

import featkit
from featkit.engines.base import JoinTask, in_pieces, numbered
from featkit.engines.features import LaterFeatures
from featkit.engines.plan import Strategy
from featkit.history import HistoryRead, rules
from featkit.references import ViewSelection
from featkit.training.spine import SpineColumns

DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ROWS = pl.DataFrame({"k": [1, 2, 3], "t": [DAY] * 3, "x": [10, 20, 30]})


def write(folder, rows):
    featkit.write_view(folder, rows, name="v", join_keys="k", timestamp="t", overwrite=True)


def task_of(folder):
    with featkit.connect(f"parquet:{folder}") as client:
        view = client.get_feature_metadata("v")

        def history():
            return (yield client.operations.store.read_history(HistoryRead(view, view.features)))

        rows = client.run(history())
    at = ROWS["t"].cast(pl.Datetime("us", "UTC"))
    columns = SpineColumns(keys=ROWS.select("k"), at=at, weights=None, row=str, zone=None)
    _, spine = columns.of(ViewSelection(view, view.features, {}))
    return JoinTask(
        spine=spine, history=rows, features=("x",), rule=rules([view])["v"], oldest=None
    )


@pytest.fixture
def features(tmp_path):
    write(tmp_path, ROWS)
    features = LaterFeatures(task_of(tmp_path), Strategy())
    for first, frame in numbered(in_pieces(features.scan())):
        features.take(None, first, frame)
    return features


def test_rows_are_found_by_their_numbers(features):
    assert features.scan().collect_schema().names() == ["k0", "featkit_event_timestamp"]
    assert features.of(np.array([0, 2])).to_dict(as_series=False) == {"x": [10, 30]}
    assert features.of(np.empty(0, np.int64)).height == 0


@pytest.mark.parametrize("rows", [ROWS.head(2), ROWS.with_columns(x=pl.lit(7))])
def test_files_that_were_written_again_meanwhile_are_refused(features, tmp_path, rows):
    write(tmp_path, rows)
    with pytest.raises(OSError, match="written again while they were read; call again"):
        features.of(np.array([0, 1]))
