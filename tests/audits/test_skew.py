"""Skew of two frames, and parity of two stores."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest

import featkit
from featkit.audits.drift import drift
from featkit.errors import InputError, KeyColumnError, NotSupportedError

from .conftest import DAY, HOUR


def columns(seed=0, *, moved=0.0, words=("a", "b", "c")):
    random = np.random.default_rng(seed)
    return {
        "number": random.normal(moved, 1, 2000),
        "count": random.integers(0, 50, 2000),
        "word": [words[n] for n in random.integers(0, len(words), 2000)],
        "flag": random.random(2000) < 0.5,
        "when": pl.Series([DAY + n % 40 * HOUR for n in range(2000)]),
    }


# -- skew ----------------------------------------------------------------------------------------


def test_frames_of_one_population_are_alike(constructor):
    report = constructor(columns(1)).features.skew(constructor(columns(2)))
    assert [each.column for each in report.columns if each.psi > 0.1] == []
    assert {each.column for each in report.columns} == {"number", "count", "word", "flag", "when"}


def test_moved_numbers_and_new_words_are_found_first(constructor):
    other = constructor(columns(2, moved=2.0, words=("a", "x", "y")))
    report = constructor(columns(1)).features.skew(other)
    assert {report.columns[0].column, report.columns[1].column} == {"number", "word"}
    assert report["number"].psi > 0.25
    assert report["number"].p_value < 1e-9
    assert report["word"].psi > 0.25
    assert report["number"].outside > 0


def test_libraries_may_be_mixed():
    left, right = pl.DataFrame(columns(1)), pl.DataFrame(columns(2)).to_pandas()
    assert left.features.skew(right)["number"].psi < 0.1
    assert pd.DataFrame(right).features.skew(left.lazy())["number"].psi < 0.1


def test_figures_are_those_of_scipy():
    from scipy import stats  # noqa: PLC0415 - takes a second, which each run of any test would pay

    one, two = pl.Series("x", columns(1)["number"]), pl.Series("x", columns(2, moved=0.3)["number"])
    found = drift(one, two)
    expected = stats.ks_2samp(one.to_numpy(), two.to_numpy(), method="asymp")
    assert found.statistic == expected.statistic
    assert found.p_value == expected.pvalue
    words, others = pl.Series("w", ["a"] * 30 + ["b"] * 70), pl.Series("w", ["a"] * 60 + ["b"] * 40)
    found = drift(words, others)
    expected = stats.chi2_contingency([[70, 30], [40, 60]])
    assert found.statistic == pytest.approx(expected.statistic)
    p, q = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    assert found.psi == pytest.approx(((q - p) * np.log(q / p)).sum())


def test_nulls_and_ranges_are_told():
    one = pl.Series("x", [1.0, 2.0, 3.0, None])
    two = pl.Series("x", [1.0, 9.0, float("nan"), None])
    found = drift(one, two)
    assert (found.nulls, found.other_nulls, found.outside) == (0.25, 0.5, 0.5)


@pytest.mark.parametrize(
    "values",
    [[], [None, None], [1.0], [5, 5, 5], ["a"], [True], [[1], [2]], [b"x"]],
    ids=str,
)
def test_odd_columns_do_not_break_it(values):
    same = pl.Series("x", values)
    found = drift(same, same)
    assert found.psi == 0
    assert found.distance == 0


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ([1.0] * 50, [2.0] * 50),
        ([0, 1, 2] * 20, [0, 2, 2] * 20),
        ([0] * 90 + list(range(1, 21)), [1] * 90 + list(range(1, 21))),
        ([0.5, 1.5] * 30, [0.5, 1.0] * 30),
        (list(range(60)), [None] * 60),
        ([1, 2] * 30, pl.Series([None] * 60, dtype=pl.Int64)),
        (["a", "b"] * 30, ["a", None] * 30),
        ([float("inf"), 1.0, -float("inf")] * 20, [1.0] * 60),
    ],
    ids=["constant", "few", "often", "between", "null", "nulls", "words", "infinite"],
)
def test_another_population_is_never_called_alike(own, other):
    features = featkit.features
    for one, two in ((own, other), (other, own)):
        (found,) = features(pl.DataFrame({"x": one})).skew(pl.DataFrame({"x": two})).columns
        assert found.psi > 0.25
        assert found.distance > 0.2
        (same,) = features(pl.DataFrame({"x": one})).skew(pl.DataFrame({"x": one[::-1]})).columns
        assert same.psi == same.distance == 0


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ([dt.date(2024, 1, 1), None], [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None]),
        ([True, False, None], [1, 0, None]),
        ([True, False, None], [1.0, 0.0, float("nan")]),
        ([1, 2, 3], pl.Series(["3", "1", "2"])),
    ],
)
def test_the_same_in_other_dtypes_is_alike(own, other):
    features = featkit.features
    for one, two in ((own, other), (other, own)):
        (found,) = features(pl.DataFrame({"x": one})).skew(pl.DataFrame({"x": two})).columns
        assert (found.psi, found.distance, found.p_value) == (0, 0, 1)


@pytest.mark.parametrize("which", ["frame", "other frame"])
def test_a_frame_without_rows_is_not_called_alike(constructor, which):
    frame = constructor(columns(1))
    pair = (frame, frame.head(0)) if which == "other frame" else (frame.head(0), frame)
    with pytest.raises(InputError, match=f"^the {which} has no rows"):
        featkit.features(pair[0]).skew(pair[1])


def test_columns_that_cannot_be_compared_are_named():
    frame = pd.DataFrame(
        {"a": [1, "x"], "b": [1, 2], "c": [object(), None], "d": [3, 4], 5: [1, 2]}
    )
    frame = frame.set_axis(["a", "b", "c", "b", 5], axis=1).assign(d=[3, 4])
    features = featkit.features
    report = features(frame).skew(frame)
    assert [each.column for each in report.columns] == ["d"]
    assert set(report.odd) == {"a", "b", "c"}
    assert "a was not compared: it holds Python objects of several types" in str(report)
    assert "b was not compared: there are several columns" in report._repr_html_()
    with pytest.raises(InputError, match="'b' cannot be compared: there are several"):
        features(frame).skew(frame, columns="b")
    objects = pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object), "y": [1]})
    assert set(features(objects).skew(objects).odd) == {"x"}


def test_columns_are_chosen_and_the_others_named():
    left, right = pl.DataFrame({"a": [1], "b": [1]}), pl.DataFrame({"b": [1], "c": [1]})
    report = left.features.skew(right)
    assert [each.column for each in report.columns] == ["b"]
    assert report.left_out == ("a", "c")
    with pytest.raises(KeyColumnError, match="'a' is not in both frames"):
        left.features.skew(right, ["a"])
    with pytest.raises(InputError, match="no column in common"):
        left.features.skew(pl.DataFrame({"z": [1]}))
    with pytest.raises(KeyColumnError, match="'z' was not compared"):
        report["z"]


def test_skew_is_shown(tmp_path):
    left = pl.DataFrame(columns(1)).rename({"word": "<i>w"})
    report = left.features.skew(left)
    assert report.to_polars().height == 5
    assert "5 columns compared, 0 of another population" in str(report)
    report.to_html(tmp_path / "skew.html")
    page = (tmp_path / "skew.html").read_text()
    assert "<i>w" not in page
    assert "&lt;i&gt;w" in page


def test_skew_is_drawn_where_it_is_told_to():
    import matplotlib as mpl  # noqa: PLC0415 - only plots need it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    report = pl.DataFrame(columns(1)).features.skew(pl.DataFrame(columns(2)))
    _, own = plt.subplots()
    assert report.plot(own) is own
    assert len(own.patches) == 5
    drawn = report.plot()
    assert drawn is not own
    plt.close("all")


# -- parity --------------------------------------------------------------------------------------


def test_one_store_agrees_with_itself(client):
    report = client.parity(["hourly:visits", "hourly:rate"])
    assert report.ok
    assert [each.entities for each in report.features] == [30, 30]
    assert "all values agree" in str(report)


def test_entities_can_be_named(client):
    report = client.parity("hourly:visits", [1, 2, 2, 999])
    assert report.features[0].entities == 3
    assert report.ok


def test_values_that_differ_are_counted_and_shown(history_folder):
    import featkit.stores.parquet as embedded  # noqa: PLC0415 - subclassed here only

    class Behind(embedded.ParquetStore):
        """A store whose online values are those of an hour ago, and lack one entity."""

        def read_online(self, read):
            call = super().read_online(read)

            def decode(columns):
                visits = columns.values["visits"] - 1
                visits = visits.set(read.keys["shop"] == 3, None)
                values = columns.values.with_columns(visits)
                return type(columns)(values, columns.statuses, columns.timestamps)

            return type(call)(call.request, decode=decode, keys=call.keys)

    whole = history_folder / "feature_views.toml"
    store = Behind(whole)
    with featkit.connect(store, now=DAY + 50 * HOUR) as client:
        report = client.parity("hourly:visits")
    (feature,) = report.features
    assert not report.ok
    assert (feature.same, feature.differs, feature.only_offline) == (0, 29, 1)
    assert feature.examples.columns == ["shop", "online", "offline"]
    assert report.to_polars().row(0) == ("hourly:visits", 30, 0, 29, 1, 0)
    assert "values do not agree" in report._repr_html_()


def test_parity_of_nothing_does_not_say_that_all_agrees(client):
    nothing = client.parity(["hourly:visits"], sample=0)
    assert "there was nothing to compare" in str(nothing)
    assert not nothing.ok
    assert "all values agree" in str(client.parity(["hourly:visits"], sample=1))
    for sample in (-1, "all"):
        with pytest.raises(InputError, match=f"sample={sample!r} is no number of entities"):
            client.parity(["hourly:visits"], sample=sample)


def test_parity_is_drawn_where_it_is_told_to(client):
    from matplotlib import pyplot as plt  # noqa: PLC0415 - only plots need it

    _, own = plt.subplots()
    assert client.parity("hourly:visits").plot(own) is own
    plt.close("all")


def test_store_without_history_says_so(scripted_store):
    with (
        featkit.connect(scripted_store()) as client,
        pytest.raises(NotSupportedError, match=r"parity\(\)"),
    ):
        client.parity("shops:visits")
