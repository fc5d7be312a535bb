"""``featkit cache``: what is kept on disk or in a Redis, without a store."""

import json

import pytest
from typer.testing import CliRunner

import featkit
from featkit.cli import app
from tests.cache.conftest import empty_redis, redis_url
from tests.cache.remote import Remote, view

__all__ = ["empty_redis", "redis_url"]  # fixtures


def run(*words):
    return CliRunner().invoke(app, ["cache", *map(str, words)], catch_exceptions=False)


@pytest.fixture(params=["disk", pytest.param("redis", marks=pytest.mark.slow)])
def place(request, tmp_path):
    """A cache with rows of two views."""
    place = tmp_path / "cache.sqlite"
    place = place if request.param == "disk" else request.getfixturevalue("empty_redis")
    with featkit.connect(Remote([view("v"), view("w")]), cache=place) as client:
        client.lookup(range(100, 110), ["v:a"])
        client.lookup(range(100, 105), ["v:b"])
        client.lookup(range(100, 103), ["w:a"])
    return place


def test_stats_tell_of_each_view(place):
    shown = run("stats", "--cache", place)
    assert shown.exit_code == 0
    assert "cache.sqlite" in shown.output or "Redis at" in shown.output
    lines = [line.split() for line in shown.output.splitlines()]
    assert ["v", "2", "15"] in [line[:3] for line in lines]
    told = json.loads(run("stats", "--cache", place, "--json").stdout)
    assert [(each["view"], each["segments"], each["rows"]) for each in told["views"]] == [
        ("v", 2, 15),
        ("w", 1, 3),
    ]
    assert told["views"][0]["fetched"].endswith("Z")


def test_info_tells_of_each_segment(place):
    told = json.loads(run("info", "v", "--cache", place, "--json").stdout)
    assert [each["rows"] for each in told] == [10, 5]
    assert str(told[0]["segment"]) in run("info", "v", "--cache", place).output
    assert json.loads(run("info", "nothing", "--cache", place, "--json").stdout) == []


def test_clear_forgets_what_the_options_say(place):
    assert "0 rows in 0 segments" in run("clear", "--expired", "--cache", place).output
    assert "0 rows in 0 segments" in run("clear", "--older-than", "1h", "--cache", place).output
    assert "3 rows in 1 segments are gone" in run("clear", "--view", "w", "--cache", place).output
    told = json.loads(run("clear", "--cache", place, "--json").stdout)
    assert (told["rows"], told["segments"]) == (15, 2)
    assert json.loads(run("stats", "--cache", place, "--json").stdout)["views"] == []


def test_the_settings_say_which_cache(tmp_path, empty_home):
    text = f'[cache]\nbackend = "disk"\npath = "{tmp_path / "mine.sqlite"}"\n'
    (empty_home / "featkit.toml").write_text(text, encoding="utf-8")
    assert "mine.sqlite" in run("stats").output


@pytest.mark.parametrize("words", [["stats"], ["stats", "--cache", "memory"], ["clear"]])
@pytest.mark.usefixtures("empty_home")
def test_a_cache_in_memory_cannot_be_looked_at(words):
    done = run(*words)
    assert done.exit_code == 2
    assert "ends with its process" in done.output


def test_trouble_is_one_message(tmp_path):
    place = tmp_path / "precious.sqlite"
    place.write_text("precious", encoding="utf-8")
    for words in (["stats"], ["info", "v"], ["clear"]):
        done = run(*words, "--cache", place)
        assert done.exit_code == 2
        assert "something else than a cache" in done.output
    assert place.read_text("utf-8") == "precious"
    wrong = run("clear", "--older-than", "soon", "--cache", tmp_path / "x.sqlite")
    assert (wrong.exit_code, "--older-than" in wrong.output) == (2, True)
