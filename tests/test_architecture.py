"""The imports of featkit, read from its source: which way they go, and what stays outside."""

import ast
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import featkit

PACKAGE = Path(featkit.__file__).parent
LONGEST = 450  # lines of a module

# Names are those below featkit; "x.*" is every module of a package, the package among them. The
# layers go from the words that everybody may use to the faces that nobody imports: a module imports
# its own layer and those below.
LAYERS = {
    0: [
        *("errors", "types", "durations", "moments", "settings", "html", "forking", "waiting"),
        *("aligned", "choices", "options", "replacing", "structs", "told", "toml_words", "warned"),
        "_version",
    ],
    1: [
        *("dtypes", "schema", "columns", "freshness", "conversion", "calls", "flows", "queries"),
        *("report", "summary", "uncached", "failures"),
        *("definitions", "figures", "populations", "capabilities"),
        *("auth.*", "codecs.*"),
    ],
    2: [
        *("keys", "references", "history", "asof", "catalogue", "readable"),
        *("online.*", "staleness.*"),
    ],
    3: ["stores.*", "transports.*", "cache.*", "writing", "definition_edits", "files", "engines.*"],
    4: ["clients.*", "training.*", "audits.*", "frames.*", "reports.*", "widgets.*"],
    5: [
        "accessor",
        "frame_audits",
        "api",
        "cli.*",
        "__main__",
        "terminal",
        "demo.*",
        "pandas",
        "polars",
    ],
}
SIDE = ["testing.*"]  # imports what it likes; nobody imports it
INTERFACE = "featkit.stores.base"  # what logic knows of a store: flows of calls, no I/O
NEVER = {  # whom a room does not know, whatever the layer
    "stores": ["transports"],
    "transports": ["stores"],
    "frames": ["stores", "transports"],
}
LOADS_AT_ONCE = {  # the only modules that import these with themselves
    "pandas": {"featkit.conversion", "featkit.frames.pandas", "featkit.pandas"},
    "grpc": {"featkit.transports.grpc"},
    "httpcore": {"featkit.transports.pool"},
    "httpx": {"featkit.transports.http", "featkit.transports.pool"},
    "httpx2": {"featkit.transports.http"},
    "redis": {
        *("featkit.transports.redis", "featkit.transports.redis_failures"),
        "featkit.transports.slots",
    },
    "hiredis": {
        *("featkit.transports.redis", "featkit.transports.redis_failures"),
        "featkit.transports.resp",
    },
    "ipywidgets": {"featkit.widgets.browser"},
    "anywidget": {
        *("featkit.widgets.table", "featkit.widgets.details"),
        *("featkit.widgets.health", "featkit.widgets.staleness"),
    },
    "matplotlib": set(),
}
UNPICKLING = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@dataclass(frozen=True)
class Import:
    """One import: of what, and when it happens: with the module, in a function, or never."""

    target: str
    when: str


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree_of(name):
    return ast.parse(MODULES[name].read_text("utf-8"))


