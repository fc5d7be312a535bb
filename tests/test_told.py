"""What options tell of views, and which names of it no view has."""

from __future__ import annotations

import pytest

from featkit.errors import SettingsError
from featkit.told import ToldViews, check_timestamp

TOLD = {"usrs": "7d", "shops": "1h"}


@pytest.fixture
def told() -> ToldViews[str]:
    return ToldViews("acme", TOLD, "")


def test_what_is_told_of_no_view_is_nothing(told: ToldViews[str]) -> None:
    assert (told.of("shops"), told.of("users")) == ("1h", "")


def test_a_name_that_no_view_has_is_told_once_and_stays_known(told: ToldViews[str]) -> None:
    told.compare(["users", "shops"], "in the store")
    (message,) = told.notices()
    assert message == (
        "what views={'usrs': {...}} ([acme.views.usrs] in the settings) says is not heeded: there "
        "is no feature view of this name in the store; did you mean 'users'?"
    )
    told.compare(["users", "shops"], "in the store")
    assert told.notices() == []
    assert told.wrong == (message,)


def test_of_some_views_only_what_is_much_like_one_of_them_is_wrong(told: ToldViews[str]) -> None:
    told.compare(["orders", "shop"], "here", whole=False)  # of both something may be told
    told.compare(["usr", "shops"], "here", whole=False)
    assert [message.rpartition("; ")[2] for message in told.notices()] == [
        "did you mean 'shop'?",
        "did you mean 'usr'?",
    ]


def test_a_name_within_a_view_is_told_as_well(told: ToldViews[str]) -> None:
    told.check("shops", "features", ["actve", "open"], ["active", "open"])
    (message,) = told.notices()
    assert "views={'shops': {'features': {'actve': {...}}}}" in message
    assert "did you mean 'active'?" in message


def test_what_may_be_misspelt_is_suspected_once(told: ToldViews[str]) -> None:
    assert told.suspects(["orders"]) == []
    assert told.suspects(["shops"]) == []  # of which something is told
    assert told.suspects(["users"]) == ["usrs"]
    assert told.suspects(["users"]) == []


def test_what_is_known_to_be_there_is_not_suspected(told: ToldViews[str]) -> None:
    told.compare(["users", "usrs", "shops"], "here")
    assert told.suspects(["users"]) == []
    assert told.notices() == []


def test_a_time_that_the_source_does_not_have_is_refused() -> None:
    check_timestamp("shops", "at", ["id", "at"])
    with pytest.raises(SettingsError, match=r"'shops' have timestamp='updated'.*'updated_at'"):
        check_timestamp("shops", "updated", ["id", "updated_at"])
