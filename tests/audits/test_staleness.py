"""The audit: whose values are looked at on which store, and what is said where little is known."""

import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import hypothesis.strategies as some
import polars as pl
import pytest
from hypothesis import given

import featkit
from featkit.dtypes import TIMESTAMP
from featkit.errors import (
    DurationError,
    InputError,
    KeyColumnError,
    KeyTypeError,
    SettingsError,
    SourceError,
    StalenessError,
    UnknownNameError,
)
from featkit.history import EVENT, ROW
from featkit.testing import MemoryStore, RecordingStore, described
from tests.examples import examples

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONES = [
    *("UTC", "Europe/Paris", "Europe/London", "America/New_York", "America/Sao_Paulo"),
    *("Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"),
    *("Pacific/Kiritimati", "Africa/Casablanca", "America/St_Johns"),
]


def shops(ages=(1, 2, 30), **options):
    """Describe shops, each with one row of that age in hours."""
    times = [None if age is None else NOON - age * HOUR for age in ages]
    frame = pl.DataFrame(
        {
            "shop": range(1, len(times) + 1),
            "at": pl.Series(times, dtype=TIMESTAMP),
            "visits": range(len(times)),
            "rating": [None, *[4.5] * (len(times) - 1)] if times else [],
        },
        schema={"shop": pl.Int64, "at": TIMESTAMP, "visits": pl.Int64, "rating": pl.Float64},
    )
    roles = {"name": "shops", "join_keys": "shop", "timestamp": "at", "ttl": "1d", **options}
    return described(frame, **roles)


def connect(*views, now=NOON, **options):
    return featkit.connect(MemoryStore(views or [shops()], **options), now=now)


# -- whose values --------------------------------------------------------------------------------


def test_all_entities_of_a_store_that_can_list_them():
    report = connect().staleness()
    view = report["shops"]
    assert (view.n, view.population) == (3, "all 3 entities of the view")
    visits, rating = view.features
    assert (visits.present, visits.expired, visits.null) == (2, 1, 0)
    assert (rating.present, rating.expired, rating.null) == (1, 1, 1)
    assert (view.verdict, report.verdict) == ("error", "error")
    assert view.reason == "1 of 3 entities older than 1d; the oldest is 1d6h old"
    assert (report.now, view.level, view.headroom) == (NOON, "row", -6 * HOUR)


@pytest.mark.anyio
async def test_asyncio_and_threads_find_the_same(store_folder, now):
    target = f"parquet:{store_folder}"
    own = featkit.connect(target, now=now).staleness(compare_offline=True)
    twin = await featkit.connect_async(target, now=now).staleness(compare_offline=True)
    assert twin.views == own.views
    frame = pl.DataFrame({"shop": [1, 2]})
    found = await frame.features.staleness_async(store=featkit.connect_async(target, now=now))
    assert found.views == frame.features.staleness(store=featkit.connect(target, now=now)).views


def test_entities_that_are_named():
    report = connect().staleness(["shops:visits"], [1, 2, 404, 1])
    view = report["shops"]
    (visits,) = view.features
    assert (view.n, view.population) == (3, "3 entities given")
    assert (visits.present, visits.missing) == (2, 1)
    assert report.verdict == "pass"


def test_entities_without_features_are_looked_at_in_the_views_that_have_their_keys():
    cities = described(
        pl.DataFrame({"city": ["a"], "people": [1]}), name="cities", join_keys="city"
    )
    client = connect(shops(), cities)
    assert [view.view for view in client.staleness(entities={"shop": [1]}).views] == ["shops"]
    with pytest.raises(KeyColumnError, match="join keys of no feature view; they are city, shop"):
        client.staleness(entities={"visit": [1]})
    with pytest.raises(InputError, match="have no names of join keys"):
        client.staleness(entities=[1, 2])


def test_entities_of_a_frame(constructor):
    frame = constructor({"id": [1, 1, None, 3, 404], "other": [1, 2, 3, 4, 5]})
    connect()
    report = featkit.features(frame).staleness(["shops:visits"], on="id")
    view = report["shops"]
    (visits,) = view.features
    assert (view.n, view.population) == (3, "3 entities of the frame")
    assert (visits.present, visits.expired, visits.missing) == (1, 1, 1)
    assert featkit.features(frame).staleness(on={"shop": "id"})["shops"].n == 3


