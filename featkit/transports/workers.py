"""Threads that do jobs, handed over without a step at which Ctrl-C could break anything.

Python runs what Ctrl-C raises between any two steps of the main thread. `concurrent.futures` locks
with conditions that are written in Python: struck between two of their steps, a lock stays taken
for ever, and every thread waits for it. So only a thread of our own uses it, which Ctrl-C does not
strike; the main thread puts a job into a `queue.SimpleQueue`, which is one step.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Job: TypeAlias = Callable[[], None]


class Workers:
    """Threads, begun when there is work.

    Parameters
    ----------
    most
        How many jobs are done at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: SimpleQueue[Sequence[Job] | None] = SimpleQueue()
        self._begun = False

    def do(self, jobs: Sequence[Job]) -> None:
        """Have jobs done, which must not raise."""
        if not self._begun:
            # a daemon: it has nothing to finish, and must not keep the process from ending
            name, arguments = "featkit-workers", (self._jobs, self._most)
            thread = Thread(target=_hand_out, args=arguments, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends
                for job in jobs:
                    job()
                return
            self._begun = True
        self._jobs.put(jobs)

    def end(self) -> None:
        """Have the threads end once all jobs are done."""
        self._jobs.put(None)


def _hand_out(jobs: SimpleQueue[Sequence[Job] | None], most: int) -> None:
    pool = ThreadPoolExecutor(most, thread_name_prefix="featkit")
    waiting: SimpleQueue[Job] = SimpleQueue()
    while (several := jobs.get()) is not None:
        _begin(several, waiting, pool, most)
        del several  # what they hold, an answer among it, is not to wait for the next ones
    pool.shutdown(wait=False)


def _begin(
    jobs: Sequence[Job], waiting: SimpleQueue[Job], pool: ThreadPoolExecutor, most: int
) -> None:
    for job in jobs[most:]:
        waiting.put(job)
    for place, job in enumerate(jobs[:most]):  # the others find these threads when they are done
        try:
            pool.submit(_work, job, waiting)
        except RuntimeError:  # the interpreter ends, and begins no thread any more
            for left in jobs[place:most]:
                _work(left, waiting)
            return


def _work(job: Job, waiting: SimpleQueue[Job]) -> None:
    """Do a job, and those that wait until there is none.

    Not each by itself: to hand over a job costs as much as to do it.
    """
    while True:
        job()
        del job
        try:
            job = waiting.get_nowait()
        except Empty:
            return
