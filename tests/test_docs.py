"""The pages say what is so: the picture of the flow, the links, the command lines, the tables."""

import ast
import importlib
import re
import shlex
import sys
import tomllib
from pathlib import Path

import polars as pl
import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

import featkit
from featkit.cli import app
from featkit.stores.base import Store

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: path.as_posix()
)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(page, language):
    """Return the fenced blocks of a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


# -- links ---------------------------------------------------------------------------------------


def anchors(page):
    """Return the anchors of a page's headings, as Git hosts make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.is_file() or (anchor and anchor not in anchors(place)):
            lost.append(link)
    assert lost == []


def test_every_page_is_linked():
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+\.md[^)\s]*)\)", page.read_text("utf-8"))
        if not link.startswith("http")
    }
    alone = [page for page in PAGES if page.parent != ROOT and page not in linked]
    assert alone == []


def test_decisions_are_numbered_and_listed():
    index = (ROOT / "docs/decisions/index.md").read_text("utf-8")
    records = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    for number, record in enumerate(records, 1):
        title = record.read_text("utf-8").partition("\n")[0]
        assert record.name.startswith(f"{number:04}-")
        assert title.startswith(f"# {number}. ")
        assert f"{number}. [{title.partition('. ')[2]}]({record.name})" in index
        for part in ("Context", "Decision", "Reason", "Consequence"):
            assert record.read_text("utf-8").count(f"**{part}.**") == 1


# -- the picture of the flow ---------------------------------------------------------------------


def steps():
    """Read the names of the functions in the picture, from top to bottom."""
    (picture,) = [
        text for text in blocks(ROOT / "docs/concepts.md", "text") if "your frame" in text
    ]
    return re.findall(r"^([a-z_]+(?:\.\w+)+)", picture, re.MULTILINE)


def code_of(step):
    """Return the code of a step: that of a function, or of all that override a method."""
    parts = step.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(["featkit", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        break
    owner = found
    for name in parts[cut:]:
        owner, found = found, getattr(found, name)
    kinds = [owner]
    for kind in kinds if isinstance(owner, type) else ():
        kinds += kind.__subclasses__()
    made = [vars(kind).get(parts[-1]) for kind in kinds]
    return {getattr(each, "__func__", each).__code__ for each in made if each is not None}


def test_the_picture_is_what_happens():
    store = featkit.connect("demo:flights")
    frame = pl.DataFrame({"tailnum": ["N14228", None, "N14228"]})
    wanted = steps()
    names = {code: step for step in wanted for code in code_of(step)}
    seen = []

    def note(called, event, _):
        if event == "call" and called.f_code in names:
            seen.append(names[called.f_code])

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        enriched = frame.features.enrich(["aircraft:seats"], store=store)
    finally:
        sys.setprofile(before)
    assert enriched["seats"].to_list() == [149, None, 149]
    perform = "transports.drive.Transports.perform"  # it reads definitions and keys before, as well
    assert list(dict.fromkeys(step for step in seen if step != perform)) == [
        step for step in wanted if step != perform
    ]
    place = wanted.index(perform)
    asked = seen[seen.index(wanted[place - 1]) :]
    assert asked.index(perform) < asked.index(wanted[place + 1])


def test_the_picture_shows_the_store_as_stores_see_it():
    assert "stores.base.Store.read_online" in steps()
    assert issubclass(type(featkit.connect("demo:flights").operations.store), Store)


# -- command lines -------------------------------------------------------------------------------


def sessions():
    for page in PAGES:
        for number, block in enumerate(blocks(page, "console")):
            yield pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")


def tidy(text):
    """Leave out what differs from run to run, and blanks at the ends of lines."""
    text = re.sub(r"\d+\.\d\d s$", "0.00 s", text, flags=re.MULTILINE)
    if " ms " in text:  # a column as wide as the time is long
        text = re.sub(r"─+", "─", re.sub(r" +(\d+ ms|took) ", " took ", text))
    text = re.sub(r"\(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)", "(now)", text)
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("session", list(sessions()))
def test_command_lines_print_what_the_page_shows(session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flights = featkit.demo.flights("polars")
    flights.write_parquet("flights.parquet")
    flights.head(5).write_csv("flights.csv")
    for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        name, *arguments = shlex.split(command)
        assert name == "featkit"
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert tidy(done.output) == tidy(expected)


def test_the_commands_are_all_on_their_page():
    page = (ROOT / "docs/cli.md").read_text("utf-8")
    help_text = CliRunner().invoke(app, ["--help"]).stdout
    commands = re.findall(r"^. +([a-z-]+) {2,}[A-Z]", help_text, re.MULTILINE)
    listed = ["demo", "views", "show", "lookup", "enrich", "training-set"]
    listed += ["health", "staleness", "audit"]
    assert commands == [*listed, "cache"]
    for command in commands:
        assert re.search(rf"^featkit {command} ", page, re.MULTILINE)
        text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
        for option in set(re.findall(r"--[a-z-]+", text)) - {"--help"}:
            assert f"`{option}" in page


# -- dependencies --------------------------------------------------------------------------------


def named_dependencies():
    """Read the table of the decision record: by package, where it belongs and what it is for."""
    text = (ROOT / "docs/decisions/0004-dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| (core|\w+) \| (.+) \|$", text, re.MULTILINE)
    return {name: (extra, reason) for name, extra, reason in rows if name != "package"}


def test_every_dependency_has_its_reason():
    declared = {Requirement(text).name: "core" for text in PROJECT["dependencies"]}
    for extra, texts in PROJECT["optional-dependencies"].items():
        names = [Requirement(text).name for text in texts]
        declared |= {name: extra for name in names if name != PROJECT["name"]}
    assert {name: extra for name, (extra, _) in named_dependencies().items()} == declared


def test_what_is_said_to_be_unused_is():
    imported = set()
    for path in (ROOT / "featkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
    core = {
        name: reason for name, (extra, reason) in named_dependencies().items() if extra == "core"
    }
    unused = {name for name, reason in core.items() if reason.startswith("not used yet")}
    assert unused == {name for name in core if name.replace("-", "_") not in imported}


# -- what no page does ---------------------------------------------------------------------------


@each_page
def test_pages_name_no_place_of_one_machine(page):
    text = page.read_text("utf-8")
    assert str(ROOT) not in text
    assert not re.search(r"(?<![\w.~:/])/(home|root|tmp|usr|work)/", text)


def test_examples_leave_nothing_behind():
    data = {".parquet", ".csv", ".arrow", ".feather"}
    assert [path.name for path in ROOT.iterdir() if path.suffix in data] == []
    assert not (ROOT / "feature_views.toml").exists()


def test_readme_names_both_commands():
    text = (ROOT / "README.md").read_text("utf-8")
    assert "make demo" in text
    assert "make test" in text
