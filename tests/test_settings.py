"""Settings: an argument beats the environment, which beats the file; secrets stay secret."""

import copy
import json
import logging
import pickle
import traceback

import pytest

from featkit.errors import SettingsError
from featkit.settings import Secret, Settings, load

CANARY = "hunter2-canary"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# -- files ---------------------------------------------------------------------------------------


def test_nothing_set_is_nothing(tmp_path):
    assert load(tmp_path, {}) == Settings()


def test_file_is_read_whole(tmp_path):
    write(
        tmp_path / "featkit.toml",
        """
        backend = "feast"
        target = "parquet:here"
        timezone = "UTC"
        timeout = "5s"
        now = "2024-01-01T00:00:00Z"
        [feast]
        server_url = "http://localhost:6566"
        [cache]
        enabled = true
        """,
    )
    found = load(tmp_path, {})
    assert (found.backend, found.target, found.timezone) == ("feast", "parquet:here", "UTC")
    assert (found.timeout, found.now) == ("5s", "2024-01-01T00:00:00Z")
    assert found.tables == {
        "feast": {"server_url": "http://localhost:6566"},
        "cache": {"enabled": True},
    }
    assert found.origin == str(tmp_path / "featkit.toml")


def test_nearest_file_above_counts_alone(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    write(tmp_path / "featkit.toml", 'target = "far:x"\ntimeout = "9s"\n')
    assert load(inner, {}).target == "far:x"
    write(tmp_path / "a" / "featkit.toml", 'target = "near:x"\n')
    assert load(inner, {}).target == "near:x"
    assert load(inner, {}).timeout is None


def test_pyproject_counts_only_with_its_table(tmp_path):
    inner = tmp_path / "project"
    write(tmp_path / "featkit.toml", 'target = "above:x"\n')
    write(inner / "pyproject.toml", '[project]\nname = "x"\n')
    assert load(inner, {}).target == "above:x"
    write(inner / "pyproject.toml", '[tool.featkit]\ntarget = "inside:x"\n')
    found = load(inner, {})
    assert found.target == "inside:x"
    assert found.origin == f"[tool.featkit] of {inner / 'pyproject.toml'}"
    write(inner / "featkit.toml", 'target = "beside:x"\n')
    assert load(inner, {}).target == "beside:x"


@pytest.mark.parametrize(
    "content", [b"target = ", b"[feast", b'\xff\xfe"', b'target = "a"\ntarget = "b"']
)
def test_broken_file_is_named(tmp_path, content):
    (tmp_path / "featkit.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=r"featkit\.toml cannot be read"):
        load(tmp_path, {})


def test_folder_that_is_called_like_the_file_is_passed_over(tmp_path):
    (tmp_path / "featkit.toml").mkdir()
    assert load(tmp_path, {}).target is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('targt = "x"', r"featkit\.toml: there is no setting 'targt'; did you mean 'target'"),
        ("timeout = 5", r"the setting 'timeout' must be text, not 5"),
        ("now = 2024-01-01T00:00:00Z", r"the setting 'now' must be text"),
        ('target = ["x"]', r"the setting 'target' must be text"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, text, match):
    write(tmp_path / "featkit.toml", text)
    with pytest.raises(SettingsError, match=match):
        load(tmp_path, {})


# -- environment ---------------------------------------------------------------------------------


def test_environment_beats_the_file_setting_by_setting(tmp_path):
    write(
        tmp_path / "featkit.toml",
        'target = "file:x"\ntimezone = "UTC"\n[feast]\nproject = "file"\nurl = "file"\n',
    )
    found = load(
        tmp_path,
        {
            "FEATKIT_TARGET": "environment:x",
            "FEATKIT_FEAST__PROJECT": "environment",
            "FEATKIT_TECTON__API_KEY": "x",
            "OTHER_TARGET": "nobody:x",
            "featkit_target": "nobody:x",
        },
    )
    assert (found.target, found.timezone) == ("environment:x", "UTC")
    assert found.tables == {
        "feast": {"project": "environment", "url": "file"},
        "tecton": {"api_key": "x"},
    }


def test_process_environment_and_working_folder_are_the_default(empty_home, monkeypatch):
    write(empty_home / "featkit.toml", 'target = "file:x"\n')
    assert load().target == "file:x"
    monkeypatch.setenv("FEATKIT_TARGET", "environment:x")
    assert load().target == "environment:x"


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("FEATKIT_TRAGET", "there is no setting 'traget'; did you mean 'target'"),
        ("FEATKIT_TARGET__PLACE", "'target'"),
        ("FEATKIT_", "there is no setting ''"),
    ],
)
def test_wrong_variables_are_refused(tmp_path, name, match):
    write(tmp_path / "featkit.toml", 'target = "x:y"\n')
    with pytest.raises(SettingsError, match=match):
        load(tmp_path, {name: "x"})


