"""The command line: what it prints, what it writes, how it ends."""

import datetime as dt
import json
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import featkit
from featkit.cli import app

HEAVY = ["pandas", "polars", "pyarrow", "numpy", "httpx", "ipywidgets", "matplotlib"]
FORMATS = {
    ".parquet": (pl.DataFrame.write_parquet, pl.read_parquet),
    ".csv": (pl.DataFrame.write_csv, pl.read_csv),
    ".arrow": (pl.DataFrame.write_ipc, pl.read_ipc),
    ".feather": (pl.DataFrame.write_ipc, pl.read_ipc),
}


@pytest.fixture
def run(store_folder, now, monkeypatch, tmp_path):
    """Run the command in an empty folder, on the embedded store at its time."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, store=f"parquet:{store_folder}"):
        where = ["--store", store, "--now", now.isoformat()] if store else []
        command, *others = map(str, arguments)
        # as pytest calls it, nothing may end in a traceback
        return CliRunner().invoke(app, [command, *where, *others], catch_exceptions=False)

    return run


def spawn(*arguments, **options):
    """Run the console script in a process of its own."""
    command = [sys.executable, "-c", "from featkit.cli import main; main()", *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, encoding="utf-8", timeout=60, **options
    )


@pytest.fixture
def shops(tmp_path):
    """Write a frame of visits to shops as one file of each format."""
    frame = pl.DataFrame(
        {"visit": [7, 8, 9, 10], "shop": [2, None, 1, 2], "note": ["a", "", None, "ü"]}
    )
    for suffix, (write, _) in FORMATS.items():
        write(frame, tmp_path / f"visits{suffix}")
    (tmp_path / "broken.parquet").write_text("no parquet", "utf-8")
    return frame


# -- starting ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom featkit.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "--help"]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=60)
    assert done.stderr.strip() == "[]"
    for name in ("demo", "views", "show", "lookup", "enrich", "health"):
        assert f" {name} " in done.stdout


def test_console_script_is_main(request):
    project = tomllib.loads((request.config.rootpath / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["scripts"] == {"featkit": "featkit.cli:main"}


@pytest.mark.slow
def test_the_module_is_the_script():
    command = [sys.executable, "-m", "featkit", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"featkit {featkit.__version__}\n"


def test_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"featkit {featkit.__version__}\n"


@pytest.mark.parametrize("command", ["demo", "views", "show", "lookup", "enrich", "health"])
def test_every_command_takes_a_store_and_a_clock(command):
    text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
    assert "--store" in text
    assert "--now" in text
    assert ("--json" in text) == (command != "demo")


# -- output --------------------------------------------------------------------------------------


def test_in_a_pipe_no_line_is_filled_with_blanks(run):
    for command in (["views"], ["show", "shops"], ["lookup", "shops", 1], ["health"]):
        lines = run(*command).stdout.splitlines()
        assert len(lines) > 3
        assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_an_output_that_cannot_be_written_is_one_line(store_folder):
    command = [sys.executable, "-m", "featkit", "views", "--store", f"parquet:{store_folder}"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    first, *_ = done.stderr.splitlines()
    assert first == "error: [Errno 28] No space left on device"
    assert "Traceback" not in done.stderr
    assert done.returncode != 1


# -- health --------------------------------------------------------------------------------------


def test_a_store_that_can_be_used_is_healthy(run, tmp_path):
    done = run("health", "--json", tmp_path / "health.json")
    assert (done.exit_code, done.stderr) == (0, "")
    first, _, _, check = done.stdout.splitlines()
    assert " is healthy (" in first
    assert check.split()[:3] == ["feature", "views", "ok"]
    assert json.loads((tmp_path / "health.json").read_text("utf-8"))["healthy"] is True


@pytest.mark.parametrize("options", [["--json"], ["--wait", "10ms", "--json"]])
def test_a_store_that_cannot_be_used_ends_with_1(run, tmp_path, options):
    (tmp_path / "feature_views.toml").write_text("no toml", "utf-8")
    done = run("health", *options, store=f"parquet:{tmp_path}")
    assert done.exit_code == 1
    (check,) = json.loads(done.stdout)["checks"]
    assert check["problem"] == "unreadable"


def test_a_store_that_is_repaired_is_waited_for(run, store_folder, tmp_path):
    definition = shutil.copytree(store_folder, tmp_path / "copy") / "feature_views.toml"
    whole = definition.read_text("utf-8")
    definition.write_text("no toml", "utf-8")
    threading.Timer(0.3, definition.write_text, [whole, "utf-8"]).start()
    assert run("health", "--wait", "1m", store=f"parquet:{definition.parent}").exit_code == 0


# -- views and show ------------------------------------------------------------------------------


def test_views_lists_views_and_services(run):
    done = run("views")
    assert done.exit_code == 0
    assert done.stderr == ""
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["shops", "shop", "1d", "9"] in lines
    assert ["routes", "origin,", "dest", "static", "1"] in lines
    assert "feature service model" in done.stdout
    assert "  shops:visits" in done.stdout.splitlines()


def test_views_as_json(run):
    content = json.loads(run("views", "--json").stdout)
    views = {view["name"]: view for view in content["feature_views"]}
    assert views["shops"]["ttl_seconds"] == 86400
    assert views["routes"]["ttl_seconds"] is None
    assert [key["join_key"] for key in views["routes"]["entities"]] == ["origin", "dest"]
    assert views["small"]["entities"][0]["dtype"] == "int32"
    (service,) = content["feature_services"]
    assert service["features"] == ["shops:visits", "cities:people"]


def test_show_describes_one_view(run):
    done = run("show", "shops")
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["join", "keys", "shop", "(int64)"] in lines
    assert ["ttl", "1d"] in lines
    assert ["tags", "list[string]"] in lines
    assert json.loads(run("show", "shops", "--json").stdout)["name"] == "shops"


def test_text_of_a_store_is_no_markup(tmp_path):
    frame = pl.DataFrame({"k": [1], "f": [1]})
    text = "[red]no[/red] :smile: [/]"
    featkit.write_view(tmp_path, frame, name="v", join_keys="k", description=text)
    done = CliRunner().invoke(app, ["show", "v", "--store", f"parquet:{tmp_path}"])
    assert text in done.stdout


# -- lookup --------------------------------------------------------------------------------------


def cells(done):
    """Read what a lookup printed as JSON: by key, the values, statuses and event timestamps."""
    return [
        (
            tuple(row["key"].values()),
            {name: tuple(cell.values()) for name, cell in row["features"].items()},
        )
        for row in json.loads(done.stdout)
    ]


def test_lookup_tells_value_status_and_time(run, now):
    done = run("lookup", "shops", "1", "3", "4", "-f", "visits", "-f", "rating", "--json")
    noon = (now - dt.timedelta(hours=12)).isoformat().replace("+00:00", "Z")
    old = (now - dt.timedelta(days=30)).isoformat().replace("+00:00", "Z")
    assert done.exit_code == 0
    assert cells(done) == [
        ((1,), {"visits": (10, "PRESENT", noon), "rating": (4.5, "PRESENT", noon)}),
        ((3,), {"visits": (None, "NULL", noon), "rating": (None, "NULL", noon)}),
        ((4,), {"visits": (40, "EXPIRED", old), "rating": (1.0, "EXPIRED", old)}),
    ]
    assert done.stderr.startswith("note: shops: ")


@pytest.mark.parametrize("named", [["shops", "1", "--feature", "visits"], ["shops:visits", "1"]])
def test_lookup_prints_a_table(run, named):
    done = run("lookup", *named)
    header, _, row = done.stdout.splitlines()
    assert header.split() == ["shop", "feature", "value", "status", "event", "timestamp"]
    assert row.split() == ["1", "visits", "10", "PRESENT", "2024-05-01", "12:00:00Z"]


def test_lookup_of_an_unknown_entity_ends_with_1(run):
    done = run("lookup", "shops", "1", "99", "-f", "visits", "--json")
    assert done.exit_code == 1
    assert [own["visits"][1] for _, own in cells(done)] == ["PRESENT", "NOT_FOUND"]


@pytest.mark.parametrize(
    ("key", "parts", "km"),
    [
        ("a,b", ("a", "b"), 1),
        ('a,"b|c"', ("a", "b|c"), 2),
        ("b,", ("b", ""), 6),
        (",ab", ("", "ab"), 5),
    ],
)
def test_a_composite_key_is_written_as_csv(run, key, parts, km):
    assert cells(run("lookup", "routes", key, "--json")) == [(parts, {"km": (km, "PRESENT", None)})]


def test_a_part_with_a_comma_is_quoted(tmp_path):
    frame = pl.DataFrame({"a": ["Paris, TX"], "b": ["x"], "f": [1]})
    featkit.write_view(tmp_path, frame, name="v", join_keys=["a", "b"])
    arguments = ["lookup", "v", '"Paris, TX",x', "--store", f"parquet:{tmp_path}", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert cells(done) == [(("Paris, TX", "x"), {"f": (1, "PRESENT", None)})]


@pytest.mark.parametrize(
    ("view", "key"),
    [
        ("cities", "a|b"),
        ("cities", ""),
        ("days", "2024-03-31"),
        ("flags", "true"),
        ("moments", "2024-03-31T00:30:00Z"),
        ("people", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("prices", "1.10"),
        ("small", "2"),
        ("weights", "0.5"),
    ],
)
def test_keys_of_every_type_can_be_typed(run, view, key):
    done = run("lookup", view, key, "--json")
    assert done.exit_code == 0, done.output


def test_a_negative_key_follows_two_dashes(run):
    done = run("lookup", "shops", "-f", "visits", "--json", "--", "-1")
    assert cells(done) == [((-1,), {"visits": (None, "NOT_FOUND", None)})]


@pytest.mark.parametrize(
    "where",
    [["lookup", "--json", "-f", "km", "routes", "a,b"], ["lookup", "routes", "--json", "-", "a,b"]],
)
def test_json_goes_to_stdout_where_no_file_is_named(run, where):
    assert cells(run(*where)) == [(("a", "b"), {"km": (1, "PRESENT", None)})]


@pytest.mark.parametrize("where", [["--json", "found.json"], ["--json=found.json"]])
def test_json_goes_to_the_file_that_is_named(run, where, tmp_path):
    done = run("lookup", "routes", "a,b", *where)
    assert done.output == ""
    (row,) = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert row["key"] == {"origin": "a", "dest": "b"}


# -- enrich --------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_enrich_does_what_the_library_does(run, shops, store, source, to):
    done = run("enrich", f"visits{source}", f"out{to}", "-f", "shops:visits", "-f", "shops:title")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    expected = shops.features.enrich(["shops:visits", "shops:title"], store=store)
    found = FORMATS[to][1](f"out{to}")
    if ".csv" in (source, to):  # where an empty text and a null can look alike
        same = pl.col(pl.String).replace("", None)
        expected, found = expected.with_columns(same), found.with_columns(same)
    assert_frame_equal(found, expected)


@pytest.mark.usefixtures("shops")
def test_the_summary_counts_the_rows_of_the_file(run):
    done = run("enrich", "visits.parquet", "out.parquet", "-f", "shops:visits")
    assert done.stderr.startswith("4 rows, 2 distinct keys: 0 cached, 2 fetched in 1 call")
    content = json.loads(
        run("enrich", "visits.csv", "o.csv", "-f", "shops:visits", "--json").stdout
    )
    (part,) = content["views"]
    assert (content["rows"], part["null_keys"], part["unique"]) == (4, 1, 2)
    assert part["statuses"] == {"PRESENT": 3}


def test_text_goes_from_csv_to_csv_as_it_is(run, tmp_path):
    (tmp_path / "in.csv").write_text('code,city,x,y\n007,Oslo,1.50,""\n1e3,Rome,,"a,b"\n', "utf-8")
    assert run("enrich", "in.csv", "out.csv", "-f", "cities:people").exit_code == 0
    text = (tmp_path / "out.csv").read_text("utf-8")
    assert text == 'code,city,x,y,people\n007,Oslo,1.50,"",1\n1e3,Rome,,"a,b",0\n'


def test_a_key_of_digits_stays_text_where_the_entity_is_text(tmp_path):
    featkit.write_view(
        tmp_path, pl.DataFrame({"zip": ["01234"], "f": [5]}), name="v", join_keys="zip"
    )
    (tmp_path / "in.csv").write_text("place\n01234\n1234\n", "utf-8")
    paths = [str(tmp_path / "in.csv"), str(tmp_path / "out.parquet")]
    where = ["--on", "zip=place", "--store", f"parquet:{tmp_path}"]
    done = CliRunner().invoke(app, ["enrich", *paths, "-f", "v:f", *where])
    assert done.exit_code == 0, done.output
    assert pl.read_parquet(paths[1]).rows() == [("01234", 5), ("1234", None)]


def test_options_of_enrich(run, shops, tmp_path):
    shops.rename({"shop": "place"}).write_parquet(tmp_path / "in.parquet")
    done = run(
        *("enrich", "in.parquet", "out.parquet", "--feature", "shops:visits", "--service", "model"),
        *("--on", "shop=place", "--on", "city=note", "--prefix", "{view}__"),
    )
    assert done.exit_code == 2  # shops:visits is in the service, too
    assert "requested twice" in done.stderr
    done = run(
        *(
            "enrich",
            "in.parquet",
            "out.parquet",
            "--service",
            "model",
            "--timestamps",
            "--statuses",
        ),
        *("--on", "shop=place", "--on", "city=note", "--prefix", "{view}__"),
    )
    assert done.exit_code == 0, done.output
    assert pl.read_parquet(tmp_path / "out.parquet").columns[3:] == [
        *("shops__visits", "shops__visits__event_timestamp", "shops__visits__status"),
        *("cities__people", "cities__people__event_timestamp", "cities__people__status"),
    ]


def test_expired_values_are_noted_and_can_become_null(run, tmp_path):
    pl.DataFrame({"shop": [1, 4]}).write_parquet(tmp_path / "in.parquet")
    done = run("enrich", "in.parquet", "out.parquet", "-f", "shops:visits")
    note, *_ = done.stderr.splitlines()
    assert note == (
        "note: shops: 1 of 2 values are older than their ttl (1d) and were kept; "
        "--expired null blanks them"
    )
    assert pl.read_parquet(tmp_path / "out.parquet")["visits"].to_list() == [10, 40]
    assert (
        run(
            "enrich", "in.parquet", "out.parquet", "-f", "shops:visits", "--expired", "null"
        ).exit_code
        == 0
    )
    assert pl.read_parquet(tmp_path / "out.parquet")["visits"].to_list() == [10, None]


def test_unknown_entities_can_be_noted_or_refused(run, tmp_path):
    pl.DataFrame({"shop": [1, 99]}).write_parquet(tmp_path / "in.parquet")
    warned = run(
        "enrich", "in.parquet", "out.parquet", "-f", "shops:visits", "--on-missing", "warn"
    )
    assert (warned.exit_code, warned.stderr[:12]) == (0, "note: shops:")
    refused = run(
        "enrich", "in.parquet", "out.parquet", "-f", "shops:visits", "--on-missing", "raise"
    )
    assert refused.exit_code == 1
    assert "99" in refused.stderr
    assert "--on-missing null" in refused.stderr


@pytest.mark.usefixtures("shops")
def test_what_was_there_stays_when_enrich_fails(run, tmp_path):
    before = (tmp_path / "visits.csv").read_bytes()
    assert run("enrich", "visits.parquet", "visits.csv", "-f", "shops:tags").exit_code == 2
    assert (tmp_path / "visits.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == len(FORMATS) + 1


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_can_take_its_own_place(run, shops, tmp_path, suffix):
    name = f"visits{suffix}"
    assert run("enrich", name, name, "-f", "shops:visits").exit_code == 0
    assert FORMATS[suffix][1](tmp_path / name).columns == [*shops.columns, "visits"]


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("show shopz", 1, "feature_views.toml; did you mean 'shops'?"),
        ("lookup shops 1 -f visitz", 1, "did you mean 'visits'?"),
        ("lookup shops one", 2, "the key 'shop' is int64, which cannot be read from 'one'"),
        ("lookup routes a", 2, "keys of the form origin,dest: not 'a'"),
        ("lookup shops", 2, "Missing argument"),
        ("enrich visits.csv o.csv", 2, "--feature VIEW:FEATURE"),
        ("enrich visits.csv o.csv -f shops:visitz", 1, "did you mean 'visits'?"),
        ("enrich visits.csv o.csv --service modle", 1, "did you mean 'model'?"),
        ("enrich visits.csv o.xlsx -f shops:visits", 2, "there are .parquet, .csv, .arrow"),
        ("enrich visitz.csv o.csv -f shops:visits", 2, "there is no file visitz.csv"),
        ("enrich visits.csv visits.csv/o.csv -f shops:visits", 2, "cannot become visits.csv/o.csv"),
        ("enrich visits.csv o.csv -f cities:people", 2, "name another with --on city=COLUMN"),
        ("enrich visits.csv o.csv -f cities:people --on note", 2, "--on takes KEY=COLUMN"),
        ("enrich visits.csv o.csv -f cities:people --on x=note", 2, "--on maps 'x'"),
        (
            "enrich visits.csv o.csv -f shops:visits --expired no",
            2,
            "--expired no is not an option",
        ),
        ("enrich visits.csv o.csv -f shops:visits --on shop=note", 2, "cannot become o.csv"),
        ("enrich broken.parquet o.csv -f shops:visits", 2, "broken.parquet cannot become o.csv"),
        ("enrich visits.csv o.csv -f shops:title --on shop=visit --prefix no", 0, ""),
        ("views --json no/where.json", 2, "no/where.json cannot be written"),
        ("views --now 2024", 2, "--now '2024' is no ISO 8601 time"),
        ("views --now 2024-05-01", 2, "give it a zone"),
        ("views --store demoo:flights", 2, "did you mean 'demo'?"),
        ("views --store parquet:nowhere", 2, "feature_views.toml"),
        ("views --colour", 2, "No such option"),
    ],
)
@pytest.mark.usefixtures("shops")
def test_an_error_is_one_message(run, arguments, code, words):
    done = run(*arguments.split())
    assert done.exit_code == code, done.output
    assert words in " ".join(done.stderr.split())
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    if code and "Usage" not in done.stderr:
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")


@pytest.mark.usefixtures("empty_home")
def test_without_a_store_the_option_is_named(run):
    done = run("views", store=None)
    assert done.exit_code == 2
    assert "--store demo:flights or --store parquet:PATH" in done.stderr


def test_naive_times_name_the_setting(tmp_path):
    frame = pl.DataFrame({"k": [1], "t": [dt.datetime(2024, 5, 1)], "f": [1]})  # noqa: DTZ001 - naive
    frame.write_parquet(tmp_path / "v.parquet")
    (tmp_path / "feature_views.toml").write_text(
        '[views.v]\nsource = "v.parquet"\njoin_keys = ["k"]\ntimestamp = "t"\n', "utf-8"
    )
    done = CliRunner().invoke(app, ["views", "--store", f"parquet:{tmp_path}"])
    assert done.exit_code == 2
    assert "timezone = 'UTC' in featkit.toml" in done.stderr


def test_a_store_can_come_from_the_settings(run, store_folder, empty_home):
    (empty_home / "featkit.toml").write_text(f'target = "parquet:{store_folder}"\n', "utf-8")
    done = run("show", "routes", store=None)
    assert done.exit_code == 0, done.output
    assert "origin (string), dest (string)" in done.stdout


# -- a process of its own ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pipe_gets_whole_lines_without_colours(store_folder):
    done = spawn("views", "--store", f"parquet:{store_folder}")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("shops ")]
    assert line.split() == ["shops", "shop", "1d", "9"]


@pytest.mark.slow
def test_a_pipe_does_not_wrap_at_80_columns(tmp_path):
    text = "words " * 40
    frame = pl.DataFrame({"k": [1], "f": [1]})
    featkit.write_view(tmp_path, frame, name="v", join_keys="k", description=text)
    done = spawn("show", "v", "--store", f"parquet:{tmp_path}")
    assert any(text.strip() in line for line in done.stdout.splitlines())


@pytest.mark.slow
def test_an_error_ends_the_process_with_its_code(store_folder):
    done = spawn("lookup", "shops", "1", "-f", "visitz", "--store", f"parquet:{store_folder}")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "error: feature view 'shops' has no feature 'visitz'; did you mean 'visits'?\n"
    )
