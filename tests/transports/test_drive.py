"""The two drivers of flows: the same results, in threads and in asyncio."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

import featkit
from featkit.calls import Call, LocalRead
from featkit.errors import ClosedError, DeadlineExceeded, StoreError

BOUND = 8  # calls at once


@pytest.fixture
def client(scripted_store):
    with featkit.connect(scripted_store()) as client:
        yield client


@pytest.fixture(params=["sync", "async"])
def run(request, client):
    """Run a flow to its end on a client: in this thread, or in an event loop."""
    if request.param == "sync":
        return client.run
    return lambda flow, **options: asyncio.run(client.arun(flow, **options))


@pytest.fixture
def release():
    """Hold calls until the test is over, so that no thread outlives it."""
    event = threading.Event()
    yield event
    event.set()


def call(run, *, decode=lambda reply: reply, keys=0):
    return Call(LocalRead(run, "the test"), decode=decode, keys=keys)


def one(effect):
    """Make a flow of one effect, which returns what comes back."""
    return (yield effect)


def failing(message):
    def run():
        raise StoreError(message)

    return call(run)


@contextmanager
def patience(seconds):
    """Stop waiting for a thread that should have been done long ago."""
    guard = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    guard.start()
    try:
        yield
    finally:
        guard.cancel()


# -- effects and what is sent back ---------------------------------------------------------------


def test_call_is_performed_and_its_decoded_reply_sent_back(run):
    assert run(one(call(lambda: "2", decode=int))) == 2


def test_calls_together_answer_in_the_order_asked(run):
    second_done = threading.Event()
    first = call(lambda: second_done.wait(10) and "first")
    second = call(lambda: second_done.set() or "second")
    assert run(one([first, second])) == ["first", "second"]


def test_no_calls_at_all_answer_at_once(run):
    assert run(one([])) == []


def test_flow_that_yields_nothing_returns_at_once(run):
    def flow():
        return "done"
        yield

    assert run(flow()) == "done"


def test_flow_goes_on_from_effect_to_effect(run):
    def flow():
        first = yield call(lambda: 1)
        more = yield [call(lambda: first + 1), call(lambda: first + 2)]
        inner = yield from one(call(lambda: sum(more)))
        return first, more, inner

    assert run(flow()) == (1, [2, 3], 5)


def test_failure_of_one_call_is_raised_inside_the_flow(run):
    def flow():
        try:
            yield failing("no")
        except StoreError as error:
            told = f"went on after {error}"
        return (yield call(lambda: told))

    assert run(flow()) == "went on after no"
    with pytest.raises(StoreError, match="no"):
        run(one(failing("no")))


def test_failures_of_calls_together_are_among_the_answers(run):
    answers = run(one([call(lambda: 1), failing("no"), call(lambda: 3)]))
    assert [answers[0], str(answers[1]), answers[2]] == [1, "no", 3]
    (alone,) = run(one([failing("alone")]))
    assert isinstance(alone, StoreError)


def test_failure_to_decode_is_a_failure_of_the_call(run):
    def decode(_):
        raise StoreError("unreadable")

    first, second = run(one([call(lambda: 1, decode=decode), call(lambda: 2)]))
    assert (str(first), second) == ("unreadable", 2)


@pytest.mark.parametrize("together", [False, True])
def test_other_errors_come_out_and_the_flow_is_closed(run, together):
    closed = []

    def flow():
        try:
            wrong = call(lambda: 1 / 0)
            yield [wrong, call(lambda: 2)] if together else wrong
        finally:
            closed.append(True)

    with pytest.raises(ZeroDivisionError):
        run(flow())
    assert closed == [True]
    assert run(one(call(lambda: "usable"))) == "usable"


def test_decoding_happens_where_the_reply_arrived(run):
    names = []

    def decode(name):
        names.append((name, threading.current_thread().name))

    calls = [call(lambda: threading.current_thread().name, decode=decode) for _ in range(3)]
    run(one(calls))
    assert all(received == decoded for received, decoded in names)
    assert all(name.startswith("featkit") for name, _ in names)


# -- the bound -----------------------------------------------------------------------------------


def test_eight_calls_run_at_once_and_never_more(run):
    barrier, lock = threading.Barrier(BOUND), threading.Lock()
    running, most = 0, 0

    def work():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(10)  # passes only where eight are here together
        with lock:
            running -= 1

    run(one([call(work) for _ in range(3 * BOUND)]))
    assert most == BOUND


def test_event_loop_goes_on_while_calls_run(client):
    async def main():
        ticked = threading.Event()
        asyncio.get_running_loop().call_soon(ticked.set)
        return await client.arun(one(call(lambda: ticked.wait(10))))

    assert asyncio.run(main()) is True


def test_sync_driver_works_inside_a_running_loop(client):
    async def main():
        return client.run(one([call(lambda: 1), call(lambda: 2)]))

    assert asyncio.run(main()) == [1, 2]


def test_many_threads_share_a_client(client):
    answers = {}

    def work(number):
        answers[number] = client.run(one([call(lambda n=n: (number, n)) for n in range(5)]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [(number, n) for n in range(5)] for number in range(16)}


# -- deadlines -----------------------------------------------------------------------------------


@pytest.fixture
def hurried(scripted_store):
    """Make clients with a timeout."""
    return lambda timeout: featkit.connect(scripted_store(), timeout=timeout)


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_what_is_late_is_an_error_and_what_came_is_kept(hurried, release, driver):
    client = hurried(timedelta(milliseconds=200))

    def flow():
        answers = yield [call(lambda: "came"), call(release.wait), call(lambda: "came too")]
        return answers

    found = client.run(flow()) if driver == "sync" else asyncio.run(client.arun(flow()))
    release.set()
    assert [found[0], found[2]] == ["came", "came too"]
    assert isinstance(found[1], DeadlineExceeded)
    assert "s have passed" in str(found[1])
    assert "timeout='" in str(found[1])


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_nothing_is_begun_after_the_deadline(hurried, driver):
    client, done = hurried(0), []
    flow = one(call(lambda: done.append(True)))
    with pytest.raises(DeadlineExceeded):
        client.run(flow) if driver == "sync" else asyncio.run(client.arun(flow))
    assert done == []


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_what_is_too_late_fails_inside_the_flow(hurried, driver):
    client = hurried(0)

    def flow():
        with pytest.raises(DeadlineExceeded):
            yield call(lambda: 1)
        return (yield [call(lambda: 1), call(lambda: 2)])

    found = client.run(flow()) if driver == "sync" else asyncio.run(client.arun(flow()))
    assert [type(each) for each in found] == [DeadlineExceeded, DeadlineExceeded]


def test_deadline_of_one_call_is_not_that_of_the_next(hurried, release):
    client = hurried(timedelta(milliseconds=200))
    late = client.run(one([call(release.wait), call(lambda: 1)]))
    assert isinstance(late[0], DeadlineExceeded)
    release.set()
    assert client.run(one([call(lambda: 1), call(lambda: 2)])) == [1, 2]


@pytest.mark.slow
def test_lookup_that_is_too_late_keeps_what_it_has(scripted_store, release):
    def answer(read):
        if read.keys["shop"][0] == 2:
            release.wait()
        return scripted_store.honest(read)

    store = scripted_store(answer=answer, batch_size=1)
    client = featkit.connect(store, timeout=timedelta(seconds=1))
    with pytest.raises(DeadlineExceeded) as caught:
        client.lookup([1, 2, 3], "shops:visits")
    release.set()
    assert caught.value.partial.statuses["visits"].to_list() == ["PRESENT", "ERROR", "PRESENT"]


@pytest.mark.parametrize("on_error", ["raise", "null"])
def test_frame_that_is_too_late_keeps_what_was_fetched(scripted_store, on_error):
    def answer(read):
        threading.Event().wait(0.15)  # read in this thread, which nobody can stop
        return scripted_store.honest(read)

    featkit.connect(scripted_store(answer=answer), timeout=timedelta(milliseconds=100))
    frame = pl.DataFrame({"shop": [1, 2]})
    with pytest.raises(DeadlineExceeded) as caught:
        frame.features.enrich("shops:visits", on_error=on_error)
    assert caught.value.partial.statuses["visits"].to_list() == ["PRESENT", "PRESENT"]


# -- interrupting and cancelling -----------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to one process")
@pytest.mark.parametrize("calls", [1, 3 * BOUND])
def test_ctrl_c_ends_the_call_at_once_and_leaves_the_client_usable(client, release, calls):
    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(10)

    with pytest.raises(KeyboardInterrupt), patience(10):
        client.run(one([call(interrupted), *[call(release.wait)] * (calls - 1)]))
    release.set()
    barrier = threading.Barrier(BOUND)
    assert len(client.run(one([call(lambda: barrier.wait(10)) for _ in range(BOUND)]))) == BOUND


@pytest.mark.anyio
async def test_cancelled_calls_leave_every_slot_free(client, release):
    begun = threading.Barrier(BOUND + 1)
    waiting = [call(lambda: (begun.wait(10), release.wait(10)))] * BOUND
    task = asyncio.create_task(client.arun(one(waiting * 3)))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    barrier = threading.Barrier(BOUND)
    again = await client.arun(one([call(lambda: barrier.wait(10)) for _ in range(BOUND)]))
    assert len(again) == BOUND


def undone(work):
    """Make a call that can be undone, and what is set once that has happened."""
    ended = threading.Event()
    return replace(call(work), undo=call(ended.set)), ended


def test_what_failed_or_came_is_not_undone(run):
    good, once = undone(lambda: "done")
    assert run(one(good)) == "done"
    bad, again = undone(failing("no").request.run)
    with pytest.raises(StoreError):
        run(one(bad))
    assert not once.is_set()
    assert not again.is_set()


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_what_there_is_no_time_for_is_undone(scripted_store, driver):
    def flow():
        yield call(lambda: time.sleep(0.1))
        return (yield slow)

    slow, ended = undone(lambda: "late")
    with featkit.connect(scripted_store(), timeout="0.05s") as client:
        with pytest.raises(DeadlineExceeded):
            client.run(flow()) if driver == "sync" else asyncio.run(client.arun(flow()))
        assert ended.wait(10)


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_of_what_was_asked_together_that_is_undone_which_came_too_late(
    scripted_store, driver, release
):
    (soon, once), (slow, ended) = undone(lambda: "soon"), undone(lambda: release.wait(10))
    with featkit.connect(scripted_store(), timeout="0.05s") as client:
        calls = one([soon, slow])
        found = client.run(calls) if driver == "sync" else asyncio.run(client.arun(calls))
        assert found[0] == "soon"
        assert isinstance(found[1], DeadlineExceeded)
        assert ended.wait(10)
        assert not once.is_set()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to one process")
def test_what_ctrl_c_interrupts_is_undone(client, release):
    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(10)

    calls, events = zip(*(undone(work) for work in (interrupted, release.wait)), strict=True)
    with pytest.raises(KeyboardInterrupt), patience(10):
        client.run(one(list(calls)))
    assert all(event.wait(10) for event in events)


@pytest.mark.anyio
async def test_what_is_cancelled_is_undone(client, release):
    begun = threading.Event()
    slow, ended = undone(lambda: (begun.set(), release.wait(10)))
    task = asyncio.create_task(client.arun(one(slow)))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 10)


# -- closing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["sync", "async"])
def test_closing_while_calls_wait_fails_them_and_hangs_nobody(scripted_store, release, driver):
    client = featkit.connect(scripted_store())
    begun = threading.Barrier(BOUND + 1)

    def work():
        begun.wait(10)
        release.wait(10)
        return "done"

    def close():
        begun.wait(10)
        client.close()
        release.set()

    calls = [call(work)] * BOUND + [call(lambda: "never begun")] * BOUND
    closing = threading.Thread(target=close)
    closing.start()
    with patience(10):
        found = client.run(one(calls)) if driver == "sync" else asyncio.run(client.arun(one(calls)))
    closing.join()
    assert found[:BOUND] == ["done"] * BOUND
    assert {type(each) for each in found[BOUND:]} == {ClosedError}
    with pytest.raises(ClosedError):
        client.run(one(call(lambda: 1)))


@pytest.mark.parametrize("driver", ["sync", "async"])
@pytest.mark.parametrize("together", [False, True])
def test_closing_undoes_what_runs_at_the_store(scripted_store, release, driver, together):
    client = featkit.connect(scripted_store())
    begun = threading.Event()
    slow, ended = undone(lambda: (begun.set(), release.wait(10)))
    done, never = undone(lambda: "done")

    def flow():
        yield done
        yield [slow, call(lambda: 1)] if together else slow
        yield call(lambda: 2)

    def close():
        begun.wait(10)
        client.close()
        release.set()

    closing = threading.Thread(target=close)
    closing.start()
    with patience(10), pytest.raises(ClosedError):
        client.run(flow()) if driver == "sync" else asyncio.run(client.arun(flow()))
    closing.join()
    assert ended.is_set()
    assert not never.is_set()


@pytest.mark.anyio
async def test_closing_in_a_task_undoes_what_runs_for_another_one(scripted_store, release):
    client = featkit.connect_async(scripted_store())
    begun = threading.Event()
    slow, ended = undone(lambda: (begun.set(), release.wait(10)))
    task = asyncio.create_task(client.arun(one([slow, slow])))
    await asyncio.to_thread(begun.wait, 10)
    await client.close()
    assert ended.is_set()
    release.set()
    await task


def test_an_undoing_that_fails_keeps_nobody_from_closing(scripted_store, release):
    client = featkit.connect(scripted_store())
    begun = threading.Event()
    slow, _ = undone(lambda: (begun.set(), release.wait(10)))
    waiting = threading.Thread(target=lambda: client.run(one(replace(slow, undo=failing("no")))))
    waiting.start()
    assert begun.wait(10)
    client.close()
    release.set()
    waiting.join(10)


def threads_of_featkit():
    return {each for each in threading.enumerate() if each.name.startswith("featkit")}


def test_threads_end_with_the_client(scripted_store):
    before = threads_of_featkit()
    client = featkit.connect(scripted_store())
    client.run(one([call(lambda: 1)] * 4))
    own = threads_of_featkit() - before
    assert own
    client.close()
    for thread in own:
        thread.join(10)
    assert not any(thread.is_alive() for thread in own)


def test_client_that_is_forgotten_ends_its_threads_without_a_warning(scripted_store):
    before = threads_of_featkit()
    store = scripted_store()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = featkit.connect(store)
        client.run(one([call(lambda: 1)] * 4))
        own = threads_of_featkit() - before
        featkit.use(featkit.connect(scripted_store()))
        del client
        gc.collect()
    for thread in own:
        thread.join(10)
    assert not any(thread.is_alive() for thread in own)
    assert store.closed == 1


# -- forking -------------------------------------------------------------------------------------

FORK = """
import os, signal, threading
import featkit
from featkit.calls import Call, LocalRead
from featkit.stores.base import Store

