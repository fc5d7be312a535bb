"""Targets, settings, clocks and the default client."""

import datetime as dt
import gc
import weakref

import polars as pl
import pytest

import featkit
from featkit.capabilities import Capabilities
from featkit.errors import ClosedError, DurationError, InputError, SettingsError


@pytest.fixture
def frame():
    return pl.DataFrame({"shop": [1, 4]})


def visits(frame, **options):
    found = featkit.features(frame).enrich("shops:visits", expired="null", **options)
    return found["visits"].to_list()


# -- which client --------------------------------------------------------------------------------


def test_client_connected_last_is_the_default(frame, scripted_store):
    first, second = scripted_store(), scripted_store()
    featkit.connect(first)
    featkit.connect_async(second)
    visits(frame)
    assert (len(first.reads), len(second.reads)) == (0, 1)


def test_use_sets_the_default_and_store_overrides_it(frame, scripted_store):
    first, second = scripted_store(), scripted_store()
    client, other = featkit.connect(first), featkit.connect(second)
    featkit.use(client)
    visits(frame)
    assert (len(first.reads), len(second.reads)) == (1, 0)
    visits(frame, store=other)
    assert (len(first.reads), len(second.reads)) == (1, 1)
    visits(frame)
    assert (len(first.reads), len(second.reads)) == (2, 1)


def test_after_a_client_is_closed_the_one_before_is_the_default_again(frame, scripted_store):
    first, second, third = scripted_store(), scripted_store(), scripted_store()
    kept = featkit.connect(first)
    with featkit.connect(second):
        with featkit.connect(third):
            visits(frame)
        visits(frame)
    visits(frame)
    assert [len(each.reads) for each in (first, second, third)] == [1, 1, 1]
    kept.close()
    with pytest.raises(ClosedError, match=r"featkit\.connect\(.*store=.*featkit\.use"):
        visits(frame)


@pytest.mark.anyio
async def test_an_async_client_that_was_closed_is_no_default_either(frame, scripted_store):
    first, second = scripted_store(), scripted_store()
    kept = featkit.connect(first)
    async with featkit.connect_async(second) as other:
        featkit.use(other)
        await frame.features.enrich_async("shops:visits")
    visits(frame)
    assert (len(first.reads), len(second.reads)) == (1, 1)
    with pytest.raises(ClosedError, match="connect anew"):
        featkit.use(other)
    with pytest.raises(ClosedError, match=r"make another with featkit\.connect_async\("):
        await frame.features.enrich_async("shops:visits", store=other)
    visits(frame, store=kept)


def test_what_was_closed_is_not_replaced_by_what_the_settings_say(
    frame, scripted_store, store_folder, empty_home
):
    (empty_home / "featkit.toml").write_text(f'target = "parquet:{store_folder}"')
    featkit.connect(scripted_store()).close()
    with pytest.raises(ClosedError):
        visits(frame)


def test_a_client_that_nobody_holds_is_not_kept_for_having_been_the_default(scripted_store):
    gone = weakref.ref(featkit.connect(scripted_store()))
    featkit.connect(scripted_store())
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("wrong", ["demo:flights", None, object()])
def test_only_a_client_can_be_used(wrong):
    with pytest.raises(InputError, match=r"expected a client, as featkit\.connect makes one"):
        featkit.use(wrong)


@pytest.mark.parametrize("wrong", ["demo:flights", object()])
def test_store_that_a_call_names_must_be_a_client(frame, wrong):
    with pytest.raises(InputError, match=r"expected a client, as featkit\.connect makes one"):
        visits(frame, store=wrong)
    with pytest.raises(InputError, match=r"expected a client, as featkit\.connect makes one"):
        frame.features.audit(at="shop", store=wrong)


def test_path_of_a_folder_is_a_target(frame, store_folder, now):
    featkit.connect(store_folder, now=now)
    with pytest.warns(featkit.errors.ExpiredWarning):
        assert visits(frame) == [10, None]
    with pytest.raises(SettingsError, match=f"such as 'parquet:{store_folder}' or 'demo:flights'"):
        featkit.connect(str(store_folder))


@pytest.mark.parametrize("wrong", [3, b"demo:flights", ["demo:flights"]])
def test_target_of_another_type_is_refused(wrong):
    with pytest.raises(SettingsError, match="a target is text such as 'demo:flights', a path or"):
        featkit.connect(wrong)


