"""The examples in README.md and docs/ run as tests, each page in an empty folder of its own."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

collect_ignore = ["docs/conf.py"]  # of Sphinx, no place for examples


def setup(namespace: dict[str, Any]) -> None:
    """Enter an empty folder, and forget the settings of whoever runs the tests."""
    # not tmp_path: the folder is for all examples of a page, which build on each other
    namespace["_folder"] = folder = tempfile.TemporaryDirectory(prefix="featkit-page-")
    namespace["_patch"] = patch = pytest.MonkeyPatch()
    patch.chdir(Path(folder.name))
    for name in [name for name in os.environ if name.startswith("FEATKIT_")]:
        patch.delenv(name)


def teardown(namespace: dict[str, Any]) -> None:
    """Leave the folder and remove it."""
    namespace["_patch"].undo()
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["*.md"],
    setup=setup,
    teardown=teardown,
).pytest()
