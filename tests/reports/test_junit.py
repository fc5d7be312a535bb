"""JUnit XML: valid by its schema, and each verdict is what CI takes it for."""

from pathlib import Path

import pytest
from lxml import etree

from featkit.errors import InputError

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parents[1] / "data" / "junit.xsd"))


def read(text):
    root = etree.fromstring(text.encode())
    SCHEMA.assertValid(root)
    return root


def outcomes(root):
    """Tell, for each suite, what its cases ended in."""
    return {
        suite.get("name"): sorted({child.tag for case in suite.iter("testcase") for child in case})
        for suite in root
    }


@pytest.mark.parametrize("fail_on", ["error", "warn", "unknown"])
def test_xml_is_valid_and_counts_are_right(report, fail_on):
    root = read(report.to_junit(fail_on=fail_on))
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert int(element.get("tests")) == len(cases)
        for tag, attribute in (
            ("failure", "failures"),
            ("error", "errors"),
            ("skipped", "skipped"),
        ):
            assert int(element.get(attribute)) == sum(case.find(tag) is not None for case in cases)


def test_verdicts_are_what_ci_takes_them_for(report):
    expected = {
        "good": ["system-out"],
        "late": ["system-out"],
        "old": ["failure"],
        "static": ["skipped"],
        "lost": ["error"],
        "endless": ["skipped"],
    }
    assert outcomes(read(report.to_junit())) == expected
    assert outcomes(read(report.to_junit(fail_on="warn"))) == {**expected, "late": ["failure"]}
    assert outcomes(read(report.to_junit(fail_on="unknown"))) == {
        **expected,
        "late": ["failure"],
        "static": ["failure"],
        "endless": ["failure"],
    }


def test_a_case_says_what_and_why(report):
    root = read(report.to_junit())
    (case,) = root.xpath("testsuite[@name='old']/testcase[@name='x']")
    assert case.get("classname") == "staleness.old"
    failure = case.find("failure")
    assert (failure.get("type"), failure.get("message")) == (
        "error",
        "2 of 3 entities older than 1d; the oldest is 2d2h old",
    )
    (warned,) = root.xpath("testsuite[@name='late']/testcase[@name='x']/system-out")
    assert warned.text.startswith("warn: 1 of 2 entities older than 19h12m")
    (lost,) = root.xpath("testsuite[@name='lost']/testcase/error")
    assert lost.get("message") == "the disk of lost is full"
    (old,) = root.xpath("testsuite[@name='old']")
    facts = {each.get("name"): each.get("value") for each in old.iter("property")}
    assert facts == {
        "verdict": "error",
        "entities": "3",
        "population": "all 3 entities of the view",
        "timestamp_level": "row",
        "ttl": "1d",
        "newest": "2024-05-01T11:00:00+00:00",
    }
    assert old.get("timestamp") == "2024-05-01T12:00:00"


def test_names_that_mean_harm_stay_text(evil):
    root = read(evil.to_junit())
    assert root[0].get("name").startswith("<img src=x onerror=alert(1)>&\"'</script>\ufffd")


def test_xml_is_written_as_it_is_returned(report, tmp_path):
    path = tmp_path / "staleness.xml"
    assert report.to_junit(path) == path.read_text("utf-8")
    with pytest.raises(InputError, match="fail_on='x'"):
        report.to_junit(fail_on="x")
