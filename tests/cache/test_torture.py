"""A short version of `make torture`."""

import pytest

from tests.torture.cache import crowd, kills


@pytest.mark.slow
def test_nothing_that_was_acknowledged_is_lost_by_a_kill(tmp_path):
    found = kills(5, tmp_path / "cache.sqlite", seed=2)
    assert found.pop("acknowledged") > 0
    assert found == {"kills": 5, "lost": 0, "wrong": 0, "warnings": 0}


@pytest.mark.slow
def test_a_crowd_of_processes_reads_the_truth(tmp_path):
    found = crowd(3, 60, tmp_path / "cache.sqlite")
    assert found == {"processes": 3, "operations": 180, "wrong": 0, "errors": 0}
