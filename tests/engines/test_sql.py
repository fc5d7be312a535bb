"""The join as a query, in the dialects of the warehouses, run by DuckDB as sqlglot translates.

That BigQuery and Databricks read the text as sqlglot does is not shown here; that the query is
right is: against the rules as one loop over all pairs.
"""

import datetime as dt

import duckdb
import polars as pl
import pytest
import sqlglot
from hypothesis import given

from featkit.engines.sql import SPINE, join_query, spine_text
from featkit.history import AT, EVENT, ROW, JoinRead, Rule
from featkit.schema import Entity, Feature, FeatureView
from featkit.stores.databricks.statements import DIALECT as DATABRICKS
from featkit.stores.vertex.history import DIALECT as BIGQUERY
from tests.examples import examples
from tests.training import cases, oracle

DIALECTS = {"databricks": DATABRICKS, "bigquery": BIGQUERY}
MOMENT = pl.Datetime("us", "UTC")


def run(name, read, rows):
    """Run the query as the warehouse of that name would."""
    dialect = DIALECTS[name]
    names = [*read.view.join_keys, *(own.name for own in read.features)]
    names += [read.view.timestamp] if read.view.timestamp else []
    columns = {each: dialect.quoted(each) for each in names}
    text = join_query(read, dialect, table=dialect.quoted("held"), columns=columns, where="")
    tree = sqlglot.parse_one(text, read=name)
    for kind in (sqlglot.exp.Parameter, sqlglot.exp.Placeholder):
        for place in list(tree.find_all(kind)):
            assert place.name == SPINE
            place.replace(sqlglot.exp.Literal.string(spine_text(read)))
    for literal in list(tree.find_all(sqlglot.exp.Literal)):
        if literal.this == "ARRAY<ARRAY<STRING>>":  # as DuckDB calls the same
            literal.replace(sqlglot.exp.Literal.string('[["VARCHAR"]]'))
    with duckdb.connect() as database:
        database.execute("CREATE MACRO timestamp_micros(us) AS make_timestamp(us)")  # Databricks'
        naive = rows.with_columns(pl.selectors.datetime().dt.replace_time_zone(None))
        database.register("held", naive.to_arrow())
        found = pl.DataFrame(pl.from_arrow(database.sql(tree.sql("duckdb")).to_arrow_table()))
    return found.sort(ROW)


def asked(*, keys, timestamp, spine, rule):
    entities = tuple(Entity(key, key, dtype) for key, dtype in keys.items())
    features = (Feature("x", pl.Int64()), Feature("place", pl.Int64()))
    view = FeatureView(name="v", entities=entities, features=features, timestamp=timestamp)
    return JoinRead(view=view, features=features, spine=spine, rule=rule)


@pytest.mark.parametrize("name", DIALECTS)
@examples(60)
@given(case=cases.cases())
def test_every_case_is_that_of_the_plain_rules(name, case):
    composite, rows, rules, spine, _, _ = case
    # a warehouse's table has no order and no created time, so that a tie has no answer to compare
    rows = list({(row.key, None if rules.static else row.event): row for row in rows}.values())
    rules = oracle.Rules(
        limit=rules.limit, delay=rules.delay, strict=rules.strict, static=rules.static
    )
    keys = {"k": pl.Int64(), **({"text": pl.String()} if composite else {})}
    held = pl.DataFrame(
        {
            **cases.key_columns([row.key for row in rows], composite=composite),
            "t": cases.times([row.event for row in rows], "us", "UTC"),
            "x": pl.Series([row.value for row in rows], dtype=pl.Int64),
            "place": pl.Series(range(len(rows)), dtype=pl.Int64),
        }
    )
    outcomes = oracle.join(rows, spine, rules)
    sent = [
        n for n, (outcome, _, _) in enumerate(outcomes) if outcome != "null"
    ]  # null keys and times are never sent
    frame = pl.DataFrame(
        {
            ROW: pl.Series(sent, dtype=pl.Int64),
            **cases.key_columns([spine[n][0] for n in sent], composite=composite),
            AT: cases.times([spine[n][1] for n in sent], "us", "UTC"),
        }
    )
    rule = Rule(limit=rules.limit, delay=rules.delay, strict=rules.strict)
    timestamp = None if rules.static else "t"
    found = run(name, asked(keys=keys, timestamp=timestamp, spine=frame, rule=rule), held)
    assert found[ROW].to_list() == sent
    chosen = [cases.place(rows, outcomes[n][1]) for n in sent]
    assert found["place"].to_list() == chosen
    assert found["x"].to_list() == [None if n is None else rows[n].value for n in chosen]
    if timestamp:
        assert found[EVENT].to_list() == [None if n is None else rows[n].event for n in chosen]


