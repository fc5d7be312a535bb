"""Public is what `__all__` says, and the stub, and nothing else."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import featkit

STUB = ast.parse(Path(featkit.__file__).with_suffix(".pyi").read_text("utf-8"))
PINNED = {  # other programs are written against these
    *("connect", "connect_async", "use", "features", "feature_lookup", "feature_lookup_batch"),
    *("get_feature", "feature_timestamp", "write_view", "write_service", "FeatureStoreClient"),
    *("AsyncFeatureStoreClient", "FeaturesAccessor", "FeatureColumns", "FeatureValue", "Status"),
    *("Entity", "Feature", "FeatureView", "FeatureService", "FeatureRef", "HealthReport"),
    *("LookupSummary", "demo", "errors", "testing", "__version__"),
}


def imported_by_the_stub():
    return [
        alias.asname or alias.name
        for node in STUB.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def declared_by_the_stub():
    (assigned,) = [node for node in STUB.body if isinstance(node, ast.Assign)]
    return ast.literal_eval(assigned.value)


def modules_with_all():
    for info in pkgutil.walk_packages(featkit.__path__, "featkit."):
        if info.name != "featkit.testing.contract":  # a base class of tests, for pytest to import
            module = importlib.import_module(info.name)
            if "__all__" in vars(module):
                yield module


def test_runtime_and_stub_agree():
    assert featkit.__all__ == declared_by_the_stub()
    assert sorted(imported_by_the_stub()) == sorted(featkit.__all__)


def test_names_are_sorted_and_each_there_once():
    assert declared_by_the_stub() == sorted(set(declared_by_the_stub()))


def test_pinned_names_are_public():
    assert PINNED - set(featkit.__all__) == set()


@pytest.mark.parametrize("name", declared_by_the_stub())
def test_every_public_name_can_be_had_and_is_described(name):
    value = getattr(featkit, name)
    if name != "__version__":
        assert inspect.getdoc(value)
        assert value.__module__.startswith("featkit.") if hasattr(value, "__module__") else True


def test_completion_offers_the_public_names():
    assert set(featkit.__all__) <= set(dir(featkit))


def test_other_names_are_no_attributes():
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        featkit.nothing_of_the_kind  # noqa: B018 - asking is the point


def test_star_brings_exactly_the_public_names():
    namespace = {}
    exec("from featkit import *", namespace)  # noqa: S102 - what users may write
    assert set(namespace) - {"__builtins__"} == set(featkit.__all__)


def test_every_name_in_all_of_a_module_is_there_once():
    for module in modules_with_all():
        assert len(module.__all__) == len(set(module.__all__)), module.__name__
        missing = [name for name in module.__all__ if not hasattr(module, name)]
        assert missing == [], module.__name__


def test_version_is_that_of_the_distribution():
    metadata = importlib.import_module("importlib.metadata")
    assert featkit.__version__ == metadata.version("featkit-frames")
