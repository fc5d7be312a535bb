"""Threads that do jobs, handed over without a step at which Ctrl-C could break anything.

Python runs what Ctrl-C raises between any two steps of the main thread. `concurrent.futures` locks
with conditions that are written in Python: struck between two of their steps, a lock stays taken
for ever, and every thread waits for it. So only a thread of our own uses it, which Ctrl-C does not
strike; the main thread puts a job into a `queue.SimpleQueue`, which is one step.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

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
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._begun = False

    def do(self, job: Job) -> None:
        """Have a job done, which must not raise."""
        if not self._begun:
            # a daemon: it has nothing to finish, and must not keep the process from ending
            name, arguments = "featkit-workers", (self._jobs, self._most)
            thread = Thread(target=_hand_out, args=arguments, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends
                job()
                return
            self._begun = True
        self._jobs.put(job)

    def end(self) -> None:
        """Have the threads end once all jobs are done."""
        self._jobs.put(None)


def _hand_out(jobs: SimpleQueue[Job | None], most: int) -> None:
    pool = ThreadPoolExecutor(most, thread_name_prefix="featkit")
    while (job := jobs.get()) is not None:
        try:
            pool.submit(job)
        except RuntimeError:  # the interpreter ends, and begins no thread any more
            job()
        del job  # what it holds, an answer among it, is not to wait for the next one
    pool.shutdown(wait=False)