def test_default_comes_from_the_settings_when_nobody_connected(
    frame, store_folder, now, empty_home
):
    toml = f'target = "parquet:{store_folder}"\nnow = "{now.isoformat()}"\n'
    (empty_home / "featkit.toml").write_text(toml, encoding="utf-8")
    with pytest.warns(featkit.errors.ExpiredWarning):
        assert visits(frame) == [10, None]
    assert featkit.feature_lookup("shops", 1, ["visits"]) == {"visits": 10}


def test_environment_beats_the_file_and_an_argument_beats_both(
    store_folder, tmp_path, empty_home, monkeypatch
):
    (empty_home / "featkit.toml").write_text('target = "parquet:nowhere"\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="nowhere"):
        featkit.connect()
    monkeypatch.setenv("FEATKIT_TARGET", f"parquet:{store_folder}")
    assert featkit.connect().target == f"parquet:{store_folder}"
    other = tmp_path / "other"
    featkit.write_view(other, pl.DataFrame({"k": [1], "v": [1]}), name="v", join_keys="k")
    assert featkit.connect(f"parquet:{other}").list_feature_views()[0].name == "v"


def test_settings_of_zone_clock_and_timeout_hold(store_folder, empty_home, monkeypatch):
    (empty_home / "featkit.toml").write_text(
        'timezone = "Europe/Paris"\nnow = "2024-05-01T13:00:00+00:00"\n', encoding="utf-8"
    )
    client = featkit.connect(f"parquet:{store_folder}")
    moment = dt.datetime.fromisoformat("2024-03-31T01:30:00")
    assert client.lookup([moment], "moments:count").to_dicts() == [{"count": 1}]
    assert client.lookup([1], "shops:visits").to_dicts() == [{"visits": 10}]
    in_utc = featkit.connect(f"parquet:{store_folder}", timezone="UTC")
    assert in_utc.lookup([moment], "moments:count").to_dicts() == [{"count": 2}]
    monkeypatch.setenv("FEATKIT_TIMEOUT", "0s")
    with pytest.raises(featkit.errors.DeadlineExceeded):
        featkit.connect(f"parquet:{store_folder}").list_feature_views()
    assert featkit.connect(f"parquet:{store_folder}", timeout="1h").list_feature_views()


def test_no_target_at_all_says_what_to_do(empty_home):  # noqa: ARG001
    with pytest.raises(SettingsError, match=r"demo:flights.*parquet:PATH.*FEATKIT_TARGET"):
        featkit.connect()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            'backend = "tecton"\n[tecton]\nurll = "x"',
            r"table \[tecton\] of .* the table has no 'url'; did you mean 'urll'",
        ),
        ('backend = "feast"\n[feast]\nproject = "x"', "has no 'server_url' or 'online_url'; there"),
        (
            'backend = "vertex"\n[vertex]\nproject = "p"\nlocation = "l"\nonlin_store = "s"',
            "lack 'online_store'.* project and location; did you mean 'onlin_store'",
        ),
    ],
)
def test_settings_that_do_not_say_where_the_store_is_are_told(empty_home, text, match):
    (empty_home / "featkit.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=match):
        featkit.connect()


# -- targets and options -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("flights", "SCHEME:PLACE"),
        ("parquet:", "SCHEME:PLACE"),
        (":flights", "SCHEME:PLACE"),
        ("parqet:x", "did you mean 'parquet'"),
        ("base:x", "no store has the scheme 'base'"),
        ("https://host", "its store before it, such as 'feast\\+https://HOST'"),
        (
            "tecton+https://me:hunter2@host",
            "no user and no password, .* write tecton\\+https://HOST",
        ),
        ("feast+http://me@host:1/x@y", "no user and no password"),
        ("C:\\data\\store", r"such as 'parquet:C:\\data\\store' or"),
        ("parquet:no/such/folder", "write_view"),
        ("demo:fights", "did you mean 'flights'"),
    ],
)
def test_wrong_targets_are_refused_with_the_nearest(target, match):
    with pytest.raises(SettingsError, match=match):
        featkit.connect(target)


@pytest.mark.parametrize(("option", "told"), [("retry", "Retry"), ("limits", "Limits")])
def test_numbers_are_neither_retries_nor_limits(store_folder, option, told):
    with pytest.raises(SettingsError, match=f"{option}= takes a featkit.{told}, not 5"):
        featkit.connect(f"parquet:{store_folder}", **{option: 5})


