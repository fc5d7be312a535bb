"""What `feature_views.toml` may say, and how people are told where it is wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from featkit.definitions import parse
from featkit.errors import DefinitionError, FeatkitError

PATH = Path("store", "feature_views.toml")
GOOD = """# the ttl = "1d" of this comment is nobody's
[store]
now = "2014-01-01T01:00:00+01:00"

[views.ttl]  # a view may be named as a setting is
source = [
  "a/*.parquet",  # [views.fares]
  "b.parquet",
]
join_keys = ["k"]
timestamp = "at"
ttl = "7d"
description = \"\"\"
[views.fares]
source = 1
\"\"\"

[views."fares.v2"]
source = "/data/fares.parquet"
join_keys = ["k", "l"]
tags = { team = "ops" }
[views."fares.v2".features]
price = { description = "euro", dtype = "float64" }
kind = { tags = { unit = "none" } }

[services.model]
features = ["ttl:x", "fares.v2:price"]
owner = "ops"
"""


def test_what_is_written_is_read():
    found = parse(GOOD, PATH)
    assert found.now == datetime(2014, 1, 1, tzinfo=UTC)
    assert found.timezone is None
    first, second = found.views.values()
    assert (first.name, first.ttl, first.entry.timestamp) == ("ttl", timedelta(days=7), "at")
    assert first.patterns == (Path("store/a/*.parquet"), Path("store/b.parquet"))
    assert second.patterns == (Path("/data/fares.parquet"),)
    assert second.dtypes == {"price": pl.Float64()}
    assert second.entry.features["kind"].tags == {"unit": "none"}
    (service,) = found.services.values()
    assert [str(ref) for ref in service.features] == ["ttl:x", "fares.v2:price"]


def test_an_empty_file_defines_nothing():
    found = parse("", PATH)
    assert (found.now, found.views, found.services) == (None, {}, {})


def test_the_place_of_each_setting_is_known():
    first, second = parse(GOOD, PATH).views.values()
    assert first.where() == f"{PATH}, line 5"
    assert first.where("source") == f"{PATH}, line 6"
    assert first.where("description") == f"{PATH}, line 13"
    assert second.where() == f"{PATH}, line 18"
    assert second.where("features", "kind") == f"{PATH}, line 24"
    assert second.where("features", "nothing") == f"{PATH}, line 22"
    assert first.where("created") == f"{PATH}, line 5"


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("[store]", "[stor]", 2, "there is no setting 'stor' here; did you mean 'store'?"),
        ("now =", "noww =", 3, "no setting 'noww' here; did you mean 'now'? (at store.noww)"),
        ("T01:00:00+01:00", "T01:00:00", 3, "is naive; end it with 'Z' for UTC (at store.now)"),
        ('"2014-01-01T01:00:00+01:00"', "2014-01-01T01:00:00", 3, "is naive"),
        ('"2014-01-01T01:00:00+01:00"', "2014-01-01", 3, "expected a date with a time, found"),
        ("2014-01-01T01:00:00+01:00", "once", 3, "Invalid RFC3339 encoded datetime"),
        ("now =", 'timezone = "Mars/Base"\nnow =', 3, "'Mars/Base' is no time zone"),
        ("now =", 'timezone = "Europe"\nnow =', 3, "'Europe' is no time zone"),
        ('ttl = "7d"', "ttl = 7", 12, "expected a string, found an integer (at views.ttl.ttl)"),
        ('ttl = "7d"', 'ttl = "7 days"', 12, "ttl '7 days' cannot be read; write"),
        ('ttl = "7d"', 'ttl = "-7d"', 12, "ttl '-7d' cannot be read; write"),
        ('timestamp = "at"', 'created = "at"', 11, "needs 'timestamp' too (at views.ttl.created)"),
        ('timestamp = "at"', 'timestamp = "k"', 5, "the column 'k' has two roles"),
        ('timestamp = "at"', 'time_stamp = "k"', 11, "'time_stamp' here; did you mean"),
        ('["k", "l"]', "[]", 20, "expected at least one join key (at views.fares.v2.join_keys)"),
        ('["k", "l"]', '["k", "k"]', 18, "the column 'k' has two roles"),
        ('["k", "l"]', '"k"', 20, "expected an array, found a string"),
        ('["k", "l"]', '[\n"k",\n1]', 20, "found an integer (at views.fares.v2.join_keys"),
        ('join_keys = ["k", "l"]\n', "", 18, "'join_keys' is missing (at views.fares.v2)"),
        ('source = "/data/fares.parquet"\n', "", 18, "'source' is missing"),
        ('"/data/fares.parquet"', '""', 19, "expected a path below the folder of this file"),
        ('"/data/fares.parquet"', "{}", 19, "expected a string or an array, found a table"),
        ('"/data/fares.parquet"', "[]", 19, "expected at least one path"),
        ('"/data/fares.parquet"', '"../f.parquet"', 19, "not '../f.parquet'"),
        ('"/data/fares.parquet"', '"a/../../f.parquet"', 19, "not 'a/../../f.parquet'"),
        ('"/data/fares.parquet"', '"/data/../f.parquet"', 19, "not '/data/../f.parquet'"),
        ('{ team = "ops" }', '"ops"', 21, "(at views.fares.v2.tags)"),
        ('{ team = "ops" }', "{ team = 1 }", 21, "expected a string, found an integer"),
        ("float64", "float", 23, "'float' is not a dtype; there are: bool, int8"),
        ("float64", "list[float]", 23, "'float' is not a dtype"),
        ('dtype = "float64"', "dtype = 64", 23, "expected a string, found an integer"),
        ("dtype =", "type =", 23, "no setting 'type' here; did you mean 'dtype'"),
        ('{ description = "euro", dtype = "float64" }', '"float64"', 23, "a table, found a"),
        ("kind =", "l =", 24, "'l' is a key or a timestamp, no feature"),
        ('"fares.v2"]', '"../fares"]', 18, "'../fares' cannot name a feature view; use letters"),
        ('"fares.v2"]', '"fares/v2"]', 18, "'fares/v2' cannot name a feature view"),
        ('"fares.v2"]', '""]', 18, "'' cannot name a feature view"),
        ('"fares.v2"]', '".v2"]', 18, "'.v2' cannot name a feature view"),
        ('"ttl:x"', '"ttl"', 27, "'ttl' is no feature reference; write 'view:feature'"),
        ('"ttl:x"', "1", 27, "expected a string, found an integer (at services.model.features.0)"),
        ('["ttl:x", "fares.v2:price"]', '"ttl:x"', 27, "expected an array, found a string"),
        ("owner =", "ownr =", 28, "no setting 'ownr' here; did you mean 'owner'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_and_line(old, new, line, told):
    assert old in GOOD
    with pytest.raises(DefinitionError) as caught:
        parse(GOOD.replace(old, new), PATH)
    message = str(caught.value)
    assert message.startswith(f"{PATH}, line {line}: ")
    assert told in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[views.a\n", "at line 1"),
        ('[views.a]\nsource = "a"\n[views.a]\n', "Cannot declare ('views', 'a') twice (at line 3"),
        ('[views.a]\nttl = "1d"\nttl = "2d"\n', "Cannot overwrite a value (at line 3"),
        ("views = [", "at end of document"),
        ("\ufeff[views.a]\n", "at line 1"),
    ],
)
def test_what_is_no_toml_is_told_with_file_and_line(text, told):
    with pytest.raises(DefinitionError) as caught:
        parse(text, PATH)
    assert str(caught.value).startswith(f"{PATH} is not valid TOML: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("views = 1", 1),
        ("[[views]]\nsource = 'a'", 1),
        ("\nviews = { a = { source = 'a' } }", 2),
        ("\n\n[views]\na.source = 'a'\n\na.join_keys = []", 6),
        ("[views]\n\n[views.b]\nsource = 'a'\njoin_keys = ['b']\n['views' . a]\nttl = 1", 7),
        ("views.a.source = 'a'\r\nviews.a.join_keys = ['k']\r\nviews.a.ttl = 7\r\n", 3),
        ("[views.a]\nsource = 'ä\u2028ö'\njoin_keys = 'k'", 3),
    ],
)
def test_the_line_is_found_however_a_table_is_written(text, line):
    with pytest.raises(DefinitionError) as caught:
        parse(text, PATH)
    assert f"line {line}: " in str(caught.value)


def test_the_cause_is_kept():
    with pytest.raises(DefinitionError) as caught:
        parse(GOOD.replace('"7d"', '"soon"'), PATH)
    assert isinstance(caught.value.__cause__, FeatkitError)
