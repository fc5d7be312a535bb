"""The flow of a staleness audit: whose values are looked at, and what the store tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from featkit import frames
from featkit.audits.lag import with_lag
from featkit.audits.syncs import dated, judged, moment_of, words
from featkit.calls import Call, LocalRead
from featkit.choices import yes_or_no
from featkit.durations import parse_duration
from featkit.errors import (
    FeatkitError,
    InputError,
    KeyColumnError,
    NotSupportedError,
    StoreError,
    UnknownNameError,
    nearest,
)
from featkit.flows import at_once
from featkit.populations import Arrivals, EntityList, Population, PopulationRead, Sync, drawn
from featkit.references import Selection, ViewSelection, select
from featkit.reports.staleness import StalenessReport
from featkit.staleness import Thresholds, ViewStaleness, learn, measure
from featkit.staleness.cadence import FEWEST
from featkit.stores.base import OnlineRead

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import datetime, timedelta

    import polars as pl

    from featkit.calls import Flow
    from featkit.capabilities import Capabilities
    from featkit.columns import FeatureColumns
    from featkit.flows import Task
    from featkit.frames import UserFrame
    from featkit.online.lookup import Lookup
    from featkit.schema import FeatureView
    from featkit.staleness import Cadence, Level, Verdict
    from featkit.stores.base import Store
    from featkit.types import Duration, Features, Keys, Now

    LookUp = Callable[..., Flow[Lookup]]  # of a selection, the key columns, and frame=


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """What `staleness` is asked, as `featkit.FeatureStoreClient.staleness` documents it.

    Or as `featkit.FeaturesAccessor.staleness` does, whose frame has the entities: `on` tells where.
    """

    features: Features | None = None
    entities: Keys | None = None
    _: KW_ONLY
    on: Mapping[str, Hashable] | Hashable | None = None
    sample: int | None = None
    warn_after: Duration | Mapping[str, Duration] | None = None
    error_after: Duration | Mapping[str, Duration] | None = None
    tolerate: float = 0.0
    now: Now = None
    compare_offline: bool = False
    refresh: bool = False

    def __post_init__(self) -> None:
        whole = isinstance(self.sample, int) and not isinstance(self.sample, bool)
        if self.sample is not None and not (whole and self.sample > 0):
            msg = f"sample={self.sample!r} is no number of entities; write 1 or more, or None"
            raise InputError(msg)
        yes_or_no(compare_offline=self.compare_offline, refresh=self.refresh)

    def thresholds(self, view: FeatureView) -> Thresholds:
        """Tell the thresholds of a view."""
        return Thresholds.of(
            view.ttl,
            warn_after=_own(self.warn_after, view.name, "warn_after"),
            error_after=_own(self.error_after, view.name, "error_after"),
            tolerate=self.tolerate,
        )

    def check(self, views: list[str]) -> None:
        """Raise `UnknownNameError` where a threshold is for a view that is not looked at."""
        for name in ("warn_after", "error_after"):
            given = getattr(self, name)
            for view in given if isinstance(given, Mapping) else ():
                if view not in views:
                    msg = f"{name}= names {view!r}, which is not looked at; {nearest(view, views)}"
                    raise UnknownNameError(msg)


def _own(given: Duration | Mapping[str, Duration] | None, view: str, what: str) -> timedelta | None:
    own = given.get(view) if isinstance(given, Mapping) else given
    return None if own is None else parse_duration(own, what=what)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of the entities of one view: their values, or why there are none."""

    part: ViewSelection
    n: int = 0
    population: str = ""
    keys: pl.DataFrame | None = None
    columns: FeatureColumns | None = None
    reason: str = ""
    failed: bool = False
    notes: tuple[str, ...] = ()
    sync: Sync | FeatkitError | None = None


@dataclass(frozen=True, slots=True)
class _History:
    """What the history of one view tells."""

    newest: datetime | None
    cadence: Cadence | None