def test_unknown_option_is_refused(store_folder):
    with pytest.raises(SettingsError, match="has no option 'projct'"):
        featkit.connect(f"parquet:{store_folder}", projct="x")


def test_missing_options_are_named():
    with pytest.raises(
        SettingsError, match=r"needs workspace=\.\.\., feature_services=\.\.\.; pass it to"
    ):
        featkit.connect("tecton:http://127.0.0.1:9")


def test_failed_connect_leaves_the_default_as_it_was(frame, scripted_store):
    asked = scripted_store()
    featkit.connect(asked)
    with pytest.raises(SettingsError):
        featkit.connect("nowhere:x")
    visits(frame)
    assert len(asked.reads) == 1


@pytest.mark.parametrize("zone", ["Europe/Pariss", "+02:00", "../etc/passwd", "Europe"])
def test_wrong_zone_is_refused(store_folder, zone):
    with pytest.raises(SettingsError, match="no time zone; write a name such as 'UTC'"):
        featkit.connect(f"parquet:{store_folder}", timezone=zone)


@pytest.mark.parametrize("timeout", ["soon", -1, "5 minutes"])
def test_wrong_timeout_is_refused(store_folder, timeout):
    with pytest.raises(DurationError, match="timeout"):
        featkit.connect(f"parquet:{store_folder}", timeout=timeout)


# -- clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "now",
    [
        "2024-05-01T13:00:00Z",
        "2024-05-01T15:00:00+02:00",
        dt.datetime(2024, 5, 1, 13, tzinfo=dt.UTC),
        dt.datetime(2024, 5, 1, 9, tzinfo=dt.timezone(dt.timedelta(hours=-4))),
        lambda: dt.datetime(2024, 5, 1, 13, tzinfo=dt.UTC),
    ],
    ids=lambda each: type(each).__name__,
)
def test_now_is_a_moment_however_it_is_said(scripted_store, now):
    asked = scripted_store()
    featkit.connect(asked, now=now).lookup([1], "shops:visits")
    assert asked.reads[0].now == dt.datetime(2024, 5, 1, 13, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("now", "match"),
    [
        ("yesterday", "no ISO 8601 time"),
        ("2024-05-01T13:00:00", "naive; give it a zone"),
        (dt.datetime.fromisoformat("2024-05-01T13:00:00"), "naive; give it a zone"),
    ],
    ids=repr,
)
def test_wrong_now_is_refused(store_folder, now, match):
    with pytest.raises(SettingsError, match=match):
        featkit.connect(f"parquet:{store_folder}", now=now)


def test_clock_of_a_frozen_data_set_holds_unless_told_otherwise(tmp_path):
    rows = pl.DataFrame({"k": [1], "at": [dt.datetime(2013, 12, 31, tzinfo=dt.UTC)], "v": [5]})
    featkit.write_view(tmp_path, rows, name="v", join_keys="k", timestamp="at", ttl="2d")
    toml = tmp_path / "feature_views.toml"
    frozen = '[store]\nnow = "2014-01-01T00:00:00Z"\n' + toml.read_text("utf-8")
    toml.write_text(frozen, encoding="utf-8")
    client = featkit.connect(f"parquet:{tmp_path}")
    assert client.lookup([1], "v:v").statuses["v"].to_list() == ["PRESENT"]
    later = featkit.connect(f"parquet:{tmp_path}", now="2014-01-09T00:00:00Z")
    with pytest.warns(featkit.errors.ExpiredWarning):
        assert later.lookup([1], "v:v").statuses["v"].to_list() == ["EXPIRED"]


# -- plain functions -----------------------------------------------------------------------------


def test_plain_functions_use_the_default_client(store):  # noqa: ARG001
    noon = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
    assert featkit.feature_lookup("shops", 1, ["visits"]) == {"visits": 10}
    batch = featkit.feature_lookup_batch("shops", [1, None, 9, 1], ["visits"])
    assert [row["visits"] for row in batch] == [10, None, None, 10]
    value = featkit.get_feature("shops", 1, "visits")
    assert (value.value, value.timestamp, value.ttl) == (10, noon, dt.timedelta(days=1))
    assert featkit.feature_timestamp("shops", 1) == noon
    assert featkit.feature_timestamp("cities", "Rome") is None


