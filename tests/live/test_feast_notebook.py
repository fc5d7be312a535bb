"""The notebook about Feast, against a real Feast."""

import pytest

from tests.test_notebooks import ROOT, run_notebook

pytestmark = [pytest.mark.live, pytest.mark.slow]


def settings_of(where):
    """Say where the servers are, as a user's environment would."""
    return {
        "FEATKIT_BACKEND": "feast",
        "FEATKIT_FEAST__SERVER_URL": where["server_url"],
        "FEATKIT_FEAST__REGISTRY_URL": where["registry_url"],
        "FEATKIT_FEAST__OFFLINE_URL": where["offline_url"],
        "FEATKIT_FEAST__PROJECT": "flights",
    }


def test_the_notebook_says_what_a_real_feast_answers(feast_flights):
    done = run_notebook(ROOT / "notebooks" / "05_feast.ipynb", **settings_of(feast_flights))
    assert done.returncode == 0, done.stdout[-6000:]