def test_rows_without_a_key_are_told():
    connect()
    frame = pl.DataFrame({"shop": [1, None, None]})
    assert frame.features.staleness()["shops"].notes[0] == "2 rows without a key left out"


def test_a_sample_is_drawn_evenly_and_again_the_same(tmp_path):
    frame = pl.DataFrame(
        {"user": range(5000), "at": [NOON - HOUR * (n % 100) for n in range(5000)], "x": 1}
    )
    for name, rows in (("one", frame), ("other", frame.reverse())):
        featkit.write_view(tmp_path / name, rows, name="users", join_keys="user", timestamp="at")
    found = [
        featkit.connect(f"parquet:{tmp_path / name}", now=NOON).staleness(sample=1000)["users"]
        for name in ("one", "other", "one")
    ]
    assert found[0].population == "1,000 of 5,000 entities, drawn evenly"
    drawn = [set(each.times["user"]) for each in found]
    assert drawn[0] == drawn[1] == drawn[2]
    assert 2100 < sum(drawn[0]) / 1000 < 2900  # from everywhere
    assert abs(found[0].ages.p50 - 50 * HOUR) < 5 * HOUR
    named = frame.features.staleness(sample=1000, on={"user": "user"})["users"]
    assert (named.n, named.population) == (
        1000,
        "1,000 entities of the frame, drawn evenly from 5,000 keys",
    )
    lazily = frame.lazy().features.staleness(sample=1000)["users"]
    assert set(lazily.times["user"]) == set(named.times["user"])
    assert frame.features.staleness(sample=9999)["users"].n == 5000


# -- what a store does not tell ------------------------------------------------------------------


def test_a_store_that_cannot_list_its_entities_says_what_is_needed():
    client = connect(lists=False)
    report = client.staleness()
    view = report["shops"]
    assert (view.verdict, view.n) == ("unknown", 0)
    assert "cannot list its entities; name them: staleness(entities=...)" in view.reason
    assert client.staleness(entities={"shop": [1, 2]}).verdict == "pass"
    with pytest.raises(StalenessError, match="cannot be judged"):
        report.assert_fresh()


@pytest.mark.parametrize(
    ("level", "verdict", "reason"),
    [
        ("row", "error", "1 of 3 entities older than 1d; the oldest is 1d6h old"),
        ("feature", "error", "1 of 3 entities older than 1d; the oldest is 1d6h old"),
        ("view", "pass", "the view as a whole is 1h old, within 19h12m"),
        ("none", "unknown", "the store gives no event timestamps"),
    ],
)
def test_what_timestamps_describe_decides_what_can_be_said(level, verdict, reason):
    client = connect(timestamp_level=level)
    for report in (client.staleness(), client.staleness(entities={"shop": [1, 2, 3]})):
        view = report["shops"]
        assert (view.level, view.verdict, view.reason) == (level, verdict, reason)


def test_a_static_view_does_not_age():
    client = connect(described(pl.DataFrame({"k": [1], "x": [1]}), name="static", join_keys="k"))
    view = client.staleness(compare_offline=True)["static"]
    assert (view.verdict, view.level, view.cadence) == ("unknown", "static", None)
    assert view.notes == ("not compared with offline: its values have no event timestamp",)


def test_times_that_cannot_be_read_are_never_fresh():
    # in the source a row without a time is never the latest; a remote store may serve one
    report = connect(shops([1, None]), serves_future=True).staleness(entities={"shop": [1, 2]})
    assert report["shops"].n == 2
    assert report["shops"].features[0].missing == 1


def test_times_to_come_are_never_fresh():
    report = connect(shops([1, -1]), serves_future=True).staleness()
    view = report["shops"]
    (visits, _) = view.features
    assert (visits.future, visits.present, view.verdict) == (1, 1, "error")
    assert view.reason == "1 of 2 entities later than now, which is never fresh"
    assert view.freshness == HOUR


def test_an_empty_view(tmp_path):
    view = connect(shops([])).staleness()["shops"]
    assert (view.verdict, view.reason) == ("unknown", "there are no entities to look at")
    rows = shops([])[1]
    featkit.write_view(tmp_path, rows, name="shops", join_keys="shop", timestamp="at", ttl="1d")
    view = featkit.connect(f"parquet:{tmp_path}", now=NOON).staleness()["shops"]
    assert (view.verdict, view.reason) == ("unknown", "there are no entities to look at")
    nobody = connect().staleness(["shops:*"], [])["shops"]
    assert (nobody.verdict, nobody.reason) == ("unknown", "there are no entities to look at")


