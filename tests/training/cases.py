"""Random histories, spines and rules, and files of every shape that hold them."""

import datetime as dt
from itertools import pairwise

import hypothesis.strategies as st
import polars as pl

import featkit

from . import oracle

START = int(dt.datetime(2024, 3, 31, tzinfo=dt.UTC).timestamp() * 1_000_000)
STEP = 1_000_000  # a second: every unit holds it

keys = st.sampled_from([1, 2, 11, None])
texts = st.sampled_from(["a", "a_", "_a", "", None])
moments = st.one_of(st.none(), st.integers(0, 12).map(lambda n: START + n * STEP))
close = st.integers(5, 7).map(lambda n: START + n * STEP)
units = st.sampled_from(["ms", "us", "ns"])
zones = st.sampled_from(["UTC", "Europe/Paris", "America/New_York"])


def by_time(row):
    return row.event or 0


def by_key(row):
    return repr(row.key), row.event or 0, row.created or 0


@st.composite
def cases(draw):
    composite = draw(st.booleans())
    key = st.tuples(keys, texts) if composite else keys
    # an export that is written day by day covers little time in each of its pieces
    events = draw(st.sampled_from([moments, moments, close]))
    rows = draw(
        st.lists(st.builds(oracle.Row, key, events, moments, st.none() | st.integers(0, 99)))
    )
    if (order := draw(st.sampled_from([None, by_time, by_key]))) is not None:
        rows.sort(key=order)
    delay, created = draw(
        st.sampled_from([(0, False), (0, True), (STEP, False), (3 * STEP, False)])
    )
    rules = oracle.Rules(
        limit=draw(st.none() | st.integers(0, 6).map(lambda n: n * STEP)),
        created=created,
        delay=delay,
        strict=draw(st.booleans()),
        static=draw(st.sampled_from([False] * 7 + [True])),
    )
    spine = draw(st.lists(st.tuples(key, moments)))
    cuts = draw(st.lists(st.integers(0, len(rows)), max_size=3).map(sorted))
    shape = {"units": draw(st.tuples(units, units)), "zones": draw(st.tuples(zones, zones))}
    shape |= {"group": draw(st.integers(1, 4)), "sorted": draw(st.booleans())}
    return composite, rows, rules, spine, cuts, shape


def times(values, unit, zone):
    whole = pl.Series(values, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    return whole.dt.convert_time_zone(zone).cast(pl.Datetime(unit, zone))


def key_columns(values, *, composite):
    if not composite:
        return {"k": pl.Series(values, dtype=pl.Int64)}
    return {
        "k": pl.Series([each[0] for each in values], dtype=pl.Int64),
        "text": pl.Series([each[1] for each in values], dtype=pl.String),
    }


def write(folder, case):
    """Write the rows as several files, in their order, with a definition beside them."""
    composite, rows, rules, _, cuts, shape = case
    unit, zone = shape["units"][0], shape["zones"][0]
    frame = pl.DataFrame(
        {
            **key_columns([row.key for row in rows], composite=composite),
            "t": times([row.event for row in rows], unit, zone),
            "c": times([row.created for row in rows], unit, zone),
            "x": pl.Series([row.value for row in rows], dtype=pl.Int64),
            "place": pl.Series(range(len(rows)), dtype=pl.Int64),
        }
    )
    if shape["sorted"]:
        _write_sorted(folder, frame, case)
        return
    edges = [0, *cuts, len(rows)]
    for number, (begin, end) in enumerate(pairwise(edges)):
        part = frame[begin:end]
        part.write_parquet(folder / f"part-{number}.parquet", row_group_size=shape["group"])
    names = '["k", "text"]' if composite else '["k"]'
    timed = "" if rules.static else 'timestamp = "t"\ncreated = "c"\n'
    ttl = "" if rules.limit is None or rules.static else f'ttl = "{rules.limit // STEP}s"\n'
    features = "[views.v.features]\nx = {}\nplace = {}\n"
    (folder / "feature_views.toml").write_text(
        f'[views.v]\nsource = "part-*.parquet"\njoin_keys = {names}\n{timed}{ttl}{features}'
    )


def _write_sorted(folder, frame, case):
    """Write the rows as featkit does: one file, sorted by keys and times."""
    composite, _, rules, _, _, _ = case
    timed = {"timestamp": "t", "created": "c"}
    if rules.limit is not None:
        timed["ttl"] = dt.timedelta(microseconds=rules.limit)
    featkit.write_view(
        folder,
        frame.drop("t", "c") if rules.static else frame,
        name="v",
        join_keys=["k", "text"] if composite else ["k"],
        **({} if rules.static else timed),
    )


def spine_frame(case):
    """Make the spine as a polars frame."""
    composite, _, _, spine, _, shape = case
    return pl.DataFrame(
        {
            **key_columns([key for key, _ in spine], composite=composite),
            "at": times([at for _, at in spine], shape["units"][1], shape["zones"][1]),
        }
    )


def known_by(rules):
    """Say the rules as the option that asks for them."""
    if rules.delay and not rules.static:
        return {"v": dt.timedelta(microseconds=rules.delay)}
    return "created" if rules.created else "event"


def place(rows, row):
    """Find the place of a row among all, by identity; None for None."""
    return None if row is None else next(n for n, each in enumerate(rows) if each is row)
