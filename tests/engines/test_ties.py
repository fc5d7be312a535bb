"""Created timestamps are read only where they decide, and decide the same."""

import polars as pl
import pytest

import featkit
from featkit.engines import polars
from featkit.engines.base import JoinTask
from featkit.engines.plan import Strategy
from featkit.engines.spine import Spine
from featkit.history import HistoryRead, Rule
from featkit.keys import EntityKeys


def joined(folder, rows, strategy):
    """Join at moment 9 of entities 1 to 3; rows are entity, event and created timestamp."""
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
        task = JoinTask(
            spine=Spine(EntityKeys.of(spine.select("k")), spine["at"]),
            history=client.run(history()),
            features=("place",),
            rule=Rule(),
            oldest=None,
        )
        match = polars.join(task, strategy)
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