def test_table_is_not_replaced_by_a_word(tmp_path):
    write(tmp_path / "featkit.toml", '[feast]\nproject = "x"\n')
    with pytest.raises(SettingsError, match="'feast'"):
        load(tmp_path, {"FEATKIT_FEAST": "x"})


# -- secrets -------------------------------------------------------------------------------------


def test_secret_comes_from_a_variable_or_a_file(tmp_path):
    write(tmp_path / "key", f"{CANARY}\n")
    write(
        tmp_path / "featkit.toml",
        f"[tecton]\napi_key = {{ env = 'KEY' }}\ntoken = {{ file = '{tmp_path / 'key'}' }}\n",
    )
    found = load(tmp_path, {"KEY": CANARY})
    assert isinstance(found.tables["tecton"]["api_key"], Secret)
    assert found.tables["tecton"]["api_key"].reveal() == CANARY
    assert found.tables["tecton"]["token"].reveal() == CANARY
    assert CANARY not in repr(found)
    assert CANARY not in str(found)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ("{ env = 'KEY' }", "tecton.api_key .* variable KEY, which is not set"),
        ("{ env = 'BLANK' }", "tecton.api_key .* variable BLANK, which is empty"),
        ("{ file = '/dev/null' }", "tecton.api_key .* file /dev/null, which is empty"),
        ("{ file = 'no/such' }", "tecton.api_key .* file no/such, which cannot be read"),
    ],
)
def test_secret_that_is_missing_is_named(tmp_path, entry, match):
    write(tmp_path / "featkit.toml", f"[tecton]\napi_key = {entry}\n")
    found = load(tmp_path, {"BLANK": " "})
    with pytest.raises(SettingsError, match=match):
        found.tables["tecton"]


def test_a_store_is_used_without_the_secrets_of_another(tmp_path):
    write(
        tmp_path / "featkit.toml",
        "[tecton]\napi_key = { env = 'KEY' }\n[feast]\ntoken = { env = 'FEAST' }\n",
    )
    found = load(tmp_path, {"FEAST": CANARY})
    assert found.tables["feast"]["token"].reveal() == CANARY
    assert "tecton" in found.tables
    assert repr(found.tables) == "<Tables ['tecton', 'feast']>"


@pytest.mark.parametrize("entry", ["{ env = 'KEY', file = 'x' }", "{ env = 1 }", "{ x = 'KEY' }"])
def test_other_tables_are_left_as_they_are(tmp_path, entry):
    write(tmp_path / "featkit.toml", f"[tecton]\napi_key = {entry}\n")
    assert isinstance(load(tmp_path, {"KEY": CANARY}).tables["tecton"]["api_key"], dict)


def test_secret_never_shows(caplog):
    secret = Secret(CANARY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>20}",
        "%s %r" % (secret, secret),  # noqa: UP031 - people still write it
        repr({"key": [secret]}),
        json.dumps({"key": secret}, default=str),
        repr(vars(type(secret))),
    ]
    logging.getLogger("featkit.test").warning("%s", secret)
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError(secret)
    framed = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown += [*framed.format(), repr(caught.value), str(caught.value)]
    assert CANARY not in "".join([*shown, caplog.text])
    assert "***" in shown[0]


@pytest.mark.parametrize("serialize", [pickle.dumps, copy.copy, copy.deepcopy])
def test_secret_is_not_serialized(serialize):
    with pytest.raises(TypeError, match="not serialized") as caught:
        serialize(Secret(CANARY))
    assert CANARY not in str(caught.value)
