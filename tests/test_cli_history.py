"""The commands `featkit training-set` and `featkit audit`: files in, files out, exit codes."""

import datetime as dt
import json

import polars as pl
import pytest
from typer.testing import CliRunner

import featkit
from featkit.cli import app

DAY = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A store with a row every hour, and a spine as Parquet and as CSV."""
    monkeypatch.chdir(tmp_path)
    rows = pl.DataFrame(
        {
            "shop": [1] * 10 + [2] * 10,
            "t": [DAY + n * HOUR for n in range(10)] * 2,
            "visits": range(20),
        }
    )
    featkit.write_view("store", rows, name="hourly", join_keys="shop", timestamp="t", ttl="3h")
    spine = pl.DataFrame(
        {"shop": [1, 2, 1, 3], "at": [DAY + 4.5 * HOUR, DAY + 2 * HOUR, DAY + 20 * HOUR, DAY]}
    )
    spine.write_parquet("spine.parquet")
    text = spine.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    text.write_csv("spine.csv")
    text.with_columns(pl.col("at").str.strip_suffix("Z")).write_csv("naive.csv")
    text.rename({"shop": "visits"}).with_columns(shop=1).write_csv("taken.csv")
    text.with_columns(at=pl.lit("01/05/2024")).write_csv("odd.csv")
    text.with_columns(at=pl.Series([None, "2024-05-01", "2024-05-01T00:00Z", None])).write_csv(
        "both.csv"
    )
    return tmp_path


def run(*arguments):
    command, *others = map(str, arguments)
    given = [command, "--store", "parquet:store", *others]
    return CliRunner().invoke(app, given, catch_exceptions=False)


def made(name):
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".arrow": pl.read_ipc}
    return read[name[name.index(".") :]](name)


@pytest.mark.parametrize("source", ["spine.parquet", "spine.csv"])
@pytest.mark.parametrize("target", ["out.parquet", "out.csv", "out.arrow"])
def test_training_set_from_file_to_file(folder, source, target):  # noqa: ARG001
    done = run("training-set", source, target, "--at", "at", "-f", "hourly:visits")
    assert done.exit_code == 0
    assert "training set of 4 rows" in done.stderr
    assert made(target).columns == ["shop", "at", "visits"]
    assert made(target)["visits"].to_list() == [4, 12, None, None]
    if source == target.replace("out", "spine"):
        assert made(target)["at"].equals(made(source)["at"])


def test_options_reach_the_join(folder):  # noqa: ARG001
    options = ["--lookback", "1d", "--known-by", "hourly=30m", "--strict", "--timestamps"]
    done = run(
        "training-set",
        "spine.parquet",
        "out.parquet",
        "--at",
        "at",
        "-f",
        "hourly:*",
        "--full-names",
        *options,
    )
    assert done.exit_code == 0
    assert made("out.parquet").columns == [
        "shop",
        "at",
        "hourly__visits",
        "hourly__event_timestamp",
    ]
    assert made("out.parquet")["hourly__visits"].to_list() == [3, 11, 9, None]


def test_explain_writes_nothing(folder):
    done = run(
        "training-set", "spine.parquet", "out.parquet", "--at", "at", "-f", "hourly:*", "--explain"
    )
    assert done.exit_code == 0
    assert "hourly: full, by polars; 20 rows in 1 file" in done.stdout
    assert not (folder / "out.parquet").exists()


def test_report_manifest_and_json(folder):
    done = run(
        *("training-set", "spine.parquet", "out.parquet", "--at", "at", "-f", "hourly:*"),
        *("--report", "report.html", "--manifest", "manifest.json", "--json"),
    )
    assert json.loads(done.stdout)["views"][0]["hit"] == 2
    assert "<!doctype html>" in (folder / "report.html").read_text()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["spine_rows"] == 4
    assert manifest["views"][0]["files"][0]["rows"] == 20


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["spine.parquet", "out.parquet", "--at", "at"], 2, "name features"),
        (["spine.parquet", "out.parquet", "--at", "when", "-f", "hourly:*"], 2, "no such column"),
        (["spine.csv", "out.csv", "--at", "when", "-f", "hourly:*"], 2, "no such column"),
        (["naive.csv", "out.csv", "--at", "at", "-f", "hourly:*"], 2, "naive"),
        (["nope.csv", "out.csv", "--at", "at", "-f", "hourly:*"], 2, "no file nope.csv"),
        (
            ["spine.csv", "spine.csv/out.csv", "--at", "at", "-f", "hourly:*"],
            2,
            "cannot become spine.csv/out.csv",
        ),
        (["spine.csv", "out.xls", "--at", "at", "-f", "hourly:*"], 2, "suffix"),
        (["spine.csv", "out.csv", "--at", "at", "-f", "hourly:nope"], 1, "no feature 'nope'"),
        (
            ["spine.csv", "out.csv", "--at", "at", "-f", "hourly:*", "--known-by", "x="],
            2,
            "--known-by",
        ),
        (
            ["spine.csv", "out.csv", "--at", "at", "-f", "hourly:*", "--memory-limit", "x"],
            2,
            "--memory-limit 'x' cannot be read",
        ),
        (
            ["spine.csv", "out.csv", "--at", "at", "-f", "hourly:*", "--engine", "x"],
            2,
            "--engine 'x'",
        ),
        (["taken.csv", "out.csv", "--at", "at", "-f", "hourly:*"], 2, "--full-names calls it"),
        (
            ["odd.csv", "out.csv", "--at", "at", "-f", "hourly:*"],
            2,
            "'01/05/2024', which is no ISO",
        ),
        (["both.csv", "out.csv", "--at", "at", "-f", "hourly:*"], 2, "'2024-05-01' has none"),
        (
            ["spine.csv", "out.csv", "--at", "at", "-f", "hourly:*", "--report", "spine.csv/r"],
            2,
            "spine.csv/r cannot be written",
        ),
    ],
)
def test_what_cannot_be_done_says_so(folder, arguments, code, words):
    done = run("training-set", *arguments)
    assert done.exit_code == code
    assert words in done.stderr
    assert "featkit_" not in done.stderr
    assert (folder / "out.csv").exists() == ("--report" in arguments)


def test_moments_in_csv_are_written_in_several_ways(folder):  # noqa: ARG001
    moments = [
        *("2024-05-01 02:00:00+00:00", "2024-05-01T02:00:00.5Z", "2024-05-01 07:30:00+0530"),
        *("2024-05-01T02:00Z", None),
    ]
    spine = pl.DataFrame({"at": moments}).with_columns(shop=1)
    spine.write_csv("ways.csv")
    done = run("training-set", "ways.csv", "out.csv", "--at", "at", "-f", "hourly:visits")
    assert done.exit_code == 0
    assert made("out.csv")["visits"].to_list() == [2, 2, 2, 2, None]
    assert made("out.csv")["at"].to_list() == moments


def test_audit_of_csv_reads_all_of_its_times(sets, folder):  # noqa: ARG001
    arguments = ["--at", "at", "-f", "hourly:visits"]
    run("training-set", "spine.csv", "set.csv", *arguments, "--timestamps")
    done = run("audit", "set.csv", *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "timestamps in hourly__event_timestamp" in done.stdout
    late = pl.read_csv("set.csv").rename({"visits": "v", "hourly__event_timestamp": "known"})
    late.with_columns(at=pl.lit("2024-05-01T00:30:00Z"), labelled=pl.col("known")).write_csv(
        "l.csv"
    )
    named = ["-f", "v=hourly:visits", "--timestamp", "known=hourly", "--label-time", "labelled"]
    done = run("audit", "l.csv", "--at", "at", *named, "--tolerance", "0")
    assert done.exit_code == 1
    assert "error: known: the feature is later than the moment of its row" in done.stdout
    assert "has the timestamp of the label" in done.stdout


@pytest.fixture
def sets(folder):  # noqa: ARG001
    """A right training set, and one that knows the next hour."""
    with featkit.connect("parquet:store") as client:
        spine = pl.DataFrame(
            {"shop": [1, 2] * 30, "at": [DAY + (2 + n % 6) * HOUR for n in range(60)]}
        )
        right = client.get_historical_features(spine, "hourly:visits", at="at").frame
        later = spine.with_columns(pl.col("at") + HOUR)
        leaky = client.get_historical_features(later, "hourly:visits", at="at").frame
    right.write_parquet("right.parquet")
    right.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).write_csv("right.csv")
    leaky.with_columns(spine["at"]).write_parquet("leaky.parquet")


@pytest.mark.parametrize("name", ["right.parquet", "right.csv"])
def test_audit_of_a_right_file_is_done(sets, name):  # noqa: ARG001
    done = run("audit", name, "--at", "at", "-f", "hourly:visits")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "nothing found" in done.stdout


def test_audit_of_a_leaking_file_fails(sets, folder):  # noqa: ARG001
    done = run(
        "audit", "leaky.parquet", "--at", "at", "-f", "hourly:visits", "--html", "audit.html"
    )
    assert done.exit_code == 1
    assert "the next row, which was not known yet" in done.stdout
    assert "not known yet" in (folder / "audit.html").read_text()


def test_audit_as_json(sets):  # noqa: ARG001
    done = run("audit", "leaky.parquet", "--at", "at", "-f", "hourly:visits", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"][0]["level"] == "error"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope.parquet", "--at", "at"], "no file"),
        (["right.parquet", "--at", "when"], "no such column"),
        (["right.parquet", "--at", "at", "-f", "hourly:nope"], "no feature 'nope'"),
        (["right.parquet", "--at", "at", "--fail-on", "info"], "--fail-on"),
        (["spine.parquet", "--at", "at", "-f", "hourly:visits"], "--feature COLUMN=hourly:visits"),
        (["right.parquet", "--at", "at", "-f", "a=hourly:visits", "-f", "hourly:*"], "or of none"),
        (["right.parquet", "--at", "at", "--timestamp", "at"], "--timestamp takes COLUMN=VIEW"),
        (["right.parquet", "--at", "at", "--label", "nope"], "--label 'nope'"),
        (
            ["right.parquet", "--at", "at", "--label", "shop", "--html", "right.csv/x"],
            "right.csv/x cannot be written",
        ),
    ],
)
def test_audit_that_cannot_be_done_is_not_one_that_found_something(sets, arguments, words):  # noqa: ARG001
    done = run("audit", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_an_audit_of_nothing_has_not_found_that_all_is_well(folder):  # noqa: ARG001
    done = run("audit", "spine.parquet", "--at", "at")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is nothing to check: name the features that the frame holds" in done.stderr


def test_an_audit_of_a_file_without_rows_has_not_found_that_all_is_well(sets):  # noqa: ARG001
    pl.read_parquet("right.parquet").clear().write_parquet("none.parquet")
    done = run("audit", "none.parquet", "--at", "at", "-f", "hourly:*")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is nothing to check in the frame: it has no rows" in done.stderr


def test_outputs_go_into_folders_that_are_made(folder):
    done = run(
        *("training-set", "spine.parquet", "new/a/out.csv", "--at", "at", "-f", "hourly:*"),
        *("--report", "new/b/report.html", "--manifest", "new/c/manifest.json"),
    )
    assert done.exit_code == 0
    assert len(list((folder / "new").glob("*/*.*"))) == 3


def test_options_are_called_as_on_the_command_line(folder):  # noqa: ARG001
    asked = [
        "spine.parquet",
        "out.parquet",
        "--at",
        "at",
        "-f",
        "hourly:visits",
        "--known-by",
        "6h",
    ]
    assert "--known-by '6h' is not an option" in run("training-set", *asked).stderr
    assert "choose 'event', 'created' or VIEW=6h" in run("training-set", *asked).stderr
    audited = run("audit", "spine.parquet", "--at", "at", "--label", "shop", "--sample", "-1")
    assert "error: --sample -1 is not an option" in audited.stderr