@dataclass(frozen=True, slots=True)
class Audit:
    """One audit of one store.

    Attributes
    ----------
    store
        The store.
    target
        What the user calls it.
    now
        The moment at which ages are taken, aware (UTC).
    options
        How it is done.
    look_up
        Looks up the entities of a frame; it may answer from the cache.
    """

    store: Store
    target: str
    now: datetime
    options: AuditOptions
    look_up: LookUp

    def of_store(self) -> Flow[StalenessReport]:
        """Look at entities that are named, or at all that the store can list."""
        features, entities = self.options.features, self.options.entities
        if entities is None:
            selection = yield from self._selection(None)
            return (yield from self._populations(selection))
        if features is not None:
            selection = yield from self._selection(None)
            frame = frames.of_keys(entities, selection.join_keys)
        else:
            if frames.is_column(entities):
                msg = (
                    "these entities have no names of join keys; name features=, or pass a frame "
                    "or a mapping of columns"
                )
                raise InputError(msg)
            frame = frames.of_keys(entities, ())
            selection = yield from self._selection(frame)
        return (yield from self._of_entities(selection, frame, "given"))

    def of_frame(self, own: object) -> Flow[StalenessReport]:
        """Look at the entities of a frame of the user's."""
        frame = frames.adapt(own)
        selection = yield from self._selection(frame)
        return (yield from self._of_entities(selection, frame, "of the frame"))

    # -- what to look at

    def _selection(self, frame: UserFrame | None) -> Flow[Selection]:
        """Find the features; without any named, all those whose entities there are."""
        options = self.options
        if options.features is not None:
            # each column by its whole name, since views may share names of features
            selection = yield from select(
                self.store, options.features, prefix="{view}:", partly=True
            )
        else:
            views, failed = yield from self.store.describe()
            if frame is not None and (views or not failed):
                views = _fitting(views, frame, options.on)
            selection = Selection(tuple(map(_whole, views)), (), failed)
        options.check([*(part.view.name for part in selection.views), *selection.failed])
        for part in selection.views:
            options.thresholds(part.view)  # a mistake is told before anything is read
        return selection

    # -- looking

    def _populations(self, selection: Selection) -> Flow[StalenessReport]:
        """Ask the store for the latest rows of its entities, and for their history, all at once."""
        asked = [self._population(part) for part in selection.views]
        answers = yield from at_once([*asked, *self._history(selection)])
        count = len(asked)
        seen = []
        for part, answer in zip(selection.views, answers[:count], strict=True):
            if isinstance(answer, EntityList):
                seen.append((yield from self._named(selection, part, answer)))
            else:
                seen.append(_listed(part, answer, self.store.capabilities))
        return (yield from self._report(selection, seen, answers[count:]))

    def _population(self, part: ViewSelection) -> Task[Any] | None:
        """Ask for the entities with their rows, or for their names where that is the only way."""
        if not part.view.online:
            return None
        read = PopulationRead(part.view, part.features, self.now, self.options.sample)
        return self.store.read_population(read) or self.store.name_entities(read)

    def _named(self, selection: Selection, part: ViewSelection, found: EntityList) -> Flow[_Seen]:
        """Look the entities up that the source of a view names."""
        one, keys = replace(selection, views=(part,)), found.keys
        whose = f"{_shown(keys.height, found.total)}, as its source has them"
        seen = yield from self._one(one, keys, frames.adapt(keys), whose)
        return replace(seen, population=whose)

    def _history(self, selection: Selection) -> list[Task[Any] | None]:
        """Make the calls that tell in which rhythm the rows of each view came."""
        views = [part.view for part in selection.views]
        calls = [
            self.store.read_arrivals(view, self.now) if view.timestamp else None for view in views
        ]
        return [None if call is None else _learning(call) for call in calls]

    def _of_entities(
        self,
        selection: Selection,
        frame: UserFrame,
        whose: str,
    ) -> Flow[StalenessReport]:
        """Look entities up, all views at once; where that fails, each by itself."""
        served = tuple(part for part in selection.views if part.view.online)
        online = replace(selection, views=served)
        labels = frames.key_labels(frame, online, self.options.on)
        columns: pl.DataFrame = yield Call(
            LocalRead(partial(frame.key_columns, labels), "the keys of the frame")
        )
        columns, words = _some(columns, self.options.sample)
        frame = frames.adapt(columns) if words else frame
        whose = f"{whose}{words}"
        try:
            found = yield from self.look_up(online, columns, frame=frame)
            looked = [_looked_up(found, place, whose) for place in range(len(served))]
        except StoreError:
            looked = []
            for part in served:
                one = replace(online, views=(part,))
                looked.append((yield from self._one(one, columns, frame, whose)))
        found_of = iter(looked)
        seen = [
            next(found_of) if part.view.online else _listed(part, None, self.store.capabilities)
            for part in selection.views
        ]
        history = yield from at_once(self._history(selection))
        return (yield from self._report(selection, seen, history))

    def _one(
        self, selection: Selection, columns: pl.DataFrame, frame: UserFrame, whose: str
    ) -> Flow[_Seen]:
        """Look the entities of one view up, or tell why that fails."""
        try:
            found = yield from self.look_up(selection, columns, frame=frame)
        except StoreError as error:
            (part,) = selection.views
            return _Seen(part, columns.height, whose, reason=str(error), failed=True)
        return _looked_up(found, 0, whose)

    # -- judging

    def _report(
        self, selection: Selection, seen: list[_Seen], history: list[Any]
    ) -> Flow[StalenessReport]:
        """Measure what was seen, and add what the history and the offline store tell."""
        syncs = yield from self.store.read_syncs([each.part.view for each in seen])
        seen = [replace(each, sync=syncs.get(each.part.view.name)) for each in seen]
        views = []
        for each, told in zip(seen, history, strict=True):
            view = _arrived(self._measured(each), told, self.now)
            if self.options.compare_offline and each.keys is not None:
                read = OnlineRead(each.part.view, each.part.features, each.keys, self.now)
                view = yield from with_lag(self.store, view, read)
            views.append(view)
        failed = [
            ViewStaleness(view=name, verdict="failed", reason=str(error), described=False)
            for name, error in selection.failed.items()
        ]
        return StalenessReport(target=self.target, now=self.now, views=(*views, *failed))

    def _measured(self, seen: _Seen) -> ViewStaleness:
        view = seen.part.view
        level = _level(view, self.store)
        moment = moment_of(seen.sync) if level == "none" else None
        level = "view" if moment else level
        thresholds = self.options.thresholds(view)
        notes = (*seen.notes, *words(seen.sync, self.now))
        if seen.keys is None or seen.columns is None or not seen.part.features:
            verdict: Verdict = "failed" if seen.failed else "unknown"
            reason = seen.reason or "the view has no features to look at"
            if moment and not seen.failed:
                verdict, reason = judged(moment, thresholds, self.now)
            return ViewStaleness(
                view=view.name,
                join_keys=view.join_keys,
                ttl=view.ttl,
                level=level,
                thresholds=thresholds,
                n=seen.n,
                population=seen.population,
                newest=moment,
                freshness=None if moment is None else self.now - moment,
                notes=notes,
                verdict=verdict,
                reason=reason,
            )
        measured = measure(
            view,
            seen.keys,
            dated(seen.columns, moment) if moment else seen.columns,
            names=seen.part.names,
            level=level,
            thresholds=thresholds,
            now=self.now,
        )
        return replace(measured, population=seen.population, notes=notes)