def test_a_view_that_is_not_served_online(scripted_store):
    offline = scripted_store.view("archive", "k", "x", timestamp="at", online=False)
    client = featkit.connect(scripted_store(scripted_store.view("shops", "shop", "y"), offline))
    report = client.staleness()
    assert report["archive"].reason == "the view is not served online"
    assert client.staleness(["archive:*"], [1])["archive"].verdict == "unknown"


# -- what fails ----------------------------------------------------------------------------------


def broken(names, scripted_store):
    """Make a store that fails for some of its views."""

    def answer(read):
        if read.view.name in names:
            raise SourceError(f"{read.view.name} is down")
        return scripted_store.honest(read)

    views = [
        scripted_store.view(name, "k", "x", timestamp="at", ttl=DAY) for name in ("a", "b", "c")
    ]
    return featkit.connect(scripted_store(*views, answer=answer), now=NOON)


def test_a_view_that_fails_leaves_the_others_judged(scripted_store):
    report = broken(["b"], scripted_store).staleness(entities={"k": [1, 2]})
    assert [view.verdict for view in report.views] == ["pass", "failed", "pass"]
    assert report["b"].reason == "b is down"
    with pytest.raises(StalenessError, match="b: failed: b is down"):
        report.assert_fresh()


@pytest.mark.parametrize("features", [None, ["good:*", "bad:visits", "other:*"]])
@pytest.mark.parametrize("entities", [None, {"shop": [1, 2]}])
def test_a_source_that_is_gone_fails_its_view_alone(tmp_path, features, entities):
    for name in ("good", "bad", "other"):
        frame = shops([1])[1]
        featkit.write_view(tmp_path, frame, name=name, join_keys="shop", timestamp="at", ttl="1d")
    for part in (tmp_path / "bad").glob("*.parquet"):
        part.unlink()
    client = featkit.connect(f"parquet:{tmp_path}", now=NOON)
    report = client.staleness(features, entities, compare_offline=True)
    found = {view.view: view.verdict for view in report.views}
    assert found == {"good": "pass", "other": "pass", "bad": "failed"}
    assert "bad" in report["bad"].reason
    assert [view.view for view in report.failures()] == ["bad"]
    for text in (str(report), report.to_html(), report.to_json(), report.to_junit()):
        assert "failed" in text
    assert report.table()[-1] == ["bad", "failed", *[""] * 9]  # not "no ttl": it is not known
    assert report.to_html().count("event timestamps") == 2
    report.record(tmp_path / "audits.parquet")
    assert report.to_polars("view")["verdict"].to_list() == ["pass", "pass", "failed"]
    frame = pl.DataFrame({"shop": [1]})
    assert frame.features.staleness(features, store=client).verdict == "failed"


def test_a_view_described_wrongly_fails_alone(tmp_path):
    for name in ("good", "bad"):
        frame = shops([1])[1]
        featkit.write_view(tmp_path, frame, name=name, join_keys="shop", timestamp="at", ttl="1d")
    (part,) = (tmp_path / "bad").glob("*.parquet")
    pl.read_parquet(part).with_columns(pl.col("at").dt.replace_time_zone(None)).write_parquet(part)
    client = featkit.connect(f"parquet:{tmp_path}", now=NOON)
    report = client.staleness()
    assert [view.verdict for view in report.views] == ["pass", "failed"]
    assert "are naive; say what they mean" in report["bad"].reason
    with pytest.raises(UnknownNameError, match="did you mean 'good'"):
        client.staleness(["god:*", "bad:*"])
    with pytest.raises(UnknownNameError, match="no feature 'visit'"):
        client.staleness(["good:visit", "bad:*"])


