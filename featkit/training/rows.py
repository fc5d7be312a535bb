"""Training sets over stores whose rows featkit joins itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from featkit.calls import Call, LocalRead
from featkit.engines import duckdb, polars
from featkit.engines.base import JoinTask
from featkit.engines.plan import PlanStep, Strategy, choose, kept_bytes
from featkit.engines.threads import even, in_slices
from featkit.errors import FeatkitError
from featkit.failures import FAILURES
from featkit.history import EVENT, HistoryRead
from featkit.training.spine import Joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from featkit.calls import Flow
    from featkit.history import HistoryRows, Match, Rule
    from featkit.references import Selection, ViewSelection
    from featkit.stores.base import Store
    from featkit.training.options import TrainingOptions
    from featkit.training.spine import SpineColumns

Member = tuple["ViewSelection", "Rule", "HistoryRows"]


@dataclass(frozen=True, eq=False)
class PlannedJoin:
    """One join, and the views that it serves.

    Attributes
    ----------
    task, strategy
        What is joined, and how.
    members
        The views: their features, rules and histories.
    """

    task: JoinTask
    strategy: Strategy
    members: Sequence[Member]

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views."""
        return tuple(part.view.name for part, _, _ in self.members)

    @property
    def step(self) -> PlanStep:
        """The join as a step of a plan."""
        return PlanStep(views=self.views, strategy=self.strategy)


def plan_rows(
    store: Store,
    selection: Selection,
    rules: dict[str, Rule],
    spine: SpineColumns,
    options: TrainingOptions,
) -> Flow[list[PlannedJoin]]:
    """Find what is to be read, and choose how; views of the same rows share one join."""
    reads = [HistoryRead(part.view, part.features) for part in selection.views]
    found = yield [store.read_history(read) for read in reads]
    histories: list[HistoryRows] = []
    for each in found:
        if isinstance(each, FeatkitError):
            raise each
        histories.append(each)
    planned: list[PlannedJoin] = []
    for group in _groups(selection.views, rules, histories):
        held = sum(kept_bytes(each.task) for each in planned)
        run = partial(_planned, group, spine, options, held)
        planned.append((yield Call(LocalRead(run, "the plan of a join", threaded=True))))
    return planned


def _planned(
    group: Sequence[Member], spine: SpineColumns, options: TrainingOptions, held: int
) -> PlannedJoin:
    task = _task(group, spine)
    try:
        strategy = choose(task, engine=options.engine, memory=options.memory(), held=held)
    except FAILURES as error:
        raise task.history.unreadable(error) from error
    return PlannedJoin(task, strategy, group)


def join_rows(
    selection: Selection, planned: Sequence[PlannedJoin], spine: SpineColumns
) -> Flow[list[Joined]]:
    """Read the history of each view once and join it."""
    joined: dict[int, Joined] = {}
    for each in planned:
        engine = duckdb if each.strategy.engine == "duckdb" else polars
        what = "history of " + ", ".join(each.views)
        run = LocalRead(partial(engine.join, each.task, each.strategy), what, threaded=True)
        match: Match = yield Call(run, keys=len(spine.at))
        for part, rule, history in each.members:
            joined[id(part)] = _joined(part, rule, history, match, spine)
    return [joined[id(part)] for part in selection.views]


def _groups(
    parts: Sequence[ViewSelection], rules: dict[str, Rule], histories: Sequence[HistoryRows]
) -> Iterator[list[Member]]:
    """Put views together whose rows are the same, and known from the same moments on."""
    groups: dict[object, list[Member]] = {}
    for part, history in zip(parts, histories, strict=True):
        rule = rules[part.view.name]
        same = (history.origin, part.key_columns, rule.created, rule.delay, rule.strict)
        groups.setdefault(same, []).append((part, rule, history))
    yield from groups.values()


def _task(group: Sequence[Member], spine: SpineColumns) -> JoinTask:
    part, rule, history = group[0]
    limits = [rule.limit for _, rule, _ in group if rule.limit is not None]
    features = dict.fromkeys(each.name for part, _, _ in group for each in part.features)
    _, sorted_spine = spine.of(part)
    return JoinTask(
        spine=sorted_spine,
        history=history,
        features=tuple(features),
        rule=rule,
        oldest=max(limits) if len(limits) == len(group) else None,
    )


def _joined(
    part: ViewSelection, rule: Rule, history: HistoryRows, match: Match, spine: SpineColumns
) -> Joined:
    return Joined(
        part=part,
        rule=rule,
        match=match,
        positions=_young_enough(match, rule, spine),
        values={each.name: history.convert(match.rows[each.name], each) for each in part.features},
        usable=spine.usable(part),
        files=history.files,
        notes=tuple(_notes(part, rule)),
    )


def _young_enough(match: Match, rule: Rule, spine: SpineColumns) -> npt.NDArray[np.int64]:
    if rule.limit is None or EVENT not in match.rows.columns or not match.rows.height:
        return match.positions
    event = match.rows[EVENT].to_physical().to_numpy()
    moments, positions = spine.moments, np.empty_like(match.positions)

    def leave_out(own: slice) -> None:
        found = match.positions[own]
        positions[own] = np.where(rule.expired(moments[own], event[found]), -1, found)

    in_slices(leave_out, even(len(positions)))
    return positions


def _notes(part: ViewSelection, rule: Rule) -> Iterator[str]:
    view = part.view
    if not view.timestamp:
        yield (
            "static, so that each entity's last row is joined whatever the moment: it may tell "
            "what was not known then"
        )
    elif rule.created and not view.created:
        yield "no created timestamp, so that each row counts as written at its event"