def _fitting(
    views: list[FeatureView], frame: UserFrame, on: Mapping[str, Hashable] | Hashable | None
) -> list[FeatureView]:
    """Keep the views whose join keys a frame has."""
    present = {*frame.columns, *frame.key_levels}
    named = on if isinstance(on, Mapping) else {}
    fitting = [
        view
        for view in views
        if all(named.get(key, key) in present for key in view.join_keys)
        if view.online and view.join_keys
    ]
    if not fitting:
        keys = sorted({key for view in views for key in view.join_keys})
        msg = (
            f"the frame has the join keys of no feature view; they are {', '.join(keys)} - map "
            "columns of other names with on={<join key>: <column>}"
        )
        raise KeyColumnError(msg)
    return fitting


def _whole(view: FeatureView) -> ViewSelection:
    names = {name: f"{view.name}:{name}" for name in view.feature_names}
    return ViewSelection(view, view.features, names)


def _level(view: FeatureView, store: Store) -> Level:
    return "static" if view.timestamp is None else store.capabilities.timestamp_level


def _listed(
    part: ViewSelection, answer: Population | FeatkitError | None, able: Capabilities
) -> _Seen:
    if answer is None:
        return _Seen(part, reason="the view is not served online")
    if isinstance(answer, NotSupportedError):
        return _Seen(
            part,
            reason="the store cannot list its entities; name them: staleness(entities=...), or "
            f"frame.features.staleness(): {able.lacking.get('read_population', answer)}",
        )
    if isinstance(answer, FeatkitError):
        return _Seen(part, reason=str(answer), failed=True)
    n = answer.keys.height
    words = _shown(n, answer.total)
    return _Seen(part, n, words, answer.keys, answer.columns.rename(part.names))