def test_files_that_cannot_be_read_fail_their_view_alone(tmp_path):
    for name in ("good", "bad"):
        frame = shops([1])[1]
        featkit.write_view(tmp_path, frame, name=name, join_keys="shop", timestamp="at", ttl="1d")
    (part,) = (tmp_path / "bad").glob("*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])  # the footer stays: there is a schema
    report = featkit.connect(f"parquet:{tmp_path}", now=NOON).staleness(compare_offline=True)
    assert [view.verdict for view in report.views] == ["pass", "failed"]
    assert "cannot be read" in report["bad"].reason
    assert "its history cannot be read" in report["bad"].notes[0]


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"features": ["shop:visits"]}, UnknownNameError, "did you mean 'shops'"),
        ({"features": ["shops:visit"]}, UnknownNameError, "did you mean 'visits'"),
        ({"features": "model"}, UnknownNameError, "feature service 'model'"),
        ({"features": ["shops:*"], "entities": ["one"]}, KeyTypeError, "'shop' of feature view"),
        ({"features": ["shops:*"], "entities": [1.5]}, KeyTypeError, "without loss"),
        ({"features": ["shops:*"], "entities": {"store": [1]}}, KeyColumnError, "'shop'"),
        ({"warn_after": "5 parsecs"}, DurationError, r"warn_after '5 parsecs'.*'7d', '1h30m'"),
        ({"error_after": "-1h"}, DurationError, "error_after"),
        ({"error_after": {"shops": "soon"}}, DurationError, "error_after 'soon'"),
        ({"error_after": {"shop": "1h"}}, UnknownNameError, "did you mean 'shops'"),
        ({"warn_after": "2h", "error_after": "1h"}, InputError, "nothing would ever warn"),
        ({"sample": 0}, InputError, "sample=0 is no number of entities"),
        ({"sample": 1.5}, InputError, "sample=1.5"),
        ({"sample": True}, InputError, "sample=True"),
        ({"tolerate": 2}, InputError, "tolerate=2 is no share"),
        ({"now": "yesterday"}, SettingsError, "no ISO 8601 time"),
        ({"now": datetime(2024, 5, 1)}, SettingsError, "naive"),  # noqa: DTZ001 - the point
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_read(options, error, message):
    store = RecordingStore(MemoryStore([shops()]))
    with pytest.raises(error, match=message):
        featkit.connect(store, now=NOON).staleness(**options)
    assert store.reads == []


@pytest.mark.parametrize("age", ["1d", "24h", 86400, DAY, "1440m", {"shops": "86400s"}])
def test_durations_are_read_in_every_form(age):
    view = connect(shops(ttl=None)).staleness(error_after=age)["shops"]
    assert (view.thresholds.error_after, view.verdict) == (DAY, "error")


def test_no_ttl_and_no_thresholds_is_never_called_fresh():
    report = connect(shops([1], ttl=None)).staleness()
    assert (report.verdict, report["shops"].features[0].verdict) == ("unknown", "unknown")
    assert "cannot be judged" in report["shops"].reason
    with pytest.raises(StalenessError):
        report.assert_fresh()


def test_thresholds_may_differ_from_view_to_view():
    both = connect(shops(), shops(name="others"))
    report = both.staleness(error_after={"shops": "3d"}, tolerate=0)
    assert (report["shops"].verdict, report["others"].verdict) == ("warn", "error")


def test_some_old_entities_may_be_tolerated():
    client = connect()
    assert client.staleness(tolerate=0.34).verdict == "pass"
    assert client.staleness(tolerate=0.33).verdict == "error"


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
def test_zones_of_source_and_clock_do_not_matter(zone, tmp_path):
    local = ZoneInfo(zone)
    start = datetime(2024, 3, 30, 20, tzinfo=UTC)  # some clocks go forward that night
    frame = pl.DataFrame(
        {"shop": range(48), "at": [start + n * HOUR / 2 for n in range(48)], "x": 1}
    ).with_columns(pl.col("at").dt.convert_time_zone(zone).cast(pl.Datetime("ns", zone)))
    featkit.write_view(tmp_path, frame, name="shops", join_keys="shop", timestamp="at", ttl="6h")
    now = start + 24 * HOUR
    client = featkit.connect(f"parquet:{tmp_path}")
    for moment in (now, now.astimezone(local), now.astimezone(local).isoformat()):
        view = client.staleness(now=moment)["shops"]
        assert view.features[0].expired == 36  # the one of six hours is not
        assert (view.ages.max, view.freshness) == (24 * HOUR, HOUR / 2)
        assert view.cadence.every == HOUR / 2
        assert view.newest.utcoffset() == timedelta(0)


@given(data=some.data())
@examples(20)
def test_order_of_rows_does_not_matter(data):
    ages = data.draw(some.lists(some.integers(0, 60), min_size=1, max_size=12))
    view, rows = shops(ages)
    order = data.draw(some.permutations(range(rows.height)))
    one = featkit.connect(MemoryStore([(view, rows)]), now=NOON).staleness(compare_offline=True)
    other = featkit.connect(MemoryStore([(view, rows[list(order)])]), now=NOON)
    assert other.staleness(compare_offline=True).views == one.views


