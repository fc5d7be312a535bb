"""docs/stores/compare.md says what the stores lack, and where featkit differs, as the code does."""

import re
from pathlib import Path

import pytest

from featkit.capabilities import ABILITIES, Mark
from featkit.stores.databricks.gaps import gaps
from featkit.stores.feast.gaps import DIRECT
from featkit.stores.feast.gaps import GAPS as FEAST
from featkit.stores.parquet import ParquetStore
from featkit.stores.sagemaker.gaps import gaps as sagemaker_gaps
from featkit.stores.tecton.gaps import GAPS as TECTON
from featkit.stores.tecton.gaps import ROW_TIMES
from featkit.stores.vertex.gaps import gaps as vertex_gaps
from tests.live.differences import CLIENTS, DIFFERENCES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/stores/compare.md").read_text("utf-8")
LACKING = {
    "embedded": ParquetStore.capabilities.lacking,
    "Feast": FEAST,
    "Feast, directly": DIRECT,
    "Tecton": {**TECTON, "row_timestamps": ROW_TIMES},
    "Databricks": gaps(warehouse=True, times=False, missing=False, scans=True),
    "Lakebase": gaps(warehouse=True, times=True, missing=True, scans=True),
    "SageMaker": sagemaker_gaps(scans=True),
    "Vertex AI": vertex_gaps(scans=True),
}


def row(cells):
    return "| " + " | ".join(cells) + " |"


def gaps_table():
    lines = [row(["", *LACKING]), row(["---"] * (len(LACKING) + 1))]
    for name, what in ABILITIES.items():
        cells = [lacks[name].mark.value if name in lacks else "yes" for lacks in LACKING.values()]
        lines.append(row([what, *cells]))
    return lines


def reasons():
    for store, lacking in LACKING.items():
        told = {}
        for name, lack in lacking.items():
            told.setdefault(lack, []).append(f"`{name}`")
        yield f"**{store}**"
        yield ""
        yield from [f"- {', '.join(names)}: {lack}" for lack, names in told.items()] or ["Nothing."]
        yield ""


def differences_table():
    lines = [row(["store", "in what", "its client", "featkit", "shown by"]), row(["---"] * 5)]
    for own in DIFFERENCES:
        client = f"{own.store} (`{CLIENTS[own.store]}`)"
        lines.append(row([client, own.what, own.theirs, own.ours, f"`{own.shown_by}`"]))
    return lines


def page_lines(begin, end):
    part = PAGE.partition(f"## {begin}\n")[2].partition(f"\n## {end}" if end else "\0")[0]
    return part.splitlines()


def test_the_page_has_what_the_stores_lack():
    found = [line for line in page_lines("What each can do", "Why not") if line.startswith("|")]
    assert found == gaps_table()


def test_the_page_has_the_reasons():
    found = "\n".join(page_lines("Why not", "Where featkit differs from the vendors' clients"))
    assert found.strip().endswith("\n".join(reasons()).strip())


def test_the_page_explains_the_marks():
    for mark in Mark:
        assert f"`{mark}`: {mark.meaning}" in PAGE


def test_the_page_has_the_differences():
    found = page_lines("Where featkit differs from the vendors' clients", None)
    assert [line for line in found if line.startswith("|")] == differences_table()


@pytest.mark.parametrize("name", sorted({own.shown_by for own in DIFFERENCES}))
def test_what_shows_a_difference_is_a_test(name):
    files = [*ROOT.glob("tests/live/test_*.py"), *ROOT.glob("tests/stores/test_*.py")]
    defined = re.compile(rf"^def {name}\(", re.MULTILINE)
    assert any(defined.search(path.read_text("utf-8")) for path in files)


if __name__ == "__main__":  # to write the page anew
    print("\n".join([*gaps_table(), "", *reasons(), *differences_table()]))  # noqa: T201