def _shown(count: int, total: int) -> str:
    if count == total:
        return f"all {_counted(count)} of the view"
    return f"{count:,} of {_counted(total)}, drawn evenly"


def _counted(count: int) -> str:
    return f"{count:,} {'entity' if count == 1 else 'entities'}"


def _some(columns: pl.DataFrame, sample: int | None) -> tuple[pl.DataFrame, str]:
    """Draw keys for a sample, and say so."""
    distinct = columns.unique() if sample is not None and columns.width else columns
    if sample is None or distinct.height <= sample:
        return columns, ""
    some = drawn(distinct, distinct.columns, sample)
    return some, f", drawn evenly from {distinct.height:,} keys"


def _looked_up(found: Lookup, place: int, whose: str) -> _Seen:
    part, without = found.parts[place], found.summary.views[place].null_keys
    keys = part.keys.unique
    words = f"{_counted(keys.height)} {whose}"
    left_out = f"{without:,} row{'s' * (without != 1)} without a key left out"
    notes = (left_out,) if without else ()
    return _Seen(part.selection, keys.height, words, keys, part.columns, notes=notes)


def _learning(task: Task[Arrivals]) -> Task[_History]:
    """Learn the rhythm, of one call where its answer is read: while other answers come."""
    if not isinstance(task, Call):
        return _learning_after(task)

    def decode(reply: object) -> _History:
        return _learnt(task.decode(reply))

    return Call(task.request, decode, explain=task.explain)


def _learning_after(flow: Flow[Arrivals]) -> Flow[_History]:
    return _learnt((yield from flow))


def _learnt(arrivals: Arrivals) -> _History:
    return _History(arrivals.newest, learn(arrivals.moments))


def _arrived(
    view: ViewStaleness, answer: _History | FeatkitError | None, now: datetime
) -> ViewStaleness:
    if answer is None:
        return view
    if isinstance(answer, FeatkitError):
        return replace(view, notes=(*view.notes, f"its history cannot be read: {answer}"))
    newest = max((time for time in (view.newest, answer.newest) if time is not None), default=None)
    few = () if answer.cadence else (f"fewer than {FEWEST} arrivals, too few to learn a rhythm",)
    return replace(
        view,
        newest=newest,
        freshness=None if newest is None else now - newest,
        cadence=answer.cadence,
        notes=(*view.notes, *few),
    )