class Nothing(Store):
    scheme = "nothing"
    open = list_feature_views = read_online = None

def flow():
    return (yield [Call(LocalRead(os.getpid, "x"), keys=1) for _ in range(30)])

Nothing.__abstractmethods__ = frozenset()
client = featkit.connect(Nothing())
assert set(client.run(flow())) == {os.getpid()}
children = []
for _ in range(3):
    if not (pid := os.fork()):
        signal.alarm(20)
        os._exit(0 if set(client.run(flow())) == {os.getpid()} else 1)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
assert set(client.run(flow())) == {os.getpid()}
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_processes_use_the_client_with_threads_of_their_own():
    # since 3.12 Python warns of forks beside threads, which are the point here
    quiet = ["-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, *quiet, "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# -- progress ------------------------------------------------------------------------------------


def test_progress_counts_the_keys_of_calls_that_are_done(run):
    heard = []
    calls = [call(lambda: 1, keys=keys) for keys in (3, 4, 5)]
    run(one(calls), progress=lambda *args: heard.append(args))
    assert heard[-1] == (12, 12, "lookup")
    assert [done for done, _, _ in heard] == sorted(done for done, _, _ in heard)
    assert {total for _, total, _ in heard} == {12}


def test_progress_goes_on_over_several_effects(run):
    def flow():
        yield [call(lambda: 1, keys=2), call(lambda: 1, keys=2)]
        yield [call(lambda: 1, keys=1)]
        yield call(lambda: 1)

    heard = []
    run(flow(), progress=lambda *args: heard.append(args[:2]))
    assert heard == [(2, 4), (4, 4), (5, 5)]


def test_progress_counts_calls_that_fail(run):
    heard = []
    failed = [Call(failing("no").request, keys=2), call(lambda: 1, keys=3)]
    run(one(failed), progress=lambda *args: heard.append(args))
    assert heard[-1][:2] == (5, 5)
