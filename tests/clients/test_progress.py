"""Progress: counted in keys, shown to people, silent elsewhere."""

import io
import threading

import polars as pl
import pytest

import featkit
from featkit.clients import progress
from featkit.errors import InputError
from featkit.transports.drive import Silent


class Terminal(io.StringIO):
    """What stderr is where a person watches."""

    def isatty(self):
        return True


@pytest.fixture
def frame(scripted_store):
    featkit.connect(scripted_store(batch_size=4))
    return pl.DataFrame({"shop": [*range(10), None, 3]})


def told(frame, **options):
    heard = []
    frame.features.enrich("shops:visits", progress=lambda *args: heard.append(args), **options)
    return heard


def test_callback_hears_keys_done_keys_in_all_and_the_stage(frame):
    heard = told(frame)
    assert [total for _, total, _ in heard] == [10, 10, 10]
    done = [done for done, _, _ in heard]
    assert done == sorted(done)
    assert done[-1] == 10
    assert {stage for _, _, stage in heard} == {"lookup"}


@pytest.mark.anyio
async def test_callback_of_an_async_call_hears_the_same(frame):
    heard = []
    await frame.features.enrich_async("shops:visits", progress=lambda *args: heard.append(args))
    assert len(heard) == 3
    assert heard[-1] == (10, 10, "lookup")


def test_callback_hears_of_keys_that_failed_too(scripted_store):
    def answer(_):
        raise featkit.errors.StoreError("down")

    featkit.connect(scripted_store(answer=answer, batch_size=1))
    assert told(pl.DataFrame({"shop": [1, 2]}), on_error="null")[-1] == (2, 2, "lookup")


def test_callback_hears_nothing_without_keys(scripted_store):
    featkit.connect(scripted_store())
    assert told(pl.DataFrame({"shop": [None]})) == []


@pytest.mark.parametrize("option", ["yes", 1, 0.5])
def test_other_options_are_refused(frame, option):
    with pytest.raises(InputError, match=f"progress={option!r} is not an option; pass True, False"):
        frame.features.enrich(["shops:visits"], progress=option)


def test_error_in_a_callback_reaches_the_caller(frame):
    def callback(*_):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        frame.features.enrich("shops:visits", progress=callback)
    assert frame.features.enrich("shops:visits")["visits"].null_count() == 3


@pytest.mark.parametrize("option", [None, False])
def test_silent_off_a_terminal(frame, capfd, option):
    frame.features.enrich("shops:visits", progress=option)
    assert capfd.readouterr() == ("", "")


def test_bar_on_request_goes_to_stderr_and_counts_keys(frame, capfd):
    frame.features.enrich("shops:visits", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "/10.0" in err
    assert "keys" in err


def test_quick_calls_show_no_bar_on_a_terminal(frame, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    frame.features.enrich("shops:visits")
    assert terminal.getvalue() == ""


def test_long_calls_show_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress.watched(None, patience=1e-9) as watcher:
        watcher.expect(2)
        threading.Event().wait(0.12)  # tqdm draws ten times a second at the most
        watcher.advance(2)
    assert "keys" in terminal.getvalue()


def test_no_stderr_no_bar(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    with progress.watched(None) as watcher:
        assert isinstance(watcher, Silent)
