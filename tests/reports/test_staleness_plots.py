"""Plots: they draw the figures of the report, on the axes given, and change nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot as plt

import featkit
from featkit import figures
from featkit.errors import InputError
from featkit.testing import MemoryStore, described

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _drawn_in_memory():
    """Draw without a screen; leave no figure and no style behind."""
    plt.close("all")  # what examples of the documentation left open
    plt.switch_backend("agg")
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


@pytest.fixture
def trend(report, tmp_path):
    path = tmp_path / "audits.parquet"
    for days in (0, 1, 3):
        replace(report, now=report.now + days * DAY).record(path)
    return featkit.StalenessReport.trend(path)


def texts(axes):
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


@pytest.fixture
def draw(report, trend):
    return {
        "ages": report.plot,
        "lag": report.plot_lag,
        "expired": trend.plot,
        "over_time": trend.plot_ages,
    }


@pytest.mark.parametrize("name", ["ages", "lag", "expired", "over_time"])
def test_axes_given_are_drawn_on_and_returned(draw, name):
    figure, axes = plt.subplots()
    assert draw[name](axes) is axes
    assert draw[name](ax=axes) is axes
    assert plt.get_fignums() == [figure.number]
    own = draw[name]()
    assert own is not axes
    assert len(plt.get_fignums()) == 2
    for each in (axes, own):
        assert each.get_xlabel()
        assert each.get_title()
    own.figure.canvas.draw()


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("ages", "age of the row (days)"),
        ("lag", "newest offline minus online (hours)"),
        ("expired", "(UTC)"),
        ("over_time", "(UTC)"),
    ],
)
def test_axes_tell_their_units(draw, name, unit):
    axes = draw[name]()
    assert unit in axes.get_xlabel()
    labels = [axes.get_ylabel(), *(each.get_ylabel() for each in axes.figure.axes)]
    assert any("%" in label for label in labels)


def test_curves_rise_to_one_at_the_oldest_row(report):
    axes = report.plot()
    assert texts(axes) == ["good (ttl 1d)", "late (ttl 1d)", "old (ttl 1d)", "endless (no ttl)"]
    lines = {line.get_label(): line for line in axes.get_lines()}
    x, y = lines["old (ttl 1d)"].get_data()
    assert list(x) == pytest.approx([1 / 24, 1 / 24, 30 / 24, 50 / 24])
    assert list(y) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    ttl = [line for line in axes.get_lines() if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in ttl] == [1, 1, 1]


def test_curves_of_many_rows_have_few_corners():
    axes = many(datetime(2024, 5, 1, tzinfo=UTC), 10_000).plot()
    (line,) = [line for line in axes.get_lines() if line.get_label().startswith("users")]
    x, y = line.get_data()
    assert len(x) < 500
    assert (x[-1], y[-1]) == (pytest.approx(10_000 / 3600), 1.0)


def many(now, count):
    frame = pl.DataFrame({"user": range(count)}).with_columns(
        at=pl.lit(now) - pl.duration(seconds=pl.col("user") + 1), x=1
    )
    view = described(frame, name="users", join_keys="user", timestamp="at", ttl="3h")
    return featkit.connect(MemoryStore([view]), now=now).staleness()


def test_views_without_ages_are_said_to_have_none(report):
    nobody = replace(report, views=(report["static"],))
    assert [text.get_text() for text in nobody.plot().texts] == ["no view has event timestamps"]


def test_lag_of_what_is_up_to_date_says_so(report):
    behind = report.plot_lag()
    assert not behind.texts
    upto = {
        view.view: replace(view, lag=replace(view.lag, lags=view.lag.lags * 0))
        for view in report.views
        if view.lag is not None
    }
    views = tuple(upto.get(view.view, view) for view in report.views)
    (text,) = replace(report, views=views).plot_lag().texts
    assert text.get_text() == "online has the newest rows of all entities"


def test_lag_needs_a_comparison(report):
    with pytest.raises(InputError, match="compare_offline=True"):
        replace(report, views=(report["static"],)).plot_lag()


def test_strip_shows_shares_and_leaves_unknown_ones_blank(trend):
    axes = trend.plot()
    (mesh,) = axes.collections
    shares = np.ma.filled(mesh.get_array(), np.nan).reshape(6, 3)
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["good", "late", "old", "static", "lost", "endless"]
    assert shares[2] == pytest.approx([200 / 3] * 3)
    assert shares[0] == pytest.approx([0] * 3)
    assert np.isnan(shares[3]).all()
    assert np.isnan(shares[4]).all()
    assert mesh.get_clim() == (0, 100)


def test_trend_of_nothing_says_so(report, tmp_path):
    replace(report, views=()).record(tmp_path / "audits.parquet")
    empty = featkit.StalenessReport.trend(tmp_path / "audits.parquet")
    assert [text.get_text() for text in empty.plot().texts] == ["no audits yet"]
    assert [text.get_text() for text in empty.plot_ages().texts] == ["no audit has ages and a ttl"]


def test_one_audit_makes_a_strip(report, tmp_path):
    report.record(tmp_path / "audits.parquet")
    axes = featkit.StalenessReport.trend(tmp_path / "audits.parquet").plot()
    axes.figure.canvas.draw()


def test_names_are_no_formulas(evil):
    axes = evil.plot()
    (label,) = texts(axes)
    assert "\\$x^2\\$" in label
    axes.figure.canvas.draw()
    assert figures.label("_hidden") == " _hidden"


def luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in mpl.colors.to_rgb(colour)
    ]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("ink", figures.INKS)
def test_inks_can_be_seen_on_white_and_on_black(ink):
    seen = luminance(ink)
    assert 1.05 / (seen + 0.05) >= 3
    assert (seen + 0.05) / 0.05 >= 3


# what people see who lack the red, the green or the blue cones, after Machado et al. 2009
BLINDNESS = {
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_inks_differ_for_colour_blind_people(kind):
    seen = [np.array(BLINDNESS[kind]) @ mpl.colors.to_rgb(ink) for ink in figures.INKS]
    apart = [np.abs(a - b).max() for n, a in enumerate(seen) for b in seen[:n]]
    assert min(apart) > 0.12


def test_sixteen_lines_differ():
    strokes = figures.strokes()
    assert len({next(strokes) for _ in range(16)}) == 16


@pytest.mark.parametrize(
    ("seconds", "name"),
    [(0, "seconds"), (119, "seconds"), (120, "minutes"), (7200, "hours"), (172_800, "days")],
)
def test_unit_of_time_reads_well(seconds, name):
    assert figures.unit_of_time(seconds)[0] == name
