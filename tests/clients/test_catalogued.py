"""The catalogue of a store that is down, from the cache that outlives the kernel."""

import subprocess
import sys
from datetime import timedelta

import pytest

import featkit
from featkit.errors import AuthError, StoreUnavailable
from featkit.testing import contract_views
from tests.fakes.feast import PROJECT, FeastFake, served

TOKEN = "canary"
NAMES = [view.name for view, _ in contract_views()]
ONCE = featkit.Retry(attempts=1, reconnect=timedelta(0))
KERNEL = """
import sys, featkit
url, place, token = sys.argv[1:]
options = featkit.CacheOptions(target=place, metadata_ttl="1m", stale_if_error="1m")
store = featkit.connect(f"feast+{url}", registry_url=url, project="contract", token=token,
                        cache=options, retry=featkit.Retry(attempts=1))
print(store.browse().note.value)
"""


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "cache.sqlite")


def connect(url, place, *, kind=featkit.connect, token=TOKEN):
    """Connect with a cache in which nothing is good for more than two minutes."""
    options = place and featkit.CacheOptions(target=place, metadata_ttl="1m", stale_if_error="1m")
    known = {"registry_url": url, "project": PROJECT, "token": token}
    return kind(f"feast+{url}", cache=options, retry=ONCE, **known)


@pytest.fixture
def gone(place, replies_age):
    """Look around in a store; it is gone since, and its replies have become too old."""
    replies_age(-150)
    with served(FeastFake(contract_views(), token=TOKEN)) as url, connect(url, place) as client:
        found = client.browse().catalogue
        assert (found.problem, client.browse().note.value) == ("", "")
    replies_age(150)
    return url


@pytest.mark.slow
def test_a_new_kernel_shows_what_the_last_one_saw(gone, place):
    done = subprocess.run(
        [sys.executable, "-c", KERNEL, gone, place, TOKEN],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0].endswith(": 5 feature views, 13 features")
    assert lines[1].startswith("note: This is the catalogue of ")
    assert "s ago, since " in lines[1]
    assert "no connection" in lines[-1]


def test_it_says_how_old_it_is(gone, place):
    with connect(gone, place) as client:
        browser = client.browse()
        assert sorted(view.name for view in browser.catalogue.views) == sorted(NAMES)
        now = browser.catalogue.read_at
        assert browser.catalogue.since(now + timedelta(hours=26, minutes=5)).startswith(
            "This is the catalogue of 1d2h ago, since "
        )
        assert "This is the catalogue of" in browser.catalogue._repr_html_()
        browser.refresh()
        assert "This is the catalogue of" in browser.note.value
        with pytest.raises(StoreUnavailable):  # only who looks around is served from then
            client.list_feature_views()


@pytest.mark.anyio
async def test_asyncio_shows_it_too(gone, place):
    client = connect(gone, place, kind=featkit.connect_async)
    assert (await client.browse()).catalogue.problem
    await client.close()


@pytest.mark.parametrize("kept", [False, True])
def test_without_a_catalogue_from_before_it_is_an_error(gone, tmp_path, kept):
    with (
        connect(gone, str(tmp_path / "other.sqlite") if kept else None) as client,
        pytest.raises(StoreUnavailable, match="no connection"),
    ):
        client.browse()


def test_a_store_that_refuses_is_not_one_that_is_down(place, replies_age):
    fake = FeastFake(contract_views(), token=TOKEN)
    with served(fake) as url, connect(url, place) as client:
        client.browse()
        fake.token = "another"
        replies_age(150)
        with pytest.raises(AuthError), connect(url, place) as other:
            other.browse()


def test_what_nobody_asked_before_is_told(place):
    with served(FeastFake(contract_views(), token=TOKEN)) as url, connect(url, place) as client:
        client.list_feature_views()
    with connect(url, place) as client:
        found = client.browse().catalogue
    assert len(found.views) == len(NAMES)
    assert "no connection" in found.notes[0]