@cache
def imports_of(name):
    """Read the imports of a module: the module that each names, or gets a name from."""
    found = []
    for node, when in _walk(tree_of(name), "import"):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, when) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute here"
            names = [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
            found += [Import(whole if whole in MODULES else short, when) for whole, short in names]
    return found


def _walk(node, when):
    """Go through the statements, which are all that can hold imports."""
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        for child in getattr(node, part, ()):
            inner = when
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inner = "call"
            if part == "body" and isinstance(node, ast.If) and _is_for_types(node.test):
                inner = "never"
            yield child, inner
            yield from _walk(child, inner)


def _is_for_types(test):
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def breaches(rule):
    """Ask every module but the package itself; tell what those answer that break a rule."""
    names = sorted(set(MODULES) - {"featkit"})
    return {name: found for name in names if (found := rule(name))}


def matches(name, pattern):
    package = "featkit." + pattern.removesuffix(".*")
    return name == package or (pattern.endswith(".*") and name.startswith(package + "."))


@cache
def layers_of(name):
    return [layer for layer, room in LAYERS.items() if any(matches(name, each) for each in room)]


@cache
def is_side(name):
    return any(matches(name, each) for each in SIDE)


def room(name):
    return name.removeprefix("featkit.").partition(".")[0]


def library(name):
    return name.partition(".")[0]


# -- the table -----------------------------------------------------------------------------------


def test_every_module_has_its_place_in_the_table():
    def other_than_one(name):
        places = [*layers_of(name), *(["beside them"] if is_side(name) else [])]
        return places if len(places) > 1 else not places

    assert breaches(other_than_one) == {}


def test_every_place_in_the_table_is_taken():
    patterns = [*(each for room in LAYERS.values() for each in room), *SIDE]
    empty = [each for each in patterns if not any(matches(name, each) for name in MODULES)]
    assert empty == []


# -- which way imports go ------------------------------------------------------------------------


def test_imports_go_downward():
    def upward(name):
        if is_side(name):
            return []
        (own,) = layers_of(name)
        return [
            each.target
            for each in imports_of(name)
            if each.when != "never" and each.target in MODULES and each.target != "featkit"
            if is_side(each.target) or layers_of(each.target)[0] > own
            if each.target != INTERFACE or own < 2
        ]

    assert breaches(upward) == {}


def test_rooms_that_do_not_know_each_other():
    def strangers(name):
        return [
            each.target
            for each in imports_of(name)
            if each.target in MODULES and room(each.target) in NEVER.get(room(name), [])
            if each.target != INTERFACE or room(name) != "frames"
        ]

    assert breaches(strangers) == {}


def test_only_faces_import_the_package_itself():
    def imports_it(name):
        face = is_side(name) or layers_of(name) == [5]
        return not face and "featkit" in {each.target for each in imports_of(name)}

    assert breaches(imports_it) == {}


def test_no_module_is_imported_by_what_it_imports():
    graph = {
        name: {
            each.target
            for each in imports_of(name)
            if each.when != "never" and each.target in MODULES
            if each.target not in {"featkit", name}
        }
        for name in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other in a circle: {' -> '.join(error.args[1])}")


# -- what stays outside --------------------------------------------------------------------------


def test_heavy_libraries_are_imported_by_few():
    def heavy(name):
        at_once = {library(each.target) for each in imports_of(name) if each.when == "import"}
        return {each for each in at_once & set(LOADS_AT_ONCE) if name not in LOADS_AT_ONCE[each]}

    assert breaches(heavy) == {}


def test_only_two_modules_know_the_http_library():
    def known(name):
        ever = {library(each.target) for each in imports_of(name) if each.when != "never"}
        return ever & {"httpcore", "httpx", "httpx2"}

    assert set(breaches(known)) == {"featkit.transports.http", "featkit.transports.pool"}


def test_package_itself_imports_next_to_nothing():
    assert {each.target for each in imports_of("featkit")} == {"lazy_loader"}


def test_only_settings_read_the_environment():
    def read(name):
        nodes = list(ast.walk(tree_of(name)))
        named = {
            f"{node.value.id}.{node.attr}"
            for node in nodes
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        named |= {
            f"{node.module}.{alias.name}"
            for node in nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        return named & {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}

    assert set(breaches(read)) == {"featkit.settings"}


def test_nothing_is_unpickled():
    def unpickling(name):
        return {library(each.target) for each in imports_of(name)} & UNPICKLING

    assert breaches(unpickling) == {}


def test_no_module_imports_everything_of_another():
    def stars(name):
        imports = [node for node, _ in _walk(tree_of(name), "") if isinstance(node, ast.ImportFrom)]
        return [each.module for each in imports if each.names[0].name == "*"]

    assert breaches(stars) == {}


# -- size ----------------------------------------------------------------------------------------


def test_no_module_grows_too_long():
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


# -- the test itself -----------------------------------------------------------------------------


def test_imports_are_read_as_they_happen():
    when = {each.target: each.when for each in imports_of("featkit.columns")}
    assert when["featkit.dtypes"] == "import"
    assert when["featkit.conversion"] == "call"
    assert when["featkit.types"] == "never"
    assert "featkit.frames.pandas" in {each.target for each in imports_of("featkit.frames")}
