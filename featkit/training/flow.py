"""The flow that assembles a training set: spine, rules, history, columns."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from featkit import frames
from featkit.calls import Call, LocalRead
from featkit.columns import TIMESTAMP_SUFFIX, KeyedColumn
from featkit.engines.plan import JoinPlan
from featkit.errors import FeatkitError, NameClashError, NotSupportedError
from featkit.history import EVENT, Rule, rules
from featkit.references import select
from featkit.training.joined import join_by_store
from featkit.training.manifest import Manifest, ViewManifest, spine_hash
from featkit.training.report import Periods, TrainingReport, view_report
from featkit.training.result import TrainingSet
from featkit.training.rows import join_rows, plan_rows
from featkit.training.sink import check_target, scratch, write
from featkit.training.spine import AT_COLUMN, SpineColumns, check_moments, read_spine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from featkit.calls import Flow
    from featkit.frames import UserFrame
    from featkit.references import Selection, ViewSelection
    from featkit.stores.base import Store
    from featkit.training.options import TrainingOptions
    from featkit.training.rows import PlannedJoin
    from featkit.training.spine import Joined
    from featkit.types import Features

METHOD = "get_historical_features"


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What a training set is asked of.

    Attributes
    ----------
    store, target, timezone
        The store, what the user calls it, and what naive timestamps mean.
    spine, features, options
        As the user gave them.
    again
        Makes the same training set once more.
    """

    store: Store
    target: str
    timezone: str | None
    spine: Any
    features: Features
    options: TrainingOptions
    again: Callable[[], TrainingSet[Any]]


def assemble(request: Request) -> Flow[TrainingSet[Any]]:
    """Assemble a training set; see `featkit.FeatureStoreClient.get_historical_features`."""
    started = time.perf_counter()
    if request.options.sink is not None:
        check_target(Path(request.options.sink))
    with scratch(request.spine, request.options.sink) as file:
        if file is None:
            frame = frames.adapt(request.spine, dtype_backend=request.options.dtype_backend)
        else:
            spill = partial(request.spine.sink_ipc, file)
            yield Call(LocalRead(spill, "the spine", threaded=True))
            frame = frames.FileFrame(file)
        ready = yield from _prepare(request, frame)
        answer = yield from _joined(request, ready)
        give = partial(answer.given_to, frame, request.options)
        steps: list[Call[Any]] = [
            Call(LocalRead(give, "the training set", threaded=True)),
            Call(LocalRead(partial(answer.report, request.store), "the report", threaded=True)),
            Call(LocalRead(partial(answer.manifest, request), "the manifest", threaded=True)),
        ]
        # a file is written in the caller's thread, where Ctrl-C ends it
        made, report, manifest = yield from (
            _together(steps) if request.options.sink is None else _in_turn(steps)
        )
    return TrainingSet(
        frame=made,
        columns=answer.names(request.options),
        report=replace(report, seconds=time.perf_counter() - started),
        manifest=manifest,
        again=request.again,
    )


def _together(steps: Sequence[Call[Any]]) -> Flow[list[Any]]:
    """Take some steps at the same time, each on what the others leave alone."""
    done: list[Any] = yield steps
    for each in done:
        if isinstance(each, FeatkitError):
            raise each
    return done


def _in_turn(steps: Sequence[Call[Any]]) -> Flow[list[Any]]:
    done = []
    for step in steps:
        done.append((yield step))  # noqa: PERF401 - a comprehension cannot yield
    return done


def explain(request: Request) -> Flow[JoinPlan]:
    """Plan a training set without joining anything."""
    frame = frames.adapt(request.spine, dtype_backend=request.options.dtype_backend)
    ready = yield from _prepare(request, frame)
    if request.store.capabilities.history == "joined":
        return JoinPlan(steps=(), joined_by=request.store.scheme)
    planned = yield from _plan(request, ready)
    return JoinPlan(steps=tuple(each.step for each in planned))


@dataclass(frozen=True, eq=False)
class _Ready:
    """What is known before anything is joined."""

    selection: Selection
    rules: dict[str, Rule]
    columns: SpineColumns


def _prepare(request: Request, frame: UserFrame) -> Flow[_Ready]:
    store, options = request.store, request.options
    if store.capabilities.history == "none":
        yield from store.refuse_history(METHOD)
    selection = yield from _select(request)
    wanted = rules(
        [part.view for part in selection.views],
        lookback=options.lookback,
        known_by=options.known_by,
        strict=options.strict,
    )
    _refuse_clashes(frame, selection, options)
    columns = yield from _spine_columns(request, frame, selection)
    return _Ready(selection, wanted, columns)


def _plan(request: Request, ready: _Ready) -> Flow[list[PlannedJoin]]:
    return (
        yield from plan_rows(
            request.store, ready.selection, ready.rules, ready.columns, request.options
        )
    )


def _joined(request: Request, ready: _Ready) -> Flow[_Answer]:
    selection, columns = ready.selection, ready.columns
    if request.store.capabilities.history == "joined":
        joined = yield from join_by_store(
            request.store, selection, ready.rules, columns, request.options
        )
        return _Answer(selection, columns, joined)
    planned = yield from _plan(request, ready)
    joined = yield from join_rows(selection, planned, columns)
    return _Answer(selection, columns, joined, tuple(str(each.step) for each in planned))


