"""What comes back beside the frame: report, manifest, and what changed since."""

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

import featkit
from featkit.errors import InputError
from featkit.training.manifest import spine_hash

from .conftest import DAY, hours


@pytest.fixture
def made(history):
    history.write({"k": [1, 1], "t": hours(1, 3), "x": [10, 30]}, ttl="5h")
    frame = history.constructor({"k": [1, 2], "at": hours(4, 4)})
    client = featkit.connect(f"parquet:{history.folder}")
    return client.get_historical_features(frame, "v:x", at="at", feature_timestamps=True)


def test_nothing_changed(made):
    again = made.reproduce()
    assert again.same
    assert again.changes == ()
    assert repr(again) == "every value is the same\nnothing changed in the store"


def test_rewritten_files_are_told_with_what_they_did(history, made):
    rows = {"k": [1, 1, 1], "t": hours(1, 3, 3.5), "x": [10, 30, 35]}
    history.write(rows, ttl="5h", overwrite=True)
    again = made.reproduce()
    assert not again.same
    assert again.differing == {"x": 1, "v__event_timestamp": 1}
    assert "was written again" in again.changes[0]
    assert "(2 rows then, 3 now)" in again.changes[0]
    assert "x: 1 rows" in repr(again)


def test_changed_definition_is_told(history, made):
    history.write({"k": [1, 1], "t": hours(1, 3), "x": [1.5, 2.5]}, ttl="1h", overwrite=True)
    changes = "\n".join(made.reproduce().changes)
    assert "v: keys, features or dtypes changed" in changes
    assert "at most 5h old; now" in changes


def test_file_is_compared_with_a_new_one_beside_it(history, tmp_path):
    history.write({"k": [1, 2], "t": hours(1, 1), "x": [[1], [2]]})
    frame = history.constructor({"k": [1, 2], "at": hours(4, 4)})
    client = featkit.connect(f"parquet:{history.folder}")
    target = tmp_path / "set.parquet"
    made = client.get_historical_features(frame, "v:x", at="at", sink=target)
    history.write({"k": [1, 2], "t": hours(1, 1), "x": [[1], [5]]}, overwrite=True)
    again = made.reproduce()
    assert again.differing == {"x": 1}
    assert made.frame.collect()["x"].to_list() == [[1], [2]]
    assert pl.read_parquet(tmp_path / "set.again.parquet")["x"].to_list() == [[1], [5]]
    assert again.training_set.frame.collect()["x"].to_list() == [[1], [5]]


def test_columns_of_one_name_do_not_hinder_it(history, pandas_constructor):
    history.write({"k": [1], "t": hours(1), "x": [[1]]})
    frame = pandas_constructor({"k": [1], "at": hours(4), "y": [1], "z": [2]})
    frame = frame.set_axis(["k", "at", 5, "5"], axis=1).assign(own=object())
    frame = frame.set_axis(["k", "at", "y", "y", "own"], axis=1)
    with featkit.connect(f"parquet:{history.folder}") as client:
        made = client.get_historical_features(frame, "v:x", at="at")
        assert made.columns == ("x",)
        assert made.reproduce().same
        history.write({"k": [1], "t": hours(1), "x": [[2]]}, overwrite=True)
        assert made.reproduce().differing == {"x": 1}


def test_manifest_is_read_again_and_compared(history, tmp_path, made):
    made.manifest.to_json(tmp_path / "manifest.json")
    before = featkit.Manifest.from_json(tmp_path / "manifest.json")
    assert before == made.manifest
    assert before.changes(made.reproduce().training_set.manifest) == []
    history.write({"k": [1], "t": hours(1), "y": [10]}, name="w")
    spine = {"k": [1, 2], "at": hours(4, 4)}
    now, _ = history.join(spine, ["w:y"], lookback="2h", feature_timestamps=True)
    told = before.changes(now.manifest)
    assert "lookback was None and is 2h" in told
    assert "v: no longer part of it" in told
    assert "w: was not part of it" in told


def test_files_that_come_go_and_change_are_told_in_their_order(tmp_path):
    rows = pl.DataFrame({"k": [1], "t": hours(1), "x": [10]})
    for name in "fedcba":
        rows.write_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / "feature_views.toml").write_text(
        '[views.v]\nsource = "*.parquet"\njoin_keys = ["k"]\ntimestamp = "t"\n'
    )
    with featkit.connect(f"parquet:{tmp_path}") as client:
        spine = pl.DataFrame({"k": [1], "at": hours(2)})
        made = client.get_historical_features(spine, "v:x", at="at")
        for name in "abc":
            (tmp_path / f"{name}.parquet").rename(tmp_path / f"new-{name}.parquet")
        pl.concat([rows, rows]).write_parquet(tmp_path / "e.parquet")
        again = made.reproduce()
    *moved, written = again.changes
    assert moved == [
        *(f"v: {tmp_path / f'{name}.parquet'} is gone" for name in "abc"),
        *(f"v: {tmp_path / f'new-{name}.parquet'} is new" for name in "abc"),
    ]
    assert written.startswith(f"v: {tmp_path / 'e.parquet'} was written again at ")
    assert written.endswith(" UTC (1 rows then, 2 now)")


def test_truth_values_of_numpy_are_truth_values_in_a_manifest(history):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    store = featkit.connect(f"parquet:{history.folder}")
    frame = history.constructor({"k": [1], "at": hours(4)})
    found = store.get_historical_features(frame, "v:x", at="at", strict=np.False_)
    assert json.loads(found.manifest.to_json())["options"]["strict"] is False


