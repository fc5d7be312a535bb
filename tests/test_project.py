"""The project's own files agree with each other, and none of them knows where it was written."""

import re
import shutil
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")

LOCK_ENTRY = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[A-Za-z0-9.!+-]+)"
    r"(?: ; (?P<marker>[^;#]+?))?"
    r"(?: --hash=sha256:[0-9a-f]{64})+"
)


def specifiers(requirements):
    """Map each package, under its one canonical name, to the versions asked of it."""
    parsed = [Requirement(text) for text in requirements]
    return {canonicalize_name(each.name): each.specifier for each in parsed}


def conda_requirements():
    text = (ROOT / "environment.yml").read_text("utf-8")
    dependencies = text.partition("\ndependencies:\n")[2]
    return re.findall(r"^  - ([^:\n]+)$", dependencies, flags=re.MULTILINE)


def lock_lines():
    return [line.strip() for line in LOCK.replace("\\\n", " ").splitlines() if line.strip()]


def locked_versions():
    """Map each locked package to its versions: more than one where markers tell them apart."""
    versions = {}
    for line in lock_lines():
        name, version = re.match(r"([^=]+)==(\S+)", line).groups()
        versions.setdefault(name, []).append(version)
    return versions


def is_own(requirement):
    return canonicalize_name(Requirement(requirement).name) == PROJECT["name"]


def direct_requirements():
    """Return every requirement that pyproject.toml names, itself left out."""
    named = [*PROJECT["dependencies"], *PYPROJECT["build-system"]["requires"]]
    named += [requirement for extra in EXTRAS.values() for requirement in extra]
    return [requirement for requirement in named if not is_own(requirement)]


def tracked_texts():
    """Read the files that git tracks, or would on the next `git add`, where they are text."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git work tree")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file():
            raw = path.read_bytes()
            if b"\0" not in raw:
                yield name, raw.decode("utf-8", errors="replace")


def test_environment_names_the_core_dependencies():
    python, pip, *rest = conda_requirements()
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])
    assert pip == "pip"
    assert specifiers(rest) == specifiers(PROJECT["dependencies"])


def test_environment_installs_this_folder_with_an_extra_that_exists():
    text = (ROOT / "environment.yml").read_text("utf-8")
    (extra,) = re.findall(r"^      - -e \.\[(\w+)\]$", text, flags=re.MULTILINE)
    assert extra in EXTRAS


def test_lock_is_names_versions_markers_and_hashes():
    entries = {line: LOCK_ENTRY.fullmatch(re.sub(r"\s+", " ", line)) for line in lock_lines()}
    assert [line for line, entry in entries.items() if entry is None] == []
    for marker in filter(None, (entry["marker"] for entry in entries.values())):
        Marker(marker)


@pytest.mark.parametrize("word", ["http:", "https:", "file:", "//", "@", "index-url", "find-links"])
def test_lock_holds_no_address(word):
    assert word not in LOCK


def test_lock_satisfies_every_direct_requirement():
    locked = locked_versions()
    wanted = [Requirement(each) for each in direct_requirements()]
    missing = [each.name for each in wanted if canonicalize_name(each.name) not in locked]
    assert missing == []
    outside = [
        f"{each} but {version}"
        for each in wanted
        for version in locked[canonicalize_name(each.name)]
        if not each.specifier.contains(version)
    ]
    assert outside == []


def test_lock_of_the_demo_is_what_it_needs_of_the_other():
    pattern = re.compile(r"(\S+)==(\S+?)(?: ; [^\\]+?)?((?: --hash=\S+)+)")

    def read(text):
        lines = re.sub(r" +", " ", text.replace("\\\n", " ")).splitlines()
        return {match.groups() for match in map(pattern.fullmatch, lines) if match}

    demo = read((ROOT / "requirements-demo.lock").read_text("utf-8"))
    assert demo
    assert demo < read(LOCK)
    wanted = [*PROJECT["dependencies"], *EXTRAS["demo"], *PYPROJECT["build-system"]["requires"]]
    assert specifiers(wanted).keys() <= {name for name, _, _ in demo}


def test_no_requirement_is_named_twice():
    named = [*PROJECT["dependencies"], *(each for extra in EXTRAS.values() for each in extra)]
    counts = Counter(
        canonicalize_name(Requirement(each).name) for each in named if not is_own(each)
    )
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_requirement_has_a_lower_bound():
    loose = [each for each in direct_requirements() if ">=" not in each]
    assert loose == []


def test_dev_holds_every_other_extra_of_contributors():
    (own,) = [Requirement(each) for each in EXTRAS["dev"] if is_own(each)]
    assert own.extras == set(EXTRAS) - {"dev"}


@pytest.mark.slow
def test_every_extra_that_a_text_names_exists():
    pattern = re.compile(rf"{PROJECT['name']}\[([a-z, -]+)\]")
    unknown = [
        (name, extra.strip())
        for name, text in tracked_texts()
        for extras in pattern.findall(text)
        for extra in extras.split(",")
        if extra.strip() not in EXTRAS
    ]
    assert unknown == []


def test_build_backend_is_the_same_in_dev():
    built_with = specifiers(PYPROJECT["build-system"]["requires"])
    assert built_with.items() <= specifiers(EXTRAS["dev"]).items()


def test_types_are_shipped():
    assert (ROOT / "featkit" / "py.typed").is_file()


@pytest.mark.slow
def test_no_tracked_file_knows_this_machine():
    places = {str(ROOT), str(Path.home())} - {"/"}
    pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(each)}(?![\w-])" for each in places))
    knowing = [name for name, text in tracked_texts() if pattern.search(text)]
    assert knowing == []


@pytest.mark.slow
def test_nobody_is_sent_to_the_package_of_another_project():
    # the bare import name is taken on the package index
    pattern = re.compile(r"pip install [\"']?featkit(?!-frames)")
    sending = [name for name, text in tracked_texts() if pattern.search(text)]
    assert sending == []
