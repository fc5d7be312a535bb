"""Random histories and spines against the plain loop of `oracle`, over files of every shape.

A few hundred cases in each run; ``FEATKIT_CASES=10000`` asks for more.
"""

import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given

import featkit
from featkit.engines import duckdb, polars
from featkit.engines.base import JoinTask
from featkit.engines.plan import Strategy
from featkit.history import HistoryRead, rules
from featkit.references import ViewSelection
from featkit.training.spine import SpineColumns, check_moments
from tests.examples import examples

from . import cases, oracle

CASES = int(os.environ.get("FEATKIT_CASES", "150"))
random_cases = examples(CASES, suppress_health_check=list(HealthCheck))
OUTCOMES = ("hit", "expired", "future", "unknown", "null")


@random_cases
@given(case=cases.cases())
def test_random_cases_equal_the_plain_loop(case):
    _, rows, rule, spine, _, _ = case
    expected = oracle.join(rows, spine, rule)
    with tempfile.TemporaryDirectory() as scratch:
        cases.write(Path(scratch), case)
        with featkit.connect(f"parquet:{scratch}") as client:
            made = client.get_historical_features(
                cases.spine_frame(case),
                ["v:x", "v:place"],
                at="at",
                known_by=cases.known_by(rule),
                strict=rule.strict,
            )
    chosen = [row for _, row, _ in expected]
    assert made.frame["place"].to_list() == [cases.place(rows, row) for row in chosen]
    assert made.frame["x"].to_list() == [row and row.value for row in chosen]
    (view,) = made.report.views
    counted = Counter(outcome for outcome, _, _ in expected)
    assert [counted[name] for name in OUTCOMES] == [
        view.hit,
        view.expired,
        view.future_only,
        view.unknown_entity,
        view.null_key_or_time,
    ]
    assert view.tied == sum(tied for _, _, tied in expected)
    assert view.null_values["x"] == sum(row is not None and row.value is None for row in chosen)


def task_of(client, case):
    """Make the join of a case, as the flow of a training set would."""
    _, _, rule, _, _, _ = case
    view = client.get_feature_metadata("v")
    wanted = rules([view], known_by=cases.known_by(rule), strict=rule.strict)["v"]
    read = HistoryRead(view, view.features)

    def history():
        return (yield client.operations.store.read_history(read))

    frame = cases.spine_frame(case)
    at = check_moments(frame["at"], name="at", zone=None, row=str)
    columns = SpineColumns(keys=frame.drop("at"), at=at, weights=None, row=str, zone=None)
    _, spine = columns.of(ViewSelection(view, view.features, {}))
    task = JoinTask(
        spine=spine,
        history=client.run(history()),
        features=("x", "place"),
        rule=wanted,
        oldest=wanted.limit,
    )
    return task, columns.moments


def every_strategy(task):
    """List the ways in which one join can be done."""
    bounds = {}
    if not task.static and len(task.spine):
        bounds["latest"] = int(task.spine.at.max())
        if task.oldest is not None:
            bounds["earliest"] = int(task.spine.at.min()) - task.oldest
    yield polars, Strategy()
    yield polars, Strategy(by_key=True)
    yield polars, Strategy(**bounds)
    yield polars, Strategy(by_key=True, **bounds)
    yield polars, Strategy(buckets=3)
    yield polars, Strategy(later=True, run=1, threads=2)
    yield polars, Strategy(later=True, run=3, buckets=2, **bounds)
    yield polars, Strategy(run=2, threads=3)
    yield polars, Strategy(buckets=2, memory=10**9, **bounds)
    yield duckdb, Strategy(engine="duckdb")


@examples(max(CASES // 5, 20), suppress_health_check=list(HealthCheck))
@given(case=cases.cases())
def test_engines_and_plans_agree_on_everything(case):
    with tempfile.TemporaryDirectory() as scratch:
        cases.write(Path(scratch), case)
        with featkit.connect(f"parquet:{scratch}") as client:
            task, moments = task_of(client, case)
            answers = [
                told(task, engine.join(task, strategy), moments)
                for engine, strategy in every_strategy(task)
            ]
    for answer in answers[1:]:
        for name, values in answer.items():
            assert values == answers[0][name], name


def told(task, match, moments):
    """Tell what a join found for each row: which row, and why there is none."""
    found = match.positions >= 0
    if found.any() and task.rule.limit is not None and not task.static:
        event = match.rows["featkit_event_timestamp"].to_physical().to_numpy()
        old = task.rule.expired(moments, event[match.positions])
        found &= ~old
    places = pl.Series(np.where(found, match.positions, 0))
    past = (match.positions >= 0) | (False if match.past is None else match.past)
    missed = np.zeros(len(found), bool)
    missed[task.spine.rows] = True
    missed &= ~found
    if not match.rows.height:
        chosen = [None] * len(found)
    else:
        chosen = match.rows["place"].gather(places).set(~pl.Series(found), None).to_list()
    return {
        "place": chosen,
        "expired": (missed & past).tolist(),
        "future": (missed & ~past & match.known).tolist(),
        "unknown": (missed & ~past & ~match.known).tolist(),
        "tied": (match.tied & found).tolist(),
    }


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_engines_can_be_asked_for(tmp_path, engine):
    frame = pl.DataFrame({"k": [1, 2], "x": [10, None]})
    featkit.write_view(tmp_path, frame, name="v", join_keys="k")
    spine = pl.DataFrame({"k": [2, 1, 3], "at": cases.times([0, 0, 0], "us", "UTC")})
    with featkit.connect(f"parquet:{tmp_path}") as client:
        made = client.get_historical_features(spine, "v:x", at="at", engine=engine)
    assert made.frame["x"].to_list() == [None, 10, None]
    assert f"by {engine}" in made.report.plan[0]
