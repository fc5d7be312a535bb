"""What most tests need: a frame of each kind, an embedded store, and no network but loopback."""

import datetime as dt
import decimal
import gc
import ipaddress
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import typer
from polars.testing import assert_frame_equal

import featkit
from featkit.calls import Call, LocalRead
from featkit.capabilities import Capabilities
from featkit.columns import STATUS, FeatureColumns, Status
from featkit.dtypes import TIMESTAMP
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.base import Store, Target
from featkit.testing import no_default

hypothesis.settings.register_profile(
    "featkit", deadline=None, derandomize="CI" in os.environ, print_blob=True
)
hypothesis.settings.register_profile(  # `make unit`
    "quick", hypothesis.settings.get_profile("featkit"), max_examples=10
)
hypothesis.settings.load_profile("featkit")


# -- no network but loopback, and no program unawares --------------------------------------------
#
# An audit hook, because it sees what `socket` does in every thread and leaves its classes as they
# are: no code can hold on to an unguarded one, and `isinstance` stays true. It raises what pytest
# raises to fail a test, a BaseException, so that code that expects a network to fail cannot take
# it for that. It does not reach into child processes, nor into libraries with sockets of their own.

_guard = {"network": True, "programs": False}
_STARTS = {"subprocess.Popen", "os.fork", "os.posix_spawn"}
_SERVERS = {  # fixtures that start one
    *("chromium", "redis_url", "dynamodb_url", "moto", "s3", "account", "installed")
}
_LONG = (  # files that take half a minute and more: a worker that began one late would be the last
    *("tests/test_docs_build.py", "tests/test_notebooks.py", "tests/widgets/test_lab"),
    *("tests/cache/test_machine.py", "tests/cache/test_torture.py"),
)
_INTERNET = {socket.AF_INET, socket.AF_INET6}
_PERMITTED = {"", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}


def _is_loopback(host: object) -> bool:
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii", "replace")
    if host is None or host in _PERMITTED:
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _STARTS and _guard["programs"]:
        pytest.fail("a test that starts a process is to be marked `slow`")
    if not _guard["network"]:
        return
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        if not address or arguments[0].family not in _INTERNET:  # connected already, or a path
            return
        host = address[0]
    elif event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}:
        host = arguments[0]
    else:
        return
    if not _is_loopback(host):
        pytest.fail(f"a test may reach loopback only, not {host!r}; mark it `live` if it must")


sys.addaudithook(_refuse)


@pytest.fixture(autouse=True)
def _what_the_marks_allow(request):
    live = request.node.get_closest_marker("live") is not None
    slow = request.node.get_closest_marker("slow") is not None
    _guard.update(network=not live, programs=not (live or slow))
    yield
    _guard.update(network=True, programs=False)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect no garbage while tests are collected, and do not go through them again for it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Look for examples in the docstrings of featkit alone, not in those of its tests."""
    return [each for each in (yield) if type(each) is pytest.Module]


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items):
    """Leave what servers and browsers do out of `make unit`; put what takes longest first."""
    for item in items:
        if not _SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    done = yield
    counts = Counter(map(_file_of, items))
    places = {file: place for place, file in enumerate(counts)}

    def order(item):
        file = _file_of(item)
        return not file.startswith(_LONG), -counts[file], places[file]

    items.sort(key=order)
    return done


def _file_of(item):
    return item.nodeid.partition("::")[0]


# -- settings and home ---------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developer():
    """Forget FEATKIT_*, which `featkit.connect` would obey; HOME stays, with its demo store."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FEATKIT_")]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _no_client_of_another_test():
    with no_default():
        yield


