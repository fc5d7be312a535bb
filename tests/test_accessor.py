"""`.features` on frames: there, harmless, typed, and the same in sync and async."""

import asyncio
import inspect
import subprocess
import sys
import warnings
from dataclasses import fields

import pandas as pd
import polars as pl
import pytest

import featkit
from featkit.accessor import FeaturesAccessor
from featkit.api import register
from featkit.clients.operations import EnrichOptions
from featkit.errors import InputError, SettingsError


@pytest.fixture(autouse=True)
def _registered():
    register()


# -- the accessor itself -------------------------------------------------------------------------


def test_typed_twin_does_the_same(constructor, store):
    frame = constructor({"shop": [1, None]})
    twin = featkit.features(frame).enrich(["shops:visits"], store=store)
    named = frame.features.enrich(["shops:visits"], store=store)
    constructor.assert_same(twin, named)
    assert constructor.values(twin, "visits") == [10, None]


def test_looking_at_a_frame_needs_no_client(constructor, empty_home):  # noqa: ARG001
    frame = constructor({"shop": [1]})
    assert hasattr(frame, "features")
    assert "features" in dir(frame)
    assert isinstance(frame.features, FeaturesAccessor)
    assert {"enrich", "enrich_async"} <= set(dir(frame.features))
    for name in dir(frame.features):
        getattr(frame.features, name)
    assert repr(frame.features).startswith("<features of a ")
    assert not hasattr(frame.features, "no_such_verb")


def test_any_thing_may_be_wrapped_and_only_verbs_complain():
    wrapped = featkit.features([1, 2])
    verbs = "enrich, enrich_async, training_set, training_set_async, staleness, staleness_async, "
    verbs += "audit, audit_async, skew"
    assert repr(wrapped) == f"<features of a list: {verbs}>"


def test_accessor_keeps_nothing_but_the_frame(constructor):
    frame = constructor({"shop": [1]})
    assert list(vars(frame.features).values()) == [frame]


def test_column_called_features_stays_reachable(store):
    frame = pd.DataFrame({"shop": [1], "features": ["mine"]})
    enriched = frame.features.enrich(["shops:visits"], store=store)
    assert enriched["features"].tolist() == ["mine"]
    polars = pl.DataFrame({"shop": [1], "features": ["mine"]})
    assert polars.features.enrich(["shops:visits"], store=store)["features"].item() == "mine"


def test_registering_again_neither_warns_nor_replaces():
    before = vars(pd.DataFrame)["features"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register()
        register()
    assert vars(pd.DataFrame)["features"] is before


def test_without_client_and_settings_a_verb_says_what_to_do(constructor, empty_home):  # noqa: ARG001
    frame = constructor({"shop": [1]})
    with pytest.raises(SettingsError, match=r"featkit\.connect\('demo:flights'\)"):
        frame.features.enrich(["shops:visits"])


# -- async ---------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [featkit.connect, featkit.connect_async])
async def test_enrich_async_equals_enrich(constructor, store_folder, now, kind):
    client = kind(f"parquet:{store_folder}", now=now)
    frame = constructor({"shop": [2, None, 9, 1], "note": list("abcd")})
    options = {"timestamps": True, "statuses": True, "prefix": "x_"}
    awaited = await frame.features.enrich_async(["shops:*"], store=client, **options)
    inside_loop = frame.features.enrich(["shops:*"], store=client, **options)
    outside = await asyncio.to_thread(frame.features.enrich, ["shops:*"], store=client, **options)
    constructor.assert_same(inside_loop, awaited)
    constructor.assert_same(outside, awaited)
    assert constructor.values(awaited, "x_visits") == [2**62 + 1, None, None, 10]


@pytest.mark.anyio
async def test_many_enrich_at_once_in_one_loop(scripted_store):
    featkit.connect_async(scripted_store(batch_size=2))
    frames = [pl.DataFrame({"shop": range(n, n + 10)}) for n in range(20)]
    calls = (frame.features.enrich_async("shops:visits") for frame in frames)
    for frame, enriched in zip(frames, await asyncio.gather(*calls), strict=True):
        expected = scripted_store.truth("visits", frame)
        assert enriched["visits"].to_list() == expected.to_list()


def test_async_client_works_in_one_loop_after_another(constructor, store_folder, now):
    client = featkit.connect_async(f"parquet:{store_folder}", now=now)
    frame = constructor({"shop": [1]})
    for _ in range(2):
        enriched = asyncio.run(frame.features.enrich_async(["shops:visits"], store=client))
        assert constructor.values(enriched, "visits") == [10]


def test_both_verbs_take_the_same():
    enrich = inspect.signature(FeaturesAccessor.enrich)
    assert enrich == inspect.signature(FeaturesAccessor.enrich_async)
    own = {"self", "features", "store", "progress"}
    options = {name: each.default for name, each in enrich.parameters.items() if name not in own}
    assert options == {each.name: each.default for each in fields(EnrichOptions)}
    keyword_only = {enrich.parameters[name].kind for name in (*options, "store", "progress")}
    assert keyword_only == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.anyio
async def test_what_is_no_frame_is_refused_in_async_too(store):
    with pytest.raises(InputError, match="expected a pandas"):
        await featkit.features([1]).enrich_async("shops:visits", store=store)


# -- imports in any order ------------------------------------------------------------------------

IMPORTS = {
    "featkit.pandas serves pandas": """
        import featkit.pandas
        import pandas
        assert hasattr(pandas.DataFrame, "features")
        import featkit.polars, polars
        assert hasattr(polars.LazyFrame, "features") and hasattr(polars.DataFrame, "features")
        import importlib; importlib.reload(featkit.pandas); importlib.reload(featkit.polars)
        from featkit.accessor import FeaturesAccessor
        assert isinstance(pandas.DataFrame().features, FeaturesAccessor)
    """,
    "featkit.polars does not bring pandas": """
        import polars, featkit.polars
        assert hasattr(polars.DataFrame, "features")
        assert "pandas" not in sys.modules
        import pandas
        assert not hasattr(pandas.DataFrame, "features")
        import featkit.pandas
        assert hasattr(pandas.DataFrame, "features")
    """,
    "connecting serves what is imported": """
        import pandas, featkit
        assert not hasattr(pandas.DataFrame, "features")
        featkit.connect(*sys.argv[1:], now=NOW)
        import polars
        frame = pandas.DataFrame({"shop": [1]})
        assert frame.features.enrich("shops:visits")["visits"].tolist() == [10]
        assert polars.DataFrame({"shop": [1]}).features.enrich("shops:visits").rows() == [(1, 10)]
    """,
    "connecting again serves what came since": """
        import featkit
        featkit.connect(*sys.argv[1:], now=NOW)
        assert "pandas" not in sys.modules
        import pandas
        frame = pandas.DataFrame({"shop": [1]})
        assert not hasattr(frame, "features")
        assert featkit.features(frame).enrich("shops:visits")["visits"].tolist() == [10]
        featkit.use(featkit.connect(*sys.argv[1:], now=NOW))
        assert hasattr(frame, "features")
    """,
}


@pytest.mark.slow
def test_imports_work_in_any_order_and_bring_no_other_library(store_folder):
    python, target = [sys.executable, "-W", "error", "-c"], f"parquet:{store_folder}"
    started = {
        name: subprocess.Popen(
            [*python, f"import sys\nNOW = '2024-05-02T00:00:00Z'\nif 1:{code}", target],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, code in IMPORTS.items()
    }
    told = {name: process.communicate()[1] for name, process in started.items()}
    failed = {name: told[name] for name, process in started.items() if process.returncode}
    assert failed == {}
