"""What the history of every store must be: a part of the contract."""
# ruff: noqa: S101 - an assertion is the point

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featkit
from featkit.dtypes import TIMESTAMP
from featkit.errors import NotSupportedError
from featkit.testing.data import CONTRACT_NOW, contract_keys, contract_views

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from featkit.capabilities import Capabilities
    from featkit.clients.client import FeatureStoreClient
    from featkit.schema import FeatureView
    from featkit.stores.base import Store
    from featkit.training.report import ViewReport

_NEVER = datetime.min.replace(tzinfo=UTC)
_TICK, _HALF = timedelta(microseconds=1), timedelta(minutes=30)
_AT = "moment_of_the_row"  # no name of a feature
_RULES: Mapping[str, Mapping[str, Any]] = {
    "event": {},
    "created": {"known_by": "created"},
    "delayed": {"known_by": _HALF},
    "strict": {"strict": True},
    "lookback": {"lookback": 2 * _HALF},
    "any age": {"lookback": None},
}
_CASES = [
    pytest.param(view, rows, rule, id=f"{view.name}-{rule}")
    for view, rows in contract_views()
    for rule in (_RULES if view.timestamp and rows.height else ("event",))
]


class HistoryContract:
    """The tests of the contract about history; `StoreContract` has them.

    A store is held to the rules whether it gives its rows or joins by itself. Of one that joins by
    itself its capabilities tell which options it heeds: the others it must refuse. What it cannot
    tell is not expected: without created timestamps any of several rows of one event will do, and
    where it does not tell times, nothing but nulls is no row.

    Attributes
    ----------
    history_differs
        By rule ("event", "created", "delayed", "strict", "lookback", "any age"), why the store's
        answer is another one. It must be: a difference that is gone fails.
    """

    history_differs: ClassVar[Mapping[str, str]] = {}
    has_history: ClassVar[bool | None] = None  # as `AuditContract` has it

    @pytest.mark.parametrize(("view", "rows", "rule"), _CASES)
    def test_each_row_gets_what_was_known_then(
        self, past: Store, view: FeatureView, rows: pl.DataFrame, rule: str
    ) -> None:
        """At, just before and just after each event, each writing and the end of each ttl."""
        with featkit.connect(past, now=CONTRACT_NOW, cache=None) as client:
            case = _Case(past.capabilities, client, view, rows, _RULES[rule])
            if case.refused(elsewhere=self.has_history is False):
                return
            if rule in self.history_differs:
                with pytest.raises(AssertionError):
                    case.check()
            else:
                case.check()


class _Fate(NamedTuple):
    """What becomes of a row of the spine: how it is counted, and which rows it may get."""

    counted: str
    places: tuple[int, ...] = ()
    tied: bool = False