def test_the_clock_of_the_call_beats_that_of_the_client():
    client = connect()
    assert client.staleness(now=NOON + DAY)["shops"].freshness == 25 * HOUR
    assert client.staleness(now=lambda: NOON + DAY).now == NOON + DAY
    assert client.staleness().now == NOON


def test_values_are_as_old_as_they_are_at_each_look():
    clock = featkit.testing.FrozenClock(NOON)
    client = featkit.connect(MemoryStore([shops([1])]), now=clock)
    found = []
    for _ in range(3):
        found.append(client.staleness(["shops:visits"], [1])["shops"])
        clock.advance(12 * HOUR)
    assert [view.ages.max for view in found] == [HOUR, 13 * HOUR, 25 * HOUR]
    assert [view.verdict for view in found] == ["pass", "pass", "error"]


def test_cached_values_are_as_old_as_they_are_at_each_look():
    clock, store = featkit.testing.FrozenClock(NOON), RecordingStore(MemoryStore([shops([1])]))
    client = featkit.connect(store, now=clock, cache="memory")
    first = client.staleness(["shops:visits"], [1])["shops"]
    clock.advance(HOUR / 60)
    again = client.staleness(["shops:visits"], [1])["shops"]
    assert len(store.reads) == 1
    assert (first.ages.max, again.ages.max) == (HOUR, HOUR + HOUR / 60)


def test_a_report_can_go_past_the_cache():
    store = RecordingStore(MemoryStore([shops([1])]))
    client = featkit.connect(store, now=NOON, cache="memory")
    frame = pl.DataFrame({"shop": [1]})
    for asked, refresh in enumerate([False, False, True, True]):
        client.staleness(["shops:visits"], [1], refresh=refresh)
        assert len(store.reads) == max(1, asked)
    frame.features.staleness(["shops:visits"], store=client, refresh=True)
    assert len(store.reads) == 4
    frame.features.staleness(["shops:visits"], store=client)
    assert len(store.reads) == 4


# -- history and offline -------------------------------------------------------------------------


def nightly(hours=6, nights=30):
    """Describe a view whose rows are written in the morning after."""
    night = datetime(2024, 4, 1, tzinfo=UTC)
    frame = pl.DataFrame(
        [(1, night + n * DAY, night + n * DAY + hours * HOUR, n) for n in range(nights)],
        schema=["shop", "at", "written", "visits"],
        orient="row",
    )
    return described(
        frame, name="daily", join_keys="shop", timestamp="at", created="written", ttl="2d"
    )


def test_rhythm_is_learnt_from_when_rows_were_written(tmp_path):
    view, rows = nightly()
    featkit.write_view(
        tmp_path, rows, name="daily", join_keys="shop", timestamp="at", created="written", ttl="2d"
    )
    embedded = featkit.connect(f"parquet:{tmp_path}", now=NOON)
    for client in (embedded, featkit.connect(MemoryStore([(view, rows)]), now=NOON)):
        cadence = client.staleness()["daily"].cadence
        last = datetime(2024, 4, 30, 6, tzinfo=UTC)
        assert (cadence.every, cadence.last, cadence.next) == (DAY, last, last + DAY)
        assert cadence.is_overdue(NOON)
        early = client.staleness(now=datetime(2024, 4, 10, 5, tzinfo=UTC))["daily"]
        assert early.cadence.last == datetime(2024, 4, 9, 6, tzinfo=UTC)
        assert early.newest == datetime(2024, 4, 9, tzinfo=UTC)


def test_few_arrivals_are_told():
    assert connect().staleness()["shops"].notes == (
        "fewer than 4 arrivals, too few to learn a rhythm",
    )


def test_view_freshness_is_that_of_the_whole_view_though_few_entities_are_looked_at():
    view = connect().staleness(entities={"shop": [3]})["shops"]
    assert (view.ages.max, view.ages.min, view.freshness) == (30 * HOUR, 30 * HOUR, HOUR)


def test_online_is_compared_with_offline():
    view, online = shops([3, 4, 5])
    offline = pl.concat([online, online.head(2).with_columns(pl.col("at") + 2 * HOUR)])
    client = connect((view, online), offline={"shops": offline})
    for report in (
        client.staleness(compare_offline=True),
        client.staleness(entities={"shop": [1, 2, 3]}, compare_offline=True),
    ):
        lag = report["shops"].lag
        assert (lag.compared, lag.behind, lag.max) == (3, 2, 2 * HOUR)
        assert "shops: online against offline: 2 of 3 behind, by 2h at most" in report.remarks()
    assert client.staleness()["shops"].lag is None


