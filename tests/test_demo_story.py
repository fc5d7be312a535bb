"""The story of `featkit demo`: it fits a small terminal, and its numbers are those of the data."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import featkit
from featkit.cli import app

pytestmark = pytest.mark.slow  # all the flights of 2013


@pytest.fixture(scope="module")
def story():
    done = CliRunner().invoke(app, ["demo"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stderr == ""  # no warnings, no notes
    return [line.rstrip() for line in done.stdout.splitlines()]


def test_story_fits_a_small_terminal_with_its_prompt(story):
    assert len(story) <= 23
    widest = max((line for line in story if set(line) != {"─"}), key=len)
    assert len(widest) <= 80


def test_story_shows_the_frame_and_the_summary(story):
    text = "\n".join(story)
    assert re.search(r"^N14228 +EWR +IAH +15\.0 +149 +5 +208\.5$", text, re.MULTILINE)
    assert "336,776 rows, 8,329 distinct keys" in text
    for name in ("origin_weather", "aircraft", "carrier_history", "tail_history", "route_history"):
        assert re.search(rf"^{name} ", text, re.MULTILINE)


def test_story_tells_the_truth_about_statuses(story):
    store = featkit.connect("demo:flights")
    spine = featkit.demo.flights("polars")
    found = store.lookup(spine.select("tailnum").unique(), ["aircraft:seats"])
    lost = (found.statuses["seats"] == featkit.Status.NOT_FOUND).sum()
    with pytest.warns(featkit.errors.ExpiredWarning):
        weather = store.lookup(["EWR", "JFK", "LGA"], ["origin_weather:wind_speed"])
    assert {f"{time:%d %H}" for time in weather.stamps("wind_speed")} == {"30 23"}  # 1d1h before
    text = " ".join(" ".join(story).split())
    assert "origin_weather is 1d1h old, its ttl is 3h" in text
    assert "clock stands at 2014-01-01 00:00 UTC" in text
    assert f"{lost:,} keys are not in aircraft" in text
    assert f"{spine['tailnum'].null_count():,} flights have no tailnum" in text
    old = store.staleness(["tail_history:*"])["tail_history"]
    assert f"tail_history: {old.ages.beyond_error:,} of {old.n:,} entities older than 30d" in text


def test_story_at_another_time():
    done = CliRunner().invoke(
        app, ["demo", "--now", "2013-07-01T12:00:00Z"], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "EXPIRED" in done.stdout  # aircraft that have not been back for a month
    assert "origin_weather is" not in done.stdout


@pytest.mark.slow
def test_flights_have_the_accessor_though_pandas_came_after_connecting():
    code = (
        "import featkit, sys\n"
        "featkit.connect('demo:flights')\n"
        "assert 'pandas' not in sys.modules\n"
        "print(featkit.demo.flights().head(1).features.enrich(['aircraft:seats'])['seats'][0])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout == "149\n"