@pytest.mark.parametrize("name", DIALECTS)
def test_a_tie_gives_one_whole_row(name):
    at = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    rows = pl.DataFrame(
        {"k": [1] * 4, "t": [at] * 4, "x": [10, 11, 12, None], "place": [0, 1, 2, 3]},
        {"k": pl.Int64, "t": MOMENT, "x": pl.Int64, "place": pl.Int64},
    )
    spine = pl.DataFrame(
        {ROW: range(3), "k": [1] * 3, AT: [at] * 3}, {ROW: pl.Int64, "k": pl.Int64, AT: MOMENT}
    )
    found = run(name, asked(keys={"k": pl.Int64()}, timestamp="t", spine=spine, rule=Rule()), rows)
    assert found.height == 3
    whole = set(rows.select("x", "place").rows())
    assert all(row in whole for row in found.select("x", "place").rows())


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (pl.Int64(), [2**53, 2**53 + 1, -(2**63), 2**63 - 1]),
        (pl.Int32(), [-1, 0, 7, 2**31 - 1]),
        (pl.String(), ["", 'q"\\\n', "🦉 é", "a','b"]),
        (pl.Boolean(), [True, False]),
        (pl.Date(), [dt.date(1, 1, 1), dt.date(2024, 2, 29)]),
        (
            MOMENT,
            [
                dt.datetime(1969, 12, 31, 23, 59, 59, 5, dt.UTC),
                dt.datetime(2024, 5, 1, tzinfo=dt.UTC),
            ],
        ),
    ],
    ids=str,
)
def test_keys_of_every_type_find_their_rows(name, dtype, values):
    at = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    count = len(values)
    rows = pl.DataFrame(
        {"k": values, "t": [at] * count, "x": range(count), "place": range(count)},
        {"k": dtype, "t": MOMENT, "x": pl.Int64, "place": pl.Int64},
    )
    spine = pl.DataFrame(
        {ROW: range(count), "k": values, AT: [at] * count}, {ROW: pl.Int64, "k": dtype, AT: MOMENT}
    )
    read = asked(keys={"k": dtype}, timestamp="t", spine=spine, rule=Rule())
    assert DIALECTS[name].takes(read)
    assert run(name, read, rows)["x"].to_list() == list(range(count))


def test_keys_that_text_cannot_hold_are_not_taken():
    at = [dt.datetime(2024, 5, 1, tzinfo=dt.UTC)]
    spine = pl.DataFrame(
        {ROW: [0], "k": [b"x"], AT: at}, {ROW: pl.Int64, "k": pl.Binary, AT: MOMENT}
    )
    read = asked(keys={"k": pl.Binary()}, timestamp="t", spine=spine, rule=Rule())
    assert not any(dialect.takes(read) for dialect in DIALECTS.values())


@pytest.mark.parametrize("name", DIALECTS)
def test_odd_names_are_quoted(name):
    dialect = DIALECTS[name]
    for odd in ("a b", "sélect", "x`y", "drop table"):
        (column,) = sqlglot.parse_one(f"SELECT {dialect.quoted(odd)}", read=name).find_all(
            sqlglot.exp.Column
        )
        assert column.name == odd or (name == "bigquery" and "`" in odd)