def test_offline_that_cannot_be_asked_is_told():
    report = connect(lists=False).staleness(entities={"shop": [1]}, compare_offline=True)
    (note,) = report["shops"].notes
    assert note.startswith("not compared with offline: the store 'memory' does not support")
    assert note.endswith("it was made without offline rows (never)")


class Joining(MemoryStore):
    """A store that joins by itself, and tells, or not, the times of the rows that it chose."""

    def __init__(self, *views, event, rows=None):
        super().__init__(views, lists=False)
        self.capabilities = replace(self.capabilities, history="joined")
        self._event, self._answered = event, rows

    def join_history(self, reads):
        (read,) = reads
        self.asked = read
        rows = read.spine.height if self._answered is None else self._answered
        answer = read.spine.head(rows).reverse().select(ROW, pl.lit(1).alias("visits"))
        times = pl.Series([NOON - n * HOUR for n in range(rows)], dtype=TIMESTAMP)
        return [answer.with_columns(times.alias(EVENT)) if self._event else answer]
        yield


def test_a_store_that_joins_is_asked_at_now_and_gives_the_times_of_its_rows():
    store = Joining(shops([1, 1, 1]), event=True, rows=2)
    report = featkit.connect(store, now=NOON).staleness(
        ["shops:*"], [3, 2, 1], compare_offline=True
    )
    assert store.asked.spine["event_timestamp"].to_list() == [NOON] * 3
    assert (len(store.asked.features), store.asked.rule.limit) == (1, None)
    lag = report["shops"].lag  # of 2 the time is noon, of 3 an hour before, of 1 there is none
    assert (lag.compared, lag.behind, lag.max, lag.only_online) == (2, 1, HOUR, 1)


def test_a_store_that_joins_without_telling_times_is_told_so():
    client = featkit.connect(Joining(shops(), event=False), now=NOON)
    (note,) = client.staleness(["shops:*"], [1], compare_offline=True)["shops"].notes
    assert note.startswith("not compared with offline: the store 'memory' joins by itself, and")


def test_embedded_store_is_its_own_offline_store(store):
    lag = store.staleness(["shops:*"], compare_offline=True)["shops"].lag
    assert (lag.compared, lag.behind, lag.ahead, lag.max) == (4, 0, 0, timedelta(0))


# -- the embedded store against the plain one ----------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_both_stores_list_the_same_population(order, tmp_path):
    views = featkit.testing.contract_views()
    now = featkit.testing.CONTRACT_NOW
    for view, rows in views:
        if view.features and rows.height:
            featkit.write_view(
                tmp_path,
                rows[::order],
                name=view.name,
                join_keys=list(view.join_keys),
                timestamp=view.timestamp,
                created=view.created,
                ttl=view.ttl,
            )
    plain = featkit.connect(MemoryStore([pair for pair in views if pair[1].height]), now=now)
    own = featkit.connect(f"parquet:{tmp_path}", now=now)
    expected, found = plain.staleness(compare_offline=True), own.staleness(compare_offline=True)
    assert {view.view: view for view in found.views} == {view.view: view for view in expected.views}
    # a lookup of all of them says the same
    for view, _ in views[:3]:
        keys = found[view.name].times.select(view.join_keys)
        looked_up = own.staleness([f"{view.name}:*"], keys)[view.name]
        assert looked_up.features == found[view.name].features
        assert looked_up.ages == found[view.name].ages


def test_rows_without_a_key_are_no_entities(tmp_path):
    frame = pl.DataFrame({"a": [1, None, 2], "b": ["x", "y", None], "at": [NOON] * 3, "x": 1})
    frame.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "feature_views.toml").write_text(
        '[views.v]\nsource = "rows.parquet"\njoin_keys = ["a", "b"]\ntimestamp = "at"\n', "utf-8"
    )
    view = featkit.connect(f"parquet:{tmp_path}", now=NOON).staleness()["v"]
    assert (view.n, view.times.rows()) == (1, [(1, "x", NOON)])


def test_no_warning_beside_the_report():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        connect().staleness(entities={"shop": [1, 2, 3]})
    assert connect().last_summary is None