def test_what_is_no_manifest_is_refused(tmp_path):
    (tmp_path / "no.json").write_text('{"target": 5}')
    for name in ("no.json", "gone.json"):
        with pytest.raises(InputError, match="is no manifest of a training set"):
            featkit.Manifest.from_json(tmp_path / name)


def test_manifest_takes_every_label(history, tmp_path, pandas_constructor):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    label = dt.date(2024, 5, 1)
    frame = pandas_constructor({"k": [1], "at": hours(4)}).rename(columns={"k": label})
    with featkit.connect(f"parquet:{history.folder}") as client:
        made = client.get_historical_features(
            frame, "v:x", at="at", on=label, lookback=dt.timedelta(days=3)
        )
    made.manifest.to_json(tmp_path / "manifest.json")
    options = json.loads((tmp_path / "manifest.json").read_text())["options"]
    assert (options["on"], options["lookback"]) == ("2024-05-01", "3d")


def test_manifest_tells_all_that_matters(made, tmp_path):
    made.manifest.to_json(tmp_path / "manifest.json")
    told = json.loads((tmp_path / "manifest.json").read_text())
    assert told["options"]["at"] == "at"
    assert set(told["versions"]) == {"Python", "featkit", "polars", "numpy"}
    (view,) = told["views"]
    assert (view["view"], view["features"]) == ("v", ["x"])
    assert view["files"][0]["rows"] == 2
    assert view["files"][0]["path"].endswith("part-0.parquet")
    assert told["spine_rows"] == 2
    assert "2 rows (spine " in str(made.manifest)


def test_hash_of_the_spine_follows_keys_moments_and_order(history):
    history.write({"k": [1], "t": hours(1), "x": [10]})
    client = featkit.connect(f"parquet:{history.folder}")

    def of(**columns):
        frame = pl.DataFrame({"k": [1, 2], "at": hours(1, 2), "y": [0, 0]} | columns)
        return client.get_historical_features(frame, "v:x", at="at").manifest.spine_hash

    assert of() == of(y=[7, 8])
    hashes = {of(), of(k=[2, 1]), of(k=[1, None]), of(at=hours(1, 3)), of(at=hours(None, 2))}
    assert len(hashes) == 5


VALUES = {
    "whole": [1, 2, None],
    "text": ["a", "", None],
    "flag": [True, False, None],
    "date": [dt.date(2024, 5, 1), dt.date(1960, 1, 1), None],
    "amount": [Decimal("1.50"), Decimal(0), None],
    "bytes": [b"\xff", b"", None],
    "parts": [[1, None], [], None],
    "kind": pl.Series(["a", "b", None], dtype=pl.Categorical),
}


@pytest.mark.parametrize("name", VALUES)
def test_hash_of_the_spine_does_not_follow_how_values_lie_in_memory(name):
    frame = pl.DataFrame({name: VALUES[name]})
    longer = pl.concat([frame[::-1], frame])
    same = [
        longer.tail(3),
        longer.with_row_index().filter(pl.col("index") > 2).drop("index"),
        pl.concat([frame[:1], frame[1:]], rechunk=False),
        longer.tail(3).with_columns(pl.when(pl.int_range(3) < 2).then(name)),
    ]
    assert {spine_hash(each) for each in same} == {spine_hash(frame)}
    others = [
        frame[::-1],
        frame.head(2),
        frame.with_columns(pl.when(pl.int_range(3) < 1).then(name)),
    ]
    assert len({spine_hash(each) for each in [frame, *others]}) == 4


def test_hash_of_the_spine_tells_texts_apart_by_where_they_end():
    pairs = (["ab", "c"], ["a", "bc"], ["", None], [None, ""])
    assert len({spine_hash(pl.DataFrame({"k": pair})) for pair in pairs}) == 4


def test_frames_of_both_libraries(made):
    assert made.to_polars()["x"].to_list() == [30, None]
    assert made.to_pandas()["x"].tolist()[0] == 30
    assert str(made) == str(made.report)


def test_report_as_page_escapes_and_has_both_colours(history, tmp_path):
    rows = {"k": [1], "t": hours(1), "<x>": [10]}
    history.write(rows)
    made, _ = history.join({"k": [1], "at": hours(2)}, ["v:<x>"])
    made.report.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "color-scheme: light dark" in page
    assert "<x>" not in page
    assert "<script" not in page


def test_coverage_follows_time(history):
    history.write({"k": [1], "t": hours(100), "x": [10]})
    spine = {"k": [1] * 200, "at": hours(*range(200))}
    made, _ = history.join(spine)
    (view,) = made.report.views
    assert len(view.coverage) == 12
    assert view.coverage[:5] == (0.0,) * 5
    assert view.coverage[-5:] == (1.0,) * 5
    assert made.report.periods[0] == DAY
    assert made.report.periods[-1] == DAY + dt.timedelta(hours=199)
    assert view.share == 0.5


@pytest.mark.anyio
async def test_async_client_does_the_same(history, made):
    client = featkit.connect_async(f"parquet:{history.folder}")
    frame = history.constructor({"k": [1, 2], "at": hours(4, 4)})
    twin = await client.get_historical_features(frame, "v:x", at="at", feature_timestamps=True)
    history.constructor.assert_same(made.frame, twin.frame)
    assert twin.report.views == made.report.views
    plan = await client.get_historical_features(frame, "v:x", at="at", explain=True)
    assert "v: full" in str(plan)
    alone = await frame.features.training_set_async("v:x", at="at", store=client)
    assert history.constructor.values(alone, "x") == [30, None]
    assert client.last_report.rows == 2
