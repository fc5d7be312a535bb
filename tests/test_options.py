"""Options of stores: whatever is wrong with one is told by its place, and by what there is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import featkit
from featkit.errors import SettingsError
from featkit.options import read_options
from featkit.stores.base import open_store

if TYPE_CHECKING:
    from pathlib import Path


class _Feature(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str | None = None


class _View(msgspec.Struct, forbid_unknown_fields=True):
    ttl: str | None = None
    needed: int = 0
    features: dict[str, _Feature] = {}


class _Options(msgspec.Struct, forbid_unknown_fields=True):
    project: str
    size: int = 5
    names: tuple[str, ...] | str = ()
    views: dict[str, _View] = {}

    def __post_init__(self) -> None:
        if self.size < 0:
            msg = "size is at least 0"
            raise ValueError(msg)


def test_what_is_right_is_read() -> None:
    given = {"project": "p", "names": ["a"], "views": {"v": {"features": {"f": {"dtype": "x"}}}}}
    read = read_options(given, _Options, "acme")
    assert read == _Options("p", 5, ("a",), {"v": _View(features={"f": _Feature("x")})})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"projct": "p"}, "the store 'acme' has no option 'projct'; did you mean 'project'?"),
        ({}, "the store 'acme' needs project=...; pass it to connect"),
        ({"size": "x"}, "'acme' has a wrong option 'size'; expected an integer, found a string"),
        ({"size": -1}, "an option of the store 'acme' is wrong: size is at least 0"),
        (
            {"views": {"users": {"tll": "7d"}}},
            (
                "the store 'acme' has no option 'tll' in views={'users': {...}} ([acme.views."
                "users] in the settings); did you mean 'ttl'?"
            ),
        ),
        (
            {"views": {"ok": {"ttl": "7d"}, "a.b": {"zzz": "7d"}}},
            (
                "no option 'zzz' in views={'a.b': {...}} ([acme.views.\"a.b\"] in the settings); "
                "there are: 'features', 'needed', 'ttl'"
            ),
        ),
        (
            {"views": {"users": {"features": {"age": {"type": "x"}}}}},
            (
                "no option 'type' in views={'users': {'features': {'age': {...}}}} "
                "([acme.views.users.features.age] in the settings); did you mean 'dtype'?"
            ),
        ),
        (
            {"views": {"users": {"ttl": 7}}},
            (
                "a wrong option 'ttl' in views={'users': {...}} ([acme.views.users] in the "
                "settings); expected a string, found an integer"
            ),
        ),
        ({"views": {"users": "7d"}}, "a wrong option 'users' in views={...} ([acme.views] in the"),
        ({"views": ["users"]}, "a wrong option 'views'; expected a table, found an array"),
        (
            {"views": {7: {}}},
            "a wrong option '7' in views={...} ([acme.views] in the settings); expected",
        ),
        ({"views": {"users": {7: "x"}}}, "no option '7' in views={'users': {...}}"),
        ({"names": [1]}, "a wrong option 'names'; expected a string, found an integer"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_by_its_place(given: dict[str, Any], said: str) -> None:
    known = {} if given.keys() & {"projct"} or not given else {"project": "p"}
    with pytest.raises(SettingsError, match=re.escape(said)):
        read_options(known | given, _Options, "acme")


STORES: dict[str, dict[str, Any]] = {
    "tecton+https://host": {"workspace": "w", "feature_services": ["s"], "api_key": "k"},
    "databricks+https://host": {"catalog": "c", "schema": "s", "token": "t"},
    "sagemaker:eu-west-1": {},
    "vertex:p/l/s": {},
}


@pytest.mark.parametrize("target", STORES)
def test_each_store_tells_a_misspelt_key_of_a_view(target: str) -> None:
    options = STORES[target] | {"views": {"users": {"tagss": {}}}}
    with pytest.raises(SettingsError, match=r"no option 'tagss' in views=\{'users'"):
        open_store(target, options)


def test_the_settings_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "featkit.toml").write_text(
        'backend = "databricks"\n[databricks]\nhost = "https://h"\ncatalog = "c"\nschema = "s"\n'
        'token = "dapi-canary"\n[databricks.views.users]\nendpont = "e"\n'
    )
    monkeypatch.chdir(tmp_path)
    said = r"'endpont' in .*\[databricks.views.users\] in the settings\); did you mean 'endpoint'"
    with pytest.raises(SettingsError, match=said) as caught:
        featkit.connect()
    assert "canary" not in str(caught.value)