def _select(request: Request) -> Flow[Selection]:
    try:
        selection = yield from select(
            request.store, request.features, prefix=request.options.prefix
        )
    except NameClashError as error:
        msg = str(error).replace("prefix='{view}__'", "full_feature_names=True")
        raise NameClashError(msg) from error
    for part in selection.views:
        if not part.view.offline:
            msg = (
                f"feature view {part.view.name!r} has no history: "
                f"{request.store.why_not_offline(part.view)}; leave it out of "
                "the training set, or bring its latest values with enrich()"
            )
            raise NotSupportedError(msg)
    return selection


def _refuse_clashes(frame: UserFrame, selection: Selection, options: TrainingOptions) -> None:
    """Raise `NameClashError` where a new column has the name of one of the spine."""
    present = set(frame.columns)
    for part in selection.views:
        for feature, name in part.names.items():
            if name in present:
                fix = "full_feature_names=True calls it " + f"'{part.view.name}__{feature}'"
                if options.full_feature_names:
                    fix = "rename the column of the spine"
                msg = (
                    f"the feature '{part.view.name}:{feature}' and a column of the spine are both "
                    f"called {name!r}; {fix}"
                )
                raise NameClashError(msg)
        stamp = part.label + TIMESTAMP_SUFFIX
        if options.feature_timestamps and stamp in present:
            msg = (
                f"feature_timestamps=True adds {stamp!r}, and the spine has a column of that name; "
                "rename it"
            )
            raise NameClashError(msg)


def _spine_columns(request: Request, frame: UserFrame, selection: Selection) -> Flow[SpineColumns]:
    options = request.options
    labels = frames.key_labels(frame, selection, options.on)
    frames.refuse_unknown(frame, options.at, "at")
    read = partial(read_spine, frame, labels, options.at)
    found: pl.DataFrame = yield Call(LocalRead(read, "keys and moments of the spine"))
    at = check_moments(
        found[AT_COLUMN], name=options.at, zone=request.timezone, row=frame.row_label
    )
    return SpineColumns(
        keys=found.drop(AT_COLUMN),
        at=at,
        weights=None if frame.weights is None else frame.weights.to_numpy().astype(np.int64),
        row=frame.row_label,
        zone=request.timezone,
    )


@dataclass(frozen=True, eq=False)
class _Answer:
    """What was joined, before it is given to the user's frame."""

    selection: Selection
    spine: SpineColumns
    joined: Sequence[Joined]
    plan: tuple[str, ...] = ()

    def given_to(self, frame: UserFrame, options: TrainingOptions) -> Any:  # noqa: ANN401 - a frame of the user's kind
        """Put the features beside the frame's own columns, in the order asked for."""
        columns = self._columns(options)
        if options.sink is None:
            return frame.with_columns(columns)
        return write(frame, list(columns), options.sink)

    def names(self, options: TrainingOptions) -> tuple[str, ...]:
        """Name the columns that come to those of the frame."""
        return tuple(column.values.name for column in self._columns(options))

    def _columns(self, options: TrainingOptions) -> Iterator[KeyedColumn]:
        positions = [_positions(each.positions) for each in self.joined]
        named = {
            name: (place, feature)
            for place, each in enumerate(self.joined)
            for feature, name in each.part.names.items()
        }
        for name in self.selection.columns:
            place, feature = named[name]
            yield KeyedColumn(self.joined[place].values[feature].alias(name), positions[place])
        if options.feature_timestamps:
            for place, each in enumerate(self.joined):
                if EVENT in each.match.rows.columns:
                    stamps = each.match.rows[EVENT].alias(each.part.label + TIMESTAMP_SUFFIX)
                    yield KeyedColumn(stamps, positions[place])

    def report(self, store: Store) -> TrainingReport:
        usable = self.spine.at.is_not_null().to_numpy()
        at = self.spine.at.to_physical().fill_null(0).to_numpy()
        periods = Periods.of(at, usable, self.spine.weights)
        views = [
            view_report(
                each.part.label,
                each.match,
                each.positions,
                rule=each.rule,
                features=[feature.name for feature in each.part.features],
                usable=each.usable,
                periods=periods,
                notes=each.notes,
            )
            for each in self.joined
        ]
        return TrainingReport(
            views=tuple(views),
            rows=self.spine.rows,
            periods=periods.edges,
            plan=self.plan,
            notes=tuple(f"{store.scheme}: {rule}" for rule in store.capabilities.history_rules),
        )

    def manifest(self, request: Request) -> Manifest:
        return Manifest(
            target=request.target,
            made_at=datetime.now(UTC),
            options=request.options.asked(),
            views=tuple(_view_manifest(each) for each in self.joined),
            spine_rows=self.spine.rows,
            spine_hash=spine_hash(self.spine.keys.with_columns(self.spine.at)),
        )


def _view_manifest(each: Joined) -> ViewManifest:
    part: ViewSelection = each.part
    return ViewManifest(
        view=part.view.name,
        schema_hash=part.view.schema_hash,
        rule=each.rule.words(),
        features=tuple(feature.name for feature in part.features),
        files=each.files,
    )


def _positions(places: npt.NDArray[np.int64]) -> pl.Series:
    """Turn places into positions, null where there is none."""
    found = pl.Series(places.astype(np.uint32))
    return found if not (none := places < 0).any() else found.set(pl.Series(none), None)