class _Case:
    """A view of a store, and options of a training set."""

    def __init__(
        self,
        able: Capabilities,
        client: FeatureStoreClient,
        view: FeatureView,
        rows: pl.DataFrame,
        options: Mapping[str, Any],
    ) -> None:
        self.able, self.client, self.view, self.rows = able, client, view, rows
        self.options: dict[str, Any] = {
            name: {view.name: value} if isinstance(value, timedelta | None) else value
            for name, value in options.items()
        }
        self.names = [feature.name for feature in view.features]

    def made(self, spine: pl.DataFrame) -> Any:  # noqa: ANN401 - a training set
        asked: Any = self.options
        return self.client.get_historical_features(spine, f"{self.view.name}:*", at=_AT, **asked)

    def refused(self, *, elsewhere: bool) -> bool:
        """Tell whether there is nothing to compare, since the store refuses, as it must.

        Parameters
        ----------
        elsewhere
            Whether the history is at another server, which is not named.
        """
        if self.able.history == "none":
            match = "get_historical_features"
        elif not self.client.get_feature_metadata(self.view.name).offline:
            match = "has no history"
        elif self.able.history == "joined" and self.options.keys() - self.able.history_options:
            match = f"does not heed {next(iter(self.options))}="
        elif elsewhere:
            match = "offline"
        else:
            return False
        with pytest.raises(NotSupportedError, match=match):
            self.made(_spine(self.view, self.rows))
        return True

    def check(self) -> None:
        """Compare each row with those that it may get, and the report with what became of them."""
        spine = _spine(self.view, self.rows)
        made = self.made(spine)
        fates = list(self.fates(spine))
        assert_frame_equal(made.frame.select(spine.columns), spine)
        found, values = made.frame.select(self.names), self.rows.select(self.names)
        assert found.schema == values.schema
        many = max(1, *(len(fate.places) for fate in fates))
        # of rows that nothing ranks any one will do, but as a whole
        right = reduce(or_, (_same(found, values[_places(fates, n)]) for n in range(many)))
        wrong = spine.filter(~right)
        assert not wrong.height, f"{wrong}, which get {made.frame.filter(~right)}"
        (told,) = made.report.views
        self.check_report(told, fates)

    def check_report(self, told: ViewReport, fates: Sequence[_Fate]) -> None:
        """Hold the counts to what became of the rows, as far as the store can tell."""
        counts = dict.fromkeys(("hit", "expired", "future_only", "unknown_entity", "null"), 0)
        for fate in fates:
            counts[fate.counted] += 1
        assert told.null_key_or_time == counts["null"]
        if self.able.history == "rows":
            assert told.hit == counts["hit"]
            assert told.expired == counts["expired"]
            assert told.future_only == counts["future_only"]
            assert told.unknown_entity == counts["unknown_entity"]
            assert told.tied == sum(fate.tied for fate in fates)
            return
        hits = [fate.places for fate in fates if fate.counted == "hit"]
        if "feature_timestamps" not in self.able.history_options or not self.view.timestamp:
            values = self.rows.select(self.names)
            full = ~values.select(pl.all_horizontal(pl.all().is_null())).to_series()
            hits = [places for places in hits if full[places[0]]]
        assert told.hit == len(hits)
        missed = told.expired + told.future_only + told.unknown_entity + told.unexplained
        assert told.hit + told.null_key_or_time + missed == len(fates)

    def fates(self, spine: pl.DataFrame) -> Iterator[_Fate]:
        """Find what becomes of each row by looking at all of history, one after the other."""
        view, rows = self.view, self.rows
        created = self.client.get_feature_metadata(view.name).created or self.able.history == "rows"
        times = [
            rows[name].to_list() if name else [None] * rows.height
            for name in (view.timestamp, view.created if created else None)
        ]
        own: dict[tuple[Any, ...], list[_Row]] = {}
        for place, key in enumerate(rows.select(view.join_keys).rows()):
            own.setdefault(key, []).append(_Row(place, times[0][place], times[1][place]))
        for *entity, at in spine.rows():
            yield self.fate(own.get(tuple(entity), []), at, known=None not in (*entity, at))

    def fate(self, own: list[_Row], at: datetime, *, known: bool) -> _Fate:
        """Find what becomes of one row of the spine, from all rows of its entity."""
        if not known:
            return _Fate("null")
        if not own:
            return _Fate("unknown_entity")
        seen = [row for row in own if self.sees(row, at)]
        if not seen:
            return _Fate("future_only")
        best = max(map(_rank, seen))
        limit = self.options.get("lookback", {}).get(self.view.name, self.view.ttl)
        if limit is not None and self.view.timestamp and at - best[0] > limit:
            return _Fate("expired")
        places = tuple(row.place for row in seen if _rank(row) == best)
        tied = sum(_rank(row)[0] == best[0] for row in seen) > 1
        return _Fate("hit", places if self.able.history == "joined" else places[-1:], tied)

    def sees(self, row: _Row, at: datetime) -> bool:
        """Tell whether a row was known at a moment."""
        known_by = self.options.get("known_by", "event")
        delay = known_by[self.view.name] if isinstance(known_by, Mapping) else timedelta()
        latest = at - _TICK if self.options.get("strict") else at
        if self.view.timestamp and (row.event is None or row.event + delay > latest):
            return False
        return known_by != "created" or row.created is None or row.created <= at


class _Row(NamedTuple):
    place: int
    event: datetime | None
    created: datetime | None


def _rank(row: _Row) -> tuple[datetime, datetime]:
    return row.event or _NEVER, row.created or _NEVER


def _places(fates: Sequence[_Fate], which: int) -> pl.Series:
    """Choose one of the rows that each may get; its last, where there are not so many."""
    chosen = [fate.places[: which + 1][-1] if fate.places else None for fate in fates]
    return pl.Series(chosen, dtype=pl.UInt32)


def _same(left: pl.DataFrame, right: pl.DataFrame) -> pl.Series:
    """Tell which rows are equal as a whole."""
    return reduce(and_, (left[name].eq_missing(right[name]) for name in left.columns))


def _spine(view: FeatureView, rows: pl.DataFrame) -> pl.DataFrame:
    """Put each entity beside each moment of a change; also without a key, or a time."""
    moments = pl.Series([CONTRACT_NOW], dtype=TIMESTAMP)
    if view.timestamp and rows.height:
        event = rows[view.timestamp]
        ends = event + view.ttl if view.ttl else moments
        written = rows[view.created] if view.created else moments
        changes = pl.concat([event, event + _HALF, event + 2 * _HALF, ends, written])
        changes = changes.drop_nulls().unique()
        moments = pl.concat([changes - _TICK, changes, changes + _TICK]).unique().sort()
    moments = moments.extend_constant(None, 1)
    keys = contract_keys(view.name)
    keys = pl.concat([keys, pl.DataFrame([dict.fromkeys(keys.columns)], keys.schema)])
    return keys.join(moments.alias(_AT).to_frame(), how="cross")
