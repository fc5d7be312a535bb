"""Created timestamps are read only where they decide, and decide the same."""

import os
from dataclasses import replace

import polars as pl
import pytest

import featkit
from featkit.engines import polars
from featkit.engines.base import JoinTask
from featkit.engines.plan import Strategy
from featkit.engines.spine import Spine
from featkit.errors import SourceError
from featkit.history import HistoryRead, Rule
from featkit.keys import EntityKeys


def task_of(folder, rows):
    """Make the join at moment 9 of entities 1 to 3; rows are entity, event, created timestamp."""
    stamp = pl.Datetime("us", "UTC")
    schema = {"k": pl.Int64, "t": stamp, "c": stamp}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("place")
    frame.write_parquet(folder / "v.parquet", row_group_size=2)
    (folder / "feature_views.toml").write_text(
        '[views.v]\nsource = "v.parquet"\njoin_keys = ["k"]\ntimestamp = "t"\ncreated = "c"\n'
    )
    with featkit.connect(f"parquet:{folder}") as client:
        view = client.get_feature_metadata("v")

        def history():
            read = HistoryRead(view, view.features)
            return (yield client.operations.store.read_history(read))

        spine = pl.DataFrame({"k": [1, 2, 3], "at": pl.Series([9, 9, 9]).cast(stamp)})
        return JoinTask(
            spine=Spine(EntityKeys.of(spine.select("k")), spine["at"]),
            history=client.run(history()),
            features=("place",),
            rule=Rule(),
            oldest=None,
        )


def joined(folder, rows, strategy):
    match = polars.join(task_of(folder, rows), strategy)
    places = match.rows["place"].to_list()
    return [places[each] for each in match.positions], match.tied.tolist()


@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(
            [(1, 1, 5), (2, 2, 5), (3, 3, 5), (1, 4, 5), (2, 4, 7), (1, 3, 9)],
            ([3, 4, 2], [False, False, False]),
            id="none",
        ),
        pytest.param(
            [(1, 4, 7), (1, 4, 5), (2, 2, 5), (3, 3, 5), (2, 2, None)],
            ([0, 2, 3], [True, True, False]),
            id="among the first rows",
        ),
        pytest.param(
            [(1, 1, 5), (2, 2, 8), (1, 4, 9), (2, 2, 7), (1, 4, 6), (3, 1, 1), (2, 2, 8)],
            ([2, 6, 5], [True, True, False]),
            id="later",
        ),
        pytest.param(
            [(1, 1, 5), (2, 2, 8), (1, 1, 9), (2, 2, 9), (1, 4, 6), (3, 1, 1), (3, 1, 0)],
            ([4, 3, 5], [False, True, True]),
            id="some of a row that loses",
        ),
    ],
)
def test_created_timestamps_decide_between_tied_rows(tmp_path, rows, expected, later):
    assert joined(tmp_path, rows, Strategy(later=later, run=2)) == expected


def test_files_that_are_emptied_between_two_readings_are_told(tmp_path):
    rows = [(1, 1, 5), (2, 2, 5), (3, 3, 5), (1, 4, 7), (1, 4, 5)]  # a tie, not at the beginning
    task = task_of(tmp_path, rows)
    read = []

    def emptied(frame):
        read.append(frame.height)
        if len(read) == 1:
            return frame
        os.utime(tmp_path / "v.parquet", (1, 1))
        return frame.clear()

    history = replace(task.history, scan=task.history.scan.map_batches(emptied))
    with pytest.raises(SourceError, match="written again while they were read"):
        polars.join(replace(task, history=history), Strategy(later=True, run=2))
    assert read == [5, 5, 5]