@pytest.fixture(scope="session", autouse=True)
def _the_command_line_is_made_once():
    """Spare each run of a command what typer takes to make all of them anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(typer.main.get_command))
        yield


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    """Make an empty folder both the home and the working directory, for tests of settings."""
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def anyio_backend():
    return "asyncio"


# -- a clock of its own ---------------------------------------------------------------------------


@pytest.fixture
def replies_age(monkeypatch):
    """Hand out what makes all replies that requests-cache keeps older, in seconds."""
    age = dt.timedelta()

    def utcnow():
        return dt.datetime.now(dt.UTC) + age

    def older(seconds):
        nonlocal age
        age += dt.timedelta(seconds=seconds)

    for module in ("policy.expiration", "policy.actions", "models.response"):
        monkeypatch.setattr(f"requests_cache.{module}.utcnow", utcnow)
    return older


# -- frames of each kind -------------------------------------------------------------------------

_NULLABLE = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.string(): pd.StringDtype(),
    pa.large_string(): pd.StringDtype(),
}


@dataclass(frozen=True)
class Constructor:
    """One kind of frame: how it is made, and how a test looks at it."""

    name: str
    make: Callable[[pl.DataFrame], Any]

    @property
    def is_pandas(self) -> bool:
        return self.name.startswith("pandas")

    @property
    def is_lazy(self) -> bool:
        return self.name == "polars-lazy"

    def __call__(self, columns: Mapping[str, Iterable[object]]) -> Any:
        """Make a frame of columns: lists, or polars series where the dtype matters."""
        return self.make(pl.DataFrame(dict(columns)))

    def collect(self, frame: Any) -> Any:
        """Return the frame, computed where it is lazy."""
        return frame.collect() if isinstance(frame, pl.LazyFrame) else frame

    def names(self, frame: Any) -> list[object]:
        return list(self.collect(frame).columns)

    def values(self, frame: Any, column: str) -> list[object]:
        """Return a column as Python objects, with None for whatever is missing."""
        series = self.collect(frame)[column]
        if isinstance(series, pl.Series):
            return series.to_list()
        missing = series.isna()
        return [None if gone else own for own, gone in zip(series, missing, strict=True)]

    def assert_same(self, left: Any, right: Any) -> None:
        """Check that two frames are equal in everything: values, dtypes, order, index."""
        left, right = self.collect(left), self.collect(right)
        if isinstance(left, pl.DataFrame):
            assert_frame_equal(left, right, check_exact=True)
        else:
            pd.testing.assert_frame_equal(left, right, check_exact=True)

    def dtypes(self, frame: Any) -> dict[object, object]:
        frame = self.collect(frame)
        return dict(frame.schema) if isinstance(frame, pl.DataFrame) else dict(frame.dtypes)

    def assert_own_columns_kept(self, before: Any, after: Any, *, added: Iterable[str]) -> None:
        """Check index, order, dtypes and bits of the columns that were there, and what came."""
        assert type(after) is type(before)
        left, right = self.collect(before), self.collect(after)
        own = list(left.columns)
        assert list(right.columns) == [*own, *added]
        if isinstance(left, pl.DataFrame):
            assert_frame_equal(right[own], left, check_exact=True, categorical_as_str=False)
            return
        kept = right.iloc[:, : len(own)]
        pd.testing.assert_index_equal(right.index, left.index, exact=True)
        pd.testing.assert_frame_equal(kept, left, check_exact=True, check_column_type=False)
        assert right.attrs == left.attrs
        for place in range(len(own)):
            was, now = left.iloc[:, place].array, kept.iloc[:, place].array
            if isinstance(was, pd.arrays.NumpyExtensionArray) and was.dtype != object:
                assert np.asarray(now).tobytes() == np.asarray(was).tobytes()


_CONSTRUCTORS = [
    Constructor("pandas-numpy", lambda frame: frame.to_arrow().to_pandas()),
    Constructor(
        "pandas-nullable", lambda frame: frame.to_arrow().to_pandas(types_mapper=_NULLABLE.get)
    ),
    Constructor(
        "pandas-arrow", lambda frame: frame.to_arrow().to_pandas(types_mapper=pd.ArrowDtype)
    ),
    Constructor("polars", lambda frame: frame),
    Constructor("polars-lazy", lambda frame: frame.lazy()),
]


_QUICK = {"pandas-numpy", "polars"}  # of each library the one that `make unit` tries


def _each(constructors: Iterable[Constructor]) -> list[Any]:
    return [
        pytest.param(each, id=each.name, marks=[] if each.name in _QUICK else [pytest.mark.slow])
        for each in constructors
    ]


@pytest.fixture(scope="session", params=_each(_CONSTRUCTORS))
def constructor(request) -> Constructor:
    """Run the test on pandas with numpy, nullable and Arrow dtypes, and on polars eager and lazy.

    Call it with columns to get a frame; its methods look at results whatever their library.
    """
    return request.param


@pytest.fixture(scope="session", params=_each(each for each in _CONSTRUCTORS if each.is_pandas))
def pandas_constructor(request) -> Constructor:
    """Run the test on the three kinds of pandas frames, as `constructor` does on all five."""
    return request.param


# -- an embedded store ---------------------------------------------------------------------------

NOW = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)


def _views() -> dict[str, tuple[pl.DataFrame, dict[str, Any]]]:
    """What the store holds, by name of the view: the rows, and what `write_view` is told."""
    noon = NOW - dt.timedelta(hours=12)
    spring = dt.datetime(2024, 3, 31, tzinfo=dt.UTC)
    shops = pl.DataFrame(
        {
            "shop": [1, 2, 3, 4],
            "at": [noon, noon, noon, NOW - dt.timedelta(days=30)],
            "visits": [10, 2**62 + 1, None, 40],
            "rating": [4.5, float("nan"), None, 1.0],
            "title": ["one", "", None, "four"],
            "open": [True, False, None, True],
            "tags": [["new", "big"], [], None, ["old"]],
            "opened": [dt.date(2020, 2, 29), dt.date(2021, 1, 1), None, dt.date(1999, 12, 31)],
            "rent": [decimal.Decimal("1.10"), decimal.Decimal("-2.00"), None, decimal.Decimal(0)],
            "logo": [b"\x00\xff", b"", None, b"4"],
            "seen": [noon, spring, None, noon],
        }
    )
    cities = ["Rome", "Oslo", "", "São Paulo", "a|b", "x:y", "nul\0l", "🦜", "'; DROP", "../.."]
    return {
        "shops": (shops, {"join_keys": "shop", "timestamp": "at", "ttl": "1d"}),
        "cities": (
            pl.DataFrame({"city": cities, "people": range(len(cities))}),
            {"join_keys": "city"},
        ),
        "routes": (
            pl.DataFrame(
                {
                    "origin": ["a", "a", "a|b", "b", "", "b"],
                    "dest": ["b", "b|c", "c", "a", "ab", ""],
                    "km": [1, 2, 3, 4, 5, 6],
                }
            ),
            {"join_keys": ["origin", "dest"]},
        ),
        "moments": (
            pl.DataFrame(
                {"moment": [spring + dt.timedelta(minutes=m) for m in (30, 90)], "count": [1, 2]}
            ),
            {"join_keys": "moment"},
        ),
        "days": (
            pl.DataFrame({"day": [dt.date(2024, 3, 31)], "count": [1]}),
            {"join_keys": "day"},
        ),
        "prices": (
            pl.DataFrame(
                {"price": [decimal.Decimal("1.10"), decimal.Decimal("2.00")], "count": [1, 2]}
            ),
            {"join_keys": "price"},
        ),
        "tokens": (
            pl.DataFrame({"token": [b"\x00a", b"b", b""], "count": [1, 2, 3]}),
            {"join_keys": "token"},
        ),
        "people": (
            pl.DataFrame({"person": ["6ba7b810-9dad-11d1-80b4-00c04fd430c8"], "count": [1]}),
            {"join_keys": "person"},
        ),
        "flags": (
            pl.DataFrame({"flag": [True, False], "count": [1, 2]}),
            {"join_keys": "flag"},
        ),
        "small": (
            pl.DataFrame({"small": pl.Series([1, 2], dtype=pl.Int32), "count": [1, 2]}),
            {"join_keys": "small"},
        ),
        "weights": (
            pl.DataFrame({"weight": [0.0, 0.5, 1.0], "count": [0, 5, 10]}),
            {"join_keys": "weight"},
        ),
    }


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory):
    """Write a small embedded store, with a view for each type of key; tests only read it."""
    folder = tmp_path_factory.mktemp("store")
    for name, (frame, roles) in _views().items():
        featkit.write_view(folder, frame, name=name, **roles)
    featkit.write_service(folder, name="model", features=["shops:visits", "cities:people"])
    return folder


@pytest.fixture(scope="session")
def now() -> dt.datetime:
    """Tell the moment at which `store` stands."""
    return NOW


@pytest.fixture
def store(store_folder, now):
    """Connect to the embedded store; the client is the default one during the test."""
    with featkit.connect(f"parquet:{store_folder}", now=now) as client:
        yield client


# -- a store that answers as told ----------------------------------------------------------------


class ScriptedStore(Store):
    """A store in memory whose every answer is what a function makes of the question.

    Parameters
    ----------
    views
        What it says that it holds.
    answer
        Gets an `OnlineRead`; returns the answer or raises. None: each value is PRESENT, made by
        `truth` of the first key.
    batch_size
        As in `Capabilities`.
    """

    scheme = "scripted"

    def __init__(self, *views, answer=None, batch_size=None, services=()):
        self.views = list(views) or [self.view("shops", "shop", "visits")]
        self.capabilities = Capabilities(batch_size=batch_size, local=True)
        self.reads = []
        self.closed = 0
        self._answer = answer or self.honest
        self._services = list(services)

    @classmethod
    def open(cls, target: Target, options: Any, *, timezone: str | None) -> Store:
        raise NotImplementedError

    @staticmethod
    def view(name, keys, *features, **options) -> FeatureView:
        """Describe a view whose keys and features are whole numbers."""
        keys = [keys] if isinstance(keys, str) else keys
        return FeatureView(
            name=name,
            entities=tuple(Entity(key, key, pl.Int64()) for key in keys),
            features=tuple(Feature(feature, pl.Int64()) for feature in features),
            **options,
        )

    @staticmethod
    def truth(feature: str, keys: pl.DataFrame) -> pl.Series:
        """Make the true values of a feature, which differ from feature to feature and key to key.

        Keys divisible by seven have a null, so that nulls move with their row as values do.
        """
        salt = sum(feature.encode())
        parts = [column * (n * 31 + 1) for n, column in enumerate(keys.get_columns())]
        whole = sum(parts[1:], start=parts[0])
        return (whole * 1000 + salt).set(keys.to_series() % 7 == 0, None).alias(feature)

    @classmethod
    def honest(cls, read) -> FeatureColumns:
        """Answer with the truth."""
        names = [feature.name for feature in read.features]
        height = read.keys.height
        present = pl.repeat(Status.PRESENT, height, dtype=STATUS, eager=True)
        stamps = pl.repeat(read.now, height, dtype=TIMESTAMP, eager=True)
        return FeatureColumns(
            values=pl.DataFrame([cls.truth(name, read.keys) for name in names]),
            statuses=dict.fromkeys(names, present),
            timestamps=dict.fromkeys(names, stamps) if read.view.timestamp else {},
        )

    def list_feature_views(self):
        return list(self.views)
        yield

    def list_feature_services(self):
        return list(self._services)
        yield

    def read_online(self, read):
        self.reads.append(read)
        run = LocalRead(lambda: self._answer(read), f"feature view {read.view.name!r}")
        return Call(run, keys=read.keys.height)

    def close(self):
        self.closed += 1


@pytest.fixture(scope="session")
def scripted_store() -> type[ScriptedStore]:
    """Hand out the class of stores that answer as told; connect one with `featkit.connect`."""
    return ScriptedStore