def test_plain_functions_without_client_say_what_to_do(empty_home):  # noqa: ARG001
    for call in (
        lambda: featkit.feature_lookup("shops", 1),
        lambda: featkit.feature_lookup_batch("shops", [1]),
        lambda: featkit.get_feature("shops", 1, "visits"),
        lambda: featkit.feature_timestamp("shops", 1),
    ):
        with pytest.raises(SettingsError, match="no store to connect to"):
            call()


# -- caches --------------------------------------------------------------------------------------


def test_a_local_store_has_a_cache_only_where_it_is_asked_for(scripted_store, empty_home):
    store = scripted_store()
    assert featkit.connect(store).operations.cache is None
    (empty_home / "featkit.toml").write_text('[cache]\nttl = "1h"\n', encoding="utf-8")
    assert featkit.connect(store).operations.cache is None
    client = featkit.connect(store, cache="memory")
    client.lookup([1], "shops:visits")
    client.lookup([1], "shops:visits")
    assert len(store.reads) == 1
    assert client.operations.cache.policy.ttl == dt.timedelta(hours=1)
    assert featkit.connect(store, cache=None).operations.cache is None


def test_a_remote_store_has_a_cache_unless_it_is_switched_off(scripted_store, empty_home):
    store = scripted_store()
    store.capabilities = Capabilities()
    assert featkit.connect(store).operations.cache.policy.ttl == dt.timedelta(minutes=5)
    assert featkit.connect(store, cache=None).operations.cache is None
    toml = '[cache]\nenabled = false\nttl = "7m"\n'
    (empty_home / "featkit.toml").write_text(toml, encoding="utf-8")
    assert featkit.connect(store).operations.cache is None
    assert featkit.connect(store, cache="memory").cache.stats().ttl == dt.timedelta(minutes=7)
    wanted = featkit.CacheOptions(ttl="1s")
    assert featkit.connect(store, cache=wanted).cache.stats().ttl == dt.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("toml", "environment", "target"),
    [
        ("", {}, "memory"),
        ('backend = "memory"', {}, "memory"),
        ('backend = "disk"', {}, "cache file {home}/featkit/features.sqlite"),
        ('backend = "disk"\npath = "{home}/mine.sqlite"', {}, "cache file {home}/mine.sqlite"),
        ('backend = "redis"\nurl = "redis://h:1/2"', {}, "Redis at h:1/2"),
        ('backend = "redis"\nurl = {{ env = "PLACE" }}', {"PLACE": "redis://h"}, "Redis at h:6379"),
        ('backend = "disk"', {"FEATKIT_CACHE__BACKEND": "memory"}, "memory"),
        ('enabled = "true"', {"FEATKIT_CACHE__TTL": "9s"}, "memory"),
    ],
)
def test_settings_of_the_cache_hold(  # noqa: PLR0917 - three fixtures, three parameters
    scripted_store, empty_home, monkeypatch, toml, environment, target
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = "[cache]\n" + toml.format(home=empty_home)
    (empty_home / "featkit.toml").write_text(text, encoding="utf-8")
    store = scripted_store()
    store.capabilities = Capabilities()
    cache = featkit.connect(store).operations.cache
    named = "memory" if cache.container is None else cache.container.name.removeprefix("the ")
    assert named == target.format(home=empty_home)


@pytest.mark.parametrize(
    ("toml", "match"),
    [
        ('tll = "5m"', r"\[cache\] has no entry 'tll'; did you mean 'ttl'"),
        ('backend = "disc"', "no cache backend 'disc'; did you mean 'disk'"),
        ('backend = "redis"', r"needs url = 'redis://HOST:PORT/DB'"),
        ('enabled = "maybe"', "must be true or false"),
        ('ttl = "soon"', "ttl of the cache 'soon' cannot be read"),
        ('ttl = "-5m"', "ttl of the cache"),
        ('missing_ttl = "1y"', "missing_ttl of the cache"),
        ('ttl = "99999w"', "longer than 100 years"),
    ],
)
def test_wrong_settings_of_the_cache_are_refused(scripted_store, empty_home, toml, match):
    (empty_home / "featkit.toml").write_text("[cache]\n" + toml, encoding="utf-8")
    store = scripted_store()
    store.capabilities = Capabilities()
    with pytest.raises((SettingsError, DurationError), match=match):
        featkit.connect(store)


def test_whole_numbers_and_switches_may_be_variables(store_folder, now, empty_home, monkeypatch):  # noqa: ARG001
    monkeypatch.setenv("FEATKIT_CACHE__MOST_IN_MEMORY", "1")
    monkeypatch.setenv("FEATKIT_HEALTH_CHECK__ENABLED", "false")
    with featkit.connect(f"parquet:{store_folder}", cache="memory", now=now) as client:
        assert client.monitor is None
        client.lookup([1], ["shops:visits"])
        client.lookup([1, 2, 3], ["shops:visits"])
        assert client.cache.stats().rows == 0  # they do not fit


@pytest.mark.parametrize(
    ("toml", "every"),
    [
        ("[health_check]\n", dt.timedelta(seconds=30)),
        ('[health_check]\nenabled = true\ninterval = "1h"', dt.timedelta(hours=1)),
        ("[health_check]\ninterval = 90", dt.timedelta(seconds=90)),
    ],
)
@pytest.mark.parametrize("connect", [featkit.connect, featkit.connect_async])
def test_settings_have_the_health_watched(connect, scripted_store, empty_home, toml, every):
    (empty_home / "featkit.toml").write_text(toml, encoding="utf-8")
    client = connect(scripted_store())
    assert client.monitor.interval == every
    assert client.monitor.wait(timeout=10)
    client.monitor.stop()


@pytest.mark.parametrize("toml", ["", '[health_check]\nenabled = false\ninterval = "1s"'])
def test_health_is_not_watched_unless_the_settings_say_so(scripted_store, empty_home, toml):
    (empty_home / "featkit.toml").write_text(toml, encoding="utf-8")
    assert featkit.connect(scripted_store()).monitor is None


@pytest.mark.parametrize(
    ("toml", "match"),
    [
        ('[health_check]\nintervall = "1s"', "has no entry 'intervall'; did you mean 'interval'"),
        ('[health_check]\ninterval = "soon"', "interval 'soon' cannot be read"),
        ('[health_check]\nenabled = "maybe"', r"enabled of \[health_check\] must be true or false"),
        ("[chache]", r"nothing reads the table \[chache\]; did you mean 'cache'"),
        ('[feest]\nserver_url = ""', r"nothing reads the table \[feest\]; did you mean 'feast'"),
    ],
)
def test_settings_that_nobody_reads_are_refused(scripted_store, empty_home, toml, match):
    (empty_home / "featkit.toml").write_text(toml, encoding="utf-8")
    with pytest.raises((SettingsError, DurationError), match=match):
        featkit.connect(scripted_store())


@pytest.mark.parametrize(
    ("backend", "match"),
    [
        ("feest", "no store has the scheme 'feest'; did you mean 'feast'"),
        ("tecton", r"backend = 'tecton' does not say where the store is: .*\[tecton\]"),
    ],
)
def test_a_backend_that_leads_nowhere_says_why(empty_home, backend, match):
    (empty_home / "featkit.toml").write_text(f'backend = "{backend}"', encoding="utf-8")
    with pytest.raises(SettingsError, match=match):
        featkit.connect()


@pytest.mark.parametrize(
    ("cache", "match"),
    [
        ("disc", "'disc' is no cache; did you mean 'disk'"),
        ("memcached://host", r"'memcached://\.\.\.' is no cache"),
        ("", "is no cache"),
        (5, "not int"),
        (True, "not bool"),
        ("redis://host:port/x", "redis://HOST:PORT/DB"),
    ],
)
def test_unknown_caches_are_refused_with_the_nearest(scripted_store, cache, match):
    with pytest.raises(SettingsError, match=match):
        featkit.connect(scripted_store(), cache=cache)


@pytest.mark.parametrize("option", ["ttl", "missing_ttl", "stale_if_error", "metadata_ttl"])
@pytest.mark.parametrize("value", ["soon", -1, "1s1m", float("nan")])
def test_nonsensical_durations_are_refused(option, value):
    with pytest.raises(DurationError, match=option):
        featkit.CacheOptions(**{option: value})


def test_a_password_of_a_redis_is_not_shown(scripted_store):
    client = featkit.connect(scripted_store(), cache="redis://me:hunter2@h:1/0")
    assert "hunter2" not in repr([client, client.operations.cache.policy, vars(client)])
    assert client.operations.cache.container.name == "the Redis at h:1/0"
    for wrong in ("redis://me:hunter2@h:port", "redys://me:hunter2@h:1"):
        with pytest.raises(SettingsError) as caught:
            featkit.connect(scripted_store(), cache=wrong)
        assert "hunter2" not in str(caught.value)
