"""`featkit staleness`: what it prints and writes, and the exit code that CI obeys."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from lxml import etree
from typer.testing import CliRunner

import featkit
from featkit.cli import app

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parent / "data" / "junit.xsd"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write views that pass, warn, fail, and cannot be judged."""
    folder = tmp_path_factory.mktemp("store")
    for name, ages, ttl in (
        ("good", [1, 2], "1d"),
        ("late", [1, 20], "1d"),
        ("old", [1, 30], "1d"),
        ("endless", [1], None),
    ):
        frame = pl.DataFrame(
            {"shop": range(len(ages)), "at": [NOON - age * HOUR for age in ages], "x": 1}
        )
        featkit.write_view(folder, frame, name=name, join_keys="shop", timestamp="at", ttl=ttl)
    return folder


@pytest.fixture
def run(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments, store=f"parquet:{folder}", now=NOON):
        where = ["--store", store, "--now", now.isoformat()]
        command = ["staleness", *where, *map(str, arguments)]
        return CliRunner().invoke(app, command, catch_exceptions=False)

    return run


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-v", "good"], 0),
        (["-v", "late"], 0),
        (["-v", "late", "--fail-on", "warn"], 1),
        (["-v", "old"], 1),
        ([], 1),
        (["-v", "old", "--error-after", "2d"], 0),
        (["-v", "old", "--error-after", "old=2d"], 0),
        (["-v", "old", "--warn-after", "2h", "--error-after", "2d", "--fail-on", "warn"], 1),
        (["-v", "old", "--tolerate", "0.5"], 0),
        (["-v", "endless"], 2),
        (["-v", "endless", "-v", "good"], 0),
        (["-v", "endless", "-v", "good", "--fail-on", "unknown"], 1),
        (["-v", "endless", "--error-after", "2h"], 0),
        (["-v", "god"], 2),
        (["-f", "good:y"], 2),
        (["-v", "good", "--fail-on", "always"], 2),
        (["-v", "good", "--error-after", "5 parsecs"], 2),
        (["-v", "good", "--error-after", "good=2d", "--error-after", "3d"], 2),
        (["-v", "good", "--tolerate", "2"], 2),
        (["-v", "good", "--sample", "0"], 2),
        (["--entities", "absent.csv"], 2),
        (["--wrong"], 2),
        (["-v", "good", "--refresh"], 0),
    ],
)
def test_exit_code(run, arguments, code):
    done = run(*arguments)
    assert done.exit_code == code
    assert "Traceback" not in done.output
    assert bool(done.stderr) == (code == 2 and "endless" not in arguments)


def test_a_store_that_cannot_be_reached_is_2(run):
    done = run(store="parquet:nowhere")
    assert (done.exit_code, done.stderr.startswith("error: there is no ")) == (2, True)


