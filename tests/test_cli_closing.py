"""What a command of the command line opens, it closes, however it ends."""

import sqlite3

import polars as pl
import pytest
from typer.testing import CliRunner

from featkit.cli import app
from featkit.testing import contract_views
from tests.fakes.feast import PROJECT, FeastFake, served


@pytest.fixture
def connections(monkeypatch):
    """Watch the SQLite files that are opened: the garbage collector may close none of them."""
    opened = []
    connect = sqlite3.connect

    def watched(*arguments, **options):
        opened.append(connect(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", watched)
    return opened


def is_closed(connection):
    try:
        connection.execute("select 1")
    except sqlite3.ProgrammingError as error:
        return "closed" in str(error)
    return False


@pytest.fixture
def run(empty_home):
    """Run a command on a Feast over HTTP, with a cache on disk."""
    with served(FeastFake(contract_views())) as url:
        store = f'target = "feast+{url}"\n[feast]\nregistry_url = "{url}"\nproject = "{PROJECT}"\n'
        cache = f'[cache]\nbackend = "disk"\npath = "{empty_home / "cache.sqlite"}"\n'
        (empty_home / "featkit.toml").write_text(store + cache, "utf-8")
        pl.DataFrame({"customer_id": [1, 2]}).write_csv(empty_home / "in.csv")
        yield lambda *words: CliRunner().invoke(app, words, catch_exceptions=False)


COMMANDS = {  # and the exit code that each ends with
    "views": 0,
    "show customers": 0,
    "show nobody": 1,
    "lookup customers 1": 0,
    "lookup customers 4711": 1,
    "lookup customers one": 2,
    "enrich in.csv out.csv -f customers:visits": 0,
    "enrich in.csv out.csv -f customers:nothing": 1,
    "training-set in.csv out.csv --at when -f customers:visits": 2,
    "staleness -v customers --entities in.csv": 1,
    "audit in.csv --at when -f customers:visits": 2,
    "health": 0,
    "cache stats": 0,
    "cache info customers": 0,
    "cache clear --older-than soon": 2,
    "cache clear": 0,
}


def test_a_command_closes_what_it_opens(run, connections):
    for words, code in COMMANDS.items():
        done = run(*words.split())
        assert done.exit_code == code, done.output
        assert all(map(is_closed, connections)), words
    assert len(connections) > len(COMMANDS)
