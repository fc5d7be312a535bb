"""The tree of errors is the one that its docstring draws."""

import inspect
import pickle
import re

import pytest

from featkit import errors
from featkit.errors import FeatkitError, FeatkitWarning, MissingExtraError, nearest

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, (FeatkitError, FeatkitWarning))
}
LINE = re.compile(
    r"(?P<indent>(?:[│ ]   )*)(?P<branch>[├└]── )?(?P<name>[A-Z]\w+)(?:  +(?P<says>.+))?"
)


def drawn():
    """Read the tree of the docstring: the parent of each class."""
    parents, path = {}, []
    tree = inspect.getdoc(errors).partition("::\n")[2].partition("\n\nA message")[0]
    for text in filter(str.strip, tree.splitlines()):
        line = LINE.fullmatch(text.removeprefix("    "))
        assert line, text
        depth = len(line["indent"]) // 4 + bool(line["branch"])
        path[depth:] = [line["name"]]
        parents[line["name"]] = path[depth - 1] if depth else None
    return parents


def test_docstring_draws_the_tree_of_classes():
    parents = {
        name: next((base.__name__ for base in each.__bases__ if base in CLASSES.values()), None)
        for name, each in CLASSES.items()
    }
    assert drawn() == parents


def test_everything_is_exported_sorted_and_described():
    assert errors.__all__ == sorted(CLASSES)
    assert [name for name, each in CLASSES.items() if not each.__dict__.get("__doc__")] == []


def test_each_class_has_one_parent_in_the_tree():
    several = [
        name
        for name, each in CLASSES.items()
        if sum(issubclass(base, (FeatkitError, FeatkitWarning)) for base in each.__bases__) > 1
    ]
    assert several == []


def test_names_tell_errors_from_warnings():
    assert all(
        name.endswith("Warning") == issubclass(each, FeatkitWarning)
        for name, each in CLASSES.items()
    )
    assert issubclass(FeatkitWarning, UserWarning)
    assert not issubclass(FeatkitError, Warning)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("SettingsError", ValueError),
        ("MissingExtraError", ImportError),
        ("InputError", ValueError),
        ("UnknownNameError", LookupError),
        ("KeyTypeError", TypeError),
        ("NotSupportedError", NotImplementedError),
        ("SourceError", OSError),
        ("DeadlineExceeded", TimeoutError),
    ],
)
def test_who_knows_only_the_builtins_catches_them_too(name, builtin):
    assert issubclass(CLASSES[name], builtin)


def example(kind):
    return kind("demo", "the demo") if kind is MissingExtraError else kind("what happened")


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_message_is_kept_and_survives_a_process_pool(kind):
    error = example(kind)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert str(again) == str(error)
    assert "what happened" in str(error) or kind is MissingExtraError


def test_errors_have_nothing_fetched_until_told():
    assert FeatkitError("x").partial is None


def test_missing_extra_says_how_to_install_it():
    error = MissingExtraError("demo", "the store demo:flights")
    assert error.extra == "demo"
    assert "needed for the store demo:flights" in str(error)
    assert 'python -m pip install "featkit-frames[demo]"' in str(error)


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("aircrafts", ["aircraft", "weather"], "did you mean 'aircraft'?"),
        ("ab", ["abc", "abd", "abe", "abf"], "did you mean 'abf' or 'abe' or 'abd'?"),
        ("zzz", ["b", "a", "a"], "there are: 'a', 'b'"),
        ("zzz", [], "there are none"),
        (
            "zzz",
            map(str, range(20)),
            "there are: '0', '1', '10', '11', '12', '13', '14', '15', ...",
        ),
    ],
)
def test_nearest_names_are_offered(name, known, expected):
    assert nearest(name, known) == expected
