"""A store of somebody else's is found by its entry point, and held to the same contract."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import featkit
from featkit.dtypes import format_dtype
from featkit.errors import MissingExtraError, SettingsError
from featkit.testing import contract_views

PACKAGE = Path(__file__).parent / "third_party" / "acme_store"


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Install the package of the other store into a folder of its own, without a network."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input"]
    quietly = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--no-compile"]
    subprocess.run([*pip, "install", *quietly, "--target", folder, PACKAGE], check=True)
    return folder


@pytest.fixture(scope="session")
def document(tmp_path_factory):
    """Write the contract's data as that store keeps them."""
    views = [
        {
            "name": view.name,
            "description": view.description,
            "ttl": view.ttl and view.ttl.total_seconds(),
            "timestamped": view.timestamp is not None,
            "keys": {entity.join_key: format_dtype(entity.dtype) for entity in view.entities},
            "features": {item.name: format_dtype(item.dtype) for item in view.features},
            "rows": [
                {
                    "key": [row[key] for key in view.join_keys],
                    "at": row.get(view.timestamp),
                    "written": row.get(view.created),
                    "values": [row[name] for name in view.feature_names],
                }
                for row in rows.to_dicts()
            ],
        }
        for view, rows in contract_views()
    ]
    path = tmp_path_factory.mktemp("acme") / "store.json"
    path.write_text(json.dumps({"views": views}, default=lambda time: time.isoformat()), "utf-8")
    return path


@pytest.fixture
def run(installed, tmp_path):
    """Run a program in a folder of its own, with the package installed."""

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(installed)} | environment,
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )

    return run


def test_nothing_of_it_is_installed_here():
    with pytest.raises(SettingsError, match="no store has the scheme 'acme'"):
        featkit.connect("acme:store.json")
    assert not list(Path(sysconfig.get_path("purelib")).glob("acme*"))


def test_it_is_found_by_its_entry_point(run, document):
    done = run(
        "-c",
        f"""
import featkit
from featkit import errors
store = featkit.connect("acme:{document.as_posix()}", now="2024-05-01T12:00:00Z")
print(store.get_online_features("customers", 1, ["visits", "name"]))
for wrong, options in (("acm:x", {{}}), ("acme:x", {{"tken": "x"}}), ("acme:x", {{"token": 1}})):
    try:
        featkit.connect(wrong, **options)
    except errors.SettingsError as error:
        print(error)
""",
        PYTHONIOENCODING="utf-8",
    )
    assert done.stderr == ""
    found, scheme, option, kind = done.stdout.splitlines()
    assert found == str({"visits": 2**53 + 1, "name": "🦉 o'wl"})
    assert scheme == "no store has the scheme 'acm'; did you mean 'acme'?"
    assert option == "the store 'acme' has no option 'tken'; did you mean 'token'?"
    assert kind.startswith("the store 'acme' has a wrong option 'token'; expected a string")


def test_the_settings_have_a_table_for_it(run, document, tmp_path):
    target = json.dumps(f"acme:{document}")
    (tmp_path / "featkit.toml").write_text(
        f'target = {target}\n[acme]\ntoken = {{ env = "ACME_TOKEN" }}\n', "utf-8"
    )
    program = """
import featkit
client = featkit.connect()
assert client.operations.store.token.reveal() == "canary"
print(client, client.operations.store)
"""
    done = run("-c", program, ACME_TOKEN="canary")
    assert done.stderr == ""
    assert "token=Secret('***')" in done.stdout
    assert "canary" not in done.stdout


@pytest.mark.slow
def test_it_passes_the_contract(run, document, tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", "utf-8")
    (tmp_path / "test_acme.py").write_text(
        f"""
import pytest
from featkit.settings import Secret
from featkit.stores.base import open_store
from featkit.testing import StoreContract

class TestAcme(StoreContract):
    secret = "canary"

    @pytest.fixture
    def store(self):
        return open_store({f"acme:{document}"!r}, {{"token": Secret("canary")}})
""",
        "utf-8",
    )
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", TZ="Pacific/Kiritimati")
    assert done.returncode == 0, done.stdout
    passed = int(done.stdout.split()[-4])
    assert passed >= 50
    assert "skipped" not in done.stdout


# -- entry points that are broken


@pytest.fixture
def announced(tmp_path, monkeypatch):
    """Announce entry points as an installed distribution does."""

    def announce(**values):
        info = tmp_path / "broken-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
        lines = [f"{scheme} = {value}" for scheme, value in values.items()]
        (info / "entry_points.txt").write_text("\n".join(["[featkit.stores]", *lines]))
        (tmp_path / "broken_divides.py").write_text("1 / 0")
        (tmp_path / "broken_syntax.py").write_text("1 /")
        (tmp_path / "broken_extra.py").write_text(
            "from featkit.errors import MissingExtraError\n"
            "raise MissingExtraError('grpc', 'the store broken')\n"
        )
        monkeypatch.syspath_prepend(tmp_path)

    return announce


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no_such_module:Store", "cannot be loaded: ModuleNotFoundError: .*no_such_module"),
        ("json:NoSuchStore", "cannot be loaded: AttributeError: .*NoSuchStore"),
        ("broken_divides:Store", "cannot be loaded: ZeroDivisionError"),
        ("broken_syntax:Store", "cannot be loaded: SyntaxError"),
        ("json:JSONDecoder", "is no featkit Store"),
        ("json:loads", "is no featkit Store"),
    ],
)
def test_a_broken_entry_point_is_told(announced, value, told):
    announced(broken=value)
    with pytest.raises(SettingsError, match=f"entry point '{value}' of the store 'broken' {told}"):
        featkit.connect("broken:x")


def test_a_store_may_say_which_extra_it_lacks(announced):
    announced(broken="broken_extra:Store")
    with pytest.raises(MissingExtraError, match="'grpc' is needed for the store broken"):
        featkit.connect("broken:x")


def test_a_broken_entry_point_does_not_concern_other_stores(announced, tmp_path):
    announced(broken="broken_divides:Store", parquet="broken_divides:Store")
    with pytest.raises(SettingsError, match=r"there is no .*feature_views\.toml"):
        featkit.connect(f"parquet:{tmp_path}")
