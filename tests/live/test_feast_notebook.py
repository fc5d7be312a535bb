"""The notebook about Feast, against a real Feast."""

import pytest

from tests.test_notebooks import ROOT, run_notebook

pytestmark = [pytest.mark.live, pytest.mark.slow]


def settings_of(feast):
    """Say where the servers are, as a user's environment would."""
    return {
        "FEATKIT_BACKEND": "feast",
        "FEATKIT_FEAST__SERVER_URL": feast.server_url,
        "FEATKIT_FEAST__REGISTRY_URL": feast.registry_url,
        "FEATKIT_FEAST__PROJECT": feast.project,
    }


def test_the_notebook_says_what_a_real_feast_answers(feast):
    done = run_notebook(ROOT / "notebooks" / "05_feast.ipynb", **settings_of(feast))
    assert done.returncode == 0, done.stdout[-6000:]