def test_a_moment_that_cannot_be_read_is_2(folder):
    command = ["staleness", "--store", f"parquet:{folder}", "--now", "noon"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert (done.exit_code, "no ISO 8601 time" in done.stderr) == (2, True)


def test_messages_are_in_the_words_of_the_command_line(run):
    done = run("-v", "good", "--error-after", "5 parsecs")
    assert done.stderr.startswith("error: error_after '5 parsecs' cannot be read; write ")
    assert "'7d', '1h30m'" in done.stderr
    done = run("-v", "good", "--error-after", "good=2d", "--error-after", "3d")
    assert "--error-after takes one age for all views, or VIEW=AGE for each" in done.stderr


def test_table_and_reasons(run):
    lines = [line.rstrip() for line in run("-v", "good", "-v", "old").stdout.splitlines()]
    assert lines[0].endswith("at 2024-05-01 12:00 UTC: error")
    assert lines[1].split()[:3] == ["view", "verdict", "entities"]
    assert lines[4].split()[:7] == ["old", "error", "2", "1h", "1h", "1d6h", "1d6h"]
    assert "old: 1 of 2 entities older than 1d; the oldest is 1d6h old" in lines


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow"])
def test_entities_of_a_file(run, suffix, tmp_path):
    path = tmp_path / f"shops{suffix}"
    write = {
        ".parquet": pl.DataFrame.write_parquet,
        ".csv": pl.DataFrame.write_csv,
        ".arrow": pl.DataFrame.write_ipc,
    }
    write[suffix](pl.DataFrame({"shop": [0, 0, 404], "note": ["a", "b", None]}), path)
    done = run("--entities", path, "--json")
    views = {view["view"]: view for view in json.loads(done.stdout)["views"]}
    assert {name: view["n"] for name, view in views.items()} == dict.fromkeys(
        ["good", "late", "old", "endless"], 2
    )
    assert (views["old"]["verdict"], views["old"]["features"][0]["missing"]) == ("pass", 1)
    assert done.exit_code == 0


def test_entities_that_cannot_be_read(run, tmp_path):
    (tmp_path / "broken.parquet").write_text("no parquet", "utf-8")
    pl.DataFrame({"visit": [1]}).write_parquet(tmp_path / "strangers.parquet")
    for name, reason in (
        ("broken.parquet", "cannot be read"),
        ("strangers.parquet", "join keys of no feature view"),
        ("shops.txt", "the suffix tells the format"),
    ):
        done = run("--entities", name)
        assert (done.exit_code, reason in done.stderr) == (2, True)


def test_all_its_files_are_written_though_the_audit_fails(run, tmp_path):
    done = run(
        *("--json", "out.json", "--junit", "out.xml", "--html", "out.html"),
        *("--record", "out.parquet", "--compare-offline"),
    )
    assert done.exit_code == 1
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["verdict"] == "error"
    root = etree.parse(tmp_path / "out.xml").getroot()
    SCHEMA.assertValid(root)
    assert (root.get("failures"), root.get("skipped")) == ("1", "1")
    assert (tmp_path / "out.html").read_text("utf-8").startswith("<!doctype html>")
    run("--record", "out.parquet", now=NOON + 24 * HOUR)
    assert featkit.StalenessReport.trend("out.parquet").frame["at"].n_unique() == 2
    assert done.stdout.startswith("staleness of ")


def test_json_alone_goes_to_stdout(run):
    read = json.loads(run("-v", "good", "--json").stdout)
    assert read["views"][0]["population"] == "all 2 entities of the view"


def test_a_sample(run):
    read = json.loads(run("-v", "good", "--sample", "1", "--json", "-").stdout)
    assert read["views"][0]["population"] == "1 of 2 entities, drawn evenly"


def test_features_may_be_named(run):
    read = json.loads(run("-f", "good:x", "--json").stdout)
    assert [each["feature"] for each in read["views"][0]["features"]] == ["x"]


@pytest.mark.slow
def test_help_loads_no_heavy_library():
    code = (
        "import sys\nfrom featkit.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'polars', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "staleness", "--help"]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


# -- a view that is broken ------------------------------------------------------------------------


@pytest.fixture
def broken(folder, tmp_path):
    """The same store with a view whose source is gone."""
    broken = tmp_path / "store"
    shutil.copytree(folder, broken)
    frame = pl.DataFrame({"shop": [0], "at": [NOON - HOUR], "x": 1})
    featkit.write_view(broken, frame, name="bad", join_keys="shop", timestamp="at", ttl="1d")
    shutil.rmtree(broken / "bad")
    pl.DataFrame({"shop": [0, 1]}).write_csv(tmp_path / "shops.csv")
    return f"parquet:{broken}"


@pytest.mark.parametrize(
    ("views", "more", "code"),
    [
        (["good"], [], 0),
        (["good", "bad"], [], 2),  # not all could be told
        (["bad"], [], 2),
        (["good", "old", "bad"], [], 1),  # what is too old is, whatever else is the matter
        (["good", "bad"], ["--fail-on", "unknown"], 2),
        (["good", "bad"], ["--entities", "shops.csv"], 2),
    ],
)
def test_exit_code_where_a_source_is_gone(run, broken, views, more, code):
    named = [word for view in views for word in ("-v", view)]
    done = run(*named, *more, "--junit", "out.xml", "--json", "out.json", store=broken)
    assert done.exit_code == code
    report = json.loads(Path("out.json").read_text("utf-8"))
    assert {each["view"] for each in report["views"]} == set(views)
    assert SCHEMA.validate(etree.parse("out.xml"))
